"""The whole twin in lock step."""

from tests.whole.house import House


async def test_every_tick_is_complete_and_stored(house: House) -> None:
    for kind in ("rows", "site", "history"):
        await house.hire(kind)
    loop = house.begin(lock_step=True)
    await house.run(12)
    sent = house.sent_hall_power_w()
    assert len(sent) == 12
    assert house.twin_hall_power_w() == sent
    assert house.store.stored("rack", loop.owner.run) == house.rack_rows_sent(loop.owner.run) == 12 * 64
    assert house.store.written == 12 * 64
    assert house.store.stored("site", loop.owner.run) == 12
    assert not house.of("dead.letter")
