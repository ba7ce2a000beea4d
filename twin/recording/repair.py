"""Mends a recording that was not closed, was cut off, or is damaged: what can be read goes into a new file."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from mcap.opcode import Opcode
from mcap.reader import SeekingReader
from mcap.records import Channel, Chunk, Metadata
from mcap.summary import Summary

from twin.errors import RecordingInvalid
from twin.recording.edit import EDITED, NO_BUS, OFFSETS, new_recording
from twin.recording.item import Item
from twin.recording.reader import BROKEN, check_format, items_of
from twin.recording.records import MAGIC, Head, Walk, attachment_of, check_summary, content, stream_of
from twin.recording.writer import CLOSED, FACTS, RecordingWriter

_KEPT = {
    Opcode.CHUNK: "a chunk",
    Opcode.MESSAGE: "a message",
    Opcode.ATTACHMENT: "an attachment",
    Opcode.METADATA: "a note",
    Opcode.CHANNEL: "a channel",
}


@dataclass(frozen=True, slots=True)
class Lost:
    """A part that cannot be read.

    Attributes
    ----------
    offset, bytes_n
        Where it stands in the source.
    start_ns, end_ns
        What it covers of the recording's clock [ns since 1970], if that is known.
    """

    what: str
    offset: int
    bytes_n: int
    reason: str
    start_ns: int | None = None
    end_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Repaired:
    """What was saved of a file, and what was lost.

    Attributes
    ----------
    start_ns, end_ns
        The first and the last instant that was saved [ns since 1970]; 0 if there is no message.
    lost
        Parts that are damaged.
    cut_off_bytes
        How much of the source's end is of no use [B].
    cut_off_by
        Why; empty where the source reaches its end.
    """

    target: Path
    counts: Mapping[str, int]
    start_ns: int
    end_ns: int
    attachments_n: int
    lost: tuple[Lost, ...]
    cut_off_bytes: int
    cut_off_by: str


def repair(source: Path, target: Path) -> Repaired:
    """Save into a new recording what can be read of one.

    Messages that were never in the source are not missed here: see the offsets of :func:`twin.recording.inspect`.

    Raises
    ------
    RecordingInvalid
        It is missing, is no MCAP, or is of a newer format.
    RecordingUnwritable
        The target is there already, or the disk is full.
    """
    try:
        with source.open("rb") as stream:
            survey = _Survey(stream, source)
            with new_recording(target, survey.facts, "repaired") as writer:
                return _Saving(survey, writer).all()
    except OSError as exc:
        raise RecordingInvalid(f"{source} cannot be read: {exc.strerror}") from exc


class _Survey:
    """Where the records of a damaged file are, and what is known of all of them."""

    def __init__(self, stream: BinaryIO, source: Path) -> None:
        self.stream = stream
        self.source = source
        self.size = source.stat().st_size
        stream.seek(0)
        if stream.read(len(MAGIC)) != MAGIC:
            raise RecordingInvalid(f"{source} is no recording: it does not begin as an MCAP file does")
        self.lost: list[Lost] = []
        self.topics: dict[int, str] = {}
        self.spans: dict[int, tuple[int, int]] = {}  # of the chunk at an offset
        self.cut_off_by = ""
        self.cut_off_bytes = 0
        summary = self._summary()
        if summary is not None and summary.chunk_indexes:
            self.heads = self._indexed(summary)
        else:
            self.heads = self._walked()
        self.notes = list(self._read_notes())
        self.facts = next((facts for name, facts in self.notes if name == FACTS), {})
        check_format(source, self.facts)

    def _summary(self) -> Summary | None:
        """Return the index, if there is one and it is as it was written."""
        try:
            check_summary(self.stream, self.size)
            self.stream.seek(0)
            return SeekingReader(self.stream).get_summary()
        except (*BROKEN, RecordingInvalid, OSError):
            return None

    def _indexed(self, summary: Summary) -> list[Head]:
        # Not from record to record: where the head of one is damaged, the index still tells of all others.
        self.topics = {number: channel.topic for number, channel in summary.channels.items()}
        self.spans = {
            chunk.chunk_start_offset: (chunk.message_start_time, chunk.message_end_time)
            for chunk in summary.chunk_indexes
        }
        places = [(chunk.chunk_start_offset, Opcode.CHUNK, chunk.chunk_length) for chunk in summary.chunk_indexes]
        places += [(index.offset, Opcode.ATTACHMENT, index.length) for index in summary.attachment_indexes]
        places += [(index.offset, Opcode.METADATA, index.length) for index in summary.metadata_indexes]
        return [Head.of_record(offset, opcode, length) for offset, opcode, length in sorted(places)]

    def _walked(self) -> list[Head]:
        walk = Walk(self.stream, self.size)
        heads: list[Head] = []
        for head in walk:
            if head.opcode == Opcode.DATA_END:
                return heads
            if head.opcode in _KEPT:
                heads.append(head)
        self.cut_off_by, self.cut_off_bytes = walk.problem, self.size - walk.end
        return heads

    def _read_notes(self) -> Iterator[tuple[str, dict[str, str]]]:
        for head in self.heads:
            if head.opcode == Opcode.METADATA:
                try:
                    note = Metadata.read(stream_of(content(self.stream, head)))
                except BROKEN as exc:
                    self.lose(head, exc)
                else:
                    yield note.name, note.metadata

    def lose(self, head: Head, error: BaseException) -> None:
        """Remember a record that cannot be read."""
        reason = str(error) if isinstance(error, RecordingInvalid) else f"{type(error).__name__}: {error}"
        span = self.spans.get(head.offset, (None, None))
        self.lost.append(Lost(_KEPT[Opcode(head.opcode)], head.offset, head.end - head.offset, reason, *span))


@dataclass(slots=True)
class _Saving:
    """Copies record by record."""

    survey: _Survey
    writer: RecordingWriter
    span: tuple[int, int] | None = field(default=None, init=False)
    attachments_n: int = field(default=0, init=False)

    def all(self) -> Repaired:
        survey = self.survey
        for head in survey.heads:
            try:
                self._save(head, content(survey.stream, head))
            except (*BROKEN, RecordingInvalid) as exc:
                survey.lose(head, exc)
        for name, facts in survey.notes:
            if name not in (FACTS, CLOSED):
                self.writer.note(name, facts)
        self.writer.note(EDITED, self._note())
        self.writer.flush()
        return Repaired(
            self.writer.path, dict(self.writer.counts), *(self.span or (0, 0)), self.attachments_n,
            tuple(survey.lost), survey.cut_off_bytes, survey.cut_off_by,
        )  # fmt: skip

    def _save(self, head: Head, record: bytes) -> None:
        survey = self.survey
        if head.opcode == Opcode.CHUNK:
            chunk = Chunk.read(stream_of(record))
            survey.spans.setdefault(head.offset, (chunk.message_start_time, chunk.message_end_time))
            self._add(items_of(chunk, survey.topics))
        elif head.opcode == Opcode.MESSAGE:
            # As a chunk of its own: the messages of another tool may stand alone.
            packed = head.packed() + record
            alone = Chunk(
                compression="", data=packed, message_start_time=0, message_end_time=0, uncompressed_crc=0,
                uncompressed_size=len(packed),
            )  # fmt: skip
            self._add(items_of(alone, survey.topics))
        elif head.opcode == Opcode.CHANNEL:
            channel = Channel.read(stream_of(record))
            survey.topics.setdefault(channel.id, channel.topic)
        elif head.opcode == Opcode.ATTACHMENT:
            attachment = attachment_of(record)
            self.writer.attach(attachment.name, attachment.media_type, attachment.data, attachment.log_time)
            self.attachments_n += 1

    def _add(self, items: list[Item]) -> None:
        for item in items:
            self.writer.add(item)
            start_ns, end_ns = self.span or (item.time_ns, item.time_ns)
            self.span = (min(start_ns, item.time_ns), max(end_ns, item.time_ns))

    def _note(self) -> dict[str, str]:
        survey = self.survey
        note = {
            "verb": "repair",
            "from": survey.source.name,
            "lost": str(len(survey.lost)),
            "cut_off_bytes": str(survey.cut_off_bytes),
        }
        if not survey.facts:
            note[OFFSETS] = NO_BUS
        return note
