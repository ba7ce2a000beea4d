"""What the store's tests share: a store of each kind, opened and closed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.store.implementations import IMPLEMENTATIONS, Open
from twin.store import Store

EMBEDDED = [opening for opening in IMPLEMENTATIONS.values() if opening is not None]


@pytest.fixture(params=EMBEDDED, ids=[kind.__name__ for kind, opening in IMPLEMENTATIONS.items() if opening])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """A function that closes the store, if it is open, and opens it again on the same data."""
    opened: list[Store] = []

    def again() -> Store:
        if opened:
            opened.pop().close()
        opened.append(request.param(tmp_path / "history"))
        return opened[-1]

    yield again
    for store in opened:
        store.close()


@pytest.fixture
def store(reopen: Open) -> Store:
    return reopen()
