"""Whole recordings for the tests: one of ours in many chunks, one of another tool, and what Hypothesis makes up."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from hypothesis import strategies as st
from mcap.writer import CompressionType, IndexType, Writer

from tests.recording.files import T0_MS, item
from twin.recording.item import NS_PER_MS, Item
from twin.recording.reader import Recording
from twin.recording.records import MAGIC, Walk
from twin.recording.writer import RecordingWriter

FACTS = {"run": "20261124T072000Z-a7f3", "site": "mini", "seed": "7"}
SECONDS = 6
SNAPSHOT = b"plant " * 40


def sample_items() -> list[Item]:
    """Return some seconds of three topics: one with chunks of its own, one with headers, one with a null value."""
    items = []
    for second in range(SECONDS):
        ms = second * 1000
        for array in range(2):
            value = b'{"array":%d,"second":%d}' % (array, second)
            items.append(
                item("telemetry.gpu", ms, key=b"A00%d" % (array + 1), value=value, partition=array, offset=second)
            )
        items.append(
            item("orders", ms + 250, key=b"k%d" % (second % 2), offset=second + 7, headers=(("trace", b"\x00\xff"),))
        )
        items.append(item("bare", ms + 500, key=None, value=None if second % 2 else b"", offset=second))
    return items


def write_sample(path: Path) -> Path:
    """Write a recording of :func:`sample_items`: a chunk of each lane per second, two attachments, a note."""
    with RecordingWriter(path, FACTS) as writer:
        writer.attach("plant-0.zst", "application/zstd", SNAPSHOT, T0_MS * NS_PER_MS)
        for second, items in enumerate(by_second(sample_items())):
            for one in items:
                writer.add(one)
            writer.flush()
            if second == SECONDS // 2:
                writer.attach("plant-3.zst", "application/zstd", SNAPSHOT[::-1], items[0].time_ns)
        writer.note("colossus.told", {"by": "a test"})
        writer.close("the test is over")
    return path


def by_second(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Group messages by their second."""
    groups: dict[int, list[Item]] = {}
    for one in items:
        groups.setdefault(one.time_ns // 10**9, []).append(one)
    yield from groups.values()


def write_foreign(
    path: Path, *, compression: CompressionType = CompressionType.ZSTD, chunks: bool = True, indexed: bool = True
) -> Path:
    """Write a file as other tools do: no keys, no envelope, a schema and encoding of its own."""
    with path.open("wb") as stream:
        index_types = IndexType.ALL if indexed else IndexType.ALL & ~IndexType.MESSAGE
        writer = Writer(stream, chunk_size=200, compression=compression, use_chunking=chunks, index_types=index_types)
        writer.start(profile="ros2", library="another tool")
        schema = writer.register_schema("Pose", "protobuf", b"\x0a\x01")
        channels = [writer.register_channel(topic, "protobuf", schema) for topic in ("/pose", "/odom")]
        for n in range(20):
            time_ns = T0_MS * NS_PER_MS + n * 10**8
            writer.add_message(channels[n % 2], log_time=time_ns, data=bytes([n, 255]), publish_time=time_ns - 10**6)
        writer.add_attachment(5, 5, "map.png", "image/png", b"pixels")
        writer.finish()
    return path


def all_of(path: Path) -> list[Item]:
    """Return all messages of a recording."""
    with Recording(path) as recording:
        return list(recording.items())


def by_partition(items: Iterable[Item]) -> Mapping[tuple[str, int], list[Item]]:
    """Group messages by topic and partition, in their order."""
    groups: dict[tuple[str, int], list[Item]] = {}
    for one in items:
        groups.setdefault((one.topic, one.partition), []).append(one)
    return groups


def ends_of(path: Path, *opcodes: int) -> list[int]:
    """Return where the records of some kinds end in a file."""
    with path.open("rb") as stream:
        return [head.end for head in Walk(stream, path.stat().st_size) if head.opcode in opcodes] or [len(MAGIC)]


_NAMES = ("orders", "telemetry.gpu", "alarms", "\u00e4 topic")


@st.composite
def streams(draw: st.DrawFn) -> list[Item]:
    """Draw messages of a few topics and partitions; within a partition offsets rise and time does not go back."""
    offsets: dict[tuple[str, int], int] = {}
    time_ns = T0_MS * NS_PER_MS
    items = []
    for _ in range(draw(st.integers(0, 25))):
        place = (draw(st.sampled_from(_NAMES)), draw(st.integers(0, 2)))
        offsets[place] = offsets.get(place, -1) + draw(st.integers(1, 2**40))
        time_ns += draw(st.sampled_from((0, 0, 1, 10**6, 10**10)))
        ms = time_ns // NS_PER_MS
        items.append(
            Item(
                time_ns=time_ns,
                topic=place[0],
                partition=place[1],
                offset=offsets[place],
                timestamp_ms=draw(st.integers(0, ms + 10**6)),
                received_ms=ms + draw(st.integers(0, 1000)),
                key=draw(st.none() | st.binary(max_size=8)),
                value=draw(st.none() | st.binary(max_size=40)),
                headers=tuple(draw(st.lists(st.tuples(st.text(max_size=5), st.binary(max_size=5)), max_size=2))),
            )
        )
    return items
