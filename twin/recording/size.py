"""How large a recording will be, said before it begins."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from operator import attrgetter

import zstandard

from twin.bus.base import Bus, Record
from twin.errors import MessageInvalid
from twin.events.head import decode_model
from twin.events.instructor import SnapshotReference
from twin.events.topics import BY_NAME
from twin.recording.black_box import KEPT_S
from twin.recording.levels import Level, Selection
from twin.recording.writer import CHUNK_BYTES

LOOK_BACK_S = 3.0
SNAPSHOTS_BACK_S = 120.0  # they come once a minute
MEASURED_GPUS = 200_000
MEASURED_BYTES_PER_H: dict[Level, float] = {"default": 0.23e9, "full": 6.2e9}
_WAITING_BYTES = 4 * CHUNK_BYTES
_POLL_S = 0.1
_WAITS_N = 30


@dataclass(frozen=True, slots=True)
class Expected:
    """How much will be written.

    Attributes
    ----------
    bytes_per_h
        All but black boxes [B/h]; ``None``: nobody can tell.
    black_box_bytes
        What an alarm adds [B].
    how
        Where the numbers come from.
    """

    bytes_per_h: float | None
    black_box_bytes: float
    how: str


def expect(bus: Bus, selection: Selection, now_ms: int) -> Expected:
    """Estimate how large a recording will be, by what came in the last seconds.

    Parameters
    ----------
    bus
        Where it will be recorded.
    selection
        What will be.
    now_ms
        The time of day [ms since 1970].
    """
    packed = _Packed(selection)
    for record in _since(bus, list(selection.names), now_ms - round(1000 * LOOK_BACK_S)):
        if record.timestamp_ms <= now_ms:  # to read takes its time, and more comes meanwhile
            packed.add(record)
    if packed.first_ms is None:
        how = f"nothing came in the last {LOOK_BACK_S:g} s"
        measured = MEASURED_BYTES_PER_H.get(selection.level)
        if measured is not None:
            how += f"; so much was measured with {MEASURED_GPUS:,} GPUs"
        return Expected(measured, 0.0, how)
    seconds = min(max((now_ms - packed.first_ms) / 1000, 1.0), LOOK_BACK_S)
    written, held = packed.end()
    bytes_per_s = written / seconds + _snapshot_bytes(bus, selection, now_ms) / SNAPSHOTS_BACK_S
    return Expected(3600 * bytes_per_s, 2 * KEPT_S * held / seconds, f"by what came in the last {seconds:.0f} s")


class _Packed:
    """Packs messages as the file does, and counts."""

    def __init__(self, selection: Selection) -> None:
        self.first_ms: int | None = None
        self._selection = selection
        self._waiting: defaultdict[str, list[Record]] = defaultdict(list)
        self._waiting_bytes: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()

    def add(self, record: Record) -> None:
        self.first_ms = min(record.timestamp_ms, self.first_ms or record.timestamp_ms)
        self._waiting[record.topic].append(record)
        self._waiting_bytes[record.topic] += len(record.value or b"")
        if self._waiting_bytes[record.topic] >= _WAITING_BYTES:
            self._pack(record.topic)

    def end(self) -> tuple[int, int]:
        """Return the bytes of what goes into the file, and of what goes into the black box."""
        for topic in tuple(self._waiting):
            self._pack(topic)
        written = sum(size for topic, size in self._bytes.items() if topic in self._selection.written)
        return written, self._bytes.total() - written

    def _pack(self, topic: str) -> None:
        # In the order of their coming, as in the file: a log gives one partition after the other, which packs better.
        records = sorted(self._waiting.pop(topic), key=attrgetter("timestamp_ms"))
        values = b"".join(record.value or b"" for record in records)
        del self._waiting_bytes[topic]
        for at in range(0, len(values), CHUNK_BYTES):
            self._bytes[topic] += len(zstandard.compress(values[at : at + CHUNK_BYTES]))


def _snapshot_bytes(bus: Bus, selection: Selection, now_ms: int) -> int:
    topics = [name for name, short in selection.written.items() if short == "instructor.snapshots"]
    size = 0
    for record in _since(bus, topics, now_ms - round(1000 * SNAPSHOTS_BACK_S)):
        try:
            _, reference = decode_model(record.value, BY_NAME["instructor.snapshots"].schema_id, SnapshotReference)
        except MessageInvalid:
            continue
        size += reference.bytes
    return size


def _since(bus: Bus, topics: list[str], since_ms: int) -> Iterator[Record]:
    """Yield what topics hold from an instant on; what does not come within seconds is left out."""
    if not topics:
        return
    reader = bus.read(topics, start=since_ms)
    try:
        waits_left = _WAITS_N
        while waits_left > 0 and not reader.caught_up():
            came = reader.poll(_POLL_S)
            waits_left -= not came
            yield from came
    finally:
        reader.close()
