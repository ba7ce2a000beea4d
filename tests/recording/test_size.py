"""How large a recording will be, said before it begins."""

import random
from collections.abc import Iterator

import pytest

from tests.recording.files import T0_MS
from twin.bus.memory import MemoryBus
from twin.events.head import Head, encode_model
from twin.events.instructor import SnapshotReference
from twin.events.topics import TOPICS
from twin.recording.levels import select
from twin.recording.size import expect

NOISE = random.Random(1)  # noqa: S311


@pytest.fixture
def bus() -> Iterator[MemoryBus]:
    bus = MemoryBus("size", clock=lambda: 0.0, wall_ms=lambda: T0_MS)
    bus.create_topics(TOPICS)
    yield bus
    bus.close()


def fill(bus: MemoryBus, topic: str, size: int, *, since_s: float = 20.0) -> None:
    """Send ten messages a second of noise, which does not shrink."""
    for n in range(round(10 * since_s)):
        at_ms = T0_MS - round(1000 * since_s) + 100 * n
        bus.publish(topic, NOISE.randbytes(size), key=b"k", partition=0, timestamp_ms=at_ms)


def test_it_goes_by_what_came_last(bus: MemoryBus) -> None:
    fill(bus, "telemetry.gpu", 50_000)
    fill(bus, "telemetry.grid", 1000)
    default = expect(bus, select(bus.topics(), ""), T0_MS)
    assert default.bytes_per_h == pytest.approx(10 * 1000 * 3600, rel=0.02)
    assert default.black_box_bytes == pytest.approx(10 * 50_000 * 120, rel=0.02)
    full = expect(bus, select(bus.topics(), "", full=True), T0_MS)
    assert full.bytes_per_h == pytest.approx(10 * 51_000 * 3600, rel=0.02)
    assert full.black_box_bytes == 0
    assert full.how == "by what came in the last 3 s"


def test_a_run_that_has_just_begun_is_not_taken_for_a_slow_one(bus: MemoryBus) -> None:
    fill(bus, "telemetry.grid", 1000, since_s=1.5)
    assert expect(bus, select(bus.topics(), ""), T0_MS).bytes_per_h == pytest.approx(10 * 1000 * 3600, rel=0.02)


def test_what_comes_while_it_looks_does_not_count(bus: MemoryBus) -> None:
    fill(bus, "telemetry.grid", 1000)
    bus.publish("telemetry.grid", NOISE.randbytes(90_000), key=b"k", timestamp_ms=T0_MS + 1500)
    assert expect(bus, select(bus.topics(), ""), T0_MS).bytes_per_h == pytest.approx(10 * 1000 * 3600, rel=0.02)


def test_where_nothing_comes_it_is_what_was_measured_or_unknown(bus: MemoryBus) -> None:
    fill(bus, "telemetry.grid", 1000)
    later_ms = T0_MS + 60_000
    default, full = (expect(bus, select(bus.topics(), "", full=full), later_ms) for full in (False, True))
    assert default.bytes_per_h is not None
    assert full.bytes_per_h is not None
    assert 0.1e9 < default.bytes_per_h < 0.5e9 < full.bytes_per_h < 8e9
    assert "measured with 200,000 GPUs" in default.how
    assert expect(bus, select(bus.topics(), "", patterns=["commands"]), later_ms).bytes_per_h is None


def test_snapshots_count_with_the_size_of_their_files(bus: MemoryBus) -> None:
    told = SnapshotReference(tick=1, path="x", sha256="0" * 64, bytes=6_000_000, schema_id="plant/1")
    head = Head(
        schema_id="instructor.snapshots/1", run="20261124T072000Z-a7f3", epoch=0, tick=1, seq=0, ts=0, dt_s=1.0, key="k"
    )
    for at_ms in (T0_MS - 70_000, T0_MS - 10_000):
        bus.publish("instructor.snapshots", encode_model(head, told), key=b"k", timestamp_ms=at_ms)
    bus.publish("instructor.snapshots", b"no reference", key=b"k", timestamp_ms=T0_MS)
    told_size = expect(bus, select(bus.topics(), "", instructor=True), T0_MS).bytes_per_h
    assert told_size == pytest.approx(60 * 6_000_000, rel=0.02)
