"""The loop of the plant side when a run is steered: lock step, lost leases, loops, steps, fills, long ways back."""

import itertools
from pathlib import Path

import pytest

from producers.snapshots import Snapshots
from tests.producers.stage import START_MS, Stage
from twin.errors import LeaseLost, RunActive, RunError
from twin.events.alarm import DeadLetter
from twin.events.control import Command, CommandResult, RunControl
from twin.events.head import split
from twin.events.instructor import Inject, Truth
from twin.events.jobs import JobTable
from twin.plant import state_hash
from twin.run import LEASE_MS, new_run_id, utc_text


def test_a_command_in_lock_step_does_not_stop_the_run(stage: Stage) -> None:
    for tap in stage.taps.values():
        tap.close()  # they would count as consumers
    loop = stage.loop(lock_step=True, gate=lambda _: stage.bus.settled())
    loop.start(new_run_id(utc_text(stage.clock.ms), 1))
    for turn in range(40):
        if turn == 10:
            far = stage.clock.ms + 1_000_000
            order = Command(id="c", run=loop.owner.run, verb="turbine.start", unit="turbine-9", by="t", expires_ms=far)
            stage.send(loop, "commands", order, "turbine-9")
        loop.turn()
        stage.clock.ms += 1000
    assert loop.owner.tick >= 30
    assert loop.plant.power.turbines.state_code[8] == 2


def test_who_has_lost_the_lease_does_not_free_it(stage: Stage) -> None:
    first = stage.started("one")
    stage.ticks(first, 2)
    stage.clock.ms += LEASE_MS
    second = stage.started("two", nonce=2)
    with pytest.raises(LeaseLost):
        first.turn()
    first.close()
    assert stage.read("run.control", RunControl)[-1].owner == "two"
    with pytest.raises(RunActive, match="two"):
        stage.started("three", nonce=3)
    second.turn()


def test_the_first_tick_of_each_epoch_has_the_whole_job_table(stage: Stage) -> None:
    loop = stage.loop(families=("jobs",))
    loop.start(new_run_id(utc_text(stage.clock.ms), 1))
    stage.ticks(loop, 5)
    loop.owner.set_speed(2.0, stage.clock.ms)
    stage.ticks(loop, 2)
    tables = [
        (head.epoch, head.tick)
        for head, data in (split(record.value) for record in stage.taps["telemetry.jobs"].poll(0.0))
        if JobTable.model_validate_json(data).full
    ]
    assert tables == [(0, 0), (1, 5)]


def test_a_loop_that_cannot_go_back_is_given_up_and_told(stage: Stage) -> None:
    loop = stage.started()
    stage.ask(loop, "loop", a=2, b=8, times=3)
    for file in (stage.folder / loop.owner.run).iterdir():
        file.unlink()
    stage.ticks(loop, 14)
    assert loop.owner.epoch == 0
    errors = [control.error for control in stage.read("run.control", RunControl) if control.error]
    assert len(errors) == 1
    assert "given up" in errors[0]
    assert str(stage.folder) not in errors[0]  # the topic reaches every seat: no paths


def test_a_seek_leaves_the_loop(stage: Stage) -> None:
    loop = stage.started()
    stage.ticks(loop, 5)
    stage.ask(loop, "loop", a=2, b=8, times=3)
    stage.ask(loop, "seek", tick=1)
    stage.ticks(loop, 12)
    assert loop.owner.tick >= 12
    assert loop.owner.epoch == 1


def test_steps_come_one_in_a_turn_and_never_ahead_of_the_clock(stage: Stage) -> None:
    loop = stage.started()
    stage.ticks(loop, 2)
    stage.ask(loop, "pause")
    for _ in range(2):
        target = loop.owner.tick + 600
        assert stage.ask(loop, "step", ticks=600).error is None
        for _ in range(2000):
            before = loop.owner.tick
            loop.turn()
            assert loop.owner.tick - before <= 1
            assert loop.owner.last_ts <= stage.clock.ms
            stage.clock.ms += 1
        assert loop.owner.tick == target
    assert loop.owner.state == "paused"
    assert stage.read("run.control", RunControl)[-1].lease_expires_ms > stage.clock.ms  # renewed all the while


def test_commands_to_a_run_that_stands_are_refused_at_once(stage: Stage) -> None:
    loop = stage.started()
    stage.ticks(loop, 2)
    stage.ask(loop, "freeze")
    late = stage.clock.ms + 10_000
    order = Command(id="c", run=loop.owner.run, verb="turbine.start", unit="turbine-9", by="t", expires_ms=late)
    inject = Inject(id="i", run=loop.owner.run, kind="turbine_trip", target="turbine-1")
    stage.send(loop, "commands", order, "turbine-9")
    stage.send(loop, "instructor.injects", inject, "turbine-1")
    loop.turn()
    (result,) = stage.read("command_results", CommandResult)
    assert (result.accepted, result.reason) == (False, "the run is frozen: resume it first")
    assert stage.read("instructor.truth", Truth) == []
    stage.ask(loop, "resume")
    stage.ticks(loop, 1)
    assert [truth.applied for truth in stage.read("instructor.truth", Truth)] == [True]
    assert loop.plant.power.turbines.state_code[8] == 1


def test_broken_orders_are_kept_aside_but_for_injects(stage: Stage) -> None:
    loop = stage.started()
    for topic in ("commands", "run.requests", "instructor.injects"):
        stage.bus.publish(topic, b"{broken", key=b"k")
    stage.ticks(loop, 2)
    letters = stage.read("dead.letter", DeadLetter)
    assert sorted((letter.topic, letter.offset) for letter in letters) == [("commands", 0), ("run.requests", 0)]
    assert all(letter.reason.startswith("not-json") and letter.raw for letter in letters)


def test_pause_and_speed_in_a_fill_leave_no_hole(stage: Stage) -> None:
    loop = stage.started(start_ms=START_MS - 300_000, speed=60.0)

    def go_on(turns: int) -> None:
        for _ in range(turns):
            loop.turn()
            stage.clock.ms += 5

    go_on(100)
    stage.ask(loop, "pause")
    stage.clock.ms += 1000
    go_on(20)
    stage.ask(loop, "resume")
    go_on(100)
    before = loop.owner.tick
    stage.ask(loop, "speed", speed=100.0)
    go_on(200)
    assert 95 <= loop.owner.tick - before <= 105  # one second at x100, from where it was
    refused = stage.ask(loop, "speed", speed=1.0)
    assert "catches up" in (refused.error or "")
    while loop.owner.filling:
        go_on(1)
    heads = [split(record.value)[0] for record in stage.taps["telemetry.grid"].poll(0.0)]
    assert {b.ts - a.ts for a, b in itertools.pairwise(heads)} == {1000}
    assert loop.owner.plan.speed == 1.0


def test_snapshots_thin_out_with_age(stage: Stage) -> None:
    plant = stage.loop().plant
    kept = Snapshots(stage.folder / "thin", stage.site)
    for tick in range(0, 6000, 20):
        plant.tick = tick
        kept.save(plant, 0)
    ticks = sorted(int(path.name.partition(".")[0]) for path in (stage.folder / "thin").iterdir())
    assert (len(ticks), ticks[0], ticks[-1]) == (120, 0, 5980)
    gaps = [b - a for a, b in itertools.pairwise(ticks)]
    assert max(gaps) <= 400
    assert gaps[-1] == 20
    assert sum(gaps[:20]) > sum(gaps[-20:])


def test_a_long_way_back_renews_the_lease(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("producers.snapshots.STRETCH_TICKS", 10)
    loop = stage.started()
    stage.ticks(loop, 5)
    stage.command(loop, "turbine.start", "turbine-9")
    stage.ticks(loop, 39)
    there = state_hash(loop.plant)
    stage.ticks(loop, 5)
    stage.read("run.control", RunControl)
    loop.go_back(44)
    assert state_hash(loop.plant) == there
    assert len(stage.read("run.control", RunControl)) == 1 + 4


def test_the_speed_reached_is_that_of_the_last_seconds(stage: Stage) -> None:
    loop = stage.started()

    def pass_by(seconds: float, every_ms: int) -> float:
        end_ms = stage.clock.ms + 1000 * seconds
        while stage.clock.ms < end_ms:
            loop.turn()
            stage.clock.ms += every_ms
        loop.turn()
        return stage.read("run.control", RunControl)[-1].speed_reached

    assert pass_by(3, 50) == pytest.approx(1.0, abs=0.03)
    stage.ask(loop, "speed", speed=10.0)
    assert pass_by(3, 50) == pytest.approx(10.0, abs=0.3)
    assert pass_by(10, 400) == pytest.approx(2.5, abs=0.1)  # one tick in each turn of a slow machine
    stage.ask(loop, "speed", speed=0.1)
    assert pass_by(25, 50) == pytest.approx(0.1, abs=0.03)


def test_steps_end_with_the_epoch_that_they_were_ordered_in(stage: Stage) -> None:
    loop = stage.started()
    stage.ticks(loop, 2)
    stage.ask(loop, "pause")
    stage.ask(loop, "step", ticks=600)
    stage.ticks(loop, 10)
    stage.ask(loop, "resume")
    stage.ticks(loop, 3)
    stage.ask(loop, "pause")
    stage.stands(loop)
    far = stage.clock.ms + 10_000
    order = Command(id="c", run=loop.owner.run, verb="turbine.start", unit="turbine-9", by="t", expires_ms=far)
    stage.send(loop, "commands", order, "turbine-9")
    loop.turn()
    assert [result.reason for result in stage.read("command_results", CommandResult)] == [
        "the run is paused: resume it first"
    ]


def test_a_pause_ends_single_steps(stage: Stage) -> None:
    loop = stage.started()
    stage.ticks(loop, 2)
    stage.ask(loop, "freeze")
    stage.ask(loop, "step", ticks=600)
    stage.ticks(loop, 10)
    assert stage.ask(loop, "freeze").error is None
    stage.stands(loop)
    assert loop.owner.state == "frozen"
    assert stage.ask(loop, "freeze").error is not None
    stage.ask(loop, "resume")
    stage.ask(loop, "pause")
    stage.ask(loop, "step", ticks=600)
    assert stage.ask(loop, "freeze").error is None
    assert loop.owner.state == "frozen"


def test_the_lease_is_alive_after_a_long_way_back(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("producers.snapshots.STRETCH_TICKS", 10)
    loop = stage.started()
    stage.ticks(loop, 50)
    said = loop._say

    def slow(now_ms: int) -> None:
        said(now_ms)
        stage.clock.ms += 4000

    monkeypatch.setattr(loop, "_say", slow)
    answer = stage.ask(loop, "seek", tick=44)
    assert answer.error is None
    assert answer.sent_ms == stage.clock.ms - 4000
    with pytest.raises(RunActive):
        stage.started("two", nonce=2)


def test_a_lease_that_is_lost_on_the_way_back_ends_it_in_silence(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("producers.snapshots.STRETCH_TICKS", 10)
    loop = stage.started()
    stage.ticks(loop, 50)
    stage.clock.ms += LEASE_MS
    stage.started("two", nonce=2)
    with pytest.raises(LeaseLost):
        loop.go_back(44)
    loop.close()
    assert stage.read("run.control", RunControl)[-1].owner == "two"


def test_a_seek_that_the_clock_forbids_changes_nothing(stage: Stage) -> None:
    loop = stage.started()
    stage.ticks(loop, 20)
    there, tick = state_hash(loop.plant), loop.owner.tick
    stage.clock.ms -= 10_000
    assert "set back" in (stage.ask(loop, "seek", tick=5).error or "")
    assert (state_hash(loop.plant), loop.owner.tick, loop.owner.epoch) == (there, tick, 0)


def test_a_snapshot_that_cannot_be_removed_is_left(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = stage.started()
    stage.ticks(loop, 20)
    loop.save_snapshot()

    def read_only(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "unlink", read_only)
    assert stage.ask(loop, "seek", tick=5).error is None
    assert loop.owner.epoch == 1


def test_the_epoch_that_follows_a_fill_is_announced_with_its_first_tick(stage: Stage) -> None:
    loop = stage.started(start_ms=START_MS - 30_000, speed=60.0)
    while loop.owner.filling:
        loop.turn()
        stage.clock.ms += 5
    epoch = loop.owner.epoch
    assert stage.read("run.control", RunControl)[-1].epoch == epoch


def test_a_request_with_a_huge_value_is_refused_and_the_run_goes_on(stage: Stage) -> None:
    loop = stage.started()
    assert len(stage.ask(loop, "seek", tick="x" * 5000).error or "") == 1000
    stage.ticks(loop, 2)


def test_a_clock_that_is_set_back_in_a_fill_makes_it_wait(stage: Stage) -> None:
    loop = stage.started(start_ms=START_MS - 60_000, speed=60.0)
    for _ in range(100):
        loop.turn()
        stage.clock.ms += 5
    tick = loop.owner.tick
    stage.clock.ms -= 120_000
    loop.turn()
    assert (loop.owner.tick, loop.owner.filling, loop.owner.epoch) == (tick, True, 0)


def test_a_second_owner_is_refused_when_the_clock_was_set_back(stage: Stage) -> None:
    first = stage.started()
    stage.ticks(first, 100)
    stage.clock.ms -= 90_000
    with pytest.raises(RunActive):
        stage.started("two", nonce=2)
    first.close()
    with pytest.raises(RunError, match="set back"):
        stage.started("two", nonce=2)
