"""Three rows and two history workers, through a crash, a join, a store that is away, a new epoch and a new run."""

import json

from tests.whole.house import House
from twin.errors import StoreUnavailable
from twin.events.head import split


async def test_nothing_is_lost_or_counted_twice(house: House) -> None:
    rows = [await house.hire("rows") for _ in range(3)]
    await house.hire("site")
    histories = [await house.hire("history") for _ in range(2)]
    first = house.begin(lock_step=False)

    await house.run(5, settle=False)
    await house.kill(rows[0])  # its partitions are silent until it is expelled after ten seconds
    await house.run(6, settle=False)
    await house.hire("rows", meanwhile=True)
    await house.run(14, settle=False)

    house.store.away = StoreUnavailable("the store is away")
    await house.run(20, settle=False)
    await house.dismiss(histories[0])  # while it waits for the store
    await house.run(40, settle=False)
    house.store.away = None

    await house.ask("speed", speed=2.0)
    await house.run(10, settle=False)
    assert first.owner.epoch == 1
    await house.ask("end")
    first.close()
    second = house.begin(lock_step=False, seed=8, nonce=2)
    await house.run(10, settle=False)
    await house.settled()

    sent = house.sent_hall_power_w()
    assert len(sent) >= 5 + 6 + 14 + 20 + 40 + 10 + 10
    assert {(run, epoch) for run, epoch, _ in sent} == {
        (first.owner.run, 0),
        (first.owner.run, 1),
        (second.owner.run, 0),
    }
    assert house.twin_hall_power_w() == sent
    for loop in (first, second):
        run = loop.owner.run
        assert house.store.stored("rack", run) == house.rack_rows_sent(run)
    assert set(map(tuple, house.twin_hall_power_w("stale_n").values())) == {(0, 0, 0, 0)}
    assert not house.of("dead.letter")


async def test_no_worker_speaks_of_rows_that_it_does_not_own(house: House) -> None:
    workers = [await house.hire("rows") for _ in range(3)]
    await house.hire("site")
    house.begin(lock_step=False)
    await house.run(30, settle=False)
    await house.settled()
    owned = [{tp.partition for tp in worker.app.consumer.assignment()} for worker in workers]
    assert sorted(partition for part in owned for partition in part) == list(range(24))
    # One worker's partitions fall silent: the others close theirs without waiting, and report no age.
    for record in house.of("twin.rack"):
        close = json.loads(split(record.value)[1])["close"]
        assert close["partition"] == [record.partition]
    gauges = [json.loads(split(record.value)[1]) for record in house.of("twin.health")]
    assert all(part["age_max_s"] <= 1 for gauge in gauges for part in gauge["ingest"])
