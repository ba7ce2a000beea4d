"""A fault of ours in the middle of a run: the worker ends and says so, and the next one reads again what it lost."""

import asyncio
from typing import Any

import pytest

from tests.whole.house import FlakyStore, House
from twin.embedded import Worker
from twin.errors import StartError
from twin.state.rows import RowKeeper
from twin.state.site import SiteKeeper

FAULTY: dict[str, tuple[type, str]] = {
    "rows": (RowKeeper, "take"),
    "site": (SiteKeeper, "take"),
    "history": (FlakyStore, "write"),
}


def fail_once(monkeypatch: pytest.MonkeyPatch, owner: type, name: str) -> None:
    real = getattr(owner, name)
    failed: list[bool] = []

    def faulty(self: Any, *args: Any) -> Any:
        if not failed:
            failed.append(True)
            raise KeyError("a fault of ours")
        return real(self, *args)

    monkeypatch.setattr(owner, name, faulty)


async def until_it_has_failed(worker: Worker) -> StartError:
    for _ in range(5000):
        try:
            worker.check()
        except StartError as exc:
            return exc
        await asyncio.sleep(0.001)
    raise AssertionError("it goes on")


@pytest.mark.parametrize("kind", FAULTY)
async def test_a_fault_ends_the_worker_and_loses_nothing(
    kind: str, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers = {name: await house.hire(name) for name in FAULTY}
    loop = house.begin(lock_step=False)
    await house.run(4, settle=False)
    faulty = workers[kind]
    house.workers.remove(faulty)
    fail_once(monkeypatch, *FAULTY[kind])
    await house.run(4, settle=False)
    failed = await until_it_has_failed(faulty)
    assert str(failed) == f"the app {faulty.context.worker} has failed"
    assert isinstance(failed.__cause__, KeyError)

    await house.run(4, settle=False)  # what comes now must not be acknowledged past what it lost
    await faulty.stop()
    await house.hire(kind)
    await house.run(4, settle=False)
    await house.settled()

    sent = house.sent_hall_power_w()
    assert len(sent) == loop.owner.tick + 1
    assert house.twin_hall_power_w() == sent
    assert house.store.stored("rack", loop.owner.run) == house.rack_rows_sent(loop.owner.run)
    assert house.store.stored("site", loop.owner.run) == len(sent)
