"""A house whose workers are driven by hand."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.whole.house import House
from twin.agents import follower


@pytest.fixture
async def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    monkeypatch.setattr(follower, "POLL_S", 0.02)  # how long a stop may have to wait
    house = House(tmp_path)
    yield house
    await house.close()
