"""Mending: what is whole is saved, what is lost is told, and the source stays as it is."""

from collections import Counter
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
from twin.errors import RecordingInvalid, RecordingUnwritable
from twin.recording.item import NS_PER_MS, Item
from twin.recording.reader import Recording
from twin.recording.records import HEAD_BYTES
from twin.recording.repair import repair
from twin.recording.verify import verify

T0_NS = T0_MS * NS_PER_MS


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample(tmp_path_factory.mktemp("sample") / "sample.mcap")


@pytest.fixture(scope="module")
def by_chunk(sample: Path) -> list[tuple[int, list[Item]]]:
    """Return where each chunk ends, and what is in it."""
    groups: dict[tuple[int, bool], list[Item]] = {}
    for one in sample_items():
        groups.setdefault((one.time_ns // 10**9, one.topic != "telemetry.gpu"), []).append(one)
    ends = ends_of(sample, Opcode.CHUNK)
    assert len(ends) == len(groups)
    return list(zip(ends, groups.values(), strict=True))


def damaged(sample: Path, folder: Path, at: int) -> Path:
    """Return a copy with a wrong byte."""
    content = bytearray(sample.read_bytes())
    content[at] ^= 0xFF
    path = folder / "damaged.mcap"
    path.write_bytes(content)
    return path


def test_a_whole_recording_stays_whole(sample: Path, tmp_path: Path) -> None:
    before = sample.read_bytes()
    done = repair(sample, tmp_path / "mended.mcap")
    assert sample.read_bytes() == before
    assert (done.lost, done.cut_off_bytes, done.cut_off_by) == ((), 0, "")
    assert done.counts == Counter(one.topic for one in sample_items())
    assert (done.start_ns, done.end_ns, done.attachments_n) == (T0_NS, T0_NS + 5_500_000_000, 2)
    assert by_partition(all_of(tmp_path / "mended.mcap")) == by_partition(sample_items())
    with Recording(tmp_path / "mended.mcap") as mended:
        assert mended.facts == {"format": "1", **FACTS}
        assert mended.attachment("plant-0.zst") == SNAPSHOT
        assert {index.log_time for index in mended.attachments()} == {T0_NS, T0_NS + 3_000_000_000}
        notes = dict(mended.metadata())
    assert notes["colossus.told"] == {"by": "a test"}
    assert notes["colossus.edited"]["from"] == "sample.mcap"
    assert verify(tmp_path / "mended.mcap").findings == ()


def test_cut_off_anywhere_exactly_the_whole_chunks_are_saved(
    sample: Path, by_chunk: list[tuple[int, list[Item]]], tmp_path: Path
) -> None:
    content = sample.read_bytes()
    data_end = ends_of(sample, Opcode.DATA_END)[0]
    files = ends_of(sample, Opcode.ATTACHMENT)
    source, target = tmp_path / "cut.mcap", tmp_path / "mended.mcap"
    for size in [*range(by_chunk[0][0], len(content), 23), *(end for end, _ in by_chunk), len(content)]:
        source.write_bytes(content[:size])
        done = repair(source, target)
        whole = [one for end, items in by_chunk if end <= size for one in items]
        assert by_partition(all_of(target)) == by_partition(whole), size
        assert done.lost == (), size
        assert done.attachments_n == sum(end <= size for end in files), size
        if size < data_end:
            assert done.cut_off_by, size
            assert done.cut_off_bytes == size - max(end for end in [0, *ends_of(source, *Opcode)] if end <= size), size
        else:
            assert (done.cut_off_bytes, done.cut_off_by) == (0, ""), size
        target.unlink()


def test_of_an_unclosed_file_the_whole_is_saved(sample: Path, tmp_path: Path) -> None:
    source = tmp_path / "killed.mcap"
    source.write_bytes(sample.read_bytes()[: ends_of(sample, Opcode.MESSAGE_INDEX)[-1]] + b"\x00" * 4096)
    done = repair(source, tmp_path / "mended.mcap")
    assert by_partition(all_of(tmp_path / "mended.mcap")) == by_partition(sample_items())
    assert (done.cut_off_bytes, done.cut_off_by) == (4096, "no record begins here")


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("n", [0, 1, 4, 9])
def test_a_damaged_chunk_is_told_with_its_span(
    sample: Path, by_chunk: list[tuple[int, list[Item]]], tmp_path: Path, n: int, closed: bool
) -> None:
    end, inside = by_chunk[n]
    source = damaged(sample, tmp_path, end - 15)
    if not closed:
        source.write_bytes(source.read_bytes()[: ends_of(sample, Opcode.MESSAGE_INDEX)[-1]])
    done = repair(source, tmp_path / "mended.mcap")
    assert [(one.what, one.offset + one.bytes_n) for one in done.lost] == [("a chunk", end)]
    assert (done.lost[0].start_ns, done.lost[0].end_ns) == (inside[0].time_ns, inside[-1].time_ns)
    assert "a chunk cannot be read" in done.lost[0].reason
    saved = [one for other, items in by_chunk if other != end for one in items]
    assert by_partition(all_of(tmp_path / "mended.mcap")) == by_partition(saved)


def test_a_damaged_head_costs_nothing_where_there_is_an_index(
    sample: Path, by_chunk: list[tuple[int, list[Item]]], tmp_path: Path
) -> None:
    start = min(end for end in ends_of(sample, Opcode.MESSAGE_INDEX) if end > by_chunk[2][0])
    for at in (start, start + 1, start + 5, start + 8):
        source = damaged(sample, tmp_path, at)
        done = repair(source, tmp_path / "mended.mcap")
        assert done.lost == ()
        assert by_partition(all_of(tmp_path / "mended.mcap")) == by_partition(sample_items())
        (tmp_path / "mended.mcap").unlink()


def test_a_damaged_index_costs_nothing(sample: Path, tmp_path: Path) -> None:
    for back in (9, 20, 60, 300, 900):
        done = repair(damaged(sample, tmp_path, sample.stat().st_size - back), tmp_path / "mended.mcap")
        assert (done.lost, done.cut_off_bytes) == ((), 0)
        assert by_partition(all_of(tmp_path / "mended.mcap")) == by_partition(sample_items())
        (tmp_path / "mended.mcap").unlink()


def test_any_wrong_byte_gives_a_file_that_is_right(sample: Path, tmp_path: Path) -> None:
    """What is saved was written so, and what is lost is told."""
    right, target = set(sample_items()), tmp_path / "mended.mcap"
    of_the_format = sample.read_bytes().index(b"format") + 10
    for at in range(8, sample.stat().st_size, 31):
        if at == of_the_format:
            continue
        done = repair(damaged(sample, tmp_path, at), target)
        saved = all_of(target)
        assert set(saved) <= right, at
        assert len(saved) == len(set(saved)), at
        assert len(saved) == len(right) or done.lost or done.cut_off_bytes, at
        assert verify(target).findings == (), at
        target.unlink()


def test_a_damaged_attachment_is_told_and_left_out(sample: Path, tmp_path: Path) -> None:
    source = damaged(sample, tmp_path, ends_of(sample, Opcode.ATTACHMENT)[0] - 30)
    done = repair(source, tmp_path / "mended.mcap")
    assert [(one.what, one.reason) for one in done.lost] == [("an attachment", "ValueError: its checksum is wrong")]
    assert done.attachments_n == 1


@pytest.mark.parametrize("chunks", [True, False])
@pytest.mark.parametrize("size", [None, -400])
def test_a_file_of_another_tool_is_mended_too(tmp_path: Path, chunks: bool, size: int | None) -> None:
    path = write_foreign(tmp_path / "foreign.mcap", compression=CompressionType.LZ4, chunks=chunks)
    path.write_bytes(path.read_bytes()[:size])
    repair(path, tmp_path / "mended.mcap")
    saved = all_of(tmp_path / "mended.mcap")
    assert [one.value for one in saved] == [bytes([n, 255]) for n in range(20)]
    assert verify(tmp_path / "mended.mcap").findings == ()


def test_what_is_no_mcap_or_is_missing_is_refused(tmp_path: Path) -> None:
    for content in (b"", b"x", b"text " * 100):
        (tmp_path / "a.mcap").write_bytes(content)
        with pytest.raises(RecordingInvalid, match="is no recording"):
            repair(tmp_path / "a.mcap", tmp_path / "mended.mcap")
    with pytest.raises(RecordingInvalid, match="No such file"):
        repair(tmp_path / "b.mcap", tmp_path / "mended.mcap")
    assert not (tmp_path / "mended.mcap").exists()


def test_a_newer_format_is_left_to_a_newer_version(tmp_path: Path) -> None:
    with pytest.raises(RecordingInvalid, match="format 9"):
        repair(write(tmp_path / "a.mcap", [item()], format="9"), tmp_path / "mended.mcap")


def test_nothing_is_overwritten(sample: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"mine")
    for target in (tmp_path / "mine", sample):
        before = target.read_bytes()
        with pytest.raises(RecordingUnwritable, match="there already"):
            repair(sample, target)
        assert target.read_bytes() == before


def test_a_file_with_nothing_but_a_beginning_gives_an_empty_recording(sample: Path, tmp_path: Path) -> None:
    source = tmp_path / "begun.mcap"
    source.write_bytes(sample.read_bytes()[: 8 + HEAD_BYTES + 3])
    done = repair(source, tmp_path / "mended.mcap")
    assert (done.counts, done.start_ns, done.end_ns, done.cut_off_bytes) == ({}, 0, 0, HEAD_BYTES + 3)
    with Recording(tmp_path / "mended.mcap") as mended:
        assert (mended.counts, list(mended.items())) == ({}, [])
