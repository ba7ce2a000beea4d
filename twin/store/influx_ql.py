"""InfluxQL as text, and its answers as columns: pure functions.

Names come from the table of measurements only; values are quoted. A field's column has the field's own name.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from twin.events.measurements import BY_NAME, Measurement, RollUp
from twin.store.base import Rows, Series, Where
from twin.store.columns import Column, Columns
from twin.store.influx_lines import MARKS, storable
from twin.store.rollup import LONG_RUN_MS, LONG_RUNS_ONLY, Window

_END_MS = 9_000_000_000_000  # the server counts ns in 64 bits: up to the year 2262
_NEVER = "time < 0ms"  # no point is that old
_MARK_KEYS = ("measurement", "run")

Group = dict[tuple[str, ...], list[list[Any]]]


def string(value: str) -> str:
    r"""Return a string of InfluxQL.

    Examples
    --------
    >>> print(string("it's"))
    'it\'s'
    """
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def quoted(name: str) -> str:
    """Return an identifier of the table of measurements, quoted."""
    return f'"{name}"'


def condition(run: str, where: Where | None, first_ms: int, last_ms: int) -> str:
    """Return the condition of a read over ``[first_ms, last_ms]``.

    Parameters
    ----------
    run
        The one that the read may see.
    where
        Value, or allowed values, by tag.
    first_ms, last_ms
        Times [ms], both included.
    """
    parts = [f'"run" = {string(run)}' if storable(run) else _NEVER]
    for tag, allowed in (where or {}).items():
        values = {allowed} if isinstance(allowed, str) else set(allowed)
        known = sorted(filter(storable, values))
        parts.append(f"{quoted(tag)} {_one_of(known)}" if known else _NEVER)
    return " AND ".join([*parts, _within(first_ms, last_ms)])


def _within(first_ms: int, last_ms: int) -> str:
    return f"time >= {max(first_ms, 0)}ms AND time <= {min(last_ms, _END_MS)}ms"


def _one_of(values: Sequence[str]) -> str:
    """Return the comparison with allowed values; hundreds of them as an expression are seven times as fast as ORs."""
    if len(values) == 1:
        return f"= {string(values[0])}"
    return "=~ /^(" + "|".join(re.escape(value).replace("/", "\\/") for value in values) + ")$/"


def _select(values: str, measurement: str, wanted: str, tags: Sequence[str], *rest: str) -> str:
    by = ("GROUP BY", ", ".join(map(quoted, tags))) if tags else ()
    return " ".join(("SELECT", values, "FROM", quoted(measurement), "WHERE", wanted, *by, *rest))


def raw(spec: Measurement, fields: Iterable[str], wanted: str) -> str:
    """Return the query of points as they are, series by series."""
    return _select(", ".join(map(quoted, fields)), spec.name, wanted, spec.tags)


def newest(spec: Measurement, fields: Iterable[str], wanted: str) -> str:
    """Return the query of each series' newest point that has any of the fields."""
    return raw(spec, fields, wanted) + " ORDER BY time DESC LIMIT 1"


def last(spec: Measurement, fields: Iterable[str], wanted: str) -> str:
    """Return the query of the last value of each field in each series (the time of its answer means nothing)."""
    values = ", ".join(f"last({quoted(field)}) AS {quoted(field)}" for field in fields)
    return _select(values, spec.name, wanted, spec.tags)


def every(spec: Measurement, fields: Iterable[str], wanted: str, every_ms: int) -> str:
    """Return the query of one row for each series and interval, each field by its roll-up."""
    roll_ups: dict[str, RollUp] = {field.name: field.roll_up for field in spec.fields}
    values = ", ".join(f"{roll_ups.get(field, 'last')}({quoted(field)}) AS {quoted(field)}" for field in fields)
    by = ", ".join([f"time({every_ms}ms)", *map(quoted, spec.tags)])
    return _select(values, spec.name, wanted, (), "GROUP BY", by, "fill(none)")


def points(spec: Measurement, run: str) -> str:
    """Return the query of one row for each point of a run, whatever fields it has."""
    return _select(", ".join(map(quoted, columns_of(spec))), spec.name, condition(run, None, 0, _END_MS), ())


def marks(first_ms: int, last_ms: int, run: str | None = None) -> str:
    """Return the query of the marks of windows that begin within ``[first_ms, last_ms]``, of one run or all."""
    wanted = _within(first_ms, last_ms) if run is None else condition(run, None, first_ms, last_ms)
    return _select('"written", "made"', MARKS, wanted, _MARK_KEYS)


def anything_before(end_ms: int) -> str:
    """Return the query of one point of any measurement that is older."""
    return " ".join(("SELECT * FROM /.*/ WHERE", f"time < {end_ms}ms", "LIMIT 1"))


def columns_of(spec: Measurement) -> tuple[str, ...]:
    """Return the names of all of a measurement's values."""
    return (*(field.name for field in spec.fields), *spec.texts)


# -- answers


def grouped(results: Iterable[Mapping[str, Any]], keys: Sequence[Sequence[str]]) -> list[Group]:
    """Return for each statement the rows of each series, by the values of its tags; pieces of a series are joined.

    Parameters
    ----------
    results
        As they came from the server.
    keys
        Names of the tags of each statement, in the order that is wanted.
    """
    out: list[Group] = [{} for _ in keys]
    for result in results:
        group, names = out[result["statement_id"]], keys[result["statement_id"]]
        for series in result.get("series", ()):
            tags = series.get("tags", {})
            group.setdefault(tuple([tags.get(tag, "") for tag in names]), []).extend(series["values"])
    return out


def flat(spec: Measurement, fields: Sequence[str], group: Group) -> Columns:
    """Return the rows of all series as columns, in order of the tags."""
    keys = [key for key in sorted(group) for _ in group[key]]
    return _columns(spec, fields, keys, [row for key in sorted(group) for row in group[key]])


def _columns(
    spec: Measurement, fields: Sequence[str], keys: Sequence[tuple[str, ...]], rows: Sequence[Sequence[Any]]
) -> Columns:
    ts, *values = zip(*rows, strict=True) if rows else [()] * (1 + len(fields))
    return Columns(
        keys,
        np.array(ts, np.int64),
        {field: _column(spec, field, column) for field, column in zip(fields, values, strict=True)},
    )


def _column(spec: Measurement, field: str, values: Sequence[Any]) -> Column:
    """Return what JSON has as a column: null is NaN in a field, ``None`` in a text."""
    if field not in spec.texts:
        return np.array(values, np.float64)
    out = np.empty(len(values), object)
    out[:] = values
    return out


def aligned(columns: Columns, keys: Sequence[tuple[str, ...]]) -> dict[str, Column]:
    """Return the values of columns with one row for each series, for the series of ``keys``; unmeasured if absent."""
    place = {key: i for i, key in enumerate(columns.keys)}
    rows = [place.get(key, len(place)) for key in keys]
    out = {}
    for field, column in columns.values.items():
        unmeasured = np.array([None if column.dtype == object else np.nan], column.dtype)
        out[field] = np.concatenate([column, unmeasured])[rows]
    return out


def rows_of(spec: Measurement, columns: Columns) -> Rows:
    """Return columns with one row for each series as the port's rows."""
    fields, texts = _split(spec, columns)
    return Rows({tag: [key[i] for key in columns.keys] for i, tag in enumerate(spec.tags)}, columns.ts, fields, texts)


def series_of(spec: Measurement, fields: Sequence[str], group: Group) -> list[Series]:
    """Return the port's series, in order of the tags."""
    out = []
    for key in sorted(group):
        columns = _columns(spec, fields, [key] * len(group[key]), group[key])
        out.append(Series(dict(zip(spec.tags, key, strict=True)), columns.ts, *_split(spec, columns)))
    return out


def _split(spec: Measurement, columns: Columns) -> tuple[dict[str, Column], dict[str, list[str | None]]]:
    return (
        {field: column for field, column in columns.values.items() if field not in spec.texts},
        {text: list(column) for text, column in columns.values.items() if text in spec.texts},
    )


class Mark(NamedTuple):
    """Tokens of a window: of the last write into it, and of the write up to which it was made."""

    written: float | None
    made: float | None


def marked(results: Iterable[Mapping[str, Any]]) -> dict[Window, Mark]:
    """Return the mark of each window that has one."""
    (group,) = grouped(results, [_MARK_KEYS])
    return {
        Window(ts, run, measurement): Mark(written, made)
        for (measurement, run), rows in group.items()
        if measurement in BY_NAME
        for ts, written, made in rows
    }


def long_runs(windows: Iterable[Window]) -> set[str]:
    """Return the runs whose windows, made or not, span six hours where that matters."""
    starts: dict[str, list[int]] = {}
    for window in windows:
        if window.measurement in LONG_RUNS_ONLY:
            starts.setdefault(window.run, []).append(window.start_ms)
    return {run for run, times in starts.items() if max(times) - min(times) >= LONG_RUN_MS}
