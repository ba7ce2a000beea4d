"""Checks a recording against itself: checksums, index, envelopes, counts, offsets."""

import struct
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from mcap.opcode import Opcode
from mcap.records import AttachmentIndex, Channel, ChunkIndex, DataEnd, MetadataIndex, Statistics

from twin.errors import RecordingInvalid
from twin.recording.edit import one_bus
from twin.recording.envelope import ENVELOPE_TOPIC
from twin.recording.instants import utc
from twin.recording.reader import BROKEN, Damage, Recording
from twin.recording.records import MAGIC, Head, Walk, attachment_of, checksum, content, stream_of

_INDEXED = (Opcode.CHUNK, Opcode.ATTACHMENT, Opcode.METADATA)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be.

    Attributes
    ----------
    where
        A place in the file, a stretch of its clock, or a topic and partition.
    """

    what: str
    where: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check has read, and what it found."""

    findings: tuple[Finding, ...]
    bytes_n: int
    chunks_n: int
    messages_n: int
    attachments_n: int


def verify(path: Path) -> Verdict:
    """Read all of a file, and check it against itself.

    Raises
    ------
    RecordingInvalid
        It cannot be opened.
    """
    try:
        with path.open("rb") as stream:
            check = _Check(stream, path.stat().st_size)
            check.file()
    except OSError as exc:
        raise RecordingInvalid(f"{path} cannot be read: {exc.strerror}") from exc
    if check.closed:
        try:
            with Recording(path) as recording:
                check.messages(recording)
        except RecordingInvalid as exc:
            check.found(str(exc), "the file")
    return Verdict(
        findings=tuple(check.findings),
        bytes_n=check.size,
        chunks_n=check.records[Opcode.CHUNK],
        messages_n=check.messages_n,
        attachments_n=check.records[Opcode.ATTACHMENT],
    )


@dataclass(slots=True)
class _Check:
    """One check: first of the file's records, then of the messages in them."""

    stream: BinaryIO
    size: int
    findings: list[Finding] = field(default_factory=list)
    records: Counter[int] = field(default_factory=Counter)  # of the data section, by opcode
    messages_n: int = 0
    closed: bool = False  # it has all its parts: a reader can open it
    _heads: dict[int, Head] = field(default_factory=dict)
    _indexed: Counter[int] = field(default_factory=Counter)
    _envelope_channels: set[int] = field(default_factory=set)
    _bare: list[ChunkIndex] = field(default_factory=list)  # without an envelope
    _statistics: Statistics | None = None

    def found(self, what: str, where: str) -> None:
        self.findings.append(Finding(what, where))

    def file(self) -> None:
        """Check what can be checked without unpacking anything."""
        self.stream.seek(0)
        if self.stream.read(len(MAGIC)) != MAGIC:
            self.found("it is empty" if self.size == 0 else "it does not begin as an MCAP file does", "byte 0")
            return
        walk = Walk(self.stream, self.size)
        last, data_ended = None, False
        for last in walk:
            if last.opcode == Opcode.DATA_END:
                data_ended = True
            try:
                self._record(last, in_summary=data_ended)
            except BROKEN as exc:
                self.found(f"a record cannot be read ({type(exc).__name__}: {exc})", f"byte {last.offset}")
        if walk.problem:
            self.found(f"it was cut off, not closed, or is damaged: {walk.problem}", f"byte {walk.end}")
            return
        if not data_ended:
            self.found("its data have no end", f"byte {walk.end}")
        self.stream.seek(walk.end)
        if self.stream.read(len(MAGIC) + 1) != MAGIC:
            self.found("it does not end as an MCAP file does", f"byte {walk.end}")
            return
        self.closed = True
        self._compare()

    def _record(self, head: Head, *, in_summary: bool) -> None:
        if not in_summary:
            self.records[head.opcode] += 1
            if head.opcode in _INDEXED:
                self._heads[head.offset] = head
            if head.opcode == Opcode.ATTACHMENT:
                attachment_of(content(self.stream, head))
        elif head.opcode == Opcode.DATA_END:
            told = DataEnd.read(stream_of(content(self.stream, head))).data_section_crc
            if told and told != checksum(self.stream, 0, head.offset):
                self.found("the checksum of its data is wrong", f"bytes 0 to {head.offset}")
        else:
            self._index(head)

    def _index(self, head: Head) -> None:
        stream = stream_of(content(self.stream, head))
        if head.opcode == Opcode.STATISTICS:
            self._statistics = Statistics.read(stream)
        elif head.opcode == Opcode.CHANNEL:
            channel = Channel.read(stream)
            if channel.topic == ENVELOPE_TOPIC:
                self._envelope_channels.add(channel.id)
        elif head.opcode == Opcode.CHUNK_INDEX:
            chunk = ChunkIndex.read(stream)
            self._place(Opcode.CHUNK, chunk.chunk_start_offset, chunk.chunk_length)
            if self._envelope_channels.isdisjoint(chunk.message_index_offsets):
                self._bare.append(chunk)
            start = self._heads.get(chunk.chunk_start_offset)
            if start is not None:
                times = struct.unpack("<QQ", content(self.stream, start._replace(length=16)))
                if times != (chunk.message_start_time, chunk.message_end_time):
                    self.found("the index tells another time than its chunk", f"byte {chunk.chunk_start_offset}")
        elif head.opcode == Opcode.ATTACHMENT_INDEX:
            attachment = AttachmentIndex.read(stream)
            self._place(Opcode.ATTACHMENT, attachment.offset, attachment.length)
        elif head.opcode == Opcode.METADATA_INDEX:
            note = MetadataIndex.read(stream)
            self._place(Opcode.METADATA, note.offset, note.length)

    def _place(self, opcode: Opcode, offset: int, length: int) -> None:
        self._indexed[opcode] += 1
        if self._heads.get(offset) != Head.of_record(offset, opcode, length):
            self.found(f"the index tells of {_name(opcode)} that is not there", f"byte {offset}")

    def _compare(self) -> None:
        """Compare how many records there are with how many are told of."""
        for opcode in _INDEXED:
            if self._indexed[opcode] < self.records[opcode]:
                missing_n = self.records[opcode] - self._indexed[opcode]
                self.found(f"the index leaves out {_name(opcode)}, {missing_n} times", "the index")
        told = self._statistics
        if told is None:
            return
        counts = (told.chunk_count, told.attachment_count, told.metadata_count)
        for opcode, count in zip(_INDEXED, counts, strict=True):
            if count != self.records[opcode]:
                self.found(f"{_name(opcode)} is told of {count} times, and there {self.records[opcode]}", "statistics")

    def messages(self, recording: Recording) -> None:
        """Check what is in the chunks, as a player would read it."""
        counts: Counter[str] = Counter()
        last: dict[tuple[str, int], int] = {}
        falls: dict[tuple[str, int], tuple[int, str]] = {}
        counted = one_bus(recording)
        for item in recording.items(on_damage=self._damage):
            counts[item.topic] += 1
            place = (item.topic, item.partition)
            before = last.get(place, -1)
            if counted and item.offset <= before:
                times_n, first = falls.get(place, (0, f"{item.offset} after {before} at {utc(item.time_ns)}"))
                falls[place] = (times_n + 1, first)
            last[place] = item.offset
        self.messages_n = counts.total()
        for (topic, partition), (times_n, first) in falls.items():
            self.found(f"offsets do not rise, {times_n} times: {first}", f"{topic} partition {partition}")
        for topic in sorted(counts.keys() | recording.counts.keys()):
            if counts[topic] != recording.counts.get(topic, 0):
                self.found(f"{recording.counts.get(topic, 0)} messages are told of, {counts[topic]} are there", topic)
        if recording.facts:
            for chunk in self._bare:
                self.found("a chunk has no envelope: another tool has written it", f"byte {chunk.chunk_start_offset}")

    def _damage(self, damage: Damage) -> None:
        self.found(damage.reason, f"{utc(damage.start_ns)} to {utc(damage.end_ns)}")


def _name(opcode: int) -> str:
    return {Opcode.CHUNK: "a chunk", Opcode.ATTACHMENT: "an attachment", Opcode.METADATA: "a note"}[Opcode(opcode)]
