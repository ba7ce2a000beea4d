"""The client of the command line, against a console that serves on a port of this machine."""

import asyncio
import itertools
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from producers.host import Host
from tests.console.test_player import PLAYER
from tests.console.worlds import CATALOGUE, RUN, TOKENS, control
from tests.producers.recorded import PLAN, record
from twin.bus.memory import MemoryBus
from twin.console.app import make_console
from twin.console.client import ConsoleClient, open_door
from twin.console.context import ConsoleContext
from twin.console.parts import Parts
from twin.console.seats import Seats
from twin.console.server import listen, serve, url_of
from twin.errors import SettingInvalid, StartError
from twin.events.control import RunControl, RunRequest
from twin.events.head import decode_model, split
from twin.events.topics import TOPICS
from twin.recording.item import NS_PER_MS
from twin.recording.reader import Recording
from twin.run import SystemClock
from twin.settings import Settings, load_settings
from twin.site import Site
from twin.store.duck import DuckStore

PATIENCE_S = 20.0
LATER = "20261124T082000Z-b801"
_NUMBERS = itertools.count()


class Here:
    """A console on a bus, served in a thread of its own."""

    def __init__(self, site: Site, store: DuckStore, folder: Path) -> None:
        self.bus = MemoryBus(f"client-{next(_NUMBERS)}")
        self.bus.create_topics(TOPICS)
        self.folder = folder
        self.clock = SystemClock()
        seats = Seats(TOKENS, now_ms=self.clock.now_ms)
        listening = listen("127.0.0.1", 0)
        self.settings = load_settings(
            console_url=url_of("127.0.0.1", listening), console_token=TOKENS["instructor"], data_dir=folder
        )
        self.app = make_console(
            ConsoleContext(
                site=site, bus=self.bus, store=store, data_dir=folder, seats=seats, now_ms=self.clock.now_ms,
                version="1", port=listening.getsockname()[1],
                catalogue=CATALOGUE, takeover_of=lambda run: f"{run} was rebuilt",
            )
        )  # fmt: skip
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        started = threading.Event()
        serving = serve(self.app, listening, stop=self._stop, on_started=started.set)
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(serving,), name="console")
        self._thread.start()
        assert started.wait(PATIENCE_S)
        self._moment = threading.Event()
        self._clients: list[ConsoleClient] = []

    @property
    def parts(self) -> Parts:
        parts: Parts = self.app.state.parts
        return parts

    def close(self) -> None:
        for client in self._clients:
            client._http.close()
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        self._loop.close()
        self.bus.close()

    def until(self, reached: Callable[[], bool]) -> None:
        for _ in range(int(PATIENCE_S / 0.01)):
            if reached():
                return
            self._moment.wait(0.01)
        raise AssertionError("it never came to that")

    def client(self, sleep: Callable[[float], object] | None = None) -> ConsoleClient:
        client = ConsoleClient(self.settings, sleep=sleep or (lambda _: self._moment.wait(0.02)))  # type: ignore[arg-type]
        self._clients.append(client)
        return client

    def say(self, tick: int, **told: Any) -> RunControl:
        """Say something on run.control; return it when the console knows."""
        now_ms = self.clock.now_ms()
        sent = control(tick, sent_ms=now_ms, **told)
        self.bus.publish("run.control", sent.value, key=sent.key)
        said = decode_model(sent.value, "run.control/1", RunControl)[1]
        self.until(lambda: self.parts.live.control == said)
        return said

    def asked(self) -> RunRequest:
        """Return the last request of all."""
        reader = self.bus.read(["run.requests"], start="beginning")
        records = reader.poll(0.0)
        reader.close()
        return decode_model(records[-1].value, "run.requests/1", RunRequest)[1]

    def ticks(self) -> set[int]:
        """Return the ticks of all telemetry that was sent by a replay."""
        reader = self.bus.read(["run.control", "telemetry.grid"], start="beginning")
        records = reader.poll(0.0)
        reader.close()
        runs = {
            told.run
            for record in records
            if record.topic == "run.control"
            for told in [decode_model(record.value, "run.control/1", RunControl)[1]]
            if told.kind == "replay"
        }
        heads = [split(record.value)[0] for record in records if record.topic == "telemetry.grid"]
        return {head.tick for head in heads if head.run in runs}


@pytest.fixture
def here(mini: Site, store: DuckStore, tmp_path: Path) -> Iterator[Here]:
    here = Here(mini, store, tmp_path)
    yield here
    here.close()


class Owner:
    """The owner of the run: does one thing of a list each time the client waits."""

    def __init__(self, *deeds: Callable[[], object]) -> None:
        self.left = list(deeds)

    def __call__(self, _seconds: float) -> None:
        if self.left:
            self.left.pop(0)()


# -- the door


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(data_dir=tmp_path / "new" / "data")


def test_a_door_is_opened_in_a_data_folder_that_is_not_there_yet(settings: Settings) -> None:
    path = settings.data_dir / "console.json"
    with open_door(settings, "http://127.0.0.1:1", "x" * 40):
        assert json.loads(path.read_text()) == {"url": "http://127.0.0.1:1", "token": "x" * 40}
        assert path.stat().st_mode & 0o777 == 0o600
    assert not path.exists()


def test_a_door_that_cannot_be_opened_is_one_line(settings: Settings) -> None:
    settings.data_dir.parent.write_text("a file")
    with pytest.raises(StartError, match="COLOSSUS_DATA_DIR"), open_door(settings, "http://127.0.0.1:1", "x" * 40):
        pass


# -- what the owner of the run answers


def test_a_player_is_steered_and_the_answer_waited_for(here: Here) -> None:
    here.say(5, kind="replay", player=PLAYER)
    done = Owner(lambda: None, lambda: here.say(6, kind="replay", player=PLAYER, answers=here.asked().id))
    run = here.client(done).steer("seek", ts=PLAYER.from_ms)
    assert done.left == []
    assert (here.asked().verb, here.asked().params) == ("seek", {"ts": PLAYER.from_ms})
    assert (run["id"], run["tick"]) == (RUN, 6)


def test_what_the_player_refuses_is_told(here: Here) -> None:
    here.say(5, kind="replay", player=PLAYER)
    error = "step is not possible"
    refuses = Owner(lambda: here.say(5, kind="replay", player=PLAYER, answers=here.asked().id, error=error))
    with pytest.raises(SettingInvalid, match="refused: step is not possible"):
        here.client(refuses).steer("pause")


def test_an_owner_that_says_nothing_is_not_waited_for_for_ever(here: Here) -> None:
    here.say(5, kind="replay", player=PLAYER)
    with pytest.raises(SettingInvalid, match="does not answer within 60 s"):
        here.client(lambda _: None).steer("pause")


@pytest.mark.parametrize(("takeover", "looks_n"), [(None, 50), ("it was rebuilt", 100)])
def test_the_end_of_a_takeover_waits_until_it_has_been_compared(
    here: Here, monkeypatch: pytest.MonkeyPatch, takeover: str | None, looks_n: int
) -> None:
    monkeypatch.setattr("twin.console.client.COMPARING_S", 20.0)
    here.parts.live.takeover_of = lambda _: takeover
    here.say(5)
    looks = 0

    def look(_: float) -> None:
        nonlocal looks
        if looks == 0:
            here.say(5, answers=here.asked().id, state="ended")
        looks += 1

    here.client(look).end()  # this console stays
    assert here.asked().verb == "end"
    assert looks == looks_n + 1


@pytest.mark.parametrize("value", ["nan", "inf", "much"])
def test_a_parameter_that_is_no_number_is_refused_by_the_console(here: Here, value: str) -> None:
    here.say(5)
    with pytest.raises(SettingInvalid, match=f"power_w: .{value}. is not allowed"):
        here.client().command("turbine.load", "turbine-1", [f"power_w={value}"])


def test_without_a_replay_there_is_no_player_to_steer(here: Here) -> None:
    here.say(5)
    with pytest.raises(SettingInvalid, match="No replay runs"):
        here.client().steer("pause")


def test_the_player_of_the_replay_before_is_not_taken_for_the_one_that_was_asked_for(here: Here) -> None:
    (here.folder / "recordings").mkdir()
    (here.folder / "recordings" / "second.mcap").touch()
    first, second = (PLAYER.model_copy(update={"recording": f"{name}.mcap"}) for name in ("first", "second"))
    here.say(5, kind="replay", player=first)
    owner = Owner(
        lambda: here.say(5, kind="replay", player=first, answers=here.asked().id),
        lambda: here.say(5, kind="replay", player=first, state="ended"),
        lambda: here.say(-1, run=LATER, kind="replay", player=second.model_copy(update={"phase": "seeking"})),
        lambda: here.say(0, run=LATER, kind="replay", player=second),
    )
    player = here.client(owner).play("second.mcap", speed=10.0, paused=False, end_active=True)
    assert (player["run"], player["recording"], player["phase"]) == (LATER, "second.mcap", "playing")
    assert here.asked().params == {"kind": "replay", "recording": "second.mcap", "speed": 10.0, "paused": False}


def test_what_is_not_in_the_folder_is_not_played_and_the_folder_is_told(here: Here) -> None:
    here.say(5)
    with pytest.raises(SettingInvalid, match=f"no recording none.mcap in {here.folder / 'recordings'}"):
        here.client().play("none.mcap", speed=1.0, paused=False, end_active=True)
    with pytest.raises(SettingInvalid, match="--end-run"):
        here.client().play("none.mcap", speed=1.0, paused=False, end_active=False)


# -- a host that plays


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("recorded") / "run.mcap", {}, 40)


@pytest.fixture
def hosted(here: Here, mini: Site, recorded: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Here]:
    """A console beside a plant that can play."""
    (here.folder / "recordings").mkdir()
    (here.folder / "recordings" / "run.mcap").write_bytes(recorded.read_bytes())
    host = Host(
        here.bus, "", folder=here.folder, name="host", clock=here.clock, now_s=here.bus.clock, gate=lambda _: True,
        site=mini,
    )  # fmt: skip
    stop = threading.Event()
    thread = threading.Thread(target=lambda: host.run(host.begin(PLAN, mini), stop), name="host")
    thread.start()
    here.until(lambda: here.parts.live.control is not None)
    yield here
    stop.set()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def test_a_recording_is_played_and_steered(hosted: Here) -> None:
    client = hosted.client()
    player = client.play("run.mcap", speed=1.0, paused=True, end_active=True)
    assert (player["recording"], player["phase"]) == ("run.mcap", "paused")
    client.steer("seek", ts=player["from_ms"] + 20_000)
    hosted.until(lambda: client.player()["phase"] == "paused")
    client.steer("step", seconds=2.0)
    assert client.player()["clock_ms"] == pytest.approx(player["from_ms"] + 22_000, abs=100)
    client.steer("speed", speed=4.0)
    assert client.steer("play")["state"] == "running"
    assert client.player()["speed"] == 4.0
    with pytest.raises(SettingInvalid, match="Not in this state"):
        client.steer("step", messages=1)


@pytest.mark.parametrize("before", ["paused", "playing", "ended"])
def test_what_lies_before_a_takeover_is_shown_first(hosted: Here, before: str) -> None:
    client = hosted.client()
    player = client.play(
        "run.mcap", speed=0.0 if before == "ended" else 1.0, paused=before == "paused", end_active=True
    )
    hosted.until(lambda: client.player()["phase"] == before)
    with Recording(hosted.folder / "recordings" / "run.mcap") as recording:
        at_ms = recording.start_ns // NS_PER_MS + 30_000
    run = client.take_over(at_ms, lead_s=15.0)
    assert (run["id"], run["takeover"]) == (player["run"], f"{player['run']} was rebuilt")
    hosted.until(lambda: client.run()["kind"] == "live")
    assert client.run()["id"] == player["run"]
    shown = hosted.ticks()
    assert set(range(16, 30)) <= shown
    if before != "ended":
        assert not shown & set(range(10, 14)), "so much was not asked for"
        assert not shown & set(range(33, 40)), "that was not recorded but lived"
