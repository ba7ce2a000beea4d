"""The small site of these tests."""

import pytest

from tests.state.scene import T0, Gateways, Run, small_site
from tests.state.site_scene import plant_says
from twin.events.layout import FrameLayout
from twin.site import load_site


@pytest.fixture(scope="session")
def small(tmp_path_factory) -> FrameLayout:
    return FrameLayout(small_site(tmp_path_factory.mktemp("site")))


@pytest.fixture(scope="session")
def colossus1() -> FrameLayout:
    return FrameLayout(load_site("colossus1"))


@pytest.fixture
def gateways(small) -> Gateways:
    return Gateways(small)


@pytest.fixture
def run() -> Run:
    """A run at real time whose first control message has been heard."""
    run = Run()
    run.say(T0)
    return run


@pytest.fixture(scope="session")
def readings() -> dict[tuple[str, str], bytes]:
    return plant_says()
