"""``colossus takeover`` on a real Kafka: a recorded run goes on live, under whoever sits at the console."""

import json
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest

from producers.differences import Difference
from producers.host import Host, Source, Wish
from producers.rebuild import check
from tests.stack.servers.influx import Influx
from tests.stack.servers.kafka import Kafka
from tests.stack.test_processes import results
from tests.stack.theatre import Theatre, Verb
from twin.events.control import Command, RunRequest
from twin.events.head import Head, split
from twin.recording.choice import Choice
from twin.recording.reader import Recording
from twin.recording.replay import Replay
from twin.run import SystemClock

SECONDS = 60.0
SEEN_TICKS = 20


@pytest.fixture(scope="module")
def theatre(kafka: Kafka, influx: Influx, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Theatre]:
    """A namespace with screens."""
    theatre = Theatre(kafka, influx, tmp_path_factory.mktemp("theatre"))
    theatre.fleet.environment["COLOSSUS_INFLUX_TOKEN"] = theatre.tokens.reader
    (theatre.folder / "data").mkdir()
    members = [
        theatre.fleet.begin(kind, f"{kind}-1", "--site", "mini", *flags)
        for kind, *flags in (("rows",), ("site",), ("console", "--port", "0"))
    ]
    for member in members:
        member.wait_started()
    yield theatre
    theatre.close()


@pytest.fixture(scope="module")
def recordings(theatre: Theatre) -> Path:
    folder = theatre.folder / "data" / "recordings"
    code, said = theatre.verb("recording", "make", "pump-degraded", "chiller-trip", "--folder", str(folder)).wait()
    assert code == 0
    assert said.count(".mcap") == 2
    return folder


@pytest.fixture(scope="module")
def console(theatre: Theatre) -> Iterator[httpx2.Client]:
    """What a trainee's browser asks."""
    links = [theatre.fleet.members["console-1"].read_line() for _ in range(3)]
    (link,) = (line.split()[1] for line in links if line.startswith("trainee"))
    url, _, token = link.partition("/enter?token=")
    with httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}) as http:
        yield http


def taken_over(theatre: Theatre, path: Path, at: str) -> Verb:
    """Take over; the plant runs by then."""
    taker = theatre.verb("takeover", str(path), "--at", at)
    run = taker.read_line().split()[1].rstrip(":")
    assert "was rebuilt at tick" in taker.read_line()
    assert f"you have the plant of run {run} since tick" in taker.read_line()
    theatre.until(lambda: bool(theatre.controls) and theatre.control.run == run, SECONDS, "its run")
    theatre.until(lambda: theatre.control.kind == "live", SECONDS, "it is live")
    return taker


def frames(theatre: Theatre, topic: str, run: str) -> Iterator[tuple[Head, bytes]]:
    for record in theatre.records(topic):
        head, data = split(record.value)
        if head.run == run:
            yield head, data


def compared(theatre: Theatre, taker: Verb, run: str) -> tuple[str, dict[str, Any]]:
    """End a takeover; return what was printed and what was kept."""
    code, words = taker.end(signal.SIGINT)
    assert code == 0, taker.log()
    path = theatre.folder / "data" / "takeovers" / f"{run}.json"
    assert f"kept in {path}" in words
    kept: dict[str, Any] = json.loads(path.read_text())
    return words, kept


def test_without_a_command_it_is_the_recorded_future(
    theatre: Theatre, console: httpx2.Client, recordings: Path
) -> None:
    path = recordings / "chiller-trip.mcap"
    taker = taken_over(theatre, path, "+180s")
    run = theatre.control.run
    theatre.run_ticks(SEEN_TICKS)
    told = [control for control in theatre.controls if control.run == run]
    replayed, live = ([c for c in told if c.kind == kind] for kind in ("replay", "live"))
    epoch = replayed[-1].epoch + 1
    assert {c.epoch for c in live} == {epoch}
    assert live[0].continues
    assert console.get("/api/run").json()["id"] == run
    theatre.until(lambda: bool(list(frames(theatre, "twin.site", run))), SECONDS, "a picture")
    words, kept = compared(theatre, taker, run)
    assert "yours - recorded" in words
    assert kept["commands_n"] == {"recorded": 0, "yours": 0}
    assert set(kept["effect"].values()) == {0.0}
    assert kept["model_error"]["within"]

    with Recording(path) as recording:
        held = [topic for topic in recording.counts if topic.startswith("telemetry.")]
        recorded = {
            (item.topic, head.key, head.tick): data
            for item in recording.items(topics=held)
            for head, data in [split(item.value)]
        }
    seen = {
        (topic, head.key, head.tick): (head.epoch, data) for topic in held for head, data in frames(theatre, topic, run)
    }
    ticks = {of: {tick for (_, _, tick), (at, _) in seen.items() if at == of} for of in (epoch - 1, epoch)}
    first, taken, last = min(ticks[epoch - 1]), min(ticks[epoch]), max(ticks[epoch])
    assert taken == max(ticks[epoch - 1]) + 1 == 181
    assert last >= taken + SEEN_TICKS - 1
    wanted = {place: data for place, data in recorded.items() if first <= place[2] <= last}
    # The table of jobs comes in full in the first tick of an epoch, whatever the tick.
    assert {(topic, tick) for topic, _, tick in seen.keys() - wanted.keys()} <= {
        ("telemetry.jobs", first), ("telemetry.jobs", taken)
    }  # fmt: skip
    assert {place: data for place, (_, data) in seen.items() if place in wanted} == wanted

    pictures = {head.tick: (head.epoch, orjson.loads(data)) for head, data in frames(theatre, "twin.site", run)}
    assert sorted(pictures) == list(range(first, max(pictures) + 1))
    assert max(pictures) >= taken + SEEN_TICKS - 3
    assert {of for of, _ in pictures.values()} >= {epoch - 1, epoch}
    assert {tuple(picture["hall"]["stale_n"]) for _, picture in pictures.values()} == {(0, 0, 0, 0)}
    assert {picture["close"]["stale_n"][0] for _, picture in pictures.values()} == {0}


@dataclass(frozen=True, slots=True)
class Cured:
    """A takeover with the right command: what was printed and kept, and a trainee's recording of it."""

    words: str
    kept: dict[str, Any]
    recording: Path


@pytest.fixture(scope="module")
def cured(theatre: Theatre, recordings: Path) -> Cured:
    taker = taken_over(theatre, recordings / "pump-degraded.mcap", "+130s")
    run = theatre.control.run
    command = Command(
        id=str(uuid.uuid4()), run=run, verb="cdu.select_pump", unit="cdu-R0007", params={"pump": "B"}, by="test",
        expires_ms=theatre.now_ms() + 30_000,
    )  # fmt: skip
    theatre.send("commands", command.unit, command)
    theatre.until(lambda: command.id in results(theatre), SECONDS, "an answer")
    assert results(theatre)[command.id][0].accepted
    assert theatre.ask("speed", speed=40.0).error is None
    recording = theatre.folder / "trainee.mcap"
    recorder = theatre.verb("record", "-o", str(recording), "--for", "3s")
    theatre.until(lambda: theatre.control.settled_tick >= 400, SECONDS, "what comes of it")
    assert recorder.wait()[0] == 0
    return Cured(*compared(theatre, taker, run), recording)


def test_the_right_command_saves_gpu_hours(cured: Cured) -> None:
    assert "GPU-hours lost" in cured.words
    assert cured.kept["commands_n"]["yours"] == 1
    columns = cured.kept["columns"]
    assert columns["yours"]["lost_gpu_h"] < columns["recorded"]["lost_gpu_h"]
    assert cured.kept["effect"]["lost_gpu_h"] < 0
    assert cured.kept["model_error"]["within"]


def test_what_was_recorded_without_an_instructor_cannot_be_taken_over(theatre: Theatre, cured: Cured) -> None:
    refused = theatre.verb("takeover", str(cured.recording), "--at", "+2s")
    code, said = refused.wait()
    assert (code, "you have the plant" in said) == (2, False)
    assert refused.log().startswith("colossus: no-snapshot: ")
    assert refused.log().count("\n") == 1
    theatre.until(lambda: theatre.control.state == "ended", SECONDS, "the replay has ended its run")


class Taker:
    """Takes a replay over where it stands, as by a key."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.wants = threading.Event()

    def look(self, source: Source) -> None:
        if isinstance(source, Replay) and self.wants.is_set():
            self._host.take_over(source, source.player.recording.start_ns + 130 * 10**9)

    def ended(self, source: Source) -> None:
        """Do nothing."""


def test_what_is_asked_while_the_plant_is_rebuilt_is_answered_once(
    theatre: Theatre, recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [RunRequest(id=str(uuid.uuid4()), verb="snapshot", by="test", params={}) for _ in range(3)]
    ordered: list[str] = []

    def check_while_people_ask(*told: Any) -> Difference:
        for request in asked:
            theatre.send("run.requests", theatre.control.run, request)
            command = Command(
                id=str(uuid.uuid4()), run=theatre.control.run, verb="cdu.select_pump", unit="cdu-R0007",
                params={"pump": "B"}, by="test", expires_ms=theatre.now_ms() + 30_000,
            )  # fmt: skip
            theatre.send("commands", command.unit, command)
            ordered.append(command.id)
        return check(*told)

    monkeypatch.setattr("producers.takeover.check", check_while_people_ask)
    host = Host(
        theatre.bus, theatre.namespace, folder=tmp_path, name="test", clock=SystemClock(), now_s=time.monotonic,
        gate=lambda _: True,
    )  # fmt: skip
    wish = Wish(recordings / "pump-degraded.mcap", Choice(instructor=True), paused=True, stays=True)
    stop = threading.Event()
    taker = Taker(host)
    hosting = threading.Thread(target=host.run, args=(host.replay(wish), stop, taker), name="host", daemon=True)
    hosting.start()
    try:
        theatre.until(lambda: bool(theatre.controls) and theatre.control.state == "paused", SECONDS, "it stands")
        taker.wants.set()
        theatre.until(lambda: bool(ordered) and theatre.control.kind == "live", SECONDS, "it is live")
        theatre.run_ticks(3)
    finally:
        stop.set()
        hosting.join(SECONDS)
    assert not hosting.is_alive()
    theatre.listen()
    answers = [(control.answers, control.error) for control in theatre.controls if control.answers is not None]
    assert [answer for answer in answers if answer[0] in {request.id for request in asked}] == [
        (request.id, None) for request in asked
    ]
    assert [len(results(theatre).get(order, [])) for order in ordered] == [1] * len(asked)
