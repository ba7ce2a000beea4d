"""The history of the stack: InfluxDB 2.7, written as line protocol, read in InfluxQL.

Why these reads, and how several workers roll up at once without a lock: docs/decisions/influxdb-history.md.
"""

import itertools
import logging
import secrets
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from twin.errors import StartError, StoreError, StoreRejected
from twin.events.measurements import Measurement
from twin.events.topics import full_name
from twin.store import influx_ql
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
from twin.store.columns import Columns, joined, measured
from twin.store.influx_lines import Prefixes, lines, mark_line
from twin.store.rollup import LONG_RUNS_ONLY, WINDOW_MS, Window, due, windows_of

if TYPE_CHECKING:
    from twin.store.influx_connection import Connection

_LINES_A_REQUEST = 5_000
_WINDOWS_A_CALL = 12  # of roll_up: some tenths of a second, unless there are racks among them
_RETENTION_MS: dict[Bucket, int] = {"live": LIVE_RETENTION_MS, "5m": FIVE_MINUTE_RETENTION_MS}
# The server drops whole shards when their retention is over; what it leaves is deleted in pieces as large.
_SHARD_MS: dict[Bucket, int] = {"live": 3_600_000, "5m": 7 * 24 * 3_600_000}

logger = logging.getLogger(__name__)


def open_influx(url: str, org: str, token: str, namespace: str = "", *, reads_only: bool = False) -> "InfluxStore":
    """Open the history on a server that ``colossus store init`` has prepared.

    Parameters
    ----------
    url
        Of the server.
    org
        Name of the organization.
    token
        The writer's, or the reader's.
    namespace
        What the names of the buckets begin with.
    reads_only
        Nothing will be written: the reader's token is enough.

    Raises
    ------
    StartError
        The server is away, or lacks a bucket or its mapping, or the token may not write and read; says what to do.
    """
    from twin.store.influx_connection import Connection

    try:
        store = InfluxStore(Connection(url, org, token), namespace, reads_only=reads_only)
    except StoreError as error:
        raise StartError(str(error)) from error
    try:
        store.check()
    except StoreError as error:
        store.close()
        raise StartError(str(error)) from error
    return store


class InfluxStore(Store):
    """The history in two buckets of a server.

    Parameters
    ----------
    connection
        To the server; closed with the store.
    namespace
        What the names of the buckets begin with.
    reads_only
        Whether :meth:`check` is content with reading.
    """

    def __init__(self, connection: "Connection", namespace: str = "", *, reads_only: bool = False) -> None:
        self._connection = connection
        self._reads_only = reads_only
        self._buckets: dict[Bucket, str] = {
            "live": full_name("live", namespace),
            "5m": full_name("5m", namespace),
        }
        self._prefixes = Prefixes()

    def check(self) -> None:
        """Try what every call needs: both buckets can be read, and written if need be.

        Raises
        ------
        StoreError
            One cannot; says what to do.
        """
        for bucket in self._buckets.values():
            if not self._reads_only:
                self._connection.write(bucket, b"")
            for _ in self._connection.query(bucket, influx_ql.marks(0, 0)):
                pass

    def close(self) -> None:
        self._connection.close()

    # -- writing

    def write(self, batch: Sequence[Points]) -> None:
        columns_of_kind = joined(batch)
        touched: set[Window] = set()
        out: list[bytes] = []
        for (measurement, run), columns in columns_of_kind.items():
            out += lines(columns, measurement, run, self._prefixes)
            touched |= windows_of(measurement_of(measurement), run, columns.ts)
        try:
            self._send("live", out)
        except StoreRejected:
            self._mark(touched)  # a part of them may be stored, and nobody need write it again
            raise
        self._mark(touched)

    def _send(self, bucket: Bucket, out: Sequence[bytes]) -> None:
        for start in range(0, len(out), _LINES_A_REQUEST):
            self._connection.write(self._buckets[bucket], b"\n".join(out[start : start + _LINES_A_REQUEST]))

    def _mark(self, windows: Collection[Window]) -> None:
        """Say that points have come into windows; after they are stored, so that nobody misses them."""
        token = _new_token()
        self._send("live", [mark_line(window, "written", token) for window in sorted(windows)])

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
        wanted = influx_ql.condition(run, where, until_ms - window_ms + 1, until_ms)
        names = tuple(dict.fromkeys(fields))
        (group,) = self._groups("live", [(spec, influx_ql.newest(spec, names, wanted))])
        newest = influx_ql.flat(spec, names, group)
        # Mostly the newest point of each series has all fields; only what it lacks is looked up further back.
        holes = tuple(name for name in names if not measured(newest.values[name]).all())
        if not holes:
            return influx_ql.rows_of(spec, newest)
        (group,) = self._groups("live", [(spec, influx_ql.last(spec, holes, wanted))])
        older = influx_ql.aligned(influx_ql.flat(spec, holes, group), newest.keys)
        values = {name: older.get(name, newest.values[name]) for name in names}
        return influx_ql.rows_of(spec, Columns(newest.keys, newest.ts, values))

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
        wanted = influx_ql.condition(run, where, from_ms, to_ms - 1)
        names = tuple(dict.fromkeys(fields))
        text = (
            influx_ql.raw(spec, names, wanted) if every_ms is None else influx_ql.every(spec, names, wanted, every_ms)
        )
        (group,) = self._groups(bucket, [(spec, text)])
        return influx_ql.series_of(spec, names, group)

    def stored(self, measurement: str, run: str) -> int:
        text = influx_ql.points(measurement_of(measurement), run)
        return sum(
            len(series["values"])
            for result in self._connection.query(self._buckets["live"], text)
            for series in result.get("series", ())
        )

    def _groups(self, bucket: Bucket, asked: Sequence[tuple[Measurement, str]]) -> list[influx_ql.Group]:
        """Return the rows of each series, for each statement."""
        results = self._connection.query(self._buckets[bucket], ";".join(text for _, text in asked))
        return influx_ql.grouped(results, [spec.tags for spec, _ in asked])

    # -- roll-up and retention

    def roll_up(self, now_ms: int) -> int:
        # What is older has been dropped in part: it would replace what was made from all of it.
        marks = self._marks(influx_ql.marks(now_ms - LIVE_RETENTION_MS, now_ms))
        dirty = {window: mark.written for window, mark in marks.items() if mark.written not in (None, mark.made)}
        windows = due(dirty, now_ms, influx_ql.long_runs(marks))
        groups = itertools.groupby(windows, lambda window: window[:2])  # all measurements of one run and time
        made = 0
        for _, group in itertools.islice(groups, _WINDOWS_A_CALL):
            together = {window: dirty[window] for window in group}
            self._make(together)
            made += 1
            if any(window.measurement in LONG_RUNS_ONLY for window in together):
                break  # seconds of the server's work, while the caller's writes wait
        return made

    def _marks(self, text: str) -> dict[Window, influx_ql.Mark]:
        return influx_ql.marked(self._connection.query(self._buckets["live"], text))

    def _make(self, tokens: Mapping[Window, float | None]) -> None:
        """Write windows of one run and time into ``5m``, each from all of its points; others may do the same.

        Parameters
        ----------
        tokens
            Of each window, as they were before its points are read.
        """
        start_ms, run, _ = next(iter(tokens))
        wanted = influx_ql.condition(run, None, start_ms, start_ms + WINDOW_MS - 1)
        specs = [measurement_of(window.measurement) for window in tokens]
        asked = [(spec, influx_ql.every(spec, influx_ql.columns_of(spec), wanted, WINDOW_MS)) for spec in specs]
        out: list[bytes] = []
        for spec, group in zip(specs, self._groups("live", asked), strict=True):
            columns = influx_ql.flat(spec, influx_ql.columns_of(spec), group)
            out += lines(columns, spec.name, run, self._prefixes)
        self._send("5m", out)
        now = self._marks(influx_ql.marks(start_ms, start_ms, run))
        marks = []
        for window, token in tokens.items():
            if token is not None and window in now and now[window].written == token:
                marks.append(mark_line(window, "made", token))
            else:
                # Points came meanwhile. Another worker may have made the window with them before this one wrote over
                # it without them: whichever token that worker leaves as made must not be the last one written.
                marks.append(mark_line(window, "written", _new_token()))
        self._send("live", marks)

    def prune(self, now_ms: int) -> int:
        dropped = 0
        for bucket, kept_ms in _RETENTION_MS.items():
            end_ms = (now_ms - kept_ms) // _SHARD_MS[bucket] * _SHARD_MS[bucket]
            found = list(self._connection.query(self._buckets[bucket], influx_ql.anything_before(end_ms)))
            if any(result.get("series") for result in found):
                self._connection.delete(self._buckets[bucket], end_ms)
                dropped += 1
                logger.info("bucket=%s before_ms=%d dropped", self._buckets[bucket], end_ms)
        return dropped


def _new_token() -> int:
    """Return a token that no other write has; a float holds it exactly."""
    return secrets.randbits(52)
