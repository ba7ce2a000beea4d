"""Reading: the order, any stretch, what other tools have written, and every way in which a file can be broken."""

from operator import attrgetter
from pathlib import Path

import pytest
from mcap.opcode import Opcode
from mcap.writer import CompressionType

from tests.recording.files import T0_MS, item, write
from tests.recording.samples import (
    FACTS,
    SNAPSHOT,
    all_of,
    by_partition,
    ends_of,
    sample_items,
    write_foreign,
    write_sample,
)
from twin.errors import RecordingInvalid
from twin.recording.item import NS_PER_MS
from twin.recording.reader import Damage, Recording
from twin.recording.writer import RecordingWriter

T0_NS = T0_MS * NS_PER_MS


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample(tmp_path_factory.mktemp("sample") / "sample.mcap")


def test_all_is_read_in_the_order_of_the_clock(sample: Path) -> None:
    items = all_of(sample)
    assert sorted(items) == sorted(sample_items())
    assert [one.time_ns for one in items] == sorted(one.time_ns for one in items)


def test_what_is_told_about_it(sample: Path) -> None:
    with Recording(sample) as recording:
        assert recording.facts == {"format": "1", **FACTS}
        assert recording.counts == {"telemetry.gpu": 12, "orders": 6, "bare": 6}
        assert (recording.start_ns, recording.end_ns) == (T0_NS, T0_NS + 5_500_000_000)
        assert recording.closed_by == "the test is over"
        assert ("colossus.told", {"by": "a test"}) in list(recording.metadata())
        assert recording.bytes_n == sample.stat().st_size
        assert recording.chunk_n == 12


@pytest.mark.parametrize(("start_s", "end_s"), [(0, 0), (1, 2), (1.25, 1.25), (2.1, 4.4), (-5, 0.3), (5, 99), (7, 9)])
@pytest.mark.parametrize("topics", [None, {"orders"}, {"bare", "telemetry.gpu"}, {"nothing"}, set()])
def test_a_stretch_is_read_with_both_ends(sample: Path, start_s: float, end_s: float, topics: set[str] | None) -> None:
    start_ns, end_ns = (T0_NS + round(second * 1e9) for second in (start_s, end_s))
    expected = [
        one for one in sample_items() if start_ns <= one.time_ns <= end_ns and (topics is None or one.topic in topics)
    ]
    with Recording(sample) as recording:
        assert sorted(recording.items(start_ns, end_ns, topics)) == sorted(expected)


def test_the_last_before_an_instant_is_found(sample: Path) -> None:
    with Recording(sample) as recording:
        found = recording.last_before(T0_NS + 3_249_999_999, "orders")
        assert found is not None
        assert found.offset == 2 + 7
        assert recording.last_before(T0_NS + 3_250_000_000, "orders") == sample_items()[3 * 4 + 2]
        assert recording.last_before(T0_NS - 1, "orders") is None
        assert recording.last_before(T0_NS + 10**12, "nothing") is None


def test_of_two_at_one_instant_in_two_chunks_the_later_is_the_last(tmp_path: Path) -> None:
    with RecordingWriter(tmp_path / "a.mcap", {}) as writer:
        for offset in range(3):
            writer.add(item("alarms", 100, offset=offset))
            writer.add(item("orders", 100 + offset, offset=offset))
            writer.flush()
    with Recording(tmp_path / "a.mcap") as recording:
        last = recording.last_before(recording.end_ns, "alarms")
    assert last is not None
    assert last.offset == 2


def test_messages_of_one_instant_stay_in_the_order_of_their_partition(tmp_path: Path) -> None:
    items = [item("orders", 5, offset=n, value=bytes([n])) for n in range(30)]
    assert all_of(write(tmp_path / "a.mcap", items, chunk_bytes=7)) == items


def test_attachments_are_read_by_name_and_one_by_one(sample: Path) -> None:
    with Recording(sample) as recording:
        assert recording.attachment("plant-0.zst") == SNAPSHOT
        assert recording.attachment("plant-1.zst") is None
        assert [recording.attached(index) for index in recording.attachments()] == [SNAPSHOT, SNAPSHOT[::-1]]


def test_an_attachment_can_be_read_while_notes_are(sample: Path) -> None:
    with Recording(sample) as recording:
        assert len([recording.attachment("plant-0.zst") for _ in recording.metadata()]) == 3


# -- files of other tools


@pytest.mark.parametrize("compression", CompressionType)
@pytest.mark.parametrize("indexed", [True, False])
def test_a_file_of_another_tool_is_read(tmp_path: Path, compression: CompressionType, indexed: bool) -> None:
    path = write_foreign(tmp_path / "foreign.mcap", compression=compression, indexed=indexed)
    with Recording(path) as recording:
        assert recording.facts == {}
        assert recording.counts == {"/pose": 10, "/odom": 10}
        items = list(recording.items())
        assert [one.value for one in items] == [bytes([n, 255]) for n in range(20)]
        assert {(one.key, one.partition, one.headers) for one in items} == {(None, 0, ())}
        assert items[3].timestamp_ms == T0_MS + 299
        assert [one for one in items if one.topic == "/pose"] == list(recording.items(topics={"/pose"}))
        assert recording.last_before(recording.end_ns, "/odom") == items[-1]
        assert recording.attachment("map.png") == b"pixels"


def test_a_file_without_chunks_is_sent_to_the_repair(tmp_path: Path) -> None:
    path = write_foreign(tmp_path / "foreign.mcap", chunks=False)
    with pytest.raises(RecordingInvalid, match=r"no index: `colossus recording repair"):
        Recording(path)


# -- broken files


def test_a_file_that_is_missing_empty_or_something_else_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(RecordingInvalid, match=r"a\.mcap cannot be opened: No such file"):
        Recording(tmp_path / "a.mcap")
    (tmp_path / "b.mcap").touch()
    with pytest.raises(RecordingInvalid, match=r"b\.mcap is empty"):
        Recording(tmp_path / "b.mcap")
    for n, content in enumerate((b"x", b"PK\x03\x04" * 50, b"\x00" * 4000)):
        path = tmp_path / f"c{n}.mcap"
        path.write_bytes(content)
        with pytest.raises(RecordingInvalid, match=r"no recording|was cut off"):
            Recording(path)


def test_a_newer_format_asks_for_a_newer_version(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mcap", [item()], format="2")
    with pytest.raises(RecordingInvalid, match="of format 2, this version reads up to 1: take a newer version"):
        Recording(path)


def test_a_file_that_was_cut_off_anywhere_says_so(sample: Path, tmp_path: Path) -> None:
    content, path = sample.read_bytes(), tmp_path / "cut.mcap"
    for size in range(1, len(content), 13):
        path.write_bytes(content[:size])
        with pytest.raises(RecordingInvalid, match=r"cut off|no recording") as told:
            Recording(path)
        assert size < 8 or "colossus recording repair" in str(told.value)


def test_a_wrong_byte_is_never_taken_for_a_message(sample: Path, tmp_path: Path) -> None:
    """Either it is refused, or what is read is as it was written."""
    content, path = sample.read_bytes(), tmp_path / "wrong.mcap"
    right, refused_n = sample_items(), 0
    for n in range(0, len(content), 5):
        path.write_bytes(content[:n] + bytes([content[n] ^ 0xFF]) + content[n + 1 :])
        try:
            with Recording(path) as recording:
                items = list(recording.items())
                files = [recording.attached(index) for index in recording.attachments()]
        except RecordingInvalid:
            refused_n += 1
            continue
        assert sorted(items) == sorted(right)
        assert files == [SNAPSHOT, SNAPSHOT[::-1]]
    assert refused_n > len(content) / 5 / 2


def test_a_damaged_chunk_can_be_left_out(sample: Path, tmp_path: Path) -> None:
    content = bytearray(sample.read_bytes())
    end = ends_of(sample, Opcode.CHUNK)[3]
    content[end - 20] ^= 0xFF
    path = tmp_path / "damaged.mcap"
    path.write_bytes(content)
    damages: list[Damage] = []
    with Recording(path) as recording:
        with pytest.raises(RecordingInvalid, match="colossus recording repair"):
            list(recording.items())
        items = list(recording.items(on_damage=damages.append))
    assert len(damages) == 1
    lost = set(sample_items()) - set(items)
    assert lost
    assert min(lost, key=attrgetter("time_ns")).time_ns == damages[0].start_ns
    assert max(lost, key=attrgetter("time_ns")).time_ns == damages[0].end_ns
    assert by_partition(items).keys() == by_partition(sample_items()).keys()


def test_a_damaged_attachment_is_not_given_out(sample: Path, tmp_path: Path) -> None:
    content = bytearray(sample.read_bytes())
    content[ends_of(sample, Opcode.ATTACHMENT)[0] - 10] ^= 1
    path = tmp_path / "damaged.mcap"
    path.write_bytes(content)
    with Recording(path) as recording, pytest.raises(RecordingInvalid, match=r"plant-0\.zst .*checksum"):
        recording.attachment("plant-0.zst")
