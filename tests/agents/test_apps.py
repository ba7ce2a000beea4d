"""The table of apps: what there is, what a worker needs to start, and what it tells of itself."""

import asyncio
from pathlib import Path

import pytest

import twin.agents
from tests.agents.messages import LAYOUT
from tests.whole.house import HandClock, House
from twin.agents.apps import APPS, make_app
from twin.agents.carrier import NO_RUN, first_seq
from twin.agents.context import Context
from twin.bus.memory import MemoryBus
from twin.embedded import make_worker
from twin.errors import StartError, UnknownTopic
from twin.events.derived import Health
from twin.events.head import split
from twin.events.topics import TOPICS

FILES = {
    "__init__.py", "apps.py", "carrier.py", "context.py", "follower.py", "health.py", "history.py", "points.py",
    "pulse.py", "rows.py", "site.py", "worker.py",
}  # fmt: skip
NEEDED = [
    ("rows", "run.control"),
    ("rows", "twin.marks"),
    ("rows", "telemetry.gpu"),
    ("site", "run.control"),
    ("site", "twin.rack"),
    ("history", "twin.site"),
]


def test_each_file_of_the_folder_is_known_here() -> None:
    (folder,) = twin.agents.__path__
    assert {path.name for path in Path(folder).glob("*.py")} == FILES


def test_there_are_three_apps_and_history_holds_the_least() -> None:
    assert list(APPS) == ["rows", "site", "history"]
    assert min(APPS, key=lambda name: APPS[name].buffer_n) == "history"


@pytest.mark.parametrize("namespace", ["", "ci"])
@pytest.mark.parametrize("name", ["rows", "site"])
async def test_an_app_is_the_consumer_group_of_its_name(name: str, namespace: str) -> None:
    bus = MemoryBus("groups")
    try:
        app, _ = make_app(name, Context("w", namespace, {"broker": "memory://groups"}, bus, LAYOUT, HandClock()))
        assert app.conf.id == (f"{namespace}.{name}" if namespace else name)
        assert app.conf.stream_buffer_maxsize == APPS[name].buffer_n
    finally:
        bus.close()


@pytest.mark.parametrize(("kind", "topic"), NEEDED)
async def test_an_app_that_lacks_a_topic_says_which(kind: str, topic: str, house: House) -> None:
    bus = MemoryBus("lacking", session_timeout_s=1.5)
    bus.create_topics([one for one in TOPICS if one.name != topic])
    worker = make_worker(kind, 1, bus, LAYOUT, HandClock(), store=house.store if kind == "history" else None)
    try:
        with pytest.raises((UnknownTopic, StartError)) as caught:
            await worker.start()
        reason = caught.value if isinstance(caught.value, UnknownTopic) else caught.value.__cause__
        assert f"topic {topic!r} does not exist" in str(reason)
    finally:
        await worker.stop()
        bus.close()


@pytest.mark.parametrize("kind", APPS)
async def test_a_worker_tells_how_it_does_under_its_own_name(kind: str, house: House) -> None:
    store = house.store if kind == "history" else None
    worker = make_worker(kind, 7, house.bus, LAYOUT, house.clock, store=store, health_every_s=0.01)
    house.workers.append(worker)
    await worker.start()
    for _ in range(20_000):
        if len(records := house.of("twin.health")) >= 3:
            break
        await asyncio.sleep(0.001)
    told = [split(record.value) for record in records]
    assert {record.key for record in records} == {f"{kind}-7".encode()}
    first = first_seq(house.clock.ms)
    assert [head.seq for head, _ in told] == list(range(first, first + len(told)))
    assert {(head.run, head.epoch, head.tick) for head, _ in told} == {(NO_RUN, 0, 0)}
    health = [Health.model_validate_json(data) for _, data in told]
    assert {(one.process, one.at_ms) for one in health} == {(f"{kind}-7", house.clock.ms)}
    assert all(one.rss_mb > 10 and 0 <= one.buffer_fill <= 1 for one in health)
    assert [sink.sink for sink in health[0].sinks] == (["FlakyStore"] if store else [])
    topics = {part.topic for part in health[0].ingest}
    assert {
        "rows": topics == {"telemetry.gpu"},
        "site": {"twin.rack", "telemetry.grid"} <= topics,
        "history": {"twin.rack", "twin.health", "run.control"} <= topics,
    }[kind]


async def test_health_is_of_the_run_that_holds(house: House) -> None:
    worker = make_worker("rows", 1, house.bus, LAYOUT, house.clock, health_every_s=0.01)
    house.workers.append(worker)
    await worker.start()
    loop = house.begin(lock_step=False)
    await house.run(2, settle=False)
    for _ in range(20_000):
        if (told := house.of("twin.health")) and split(told[-1].value)[0].run == loop.owner.run:
            break
        await asyncio.sleep(0.001)
    head, data = split(told[-1].value)
    assert (head.run, head.tick <= loop.owner.tick) == (loop.owner.run, True)
    assert all(part.control_age_s < 10 for part in Health.model_validate_json(data).ingest)
