"""Looks into a recording: what is in it, topic by topic."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from twin.errors import MessageInvalid
from twin.events.control import RunControl
from twin.events.head import decode_model
from twin.events.topics import BY_NAME
from twin.recording.edit import one_bus
from twin.recording.item import Item
from twin.recording.reader import Recording

KEYS_MOST_N = 10_000  # of one topic; so many keys or more are not counted any further
_CONTROL = BY_NAME["run.control"]
_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class RunInfo:
    """A run that a recording holds, as its ``run.control`` told.

    Attributes
    ----------
    epochs
        In their order.
    start_ns, end_ns
        When it was told of first and last [ns since 1970].
    """

    run: str
    kind: str
    site: str
    epochs: tuple[int, ...]
    start_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True)
class TopicInfo:
    """What a recording holds of a topic.

    Attributes
    ----------
    keys_n
        Different keys, :data:`KEYS_MOST_N` at most.
    bytes_n
        Of keys, values and headers [B].
    rate_hz
        Messages per second of the whole recording [1/s].
    gap_s, gap_start_ns
        The longest time without a message [s], and when it begins [ns since 1970].
    missing_n
        Offsets between the first and the last of each partition that are not there; ``None`` where none is missed: the
        topic is compacted, or offsets do not count.
    """

    topic: str
    count: int
    keys_n: int
    partitions_n: int
    bytes_n: int
    rate_hz: float
    gap_s: float
    gap_start_ns: int
    missing_n: int | None


@dataclass(frozen=True, slots=True)
class AttachmentInfo:
    """A file in a recording, and its size [B]."""

    name: str
    bytes_n: int


@dataclass(frozen=True, slots=True)
class Info:
    """What is in a recording.

    Attributes
    ----------
    bytes_n
        Size of the file [B].
    start_ns, end_ns
        The first and the last instant [ns since 1970].
    closed_by
        Why it ended, as its writer says.
    """

    bytes_n: int
    chunk_n: int
    start_ns: int
    end_ns: int
    facts: Mapping[str, str]
    closed_by: str
    runs: tuple[RunInfo, ...]
    topics: tuple[TopicInfo, ...]
    attachments: tuple[AttachmentInfo, ...]

    @property
    def span_s(self) -> float:
        """How long it is [s]."""
        return (self.end_ns - self.start_ns) / _NS


def inspect(recording: Recording) -> Info:
    """Read a whole recording, and tell what is in it.

    Raises
    ------
    RecordingInvalid
        A part cannot be read.
    """
    topics: dict[str, _Topic] = {}
    runs: dict[str, _Run] = {}
    for item in recording.items():
        topic = topics.get(item.topic)
        if topic is None:
            topic = topics[item.topic] = _Topic(recording.start_ns, recording.start_ns)
        topic.add(item)
        if item.topic == _CONTROL.name:
            _note_run(runs, item)
    counted = one_bus(recording)
    return Info(
        bytes_n=recording.bytes_n,
        chunk_n=recording.chunk_n,
        start_ns=recording.start_ns,
        end_ns=recording.end_ns,
        facts=recording.facts,
        closed_by=recording.closed_by,
        runs=tuple(run.info() for run in runs.values()),
        topics=tuple(topics[name].info(name, recording, counted=counted) for name in sorted(topics)),
        attachments=tuple(AttachmentInfo(index.name, index.data_size) for index in recording.attachments()),
    )


@dataclass(slots=True)
class _Topic:
    """Sums up a topic in one pass."""

    last_ns: int
    gap_start_ns: int
    gap_ns: int = 0
    count: int = 0
    bytes_n: int = 0
    keys: set[bytes | None] = field(default_factory=set)
    offsets: dict[int, int] = field(default_factory=dict)  # the last of each partition
    missing_n: int = 0

    def add(self, item: Item) -> None:
        self.count += 1
        self.bytes_n += item.bytes_n
        if len(self.keys) < KEYS_MOST_N:
            self.keys.add(item.key)
        self._quiet_until(item.time_ns)
        last = self.offsets.get(item.partition)
        if last is not None and item.offset > last:
            self.missing_n += item.offset - last - 1
        self.offsets[item.partition] = item.offset

    def _quiet_until(self, time_ns: int) -> None:
        if time_ns - self.last_ns > self.gap_ns:
            self.gap_ns, self.gap_start_ns = time_ns - self.last_ns, self.last_ns
        self.last_ns = time_ns

    def info(self, name: str, recording: Recording, *, counted: bool) -> TopicInfo:
        self._quiet_until(recording.end_ns)  # what fell silent before the end has its gap there
        span_ns = recording.end_ns - recording.start_ns
        own = BY_NAME.get(name)
        return TopicInfo(
            topic=name,
            count=self.count,
            keys_n=len(self.keys),
            partitions_n=len(self.offsets),
            bytes_n=self.bytes_n,
            rate_hz=self.count * _NS / span_ns if span_ns else 0.0,
            gap_s=self.gap_ns / _NS,
            gap_start_ns=self.gap_start_ns,
            missing_n=self.missing_n if counted and not (own is not None and own.compacted) else None,
        )


@dataclass(slots=True)
class _Run:
    """Sums up a run in one pass."""

    first: RunControl
    start_ns: int
    end_ns: int
    epochs: dict[int, None] = field(default_factory=dict)

    def info(self) -> RunInfo:
        told = self.first
        return RunInfo(told.run, told.kind, told.site, tuple(self.epochs), self.start_ns, self.end_ns)


def _note_run(runs: dict[str, _Run], item: Item) -> None:
    try:
        _, control = decode_model(item.value, _CONTROL.schema_id, RunControl)
    except MessageInvalid:
        return  # a run of which nothing can be told is in the counts of its topic
    run = runs.setdefault(control.run, _Run(control, item.time_ns, item.time_ns))
    run.end_ns = item.time_ns
    run.epochs[control.epoch] = None
