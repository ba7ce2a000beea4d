"""The port of the history: batches of columns go in, four reads come out; query languages stay inside adapters.

A point's identity is (measurement, run, tags, ts); a second write of it replaces the fields that it carries and
leaves the others. A number that was not measured is NaN on the way in and on the way out, never 0.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from twin.errors import StoreRejected
from twin.events.measurements import BY_NAME, Measurement

Bucket = Literal["live", "5m"]
Where = Mapping[str, str | Sequence[str]]
Numbers = NDArray[np.floating] | NDArray[np.integer] | NDArray[np.bool_] | Sequence[float] | float

LIVE_RETENTION_MS = 24 * 3_600_000
FIVE_MINUTE_RETENTION_MS = 2 * 365 * 24 * 3_600_000
LIVE_RANGE_MS = 6 * 3_600_000  # a wider range is read from the 5-minute bucket
_END_MS = 4_102_444_800_000  # 2100-01-01
EVENT_TEXTS = ("text", "unit", "by", "result")


def measurement_of(name: str) -> Measurement:
    """Return the measurement of that name.

    Raises
    ------
    StoreRejected
        There is none; says which there are.
    """
    if name not in BY_NAME:
        raise StoreRejected(f"no measurement {name!r}; there are {', '.join(BY_NAME)}")
    return BY_NAME[name]


def refuse_unknown(what: str, names: Iterable[str], allowed: Iterable[str], measurement: str) -> None:
    """Raise ``StoreRejected`` that names the first name which is not allowed, and what is."""
    allowed = tuple(allowed)
    for name in names:
        if name not in allowed:
            raise StoreRejected(f"{measurement} has no {what} {name!r}; it has {', '.join(allowed) or 'none'}")


def checked_read(measurement: str, fields: Sequence[str], where: Where | None) -> Measurement:
    """Return the measurement of a read whose names are all known.

    Raises
    ------
    StoreRejected
        Names what is not known, or that no field is asked for.
    """
    spec = measurement_of(measurement)
    refuse_unknown("field", fields, (*(field.name for field in spec.fields), *spec.texts), spec.name)
    refuse_unknown("tag", where or {}, spec.tags, spec.name)
    if not fields:
        raise StoreRejected(f"a read of {measurement} names no field")
    return spec


def bucket_of(spec: Measurement, from_ms: int, to_ms: int, wished: Bucket | None) -> Bucket:
    """Return the bucket of a read: the one that is wished for, else by the width of its range.

    Raises
    ------
    StoreRejected
        The measurement is not in the 5-minute bucket.
    """
    if wished is None:
        return "5m" if spec.rolled_up and to_ms - from_ms > LIVE_RANGE_MS else "live"
    if wished == "5m" and not spec.rolled_up:
        raise StoreRejected(f"{spec.name} has no 5-minute bucket")
    return wished


@dataclass(frozen=True)
class Points:
    """One columnar batch of one measurement; valid by construction.

    A scalar stands for the same value in all rows.

    Attributes
    ----------
    measurement, run
        Of all rows. ``run`` is a tag of every measurement.
    ts
        Display time [ms], scalar or (n,).
    tags
        Every tag of the measurement but ``run``: (n,) or scalar.
    fields
        Numbers by name: (n,) or scalar; NaN is "not measured".
    texts
        Strings by name: (n,) or scalar.

    Raises
    ------
    StoreRejected
        An unknown or missing name, columns of different lengths, a value that is infinite, a time outside
        1970..2100, a string that is no UTF-8.
    """

    measurement: str
    run: str
    ts: int | NDArray[np.int64]
    tags: Mapping[str, Sequence[str] | str]
    fields: Mapping[str, Numbers]
    texts: Mapping[str, Sequence[str] | str]

    def __post_init__(self) -> None:
        spec = measurement_of(self.measurement)
        refuse_unknown("tag", self.tags, spec.tags, spec.name)
        refuse_unknown("field", self.fields, (field.name for field in spec.fields), spec.name)
        refuse_unknown("text", self.texts, spec.texts, spec.name)
        missing = [tag for tag in spec.tags if tag not in self.tags]
        if missing or not self.run:
            raise StoreRejected(f"{spec.name} needs the tag {missing[0] if missing else 'run'!r} in every point")
        lengths = {name: _length(column) for name, column in self._columns()} | {"ts": _length(self.ts)}
        if any(length not in (1, self.size) for length in lengths.values()):
            raise StoreRejected(f"{spec.name}: columns of different lengths: {lengths}")
        for name, column in self.fields.items():
            if np.isinf(column).any():
                raise StoreRejected(f"{spec.name}.{name} is infinite")
        times = np.asarray(self.ts)
        if times.size and not 0 <= times.min() <= times.max() < _END_MS:
            raise StoreRejected(f"{spec.name}: no time of this century: {times.min()} to {times.max()} ms")
        for name, texts in (*self.tags.items(), *self.texts.items()):
            if not _encodes(texts):
                raise StoreRejected(f"{spec.name}.{name} is no UTF-8")

    def _columns(self) -> Iterable[tuple[str, object]]:
        yield from (*self.tags.items(), *self.fields.items(), *self.texts.items())

    @cached_property
    def size(self) -> int:
        """Rows."""
        lengths = [_length(self.ts), *(_length(column) for _, column in self._columns())]
        return 0 if 0 in lengths else max(lengths)

    @cached_property
    def nbytes(self) -> int:
        """Memory that the columns hold, about [B]; for buffers that are bounded in bytes."""
        texts = sum(len(column) if isinstance(column, str) else sum(map(len, column)) for column in self.texts.values())
        return 8 * self.size * (1 + len(self.tags) + len(self.fields) + len(self.texts)) + texts


def _length(column: object) -> int:
    """Return the rows of a column; a scalar has one."""
    if isinstance(column, np.ndarray):
        return column.size
    return 1 if isinstance(column, str) or not isinstance(column, Sequence) else len(column)


def _encodes(texts: Sequence[str] | str) -> bool:
    """Tell whether all strings can be written as UTF-8 (a lone surrogate cannot)."""
    try:
        (texts if isinstance(texts, str) else "".join(texts)).encode()
    except UnicodeEncodeError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Rows:
    """One row for each series: its tags, and the last value of each field within the window.

    Attributes
    ----------
    tags
        (n,) strings by tag; ``run`` is the caller's own and not among them.
    ts
        Time of the newest of its values [ms], (n,).
    fields
        (n,) float64 by name; NaN: none in the window.
    texts
        (n,) by name; ``None``: none in the window.
    """

    tags: Mapping[str, Sequence[str]]
    ts: NDArray[np.int64]
    fields: Mapping[str, NDArray[np.float64]]
    texts: Mapping[str, Sequence[str | None]]

    @property
    def size(self) -> int:
        """Rows."""
        return len(self.ts)

    def take(self, index: NDArray[np.intp]) -> "Rows":
        """Return the rows of ``index``, in that order."""
        return Rows(
            {tag: [column[i] for i in index] for tag, column in self.tags.items()},
            self.ts[index],
            {name: column[index] for name, column in self.fields.items()},
            {name: [column[i] for i in index] for name, column in self.texts.items()},
        )


@dataclass(frozen=True, slots=True)
class Series:
    """The values of one series over time.

    Attributes
    ----------
    tags
        Without ``run``.
    ts
        Ascending [ms], (n,): of the points, or starts of intervals of ``every_ms``.
    fields
        (n,) float64 by name; NaN: not measured.
    texts
        (n,) by name; ``None``: none.
    """

    tags: Mapping[str, str]
    ts: NDArray[np.int64]
    fields: Mapping[str, NDArray[np.float64]]
    texts: Mapping[str, Sequence[str | None]]


class Event(NamedTuple):
    """A row of measurement ``event``."""

    ts: int
    kind: str
    priority: str
    text: str
    unit: str
    by: str
    result: str


class Store(ABC):
    """A history; every read sees one run and no other.

    All calls block: an event loop makes them in a thread. They may come from several threads.
    Names that the table of measurements lacks raise ``StoreRejected`` with what there is; a store that cannot be
    reached, or has no room, raises ``StoreUnavailable``.
    """

    @abstractmethod
    def write(self, batch: Sequence[Points]) -> None:
        """Store all points, or raise; the same batch may be written again.

        Raises
        ------
        StoreUnavailable
            Not now (some of the batch may be stored): write all of it again.
        StoreRejected
            Never.
        """

    @abstractmethod
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
        """Return the last value of each field in each series within ``(until_ms - window_ms, until_ms]``.

        Parameters
        ----------
        fields
            Numbers and texts.
        where
            Value, or allowed values, by tag.

        Returns
        -------
        Rows
            In order of the tags; a series without any value in the window is absent.
        """

    @abstractmethod
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
        """Return the values of each series within ``[from_ms, to_ms)``, in order of the tags.

        Parameters
        ----------
        every_ms
            Values of an interval of this width (aligned to 0) become one by the field's roll-up; an interval
            without values is absent. ``None``: points as they are.
        bucket
            ``None``: ``5m`` for a range of more than 6 hours where the measurement has it, else ``live``.
        """

    @abstractmethod
    def stored(self, measurement: str, run: str) -> int:
        """Return how many points of a run ``live`` holds: each (tags, ts) once."""

    @abstractmethod
    def roll_up(self, now_ms: int) -> int:
        """Make the 5-minute windows that are due by ``now_ms``, a bounded number in one call; return how many.

        A point that comes late makes its window due again, and a restart forgets no window.
        """

    @abstractmethod
    def prune(self, now_ms: int) -> int:
        """Drop what is older than its bucket keeps (24 h, 2 years), as far as it drops at once; return how much."""

    @abstractmethod
    def close(self) -> None:
        """Put all on disk and let go."""

    def topk(
        self,
        measurement: str,
        field: str,
        k: int,
        *,
        run: str,
        until_ms: int,
        window_ms: int,
        where: Where | None = None,
        smallest: bool = False,
    ) -> Rows:
        """Return the ``k`` series whose last value is largest (or smallest), that one first; ties by the tags."""
        rows = self.latest(measurement, [field], run=run, until_ms=until_ms, window_ms=window_ms, where=where)
        if field not in rows.fields:
            raise StoreRejected(f"{measurement}.{field} is a text: it has no order")
        values = rows.fields[field]
        return rows.take(np.argsort(values if smallest else -values, kind="stable")[:k])

    def events(
        self, *, run: str, from_ms: int, to_ms: int, limit: int, kinds: Sequence[str] | None = None
    ) -> list[Event]:
        """Return the newest ``limit`` events within ``[from_ms, to_ms)``, newest first."""
        where = None if kinds is None else {"kind": kinds}
        out = [
            Event(int(ts), series.tags["kind"], series.tags["priority"], *(text or "" for text in texts))
            for series in self.series(
                "event", EVENT_TEXTS, run=run, from_ms=from_ms, to_ms=to_ms, where=where, bucket="live"
            )
            for ts, *texts in zip(series.ts, *(series.texts[name] for name in EVENT_TEXTS), strict=True)
        ]
        return sorted(out, key=lambda event: -event.ts)[:limit]
