"""What is said by whoever ends: a plant, a replay, one that has lost its run, one whose bus does not take it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from producers.host import Source, Wish
from producers.loop import Loop
from tests.producers.desk import Desk, at_ms
from tests.producers.recorded import PLAN, SITE, command, record
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


def somebody_else_takes_it(desk: Desk, source: Source) -> None:
    assert source.owner is not None
    epoch, lease_ms = source.owner.epoch + 1, desk.clocks.now_ms() + 5000
    control = desk.controls()[-1].model_copy(
        update={"owner": "other", "epoch": epoch, "lease_expires_ms": lease_ms, "sent_ms": desk.clocks.now_ms()}
    )
    head = Head(
        schema_id="run.control/1", run=control.run, epoch=epoch, tick=0, seq=0, ts=0, dt_s=1.0, key="run.control"
    )
    desk.bus.publish("run.control", encode_model(head, control), key=b"run.control")


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


def test_commands_for_another_run_are_told_so_at_the_end(desk: Desk, loop: Loop) -> None:
    other = Command(
        id="c", run="20200101T000000Z-abcd", verb="chiller.reset", unit="cooling-2", params={}, by="trainee",
        expires_ms=1,
    )  # fmt: skip
    desk._send("commands", other)
    loop.close()
    ((_, reason),) = results(desk)
    assert reason.startswith("it is for run 20200101T000000Z-abcd")


def test_who_has_lost_the_run_refuses_nothing(desk: Desk, loop: Loop) -> None:
    said = len(desk.came)
    somebody_else_takes_it(desk, loop)
    desk.command("chiller.reset", "cooling-2")
    desk.ask("pause")
    loop.close()
    desk.hear()
    assert sorted(record.topic for record in desk.came[said:]) == ["commands", "run.control", "run.requests"]
    assert len(desk.bus._cables) == 1


def test_a_replay_that_has_lost_the_run_refuses_nothing(desk: Desk, replay: Replay) -> None:
    said = len(desk.came)
    somebody_else_takes_it(desk, replay)
    desk.command("chiller.reset", "cooling-2")
    desk.ask("pause")
    replay.close()
    desk.hear()
    assert sorted(record.topic for record in desk.came[said:]) == ["commands", "run.control", "run.requests"]
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
    desk.command("chiller.reset", "cooling-2")
    full(desk, monkeypatch, "command_results")
    replay.close()
    desk.hear()
    assert desk.controls()[-1].state == "ended"
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
    assert "unanswered_n=2" in caplog.text
