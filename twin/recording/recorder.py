"""Records topics of a bus into a file: all that comes, or a part of it only around alarms."""

import contextlib
import json
import logging
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from twin.bus.base import Bus, Record
from twin.errors import BusError, MessageInvalid, RecordingUnwritable
from twin.events.alarm import Alarm
from twin.events.head import decode_model
from twin.events.topics import BY_NAME
from twin.recording.black_box import KEPT_S, MAX_BYTES, BlackBox
from twin.recording.item import Item
from twin.recording.levels import Selection
from twin.recording.snapshot_files import SnapshotFiles
from twin.recording.times import Times
from twin.recording.writer import RecordingWriter
from twin.run import Clock

logger = logging.getLogger(__name__)

FLUSH_EVERY_S = 5.0
RECORDED = "colossus.recorded"  # metadata at the end: what came and what is missing
POLL_N = 1000
BLOCKS_PER_TURN = 8  # of the black box, each of a mebibyte: what comes meanwhile does not wait for long


class Recorder:
    """Reads from now on, and writes; of compacted topics first what they hold.

    Parameters
    ----------
    bus
        Where it is recorded.
    selection
        What is.
    writer
        The file; it is closed by :meth:`close`.
    clock
        The wall clock.
    snapshot_dir
        Where the snapshots of all runs lie.
    black_box_bytes
        How much memory the black box may take [B].

    Attributes
    ----------
    lost_n
        Messages that the bus had forgotten before they were read, by topic.

    Raises
    ------
    BusError
        A topic is missing, or what it holds does not come.
    RecordingUnwritable
        The disk is full.
    """

    def __init__(
        self,
        bus: Bus,
        selection: Selection,
        writer: RecordingWriter,
        clock: Clock,
        *,
        snapshot_dir: Path,
        black_box_bytes: int = MAX_BYTES,
    ) -> None:
        self.lost_n: Counter[str] = Counter()
        self._bus = bus
        self._selection = selection
        self._names = selection.names
        self._writer = writer
        self._clock = clock
        self._box = BlackBox(max_bytes=black_box_bytes)
        self._snapshots = SnapshotFiles(snapshot_dir, writer)
        self._next: dict[tuple[str, int], int] = {}  # offset that is to come
        self._gaps: defaultdict[str, list[tuple[int, int, int]]] = defaultdict(list)  # partition, from, to
        self._started_ms = self._flushed_ms = clock.now_ms()
        self._times = Times(self._started_ms)
        self._broken = False
        state = [name for name, short in self._names.items() if _compacted(short)]
        stream = [name for name in self._names if name not in state]
        # From the end first: what comes while the state is read is not missed.
        self._readers = [bus.read(stream)] if stream else []
        if state:
            held = bus.read(state, start="beginning")
            self._readers.append(held)
            for record in held.read_up():
                self._take(record, self._started_ms, old=True)

    @property
    def snapshots_missing_n(self) -> int:
        """How many snapshots could not be put into the file."""
        return self._snapshots.missing_n

    @property
    def black_box(self) -> BlackBox:
        """What is held, and not written."""
        return self._box

    def turn(self, timeout_s: float) -> int:
        """Take what has come, wait for it up to ``timeout_s`` [s], and write what is due; return how many came.

        Raises
        ------
        RecordingUnwritable
            The disk is full: the recording ends here, what was flushed is in the file.
        BusError
            The bus refuses; while it is only away, nothing comes.
        """
        came_n = 0
        for reader in self._readers:
            records = reader.poll(timeout_s, limit=POLL_N)
            timeout_s = 0.0  # the first has waited for all
            now_ms = self._clock.now_ms()
            with self._writing():
                for record in records:
                    self._take(record, now_ms)
            came_n += len(records)
        with self._writing():
            self._write_held(BLOCKS_PER_TURN)
            now_ms = self._clock.now_ms()
            if not 0 <= now_ms - self._flushed_ms < 1000 * FLUSH_EVERY_S:  # a clock that was set back flushes, too
                self._flushed_ms = now_ms
                self._flush()
        return came_n

    def write_black_box(self) -> None:
        """Write what the black box holds of the last minute; it comes with the next turns."""
        self._box.cut()
        self._box.want(self._box.newest_ns - round(KEPT_S * 1e9), self._box.newest_ns)

    def close(self, reason: str) -> None:
        """Write what is left and what is missing, and close the file.

        Raises
        ------
        RecordingUnwritable
            The disk is full.
        """
        try:
            if self._broken:
                return
            with self._writing():
                self._box.cut()
                self._write_held(None)
                self._flush(last=True)
                self._writer.note(RECORDED, self.told() | {"ended_ms": str(self._clock.now_ms())})
                self._writer.close(reason)
        finally:
            for reader in self._readers:
                reader.close()

    def told(self) -> dict[str, str]:
        """Return what came and what is missing, as it stands in the file."""
        return {
            "counts": json.dumps(dict(sorted(self._writer.counts.items()))),
            "lost": json.dumps(dict(sorted(self.lost_n.items()))),
            "snapshots": str(self._snapshots.attached_n),
            "snapshots_missing": str(self._snapshots.missing_n),
            "black_box_dropped": str(self._box.dropped_n),
        }

    # -- one message

    def _take(self, record: Record, now_ms: int, *, old: bool = False) -> None:
        """Take a message; ``old`` is one of a compacted topic from before the recording: it is of its start."""
        short = self._names[record.topic]
        self._watch_offset(record, short)
        stamp_ms = self._started_ms if old else record.timestamp_ms
        time_ns = self._times.time_ns(short, record.partition, stamp_ms, now_ms)
        item = Item(
            time_ns, short, record.partition, record.offset, record.timestamp_ms, now_ms, record.key, record.value,
            record.headers,
        )  # fmt: skip
        if record.topic in self._selection.held:
            self._box.add(item)
            return
        self._writer.add(item)
        if short == "alarms" and self._selection.held and not old:
            self._look_at_alarm(item)
        elif short == "instructor.snapshots":
            self._snapshots.attach(item)

    def _look_at_alarm(self, item: Item) -> None:
        try:
            _, alarm = decode_model(item.value, BY_NAME["alarms"].schema_id, Alarm)
        except MessageInvalid:
            return  # it is in the file as it is
        if alarm.state == "raised":
            around_ns = round(KEPT_S * 1e9)
            self._box.want(item.time_ns - around_ns, item.time_ns + around_ns)

    def _watch_offset(self, record: Record, short: str) -> None:
        place = (record.topic, record.partition)
        due = self._next.get(place)
        self._next[place] = record.offset + 1
        if due is not None and record.offset > due and not _compacted(short):
            self._gaps[record.topic].append((record.partition, due, record.offset))

    # -- now and then

    def _write_held(self, blocks_n: int | None) -> None:
        for item in self._box.take(blocks_n):
            self._writer.add(item)

    def _flush(self, *, last: bool = False) -> None:
        self._box.cut()
        self._writer.flush()
        for topic in tuple(self._gaps):
            self._settle(topic, last=last)

    def _settle(self, topic: str, *, last: bool) -> None:
        """Count what was lost; an offset that retention has not passed was never a message that can be read."""
        gaps = self._gaps.pop(topic)
        try:
            begins = self._bus.begins(topic)
            lost_n = sum(max(0, min(to, begins[partition]) - due) for partition, due, to in gaps)
        except BusError:
            if not last:
                self._gaps[topic] = gaps  # it is asked again
                return
            lost_n = sum(to - due for _, due, to in gaps)  # nobody can tell any more: at most so many
        if lost_n:
            short = self._names[topic]
            self.lost_n[short] += lost_n
            logger.warning("recorder=overtaken topic=%s lost_n=%d in_all=%d", short, lost_n, self.lost_n[short])

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except RecordingUnwritable:
            self._broken = True
            raise


def _compacted(short: str) -> bool:
    own = BY_NAME.get(short)
    return own is not None and own.compacted
