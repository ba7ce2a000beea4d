"""One file of the DuckDB store, attached: its tables, its series, its dirty windows."""

import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import numpy as np
import orjson
from numpy.typing import NDArray

from twin.errors import StoreUnavailable
from twin.events.measurements import BY_NAME, MEASUREMENTS, Measurement
from twin.store import duck_sql
from twin.store.base import Bucket
from twin.store.rollup import Window

LIVE_FILE_MS = 6 * 3_600_000
_INDEXES = 512  # series of so many (measurement, run) are kept in memory for each file
_NEVER_MS = -1
_FORMATS: dict[Bucket, str] = {"live": "live-%Y%m%dT%H", "5m": "5m-%Y%m"}
# How DuckDB says that what it reads is no database (any more); anything else is no reason to move a file.
_CORRUPT = ("not a valid DuckDB database file", "Corrupt database file", "Could not read enough bytes", "checksum")

logger = logging.getLogger(__name__)


def is_corrupt(error: duckdb.Error) -> bool:
    """Tell whether DuckDB found a file damaged."""
    return isinstance(error, duckdb.SerializationException) or any(sign in str(error) for sign in _CORRUPT)


def one_line(error: duckdb.Error) -> str:
    """Return what DuckDB says, in one line."""
    return " ".join(str(error).split())


def file_start_ms(bucket: Bucket, ts_ms: int) -> int:
    """Return where the file begins that holds a time: 6 hours of ``live``, a month of ``5m`` (UTC).

    Examples
    --------
    >>> file_start_ms("live", 6 * 3_600_000 + 5) == 6 * 3_600_000
    True
    """
    if bucket == "live":
        return ts_ms // LIVE_FILE_MS * LIVE_FILE_MS
    moment = datetime.fromtimestamp(ts_ms / 1000, UTC)
    return int(datetime(moment.year, moment.month, 1, tzinfo=UTC).timestamp()) * 1000


def file_end_ms(bucket: Bucket, start_ms: int) -> int:
    """Return the first time after a file."""
    if bucket == "live":
        return start_ms + LIVE_FILE_MS
    return file_start_ms(bucket, start_ms + 32 * 24 * 3_600_000)


def path_of(folder: Path, bucket: Bucket, start_ms: int) -> Path:
    """Return the name of the file that begins at a time."""
    return folder / f"{datetime.fromtimestamp(start_ms / 1000, UTC):{_FORMATS[bucket]}}.duckdb"


def files_in(folder: Path) -> Iterable[tuple[Bucket, int]]:
    """Return bucket and begin [ms] of each of the store's files in a folder, oldest first."""
    for path in sorted(folder.glob("*.duckdb")):
        for bucket, text in _FORMATS.items():
            try:
                moment = datetime.strptime(path.stem, text).replace(tzinfo=UTC)
            except ValueError:
                continue
            yield bucket, int(moment.timestamp()) * 1000


def wal_of(path: Path) -> Path:
    """Return where DuckDB writes a file's changes ahead."""
    return path.with_name(path.name + ".wal")


def move_aside(path: Path) -> None:
    """Rename a damaged file, and say so: what it held is lost to the screens, not to whoever can mend it."""
    for part in (path, wal_of(path)):
        if part.exists():
            part.replace(part.with_name(part.name + ".damaged"))
    logger.error("file=%s is damaged: moved aside as %s.damaged; a new one begins", path, path.name)


@dataclass(slots=True)
class DuckFile:
    """A file that is attached to the connection under the name ``database``."""

    connection: duckdb.DuckDBPyConnection
    bucket: Bucket
    start_ms: int
    path: Path
    dirty: set[Window] = field(default_factory=set)
    _tables: set[str] = field(default_factory=set)
    _next_id: int = 0
    _series: dict[tuple[str, str], dict[tuple[str, ...], int]] = field(default_factory=dict)
    _newest_ms: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))  # of each series

    @property
    def database(self) -> str:
        """The name in SQL."""
        return "file_" + self.path.stem.replace("-", "_")

    @property
    def end_ms(self) -> int:
        """The first time after it [ms]."""
        return file_end_ms(self.bucket, self.start_ms)

    @classmethod
    def attach(cls, connection: duckdb.DuckDBPyConnection, folder: Path, bucket: Bucket, start_ms: int) -> "DuckFile":
        """Open or create a file and bring its tables up to the table of measurements."""
        file = cls(connection, bucket, start_ms, path_of(folder, bucket, start_ms))
        connection.execute(f"ATTACH {_literal(file.path)} AS {file.database}")
        try:
            connection.begin()
            file._extend()
            connection.commit()
            file._load()
        except duckdb.Error:
            with suppress(duckdb.Error):  # no transaction any more
                connection.rollback()
            connection.execute(f"DETACH {file.database}")
            raise
        return file

    def _extend(self) -> None:
        run = self.connection.execute
        for statement in duck_sql.SYSTEM_TABLES:
            run(statement.format(self.database))
        there: dict[str, set[str]] = {}
        for table, column in run(
            "SELECT table_name, column_name FROM duckdb_columns() WHERE database_name = ?", [self.database]
        ).fetchall():
            there.setdefault(table, set()).add(column)
        for spec in MEASUREMENTS:
            if spec.name in there:
                self._tables.add(spec.name)
                for name in duck_sql.columns_of(spec):
                    if name not in there[spec.name]:
                        run(duck_sql.add_column(self.database, spec, name))

    def _load(self) -> None:
        """Read what memory holds of the file."""
        run = self.connection.execute
        newest = run(f"SELECT max(id) FROM {self.database}.series").fetchall()[0][0]  # noqa: S608
        self._next_id = 0 if newest is None else newest + 1
        # Which series has its newest point where is not worth a scan: the newest of all is a safe bound.
        times = [
            time
            for table in self._tables
            for (time,) in run(f"SELECT max(ts) FROM {self.database}.{duck_sql.quoted(table)}").fetchall()  # noqa: S608
            if time is not None
        ]
        self._newest_ms = np.full(self._next_id, max(times, default=_NEVER_MS), np.int64)
        rows = run(f"SELECT DISTINCT start_ms, run, measurement FROM {self.database}.dirty").fetchall()  # noqa: S608
        self.dirty = {Window(*row) for row in rows}

    def has(self, spec: Measurement) -> bool:
        """Tell whether points of a measurement have been written into it."""
        return spec.name in self._tables

    def make_room(self, spec: Measurement) -> None:
        """Make the table of a measurement, if it is not there (within the open transaction)."""
        if spec.name not in self._tables:
            self.connection.execute(duck_sql.create_table(self.database, spec))
            self._tables.add(spec.name)

    def detach(self) -> None:
        """Put it on disk and let go."""
        self.connection.execute(f"DETACH {self.database}")

    def series(self, measurement: str, run: str) -> dict[tuple[str, ...], int]:
        """Return the id of each series of a run, by its tags in the measurement's order."""
        known = self._series.get((measurement, run))
        if known is None:
            rows = self.connection.execute(
                f"SELECT id, tags FROM {self.database}.series WHERE measurement = ? AND run = ?",  # noqa: S608
                [measurement, run],
            ).fetchall()
            names = BY_NAME[measurement].tags
            known = {tuple(orjson.loads(tags).get(name, "") for name in names): number for number, tags in rows}
            if len(self._series) >= _INDEXES:
                self._series.pop(next(iter(self._series)))
            self._series[measurement, run] = known
        return known

    def ids(self, measurement: str, run: str, keys: Sequence[tuple[str, ...]]) -> NDArray[np.int32]:
        """Return the series id of each row's tags; new series are written (within the open transaction)."""
        known = self.series(measurement, run)
        new = [key for key in dict.fromkeys(keys) if key not in known]
        if new:
            names = BY_NAME[measurement].tags
            numbers = np.arange(self._next_id, self._next_id + len(new), dtype=np.int32)
            tags = [orjson.dumps(dict(zip(names, key, strict=True))).decode() for key in new]
            self.connection.register("fresh", {"id": numbers, "tags": np.array(tags, dtype=object)})
            self.connection.execute(
                f"INSERT INTO {self.database}.series SELECT id, ?, ?, tags FROM fresh",  # noqa: S608
                [measurement, run],
            )
            self._next_id += len(new)
            self._newest_ms = np.append(self._newest_ms, np.full(len(new), _NEVER_MS, np.int64))
            known.update(zip(new, numbers.tolist(), strict=True))
        return np.fromiter(map(known.__getitem__, keys), np.int32, len(keys))

    def advance(self, series: NDArray[np.int32], ts: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Tell which rows, sorted by time, are newer than all of their series, and remember them as the newest."""
        fresh = ts > self._newest_ms[series]
        self._newest_ms[series[fresh]] = ts[fresh]  # of a series in several rows the last one stays: the newest
        return fresh

    def mark_dirty(self, windows: set[Window]) -> None:
        """Remember windows that points fell into (within the open transaction)."""
        for window in windows - self.dirty:
            self.connection.execute(f"INSERT INTO {self.database}.dirty VALUES (?, ?, ?)", list(window))  # noqa: S608
            self.dirty.add(window)

    def mark_clean(self, windows: Iterable[Window]) -> None:
        """Forget windows that have been made (within the open transaction)."""
        for window in windows:
            self.connection.execute(
                f"DELETE FROM {self.database}.dirty WHERE start_ms = ? AND run = ? AND measurement = ?",  # noqa: S608
                list(window),
            )
            self.dirty.discard(window)


def attach_or_move(
    connection: duckdb.DuckDBPyConnection, folder: Path, bucket: Bucket, start_ms: int
) -> DuckFile | None:
    """Open a file that is there; one that is damaged is moved aside, and ``None`` comes back.

    Raises
    ------
    StoreUnavailable
        It cannot be opened, but is not damaged.
    """
    path = path_of(folder, bucket, start_ms)
    try:
        return DuckFile.attach(connection, folder, bucket, start_ms)
    except duckdb.Error as error:
        if not is_corrupt(error):
            raise StoreUnavailable(_refusal(folder, path, error)) from error
        move_aside(path)
        return None


def take_folder(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Keep other processes, and other stores of this one, out of a folder: by a file that holds nothing.

    Raises
    ------
    StoreUnavailable
        Another has it, or the folder cannot be written.
    """
    path = folder / "lock.duckdb"
    try:
        connection.execute(f"ATTACH {_literal(path)} AS folder_lock")
    except duckdb.Error as error:
        if is_corrupt(error):
            path.unlink()
            take_folder(connection, folder)
        else:
            raise StoreUnavailable(_refusal(folder, path, error)) from error


def _refusal(folder: Path, path: Path, error: duckdb.Error) -> str:
    """Return one line: why a file does not open, and what to do."""
    if isinstance(error, duckdb.ResourceInUseException) or "Could not set lock" in str(error):
        return f"{path} is open in another process: stop that one, or choose another data folder than {folder}"
    return f"{path} cannot be opened ({one_line(error)}): free space, mend its rights, or choose another data folder"


def _literal(path: Path) -> str:
    """Return a path as a string of SQL; ATTACH takes no parameters."""
    return "'" + str(path).replace("'", "''") + "'"
