"""Writes a recording: MCAP with zstd chunks, message index, checksums, and an envelope in each chunk."""

import contextlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import orjson
from mcap.writer import CompressionType, Writer

from twin.errors import RecordingUnwritable
from twin.events.schemas import schema_of
from twin.events.topics import BY_NAME
from twin.recording import envelope
from twin.recording.item import NS_PER_MS, Item

FORMAT = 1
FACTS = "colossus.recording"  # metadata at the beginning
CLOSED = "colossus.closed"  # metadata at the end
PROFILE = "colossus"
CHUNK_BYTES = 4 << 20
_BULK = ("telemetry.gpu", "twin.rack")  # chunks of their own, so that the rest is found without unpacking them
_NEVER = 1 << 60  # chunks end when we say so


class RecordingWriter:
    """Writes one file; what was flushed survives a kill, and a full disk.

    Parameters
    ----------
    path
        Must not exist.
    facts
        About the whole recording: run, site, seed, level, versions, clock.
    chunk_bytes
        A chunk is written when its messages take so much memory [B].

    Raises
    ------
    RecordingUnwritable
        It exists, or cannot be made.
    """

    def __init__(self, path: Path, facts: Mapping[str, str], *, chunk_bytes: int = CHUNK_BYTES) -> None:
        self.path = path
        self.counts: Counter[str] = Counter()
        self._chunk_bytes = chunk_bytes
        self._lanes: dict[str, list[Item]] = {}
        self._lane_bytes: Counter[str] = Counter()
        self._channels: dict[str, int] = {}
        self._sequences: Counter[str] = Counter()
        self._open = False
        self._good_bytes = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._stream: BinaryIO = path.open("xb")
        except OSError as exc:
            if isinstance(exc, FileExistsError) and path.exists():  # and not a file where a folder should be
                raise RecordingUnwritable(f"{path} is there already: choose another name, or move it away") from exc
            raise RecordingUnwritable(f"{path} cannot be made ({exc.strerror}): choose another folder (-o)") from exc
        self._open = True
        try:
            self._begin(facts)
        except RecordingUnwritable as exc:
            path.unlink(missing_ok=True)
            raise RecordingUnwritable(
                f"{path} cannot be begun ({exc.__cause__}): free space, or choose another folder (-o)"
            ) from exc

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._open:
            self.close("ended" if error is None else f"{type(error).__name__}: {error}"[:300])

    @property
    def bytes_written(self) -> int:
        """Size of what is readable in the file [B]."""
        return self._good_bytes

    @property
    def unwritten_n(self) -> int:
        """Messages that wait for their chunk."""
        return sum(map(len, self._lanes.values()))

    def add(self, item: Item) -> None:
        """Take a message; it is in the file with the next flush of its chunk, at the latest.

        Raises
        ------
        RecordingUnwritable
            The disk is full.
        """
        lane = item.topic if item.topic in _BULK else ""
        self._lanes.setdefault(lane, []).append(item)
        self._lane_bytes[lane] += item.memory_n
        if self._lane_bytes[lane] >= self._chunk_bytes:
            self._write(lane)

    def flush(self) -> None:
        """Write what has been taken, as one chunk for each lane.

        Raises
        ------
        RecordingUnwritable
            The disk is full.
        """
        for lane in tuple(self._lanes):
            self._write(lane)

    def attach(self, name: str, media_type: str, data: bytes, time_ns: int) -> None:
        """Put a file into the recording.

        Raises
        ------
        RecordingUnwritable
            The disk is full.
        """
        with self._writing():
            self._mcap.add_attachment(time_ns, time_ns, name, media_type, data)
            self._mcap.flush()

    def note(self, name: str, facts: Mapping[str, str]) -> None:
        """Write facts about the recording.

        Raises
        ------
        RecordingUnwritable
            The disk is full.
        """
        with self._writing():
            self._mcap.add_metadata(name, dict(facts))
            self._mcap.flush()

    def close(self, reason: str) -> None:
        """Write what is left and the index, and close the file.

        Parameters
        ----------
        reason
            Why it ends, for who reads it.

        Raises
        ------
        RecordingUnwritable
            The disk is full: what was flushed is in the file, without an index.
        """
        if not self._open:
            return
        self.flush()
        with self._writing():
            self._mcap.add_metadata(CLOSED, {"reason": reason})
            self._mcap.finish()
            self._stream.flush()
        self._open = False
        self._stream.close()

    def _begin(self, facts: Mapping[str, str]) -> None:
        with self._writing():
            self._mcap = Writer(
                self._stream, chunk_size=_NEVER, compression=CompressionType.ZSTD, enable_data_crcs=True
            )
            self._mcap.start(profile=PROFILE, library=f"colossus-twin {version('colossus-twin')}")
            self._mcap.add_metadata(FACTS, {"format": str(FORMAT), **facts})
            self._mcap.flush()

    def _write(self, lane: str) -> None:
        items = sorted(self._lanes.pop(lane), key=lambda item: item.time_ns)
        del self._lane_bytes[lane]
        with self._writing():
            for item in items:
                self._mcap.add_message(
                    self._channel(item),
                    log_time=item.time_ns,
                    data=item.value or b"",
                    publish_time=min(max(item.timestamp_ms, 0), envelope.TIMESTAMP_MAX_MS) * NS_PER_MS,
                    sequence=self._sequences[item.topic] % (1 << 32),
                )
                self._sequences[item.topic] += 1
            self._mcap.add_message(
                self._envelope_channel(),
                log_time=items[-1].time_ns,
                data=envelope.pack(items, self._channels),
                publish_time=items[-1].time_ns,
                sequence=len(items) % (1 << 32),
            )
            self._mcap.flush()
        self.counts.update(item.topic for item in items)

    def _channel(self, item: Item) -> int:
        channel = self._channels.get(item.topic)
        if channel is None:
            own = BY_NAME.get(item.topic)
            schema_id, encoding = 0, _encoding(item.value)
            if own is not None:
                schema = json.dumps(schema_of(own)).encode()
                schema_id, encoding = self._mcap.register_schema(own.schema_id, "jsonschema", schema), "json"
            channel = self._channels[item.topic] = self._mcap.register_channel(item.topic, encoding, schema_id)
        return channel

    def _envelope_channel(self) -> int:
        channel = self._channels.get(envelope.ENVELOPE_TOPIC)
        if channel is None:
            schema = json.dumps(envelope.ENVELOPE_SCHEMA).encode()
            schema_id = self._mcap.register_schema(envelope.ENVELOPE_SCHEMA["$id"], "jsonschema", schema)
            channel = self._channels[envelope.ENVELOPE_TOPIC] = self._mcap.register_channel(
                envelope.ENVELOPE_TOPIC, "json", schema_id
            )
        return channel

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Write something whole, or cut the file back to where it was."""
        if not self._open:
            raise RecordingUnwritable(f"{self.path} is closed")
        try:
            yield
            self._good_bytes = self._stream.tell()
        except OSError as exc:
            self._open = False
            with contextlib.suppress(OSError):
                self._stream.close()  # what it still holds is tried again here, and may fail again
            with contextlib.suppress(OSError), self.path.open("r+b") as file:
                file.truncate(self._good_bytes)
            raise RecordingUnwritable(
                f"{self.path} cannot be written any further ({exc.strerror}): {self.counts.total()} messages, "
                f"{self._good_bytes} bytes, are in it; free space, then `colossus recording repair {self.path}`"
            ) from exc


def _encoding(value: bytes | None) -> str:
    """Guess the encoding of a topic that is not ours from its first message."""
    try:
        orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        return "application/octet-stream"
    return "json"
