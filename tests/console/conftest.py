"""The fixtures of the console's tests."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tests.console.worlds import CATALOGUE, ORIGIN, TOKENS, Clock, World, control, never, picture
from twin.bus.memory import MemoryBus
from twin.console.app import make_console
from twin.console.context import ConsoleContext
from twin.console.seats import Seats
from twin.events.topics import TOPICS
from twin.site import Site, load_site
from twin.store.duck import DuckStore

_NAMES = itertools.count()


@pytest.fixture(scope="session")
def mini() -> Site:
    return load_site("mini")


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DuckStore]:
    store = DuckStore(tmp_path_factory.mktemp("history"))
    yield store
    store.close()


@pytest.fixture
def world(mini: Site, store: DuckStore, tmp_path: Path) -> Iterator[World]:
    clock = Clock()
    bus = MemoryBus(f"console-{next(_NAMES)}", wall_ms=clock)
    bus.create_topics(TOPICS)
    seats = Seats(TOKENS, now_ms=clock)
    context = ConsoleContext(
        data_dir=tmp_path,
        site=mini, bus=bus, store=store, seats=seats, now_ms=clock, version="1.2.3", catalogue=CATALOGUE, sleep=never,
        hosts=("console.example",),
    )  # fmt: skip
    world = World(mini, bus, store, clock, seats, make_console(context))
    with TestClient(world.app, base_url=ORIGIN, client=("127.0.0.1", 50000)) as client:
        world.client = client
        yield world
    bus.close()


@pytest.fixture
def live_world(world: World) -> World:
    """A console that knows a run and a site picture."""
    world.take(control(5), picture(world.site, 5))
    return world
