"""Recordings for the tests."""

from collections.abc import Iterable
from pathlib import Path

from twin.recording.item import NS_PER_MS, Item
from twin.recording.writer import RecordingWriter

T0_MS = 1_795_504_800_000


def item(
    topic: str = "orders",
    ms: float = 0,
    *,
    key: bytes | None = b"k",
    value: bytes | None = b"v",
    partition: int = 0,
    offset: int = 0,
    headers: tuple[tuple[str, bytes], ...] = (),
) -> Item:
    """Return a message, ``ms`` after the beginning of all recordings here."""
    at_ms = T0_MS + ms
    return Item(round(at_ms * NS_PER_MS), topic, partition, offset, int(at_ms), int(at_ms) + 5, key, value, headers)


def write(path: Path, items: Iterable[Item], *, chunk_bytes: int = 1000, **facts: str) -> Path:
    """Write a recording of these messages."""
    with RecordingWriter(path, facts, chunk_bytes=chunk_bytes) as writer:
        for one in items:
            writer.add(one)
    return path
