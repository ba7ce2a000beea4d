"""Reads a recording: what is in it, its messages in the order of its clock from any instant on, attachments."""

import contextlib
import heapq
import struct
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import zstandard
from mcap.data_stream import ReadDataStream
from mcap.exceptions import InvalidMagic, McapError
from mcap.reader import SeekingReader
from mcap.records import AttachmentIndex, Channel, Chunk, ChunkIndex, McapRecord, Message
from mcap.stream_reader import breakup_chunk
from mcap.summary import Summary

from twin.errors import RecordingInvalid
from twin.recording.envelope import ENVELOPE_TOPIC, channels_in, unpack
from twin.recording.item import NS_PER_MS, Item
from twin.recording.records import HEAD_BYTES, MAGIC, attachment_of, check_summary
from twin.recording.writer import CLOSED, FACTS, FORMAT

# What damage looks like; a length that is wrong asks for more memory than there is.
BROKEN = (
    McapError,
    struct.error,
    zstandard.ZstdError,
    ValueError,
    KeyError,
    EOFError,
    RuntimeError,
    MemoryError,
    OverflowError,
)


@dataclass(frozen=True, slots=True)
class Damage:
    """A part of a file that cannot be read.

    Attributes
    ----------
    start_ns, end_ns
        What it covers of the recording's clock.
    """

    start_ns: int
    end_ns: int
    reason: str


OnDamage = Callable[[Damage], None]


class Recording:
    """One file, open for reading; it is never changed.

    Parameters
    ----------
    path
        An MCAP file: one of ours, or any other with an index.

    Attributes
    ----------
    facts
        What was written about it at its beginning; empty for a file of another tool.
    counts
        Messages by topic.
    start_ns, end_ns
        The first and the last instant [ns since 1970].

    Raises
    ------
    RecordingInvalid
        It is missing, empty, no MCAP, of a newer format, damaged, or was not closed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()  # a player reads ahead in a thread of its own
        try:
            self._stream: BinaryIO = path.open("rb")
        except OSError as exc:
            raise RecordingInvalid(f"{path} cannot be opened: {exc.strerror}") from exc
        with contextlib.ExitStack() as undo:
            undo.callback(self._stream.close)
            self._summary = self._read_summary()
            self.facts = self._metadata(FACTS)
            check_format(path, self.facts)
            undo.pop_all()
        channels = self._summary.channels
        self._topics = {number: channel.topic for number, channel in channels.items()}
        statistics = self._summary.statistics
        self.counts: dict[str, int] = {}
        if statistics is not None:
            for number, count in sorted(statistics.channel_message_counts.items()):
                topic = self._topics.get(number, ENVELOPE_TOPIC)
                if topic != ENVELOPE_TOPIC:
                    self.counts[topic] = self.counts.get(topic, 0) + count
        self._chunks = sorted(
            self._summary.chunk_indexes, key=lambda chunk: (chunk.message_start_time, chunk.chunk_start_offset)
        )
        self.start_ns = min((chunk.message_start_time for chunk in self._chunks), default=0)
        self.end_ns = max((chunk.message_end_time for chunk in self._chunks), default=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    @property
    def bytes_n(self) -> int:
        """Size of the file [B]."""
        return self.path.stat().st_size

    @property
    def chunk_n(self) -> int:
        """Number of chunks."""
        return len(self._chunks)

    @property
    def closed_by(self) -> str:
        """Why the recording ended, as its writer says; empty if it does not."""
        return self._metadata(CLOSED).get("reason", "")

    def items(
        self,
        start_ns: int | None = None,
        end_ns: int | None = None,
        topics: Collection[str] | None = None,
        *,
        on_damage: OnDamage | None = None,
    ) -> Iterator[Item]:
        """Yield the messages in the order of the recording's clock; those of one partition in the order of the bus.

        Parameters
        ----------
        start_ns, end_ns
            From and up to, both included [ns since 1970].
        topics
            Only these.
        on_damage
            Told of a part that cannot be read, which is left out; ``None``: it is an error.

        Raises
        ------
        RecordingInvalid
            A part cannot be read.
        """
        start = self.start_ns if start_ns is None else start_ns
        end = self.end_ns if end_ns is None else end_ns
        wanted = [chunk for chunk in self._holding(topics) if chunk.message_end_time >= start]
        # (time, position of the chunk, position in it): never two the same, so items are not compared
        heap: list[tuple[int, int, int, list[Item]]] = []
        at = 0
        while at < len(wanted) or heap:
            while at < len(wanted) and (not heap or wanted[at].message_start_time <= heap[0][0]):
                chunk = wanted[at]
                at += 1
                if chunk.message_start_time > end:
                    at = len(wanted)
                    break
                items = [
                    item
                    for item in self._unpacked(chunk, on_damage)
                    if start <= item.time_ns <= end and (topics is None or item.topic in topics)
                ]
                if items:
                    heapq.heappush(heap, (items[0].time_ns, chunk.chunk_start_offset, 0, items))
            if not heap:
                continue
            _, offset, n, items = heap[0]
            yield items[n]
            if n + 1 < len(items):
                heapq.heapreplace(heap, (items[n + 1].time_ns, offset, n + 1, items))
            else:
                heapq.heappop(heap)

    def last_before(self, time_ns: int, topic: str, *, on_damage: OnDamage | None = None) -> Item | None:
        """Return the last message of a topic at or before an instant.

        Parameters
        ----------
        on_damage
            As of :meth:`items`.

        Raises
        ------
        RecordingInvalid
            A part cannot be read.
        """
        best: Item | None = None
        best_at = (-1, -1)  # of two at one instant, the one that was written later
        for chunk in sorted(self._holding((topic,)), key=attrgetter("message_end_time"), reverse=True):
            if chunk.message_end_time < best_at[0]:
                break
            if chunk.message_start_time > time_ns:
                continue
            for item in self._unpacked(chunk, on_damage):
                at = (item.time_ns, chunk.chunk_start_offset)
                if item.topic == topic and item.time_ns <= time_ns and at >= best_at:
                    best, best_at = item, at
        return best

    def attachments(self) -> list[AttachmentIndex]:
        """List the files in the recording."""
        return list(self._summary.attachment_indexes)

    def attachment(self, name: str) -> bytes | None:
        """Return a file in the recording, ``None`` if there is none of this name.

        Raises
        ------
        RecordingInvalid
            It cannot be read.
        """
        for index in self._summary.attachment_indexes:
            if index.name == name:
                return self.attached(index)
        return None

    def attached(self, index: AttachmentIndex) -> bytes:
        """Return the file in the recording that an index of :meth:`attachments` stands for.

        Raises
        ------
        RecordingInvalid
            It cannot be read.
        """
        with self._lock, self._translated(f"attachment {index.name}"):
            self._stream.seek(index.offset + HEAD_BYTES)
            data: bytes = attachment_of(self._stream.read(index.length - HEAD_BYTES)).data
            return data

    def metadata(self) -> Iterator[tuple[str, dict[str, str]]]:
        """Yield all notes about the recording.

        Raises
        ------
        RecordingInvalid
            One cannot be read.
        """
        with self._lock, self._translated("metadata"):
            notes = [(record.name, record.metadata) for record in SeekingReader(self._rewound()).iter_metadata()]
        yield from notes  # when the lock is free again

    def _holding(self, topics: Collection[str] | None) -> list[ChunkIndex]:
        if topics is None:
            return self._chunks
        numbers = {number for number, topic in self._topics.items() if topic in topics}
        return [  # a chunk of another tool may not say what it holds
            chunk
            for chunk in self._chunks
            if not chunk.message_index_offsets or not numbers.isdisjoint(chunk.message_index_offsets)
        ]

    def _unpacked(self, chunk: ChunkIndex, on_damage: OnDamage | None) -> list[Item]:
        try:
            with self._lock, self._translated("a chunk"):
                self._stream.seek(chunk.chunk_start_offset + HEAD_BYTES)
                packed = Chunk.read(ReadDataStream(self._stream))
            return sorted(items_of(packed, self._topics), key=attrgetter("time_ns"))
        except RecordingInvalid as exc:
            if on_damage is None:
                raise RecordingInvalid(
                    f"{self.path}: {exc}; `colossus recording repair {self.path}` saves what can be read"
                ) from exc
            on_damage(Damage(chunk.message_start_time, chunk.message_end_time, str(exc)))
            return []

    def _read_summary(self) -> Summary:
        size = self.path.stat().st_size
        if size == 0:
            raise RecordingInvalid(f"{self.path} is empty")
        repair = f"`colossus recording repair {self.path}` saves what can be read"
        try:
            summary = SeekingReader(self._rewound()).get_summary()
        except InvalidMagic as exc:
            if self._begins_as_mcap():
                raise RecordingInvalid(f"{self.path} was cut off, or not closed: {repair}") from exc
            raise RecordingInvalid(f"{self.path} is no recording: it does not begin as an MCAP file does") from exc
        except (*BROKEN, OSError) as exc:
            if size > len(MAGIC) and not self._begins_as_mcap():
                raise RecordingInvalid(f"{self.path} is no recording: it does not begin as an MCAP file does") from exc
            raise RecordingInvalid(f"{self.path} was cut off, or not closed ({exc}): {repair}") from exc
        try:
            check_summary(self._stream, size)
        except RecordingInvalid as exc:
            raise RecordingInvalid(f"{self.path} is damaged ({exc}): {repair}") from exc
        if summary is None or (summary.statistics is not None and self._unindexed(summary)):
            raise RecordingInvalid(f"{self.path} has no index: {repair}")
        return summary

    @staticmethod
    def _unindexed(summary: Summary) -> bool:
        return summary.statistics is not None and bool(summary.statistics.message_count) and not summary.chunk_indexes

    def _begins_as_mcap(self) -> bool:
        self._stream.seek(0)
        return self._stream.read(len(MAGIC)) == MAGIC

    def _rewound(self) -> BinaryIO:
        self._stream.seek(0)
        return self._stream

    def _metadata(self, name: str) -> dict[str, str]:
        return next((facts for found, facts in self.metadata() if found == name), {})

    @contextlib.contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        try:
            yield
        except (*BROKEN, OSError) as exc:
            raise RecordingInvalid(f"{what} cannot be read ({type(exc).__name__}: {exc})") from exc


def check_format(path: Path, facts: Mapping[str, str]) -> None:
    """Refuse a recording of a newer format than this version reads.

    Raises
    ------
    RecordingInvalid
        It is of one.
    """
    told = facts.get("format")
    if told is not None and (not told.isdecimal() or int(told) > FORMAT):
        raise RecordingInvalid(
            f"{path} is of format {told}, this version reads up to {FORMAT}: take a newer version of the twin"
        )


def items_of(chunk: Chunk, topics: dict[int, str]) -> list[Item]:
    """Unpack a chunk.

    Parameters
    ----------
    chunk
        Of one of our files or of any other.
    topics
        By channel; those that the chunk itself names are added.

    Raises
    ------
    RecordingInvalid
        It is damaged.
    """
    try:
        records = breakup_chunk(chunk, validate_crc=True)
    except BROKEN as exc:
        raise RecordingInvalid(f"a chunk cannot be read ({type(exc).__name__}: {exc})") from exc
    _learn(records, topics)
    messages: list[tuple[str, Message]] = []
    wrapped: bytes | None = None
    for record in records:
        if isinstance(record, Message):
            topic = topics.get(record.channel_id)
            if topic is None:
                raise RecordingInvalid(f"a chunk names channel {record.channel_id}, which nothing describes")
            if topic == ENVELOPE_TOPIC:
                wrapped = record.data
            else:
                messages.append((topic, record))
    if wrapped is None:  # a file of another tool: no keys, one partition
        return [
            Item(
                message.log_time, topic, 0, message.sequence, message.publish_time // NS_PER_MS,
                message.log_time // NS_PER_MS, None, message.data,
            )
            for topic, message in messages
        ]  # fmt: skip
    envelope = unpack(wrapped, len(messages))
    return [
        envelope.item(n, topic, message.log_time, message.publish_time, message.data)
        for n, (topic, message) in enumerate(messages)
    ]


def _learn(records: Sequence[McapRecord], topics: dict[int, str]) -> None:
    """Add the channels that a chunk describes; those that only a lost chunk described are told by its envelope."""
    for record in records:
        if isinstance(record, Channel):
            topics.setdefault(record.id, record.topic)
    last = records[-1] if records else None
    if isinstance(last, Message) and any(
        isinstance(record, Message) and record.channel_id not in topics for record in records
    ):
        told = channels_in(last.data)
        if told:
            for number, topic in {**told, last.channel_id: ENVELOPE_TOPIC}.items():
                topics.setdefault(number, topic)
