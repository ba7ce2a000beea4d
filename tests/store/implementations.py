"""Every implementation of the port of the history; the contract suite runs over all of them."""

from collections.abc import Callable
from pathlib import Path

from twin.store import Store
from twin.store.duck import DuckStore, open_store
from twin.store.influx import InfluxStore

Open = Callable[[], Store]
# To add a store: how to open it on a folder of the test's own; ``None``: it needs a server, and a module of tests/stack
# runs the suite over it.
IMPLEMENTATIONS: dict[type[Store], Callable[[Path], Store] | None] = {DuckStore: open_store, InfluxStore: None}
