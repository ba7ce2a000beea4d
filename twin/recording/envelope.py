"""What a Kafka message has and an MCAP message has no place for: key, headers, partition, offset, null values.

The last message of each chunk of ours is an envelope on :data:`ENVELOPE_TOPIC`: columns over all other messages of
that chunk, in their order. So a value stands in the file byte for byte, any MCAP reader sees it as it was published,
and a chunk says all about itself.
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from twin.errors import RecordingInvalid
from twin.recording.item import NS_PER_MS, Item

ENVELOPE_TOPIC = "colossus.envelope"
TIMESTAMP_MAX_MS = (1 << 63) // NS_PER_MS - 1  # MCAP counts nanoseconds in 64 bits
ENVELOPE_SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$id": "colossus.envelope/1",
    "title": ENVELOPE_TOPIC,
    "description": "What Kafka knows of the other messages of this chunk: columns in the order of the messages.",
    "type": "object",
    "required": ["keys", "key", "partition", "offset", "received_ms"],
    "properties": {
        "keys": {"type": "array", "items": {"type": "string"}, "description": "the keys that occur, base64"},
        "key": {"type": "array", "items": {"type": "integer"}, "description": "index into keys, -1 for none"},
        "partition": {"type": "array", "items": {"type": "integer"}},
        "offset": {"type": "array", "items": {"type": "integer"}},
        "received_ms": {"type": "array", "items": {"type": "integer"}},
        "null": {"type": "array", "items": {"type": "integer"}, "description": "messages without a value"},
        "timestamp_ms": {"type": "object", "description": "message -> timestamp that MCAP has no room for"},
        "headers": {"type": "object", "description": "message -> [[name, base64 of the content], …]"},
        "channels": {"type": "object", "description": "topic -> channel: what describes it may be in a lost chunk"},
    },
}


@dataclass(frozen=True, slots=True)
class Envelope:
    """The columns of one chunk."""

    keys: tuple[bytes | None, ...]
    partitions: tuple[int, ...]
    offsets: tuple[int, ...]
    received_ms: tuple[int, ...]
    nulls: frozenset[int]
    headers: dict[int, tuple[tuple[str, bytes], ...]]
    timestamps: dict[int, int]

    def item(self, n: int, topic: str, time_ns: int, publish_ns: int, data: bytes) -> Item:
        """Return the ``n``-th message of the chunk as it was on the bus."""
        value = None if n in self.nulls else data
        timestamp_ms = self.timestamps.get(n, publish_ns // NS_PER_MS)
        return Item(
            time_ns, topic, self.partitions[n], self.offsets[n], timestamp_ms, self.received_ms[n], self.keys[n], value,
            self.headers.get(n, ()),
        )  # fmt: skip


def pack(items: Sequence[Item], channels: Mapping[str, int]) -> bytes:
    """Write the envelope of a chunk's messages.

    Parameters
    ----------
    channels
        Of their topics.
    """
    places: dict[bytes, int] = {}
    key = [-1 if item.key is None else places.setdefault(item.key, len(places)) for item in items]
    columns: dict[str, Any] = {
        "keys": [_text(known) for known in places],
        "key": key,
        "partition": [item.partition for item in items],
        "offset": [item.offset for item in items],
        "received_ms": [item.received_ms for item in items],
        "channels": {topic: channels[topic] for topic in dict.fromkeys(item.topic for item in items)},
    }
    if nulls := [n for n, item in enumerate(items) if item.value is None]:
        columns["null"] = nulls
    stamps = [item.timestamp_ms for item in items]
    if odd := {str(n): ms for n, ms in enumerate(stamps) if not 0 <= ms <= TIMESTAMP_MAX_MS}:
        columns["timestamp_ms"] = odd
    if headers := {str(n): item.headers for n, item in enumerate(items) if item.headers}:
        columns["headers"] = {n: [(name, _text(content)) for name, content in pairs] for n, pairs in headers.items()}
    return orjson.dumps(columns)


def unpack(data: bytes, count: int) -> Envelope:
    """Read an envelope.

    Parameters
    ----------
    data
        Of :func:`pack`.
    count
        How many other messages the chunk has.

    Raises
    ------
    RecordingInvalid
        It is no envelope of these messages: another tool has put the chunks together anew.
    """
    try:
        columns = orjson.loads(data)
        known: list[bytes | None] = [base64.b64decode(text, validate=True) for text in columns["keys"]]
        known.append(None)  # index -1
        envelope = Envelope(
            keys=tuple(known[place] for place in columns["key"]),
            partitions=tuple(columns["partition"]),
            offsets=tuple(columns["offset"]),
            received_ms=tuple(columns["received_ms"]),
            nulls=frozenset(columns.get("null", ())),
            headers={
                int(n): tuple((name, base64.b64decode(content)) for name, content in pairs)
                for n, pairs in columns.get("headers", {}).items()
            },
            timestamps={int(n): int(ms) for n, ms in columns.get("timestamp_ms", {}).items()},
        )
        counted = (*envelope.partitions, *envelope.offsets, *envelope.received_ms)
        named = [name for pairs in envelope.headers.values() for name, _ in pairs]
        sound = all(type(n) is int for n in counted) and all(type(name) is str for name in named)
    except (orjson.JSONDecodeError, binascii.Error, KeyError, IndexError, TypeError, ValueError, AttributeError) as exc:
        raise RecordingInvalid(f"envelope cannot be read: {type(exc).__name__}: {exc}") from exc
    if not sound:
        raise RecordingInvalid("envelope cannot be read: a column holds what it cannot")
    sizes = {len(column) for column in (envelope.keys, envelope.partitions, envelope.offsets, envelope.received_ms)}
    if sizes != {count}:
        raise RecordingInvalid(f"envelope is of {max(sizes, default=0)} messages, its chunk has {count}")
    return envelope


def channels_in(data: bytes) -> dict[int, str]:
    """Read only which channel is of which topic; nothing from bytes that are no envelope."""
    try:
        return {int(number): str(topic) for topic, number in orjson.loads(data)["channels"].items()}
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError):
        return {}


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()
