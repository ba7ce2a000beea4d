"""What the store's tests share: a store of each kind, opened and closed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.store.implementations import IMPLEMENTATIONS, Open
from twin.store import Store


@pytest.fixture(params=list(IMPLEMENTATIONS), ids=lambda kind: kind.__name__)
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """A function that closes the store, if it is open, and opens it again on the same data."""
    opened: list[Store] = []

    def again() -> Store:
        if opened:
            opened.pop().close()
        opened.append(IMPLEMENTATIONS[request.param](tmp_path / "history"))
        return opened[-1]

    yield again
    for store in opened:
        store.close()


@pytest.fixture
def store(reopen: Open) -> Store:
    return reopen()
