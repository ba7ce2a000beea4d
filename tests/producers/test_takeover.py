"""A replay that turns live: the same run, the same plant, and from there on whatever is made of it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from producers.differences import Difference
from producers.host import Wish
from producers.incidents import RUN, make_incident
from producers.loop import Loop
from producers.rebuild import check, rebuild
from producers.resume import find_left, plan_of
from producers.to_come import kept
from tests.producers.desk import Desk, at_ms, frames_of
from tests.producers.recorded import SITE, edited, turn_ns, without
from twin.events.control import CommandResult
from twin.events.head import decode_model, split
from twin.plant import state_hash
from twin.recording.choice import Choice
from twin.recording.edit import cut
from twin.recording.item import NS_PER_MS
from twin.recording.reader import Recording
from twin.run import LEASE_MS

RESULTS = "command_results"
T_S = 180  # a minute after all chillers of a hall have tripped


@pytest.fixture(scope="session")
def incident(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_incident("chiller-trip", tmp_path_factory.mktemp("recordings"))[0]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.bus.close()


def taken_over(desk: Desk, incident: Path, seconds: float = T_S) -> Loop:
    replay = desk.host.replay(Wish(incident, Choice(instructor=True), speed=0, paused=True, stays=True))
    request = desk.ask("takeover", ts=at_ms(incident, seconds))
    desk.turn_until(replay, lambda: replay.done)
    assert desk.answer(request) is None
    loop = desk.go_on(replay)
    assert isinstance(loop, Loop)
    return loop


def test_without_a_command_the_future_is_the_recorded_one_in_every_byte(desk: Desk, incident: Path) -> None:
    loop = taken_over(desk, incident)
    first = loop.owner.tick + 1
    replayed = [control for control in desk.controls() if control.kind == "replay"][-1]
    assert loop.owner.run == replayed.run
    assert loop.owner.epoch == replayed.epoch + 1
    assert loop.owner.continues
    desk.came.clear()
    with Recording(incident) as recording:
        recorded = {
            (item.topic, head.key, head.tick): data
            for item in recording.items(topics=[topic for topic in recording.counts if topic.startswith("telemetry.")])
            for head, data in [split(item.value)]
            if head.tick >= first
        }
    last = max(tick for _, _, tick in recorded)
    assert last - first > 300
    desk.turn_until(loop, lambda: loop.owner.tick >= last)
    desk.turn(loop)
    live = frames_of(desk.came)
    # The table of jobs comes in full in the first tick of an epoch, whatever the tick.
    live.pop(("telemetry.jobs", *(key[1:] for key in live if key[0] == "telemetry.jobs" and key[2] == first)), None)
    assert {key: data for key, data in live.items() if key in recorded} == recorded
    loop.close()


def test_the_right_commands_make_it_better(desk: Desk, incident: Path) -> None:
    loop = taken_over(desk, incident)
    desk.turn(loop)
    desk.command("chiller.reset", "cooling-2")
    desk.command("chiller.start", "cooling-2", n=12.0)
    desk.turn_until(loop, lambda: loop.owner.tick >= T_S + 500)
    desk.ask("end")
    desk.turn_until(loop, lambda: loop.done)
    loop.close()
    desk.host._conclude(loop)
    ((comparison, path),) = desk.comparisons
    assert comparison.commands_n["yours"] == 2
    assert comparison.model_error is not None
    assert comparison.model_error.within
    assert comparison.effect()["rooms_over_h"] < 0, comparison.lines()
    assert json.loads(path.read_text())["effect"] == comparison.effect()


def test_what_cannot_be_taken_over_stands_where_it_was_asked_for(desk: Desk, incident: Path, tmp_path: Path) -> None:
    bare = edited(incident, tmp_path / "bare.mcap", item=without("instructor."), attachment=lambda *_: None)
    replay = desk.host.replay(Wish(bare, speed=0, paused=True, stays=True))
    request = desk.ask("takeover", ts=at_ms(bare, 100))
    desk.turn_until(replay, lambda: any(told.answers == request for told in desk.controls()))
    error = desk.answer(request)
    assert error is not None
    assert error.startswith("no-snapshot")
    assert not replay.done
    assert replay.player.phase == "paused"
    assert replay.player.state().clock_ms == pytest.approx(at_ms(bare, 100), abs=1000)
    desk.ask("resume")
    desk.turn_until(replay, lambda: replay.player.phase == "ended")
    replay.close()
    replay.player.recording.close()


@pytest.mark.parametrize("seconds", [0, 3])
def test_a_cut_is_taken_over_as_the_whole_is(desk: Desk, incident: Path, tmp_path: Path, seconds: float) -> None:
    start_ns = at_ms(incident, T_S - 5) * NS_PER_MS
    made = cut(incident, tmp_path / "cut.mcap", start_ns, start_ns + 60 * 10**9)
    loop = taken_over(desk, made.target, seconds)
    with Recording(incident) as recording:
        whole = rebuild(recording, RUN, turn_ns(loop.owner.tick), SITE)
    assert 0 <= loop.owner.tick - (T_S - 5 + int(seconds)) <= 1
    assert state_hash(loop.plant) == state_hash(whole.plant)
    loop.close()


def test_injects_after_it_come_at_their_ticks(desk: Desk, incident: Path) -> None:
    loop = taken_over(desk, incident, 60)  # a minute before the chillers trip
    desk.turn_until(loop, lambda: loop.owner.tick >= 130)
    truths = [split(record.value) for record in desk.came if record.topic == "instructor.truth"]
    assert any(head.run == loop.owner.run and b"chiller_trip" in data and head.tick == 120 for head, data in truths)
    assert loop.plant.malfunctions
    loop.close()


@pytest.mark.parametrize("by_request", [False, True])
def test_what_is_asked_while_the_plant_is_rebuilt_is_answered_once(
    desk: Desk, incident: Path, monkeypatch: pytest.MonkeyPatch, by_request: bool
) -> None:
    asked: list[str] = []

    def check_while_people_ask(*told: Any) -> Difference:
        asked.append(desk.ask("snapshot"))
        desk.command("chiller.reset", "cooling-2")
        return check(*told)

    monkeypatch.setattr("producers.takeover.check", check_while_people_ask)
    replay = desk.host.replay(Wish(incident, Choice(instructor=True), speed=0, paused=True, stays=True))
    desk.turn(replay)
    if by_request:
        desk.ask("takeover", ts=at_ms(incident, T_S))
        desk.turn_until(replay, lambda: replay.done)
    else:
        desk.host.take_over(replay, at_ms(incident, T_S) * NS_PER_MS)
        asked.append(desk.ask("pause"))  # the loop that comes next listens by now
        desk.command("chiller.start", "cooling-2", n=1.0)
    loop = desk.go_on(replay)
    assert isinstance(loop, Loop)
    desk.turn_until(loop, lambda: len(results(desk)) == len(asked) or loop.owner.tick > T_S + 20)
    desk.turn(loop)
    answers = [(told.answers, told.error) for told in desk.controls() if told.answers in asked]
    assert answers == [(request, None) for request in asked]
    verbs = [result.verb for result in results(desk)]
    assert verbs == ["chiller.reset", "chiller.start"][: len(asked)]
    loop.close()


def test_what_was_asked_meanwhile_is_answered_where_the_plant_never_runs(desk: Desk, incident: Path) -> None:
    replay = desk.host.replay(Wish(incident, Choice(instructor=True), speed=0, paused=True, stays=True))
    desk.turn(replay)
    desk.host.take_over(replay, at_ms(incident, T_S) * NS_PER_MS)
    request = desk.ask("pause")
    desk.command("chiller.reset", "cooling-2")
    loop = desk.go_on(replay)
    assert isinstance(loop, Loop)
    loop.close()  # it was told to stop before its first turn
    desk.hear()
    assert desk.answer(request) == "the run is over"
    assert [(result.accepted, result.reason) for result in results(desk)] == [(False, "the run is over")]


def results(desk: Desk) -> list[CommandResult]:
    told = [decode_model(r.value, "command_results/1", CommandResult)[1] for r in desk.came if r.topic == RESULTS]
    return [result for result in told if result.by == "trainee"]


@pytest.mark.parametrize("messages", [5, 14])
def test_after_single_messages_it_is_taken_over_at_the_end_of_the_tick(
    desk: Desk, incident: Path, messages: int
) -> None:
    replay = desk.host.replay(Wish(incident, Choice(instructor=True), speed=0, paused=True, stays=True))
    desk.ask("seek", ts=at_ms(incident, T_S))
    desk.turn_until(replay, lambda: replay.player.phase == "paused")
    desk.ask("step", messages=messages)
    request = desk.ask("takeover")
    desk.turn_until(replay, lambda: replay.done)
    assert desk.answer(request) is None
    loop = desk.go_on(replay)
    loop.close()


@pytest.mark.parametrize("applied", [False, True])
def test_who_resumes_it_after_a_crash_lets_them_come_once(
    desk: Desk, incident: Path, tmp_path: Path, applied: bool
) -> None:
    loop = taken_over(desk, incident, 60)
    desk.turn_until(loop, lambda: loop.owner.tick == 119)
    if applied:  # it dies in the middle of the next tick
        loop._orders.carry_out(loop.plant, desk.clocks.now_ms(), loop.owner.last_ts)
    control, folder = desk.controls()[-1], tmp_path / "snapshots"
    desk.clocks.ms += LEASE_MS
    left = find_left(desk.bus, "", loop.plant.site, control, folder, meanwhile=lambda: None)
    again = desk.host.loop(plan_of(control), loop.plant.site)
    again.resume(left)
    desk.turn_until(again, lambda: again.owner.tick >= 130)
    truths = [split(record.value)[0] for record in desk.came if record.topic == "instructor.truth"]
    assert [head.tick for head in truths if head.run == control.run] == [120]
    assert again.plant.malfunctions
    again.close()


def test_a_file_of_what_is_to_come_that_is_broken_is_told_of(
    desk: Desk, incident: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = taken_over(desk, incident, 60).owner.run
    assert len(kept(tmp_path / "snapshots" / run)) == 1
    (tmp_path / "snapshots" / run / "to-come.json").write_bytes(b"[{}]")
    assert kept(tmp_path / "snapshots" / run) == []
    assert "to_come=lost" in caplog.text
