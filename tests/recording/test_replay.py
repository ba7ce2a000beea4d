"""A replay as a run: its lease, what is asked of it over the bus, and what it answers."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.recording.files import T0_MS, item, write
from tests.recording.stage import NOW_MS, REPLAY, RUN, Stage, control, own, seconds
from twin.errors import LeaseLost, RecordingInvalid, RunActive, RunError
from twin.events.alarm import DeadLetter
from twin.events.control import Command, CommandResult, RunControl, RunRequest
from twin.events.head import Head, decode_model, encode_model
from twin.events.topics import BY_NAME, full_name
from twin.recording.choice import Choice
from twin.recording.reader import Recording
from twin.recording.replay import plan_from, rehearse
from twin.recording.span import Range

NO_ANSWER = "no answer"


def send(stage: Stage, topic: str, data: Any) -> None:
    head = Head(schema_id=BY_NAME[topic].schema_id, run=RUN, epoch=0, tick=0, seq=0, ts=NOW_MS, dt_s=1.0, key="k")
    stage.bus.publish(full_name(topic, stage.namespace), encode_model(head, data), key=b"k")


def ask(stage: Stage, verb: str, **params: Any) -> str | None:
    """Ask something of the replay, and return its answer: no text is yes."""
    stage.controls()
    request = RunRequest(id=f"{verb}-{stage.clocks.ms}", verb=verb, by="trainee", params=params)  # type: ignore[arg-type]
    send(stage, "run.requests", request)
    stage.pass_s(0.12)
    return next((told.error for told in stage.controls() if told.answers == request.id), NO_ANSWER)


def test_it_says_every_second_where_it_stands(tmp_path: Path) -> None:
    with Stage(tmp_path, seconds(0, 9), namespace="ci") as stage:
        stage.start()
        stage.pass_s(3.0)
        controls = stage.controls()
        assert {told.run for told in controls} == {REPLAY}
        last = controls[-1]
        assert (last.kind, last.site, last.epoch, last.state) == ("replay", "mini", 1, "running")
        assert last.settled_tick in (0, 1)  # never one that is still being sent
        assert last.lease_expires_ms == last.sent_ms + 5000
        assert last.player is not None
        assert (last.player.recording, last.player.phase) == ("r.mcap", "playing")
        assert 2000 <= last.player.clock_ms - T0_MS <= 3010
        sent_ms = [told.sent_ms for told in controls]
        assert max(b - a for a, b in pairwise(sent_ms)) <= 1010


def test_every_epoch_is_told_of_before_a_second_has_passed(tmp_path: Path) -> None:
    with Stage(tmp_path, seconds(0, 9)) as stage:
        stage.start()
        for ms in (5000, 1000, 7000):
            stage.player.seek(stage.ns(ms))
            stage.pass_s(0.12)
        assert {told.epoch for told in stage.controls()} >= {1, 2, 3, 4}


def test_another_active_run_is_refused_and_nothing_is_sent(tmp_path: Path) -> None:
    with Stage(tmp_path, seconds(0, 9)) as stage:
        live = RunControl.model_validate(
            decode_model(control(5, 0).value, "run.control/1", RunControl)[1].model_dump()
            | {"run": "20261128T110000Z-0001", "lease_expires_ms": NOW_MS + 4000}
        )
        send(stage, "run.control", live)
        with pytest.raises(RunActive, match="another namespace"):
            stage.replay.start(REPLAY)
        assert stage.frames() == []


def test_it_stops_when_its_run_is_taken(tmp_path: Path) -> None:
    with Stage(tmp_path, seconds(0, 9)) as stage:
        stage.start()
        taken = stage.controls()[-1].model_copy(update={"owner": "somebody", "epoch": 99})
        send(stage, "run.control", taken)
        with pytest.raises(LeaseLost):
            stage.pass_s(0.12)
        stage.controls()
        stage.replay.close()
        assert stage.controls() == [], "the lease is another's: nothing is said of its end"


def test_the_lease_is_free_after_its_end(tmp_path: Path) -> None:
    with Stage(tmp_path, seconds(0, 9)) as stage:
        stage.start()
        stage.replay.close()
        last = stage.controls()[-1]
        assert (last.state, last.lease_expires_ms) == ("ended", last.sent_ms)


@pytest.mark.parametrize(
    ("verb", "params", "phase"),
    [
        ("pause", {}, "paused"),
        ("speed", {"speed": 10}, "playing"),
        ("seek", {"ts": T0_MS + 5000}, "playing"),
        ("loop", {"a": T0_MS, "b": T0_MS + 2000}, "playing"),
        ("loop", {"on": False}, "playing"),
    ],
)
def test_what_the_bus_can_ask(tmp_path: Path, verb: str, params: dict[str, Any], phase: str) -> None:
    with Stage(tmp_path, seconds(0, 9)) as stage:
        stage.start()
        assert ask(stage, verb, **params) is None
        assert stage.player.phase == phase
        assert stage.player.moved_by == "trainee"
        state = stage.player.state()
        assert state.speed == params.get("speed", 1.0)
        assert state.loop_ms == ((params["a"], params["b"]) if "a" in params else None)
        if verb == "seek":
            assert state.clock_ms >= params["ts"]


def test_standing_it_steps_and_goes_on(tmp_path: Path) -> None:
    with Stage(tmp_path, seconds(0, 9)) as stage:
        stage.start(paused=True)
        sent_n = stage.player.sent_n
        assert ask(stage, "step", messages=1) is None
        assert stage.player.sent_n == sent_n + 1
        assert ask(stage, "step", ticks=1) is None
        assert stage.player.sent_n == sent_n + 4, "the rest of the tick, and one more"
        assert ask(stage, "resume") is None
        assert stage.player.phase == "playing"


@pytest.mark.parametrize(
    ("verb", "params", "words"),
    [
        ("resume", {}, "plays already"),
        ("step", {"messages": 1}, "not paused"),
        ("step", {"messages": "x"}, "whole number"),
        ("seek", {"ts": 5}, "before what is played"),
        ("seek", {"tick": 5}, "whole number"),
        ("speed", {"speed": 0.001}, "0.01"),
        ("speed", {"speed": True}, "a number"),
        ("loop", {"a": T0_MS}, "whole number"),
        ("snapshot", {}, "not possible in a replay"),
        ("backtrack", {"tick": 1}, "not possible in a replay"),
    ],
)
def test_what_cannot_be_done_is_answered_and_changes_nothing(
    tmp_path: Path, verb: str, params: dict[str, Any], words: str
) -> None:
    with Stage(tmp_path, seconds(0, 9)) as stage:
        stage.start()
        answer = ask(stage, verb, **params)
        assert answer is not None
        assert words in answer
        assert stage.player.phase == "playing"


def test_its_host_is_asked_for_what_a_player_cannot_do(tmp_path: Path) -> None:
    with Stage(tmp_path, seconds(0, 9)) as stage:
        stage.start()
        stage.handlers.refusal = RunError("not now")
        assert ask(stage, "start", kind="live") == "not now"
        assert ask(stage, "takeover") == "not now"
        assert not stage.replay.done
        stage.handlers.refusal = None
        assert ask(stage, "takeover", ts=T0_MS + 3000) is None
        assert stage.handlers.asked == [stage.ns(3000)]
        stage.replay.hand_over()
        for verb in ("resume", "takeover", "end"):  # what is asked now is for whoever comes next
            assert ask(stage, verb) == NO_ANSWER
        assert stage.handlers.asked == [stage.ns(3000)]
        stage.replay.close()
        left = [decode_model(one.value, "run.requests/1", RunRequest)[1].verb for one in stage.replay.unanswered]
        assert left == ["resume", "takeover", "end"]


def test_another_run_that_is_asked_for_ends_it(tmp_path: Path) -> None:
    with Stage(tmp_path, seconds(0, 9)) as stage:
        stage.start()
        assert ask(stage, "start", kind="live") is None
        assert stage.replay.done
        assert ask(stage, "pause") == NO_ANSWER
        stage.replay.close()
        assert [told.error for told in stage.controls() if told.answers] == [
            "this replay is over: ask whatever runs next"
        ]
        assert stage.replay.unanswered == []


def test_it_is_ended_on_request(tmp_path: Path) -> None:
    with Stage(tmp_path, seconds(0, 9)) as stage:
        stage.start()
        assert ask(stage, "end") is None
        assert stage.replay.done


def test_who_does_not_stay_is_done_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for folder, stays in ((tmp_path, True), (tmp_path / "b", False)):
        with Stage(folder, seconds(0, 1), stays=stays) as stage:
            stage.start()
            stage.pass_s(3.0)
            assert stage.player.phase == "ended"
            assert stage.replay.done is not stays


def test_a_command_to_a_replay_is_refused_with_the_way_out_and_recorded_ones_are_not(tmp_path: Path) -> None:
    recorded = Command(
        id="old", run=RUN, verb="chiller.start", unit="chiller-3", by="somebody", expires_ms=T0_MS + 30_000
    )  # fmt: skip
    one = own("commands", 0, 150)
    assert one.value is not None
    filed = one._replace(value=one.value.replace(b'{"tick":0, "of":"k"}', recorded.model_dump_json().encode()))
    with Stage(tmp_path, [*seconds(0, 3), filed]) as stage:
        stage.start()
        stage.pass_s(0.5)
        send(stage, "commands", recorded.model_copy(update={"id": "new", "run": REPLAY}))
        stage.pass_s(0.12)
        results = [
            decode_model(record.value, "command_results/1", CommandResult)[1]
            for record in stage.came()
            if record.topic == "command_results"
        ]
        assert [(result.command_id, result.accepted) for result in results] == [("new", False)]
        assert "take it over" in results[0].reason


def test_a_broken_request_is_kept_aside(tmp_path: Path) -> None:
    with Stage(tmp_path, seconds(0, 3)) as stage:
        stage.start()
        stage.bus.publish("run.requests", b"nonsense", key=b"k")
        stage.pass_s(0.12)
        (letter,) = [
            decode_model(record.value, "dead.letter/1", DeadLetter)[1]
            for record in stage.came()
            if record.topic == "dead.letter"
        ]
        assert letter.topic == "run.requests"
        assert stage.player.phase == "playing"


def test_damage_is_left_out_and_told(tmp_path: Path) -> None:
    items = [control(-1, 0)]
    items += [own("telemetry.grid", n, 1000 * n, key="k" * 150, seq=n) for n in range(20)]
    with Stage(tmp_path, items) as stage:
        path = stage.recording.path
        chunk = stage.recording._chunks[2]
        broken = bytearray(path.read_bytes())
        at = chunk.chunk_start_offset + chunk.chunk_length // 2
        broken[at : at + 8] = b"\xff" * 8
        path.write_bytes(broken)
        stage.start()
        stage.pass_s(25.0)
        assert stage.player.phase == "ended"
        ticks = {tick for _, tick, _ in stage.frames()}
        assert 0 in ticks
        assert 19 in ticks
        assert len(ticks) < 20
        assert "damaged" in stage.player.state().note


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"site": "mini", "seed": "x", "site_crc": "0", "dt_s": "1", "weather_at": "07-15T14:00"}, "which run"),
        ({"site": "mini"}, "which run"),
        ({"site": "mini", "seed": "7", "site_crc": "0", "dt_s": "1", "weather_at": "13-99T14:00"}, "which run"),
    ],
)
def test_facts_that_make_no_run(tmp_path: Path, facts: dict[str, str], words: str) -> None:
    path = write(tmp_path / "r.mcap", [own("telemetry.grid", 0, 0)], **facts)
    with Recording(path) as recording, pytest.raises(RecordingInvalid, match=words):
        plan_from(recording, Choice(), 1.0)


def test_a_recording_without_facts_tells_of_its_run_itself(tmp_path: Path) -> None:
    with Recording(write(tmp_path / "a.mcap", seconds(0, 2))) as recording:
        plan = plan_from(recording, Choice(), 2.0)
        assert plan is not None
        assert (plan.site, plan.kind, plan.speed) == ("mini", "replay", 2.0)
    with Recording(write(tmp_path / "b.mcap", [item("orders")])) as recording:
        assert plan_from(recording, Choice(), 1.0) is None


def test_frames_of_a_run_that_nothing_is_told_of_are_refused_and_all_else_is_played(tmp_path: Path) -> None:
    odd = item("commands", 50, value=b"of another system")
    with Recording(write(tmp_path / "r.mcap", [item("orders"), odd, own("telemetry.grid", 0, 100)])) as recording:
        for choice in (Choice(), Choice(topics=("telemetry.*", "orders"))):
            with pytest.raises(RecordingInvalid, match=r"r\.mcap holds telemetry\.grid of a run.*control.*--topics"):
                plan_from(recording, choice, 1.0)
            with pytest.raises(RecordingInvalid, match="--topics"):
                rehearse(recording, choice, Range(recording.start_ns, recording.end_ns))
        assert plan_from(recording, Choice(topics=("orders", "commands")), 1.0) is None
        span = Range(recording.start_ns, recording.end_ns)
        assert rehearse(recording, Choice(topics=("orders",)), span)[0] == {"orders": 1}
