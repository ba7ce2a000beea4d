"""Following a control topic: all of the past first, then what comes, whatever it is."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator

import orjson
import pytest

from tests.agents.messages import control, mark
from tests.whole.house import House, until
from twin.agents import follower as module
from twin.agents.follower import Follower
from twin.bus.base import Reader, Record
from twin.bus.memory import MemoryBus
from twin.errors import BusError
from twin.events.head import split
from twin.events.topics import TOPICS

TOPIC = "twin.marks"


@pytest.fixture
def bus(monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryBus]:
    monkeypatch.setattr(module, "POLL_S", 0.02)  # how long a stop may have to wait
    bus = MemoryBus("followed")
    bus.create_topics(TOPICS)
    yield bus
    bus.close()


async def nobody(reason: BaseException) -> None:
    raise AssertionError("nothing ends it here") from reason


@contextlib.asynccontextmanager
async def following(bus: MemoryBus, **handlers: Callable[[Record], None]) -> AsyncIterator[None]:
    follower = Follower(bus, {name.replace("_", "."): handle for name, handle in handlers.items()}, nobody)
    await follower.start()
    try:
        yield
    finally:
        await follower.stop()


async def test_all_of_the_past_is_handled_before_it_has_started(bus: MemoryBus) -> None:
    for i in range(2500):  # more than one poll brings
        bus.publish(TOPIC, str(i).encode(), key=str(i).encode())
    heard: list[Record] = []
    async with following(bus, twin_marks=heard.append):
        assert [int(record.value or b"") for record in heard] == list(range(2500))


async def test_what_comes_later_arrives_once_and_in_order(bus: MemoryBus) -> None:
    heard: list[Record] = []
    async with following(bus, twin_marks=heard.append):
        assert not heard
        for i in range(50):
            bus.publish(TOPIC, str(i).encode(), key=b"k")
        await until(lambda: len(heard) >= 50)
        await until(bus.settled)
    assert [int(record.value or b"") for record in heard] == list(range(50))


async def test_topics_are_told_apart_and_a_tombstone_is_told(bus: MemoryBus) -> None:
    marks: list[bytes | None] = []
    said: list[bytes | None] = []
    bus.publish(TOPIC, b"mark", key=b"k")
    bus.publish("run.control", b"said", key=b"k")
    async with following(bus, twin_marks=lambda r: marks.append(r.value), run_control=lambda r: said.append(r.value)):
        assert (marks, said) == ([b"mark"], [b"said"])
        bus.publish(TOPIC, None, key=b"k")
        await until(lambda: len(marks) == 2)
    assert marks[1] is None


async def test_records_are_handled_in_the_event_loop(bus: MemoryBus) -> None:
    loops = []
    bus.publish(TOPIC, b"x", key=b"k")
    async with following(bus, twin_marks=lambda _: loops.append(asyncio.get_running_loop())):
        assert loops == [asyncio.get_running_loop()]


async def test_nothing_is_heard_after_a_stop(bus: MemoryBus) -> None:
    heard: list[Record] = []
    async with following(bus, twin_marks=heard.append):
        pass
    bus.publish(TOPIC, b"x", key=b"k")
    assert bus.settled()  # nobody reads any more
    assert not heard


async def test_a_topic_that_cannot_be_read_ends_the_start(bus: MemoryBus, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Reader, *__: object) -> list[Record]:
        raise BusError("the bus has gone")

    monkeypatch.setattr("twin.bus.memory.MemoryReader.poll", broken)
    follower = Follower(bus, {TOPIC: lambda _: None}, nobody)
    with pytest.raises(BusError, match="the bus has gone"):
        await asyncio.wait_for(follower.start(), 5)
    await follower.stop()


@pytest.mark.parametrize("fault", [BusError("the bus has gone"), KeyError("a fault of ours")])
async def test_what_ends_the_reading_after_the_start_is_told(bus: MemoryBus, fault: Exception) -> None:
    told: list[BaseException] = []

    async def crash(reason: BaseException) -> None:
        told.append(reason)

    def handle(_: Record) -> None:
        raise fault

    follower = Follower(bus, {TOPIC: handle}, crash)
    await follower.start()
    bus.publish(TOPIC, b"a", key=b"k")
    while not told:
        await asyncio.sleep(0.001)
    await follower.stop()
    assert told == [fault]


async def test_a_bus_that_closes_under_it_is_told(bus: MemoryBus) -> None:
    told: list[BaseException] = []

    async def crash(reason: BaseException) -> None:
        told.append(reason)

    follower = Follower(bus, {TOPIC: lambda _: None}, crash)
    await follower.start()
    bus.close()
    await follower.stop()
    assert [str(reason) for reason in told] == ["polled after it was closed"]


# -- in a worker -----------------------------------------------------------------------------------------------------


def set_mark(house: House, kind: str, asset: str) -> None:
    house.bus.publish(TOPIC, mark(kind, asset).value, key=f"{kind}@{asset}".encode())


def watched(house: House) -> list[set[str]]:
    """Return the racks of which each tick tells the GPUs, tick by tick."""
    ticks: dict[int, set[str]] = {}
    for record in house.of("twin.rack"):
        head, data = split(record.value)
        told = ticks.setdefault(head.tick, set())
        told |= {house.site.layout.rack_ids[int(i)] for i in orjson.loads(data).get("gpu", {}).get("rack_i", ())}
    return [ticks[tick] for tick in sorted(ticks)]


async def test_a_watch_lasts_from_its_mark_to_its_tombstone(house: House) -> None:
    set_mark(house, "watch", "R0010")
    set_mark(house, "shelve", "R0011")
    set_mark(house, "watch", "R9999")  # the site has no such rack
    await house.hire("rows")
    house.begin(lock_step=True)
    await house.run(2)
    set_mark(house, "watch", "R0064")
    house.bus.publish(TOPIC, b"{broken", key=b"watch@R0010")  # changes nothing
    house.bus.publish(TOPIC, b'{"head":' + b"[" * 300 + b"]" * 300 + b',"data":{}}', key=b"watch@R0010")
    await house.run(2)
    house.bus.publish(TOPIC, None, key=b"watch@R0010")
    await house.run(2)
    set_mark(house, "ack", "R0001")
    house.bus.publish(TOPIC, None, key=b"watch@R0064")
    await house.run(2)
    assert watched(house) == [{"R0010"}] * 2 + [{"R0010", "R0064"}] * 2 + [{"R0064"}] * 2 + [set()] * 2


JUNK = (
    None,
    b"",
    b"\xff\x00junk",
    b"{}",
    b'{"head":{},"data":{}}',
    (control().value or b"")[:-40],
    mark("watch", "R1").value,
    (mark("watch", "R0001").value or b"").replace(b"twin.marks/1", b"twin.marks/2"),
)


async def test_junk_on_control_topics_does_no_harm(house: House) -> None:
    for junk in JUNK:
        for topic in ("run.control", TOPIC):
            house.bus.publish(topic, junk, key=b"junk")
    worker = await house.hire("rows")
    loop = house.begin(lock_step=True)
    await house.run(2)
    for junk in JUNK:
        for topic in ("run.control", TOPIC):
            house.bus.publish(topic, junk, key=b"junk")
    set_mark(house, "watch", "R0010")
    loop.turn()  # the run's owner reads run.control, too: house.run() waits until it has
    loop.turn()
    await house.run(2)
    assert worker.context.view.control is not None
    assert worker.context.view.control.run == loop.owner.run
    assert worker.context.view.control.settled_tick == loop.owner.tick
    assert watched(house) == [set(), set(), {"R0010"}, {"R0010"}]


async def test_control_of_another_major_is_not_taken(house: House) -> None:
    raw = control(settled_tick=5).value or b""
    house.bus.publish("run.control", raw.replace(b"run.control/1", b"run.control/2"), key=b"a")
    worker = await house.hire("rows")
    assert worker.context.view.control is None
    house.bus.publish("run.control", raw, key=b"a")
    await house.settled()
    assert worker.context.view.control is not None
