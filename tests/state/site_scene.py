"""The keeper of the site on ``mini``: what a plant says of one tick, and a desk that tells the keeper."""

from collections.abc import Callable
from typing import Any

import orjson

from producers.families import PRODUCERS
from tests.state.scene import T0, Run, at
from twin.bus.base import Record
from twin.events.derived import TWIN_RACK, TWIN_SITE
from twin.events.frames import Frame, decode_frame
from twin.events.gpu import TELEMETRY_GPU
from twin.events.head import encode
from twin.events.layout import FrameLayout
from twin.plant import build, step
from twin.site import load_site
from twin.state.outputs import Output, Send
from twin.state.rows import RowKeeper
from twin.state.site import FAMILIES, SiteKeeper

LAYOUT = FrameLayout(load_site("mini"))
SITE = LAYOUT.site
PARTITIONS = range(8)  # one array in each
NAMES = {"telemetry.chillers": "chillers", "telemetry.turbines": "turbines", "telemetry.grid": "grid",
         "telemetry.network": "network"}  # fmt: skip
UNITS = [(topic, key) for topic in FAMILIES for key in LAYOUT.keys(topic)]
ALL = len(UNITS) + len(PARTITIONS)
GRID, TURBINES, CHILLERS = "telemetry.grid", "telemetry.turbines", "telemetry.chillers"
Change = Callable[[dict[str, Any]], Any]


def plant_says() -> dict[tuple[str, str], bytes]:
    """What a plant says of one tick: (topic, key) -> data, and (twin.rack, partition) as the rows make it."""
    plant = build(SITE, seed=7, weather_at="07-15T14:00")
    for _ in range(3):
        step(plant, 1.0)
    said = {
        (topic, reading.key): reading.data
        for topic, name in NAMES.items()
        for reading in PRODUCERS[name](LAYOUT).readings(plant, first_of_epoch=True)
    }
    run = Run()
    run.say(T0)
    rows = RowKeeper(LAYOUT, run.view)
    rows.assign(PARTITIONS)
    for reading in PRODUCERS["gpus"](LAYOUT).readings(plant, first_of_epoch=True):
        value = encode(run.head(TELEMETRY_GPU, reading.key, 0), reading.data)
        (out,) = rows.take(Record("telemetry.gpu", reading.partition, 0, T0, b"", value), None, T0)
        said["twin.rack", str(reading.partition)] = out.data
    return said


class Desk:
    """A keeper of the site, what it is told of each tick, and its run; tokens are (topic, key, tick)."""

    def __init__(self, readings: dict[tuple[str, str], bytes], run: Run) -> None:
        self.readings, self.run = readings, run
        self.keeper = SiteKeeper(LAYOUT, run.view)

    def send(
        self, topic: str, key: Any, tick: int, now: float, *, change: Change | None = None, **head: Any
    ) -> list[Output]:
        family = TWIN_RACK if topic == "twin.rack" else FAMILIES[topic]
        data = self.readings[topic, str(key)]
        if change is not None:
            loaded = orjson.loads(data)
            change(loaded)
            data = orjson.dumps(loaded)
        token = head.pop("mark", (topic, str(key), tick))
        made = (head.pop("by", None) or self.run).head(family, str(key), tick, **head)
        return self.keeper.take(Record(topic, 0, 0, T0, b"", encode(made, data)), token, at(now))

    def units(self, tick: int, now: float, without: Any = (), changes: dict[str, Change] | None = None, **head: Any):
        changes = changes or {}
        return [
            out
            for topic, key in UNITS
            if topic not in without and (topic, key) not in without
            for out in self.send(topic, key, tick, now, change=changes.get(topic), **head)
        ]

    def racks(self, tick: int, now: float, without: Any = (), **head: Any) -> list[Output]:
        return [
            out
            for number in PARTITIONS
            if number not in without
            for out in self.send("twin.rack", number, tick, now, **head)
        ]

    def whole(self, tick: int, now: float, **head: Any) -> list[Output]:
        return self.units(tick, now, **head) + self.racks(tick, now, **head)

    def tick(self, now: float, *, queue_empty: bool = True) -> list[Output]:
        return self.keeper.tick(at(now), queue_empty=queue_empty)


def read(output: Output) -> Frame:
    assert isinstance(output, Send), output
    assert output.topic == "twin.site"
    return decode_frame(TWIN_SITE, output.data, {"close": 1})


def value(output: Output, group: str, name: str) -> float:
    (found,) = read(output).dense[group][name].tolist()
    return found


def ticks_of(outputs: list[Output]) -> list[int]:
    return [out.head.tick for out in outputs if isinstance(out, Send)]


def set_column(group: str, name: str, first: float, others: float = 0.0) -> Change:
    def change(data):
        size = len(data[group][name])
        data[group][name] = [first] + [others] * (size - 1)

    return change


def all_of(*changes: Change) -> Change:
    return lambda data: [change(data) for change in changes]
