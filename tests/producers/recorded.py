"""Recordings of runs for the tests, and ways to spoil them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import orjson

from producers.incidents import RUN, START_MS, Order, record_run
from twin.events.control import Command, RunRequest
from twin.events.instructor import Inject
from twin.plant import Plant, TimedCommand, TimedInject, build, carry_out, step
from twin.recording.item import NS_PER_MS, Item
from twin.recording.reader import Recording
from twin.recording.writer import RecordingWriter
from twin.run import RunPlan
from twin.site import load_site

SITE = load_site("mini")
PLAN = RunPlan(SITE.id, SITE.crc, 7, 1.0, "07-15T14:00", automatic_operator=False)
Action = TimedCommand | TimedInject


def command(name: str, verb: str, unit: str, **params: float | str | bool) -> Command:
    return Command(id=name, run=RUN, verb=verb, unit=unit, params=params, by="t", expires_ms=START_MS + 3_600_000)


def inject(name: str, kind: str, target: str, **more: float) -> Inject:
    return Inject(id=name, run=RUN, kind=kind, target=target, **more)  # type: ignore[arg-type]


def request(verb: str, **params: int) -> RunRequest:
    return RunRequest(id=f"r-{verb}", verb=verb, by="t", params=dict(params))  # type: ignore[arg-type]


def record(
    path: Path, orders: Mapping[int, Sequence[Order]], turns: int, *, plan: RunPlan = PLAN, facts: Iterable[str] = ()
) -> Path:
    record_run(path, SITE, plan, orders, turns=turns, facts=dict.fromkeys(facts, "x"))
    return path


def turn_ns(turn: int, ms: int = 500) -> int:
    """Return an instant in a turn; its frames have come within some 25 ms."""
    return (START_MS + 1000 * turn + ms) * NS_PER_MS


def plant_at(steps: int, orders: Sequence[Action], plan: RunPlan = PLAN) -> Plant:
    """Make a plant that did so many steps, with these orders before those of a tick."""
    plant = build(SITE, seed=plan.seed, weather_at=plan.weather_at, automatic_operator=plan.automatic_operator)
    for tick in range(steps):
        for order in orders:
            if order.tick == tick:
                carry_out(plant, order)
        step(plant, plan.dt_s)
    return plant


def edited(
    source: Path,
    to: Path,
    *,
    item: Callable[[Item], Item | None] = lambda item: item,
    attachment: Callable[[str, bytes], bytes | None] = lambda _, data: data,
    more: Iterable[Item] = (),
    **facts: str,
) -> Path:
    """Write a recording anew with some of it changed, or left out."""
    with Recording(source) as recording, RecordingWriter(to, {**recording.facts, **facts}) as writer:
        for index in recording.attachments():
            data = attachment(index.name, recording.attachment(index.name) or b"")
            if data is not None:
                writer.attach(index.name, index.media_type, data, index.log_time)
        for one in sorted([*recording.items(), *more], key=lambda one: one.time_ns):
            changed = item(one)
            if changed is not None:
                writer.add(changed)
    return to


def without(*topics: str) -> Callable[[Item], Item | None]:
    return lambda item: None if item.topic in topics else item


def changed(topic: str, change: Callable[[dict[str, dict[str, object]]], None]) -> Callable[[Item], Item]:
    """Change each message of a topic: its head and data, as they are loaded."""

    def of(item: Item) -> Item:
        if item.topic != topic:
            return item
        loaded = orjson.loads(item.value or b"")
        change(loaded)
        return item._replace(value=orjson.dumps(loaded))

    return of
