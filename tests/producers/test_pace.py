"""How fast a plant on a Kafka may go; the bus is a stand-in that tells what it is told to."""

from typing import Any

import pytest

from producers.pace import BEHIND_MAX_TICKS, LOOK_EVERY_MS, UNREAD_MAX_TICKS, UNSENT_MAX_RATIO, Pace
from tests.producers.stage import START_MS, HandClock
from twin.errors import BusError
from twin.events.layout import FrameLayout
from twin.events.topics import GPU_PARTITIONS
from twin.run import RunOwner, RunPlan, new_run_id, utc_text
from twin.site import load_site

SITE = load_site("mini")
ROWS, STATE, HISTORY = ("rows", "telemetry.gpu"), ("site", "twin.rack"), ("history", "twin.rack")
PARTITIONS = min(GPU_PARTITIONS, SITE.layout.array_count)
PER_TICK = {ROWS: SITE.layout.array_count, STATE: PARTITIONS, HISTORY: PARTITIONS}


class Told:
    """What is unsent, and what is unread by group and topic; counts how often it is asked."""

    def __init__(self) -> None:
        self.unsent = 0.0
        self.unread: dict[tuple[str, str], int | None] = dict.fromkeys(PER_TICK, 0)
        self.away = False
        self.asked_n = 0

    def unsent_ratio(self) -> float:
        return self.unsent

    def lag(self, group: str, topic: str) -> int | None:
        self.asked_n += 1
        if self.away:
            raise BusError("it is away")
        return self.unread[group, topic]


@pytest.fixture
def bus() -> Told:
    return Told()


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


def pace_of(bus: Any, clock: HandClock, namespace: str = "") -> Pace:
    return Pace(bus, namespace, FrameLayout(SITE), clock.now_ms)


def owner_of(clock: HandClock, **changes: Any) -> RunOwner:
    """Make an owner whose run is on time: its first tick is done."""
    owner = RunOwner(RunPlan(SITE.id, SITE.crc, 7, 1.0, "07-15T14:00", **changes), "one")
    owner.begin(new_run_id(utc_text(clock.ms), 1), seen=None, now_ms=clock.ms)
    owner.did_tick()
    return owner


def full(bus: Told) -> None:
    for reader, per_tick in PER_TICK.items():
        bus.unread[reader] = 1000 * UNREAD_MAX_TICKS * per_tick


def test_a_run_on_time_waits_for_nobody_and_asks_nobody(bus: Told, clock: HandClock) -> None:
    full(bus)
    owner, pace = owner_of(clock), pace_of(bus, clock)
    for _ in range(100):
        assert pace.open_for(owner)
        owner.did_tick()
        clock.ms += 1000
    assert bus.asked_n == 0


@pytest.mark.parametrize("hurry", [{"speed": 10.0}, {"speed": 0.0}, {"start_ms": START_MS - 3_600_000, "speed": 60.0}])
@pytest.mark.parametrize("reader", PER_TICK)
def test_a_run_that_hurries_waits_for_each_of_its_readers(
    bus: Told, clock: HandClock, hurry: dict[str, Any], reader: tuple[str, str]
) -> None:
    owner, pace = owner_of(clock, **hurry), pace_of(bus, clock)
    bus.unread[reader] = UNREAD_MAX_TICKS * PER_TICK[reader] - 1
    assert pace.open_for(owner)
    bus.unread[reader] = UNREAD_MAX_TICKS * PER_TICK[reader]
    clock.ms += LOOK_EVERY_MS
    assert not pace.open_for(owner)
    bus.unread[reader] = 0
    clock.ms += LOOK_EVERY_MS
    assert pace.open_for(owner)


def test_a_run_that_fell_behind_waits_for_its_readers(bus: Told, clock: HandClock) -> None:
    full(bus)
    owner, pace = owner_of(clock), pace_of(bus, clock)
    clock.ms += 1000 * BEHIND_MAX_TICKS
    assert pace.open_for(owner)
    clock.ms += 1000
    assert not pace.open_for(owner)
    owner.did_tick()  # it is made up for
    assert pace.open_for(owner)


def test_a_slow_store_does_not_stop_a_run_that_makes_up_for_time(bus: Told, clock: HandClock) -> None:
    bus.unread[HISTORY] = 10**6
    owner, pace = owner_of(clock), pace_of(bus, clock)
    clock.ms += 60_000
    assert pace.open_for(owner)
    assert not pace.held_back


@pytest.mark.parametrize("speed", [1.0, 10.0])
def test_what_is_unsent_stops_every_run(bus: Told, clock: HandClock, speed: float) -> None:
    owner, pace = owner_of(clock, speed=speed), pace_of(bus, clock)
    bus.unsent = UNSENT_MAX_RATIO
    assert pace.open_for(owner)
    bus.unsent = UNSENT_MAX_RATIO + 0.01
    assert not pace.open_for(owner)
    bus.unsent = 0.0
    assert pace.open_for(owner)


def test_a_bus_that_is_away_stops_a_run_that_hurries_until_it_is_back(bus: Told, clock: HandClock) -> None:
    hurried, on_time, pace = owner_of(clock, speed=10.0), owner_of(clock), pace_of(bus, clock)
    bus.away = True
    assert not pace.open_for(hurried)
    assert pace.open_for(on_time)
    bus.away = False
    clock.ms += LOOK_EVERY_MS
    assert pace.open_for(hurried)


def test_where_nobody_reads_nobody_is_waited_for(bus: Told, clock: HandClock) -> None:
    bus.unread = dict.fromkeys(PER_TICK)
    owner, pace = owner_of(clock, speed=10.0), pace_of(bus, clock)
    assert pace.open_for(owner)
    bus.unread[HISTORY] = UNREAD_MAX_TICKS * PARTITIONS
    clock.ms += LOOK_EVERY_MS
    assert not pace.open_for(owner)


def test_the_readers_are_asked_about_every_half_second_at_most(bus: Told, clock: HandClock) -> None:
    owner, pace = owner_of(clock, speed=0.0), pace_of(bus, clock)
    for _ in range(LOOK_EVERY_MS):
        pace.open_for(owner)
        clock.ms += 1
    assert bus.asked_n == len(PER_TICK)
    full(bus)
    assert not pace.open_for(owner)
    assert bus.asked_n == 2 * len(PER_TICK)
    bus.unread = dict.fromkeys(PER_TICK, 0)
    clock.ms += LOOK_EVERY_MS - 1
    assert not pace.open_for(owner)  # what was seen holds for as long
    clock.ms += 1
    assert pace.open_for(owner)


def test_groups_and_topics_are_those_of_the_namespace(bus: Told, clock: HandClock) -> None:
    bus.unread = {(f"ci.{group}", f"ci.{topic}"): 0 for group, topic in PER_TICK}
    assert pace_of(bus, clock, "ci").open_for(owner_of(clock, speed=10.0))
    assert bus.asked_n == len(PER_TICK)


def test_a_slow_run_waits_for_nobody() -> None:
    bus, clock = Told(), HandClock()
    full(bus)
    assert pace_of(bus, clock).open_for(owner_of(clock, speed=0.5))
