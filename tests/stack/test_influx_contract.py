"""The contract suite of the history over InfluxDB: each test in buckets of its own."""

import itertools
from collections.abc import Iterator

import pytest

from tests.stack.servers.influx import Influx
from tests.store.implementations import Open
from tests.store.test_contract import *  # noqa: F403  its tests are collected here once more
from tests.store.test_contract_roll_up import *  # noqa: F403
from twin.store import Store
from twin.store.influx import open_influx
from twin.store.influx_setup import RETENTION_S, init

NUMBERS = itertools.count()


@pytest.fixture
def reopen(influx: Influx) -> Iterator[Open]:
    """A function that closes the store, if it is open, and opens it again on the same data."""
    namespace = f"contract{next(NUMBERS)}"
    # The suite's day is a fixed one: its buckets keep everything.
    tokens = init(influx.url, influx.org, influx.admin_token, namespace, retention_s=dict.fromkeys(RETENTION_S, 0))
    opened: list[Store] = []

    def again() -> Store:
        if opened:
            opened.pop().close()
        opened.append(open_influx(influx.url, influx.org, tokens.writer, namespace))
        return opened[-1]

    yield again
    for store in opened:
        store.close()


@pytest.fixture
def store(reopen: Open) -> Store:
    return reopen()
