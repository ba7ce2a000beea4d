"""One site, and plants of it in a state that a test may change."""

import pytest

from twin.plant import Plant, build, restore, snapshot, step
from twin.site import load_site

HOT = "08-21T14:00"
MILD = "05-20T10:00"


@pytest.fixture(scope="session")
def mini():
    return load_site("mini")


@pytest.fixture(scope="session")
def _hot_bytes(mini):
    return snapshot(build(mini, 7, HOT, automatic_operator=False))


@pytest.fixture(scope="session")
def _mild_bytes(mini):
    return snapshot(build(mini, 7, MILD, automatic_operator=False))


@pytest.fixture
def hot(_hot_bytes) -> Plant:
    """A plant on a hot afternoon, chillers running, operator off."""
    return restore(_hot_bytes)


@pytest.fixture
def mild(_mild_bytes) -> Plant:
    """A plant on a mild morning, chillers standing by, operator off."""
    return restore(_mild_bytes)


@pytest.fixture
def run():
    """Advance a plant by so many ticks of one second."""

    def run_(plant, seconds, dt_s=1.0):
        for _ in range(round(seconds / dt_s)):
            step(plant, dt_s)

    return run_
