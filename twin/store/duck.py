"""The embedded history: DuckDB files, 6 hours of ``live`` or a month of ``5m`` each; dropping a file is the retention.

Why a MERGE without a primary key, one connection under one lock, and these sizes: docs/decisions/duckdb-history.md.
"""

import itertools
import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from twin.errors import StartError, StoreRejected, StoreUnavailable
from twin.events.measurements import Measurement
from twin.store import duck_sql
from twin.store.base import (
    FIVE_MINUTE_RETENTION_MS,
    LIVE_RETENTION_MS,
    Bucket,
    Points,
    Rows,
    Series,
    Store,
    Where,
    bucket_of,
    checked_read,
    measurement_of,
)
from twin.store.columns import Columns, joined, merged
from twin.store.duck_file import (
    LIVE_FILE_MS,
    DuckFile,
    attach_or_move,
    file_start_ms,
    files_in,
    is_corrupt,
    move_aside,
    one_line,
    take_folder,
    wal_of,
)
from twin.store.rollup import LONG_RUNS_ONLY, WINDOW_MS, Window, due, windows_of

_CONFIG = {
    "memory_limit": "128MB",  # flat at that for hours; heavy reads spill into the folder
    "threads": 1,  # work happens in the thread that calls
    "autoinstall_known_extensions": False,  # nothing is fetched, ever
    "autoload_known_extensions": False,
}
_WINDOWS_A_CALL = 12  # of roll_up: a fraction of a second each at most, so that writes need not wait
_RETENTION_MS: dict[Bucket, int] = {"live": LIVE_RETENTION_MS, "5m": FIVE_MINUTE_RETENTION_MS}

logger = logging.getLogger(__name__)


def open_store(folder: Path) -> "DuckStore":
    """Open the history in a folder, made if need be; no other process may have it open.

    Raises
    ------
    StartError
        The folder cannot be used; says why and what to do.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return DuckStore(folder)
    except OSError as error:
        raise StartError(
            f"the data folder {folder} cannot be used ({error.strerror}): choose another, or mend its rights"
        ) from error
    except StoreUnavailable as error:
        raise StartError(str(error)) from error


class DuckStore(Store):
    """The history in a folder of DuckDB files; one thing at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._files: dict[tuple[Bucket, int], DuckFile] = {}
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._closed = False
        with self._session():
            pass

    # -- opening, closing, what to do with DuckDB's own errors

    def _connected(self) -> duckdb.DuckDBPyConnection:
        """Return the connection; made, with the folder taken for this process and all files attached, if need be."""
        if self._closed:
            raise StoreUnavailable(f"the history in {self._folder} is closed")
        if self._connection is None:
            self._connection = duckdb.connect(
                ":memory:", config=_CONFIG | {"temp_directory": str(self._folder / "spill")}
            )
            take_folder(self._connection, self._folder)
            for bucket, start_ms in files_in(self._folder):
                file = attach_or_move(self._connection, self._folder, bucket, start_ms)
                if file is not None:
                    self._files[bucket, start_ms] = file
        return self._connection

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._let_go()

    def _let_go(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._files.clear()

    @contextmanager
    def _session(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Hold the store for one call; DuckDB's errors become ours.

        After any error all is closed, and opened again by the next call: DuckDB asks for that when a checkpoint has
        failed, and what memory holds of a file may be ahead of it.
        """
        with self._lock:
            sound = False
            try:
                yield self._connected()
                sound = True
            except duckdb.DataError as error:
                raise StoreRejected(f"the history refuses a value: {one_line(error)}") from error
            except duckdb.ProgrammingError:
                raise  # our own SQL is wrong: no retry mends that
            except duckdb.Error as error:
                raise StoreUnavailable(f"the history in {self._folder}: {one_line(error)}") from error
            except OSError as error:
                raise StoreUnavailable(f"the history in {self._folder}: {error.strerror}") from error
            finally:
                if not sound:
                    self._let_go()

    @contextmanager
    def _transaction(self, connection: duckdb.DuckDBPyConnection, file: DuckFile) -> Iterator[None]:
        """Change one file wholly or not at all; a damaged one is moved aside, so that a retry begins a new one."""
        connection.begin()
        try:
            yield
            connection.commit()
        except duckdb.Error as error:
            if is_corrupt(error):
                self._let_go()
                move_aside(file.path)
            raise

    def _file(self, connection: duckdb.DuckDBPyConnection, bucket: Bucket, ts_ms: int) -> DuckFile:
        """Return the file that holds a time, made if need be."""
        start_ms = file_start_ms(bucket, ts_ms)
        file = self._files.get((bucket, start_ms))
        if file is None:
            file = self._files[bucket, start_ms] = DuckFile.attach(connection, self._folder, bucket, start_ms)
        return file

    # -- writing

    def write(self, batch: Sequence[Points]) -> None:
        columns_of_kind = joined(batch)
        with self._session() as connection:
            for start_ms in sorted(
                {start for columns in columns_of_kind.values() for start in _live_starts(columns.ts)}
            ):
                file = self._file(connection, "live", start_ms)
                with self._transaction(connection, file):
                    for (measurement, run), columns in columns_of_kind.items():
                        self._upsert(connection, file, measurement, run, columns.between(file.start_ms, file.end_ms))

    def _upsert(
        self, connection: duckdb.DuckDBPyConnection, file: DuckFile, measurement: str, run: str, columns: Columns
    ) -> None:
        if not columns.keys:
            return
        spec = measurement_of(measurement)
        file.make_room(spec)
        rows = merged(file.ids(measurement, run, columns.keys), columns.ts, columns.values)
        names = tuple(columns.values)
        fresh = file.advance(rows["series"], rows["ts"])
        for some, newer in ((fresh, True), (~fresh, False)):
            if not some.any():
                continue
            part = rows if some.all() else {name: column[some] for name, column in rows.items()}
            connection.register("batch", part)
            if newer:
                statement = duck_sql.insert(file.database, measurement, names)
            else:
                first_ms, last_ms = int(part["ts"][0]), int(part["ts"][-1])
                statement = duck_sql.upsert(file.database, measurement, names, first_ms, last_ms)
            connection.execute(statement)
        file.mark_dirty(windows_of(spec, run, columns.ts))

    # -- reading

    def latest(
        self,
        measurement: str,
        fields: Sequence[str],
        *,
        run: str,
        until_ms: int,
        window_ms: int,
        where: Where | None = None,
    ) -> Rows:
        spec = checked_read(measurement, fields, where)
        with self._session() as connection:
            keys, source = self._source(
                connection, spec, fields, run, where, "live", until_ms - window_ms + 1, until_ms
            )
            if not keys:
                return _rows(spec, fields, keys, {})
            answer = connection.execute(duck_sql.latest(source, fields)).fetchnumpy()
        return _rows(spec, fields, [keys[g] for g in answer["g"]], answer)

    def series(
        self,
        measurement: str,
        fields: Sequence[str],
        *,
        run: str,
        from_ms: int,
        to_ms: int,
        every_ms: int | None = None,
        where: Where | None = None,
        bucket: Bucket | None = None,
    ) -> list[Series]:
        spec = checked_read(measurement, fields, where)
        bucket = bucket_of(spec, from_ms, to_ms, bucket)
        with self._session() as connection:
            keys, source = self._source(connection, spec, fields, run, where, bucket, from_ms, to_ms - 1)
            if not keys:
                return []
            query = (
                duck_sql.raw(source, fields) if every_ms is None else duck_sql.bucketed(source, spec, fields, every_ms)
            )
            answer = connection.execute(query).fetchnumpy()
        group = answer["g"]
        edges = [0, *(np.flatnonzero(np.diff(group)) + 1).tolist(), len(group)]
        out = []
        for start, end in itertools.pairwise(edges):
            if start == end:
                continue
            part = {name: column[start:end] for name, column in answer.items()}
            rows = _rows(spec, fields, [keys[group[start]]], part)
            tags = {tag: column[0] for tag, column in rows.tags.items()}
            out.append(Series(tags, rows.ts, rows.fields, rows.texts))
        return out

    def stored(self, measurement: str, run: str) -> int:
        spec = measurement_of(measurement)
        with self._session() as connection:
            return sum(
                connection.execute(
                    f"SELECT count(*) FROM {file.database}.{duck_sql.quoted(spec.name)} "  # noqa: S608
                    f"WHERE series IN (SELECT id FROM {file.database}.series WHERE measurement = ? AND run = ?)",
                    [measurement, run],
                ).fetchall()[0][0]
                for file in self._files_of("live")
                if file.has(spec)
            )

    def _source(
        self,
        connection: duckdb.DuckDBPyConnection,
        spec: Measurement,
        fields: Sequence[str],
        run: str,
        where: Where | None,
        bucket: Bucket,
        first_ms: int,
        last_ms: int,
    ) -> tuple[list[tuple[str, ...]], str]:
        """Return the wanted series (their place is ``g``) and the query of their points, over all files concerned.

        Series are chosen here, by their tags; the query knows numbers only.
        """
        files = [
            file
            for file in self._files_of(bucket)
            if file.has(spec) and file.start_ms <= last_ms and file.end_ms > first_ms
        ]
        allowed = [_allowed(where, tag) for tag in spec.tags]
        chosen = [
            (number, series, key)
            for number, file in enumerate(files)
            for key, series in file.series(spec.name, run).items()
            if all(values is None or value in values for values, value in zip(allowed, key, strict=True))
        ]
        keys = sorted({key for _, _, key in chosen})
        place = {key: g for g, key in enumerate(keys)}
        wanted = {
            "file": np.array([number for number, _, _ in chosen], np.int32),
            "series": np.array([series for _, series, _ in chosen], np.int32),
            "g": np.array([place[key] for _, _, key in chosen], np.int32),
        }
        connection.register("wanted", wanted)
        return keys, duck_sql.points([file.database for file in files], spec.name, fields, first_ms, last_ms)

    def _files_of(self, bucket: Bucket) -> list[DuckFile]:
        return [file for (kind, _), file in sorted(self._files.items()) if kind == bucket]

    # -- roll-up and retention

    def roll_up(self, now_ms: int) -> int:
        made = 0
        while made < _WINDOWS_A_CALL:
            with self._session() as connection:
                windows = self._due(now_ms)
                if not windows:
                    break
                # All measurements of one run and time together: two small transactions instead of sixty.
                together = [window for window in windows if window[:2] == windows[0][:2]]
                self._make(connection, together)
            made += 1
        return made

    def _due(self, now_ms: int) -> list[Window]:
        dirty = [window for file in self._files_of("live") for window in file.dirty]
        long_runs = {
            window.run
            for window in dirty
            if window.measurement in LONG_RUNS_ONLY
            and any(file.series(window.measurement, window.run) for file in self._files_of("5m"))
        }
        return due(dirty, now_ms, long_runs)

    def _make(self, connection: duckdb.DuckDBPyConnection, windows: Sequence[Window]) -> None:
        """Write windows of one run and time into ``5m``, each from all of its points."""
        start_ms, run = windows[0].start_ms, windows[0].run
        source, target = self._file(connection, "live", start_ms), self._file(connection, "5m", start_ms)
        with self._transaction(connection, target):
            for window in windows:
                spec = measurement_of(window.measurement)
                target.make_room(spec)
                known = source.series(spec.name, run)
                wanted = {
                    "file": np.zeros(len(known), np.int32),
                    "series": np.fromiter(known.values(), np.int32, len(known)),
                    "g": target.ids(spec.name, run, list(known)),
                }
                connection.register("wanted", wanted)
                points = duck_sql.points(
                    [source.database], spec.name, tuple(duck_sql.columns_of(spec)), start_ms, start_ms + WINDOW_MS - 1
                )
                for statement in duck_sql.make_window(target.database, points, spec, start_ms):
                    connection.execute(statement)
        with self._transaction(connection, source):  # a crash before this makes the same windows again
            source.mark_clean(windows)

    def prune(self, now_ms: int) -> int:
        with self._session():
            outdated = self._outdated(now_ms)
        while outdated and self.roll_up(now_ms):
            pass  # what is about to go is rolled up first
        dropped = 0
        with self._session():
            for file in self._outdated(now_ms):
                del self._files[file.bucket, file.start_ms]
                file.detach()
                for path in (file.path, wal_of(file.path)):
                    path.unlink(missing_ok=True)
                dropped += 1
                logger.info("file=%s bucket=%s dropped", file.path.name, file.bucket)
        return dropped

    def _outdated(self, now_ms: int) -> list[DuckFile]:
        """Return the files that are past their retention; the newest of a bucket stays, whatever the clock says."""
        return [
            file
            for bucket, kept_ms in _RETENTION_MS.items()
            for file in self._files_of(bucket)[:-1]
            if file.end_ms <= now_ms - kept_ms
        ]


def _live_starts(ts: NDArray[np.int64]) -> list[int]:
    """Return the begins of the live files that times fall into."""
    return [int(start) for start in np.unique(ts // LIVE_FILE_MS) * LIVE_FILE_MS]


def _allowed(where: Where | None, tag: str) -> frozenset[str] | None:
    """Return the values of a tag that a read wants; ``None``: all."""
    if where is None or tag not in where:
        return None
    values = where[tag]
    return frozenset({values} if isinstance(values, str) else values)


def _rows(
    spec: Measurement, fields: Sequence[str], keys: Sequence[tuple[str, ...]], answer: dict[str, NDArray[Any]]
) -> Rows:
    """Return DuckDB's columns as the port's: NULL becomes NaN in a field, ``None`` in a text."""
    texts = [name for name in fields if name in spec.texts]
    empty: NDArray[Any] = np.empty(0)
    return Rows(
        {tag: [key[i] for key in keys] for i, tag in enumerate(spec.tags)},
        np.asarray(answer.get("ts", empty), np.int64),
        {
            name: np.ma.filled(np.ma.asarray(answer.get(name, empty), np.float64), np.nan)
            for name in fields
            if name not in texts
        },
        {
            name: [None if value is np.ma.masked else value for value in np.ma.asarray(answer.get(name, empty))]
            for name in texts
        },
    )
