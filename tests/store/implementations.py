"""Every implementation of the port of the history; the contract suite runs over all of them."""

from collections.abc import Callable
from pathlib import Path

from twin.store import Store
from twin.store.duck import DuckStore, open_store

Open = Callable[[], Store]
# To add a store: how to open it on a folder of the test's own (or on a bucket of its own).
IMPLEMENTATIONS: dict[type[Store], Callable[[Path], Store]] = {DuckStore: open_store}
