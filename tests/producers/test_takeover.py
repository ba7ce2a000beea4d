"""A replay that turns live: the same run, the same plant, and from there on whatever is made of it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from producers.host import Host, Wish
from producers.incidents import make_incident
from producers.loop import Loop
from tests.recording.stage import NOW_MS, RUN, Clocks
from twin.bus.base import Record
from twin.bus.memory import MemoryBus
from twin.events.control import Command, RunControl, RunRequest
from twin.events.head import Head, decode_model, encode_model, split
from twin.events.topics import BY_NAME, TOPICS
from twin.recording.choice import Choice
from twin.recording.item import NS_PER_MS
from twin.recording.reader import Recording
from twin.recording.replay import Replay

T_S = 180  # a minute after all chillers of a hall have tripped


@pytest.fixture(scope="session")
def incident(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_incident("chiller-trip", tmp_path_factory.mktemp("recordings"))[0]


class Desk:
    """Someone who replays a recording and takes it over; the clock moves when something waits for it."""

    def __init__(self, folder: Path) -> None:
        self.clocks = Clocks()
        self.bus = MemoryBus(f"takeover-{folder.name.replace('_', '-').lower()}", wall_ms=self.clocks.now_ms)
        self.bus.create_topics(TOPICS)
        self.host = Host(
            self.bus, "", folder=folder, name="desk", clock=self.clocks, now_s=self.clocks.now_s, gate=lambda _: True
        )
        self._reader = self.bus.read([topic.name for topic in TOPICS], start="beginning")
        self.came: list[Record] = []
        self._asked = 0

    def ask(self, verb: str, **params: Any) -> str:
        self._asked += 1
        request = RunRequest(id=f"ask-{self._asked}", verb=verb, by="trainee", params=params)  # type: ignore[arg-type]
        self._send("run.requests", request)
        return request.id

    def command(self, verb: str, unit: str, **params: Any) -> None:
        self._asked += 1
        run = self.controls()[-1].run
        name, never_ms = f"c-{self._asked}", 1 << 50
        command = Command(id=name, run=run, verb=verb, unit=unit, params=params, by="trainee", expires_ms=never_ms)
        self._send("commands", command)

    def _send(self, topic: str, data: Any) -> None:
        schema_id = BY_NAME[topic].schema_id
        head = Head(schema_id=schema_id, run=RUN, epoch=0, tick=0, seq=self._asked, ts=NOW_MS, dt_s=1.0, key="k")
        self.bus.publish(topic, encode_model(head, data), key=b"k")

    def turn(self, source: Loop | Replay) -> None:
        wait_s = source.turn()
        while records := self._reader.poll(0.0):
            self.came += records
        if wait_s > 0:
            if isinstance(source, Replay):
                source.player._feed.wait(0.05)
            self.clocks.ms += 1000 * wait_s

    def turn_until(self, source: Loop | Replay, reached: Callable[[], bool]) -> None:
        for _ in range(100_000):
            if reached():
                return
            self.turn(source)
        raise AssertionError("it never came to that")

    def controls(self) -> list[RunControl]:
        return [decode_model(r.value, "run.control/1", RunControl)[1] for r in self.came if r.topic == "run.control"]

    def answer(self, request: str) -> str | None:
        return next(control.error for control in self.controls() if control.answers == request)

    def go_on(self, replay: Replay) -> Loop:
        """Do what the host does once something has come to its end."""
        assert replay.done
        replay.close()
        replay.player.recording.close()
        following, self.host._next = self.host._next, None
        assert following is not None
        loop = following()
        assert isinstance(loop, Loop)
        return loop


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.bus.close()


def at_ms(path: Path, seconds: float) -> int:
    with Recording(path) as recording:
        return int(recording.start_ns // NS_PER_MS + 1000 * seconds)


def frames_of(records: list[Record]) -> dict[tuple[str, str, int], bytes]:
    found = {}
    for record in records:
        if record.topic.startswith("telemetry.") and record.value is not None:
            head, data = split(record.value)
            found[record.topic, head.key, head.tick] = data
    return found


def taken_over(desk: Desk, incident: Path, seconds: float = T_S) -> Loop:
    replay = desk.host.replay(Wish(incident, Choice(instructor=True), speed=0, paused=True, stays=True))
    request = desk.ask("takeover", ts=at_ms(incident, seconds))
    desk.turn_until(replay, lambda: replay.done)
    assert desk.answer(request) is None
    return desk.go_on(replay)


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
    assert desk.host._made is not None
    made, _ = desk.host._made
    comparison = made.compare(loop.applied, loop.owner.tick)
    assert comparison is not None
    assert comparison.commands_n["yours"] >= 1
    assert comparison.model_error is not None
    assert comparison.model_error.within
    assert comparison.effect()["rooms_over_h"] < 0, comparison.lines()
    loop.close()
