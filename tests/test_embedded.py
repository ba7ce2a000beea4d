"""How fast the plant of the one-process mode may go."""

from collections.abc import Iterator

import pytest

from twin.bus.memory import MemoryBus
from twin.embedded import PRESSURE_MAX, _Gate
from twin.events.control import Command
from twin.events.topics import Topic
from twin.run import RunOwner, RunPlan, new_run_id

NOW_MS = 1_800_000_000_000


@pytest.fixture
def bus() -> Iterator[MemoryBus]:
    bus = MemoryBus("gate")
    bus.create_topics([Topic("t", Command, 1, "any", "event", retention_bytes=100_000)])
    yield bus
    bus.close()


def owner_of(speed: float) -> RunOwner:
    owner = RunOwner(RunPlan("mini", "0", 7, 1.0, "07-15T14:00", speed=speed), "one")
    owner.begin(new_run_id("20270115T080000Z", 1), seen=None, now_ms=NOW_MS)
    return owner


@pytest.mark.parametrize(
    ("group", "speed", "waits"),
    [
        ("history", 1.0, False),  # a slow store stops no run that keeps pace
        ("history", 0.5, False),
        ("history", 10.0, True),
        ("history", 0.0, True),
        ("rows", 1.0, True),
        ("site", 0.5, True),
    ],
)
def test_who_is_waited_for(bus: MemoryBus, group: str, speed: float, waits: bool) -> None:
    member, gate, owner = bus.join(group, ["t"]), _Gate(bus, ""), owner_of(speed)
    while not member.assignment:
        member.poll()
    assert gate.open_for(owner)
    while bus.pressure({group}) < PRESSURE_MAX:
        bus.publish("t", b"x" * 9_900, key=b"k")
    assert gate.open_for(owner) is not waits
    while member.poll():
        pass
    assert gate.open_for(owner)
