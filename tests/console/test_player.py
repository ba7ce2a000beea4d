"""The player, what runs, and recordings, over HTTP."""

from pathlib import Path
from typing import Any

import pytest

from tests.console.worlds import RUN, START_MS, World
from tests.recording.files import item, write
from twin.events.control import PlayerState
from twin.recording.reader import Recording
from twin.recording.size import MEASURED_BYTES_PER_H

PLAYER = PlayerState(
    recording="chiller-trip.mcap",
    phase="playing",
    clock_ms=1_795_504_800_000,
    from_ms=1_795_504_800_000,
    to_ms=1_795_504_860_000,
    speed=1.0,
    reached=1.0,
    timing_p99_ms=2.0,
    slowed_s=0.0,
    sent_n=7,
)


@pytest.fixture
def replay_world(live_world: World) -> World:
    control = live_world.parts.live.control
    assert control is not None
    live_world.parts.live._view.control = control.model_copy(update={"kind": "replay", "player": PLAYER})
    return live_world


@pytest.mark.parametrize(
    ("path", "body", "verb", "params"),
    [
        ("play", {}, "resume", {}),
        ("pause", {}, "pause", {}),
        ("step", {"messages": 3}, "step", {"messages": 3}),
        ("step", {"seconds": 1}, "step", {"seconds": 1.0}),
        ("seek", {"ts": 1_795_504_810_000}, "seek", {"ts": 1_795_504_810_000}),
        ("speed", {"speed": 0}, "speed", {"speed": 0.0}),
        ("loop", {"a": 1, "b": 5000}, "loop", {"on": True, "a": 1, "b": 5000}),
        ("loop", {"on": False}, "loop", {"on": False}),
        ("takeover", {}, "takeover", {}),
        ("takeover", {"ts": 5}, "takeover", {"ts": 5}),
    ],
)
def test_each_route_sends_the_request_that_the_player_knows(
    replay_world: World, path: str, body: dict[str, Any], verb: str, params: dict[str, Any]
) -> None:
    if verb in ("resume", "step"):
        control = replay_world.parts.live.control
        assert control is not None
        replay_world.parts.live._view.control = control.model_copy(update={"state": "paused"})
    answer = replay_world.post(f"/api/player/{path}", body, "trainee")
    assert answer.status_code == 202, answer.text
    ((_, request),) = replay_world.sent("run.requests")
    assert (request["verb"], request["params"], request["by"]) == (verb, params, "trainee")
    assert answer.json()["request"] == request["id"]


def test_where_the_player_stands_and_whose_name_it_hides(replay_world: World) -> None:
    seen = replay_world.get("/api/player", "instructor").json()
    assert (seen["recording"], seen["phase"], seen["run"]) == ("chiller-trip.mcap", "playing", RUN)
    for role in ("trainee", "observer"):
        assert "chiller" not in replay_world.get("/api/player", role).text


def test_without_a_replay_there_is_no_player(live_world: World) -> None:
    answer = live_world.get("/api/player")
    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/no-player")
    assert live_world.post("/api/player/pause").status_code == 404
    assert live_world.sent("run.requests") == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/player/step", {}),
        ("/api/player/step", {"messages": 1, "seconds": 1}),
        ("/api/player/loop", {"a": 1}),
        ("/api/player/seek", {"ts": -1}),
        ("/api/runs", {"kind": "replay"}),
        ("/api/runs", {"kind": "live", "recording": "x.mcap"}),
        ("/api/recordings", {"name": "../x.mcap"}),
        ("/api/recordings", {"seconds": 0}),
    ],
)
def test_bodies_that_make_no_sense(replay_world: World, path: str, body: dict[str, Any]) -> None:
    assert replay_world.post(path, body).status_code == 422


def test_a_recording_is_started_only_when_the_active_run_may_end(live_world: World, tmp_path: Path) -> None:
    write(tmp_path / "recordings" / "one.mcap", [item()])
    body = {"kind": "replay", "recording": "one.mcap", "speed": 10}
    answer = live_world.post("/api/runs", body)
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/run-active")
    assert live_world.post("/api/runs", body | {"end_active": True}).status_code == 202
    ((_, request),) = live_world.sent("run.requests")
    assert request["params"] == {"kind": "replay", "recording": "one.mcap", "speed": 10.0}
    missing = live_world.post("/api/runs", {"kind": "replay", "recording": "none.mcap", "end_active": True})
    assert missing.json()["type"] == "/problems/unknown-recording"
    assert str(tmp_path / "recordings") in missing.json()["detail"]


def test_the_list_of_recordings(world: World, tmp_path: Path) -> None:
    write(tmp_path / "recordings" / "chiller-trip.mcap", [item(), item(ms=2000)], site="mini", title="A hot afternoon")
    (tmp_path / "recordings" / "broken.mcap").write_bytes(b"nothing")
    whole, broken = world.get("/api/recordings", "instructor").json()
    assert (whole["id"], whole["title"], whole["to"] - whole["from"], whole["messages"], whole["complete"]) == (
        "chiller-trip.mcap", "A hot afternoon", 2000, 2, True,
    )  # fmt: skip
    assert "broken.mcap" in broken["problem"]
    shown = world.get("/api/recordings", "trainee")
    assert shown.json()[0]["id"].startswith("rec-")
    assert "chiller" not in shown.text
    assert str(tmp_path) not in shown.text


def test_what_is_being_recorded_is_listed_as_such(live_world: World) -> None:
    assert live_world.post("/api/recordings", {"name": "now.mcap", "topics": ["telemetry.grid"]}).status_code == 201
    (now,) = live_world.get("/api/recordings", "instructor").json()
    assert (now["id"], now["recording"], now["complete"], now["problem"]) == ("now.mcap", True, False, None)
    assert (now["from"], now["to"]) == (START_MS, None)
    (shown,) = live_world.get("/api/recordings", "trainee").json()
    assert (shown["id"][:4], shown["recording"], shown["problem"]) == ("rec-", True, None)
    live_world.post("/api/recordings/stop")
    (then,) = live_world.get("/api/recordings", "instructor").json()
    assert (then["recording"], then["complete"], then["problem"]) == (False, True, None)


def test_how_large_a_recording_would_be_is_told_and_nothing_is_recorded(live_world: World, tmp_path: Path) -> None:
    level = {"topics": [], "full": True, "instructor": False}
    unknown = live_world.post("/api/recordings/expected", level).json()
    assert (unknown["bytes_per_h"], unknown["black_box_bytes"]) == (MEASURED_BYTES_PER_H["full"], 0)
    for _ in range(3):
        live_world.bus.publish("telemetry.gpu", bytes(range(256)), key=b"k")
    measured = live_world.post("/api/recordings/expected", level | {"full": False}).json()
    assert measured["black_box_bytes"] > 0
    assert "by what came" in measured["how"]
    assert live_world.post("/api/recordings/expected", {"topics": ["orders"]}).status_code == 404
    assert not (tmp_path / "recordings").exists()


def test_what_the_black_box_holds_is_written_on_request(live_world: World, tmp_path: Path) -> None:
    assert live_world.post("/api/recordings/black-box").status_code == 409
    for name, asks in (("with", True), ("without", False)):
        assert live_world.post("/api/recordings", {"name": f"{name}.mcap"}).status_code == 201
        sent_n = 3
        for n in range(sent_n):
            live_world.bus.publish("telemetry.gpu", b"%d" % n, key=b"k")
        if asks:
            assert live_world.post("/api/recordings/black-box").status_code == 202
        assert live_world.post("/api/recordings/stop").json()["problem"] is None
        with Recording(tmp_path / "recordings" / f"{name}.mcap") as recording:
            assert recording.counts.get("telemetry.gpu", 0) == (sent_n if asks else 0)


def test_record_from_the_console(live_world: World, tmp_path: Path) -> None:
    body = {"name": "mine.mcap", "topics": ["telemetry.*"]}
    assert live_world.post("/api/recordings", body).json()["state"] == "recording"
    assert live_world.post("/api/recordings", body).json()["type"] == "/problems/recording"
    for n in range(5):
        live_world.bus.publish("telemetry.grid", b"%d" % n, key=b"k")
    stopped = live_world.post("/api/recordings/stop").json()
    assert (stopped["state"], stopped["messages"], stopped["lost"], stopped["problem"]) == ("ended", 5, 0, None)
    with Recording(tmp_path / "recordings" / "mine.mcap") as recording:
        assert [one.value for one in recording.items()] == [b"%d" % n for n in range(5)]
    again = live_world.post("/api/recordings", body)
    assert again.status_code == 409
    assert "there already" in again.json()["detail"]
