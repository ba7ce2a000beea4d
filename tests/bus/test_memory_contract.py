import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import twin.bus
from tests.bus.contract import IMPLEMENTATIONS, BusContract, Harness, known_implementations
from twin.bus.base import Member
from twin.bus.memory import MemoryBus, MemoryMember

ROOT = Path(__file__).parents[2]


class MemoryHarness(Harness):
    poll_s = 0.0
    patience = 50

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.bus = MemoryBus("contract", clock=lambda: self.now_s)

    def crash(self, member: Member) -> None:
        assert isinstance(member, MemoryMember)
        member.drop()

    def pass_time(self) -> None:
        self.now_s += 1.0


class TestMemoryBus(BusContract):
    @pytest.fixture
    def harness(self) -> Iterator[Harness]:
        harness = MemoryHarness()
        yield harness
        harness.bus.close()


def test_every_implementation_runs_the_contract() -> None:
    for module in pkgutil.iter_modules(twin.bus.__path__, "twin.bus."):
        importlib.import_module(module.name)
    assert known_implementations() == IMPLEMENTATIONS.keys()
    for name, test_module in IMPLEMENTATIONS.items():
        assert f"class Test{name}(BusContract)" in (ROOT / test_module).read_text()
