"""What is said by whoever ends: a plant, a replay, one that has lost its run, one whose bus does not take it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from producers.host import Source, Wish
from producers.loop import Loop
from tests.producers.desk import Desk, Running, at_ms
from tests.producers.recorded import PLAN, SITE, command, record
from twin.bus.base import Record
from twin.bus.memory import MemoryReader
from twin.errors import BusError, RunActive, RunError
from twin.events.control import Command, CommandResult
from twin.events.head import Head, decode_model, encode_model
from twin.events.instructor import Inject, Truth
from twin.recording.choice import Choice
from twin.recording.item import NS_PER_MS
from twin.recording.reader import Recording
from twin.recording.replay import Replay
from twin.recording.span import Range
from twin.run import Tenure
from twin.run.tenure import Answer

OVER = "the run is over"
TURNS, T_S = 60, 30


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recorded") / "run.mcap"
    return record(path, {20: [command("on-its-way", "turbine.start", "turbine-9")]}, TURNS)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.bus.close()


@pytest.fixture
def loop(desk: Desk) -> Loop:
    loop = desk.host.begin(PLAN, SITE)
    desk.turn(loop)
    desk.turn(loop)
    return loop


@pytest.fixture
def replay(desk: Desk, recorded: Path) -> Iterator[Replay]:
    replay = desk.host.replay(Wish(recorded, Choice(instructor=True), speed=0, paused=True, stays=True))
    desk.turn(replay)
    yield replay
    replay.player.recording.close()


def results(desk: Desk) -> list[tuple[str, str]]:
    desk.hear()
    told = [r.value for r in desk.came if r.topic == "command_results"]
    read = [decode_model(value, "command_results/1", CommandResult)[1] for value in told]
    return [(result.command_id, result.reason) for result in read if result.by == "trainee"]


def truths(desk: Desk) -> list[tuple[str, bool, str]]:
    desk.hear()
    told = [r.value for r in desk.came if r.topic == "instructor.truth"]
    read = [decode_model(value, "instructor.truth/1", Truth)[1] for value in told]
    return [(truth.inject_id, truth.applied, truth.reason) for truth in read]


def somebody_else_takes_it(desk: Desk, source: Source, state: str = "running") -> None:
    assert source.owner is not None
    epoch, now_ms = source.owner.epoch + 1, desk.clocks.now_ms()
    told = {"owner": "other", "epoch": epoch, "lease_expires_ms": now_ms + 5000, "sent_ms": now_ms, "state": state}
    control = desk.controls()[-1].model_copy(update=told)
    head = Head(
        schema_id="run.control/1", run=control.run, epoch=epoch, tick=0, seq=0, ts=0, dt_s=1.0, key="run.control"
    )
    desk.bus.publish("run.control", encode_model(head, control), key=b"run.control")


def late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each reader see what there is one look later, as on a Kafka."""
    looks: dict[int, int] = {}
    poll = MemoryReader.poll

    def one_look_later(reader: MemoryReader, timeout_s: float = 0.0, *, limit: int = 1000) -> list[Record]:
        looks[id(reader)] = looks.get(id(reader), 0) + 1
        return poll(reader, timeout_s, limit=limit) if looks[id(reader)] > 1 else []

    monkeypatch.setattr(MemoryReader, "poll", one_look_later)


def silent(_: MemoryReader) -> None:
    raise BusError("it does not answer")


def full(desk: Desk, monkeypatch: pytest.MonkeyPatch, topic: str) -> None:
    publish = desk.bus.publish

    def refuse(name: str, *told: Any, **more: Any) -> None:
        if name == topic:
            raise BusError("no room")
        publish(name, *told, **more)

    monkeypatch.setattr(desk.bus, "publish", refuse)


def test_what_comes_with_the_end_is_refused(desk: Desk, loop: Loop) -> None:
    desk.command("chiller.reset", "cooling-2")
    desk._send("instructor.injects", Inject(id="i", run=loop.owner.run, kind="chiller_trip", target="cooling-1"))
    desk.ask("end")
    desk.turn_until(loop, lambda: loop.done)
    late = desk.ask("pause")
    loop.close()
    assert [reason for _, reason in results(desk)] == [OVER]
    assert desk.answer(late) == OVER
    assert truths(desk) == [("i", False, OVER)]
    assert desk.controls()[-1].state == "ended"


def test_what_comes_until_it_stops_is_refused(desk: Desk, loop: Loop) -> None:
    request = desk.ask("pause")
    desk.command("chiller.reset", "cooling-2")
    loop.close()
    assert [reason for _, reason in results(desk)] == [OVER]
    assert desk.answer(request) == OVER
    assert desk.controls()[-1].state == "ended"


def test_orders_for_another_run_are_told_so_at_the_end(desk: Desk, loop: Loop) -> None:
    other = "20200101T000000Z-abcd"
    command = Command(id="c", run=other, verb="chiller.reset", unit="cooling-2", params={}, by="trainee", expires_ms=1)
    desk._send("commands", command)
    desk._send("instructor.injects", Inject(id="i", run=other, kind="chiller_trip", target="cooling-1"))
    loop.close()
    reasons = [results(desk)[0][1], truths(desk)[0][2]]
    assert all(reason.startswith(f"it is for run {other}") for reason in reasons)


def test_what_was_answered_is_not_answered_again_at_the_end(desk: Desk, loop: Loop) -> None:
    inject = Inject(id="i", run=loop.owner.run, kind="chiller_trip", target="cooling-1")
    desk._send("instructor.injects", inject)
    desk.turn_until(loop, lambda: bool(truths(desk)))
    desk._send("instructor.injects", inject)
    loop.close()
    assert truths(desk) == [("i", True, "applied")]


def test_the_end_is_said_though_its_first_word_was_lost(
    desk: Desk, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = desk.ask("end")
    full(desk, monkeypatch, "run.control")
    with pytest.raises(BusError):
        loop.turn()
    monkeypatch.undo()
    loop.close()
    desk.hear()
    assert desk.controls()[-1].state == "ended"
    assert desk.answer(request) is None


@pytest.mark.parametrize("what", ["loop", "replay"])
def test_what_cannot_be_read_and_kept_aside_holds_no_end_up(
    request: pytest.FixtureRequest, desk: Desk, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    source: Source = request.getfixturevalue(what)
    first = desk.ask("pause")
    desk.bus.publish("run.requests", b"broken", key=b"k")
    second = desk.ask("freeze")
    full(desk, monkeypatch, "dead.letter")
    source.close()
    desk.hear()
    assert desk.controls()[-1].state == "ended"
    assert None not in (desk.answer(first), desk.answer(second))


@pytest.mark.parametrize("what", ["loop", "replay"])
def test_an_answer_that_went_out_is_not_said_again(
    request: pytest.FixtureRequest, desk: Desk, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    source: Source = request.getfixturevalue(what)
    requests = [desk.ask("pause"), desk.ask("pause")]
    publish, words = desk.bus.publish, 0

    def refuse_the_second(name: str, *told: Any, **more: Any) -> None:
        nonlocal words
        words += name == "run.control"
        if name == "run.control" and words == 2:
            raise BusError("no room")
        publish(name, *told, **more)

    monkeypatch.setattr(desk.bus, "publish", refuse_the_second)
    with pytest.raises(BusError):
        desk.turn_until(source, lambda: False)
    source.close()
    desk.hear()
    assert [control.answers for control in desk.controls() if control.answers] == requests


def test_what_follows_an_order_that_fails_in_a_replay_is_answered_at_the_end(
    desk: Desk, replay: Replay, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = [desk.ask("resume"), desk.ask("speed", speed=2.0)]
    desk.command("chiller.reset", "cooling-2")
    desk.command("chiller.start", "cooling-2", n=1.0)
    full(desk, monkeypatch, "command_results")
    with pytest.raises(BusError):
        desk.turn_until(replay, lambda: False)
    monkeypatch.undo()
    replay.close()
    desk.hear()
    assert [desk.answer(request) for request in requests] == [None, None]
    assert len(results(desk)) == 2


def test_a_replay_that_breaks_off_when_it_was_taken_over_ends_by_itself(
    desk: Desk, replay: Replay, recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    takeover, request = desk.ask("takeover", ts=at_ms(recorded, T_S)), desk.ask("pause")
    desk.command("chiller.reset", "cooling-2")
    hand_over = Replay.hand_over

    def hand_over_and_fail(replay: Replay) -> None:
        hand_over(replay)
        monkeypatch.undo()
        raise BusError("no room")

    monkeypatch.setattr(Replay, "hand_over", hand_over_and_fail)
    running = Running(desk, replay)
    running.ends()
    assert isinstance(running.error, BusError)
    assert str(desk.answer(takeover)).startswith("this replay is over")
    assert desk.controls()[-1].state == "ended"
    assert str(desk.answer(request)).startswith("this replay is over")
    assert len(results(desk)) == 1


def test_a_takeover_whose_answer_cannot_be_sent_is_no_success(
    desk: Desk, replay: Replay, recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    takeover, request = desk.ask("takeover", ts=at_ms(recorded, T_S)), desk.ask("pause")
    say = Tenure.say

    def say_once_less(tenure: Tenure, now_ms: int, answers: list[Answer], player: Any = None) -> None:
        if takeover in dict(answers):
            monkeypatch.undo()
            raise BusError("no room")
        say(tenure, now_ms, answers, player)

    monkeypatch.setattr(Tenure, "say", say_once_less)
    running = Running(desk, replay)
    running.ends()
    assert isinstance(running.error, BusError)
    assert desk.controls()[-1].state == "ended"
    assert desk.answer(takeover) == "it broke off: the run is over"
    assert str(desk.answer(request)).startswith("this replay is over")


def test_what_follows_an_order_that_fails_is_answered_at_the_end(
    desk: Desk, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = [desk.ask("snapshot"), desk.ask("pause")]
    desk.command("chiller.reset", "cooling-2")
    desk.command("chiller.reset", "cooling-2")
    full(desk, monkeypatch, "instructor.snapshots")
    with pytest.raises(BusError):
        loop.turn()
    monkeypatch.undo()
    loop.close()
    assert [reason for _, reason in results(desk)] == [OVER, OVER]
    assert [desk.answer(request) for request in requests] == [OVER, OVER]


def test_a_request_that_comes_again_a_look_later_is_done_once(
    desk: Desk, replay: Replay, recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.host.take_over(replay, at_ms(recorded, T_S) * NS_PER_MS)
    request = desk.ask("snapshot")  # the loop listens by now, and the replay leaves it to it
    loop = desk.go_on(replay)
    late(monkeypatch)
    desk.turn(loop)
    desk.turn(loop)
    desk.turn(loop)
    monkeypatch.undo()
    desk.hear()
    assert [told.error for told in desk.controls() if told.answers == request] == [None]
    loop.close()


@pytest.mark.parametrize("what", ["loop", "replay"])
@pytest.mark.parametrize("state", ["running", "ended"])
def test_who_has_lost_the_run_refuses_nothing(
    request: pytest.FixtureRequest, desk: Desk, monkeypatch: pytest.MonkeyPatch, what: str, state: str
) -> None:
    source: Source = request.getfixturevalue(what)
    said = len(desk.came)
    somebody_else_takes_it(desk, source, state)
    desk.command("chiller.reset", "cooling-2")
    desk.ask("pause")
    late(monkeypatch)
    source.close()
    monkeypatch.undo()
    desk.hear()
    assert sorted(record.topic for record in desk.came[said:]) == ["commands", "run.control", "run.requests"]
    assert len(desk.bus._cables) == 1


@pytest.mark.parametrize("what", ["loop", "replay"])
def test_who_loses_the_run_with_his_last_word_closes(
    request: pytest.FixtureRequest, desk: Desk, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    source: Source = request.getfixturevalue(what)

    def is_ours(*_: object) -> bool:
        somebody_else_takes_it(desk, source)
        return True

    monkeypatch.setattr(Tenure, "is_ours", is_ours)
    source.close()
    assert len(desk.bus._cables) == 1


def test_a_replay_that_could_not_begin_says_nothing(
    desk: Desk, loop: Loop, recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    somebody_else_takes_it(desk, loop)
    desk.hear()
    said, begin = len(desk.came), Replay.start

    def start_while_people_ask(replay: Replay, *told: Any, **more: Any) -> None:
        desk.ask("snapshot")
        begin(replay, *told, **more)

    monkeypatch.setattr(Replay, "start", start_while_people_ask)
    with pytest.raises(RunActive):
        desk.host.replay(Wish(recorded, Choice(instructor=True)))
    desk.hear()
    assert [record.topic for record in desk.came[said:]] == ["run.requests"]


@pytest.mark.parametrize("topic", ["command_results", "instructor.truth"])
def test_an_end_is_said_though_the_bus_takes_no_answer(
    desk: Desk, loop: Loop, monkeypatch: pytest.MonkeyPatch, topic: str
) -> None:
    request = desk.ask("pause")
    desk.command("chiller.reset", "cooling-2")
    desk._send("instructor.injects", Inject(id="i", run=loop.owner.run, kind="chiller_trip", target="cooling-1"))
    full(desk, monkeypatch, topic)
    loop.close()
    desk.hear()
    assert desk.controls()[-1].state == "ended"
    assert desk.answer(request) == OVER
    assert len(desk.bus._cables) == 1


def test_a_replay_ends_though_the_bus_takes_no_answer(
    desk: Desk, replay: Replay, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = desk.ask("pause")
    desk.command("chiller.reset", "cooling-2")
    full(desk, monkeypatch, "command_results")
    replay.close()
    desk.hear()
    assert desk.controls()[-1].state == "ended"
    assert str(desk.answer(request)).startswith("this replay is over")
    assert len(desk.bus._cables) == 1


@pytest.mark.parametrize("what", ["loop", "replay"])
def test_a_bus_that_does_not_say_what_is_left_holds_no_end_up(
    request: pytest.FixtureRequest, desk: Desk, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    source: Source = request.getfixturevalue(what)

    monkeypatch.setattr(MemoryReader, "aim", silent)
    source.close()
    desk.hear()
    assert desk.controls()[-1].state == "ended"
    assert len(desk.bus._cables) == 1


def test_what_was_read_is_handed_over_though_the_rest_does_not_come(
    desk: Desk, replay: Replay, recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.ask("takeover", ts=at_ms(recorded, T_S))
    request = desk.ask("pause")  # in the same batch
    desk.command("chiller.reset", "cooling-2")
    desk.turn_until(replay, lambda: replay.done)
    with monkeypatch.context() as patched:
        patched.setattr(MemoryReader, "aim", silent)
        loop = desk.go_on(replay)
    desk.turn(loop)
    assert desk.answer(request) is None
    assert len(results(desk)) == 1
    loop.close()


@pytest.mark.parametrize("turns", [0, 3])
def test_recorded_commands_are_handed_to_nobody(desk: Desk, recorded: Path, turns: int) -> None:
    with Recording(recorded) as recording:
        (given,) = recording.items(topics={"commands"})
        span = Range(recording.start_ns, given.time_ns + 1)
    replay = desk.host.replay(Wish(recorded, Choice(instructor=True), span=span, speed=0, stays=True))
    desk.turn_until(replay, lambda: replay.player.phase == "ended")
    assert any(record.topic == "commands" for record in desk.came)
    desk.host.take_over(replay, None)
    desk.bus.publish("commands", b"broken", key=b"k")
    loop = desk.go_on(replay)
    for _ in range(turns):
        desk.turn(loop)
    loop.close()
    assert results(desk) == []
    assert sum(record.topic == "dead.letter" for record in desk.came) == 1


def test_a_takeover_that_cannot_go_on_says_what_it_leaves(
    desk: Desk, replay: Replay, recorded: Path, caplog: pytest.LogCaptureFixture
) -> None:
    desk.host.take_over(replay, at_ms(recorded, T_S) * NS_PER_MS)
    desk.ask("pause")
    desk.command("chiller.reset", "cooling-2")
    desk.clocks.ms -= 3_600_000
    with pytest.raises(RunError, match="set back"):
        desk.go_on(replay)
    assert "takeover=not_begun" in caplog.text
    assert "handed_over_n=2" in caplog.text
