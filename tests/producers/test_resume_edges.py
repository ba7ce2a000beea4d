"""Crashes at awkward moments: in the tick of an order, after a jump, in a fill, with a full disk."""

from pathlib import Path

import pytest

from producers.loop import TOLD_EVERY_MS
from producers.resume import find_left, plan_of
from tests.producers.stage import START_MS, Stage
from tests.producers.test_resume import command, crash, last_control, look, resumed, snapshots_of, stage, undisturbed
from twin.errors import RunError, StartError
from twin.events.control import Command, CommandResult
from twin.events.instructor import SnapshotReference
from twin.plant import state_hash
from twin.settings import load_settings

__all__ = ["stage"]  # the fixture


class DiedError(Exception):
    """The process ends here."""


def disk_is_full(patch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    patch.setattr(Path, "write_bytes", full)


def test_a_jump_outlives_a_crash_before_its_first_tick(stage: Stage) -> None:
    first = stage.started("one")
    stage.ticks(first, 20)
    stage.ask(first, "pause")
    assert stage.ask(first, "seek", tick=5).error is None
    crash(stage)
    second = resumed(stage)
    assert (second.owner.tick, second.owner.state) == (5, "paused")


def test_an_order_that_was_answered_in_the_tick_of_the_crash_holds(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = stage.started("one")
    stage.ticks(first, 5)
    command(stage, first, "c", "turbine-9")

    def die(*_: object) -> None:
        raise DiedError

    with monkeypatch.context() as patch:
        patch.setattr("producers.loop.step", die)
        with pytest.raises(DiedError):
            stage.ticks(first, 1)
    answers = stage.read("command_results", CommandResult)
    assert [(answer.accepted, answer.applied_tick) for answer in answers] == [(True, 5)]
    crash(stage)
    second = resumed(stage)
    stage.ticks(second, 3)
    assert stage.ask(second, "seek", tick=second.owner.tick - 1).error is None
    expected = undisturbed(stage, second.plant.tick, {5: ("turbine.start", "turbine-9")}, {})
    assert state_hash(second.plant) == state_hash(expected)
    assert stage.read("command_results", CommandResult) == []


def test_an_order_that_comes_while_the_plant_is_rebuilt_is_carried_out_once(stage: Stage) -> None:
    first = stage.started("one")
    stage.ticks(first, 5)
    crash(stage)
    control = last_control(stage)
    stage.plan = plan_of(control)
    loop = stage.loop("two")  # listens before anything is rebuilt, as the process does
    command(stage, first, "early", "turbine-9")
    left = find_left(stage.bus, "", stage.site, control, stage.folder, meanwhile=lambda: None)
    command(stage, first, "late", "turbine-10")
    loop.resume(left)
    stage.ticks(loop, 3)
    assert [one.command_id for one in stage.read("command_results", CommandResult)] == ["early", "late"]


def test_a_fill_of_the_past_goes_on_at_real_time(stage: Stage) -> None:
    first = stage.started("one", start_ms=START_MS - 600_000, speed=60.0)
    for _ in range(100):
        first.turn()
        stage.clock.ms += 5
    assert first.owner.filling
    crash(stage)
    second = resumed(stage)
    assert (second.owner.filling, second.owner.plan.speed) == (False, 1.0)


def test_a_run_at_another_speed_keeps_it(stage: Stage) -> None:
    stage.ticks(stage.started("one", speed=4.0), 5)
    crash(stage)
    assert resumed(stage).owner.plan.speed == 4.0


def test_snapshots_that_were_thinned_out_are_not_missed(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("producers.snapshots.KEEP_N", 4)
    first = stage.started("one")
    stage.ticks(first, 600)
    crash(stage)
    second = resumed(stage)
    for tick in (599, 580, 400, 200, 1):
        second.go_back(tick)
        assert second.plant.tick == tick + 1


def test_a_damaged_snapshot_of_a_later_epoch_is_no_end(stage: Stage) -> None:
    first = stage.started("one")
    stage.ticks(first, 30)
    stage.ask(first, "speed", speed=2.0)
    stage.ticks(first, 40)
    crash(stage)
    snapshots_of(stage, first)[-1].write_bytes(b"x")
    second = resumed(stage)
    assert second.owner.tick == first.owner.tick
    assert state_hash(second.plant) == state_hash(first.plant)


def test_a_jump_that_cannot_be_kept_is_not_made(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    first = stage.started("one")
    stage.ticks(first, 10)
    command(stage, first, "stays", "turbine-9")
    stage.ticks(first, 10)
    with monkeypatch.context() as patch:
        disk_is_full(patch)
        answer = stage.ask(first, "seek", tick=5)
    assert "No space left" in (answer.error or "")
    assert (first.owner.epoch, first.plant.tick >= 20) == (0, True)
    stage.ticks(first, 10)
    crash(stage)
    assert state_hash(resumed(stage).plant) == state_hash(first.plant)


def test_a_resume_that_cannot_write_leaves_the_run_as_it_was(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    first = stage.started("one")
    stage.ticks(first, 20)
    crash(stage)
    with monkeypatch.context() as patch:
        disk_is_full(patch)
        with pytest.raises(RunError, match="COLOSSUS_DATA_DIR"):
            resumed(stage)
    assert last_control(stage).state == "running"
    crash(stage)
    assert resumed(stage, "three").owner.tick == first.owner.tick


def test_nobody_may_give_commands_as_the_automatic_operator(stage: Stage) -> None:
    first = stage.started("one")
    stage.ticks(first, 5)
    order = Command(
        id="c",
        run=first.owner.run,
        verb="turbine.start",
        unit="turbine-9",
        by="automatic operator",
        expires_ms=stage.clock.ms + 60_000,
    )
    stage.send(first, "commands", order, "turbine-9")
    stage.ticks(first, 3)
    (answer,) = stage.read("command_results", CommandResult)
    assert (answer.accepted, "automatic operator" in answer.reason) == (False, True)


def test_a_run_whose_snapshots_lie_elsewhere_is_not_given_up(stage: Stage, tmp_path: Path) -> None:
    first = stage.started("one")
    stage.ticks(first, 3)
    crash(stage)
    for file in snapshots_of(stage, first):
        file.unlink()
    with pytest.raises(StartError, match=r"are not in .*COLOSSUS_DATA_DIR.*--new"):
        look(stage, load_settings(data_dir=tmp_path))


def test_a_run_that_stands_can_be_resumed_after_the_topics_have_forgotten_its_orders(stage: Stage) -> None:
    first = stage.started("one")
    stage.ticks(first, 5)
    command(stage, first, "c", "turbine-9")
    stage.ticks(first, 5)
    stage.ask(first, "freeze")
    first.turn()
    saved = [one.tick for one in stage.read("instructor.snapshots", SnapshotReference)]
    assert saved[-1] == first.plant.tick
    stage.clock.ms += TOLD_EVERY_MS
    first.turn()
    assert [one.tick for one in stage.read("instructor.snapshots", SnapshotReference)] == [first.plant.tick]


def test_an_epoch_of_which_only_frames_were_seen_is_not_used_again(stage: Stage) -> None:
    first = stage.started("one")
    stage.ticks(first, 5)
    first.owner.set_speed(2.0, stage.clock.ms)  # nobody hears of it on run.control
    stage.clock.ms += first.owner.line.ms_per_tick
    first._tick(stage.clock.ms)
    crash(stage)
    assert (last_control(stage).epoch, resumed(stage).owner.epoch) == (0, 2)
