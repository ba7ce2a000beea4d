"""Cutting, merging, filtering: keys, headers and values byte for byte, and the sources as they were."""

from collections.abc import Callable
from pathlib import Path

import pytest
from mcap.opcode import Opcode

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
from twin.errors import RecordingError, RecordingInvalid, RecordingUnwritable
from twin.recording.edit import Made, cut, filter, merge
from twin.recording.item import NS_PER_MS, Item
from twin.recording.reader import Recording
from twin.recording.verify import verify
from twin.recording.writer import RecordingWriter

T0_NS = T0_MS * NS_PER_MS
ALL_NS = (T0_NS, T0_NS + 10**11)
EDITS: dict[str, Callable[[Path, Path], Made]] = {
    "cut": lambda source, target: cut(source, target, *ALL_NS),
    "filter": lambda source, target: filter(source, target, (), ()),
    "merge": lambda source, target: merge((source, source), target),
}


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample(tmp_path_factory.mktemp("sample") / "sample.mcap")


def notes_of(path: Path) -> list[dict[str, str]]:
    with Recording(path) as recording:
        return [facts for name, facts in recording.metadata() if name == "colossus.edited"]


def files_of(path: Path) -> dict[str, bytes]:
    with Recording(path) as recording:
        return {index.name: recording.attached(index) for index in recording.attachments()}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_nothing_is_lost_and_the_source_stays(sample: Path, tmp_path: Path, edit: Callable[[Path, Path], Made]) -> None:
    before = sample.read_bytes()
    made = edit(sample, tmp_path / "made.mcap")
    assert sample.read_bytes() == before
    assert by_partition(all_of(made.target)) == by_partition(sample_items())
    assert made.counts == {"telemetry.gpu": 12, "orders": 6, "bare": 6}
    assert (made.start_ns, made.end_ns, made.attachments_n) == (T0_NS, T0_NS + 5_500_000_000, 2)
    assert files_of(made.target) == {"plant-0.zst": SNAPSHOT, "plant-3.zst": SNAPSHOT[::-1]}
    with Recording(made.target) as recording:
        assert recording.facts == {"format": "1", **FACTS}
        assert ("colossus.told", {"by": "a test"}) in list(recording.metadata())
    assert "sample.mcap" in notes_of(made.target)[0]["from"]
    assert verify(made.target).findings == ()


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_nothing_is_overwritten(sample: Path, tmp_path: Path, edit: Callable[[Path, Path], Made]) -> None:
    (tmp_path / "mine").write_bytes(b"mine")
    for target in (tmp_path / "mine", sample):
        before = target.read_bytes()
        with pytest.raises(RecordingUnwritable, match="there already"):
            edit(sample, target)
        assert target.read_bytes() == before


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_of_a_damaged_source_nothing_is_left(sample: Path, tmp_path: Path, edit: Callable[[Path, Path], Made]) -> None:
    content = bytearray(sample.read_bytes())
    content[ends_of(sample, Opcode.CHUNK)[6] - 15] ^= 0xFF
    (tmp_path / "damaged.mcap").write_bytes(content)
    with pytest.raises(RecordingInvalid, match="colossus recording repair"):
        edit(tmp_path / "damaged.mcap", tmp_path / "made.mcap")
    assert not (tmp_path / "made.mcap").exists()


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_of_a_full_disk_nothing_is_left(
    sample: Path, tmp_path: Path, edit: Callable[[Path, Path], Made], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise RecordingUnwritable("full") from OSError(28, "No space left on device")

    monkeypatch.setattr(RecordingWriter, "note", full)
    with pytest.raises(RecordingUnwritable, match=r"made\.mcap cannot be written to its end .*No space left.*removed"):
        edit(sample, tmp_path / "made.mcap")
    assert not (tmp_path / "made.mcap").exists()


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_a_file_of_another_tool_is_edited_too(tmp_path: Path, edit: Callable[[Path, Path], Made]) -> None:
    foreign = write_foreign(tmp_path / "foreign.mcap")
    made = edit(foreign, tmp_path / "made.mcap")
    assert by_partition(all_of(made.target)) == by_partition(all_of(foreign))
    assert verify(made.target).findings == ()


# -- cut


def test_a_cut_has_both_ends(sample: Path, tmp_path: Path) -> None:
    made = cut(sample, tmp_path / "made.mcap", T0_NS + 1_250_000_000, T0_NS + 3_000_000_000)
    expected = [one for one in sample_items() if T0_NS + 1_250_000_000 <= one.time_ns <= T0_NS + 3_000_000_000]
    assert by_partition(all_of(made.target)) == by_partition(expected)
    assert notes_of(made.target) == [
        {"verb": "cut", "from": "sample.mcap", "start": "2026-11-24T07:20:01.250Z", "end": "2026-11-24T07:20:03.000Z"}
    ]


@pytest.mark.parametrize(
    ("start_s", "end_s", "names"),
    [
        (0, 2, ["old.zst"]),
        (1, 2, ["site.yaml", "old.zst"]),
        (3, 6, ["site.yaml", "mid.zst"]),
        (4, 9, ["site.yaml", "mid.zst", "new.zst"]),
        (5, 9, ["site.yaml", "mid.zst", "new.zst"]),
    ],
)
def test_of_the_files_before_a_cut_the_last_of_each_kind_is_kept(
    tmp_path: Path, start_s: float, end_s: float, names: list[str]
) -> None:
    with RecordingWriter(tmp_path / "a.mcap", FACTS) as writer:
        for name, kind, at_s in (
            ("site.yaml", "application/yaml", -1),
            ("old.zst", "application/zstd", 0.5 if start_s else 1),
            ("mid.zst", "application/zstd", 2.5),
            ("new.zst", "application/zstd", 7),
        ):
            writer.attach(name, kind, name.encode(), T0_NS + round(at_s * 1e9))
        for second in range(10):
            writer.add(item(ms=second * 1000, offset=second))
    expected = {name: name.encode() for name in names} | ({"site.yaml": b"site.yaml"} if not start_s else {})
    made = cut(tmp_path / "a.mcap", tmp_path / "b.mcap", T0_NS + round(start_s * 1e9), T0_NS + round(end_s * 1e9))
    assert files_of(made.target) == expected
    assert made.attachments_n == len(expected)


def test_a_cut_of_nothing_makes_no_file(sample: Path, tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"no message between 2026-11-24T07:20:00\.600Z and"):
        cut(sample, tmp_path / "made.mcap", T0_NS + 600_000_000, T0_NS + 700_000_000)
    with pytest.raises(RecordingError, match="lies before"):
        cut(sample, tmp_path / "made.mcap", T0_NS + 1, T0_NS)
    assert not (tmp_path / "made.mcap").exists()


# -- filter


@pytest.mark.parametrize(
    ("topics", "keys", "wanted"),
    [
        (("orders",), (), lambda one: one.topic == "orders"),
        (("telemetry.*", "bare"), (), lambda one: one.topic != "orders"),
        ((), ("A*", "k1"), lambda one: one.key in (b"A001", b"A002", b"k1")),
        (("*",), ("A001",), lambda one: one.key == b"A001"),
        ((), ("",), lambda one: one.key is None),
    ],
)
def test_topics_and_keys_are_chosen_by_patterns(
    sample: Path, tmp_path: Path, topics: tuple[str, ...], keys: tuple[str, ...], wanted: Callable[[Item], bool]
) -> None:
    made = filter(sample, tmp_path / "made.mcap", topics, keys)
    expected = [one for one in sample_items() if wanted(one)]
    assert expected
    assert by_partition(all_of(made.target)) == by_partition(expected)
    assert len(files_of(made.target)) == 2


@pytest.mark.parametrize(("topics", "keys"), [(("order",), ()), (("Orders",), ()), (("orders",), ("A*",))])
def test_a_filter_that_leaves_nothing_names_the_topics(
    sample: Path, tmp_path: Path, topics: tuple[str, ...], keys: tuple[str, ...]
) -> None:
    with pytest.raises(RecordingError, match=r"it has bare, orders, telemetry\.gpu"):
        filter(sample, tmp_path / "made.mcap", topics, keys)
    assert not (tmp_path / "made.mcap").exists()


# -- merge


def test_parts_of_one_recording_make_it_whole_again(sample: Path, tmp_path: Path) -> None:
    parts = []
    for n, (start_s, end_s) in enumerate(((0, 2.1), (1, 4), (3.5, 9))):
        parts.append(tmp_path / f"part{n}.mcap")
        cut(sample, parts[-1], T0_NS + round(start_s * 1e9), T0_NS + round(end_s * 1e9))
    made = merge(parts[::-1], tmp_path / "made.mcap")
    assert by_partition(all_of(made.target)) == by_partition(sample_items())
    assert made.twice_n == sum(len(all_of(part)) for part in parts) - len(sample_items())
    assert made.twice_n > 0
    assert verify(made.target).findings == ()
    assert notes_of(made.target)[-1] == {"verb": "merge", "from": "part0.mcap part1.mcap part2.mcap"}
    assert set(files_of(made.target)) == {"plant-0.zst", "plant-3.zst"}


def test_what_one_recorder_missed_the_other_gives_in_its_order(tmp_path: Path) -> None:
    # All at one instant: nothing but offsets says the order.
    items = [item(offset=n, value=b"%d" % n) for n in range(12)]
    one = write(tmp_path / "one.mcap", [it for it in items if it.offset % 3])
    other = write(tmp_path / "other.mcap", [it for it in items if it.offset % 3 != 1])
    made = merge((one, other), tmp_path / "made.mcap")
    assert all_of(made.target) == items
    assert made.twice_n == 4


def test_a_message_that_two_recorders_received_at_other_times_is_taken_once(tmp_path: Path) -> None:
    late = item(ms=100, offset=1)._replace(timestamp_ms=T0_MS)
    one = write(tmp_path / "one.mcap", [item(ms=0, offset=0), late])
    other = write(tmp_path / "other.mcap", [late._replace(time_ns=late.time_ns + 59 * 10**9, received_ms=T0_MS + 9)])
    made = merge((one, other), tmp_path / "made.mcap")
    assert [it.offset for it in all_of(made.target)] == [0, 1]


def test_runs_that_count_offsets_anew_are_both_kept_and_it_is_noted(tmp_path: Path) -> None:
    first = write(tmp_path / "first.mcap", [item(ms=n, offset=n, value=b"first") for n in range(5)])
    second = write(tmp_path / "second.mcap", [item(ms=100 + n, offset=n, value=b"second") for n in range(5)])
    made = merge((second, first), tmp_path / "made.mcap")
    assert [it.value for it in all_of(made.target)] == [b"first"] * 5 + [b"second"] * 5
    assert "several buses" in notes_of(made.target)[-1]["offsets"]
    assert verify(made.target).findings == ()
    again = cut(made.target, tmp_path / "again.mcap", *ALL_NS)
    assert verify(again.target).findings == ()


def test_facts_are_of_the_one_that_begins_first(tmp_path: Path) -> None:
    late = write(tmp_path / "late.mcap", [item(ms=10)], site="mini", run="late")
    early = write(tmp_path / "early.mcap", [item(ms=5)], site="mini", run="early")
    made = merge((late, early), tmp_path / "made.mcap")
    with Recording(made.target) as recording:
        assert recording.facts["run"] == "early"


def test_facts_of_all_are_kept_and_of_a_contradiction_that_of_the_first(tmp_path: Path) -> None:
    late = write(tmp_path / "late.mcap", [item(ms=10)], site="mini", level="full", topics='{"orders": 9, "bills": 2}')
    early = write(tmp_path / "early.mcap", [item(ms=5)], level="topics", topics='{"orders": 3}')
    made = merge((late, write_foreign(tmp_path / "foreign.mcap"), early), tmp_path / "made.mcap")
    with Recording(made.target) as recording:
        assert recording.facts == {
            "format": "1", "site": "mini", "level": "topics", "topics": '{"bills": 2, "orders": 3}',
        }  # fmt: skip
    odd = write(tmp_path / "odd.mcap", [item(ms=20)], topics="three")
    with pytest.raises(RecordingInvalid, match="tells of its topics as 'three'"):
        merge((early, odd), tmp_path / "again.mcap")
    assert not (tmp_path / "again.mcap").exists()


def test_what_two_recordings_of_a_bus_have_read_of_its_state_is_taken_once(tmp_path: Path) -> None:
    """A recording begins with what compacted topics hold, however old that is."""
    state = [
        item(topic, 60_000 * n, key=b"k%d" % (n % 2), value=b"%d" % n, offset=3 * n)
        for n in range(20)
        for topic in ("run.control", "alarms", "twin.marks")
    ]
    stream = [item(ms=60_000 * n + 1, offset=n) for n in range(20)]
    again = [one._replace(time_ns=T0_NS + 15 * 60 * 10**9) for one in state if one.offset < 3 * 15 and one.offset % 2]
    first = write(tmp_path / "first.mcap", state[:30] + stream[:10], site="mini")
    second = write(tmp_path / "second.mcap", again + state[45:] + stream[15:], site="mini")
    made = merge((second, first), tmp_path / "made.mcap")
    read_only_then = [one for one in again if one.offset >= 30]
    assert made.twice_n == len(again) - len(read_only_then)
    expected = by_partition([*state[:30], *read_only_then, *state[45:], *stream[:10], *stream[15:]])
    assert by_partition(all_of(made.target)) == expected
    assert notes_of(made.target)[-1] == {"verb": "merge", "from": "first.mcap second.mcap"}
    assert verify(made.target).findings == ()


def test_what_does_not_belong_together_is_not_merged(sample: Path, tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="two recordings or more"):
        merge((sample,), tmp_path / "made.mcap")
    other = write(tmp_path / "other.mcap", [item()], site="colossus1")
    with pytest.raises(RecordingError, match=r"different sites .*mini.*colossus1"):
        merge((sample, other), tmp_path / "made.mcap")
    assert not (tmp_path / "made.mcap").exists()


def test_of_two_files_of_one_name_both_are_kept(sample: Path, tmp_path: Path) -> None:
    """After a way back a tick comes again, as another plant."""
    with RecordingWriter(tmp_path / "files.mcap", {}) as writer:
        writer.add(item("other"))
        writer.attach("plant-0.zst", "application/zstd", b"another", T0_NS)
    for path in (tmp_path / "files.mcap", sample):
        made = merge((sample, path), tmp_path / f"made-{path.stem}.mcap")
        with Recording(made.target) as recording:
            found = [(index.name, recording.attached(index)) for index in recording.attachments()]
        once = [("plant-0.zst", SNAPSHOT), ("plant-3.zst", SNAPSHOT[::-1])]
        assert sorted(found) == sorted([*once, ("plant-0.zst", b"another")] if path != sample else once)
        assert made.attachments_n == len(found)
