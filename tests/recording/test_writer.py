"""Writing: what goes in comes back, other readers see it, and no failure costs what was flushed."""

import subprocess
import sys
import tracemalloc
from pathlib import Path
from tempfile import TemporaryDirectory

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.opcode import Opcode
from mcap.reader import make_reader
from mcap.stream_reader import StreamReader

from tests.recording.files import T0_MS, item, write
from tests.recording.samples import (
    FACTS,
    all_of,
    by_partition,
    ends_of,
    sample_items,
    streams,
    write_sample,
)
from twin.errors import RecordingInvalid, RecordingUnwritable
from twin.events.topics import BY_NAME
from twin.recording.envelope import ENVELOPE_TOPIC
from twin.recording.item import NS_PER_MS, Item
from twin.recording.reader import Recording
from twin.recording.repair import repair
from twin.recording.verify import verify
from twin.recording.writer import RecordingWriter


@settings(max_examples=60, deadline=None)
@given(streams(), st.integers(1, 200), st.integers(1, 9))
def test_any_stream_comes_back(items: list[Item], chunk_bytes: int, flush_every: int) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.mcap"
        with RecordingWriter(path, FACTS, chunk_bytes=chunk_bytes) as writer:
            for n, one in enumerate(items, 1):
                writer.add(one)
                if n % flush_every == 0:
                    writer.flush()
        back = all_of(path)
        assert len(back) == len(items)
        assert by_partition(back) == by_partition(items)
        assert verify(path).findings == ()


def test_the_official_reader_sees_the_same(tmp_path: Path) -> None:
    path = write_sample(tmp_path / "a.mcap")
    with path.open("rb") as stream:
        reader = make_reader(stream, validate_crcs=True)
        summary = reader.get_summary()
        assert summary is not None
        assert summary.statistics is not None
        seen: dict[str, list[bytes]] = {}
        for schema, channel, message in reader.iter_messages():
            seen.setdefault(channel.topic, []).append(message.data)
            if channel.topic in BY_NAME:
                assert schema is not None
                assert (schema.name, schema.encoding) == (BY_NAME[channel.topic].schema_id, "jsonschema")
                assert orjson.loads(schema.data)["title"] == channel.topic
        assert summary.statistics.message_count == sum(map(len, seen.values()))
        assert [attachment.name for attachment in reader.iter_attachments()] == ["plant-0.zst", "plant-3.zst"]
    assert len(seen.pop(ENVELOPE_TOPIC)) == summary.statistics.chunk_count
    with Recording(path) as recording:
        assert {topic: len(values) for topic, values in seen.items()} == recording.counts
    assert seen["telemetry.gpu"] == [one.value for one in sample_items() if one.topic == "telemetry.gpu"]


def test_the_checksums_of_the_library_hold(tmp_path: Path) -> None:
    path = write_sample(tmp_path / "a.mcap")
    with path.open("rb") as stream:
        assert sum(1 for _ in StreamReader(stream, validate_crcs=True).records) > 30


def test_a_chunk_is_in_the_order_of_the_clock(tmp_path: Path) -> None:
    items = [item(ms=ms, partition=ms % 3, offset=ms) for ms in (5, 1, 3, 2, 4)]
    with write(tmp_path / "a.mcap", items, chunk_bytes=1 << 20).open("rb") as stream:
        messages = [message for _, _, message in make_reader(stream).iter_messages(log_time_order=False)]
    assert [message.log_time // NS_PER_MS - T0_MS for message in messages] == [1, 2, 3, 4, 5, 5]


def test_what_is_big_has_chunks_of_its_own(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mcap", sample_items(), chunk_bytes=1 << 20)
    with path.open("rb") as stream:
        summary = make_reader(stream).get_summary()
    assert summary is not None
    topics = [
        {summary.channels[number].topic for number in chunk.message_index_offsets} for chunk in summary.chunk_indexes
    ]
    assert sorted(map(sorted, topics)) == [["bare", ENVELOPE_TOPIC, "orders"], [ENVELOPE_TOPIC, "telemetry.gpu"]]


def test_a_topic_of_others_says_what_it_is_encoded_in(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mcap", [item("json", value=b'{"a": 1}'), item("bytes", value=b"\x00\xff")])
    with path.open("rb") as stream:
        summary = make_reader(stream).get_summary()
    assert summary is not None
    encodings = {channel.topic: channel.message_encoding for channel in summary.channels.values()}
    assert (encodings["json"], encodings["bytes"]) == ("json", "application/octet-stream")


def test_a_file_that_is_there_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    path.write_bytes(b"mine")
    with pytest.raises(RecordingUnwritable, match=r"a\.mcap is there already: choose another name"):
        RecordingWriter(path, {})
    assert path.read_bytes() == b"mine"


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RecordingUnwritable, match=r"choose another folder \(-o\)"):
        RecordingWriter(tmp_path / "file" / "a.mcap", {})


def test_a_closed_file_takes_no_more(tmp_path: Path) -> None:
    with RecordingWriter(tmp_path / "a.mcap", {}) as writer:
        writer.add(item())
        writer.close("enough")
        writer.close("twice")
        with pytest.raises(RecordingUnwritable, match="is closed"):
            writer.note("late", {})
    with Recording(tmp_path / "a.mcap") as recording:
        assert recording.closed_by == "enough"


def test_an_error_is_why_it_was_closed(tmp_path: Path) -> None:
    def fail() -> None:
        with RecordingWriter(tmp_path / "a.mcap", {}) as writer:
            writer.add(item())
            raise KeyError("lost")

    with pytest.raises(KeyError):
        fail()
    with Recording(tmp_path / "a.mcap") as recording:
        assert recording.closed_by == "KeyError: 'lost'"
        assert recording.counts == {"orders": 1}


def test_it_counts_what_is_in_the_file_and_what_waits(tmp_path: Path) -> None:
    with RecordingWriter(tmp_path / "a.mcap", {}, chunk_bytes=500) as writer:
        empty = writer.bytes_written
        writer.add(item(key=b"k", value=b"12345"))
        assert (writer.unwritten_n, writer.counts.total(), writer.bytes_written) == (1, 0, empty)
        writer.add(item(key=b"k", value=b"12345", offset=1))
        assert (writer.unwritten_n, writer.counts["orders"]) == (0, 2)
        assert writer.bytes_written == (tmp_path / "a.mcap").stat().st_size > empty


def test_what_was_flushed_is_whole_without_an_end(tmp_path: Path) -> None:
    path = tmp_path / "killed.mcap"
    with RecordingWriter(path, FACTS) as writer:
        for one in sample_items()[:8]:
            writer.add(one)
        writer.flush()
        writer.add(sample_items()[8])
        (tmp_path / "left.mcap").write_bytes(path.read_bytes())  # as a kill leaves it
    with pytest.raises(RecordingInvalid, match="not closed"):
        Recording(tmp_path / "left.mcap")
    repair(tmp_path / "left.mcap", tmp_path / "mended.mcap")
    assert sorted(all_of(tmp_path / "mended.mcap")) == sorted(sample_items()[:8])


_FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from tests.recording.files import item
from twin.errors import RecordingUnwritable
from twin.recording.writer import RecordingWriter

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
rest = bytes(range(256))
try:
    writer = RecordingWriter(Path(sys.argv[1]), {"site": "mini"}, chunk_bytes=2000)
except RecordingUnwritable as exc:
    sys.exit(str(exc))
try:
    for n in range(10_000):
        written = writer.counts.total()
        writer.add(item("orders", n, offset=n, value=rest[n % 256:] + b"%d" % n))
except RecordingUnwritable as exc:
    print(written)
    print(exc)
try:
    writer.add(item())
    writer.flush()
except RecordingUnwritable as exc:
    print(exc)
"""


def fill(path: Path, limit: int) -> subprocess.CompletedProcess[str]:
    """Write to a disk that is full after so many bytes, in a process of its own."""
    return subprocess.run(  # noqa: S603  (our own program)
        [sys.executable, "-c", _FULL_DISK, str(path), str(limit)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=Path(__file__).parents[2],
        check=False,
    )


@pytest.mark.parametrize("limit", [9_000, 20_001, 33_333])
def test_a_full_disk_says_what_to_do_and_loses_nothing_that_was_written(tmp_path: Path, limit: int) -> None:
    path = tmp_path / "full.mcap"
    done = fill(path, limit)
    assert done.returncode == 0, done.stderr
    written, told, later = done.stdout.splitlines()
    assert int(written) > 0
    assert "cannot be written any further (File too large)" in told
    assert f"{written} messages, {path.stat().st_size} bytes, are in it; free space" in told
    assert f"`colossus recording repair {path}`" in told
    assert later.endswith("is closed")
    assert path.stat().st_size <= limit
    mended = repair(path, tmp_path / "mended.mcap")
    assert (mended.counts, mended.lost, mended.cut_off_bytes) == ({"orders": int(written)}, (), 0)
    assert [one.offset for one in all_of(tmp_path / "mended.mcap")] == list(range(int(written)))


def test_a_file_that_cannot_even_be_begun_is_not_left(tmp_path: Path) -> None:
    path = tmp_path / "full.mcap"
    done = fill(path, 20)
    assert done.returncode == 1
    assert done.stderr.startswith(f"{path} cannot be begun ([Errno 27] File too large): free space"), done.stderr
    assert not path.exists()


def test_chunks_end_where_they_are_full(tmp_path: Path) -> None:
    items = [item(offset=n, value=b"x" * 99) for n in range(25)]
    path = write(tmp_path / "a.mcap", items, chunk_bytes=5000)
    assert len(ends_of(path, Opcode.CHUNK)) == 3
    assert all_of(path) == items


@pytest.mark.parametrize("headers_n", [0, 5])
def test_tiny_messages_take_no_more_memory_than_a_chunk_may(tmp_path: Path, headers_n: int) -> None:
    most = 0
    with RecordingWriter(tmp_path / "a.mcap", {}, chunk_bytes=400_000) as writer:
        tracemalloc.start()
        for n in range(3000):
            headers = tuple((f"{n} {i}", b"%d" % n) for i in range(headers_n))
            writer.add(item(ms=n, key=b"k%d" % n, value=b"%d" % n, offset=10**9 + n, headers=headers))
            most = max(most, tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
    assert 200_000 < most < 600_000  # with what the libraries keep of the chunk before


def test_the_clock_of_the_bus_stays_beside_that_of_the_recording(tmp_path: Path) -> None:
    odd = item(ms=100)._replace(timestamp_ms=T0_MS - 50_000)
    assert all_of(write(tmp_path / "a.mcap", [odd])) == [odd]
    with (tmp_path / "a.mcap").open("rb") as stream:
        _, _, message = next(iter(make_reader(stream).iter_messages(topics=["orders"])))
    assert message.publish_time == (T0_MS - 50_000) * NS_PER_MS
    assert message.log_time == (T0_MS + 100) * NS_PER_MS
