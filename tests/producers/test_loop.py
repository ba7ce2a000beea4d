"""The loop of the plant side: lease, orders, requests, snapshots, speed; on a memory bus under a hand clock."""

import itertools
import os
from pathlib import Path
from typing import Any

import pytest

from tests.producers.stage import START_MS, Stage
from twin.errors import LeaseLost, RunActive, RunError
from twin.events.control import CommandResult, RunControl
from twin.events.head import split
from twin.events.instructor import Inject, SnapshotReference, Truth
from twin.events.topics import TOPICS
from twin.plant import state_hash
from twin.run import LEASE_MS


def test_one_frame_a_second_and_one_control_a_second(stage: Stage) -> None:
    loop = stage.started()
    for _ in range(101):
        loop.turn()
        stage.clock.ms += 100
    heads = [split(record.value)[0] for record in stage.taps["telemetry.grid"].poll(0.0)]
    assert [(head.tick, head.seq, head.ts - START_MS) for head in heads] == [(i, i, 1000 * i) for i in range(11)]
    assert len(stage.read("run.control", RunControl)) == 11


def test_commands_are_answered_with_the_tick_from_which_they_hold(stage: Stage) -> None:
    loop = stage.started()
    stage.ticks(loop, 3)
    done = stage.command(loop, "turbine.start", "turbine-9")
    assert done is not None
    assert (done.accepted, done.applied_tick) == (True, 3)
    again = stage.command(loop, "turbine.start", "turbine-9")
    assert again is not None
    assert not again.accepted
    assert "starting" in again.reason
    assert loop.plant.power.turbines.state_code[8] == 2


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"run": "20200101T000000Z-0000"}, "it is for run"),
        ({"expires_ms": START_MS}, "expired"),
        ({"verb": "turbine.explode"}, "turbine.explode"),
        ({"unit": "turbine-99"}, "turbine-99"),
        ({"params": {"power": 1.0}}, "power"),
    ],
)
def test_a_command_that_cannot_be_is_rejected_with_the_reason(stage: Stage, change: dict[str, Any], why: str) -> None:
    loop = stage.started()
    stage.ticks(loop, 2)
    before = loop.plant.power.turbines.state_code.copy()
    result = stage.command(loop, **({"verb": "turbine.start", "unit": "turbine-9"} | change))
    assert result is not None
    assert not result.accepted
    assert why in result.reason
    assert (loop.plant.power.turbines.state_code == before).all()


def test_the_same_command_twice_is_one(stage: Stage) -> None:
    loop = stage.started()
    assert stage.command(loop, "turbine.start", "turbine-9", id="same") is not None
    assert stage.command(loop, "turbine.start", "turbine-9", id="same") is None


def test_bytes_that_are_no_command_do_no_harm(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    loop = stage.started()
    for raw in (b"", b"{", b"[1]", b'{"head":{},"data":{}}'):
        for topic in ("commands", "instructor.injects", "run.requests", "run.control"):
            stage.bus.publish(topic, raw, key=b"k")
    stage.ticks(loop, 2)
    assert loop.owner.tick == 1
    assert caplog.text.count("invalid") == 16


def test_injects_are_answered_as_hidden_truth_alone(stage: Stage) -> None:
    loop = stage.started()
    stage.send(
        loop, "instructor.injects", Inject(id="i1", run=loop.owner.run, kind="turbine_trip", target="turbine-1"), "t"
    )
    stage.send(loop, "instructor.injects", Inject(id="i2", run=loop.owner.run, kind="no_such", target="turbine-1"), "t")
    stage.ticks(loop, 2)
    truth = stage.read("instructor.truth", Truth)
    assert [(t.inject_id, t.applied, t.applied_tick) for t in truth] == [("i1", True, 0), ("i2", False, 0)]
    assert "turbine_trip" in truth[1].reason  # says what is allowed
    assert stage.read("command_results", CommandResult) == []


def test_the_automatic_operator_speaks_on_command_results(stage: Stage) -> None:
    loop = stage.started(automatic_operator=True)
    stage.send(
        loop, "instructor.injects", Inject(id="i1", run=loop.owner.run, kind="chiller_trip", target="cooling-2"), "c"
    )
    stage.ticks(loop, 200)
    results = stage.read("command_results", CommandResult)
    assert {result.by for result in results} == {"automatic operator"}
    assert any(result.verb == "chiller.start" for result in results)


def test_a_snapshot_each_minute_and_the_way_back(stage: Stage) -> None:
    loop = stage.started()
    hashes = {}
    for _ in range(130):
        stage.ticks(loop, 1)
        hashes[loop.owner.tick] = state_hash(loop.plant)
    references = stage.read("instructor.snapshots", SnapshotReference)
    assert [reference.tick for reference in references] == [0, 60, 120]
    assert all(Path(reference.path).stat().st_size == reference.bytes for reference in references)
    loop.go_back(75)
    assert state_hash(loop.plant) == hashes[75]
    assert (loop.owner.tick, loop.owner.epoch, loop.owner.continues) == (75, 1, False)
    stage.ticks(loop, 10)
    assert state_hash(loop.plant) == hashes[85]


def test_what_was_ordered_before_is_done_again_and_what_came_after_is_forgotten(stage: Stage) -> None:
    loop = stage.started()
    stage.ticks(loop, 5)
    stage.command(loop, "turbine.start", "turbine-9")
    stage.ticks(loop, 5)
    at_ten = state_hash(loop.plant)
    assert loop.owner.tick == 10
    stage.command(loop, "turbine.start", "turbine-10")
    stage.ticks(loop, 5)
    loop.go_back(10)
    assert state_hash(loop.plant) == at_ten
    assert loop.plant.power.turbines.state_code[8:10].tolist() == [2, 1]


def test_a_second_run_is_refused_and_a_crashed_one_frees_the_namespace(stage: Stage) -> None:
    first = stage.started("one")
    stage.ticks(first, 2)
    with pytest.raises(RunActive, match="COLOSSUS_NAMESPACE"):
        stage.started("two", nonce=2)
    stage.clock.ms += LEASE_MS  # the first does not turn any more
    second = stage.started("two", nonce=2)
    stage.ticks(second, 2)
    with pytest.raises(LeaseLost, match="two"):
        first.turn()
    assert second.owner.last_ts > first.owner.last_ts


def test_the_end_frees_the_namespace_at_once(stage: Stage) -> None:
    first = stage.started("one")
    stage.ticks(first, 2)
    first.close()
    second = stage.started("two", nonce=2)
    assert stage.read("run.control", RunControl)[-1].owner == "two"
    second.close()
    assert stage.read("run.control", RunControl)[-1].state == "ended"


def test_from_the_past_at_speed_until_it_has_caught_up(stage: Stage) -> None:
    loop = stage.started(start_ms=START_MS - 120_000, speed=60.0)
    turns = 0
    while loop.owner.filling:
        loop.turn()
        stage.clock.ms += 5
        turns += 1
        assert turns < 2000
    heads = [split(record.value)[0] for record in stage.taps["telemetry.grid"].poll(0.0)]
    assert heads[0].ts == START_MS - 120_000
    assert [head.tick for head in heads] == list(range(len(heads)))
    assert {b.ts - a.ts for a, b in itertools.pairwise(heads)} == {1000}
    assert heads[-1].ts <= stage.clock.ms
    # 120 s at x60 take 2 s, in which 2 s more come due.
    assert 1900 <= stage.clock.ms - START_MS <= 2400
    assert (loop.owner.epoch, loop.owner.continues, loop.owner.plan.speed) == (1, True, 1.0)


def test_a_message_for_another_namespace_is_not_ours(stage: Stage) -> None:
    loop = stage.started()
    stage.bus.create_topics(TOPICS, "other")
    stage.bus.publish("other.commands", b"{}", key=b"k")
    stage.ticks(loop, 1)
    assert stage.read("command_results", CommandResult) == []


def test_a_full_disk_costs_snapshots_not_the_run(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    loop = stage.started()
    run_dir = stage.folder / loop.owner.run
    for file in run_dir.iterdir():
        file.unlink()
    run_dir.rmdir()
    run_dir.write_text("in the way")
    stage.ticks(loop, 65)
    assert loop.owner.tick == 64
    assert "snapshot=missing" in caplog.text
    with pytest.raises(RunError, match="COLOSSUS_DATA_DIR"):
        loop.save_snapshot()
    with pytest.raises(RunError, match="cannot be used"):
        loop.go_back(10)
    stage.ticks(loop, 2)


def test_a_damaged_snapshot_is_refused(stage: Stage) -> None:
    loop = stage.started()
    stage.ticks(loop, 3)
    (path,) = (stage.folder / loop.owner.run).iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RunError, match="changed"):
        loop.go_back(1)
    stage.ticks(loop, 1)
    assert loop.owner.tick == 3


def test_snapshots_of_other_runs_go_after_a_day(stage: Stage) -> None:
    for name, age_s in (("old", 2 * 86_400), ("recent", 3600)):
        (stage.folder / name).mkdir()
        seen_s = START_MS / 1000 - age_s
        os.utime(stage.folder / name, (seen_s, seen_s))
    loop = stage.started()
    assert {path.name for path in stage.folder.iterdir()} == {"recent", loop.owner.run}
