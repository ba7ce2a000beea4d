"""The app ``history``: written before acknowledged, waited for when away, kept aside when refused."""

import asyncio
import base64
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.agents.messages import LAYOUT, RUN, TS, control, data_of, dead_letter, jobs, message, result
from tests.whole.house import FlakyStore, HandClock, House, until
from twin.agents import history
from twin.agents.apps import make_app
from twin.agents.context import Context
from twin.bus.base import Place, Record
from twin.bus.memory import MemoryBus
from twin.embedded import make_worker
from twin.errors import StartError, StoreRejected, StoreUnavailable
from twin.events.alarm import DeadLetter
from twin.events.derived import Health
from twin.events.head import split
from twin.events.topics import TOPICS
from twin.store import Points, Store
from twin.store.duck import open_store

RESULTS = Place("command_results", 0)


class Picky(FlakyStore):
    """A store that is away when told so, and that never takes a point of a unit named ``bad``."""

    def __init__(self, real: Store) -> None:
        super().__init__(real)
        self.tried: list[list[Points]] = []

    def write(self, batch: Any) -> None:
        self.tried.append(list(batch))
        if any(points.texts.get("unit") == "bad" for points in batch):
            raise StoreRejected("a wrong type")
        super().write(batch)


@pytest.fixture
def store(house: House, monkeypatch: pytest.MonkeyPatch) -> Picky:
    monkeypatch.setattr(history, "RETRY_S", (0.001,))
    picky = Picky(house.store.real)
    house.store = picky
    return picky


def publish(house: House, *records: Record) -> None:
    for record in records:
        house.bus.publish(record.topic, record.value, key=record.key)


def units(store: Store) -> list[str]:
    return sorted(event.unit for event in store.events(run=RUN, from_ms=TS, to_ms=TS + 1000, limit=100))


def letters(house: House) -> list[DeadLetter]:
    return [DeadLetter.model_validate_json(split(record.value)[1]) for record in house.of("dead.letter")]


def committed(house: House) -> int:
    return house.bus.group("history").committed.get(RESULTS, 0)


async def test_a_store_that_is_away_is_waited_for(house: House, store: Picky) -> None:
    await house.hire("history")
    store.away = StoreUnavailable("away")
    publish(house, result(unit="one"), result(unit="two"))
    await until(lambda: len(store.tried) >= 5)
    assert not house.bus.settled()
    assert not units(store)
    store.away = None
    await house.settled()
    assert units(store) == ["one", "two"]
    assert not letters(house)


async def test_what_was_not_written_is_read_again_by_the_next_worker(house: House, store: Picky) -> None:
    worker = await house.hire("history")
    publish(house, result(unit="before"))
    await house.settled()
    await worker.app.consumer.commit()
    assert committed(house) == 1  # from here on Faust would commit past a hole of one message
    store.away = StoreUnavailable("away")
    bad = result(unit="junk")._replace(value=b"junk")
    publish(house, result(unit="one"), bad, result(unit="two"))
    await until(lambda: len(store.tried) >= 5)
    await house.dismiss(worker)  # commits what it has acknowledged
    assert committed(house) == 1
    assert not letters(house)
    tried_n = len(store.tried)
    store.away = None
    await house.hire("history")
    await house.settled()
    assert units(store) == ["before", "one", "two"]
    assert [letter.offset for letter in letters(house)] == [2]
    again = {points.texts["unit"] for batch in store.tried[tried_n:] for points in batch}
    assert again == {"one", "two", "command_results/0/2"}  # and nothing that was written before


async def test_a_worker_that_vanishes_while_it_waits_loses_nothing(house: House, store: Picky) -> None:
    worker = await house.hire("history")
    store.away = StoreUnavailable("away")
    publish(house, result(unit="one"))
    await until(lambda: len(store.tried) >= 3)
    await house.kill(worker)
    store.away = None
    await house.hire("history")
    await house.settled()
    assert units(store) == ["one"]


async def test_the_one_message_that_the_store_refuses_is_kept_aside(house: House, store: Picky) -> None:
    names = ["a", "b", "bad", "c"]
    publish(house, *(result(unit=name) for name in names))
    await house.hire("history")
    await house.settled()
    assert units(store) == ["a", "b", "c"]
    (letter,) = letters(house)
    assert (letter.topic, letter.partition, letter.offset) == ("command_results", 0, 2)
    assert letter.reason == "store-rejected: a wrong type"
    assert base64.b64decode(letter.raw) == result(unit="bad").value
    refused = [[p.texts["unit"] for p in batch] for batch in store.tried]
    assert refused.count(["bad"]) == 1
    assert sum("bad" in batch for batch in refused) <= 2  # with its batch, and alone: never again
    publish(house, result(unit="d"))
    await house.settled()
    assert units(store) == ["a", "b", "c", "d"]
    assert len(letters(house)) == 1


async def test_a_refused_batch_loses_no_event_of_the_run(house: House, store: Picky) -> None:
    publish(house, control(), result(unit="bad"), result(unit="good"))
    await house.hire("history")
    await house.settled()
    assert len(letters(house)) == 1
    events = store.events(run=RUN, from_ms=TS, to_ms=TS + 1000, limit=10)
    assert sorted(event.kind for event in events) == ["command", "dead_letter", "run"]
    assert store.stored("run", RUN) == 1


async def test_what_can_be_no_point_is_refused_like_what_the_store_refuses(house: House, store: Picky) -> None:
    publish(house, result(unit="late", ts=2**50), result(unit="good"))
    await house.hire("history")
    await house.settled()
    assert units(store) == ["good"]
    (letter,) = letters(house)
    assert letter.reason.startswith("store-rejected: event: no time of this century")


async def test_there_is_no_letter_about_a_letter(house: House, store: Picky) -> None:
    worker = await house.hire("history")
    broken = dead_letter()._replace(value=b"junk")
    late = message("dead.letter", "telemetry.gpu", orjson.dumps(data_of(dead_letter())), ts=2**50)
    publish(house, dead_letter(), broken, late, result(unit="one"))
    await house.settled()
    assert len(house.of("dead.letter")) == 3  # as published
    assert units(store) == ["one", "telemetry.gpu/3/41"]
    worker.check()


async def test_broken_bytes_of_two_topics_are_kept_aside_each_with_its_place(house: House, store: Picky) -> None:
    broken = jobs(512)._replace(value=b"\xffjunk")
    headless = result()._replace(value=b'{"a":1}')
    publish(house, result(unit="one"), headless, jobs(512), jobs(512), broken, result(unit="two"))
    await house.hire("history")
    await house.settled()
    found = {(letter.topic, letter.offset): letter for letter in letters(house)}
    assert set(found) == {("command_results", 1), ("telemetry.jobs", 2)}
    assert found["command_results", 1].reason.startswith("no-head")
    assert found["telemetry.jobs", 2].reason.startswith("not-json")
    assert base64.b64decode(found["telemetry.jobs", 2].raw) == b"\xffjunk"
    assert {record.key for record in house.of("dead.letter")} == {
        b"history-1/command_results",
        b"history-1/telemetry.jobs",
    }
    assert units(store) == ["one", "two"]
    assert store.stored("job", RUN) == 1


async def test_it_keeps_rolling_up_and_dropping_when_its_time_comes(
    house: House, store: Picky, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "ROLL_UP_EVERY_S", 0.005)
    monkeypatch.setattr(history, "PRUNE_EVERY_S", 0.005)
    calls: list[tuple[str, int]] = []

    def work(name: str) -> Callable[[int], int]:
        def do(now_ms: int) -> int:
            calls.append((name, now_ms))
            raise StoreUnavailable("busy")

        return do

    monkeypatch.setattr(store, "roll_up", work("roll_up"))
    monkeypatch.setattr(store, "prune", work("prune"))
    await house.hire("history")
    await until(lambda: {name for name, _ in calls} == {"roll_up", "prune"} and len(calls) > 4)
    assert {now_ms for _, now_ms in calls} == {house.clock.ms}
    publish(house, result(unit="one"))
    await house.settled()
    assert units(store) == ["one"]
    house.alive()


async def test_a_writer_says_how_it_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "RETRY_S", (0.001,))
    store = Picky(open_store(tmp_path / "history"))
    writer = history.Writer(store)
    batch = [Points("weather", RUN, TS, {}, {"dry_bulb_c": [1.0, 2.0]}, {})]
    store.away = StoreUnavailable("away")
    writing = asyncio.ensure_future(writer.write(batch))
    await until(lambda: len(store.tried) >= 4)
    waiting = writer.report(2.0)
    assert (waiting.sink, waiting.points_hz, waiting.buffered_n) == ("Picky", 0.0, 2)
    assert waiting.retry_n >= 3
    store.away = None
    await writing
    done = writer.report(2.0)
    assert (done.points_hz, done.buffered_n) == (1.0, 0)
    assert done.write_p99_s > 0
    with pytest.raises(StoreRejected):
        await writer.write([Points("event", RUN, TS, {"kind": "command", "priority": "none"}, {}, {"unit": "bad"})])
    refused = writer.report(2.0)
    assert (refused.points_hz, refused.buffered_n, refused.retry_n) == (0.0, 0, 0)
    store.close()


async def test_it_counts_what_it_took_and_what_it_kept_aside(house: House, store: Picky) -> None:
    publish(house, result(unit="a"), result(unit="bad"), jobs(512)._replace(value=b"junk"), jobs(512))
    worker = make_worker("history", 9, house.bus, LAYOUT, house.clock, store=store, health_every_s=0.02)
    house.workers.append(worker)
    await worker.start()

    def told() -> dict[str, int]:
        dead: Counter[str] = Counter()
        for record in house.of("twin.health"):
            for part in Health.model_validate_json(split(record.value)[1]).ingest:
                dead[part.topic] += part.dead_n
        return dict(+dead)

    await until(lambda: told() == {"command_results": 1, "telemetry.jobs": 1})
    assert {letter.topic for letter in letters(house)} == {"command_results", "telemetry.jobs"}


async def test_without_a_store_it_cannot_be_made() -> None:
    bus = MemoryBus("no-store")
    bus.create_topics(TOPICS)
    try:
        with pytest.raises(StartError, match="needs a store"):
            make_app("history", Context("history-1", "", {"broker": "memory://no-store"}, bus, LAYOUT, HandClock()))
    finally:
        bus.close()
