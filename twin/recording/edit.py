"""Makes a recording out of others: cuts, merges, filters. Sources are only read; a target that failed is not left."""

import contextlib
import heapq
import json
import zlib
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import chain, groupby
from operator import attrgetter
from pathlib import Path

from mcap.records import AttachmentIndex

from twin.errors import RecordingError, RecordingUnwritable
from twin.events.topics import BY_NAME
from twin.recording.carried import carried_over, is_carried
from twin.recording.instants import utc
from twin.recording.item import Item
from twin.recording.reader import Recording
from twin.recording.replay import recorded_partitions
from twin.recording.writer import CLOSED, FACTS, RecordingWriter

EDITED = "colossus.edited"  # note about what was done
OFFSETS = "offsets"  # in a note: they do not count one partition of one bus
NO_BUS = "of no bus"
_SAME_WITHIN_NS = 120_000_000_000  # two recorders give one message instants at most a minute apart
_SOME_N = 12


@dataclass(frozen=True, slots=True)
class Made:
    """What is in a recording that was made.

    Attributes
    ----------
    start_ns, end_ns
        Its first and last instant [ns since 1970].
    twice_n
        Messages that were in several sources, and are in it once.
    """

    target: Path
    counts: Mapping[str, int]
    start_ns: int
    end_ns: int
    attachments_n: int
    twice_n: int = 0


@contextlib.contextmanager
def new_recording(target: Path, facts: Mapping[str, str], reason: str) -> Iterator[RecordingWriter]:
    """Write a recording whole, and close it for a reason, or leave nothing.

    Raises
    ------
    RecordingUnwritable
        There is a file of this name, or the disk is full.
    """
    with contextlib.ExitStack() as undo:
        writer = RecordingWriter(target, facts)
        undo.callback(target.unlink, missing_ok=True)
        undo.enter_context(writer)
        try:
            yield writer
            writer.close(reason)
        except RecordingUnwritable as exc:
            raise RecordingUnwritable(
                f"{target} cannot be written to its end ({exc.__cause__}): free space, or choose another disk; "
                "what was written of it is removed"
            ) from exc
        undo.pop_all()


def one_bus(recording: Recording) -> bool:
    """Tell whether offsets of a recording count the messages of one bus: those of other tools have none."""
    return bool(recording.facts) and not any(OFFSETS in facts for _, facts in recording.metadata())


def cut(source: Path, target: Path, start_ns: int, end_ns: int) -> Made:
    """Copy a stretch of a recording, both ends included.

    Files in it are kept if they are of that stretch; of those before it, the last of each kind. With a snapshot from
    before it keeps what was ordered since: the cut can be taken over from its first tick on.

    Raises
    ------
    RecordingInvalid
        The source cannot be read.
    RecordingUnwritable
        The target is there already, or the disk is full.
    RecordingError
        There is nothing in the stretch.
    """
    if end_ns < start_ns:
        raise RecordingError(f"the end {utc(end_ns)} lies before the start {utc(start_ns)}")
    with Recording(source) as recording:
        attachments = recording.attachments()
        kept = {
            index.media_type: index
            for index in sorted(attachments, key=attrgetter("log_time"))
            if index.log_time < start_ns
        }
        within = [index for index in attachments if start_ns <= index.log_time <= end_ns]
        note = {"verb": "cut", "from": source.name, "start": utc(start_ns), "end": utc(end_ns)}
        nothing = f"{source} has no message between {utc(start_ns)} and {utc(end_ns)}"
        items = recording.items(start_ns, end_ns)
        before = carried_over(recording, start_ns, {index.name for index in kept.values()})
        return _copy(recording, target, items, [*kept.values(), *within], note, nothing, before)


def filter(source: Path, target: Path, topics: Sequence[str], keys: Sequence[str]) -> Made:
    """Copy some topics, or some keys, of a recording, with all files in it.

    Parameters
    ----------
    topics, keys
        Shell patterns; none: all.

    Raises
    ------
    RecordingInvalid
        The source cannot be read.
    RecordingUnwritable
        The target is there already, or the disk is full.
    RecordingError
        Nothing is left.
    """
    with Recording(source) as recording:
        wanted = {topic for topic in recording.counts if _matches(topic, topics)}
        items = (
            item
            for item in recording.items(topics=wanted)
            if _matches((item.key or b"").decode(errors="replace"), keys)
        )
        note = {"verb": "filter", "from": source.name, "topics": " ".join(topics), "keys": " ".join(keys)}
        nothing = (
            f"{source} has no message of these topics and keys: it has {', '.join(sorted(recording.counts)) or 'none'}"
        )
        return _copy(recording, target, items, recording.attachments(), note, nothing)


def merge(sources: Sequence[Path], target: Path) -> Made:
    """Put recordings of one site together by their clock; what is in several of them is taken once.

    Of facts that contradict each other, how many partitions a topic has among them, that of the one that begins first
    is kept. Where offsets begin anew, as on another bus, a note says so.

    Raises
    ------
    RecordingInvalid
        A source cannot be read.
    RecordingUnwritable
        The target is there already, or the disk is full.
    RecordingError
        They are fewer than two, or of different sites.
    """
    if len(sources) < 2:
        raise RecordingError("to merge takes two recordings or more")
    with contextlib.ExitStack() as opened:
        recordings = [opened.enter_context(Recording(source)) for source in sources]
        recordings.sort(key=lambda recording: (not recording.counts, recording.start_ns))
        _check_sites(recordings)
        twins = _Twins()
        with new_recording(target, _united_facts(recordings), "merged") as writer:
            span = _add(writer, twins.once(recordings))
            attachments_n = _attach_once(writer, recordings)
            for recording in recordings:
                _copy_notes(writer, recording)
            note = {"verb": "merge", "from": " ".join(recording.path.name for recording in recordings)}
            if twins.restarted:
                note[OFFSETS] = "begin anew: they are of several buses"
            writer.note(EDITED, note)
        return Made(target, dict(writer.counts), *span, attachments_n, twins.twice_n)


def _copy(
    recording: Recording,
    target: Path,
    items: Iterator[Item],
    attachments: Sequence[AttachmentIndex],
    note: dict[str, str],
    nothing: str,
    before: Iterable[Item] = (),
) -> Made:
    first = next(items, None)
    if first is None:
        raise RecordingError(nothing)
    with new_recording(target, recording.facts, note["verb"]) as writer:
        for index in attachments:
            writer.attach(index.name, index.media_type, recording.attached(index), index.log_time)
        carried = (item._replace(time_ns=first.time_ns) for item in before)
        span = _add(writer, chain(carried, (first,), items))
        _copy_notes(writer, recording)
        writer.note(EDITED, note)
    return Made(target, dict(writer.counts), *span, len(attachments))


def _add(writer: RecordingWriter, items: Iterable[Item]) -> tuple[int, int]:
    """Write messages; return the first and the last instant."""
    start_ns = end_ns = 0
    for n, item in enumerate(items):
        writer.add(item)
        start_ns, end_ns = (start_ns if n else item.time_ns), item.time_ns
    return start_ns, end_ns


def _copy_notes(writer: RecordingWriter, recording: Recording) -> None:
    for name, facts in recording.metadata():
        if name not in (FACTS, CLOSED):
            writer.note(name, facts)
    if not recording.facts:
        writer.note(EDITED, {"from": recording.path.name, OFFSETS: NO_BUS})


def _matches(text: str, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatchcase(text, pattern) for pattern in patterns)


def _check_sites(recordings: Sequence[Recording]) -> None:
    sites = {recording.facts.get("site", ""): recording.path for recording in recordings}
    sites.pop("", None)
    if len(sites) > 1:
        told = ", ".join(f"{path} of {site}" for site, path in sites.items())
        raise RecordingError(f"recordings of different sites cannot be one: {told}")


def _united_facts(recordings: Sequence[Recording]) -> dict[str, str]:
    facts: dict[str, str] = {}
    topics: dict[str, int] = {}
    for recording in reversed(recordings):
        facts |= recording.facts
        topics |= recorded_partitions(recording)
    return facts | ({"topics": json.dumps(dict(sorted(topics.items())))} if topics else {})


def _attach_once(writer: RecordingWriter, recordings: Sequence[Recording]) -> int:
    known: set[tuple[str, int, int]] = set()  # of one name there may be several
    for recording in recordings:
        for index in recording.attachments():
            data = recording.attached(index)
            same = (index.name, len(data), zlib.crc32(data))
            if same not in known:
                known.add(same)
                writer.attach(index.name, index.media_type, data, index.log_time)
    return len(known)


class _Twins:
    """Goes through several recordings at once, and leaves out what another of them has told."""

    def __init__(self) -> None:
        self.twice_n = 0
        self.restarted = False
        self._seen: OrderedDict[tuple[object, ...], tuple[int, int]] = OrderedDict()  # -> source, instant
        self._seen_of_state: dict[tuple[object, ...], int] = {}  # -> source; any later one may tell it again
        self._offsets: Counter[tuple[str, int]] = Counter()  # the next of each partition

    def once(self, recordings: Sequence[Recording]) -> Iterator[Item]:
        """Yield all messages by their instants, those of one partition and instant by their offsets."""
        streams = [self._numbered(n, recording) for n, recording in enumerate(recordings)]
        for time_ns, instant in groupby(heapq.merge(*streams, key=_time_ns), key=_time_ns):
            self._forget(time_ns - _SAME_WITHIN_NS)
            fresh = [(n, item) for n, item in instant if not self._told(n, item)]
            if len({n for n, _ in fresh}) > 1:
                fresh.sort(key=lambda pair: (pair[1].topic, pair[1].partition, pair[1].offset))
            for _, item in fresh:
                place = (item.topic, item.partition)
                self.restarted |= item.offset < self._offsets[place]
                self._offsets[place] = item.offset + 1
                yield item

    @staticmethod
    def _numbered(n: int, recording: Recording) -> Iterator[tuple[int, Item]]:
        return ((n, item) for item in recording.items())

    def _told(self, n: int, item: Item) -> bool:
        # Offsets alone would not do: each run of an embedded twin counts from 0.
        same = (item.topic, item.partition, item.offset, item.timestamp_ms, item.key, zlib.crc32(item.value or b""))
        if _is_state(item.topic):
            source = self._seen_of_state.setdefault(same, n)
        else:
            source, _ = self._seen.setdefault(same, (n, item.time_ns))
        self.twice_n += source != n
        return source != n

    def _forget(self, before_ns: int) -> None:
        while self._seen and next(iter(self._seen.values()))[1] < before_ns:
            self._seen.popitem(last=False)


def _is_state(topic: str) -> bool:
    """Tell whether a recording begins with what a topic had held long before."""
    own = BY_NAME.get(topic)
    return is_carried(topic) or (own is not None and own.compacted)


def _time_ns(pair: tuple[int, Item]) -> int:
    return pair[1].time_ns
