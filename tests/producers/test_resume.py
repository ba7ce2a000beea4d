"""A run whose owner died is found, rebuilt and gone on with, as if nothing had been."""

import itertools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from producers.loop import Loop
from producers.process import wait_for_lease, what_is_left
from producers.resume import Left, find_left, plan_of
from tests.producers.stage import Stage
from twin.bus.base import Reader, Record
from twin.errors import RunActive, RunError, SettingInvalid
from twin.events.control import Command, CommandResult, RunControl
from twin.events.head import split
from twin.events.instructor import Inject, Truth
from twin.events.topics import TOPICS
from twin.plant import Plant, apply, build, inject, state_hash, step
from twin.run import LEASE_MS
from twin.settings import Settings, load_settings
from twin.site import load_site

Orders = dict[int, tuple[str, str]]  # what, and of which unit, before each tick


@pytest.fixture
def stage(tmp_path: Path) -> Any:
    stage = Stage(tmp_path / "snapshots")
    yield stage
    stage.bus.close()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(data_dir=tmp_path)


def undisturbed(stage: Stage, ticks: int, commands: Orders, injects: Orders, *, operator: bool = False) -> Plant:
    """Make a plant that did so many steps, with these orders before those of a tick."""
    plant = build(stage.site, seed=stage.plan.seed, weather_at=stage.plan.weather_at, automatic_operator=operator)
    for tick in range(ticks):
        if tick in commands:
            apply(plant, *commands[tick], {})
        if tick in injects:
            inject(plant, *injects[tick])
        step(plant, stage.plan.dt_s)
    return plant


def last_control(stage: Stage) -> RunControl:
    reader = stage.bus.follow("run.control")
    records = reader.read_up()
    reader.close()
    return RunControl.model_validate_json(split(records[-1].value)[1])


def left_by(stage: Stage) -> Left:
    return find_left(stage.bus, "", stage.site, last_control(stage), stage.folder, meanwhile=lambda: None)


def crash(stage: Stage) -> None:
    """Let the lease of whoever does not turn any more run out."""
    stage.clock.ms += LEASE_MS


def resumed(stage: Stage, owner: str = "two") -> Loop:
    left = left_by(stage)
    stage.plan = plan_of(left.control)
    loop = stage.loop(owner)
    loop.resume(left)
    return loop


def command(stage: Stage, loop: Loop, name: str, unit: str, *, lasts_ms: int = 60_000) -> None:
    order = Command(
        id=name, run=loop.owner.run, verb="turbine.start", unit=unit, by="t", expires_ms=stage.clock.ms + lasts_ms
    )
    stage.send(loop, "commands", order, unit)


def break_it(stage: Stage, loop: Loop, name: str, target: str, kind: str = "turbine_trip") -> None:
    stage.send(loop, "instructor.injects", Inject(id=name, run=loop.owner.run, kind=kind, target=target), target)


def frames(stage: Stage) -> list[tuple[int, int, int]]:
    heads = [split(record.value)[0] for record in stage.taps["telemetry.grid"].poll(0.0)]
    return [(head.epoch, head.tick, head.ts) for head in heads]


# -- the same run, gone on with


def test_a_run_goes_on_as_if_its_owner_had_not_died(stage: Stage) -> None:
    first = stage.started("one")
    stage.ticks(first, 5)
    command(stage, first, "good", "turbine-9")
    command(stage, first, "bad", "turbine-99")
    break_it(stage, first, "trip", "turbine-1")
    break_it(stage, first, "nonsense", "turbine-1", kind="no_such")
    stage.ticks(first, 58)
    assert first.owner.tick == 62  # one snapshot lies before the orders, one after
    command(stage, first, "late", "turbine-10")
    stage.ticks(first, 8)
    crash(stage)

    second = resumed(stage)
    owner = second.owner
    assert (owner.run, owner.epoch, owner.continues, owner.tick) == (first.owner.run, 1, True, 70)
    commands = {5: ("turbine.start", "turbine-9"), 63: ("turbine.start", "turbine-10")}
    injects = {5: ("turbine_trip", "turbine-1")}
    assert state_hash(second.plant) == state_hash(first.plant)
    assert state_hash(second.plant) == state_hash(undisturbed(stage, 71, commands, injects))
    stage.ticks(second, 10)
    assert state_hash(second.plant) == state_hash(undisturbed(stage, 81, commands, injects))

    seen = frames(stage)
    assert [tick for _, tick, _ in seen] == list(range(81))
    assert [epoch for epoch, _, _ in seen] == 71 * [0] + 10 * [1]
    assert all(before < after for (_, _, before), (_, _, after) in itertools.pairwise(seen))
    assert sum(result.accepted for result in stage.read("command_results", CommandResult)) == 2
    assert [truth.applied for truth in stage.read("instructor.truth", Truth)] == [True, False]


def test_what_the_automatic_operator_did_is_not_done_twice(stage: Stage) -> None:
    first = stage.started("one", automatic_operator=True)
    break_it(stage, first, "trip", "cooling-2", kind="chiller_trip")
    stage.ticks(first, 200)
    acted = stage.read("command_results", CommandResult)
    assert {result.by for result in acted} == {"automatic operator"}
    crash(stage)
    second = resumed(stage)
    assert second.owner.plan.automatic_operator
    there = undisturbed(stage, 200, {}, {0: ("chiller_trip", "cooling-2")}, operator=True)
    assert state_hash(second.plant) == state_hash(there)
    assert left_by(stage).answered == {"trip"}


def test_a_run_outlives_one_owner_after_the_other(stage: Stage) -> None:
    loop = stage.started("one")
    for n, owner in enumerate(("two", "three", "four"), 1):
        stage.ticks(loop, 5)
        command(stage, loop, f"c{n}", f"turbine-{8 + n}")
        stage.ticks(loop, 1)
        crash(stage)
        loop = resumed(stage, owner)
        assert (loop.owner.epoch, loop.owner.tick) == (n, 6 * n - 1)
    commands = {6 * n - 1: ("turbine.start", f"turbine-{8 + n}") for n in (1, 2, 3)}
    assert state_hash(loop.plant) == state_hash(undisturbed(stage, 18, commands, {}))


def test_what_was_ordered_before_the_crash_is_on_the_way_back_too(stage: Stage) -> None:
    first = stage.started("one")
    stage.ticks(first, 65)
    command(stage, first, "c", "turbine-9")
    stage.ticks(first, 20)
    crash(stage)
    second = resumed(stage)
    command(stage, second, "d", "turbine-10")
    stage.ticks(second, 10)
    second.go_back(70)
    assert (second.owner.tick, second.owner.epoch) == (70, 2)
    there = undisturbed(stage, 71, {65: ("turbine.start", "turbine-9")}, {})
    assert state_hash(second.plant) == state_hash(there)


@pytest.mark.parametrize(("verb", "state"), [("pause", "paused"), ("freeze", "frozen")])
def test_a_run_that_stood_stands(stage: Stage, verb: str, state: str) -> None:
    first = stage.started("one")
    stage.ticks(first, 5)
    stage.ask(first, verb)
    crash(stage)
    second = resumed(stage)
    assert (second.owner.state, second.owner.tick, second.owner.epoch) == (state, 4, 1)
    stage.stands(second)
    assert stage.ask(second, "resume").error is None
    stage.ticks(second, 2)
    assert state_hash(second.plant) == state_hash(undisturbed(stage, second.plant.tick, {}, {}))


def test_no_tick_is_done_twice_that_was_sent_after_the_owner_last_said_where_it_is(stage: Stage) -> None:
    first = stage.started("one")
    stage.ask(first, "speed", speed=20.0)
    while first.owner.tick < last_control(stage).settled_tick + 10:
        stage.ticks(first, 1)
    crash(stage)
    second = resumed(stage)
    assert (second.owner.tick, state_hash(second.plant)) == (first.owner.tick, state_hash(first.plant))
    assert (second.owner.plan.speed, second.owner.line.ms_per_tick) == (20.0, 50)
    stage.ticks(second, 3)
    assert [tick for _, tick, _ in frames(stage)] == list(range(second.plant.tick))


# -- orders


def test_orders_that_came_while_nobody_owned_the_run_are_carried_out_once(stage: Stage) -> None:
    first = stage.started("one")
    stage.ticks(first, 5)
    command(stage, first, "lasts", "turbine-9")
    command(stage, first, "over", "turbine-10", lasts_ms=LEASE_MS - 1)
    break_it(stage, first, "trip", "turbine-1")
    stage.send(
        first, "instructor.injects", Inject(id="o", run="20200101T000000Z-0000", kind="turbine_trip", target="x"), "x"
    )
    crash(stage)
    second = resumed(stage)
    stage.ticks(second, 3)
    results = stage.read("command_results", CommandResult)
    assert [(r.command_id, r.accepted, r.applied_tick) for r in results] == [("lasts", True, 5), ("over", False, 5)]
    assert "expired" in results[1].reason
    assert [(t.inject_id, t.applied_tick) for t in stage.read("instructor.truth", Truth)] == [("trip", 5)]
    there = undisturbed(stage, 8, {5: ("turbine.start", "turbine-9")}, {5: ("turbine_trip", "turbine-1")})
    assert state_hash(second.plant) == state_hash(there)
    # and once more: by now they are answered
    crash(stage)
    third = resumed(stage, "three")
    stage.ticks(third, 2)
    assert stage.read("command_results", CommandResult) == []
    assert stage.read("instructor.truth", Truth) == []


def test_an_answered_order_is_never_carried_out_again(stage: Stage) -> None:
    first = stage.started("one")
    stage.ticks(first, 2)
    for n in range(2):  # the second is refused: it starts already
        command(stage, first, f"c{n}", "turbine-9")
        break_it(stage, first, f"i{n}", "turbine-1", kind=("turbine_trip", "no_such")[n])
        stage.ticks(first, 1)
    crash(stage)
    left = left_by(stage)
    assert (left.answered, left.waiting) == ({"c0", "c1", "i0", "i1"}, [])
    second = resumed(stage)
    stage.read("command_results", CommandResult)
    stage.read("instructor.truth", Truth)
    for n in range(2):  # whoever heard no answer asks again
        command(stage, second, f"c{n}", "turbine-9")
        break_it(stage, second, f"i{n}", "turbine-1")
    stage.ticks(second, 2)
    assert stage.read("command_results", CommandResult) == []
    assert stage.read("instructor.truth", Truth) == []


def test_an_inject_that_waits_while_the_run_stands_waits_on(stage: Stage) -> None:
    first = stage.started("one")
    stage.ticks(first, 3)
    stage.ask(first, "freeze")
    break_it(stage, first, "trip", "turbine-1")
    first.turn()
    crash(stage)
    second = resumed(stage)
    second.turn()
    assert stage.read("instructor.truth", Truth) == []
    stage.ask(second, "resume")
    stage.ticks(second, 1)
    assert [truth.inject_id for truth in stage.read("instructor.truth", Truth)] == ["trip"]


def test_the_orders_of_a_branch_that_was_left_are_left(stage: Stage) -> None:
    first = stage.started("one")
    stage.ticks(first, 5)
    command(stage, first, "before", "turbine-9")
    stage.ticks(first, 10)
    command(stage, first, "left", "turbine-10")
    break_it(stage, first, "left too", "turbine-1")
    stage.ticks(first, 10)
    first.go_back(9)
    stage.ticks(first, 2)
    command(stage, first, "after", "turbine-11")
    stage.ticks(first, 8)
    crash(stage)
    second = resumed(stage)
    assert (second.owner.tick, second.owner.epoch) == (19, 2)
    commands = {5: ("turbine.start", "turbine-9"), 12: ("turbine.start", "turbine-11")}
    assert state_hash(second.plant) == state_hash(first.plant)
    assert state_hash(second.plant) == state_hash(undisturbed(stage, 20, commands, {}))
    stage.read("command_results", CommandResult)
    stage.ticks(second, 3)
    assert stage.read("command_results", CommandResult) == []


def test_bytes_that_are_no_message_do_not_stand_in_the_way(stage: Stage) -> None:
    first = stage.started("one")
    command(stage, first, "c", "turbine-9")
    stage.ticks(first, 3)
    for topic in ("commands", "command_results", "instructor.injects", "instructor.truth", "instructor.snapshots"):
        stage.bus.publish(topic, b"{broken", key=b"k")
    stage.bus.publish("telemetry.grid", b"", key=b"k")
    crash(stage)
    assert resumed(stage).owner.tick == 2


def test_what_other_runs_have_left_does_not_count(stage: Stage) -> None:
    earlier = stage.started("one")
    command(stage, earlier, "c", "turbine-9")
    stage.ticks(earlier, 70)
    earlier.close()
    first = stage.started("two", nonce=2)
    stage.ticks(first, 3)
    crash(stage)
    left = left_by(stage)
    assert (left.plant.tick, left.log, left.answered, left.waiting) == (3, [], frozenset(), [])


# -- snapshots


def snapshots_of(stage: Stage, loop: Loop) -> list[Path]:
    return sorted((stage.folder / loop.owner.run).iterdir())


def test_where_the_newest_snapshot_is_damaged_the_one_before_it_does(stage: Stage) -> None:
    first = stage.started("one")
    stage.ticks(first, 30)
    command(stage, first, "c", "turbine-9")
    stage.ticks(first, 35)
    crash(stage)
    oldest, newest = snapshots_of(stage, first)
    newest.write_bytes(newest.read_bytes()[:-1])
    second = resumed(stage)
    assert second.owner.tick == 64
    assert state_hash(second.plant) == state_hash(undisturbed(stage, 65, {30: ("turbine.start", "turbine-9")}, {}))
    oldest.unlink()
    second.go_back(64)  # by the snapshot with which it went on
    with pytest.raises(RunError, match="cannot be used"):
        second.go_back(62)


def test_without_a_snapshot_nothing_can_be_gone_on_with(stage: Stage) -> None:
    first = stage.started("one")
    stage.ticks(first, 65)
    crash(stage)
    control = last_control(stage)
    stranger = control.model_copy(update={"run": "20200101T000000Z-0000"})
    with pytest.raises(RunError, match="no snapshot of run 20200101T000000Z-0000 is known"):
        find_left(stage.bus, "", stage.site, stranger, stage.folder, meanwhile=lambda: None)
    stage.bus.create_topics(TOPICS, "ci")
    with pytest.raises(RunError, match="is known"):
        find_left(stage.bus, "ci", stage.site, control, stage.folder, meanwhile=lambda: None)
    for file in snapshots_of(stage, first):
        file.write_bytes(b"nothing")
    with pytest.raises(RunError, match="the snapshot of tick 0 cannot be used: its bytes have changed"):
        left_by(stage)


def test_the_way_back_ends_where_the_branch_began(stage: Stage) -> None:
    first = stage.started("one")
    stage.ticks(first, 20)
    first.go_back(10)
    stage.ticks(first, 5)
    crash(stage)
    second = resumed(stage)
    stage.ask(second, "pause")
    there = (state_hash(second.plant), second.owner.tick, second.owner.epoch)
    error = stage.ask(second, "seek", tick=5).error or ""
    assert "no snapshot before tick 6; the oldest is of tick 11" in error
    assert (state_hash(second.plant), second.owner.tick, second.owner.epoch) == there
    assert there[1:] == (15, 2)
    assert stage.ask(second, "seek", tick=12).error is None
    assert state_hash(second.plant) == state_hash(undisturbed(stage, 13, {}, {}))


# -- who may


def test_who_lives_is_not_followed(stage: Stage) -> None:
    first = stage.started("one")
    stage.ticks(first, 3)
    left = left_by(stage)
    with pytest.raises(RunActive, match="one"):
        stage.loop("two").resume(left)
    stage.ticks(first, 3)


def test_of_two_that_follow_one_is_refused(stage: Stage) -> None:
    first = stage.started("one")
    stage.ticks(first, 3)
    crash(stage)
    left, late = left_by(stage), left_by(stage)
    stage.loop("two").resume(left)
    with pytest.raises(RunActive, match=r"has gone on as .*, epoch 1, of two"):
        stage.loop("three").resume(late)
    crash(stage)  # and though that one has died since: what was rebuilt is not of its epoch
    with pytest.raises(RunActive, match="epoch 1, of two"):
        stage.loop("three").resume(late)


# -- waiting for the lease


def look(stage: Stage, settings: Settings, site: str = "mini", *, stop: bool = False) -> Left | None:
    told = threading.Event()
    if stop:
        told.set()
    control = wait_for_lease(stage.bus, settings.namespace, stage.clock, told)
    return None if control is None else what_is_left(stage.bus, settings, load_site(site), control)


def while_it_waits(stage: Stage, monkeypatch: pytest.MonkeyPatch, do: Callable[[], object]) -> list[float]:
    """Do something at each poll of ``run.control``; the time it waits passes on the hand clock, and is returned."""
    follow, waited = stage.bus.follow, []

    def followed(topic: str) -> Reader:
        reader = follow(topic)
        really = reader.poll

        def poll(timeout_s: float = 0.0, *, limit: int = 1000) -> list[Record]:
            if timeout_s and reader.caught_up():
                stage.clock.ms += round(1000 * timeout_s)
                waited.append(timeout_s)
                do()
            return really(0.0, limit=limit)

        monkeypatch.setattr(reader, "poll", poll)
        return reader

    monkeypatch.setattr(stage.bus, "follow", followed)
    return waited


def test_where_nobody_was_or_the_run_has_ended_nothing_is_left(
    stage: Stage, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited = while_it_waits(stage, monkeypatch, lambda: None)
    assert look(stage, settings) is None
    loop = stage.started("one")
    stage.ticks(loop, 3)
    loop.close()
    assert look(stage, settings) is None
    assert waited == []


def test_the_run_of_a_dead_owner_is_left_once_its_lease_has_run_out(
    stage: Stage, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = stage.started("one")
    stage.ticks(first, 3)
    expires_ms = last_control(stage).lease_expires_ms
    assert stage.clock.ms < expires_ms
    waited = while_it_waits(stage, monkeypatch, lambda: None)
    left = look(stage, settings)
    assert left is not None
    assert (left.control.run, left.plant.tick) == (first.owner.run, 3)
    assert stage.clock.ms >= expires_ms
    assert max(waited) <= 0.2


def test_what_is_left_in_another_namespace_is_not_ours(stage: Stage, tmp_path: Path) -> None:
    stage.ticks(stage.started("one"), 3)
    crash(stage)
    stage.bus.create_topics(TOPICS, "ci")
    assert look(stage, load_settings(data_dir=tmp_path, namespace="ci")) is None
    assert look(stage, load_settings(data_dir=tmp_path)) is not None


def test_an_owner_that_lives_is_left_alone(stage: Stage, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    first = stage.started("one")
    stage.ticks(first, 3)
    waited = while_it_waits(stage, monkeypatch, first.turn)
    with pytest.raises(RunActive, match=r"of one is running .*COLOSSUS_NAMESPACE"):
        look(stage, settings)
    assert 0.5 < sum(waited) < 2.0  # it says so every second


def test_an_owner_that_ends_its_run_meanwhile_leaves_nothing(
    stage: Stage, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = stage.started("one")
    stage.ticks(first, 3)
    while_it_waits(stage, monkeypatch, first.close)
    assert look(stage, settings) is None


def test_who_is_told_to_stop_waits_no_longer(stage: Stage, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.ticks(stage.started("one"), 3)
    waited = while_it_waits(stage, monkeypatch, lambda: None)
    look(stage, settings, stop=True)
    assert waited == []


def test_the_run_of_another_site_is_not_taken(stage: Stage, settings: Settings) -> None:
    stage.ticks(stage.started("one"), 3)
    crash(stage)
    with pytest.raises(SettingInvalid, match=r"of site mini .*--site mini.*--new"):
        look(stage, settings, "colossus1")


def test_a_run_whose_snapshots_are_damaged_is_given_up_with_the_reason(
    stage: Stage, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    first = stage.started("one")
    stage.ticks(first, 3)
    crash(stage)
    for file in snapshots_of(stage, first):
        file.write_bytes(b"x")
    assert look(stage, settings) is None
    assert f"run={first.owner.run} given_up reason=the snapshot of tick 0 cannot be used" in caplog.text
