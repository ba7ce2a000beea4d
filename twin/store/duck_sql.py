"""The SQL of the DuckDB store, as text: tables from the table of measurements, upsert, reads, roll-up.

Only names from that table and integers are ever put into a statement; tags and texts go in as columns.
"""

from collections.abc import Iterable, Sequence

from twin.events.measurements import Field, Measurement, RollUp

# Sensors of these units show less than the 24 bits of a FLOAT; power, counts, energy and money need more.
_FLOAT_UNITS = frozenset(
    {"C", "K", "L/min", "MHz", "MiB", "Pa", "Hz", "Hz/s", "pu", "ppm", "kJ/kWh", "L/kWh", "kg/kWh"}
)
_AGGREGATES: dict[RollUp, str] = {
    "mean": "avg({0})",
    "max": "max({0})",
    "min": "min({0})",
    "last": "arg_max({0}, ts)",
    "sum": "sum({0})",
}
SYSTEM_TABLES = (
    "CREATE TABLE IF NOT EXISTS {0}.series (id INTEGER, measurement VARCHAR, run VARCHAR, tags VARCHAR)",
    "CREATE TABLE IF NOT EXISTS {0}.dirty (start_ms BIGINT, run VARCHAR, measurement VARCHAR)",
)


def quoted(name: str) -> str:
    """Return an identifier of the table of measurements, quoted."""
    return f'"{name}"'


def columns_of(spec: Measurement) -> dict[str, str]:
    """Return the type of each column of a measurement's values."""
    return {field.name: _type_of(field) for field in spec.fields} | dict.fromkeys(spec.texts, "VARCHAR")


def _type_of(field: Field) -> str:
    unit = field.unit
    return "FLOAT" if unit.symbol in _FLOAT_UNITS or unit.grafana == "percentunit" else "DOUBLE"


def create_table(database: str, spec: Measurement) -> str:
    """Return the statement that makes a measurement's table: a series id, a time, its values."""
    values = "".join(f", {quoted(name)} {kind}" for name, kind in columns_of(spec).items())
    return f"CREATE TABLE {database}.{quoted(spec.name)} (series INTEGER, ts BIGINT{values})"


def add_column(database: str, spec: Measurement, name: str) -> str:
    """Return the statement that adds a column which an older file lacks."""
    return f"ALTER TABLE {database}.{quoted(spec.name)} ADD COLUMN {quoted(name)} {columns_of(spec)[name]}"


def insert(database: str, measurement: str, names: Sequence[str]) -> str:
    """Return the statement that writes the view ``batch`` of points that the table cannot hold yet."""
    columns = ", ".join(map(quoted, names))
    return (
        f"INSERT INTO {database}.{quoted(measurement)} (series, ts, {columns}) SELECT series, ts, {columns} FROM batch"  # noqa: S608
    )


def upsert(database: str, measurement: str, names: Sequence[str], from_ms: int, to_ms: int) -> str:
    """Return the statement that writes the view ``batch``: a known (series, ts) gets the values that are there.

    The bounds of ``ts`` let DuckDB skip all row groups but the newest: without them the join reads the table.
    """
    update = ", ".join(f"{quoted(name)} = coalesce(b.{quoted(name)}, t.{quoted(name)})" for name in names)
    return (
        f"MERGE INTO {database}.{quoted(measurement)} AS t USING batch AS b "  # noqa: S608
        f"ON t.series = b.series AND t.ts = b.ts AND t.ts BETWEEN {from_ms} AND {to_ms} "
        f"WHEN MATCHED THEN UPDATE SET {update} "
        f"WHEN NOT MATCHED THEN INSERT (series, ts, {', '.join(map(quoted, names))}) "
        f"VALUES (b.series, b.ts, {', '.join(f'b.{quoted(name)}' for name in names)})"
    )


def points(databases: Sequence[str], measurement: str, names: Sequence[str], from_ms: int, to_ms: int) -> str:
    """Return the query of all points of ``[from_ms, to_ms]`` whose series are in the view ``wanted``.

    ``wanted`` gives each (number of database, series) its place ``g`` in the answer.
    """
    values = ", ".join(f"p.{quoted(name)}" for name in names)
    return " UNION ALL ".join(
        f"SELECT w.g, p.ts, {values} FROM {database}.{quoted(measurement)} AS p "  # noqa: S608
        f"JOIN wanted AS w ON w.series = p.series AND w.file = {number} WHERE p.ts BETWEEN {from_ms} AND {to_ms}"
        for number, database in enumerate(databases)
    )


def latest(source: str, names: Sequence[str]) -> str:
    """Return the query of the last value of each column in each series."""
    last = ", ".join(f"arg_max({quoted(name)}, ts) AS {quoted(name)}" for name in names)
    return f"SELECT g, max(ts) AS ts, {last} FROM ({source}) WHERE {_any_of(names)} GROUP BY g ORDER BY g"  # noqa: S608


def raw(source: str, names: Sequence[str]) -> str:
    """Return the query of points as they are, series by series."""
    return f"SELECT * FROM ({source}) WHERE {_any_of(names)} ORDER BY g, ts"  # noqa: S608


def bucketed(source: str, spec: Measurement, names: Sequence[str], every_ms: int) -> str:
    """Return the query of one row for each series and interval, each field by its roll-up."""
    return (
        f"SELECT g, ts - ts % {every_ms} AS ts, {_aggregated(spec, names)} FROM ({source}) "  # noqa: S608
        f"WHERE {_any_of(names)} GROUP BY 1, 2 ORDER BY 1, 2"
    )


def make_window(target: str, source: str, spec: Measurement, start_ms: int) -> tuple[str, str]:
    """Return the two statements that write one window anew from ``source`` (see ``points``)."""
    names = tuple(columns_of(spec))
    table = f"{target}.{quoted(spec.name)}"
    return (
        f"DELETE FROM {table} WHERE ts = {start_ms} AND series IN (SELECT g FROM wanted)",  # noqa: S608
        f"INSERT INTO {table} (series, ts, {', '.join(map(quoted, names))}) "  # noqa: S608
        f"SELECT g, {start_ms}, {_aggregated(spec, names)} FROM ({source}) GROUP BY g",
    )


def _any_of(names: Iterable[str]) -> str:
    return "(" + " OR ".join(f"{quoted(name)} IS NOT NULL" for name in names) + ")"


def _aggregated(spec: Measurement, names: Iterable[str]) -> str:
    roll_ups: dict[str, RollUp] = {field.name: field.roll_up for field in spec.fields}
    return ", ".join(
        f"{_AGGREGATES[roll_ups.get(name, 'last')].format(quoted(name))} AS {quoted(name)}" for name in names
    )
