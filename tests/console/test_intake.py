"""Broken messages into a console that reads its bus: it goes on, and shows what it showed before."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import orjson
import pytest

from tests.console.worlds import RUN, World, control, model_record, picture, racks, units
from twin.bus.base import Record
from twin.errors import MessageInvalid
from twin.events.control import CommandResult, RunControl
from twin.events.head import decode_data, split

Change = Callable[[dict[str, Any]], object]
_MARKS = itertools.count(1)

GOOD = {
    "twin.rack": lambda world, tick, value: racks(world.site, 0, tick, {"gpu_temp_max_c": np.full(8, value)}),
    "twin.site": lambda world, tick, value: picture(world.site, tick, of_site={"pue": value / 40}),
    "telemetry.chillers": lambda world, tick, value: units(
        world.site, "telemetry.chillers", "cooling-1", tick, {"loop": {"supply_c": np.array([value])}}
    ),
    "run.control": lambda _world, tick, value: control(tick, speed_reached=value / 50),
}


def put(path: str, value: Any) -> Change:
    """Say that a part of a message shall be another."""
    *parts, last = path.split(".")

    def change(message: dict[str, Any]) -> None:
        for part in parts:
            message = message[part]
        message[last] = value

    return change


def leave_out(path: str) -> Change:
    *parts, last = path.split(".")

    def change(message: dict[str, Any]) -> None:
        for part in parts:
            message = message[part]
        del message[last]

    return change


HUGE = 2**52
OF_ALL: Mapping[str, Change] = {
    "a head without a run": put("head.run", None),
    "a tick below zero": put("head.tick", -1),
    "no data": put("data", None),
    "a list": put("data", []),
}
BROKEN: Mapping[str, Mapping[str, Change]] = {
    "twin.rack": {
        "null index": put("data.rack.rack_i", [None, *range(1, 8)]),
        "null partition": put("data.close.partition", [None]),
        "index beyond the site": put("data.rack.rack_i", [64, *range(1, 8)]),
        "index below zero": put("data.rack.rack_i", [-1, *range(1, 8)]),
        "index between two racks": put("data.rack.rack_i", [0.5, None, *range(2, 8)]),
        "huge tick": put("head.tick", HUGE),
        "other major": put("head.schema", "twin.rack/2"),
        "other schema": put("head.schema", "twin.site/1"),
        "missing column": leave_out("data.rack.gpu_temp_max_c"),
        "missing index": leave_out("data.rack.rack_i"),
        "missing group": leave_out("data.close"),
        "empty group": put("data.rack", {}),
        "short column": put("data.rack.power_w", [1.0]),
        "text for a number": put("data.rack.power_w", ["5"] * 8),
        "huge number": put("data.rack.power_w", [1e300] * 8),
        "another key": put("head.key", "7"),
    },
    "twin.site": {
        "null index": put("data.hall.hall_i", [0, None, 2, 3]),
        "index beyond the site": put("data.hall.hall_i", [0, 1, 2, 4]),
        "huge tick": put("head.tick", HUGE),
        "other major": put("head.schema", "twin.site/2"),
        "missing column": leave_out("data.hall.gpu_temp_p99_c"),
        "missing index": leave_out("data.hall.hall_i"),
        "missing group": leave_out("data.site"),
        "empty group": put("data.hall", {}),
        "two sites": put("data.site.pue", [1.0, 1.1]),
        "huge number": put("data.site.facility_power_w", [1e300]),
        "another key": put("head.key", "colossus1"),
    },
    "telemetry.chillers": {
        "null group": put("data.chiller", None),
        "doubted place beyond the frame": put("data.suspect", {"chiller.power_w": [12]}),
        "doubted null": put("data.suspect", {"chiller.power_w": [None]}),
        "huge tick": put("head.tick", HUGE),
        "other major": put("head.schema", "telemetry.chillers/2"),
        "missing column": leave_out("data.loop.supply_c"),
        "missing group": leave_out("data.weather"),
        "short column": put("data.chiller.power_w", [1.0]),
        "text for a number": put("data.loop.supply_c", ["27"]),
        "unknown key": put("head.key", "cooling-9"),
    },
    "run.control": {
        "null tick": put("data.settled_tick", None),
        "huge tick": put("data.settled_tick", HUGE),
        "line far from its tick": put("data.line", {"ts0": 0, "tick0": HUGE, "ms_per_tick": 2**30}),
        "seed that JSON cannot carry on": put("data.seed", "1" + "0" * 30),
        "time that JSON cannot carry on": put("data.sent_ms", "1" + "0" * 30),
        "other major": put("head.schema", "run.control/2"),
        "missing field": leave_out("data.line"),
        "unknown state": put("data.state", "asleep"),
        "text for a number": put("data.speed", "1"),
    },
}  # fmt: skip
CASES = [(topic, name) for topic, changes in BROKEN.items() for name in ({**changes, **OF_ALL} | {"no JSON": None})]


def broken(world: World, topic: str, name: str) -> Record:
    """Make a message of a later tick with other values, and break it."""
    good = GOOD[topic](world, 7, 45.0)
    if name == "no JSON":
        return good._replace(value=good.value[:-9])
    message = orjson.loads(good.value)
    (dict(OF_ALL) | dict(BROKEN[topic]))[name](message)
    # What no encoder of ours can write: a number of more than 64 bits.
    return good._replace(value=orjson.dumps(message).replace(b'"1' + b"0" * 30 + b'"', b"1" + b"0" * 30))


class Screen:
    """A console that reads its bus, seen by an instructor."""

    def __init__(self, world: World, socket: Any) -> None:
        self.world = world
        self._socket = socket
        for _ in ("hello", "run"):
            socket.receive_json()
        socket.send_text('{"op":"sub","ch":"events"}')

    def publish(self, *records: Record) -> None:
        for record in records:
            self.world.bus.publish(record.topic, record.value, key=record.key, partition=record.partition)

    def wait(self, tick: int) -> None:
        """Wait until all that was published has been read: the reader takes it in order."""
        number = next(_MARKS)
        done = CommandResult(
            command_id=f"m{number}", verb="chiller.start", unit=f"m{number}", by="", accepted=True, reason="",
            applied_tick=1,
        )  # fmt: skip
        self.publish(
            control(tick, answers=f"m{number}", error=f"m{number}"), model_record("command_results", "m", done)
        )
        wanted = {f"refused: m{number}", f"chiller.start m{number} accepted"}
        while wanted:
            message = self._socket.receive_json()
            wanted -= {entry["text"] for entry in message.get("entries", ()) if message["ch"] == "events"}

    def shown(self) -> dict[str, Any]:
        """Beat, and look at everything; without the marks that :meth:`wait` makes."""
        world, hub = self.world, self.world.parts.hub
        world.beat()
        seen = {
            path: world.get(path).json()
            for path in (
                "/api/run",
                "/api/units/chiller-3",
                "/api/units/loop-1",
                "/api/racks/R0001",
                "/api/twin/health",
            )
        }
        del seen["/api/run"]["answers"], seen["/api/run"]["error"]
        floor = hub._picture("floor:rack:gpu_temp_max_c")
        return seen | {"site": orjson.loads("{" + hub._picture("site")), "floor": floor.body}


@pytest.fixture
def screen(world: World) -> Iterator[Screen]:
    world.take(control(5))
    with world.socket("instructor") as socket:
        screen = Screen(world, socket)
        screen.wait(6)  # the reader reads
        screen.publish(*(make(world, 6, 40.0) for topic, make in GOOD.items() if topic != "run.control"))
        screen.wait(6)
        yield screen


@pytest.mark.parametrize("topic", BROKEN)
def test_the_console_goes_on_and_shows_what_it_showed(screen: Screen, topic: str):
    live = screen.world.parts.live
    before = screen.shown()
    assert (before["site"]["tick"], before["site"]["site"]["pue"], before["floor"][:9]) == (6, 1, b"\x50" * 8 + b"\xff")
    assert before["/api/units/loop-1"]["values"]["supply_c"]["value"] == 40
    assert before["/api/racks/R0001"]["values"]["gpu_temp_max_c"]["value"] == 40
    names = [name for of, name in CASES if of == topic]
    screen.publish(*(broken(screen.world, topic, name) for name in names))
    screen.wait(6)
    assert screen.shown() == before
    assert live.refused_n == len(names)
    screen.publish(*(make(screen.world, 7, 42.0) for of, make in GOOD.items() if of != "run.control"))
    screen.wait(7)
    after = screen.shown()
    assert (after["/api/run"]["id"], after["/api/run"]["tick"], after["/api/run"]["epoch"]) == (RUN, 7, 0)
    assert (after["site"]["tick"], after["site"]["site"]["pue"], after["floor"][:8]) == (7, 1.05, b"\x54" * 8)
    assert after["/api/units/loop-1"]["values"]["supply_c"]["value"] == 42


@pytest.mark.parametrize(("topic", "name"), CASES)
def test_each_is_refused_by_itself(world: World, topic: str, name: str):
    world.take(control(6), GOOD[topic](world, 6, 40.0))
    world.take(broken(world, topic, name))
    assert world.parts.live.refused_n == 1
    world.beat()


@pytest.mark.parametrize("topic", GOOD)
def test_what_is_not_broken_is_taken(world: World, topic: str):
    world.take(control(6), GOOD[topic](world, 7, 45.0))
    assert world.parts.live.refused_n == 0


def test_a_topic_of_answers_takes_nothing_that_is_none(world: World):
    done = CommandResult(
        command_id="c", verb="chiller.start", unit="chiller-3", by="", accepted=True, reason="", applied_tick=1
    )
    good = model_record("command_results", "chiller-3", done)
    for change in (put("head.schema", "commands/1"), put("data.accepted", None), put("data.applied_tick", 1.5)):
        message = orjson.loads(good.value)
        change(message)
        world.take(control(6), good._replace(value=orjson.dumps(message)))
    assert (world.parts.live.refused_n, world.parts.live.result("c")) == (3, None)


def test_the_reason_says_where(world: World):
    data = orjson.loads(split(control(6).value)[1])
    with pytest.raises(MessageInvalid, match=r"^bad-data: line\.ts0: "):
        decode_data(RunControl, orjson.dumps(data | {"line": data["line"] | {"ts0": "x"}}))
    with pytest.raises(MessageInvalid, match=r"^not-json: "):
        decode_data(RunControl, b"NaN")
