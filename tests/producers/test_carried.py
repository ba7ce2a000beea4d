"""Parts of a recording: a cut carries over what it needs to be taken over from its first tick on."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from producers.incidents import RUN
from producers.rebuild import Rebuilt, check, rebuild
from tests.producers.recorded import SITE, command, edited, inject, record, request, turn_ns
from twin.plant import state_hash
from twin.recording.choice import Choice
from twin.recording.edit import cut, merge
from twin.recording.reader import Recording
from twin.recording.verify import verify

TURNS = 180
# Snapshots are of the turns 0, 60, 100 (the way back to tick 80) and 139.
ORDERS: dict[int, list[Any]] = {
    5: [command("a", "turbine.start", "turbine-9")],
    20: [inject("i", "pump_degraded", "cdu-R0007", severity=0.9, ramp_s=10.0, hold_s=40.0)],
    63: [command("b", "turbine.load", "turbine-1", power_w=200_000.0)],
    90: [command("left", "turbine.start", "turbine-10")],
    95: [inject("left too", "turbine_trip", "turbine-2")],
    100: [request("seek", tick=80)],
    105: [command("c", "turbine.start", "turbine-11")],
    150: [inject("j", "turbine_trip", "turbine-1")],
}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("carried") / "run.mcap", ORDERS, TURNS)


def rebuilt(path: Path, turn: int) -> Rebuilt:
    """Rebuild the plant of a turn; its sensors must show what was recorded."""
    with Recording(path) as recording:
        found = rebuild(recording, RUN, turn_ns(turn), SITE)
        assert check(found.plant, recording, found.moment).missing_n == 0
        return found


def same(one: Rebuilt, other: Rebuilt) -> bool:
    futures = (one.future, one.to_come, one.control) == (other.future, other.to_come, other.control)
    return futures and state_hash(one.plant) == state_hash(other.plant)


CUTS = [(3, (3, 5, 40)), (64, (64, 65, 91, 99)), (97, (97, 99, 100, 106)), (125, (125, 126, 151, 179)), (152, (152,))]


@pytest.mark.parametrize(("start", "turns"), CUTS)
def test_a_cut_can_be_taken_over_from_its_first_tick(
    path: Path, tmp_path: Path, start: int, turns: tuple[int, ...]
) -> None:
    made = cut(path, tmp_path / "cut.mcap", turn_ns(start, 0), turn_ns(TURNS)).target
    again = cut(made, tmp_path / "again.mcap", turn_ns(start, 900), turn_ns(TURNS)).target
    for turn in turns:
        whole = rebuilt(path, turn)
        assert same(rebuilt(made, turn), whole)
        assert turn == start or same(rebuilt(again, turn), whole)


def test_what_a_cut_carries_over_is_of_its_beginning_and_is_not_played(path: Path, tmp_path: Path) -> None:
    made = cut(path, tmp_path / "cut.mcap", turn_ns(70, 0), turn_ns(75))
    with Recording(made.target) as recording:
        assert (recording.start_ns, recording.end_ns) == (made.start_ns, made.end_ns)
        assert turn_ns(70, 0) <= made.start_ns < turn_ns(70, 50)
        carried = [one for one in recording.items() if one.topic.startswith("before.")]
        assert not Choice(instructor=True).topics_of(recording) & {one.topic for one in carried}
    assert {(one.topic, one.time_ns) for one in carried} == {
        (f"before.{topic}", made.start_ns)
        for topic in ("run.control", "command_results", "instructor.injects", "instructor.snapshots")
    }
    with Recording(path) as recording:
        values = {one.value: one.timestamp_ms for one in recording.items()}
    assert [one.timestamp_ms for one in carried] == [values[one.value] for one in carried]
    assert verify(made.target).findings == ()


def test_parts_that_are_merged_again_can_be_taken_over(path: Path, tmp_path: Path) -> None:
    parts = [
        cut(path, tmp_path / f"{start}.mcap", turn_ns(start, 0), turn_ns(end, 0) - 1).target
        for start, end in pairwise((0, 25, 64, 150, TURNS))
    ]
    made = merge(parts[::-1], tmp_path / "made.mcap").target
    for turn in (5, 63, 65, 91, 151):
        assert same(rebuilt(made, turn), rebuilt(path, turn))
    assert verify(made).findings == ()
    with Recording(made) as recording:
        assert not any("offsets" in facts for _, facts in recording.metadata())


def test_a_cut_without_a_snapshot_carries_nothing_over(path: Path, tmp_path: Path) -> None:
    bare = edited(path, tmp_path / "bare.mcap", attachment=lambda *_: None)
    made = cut(bare, tmp_path / "cut.mcap", turn_ns(64, 0), turn_ns(TURNS))
    assert not [topic for topic in made.counts if topic.startswith("before.")]
