"""Jumps of one run: back, paused, faster, round and round; each tick is the same again, display time goes on."""

import json
from typing import Any

import numpy as np

from tests.whole.house import House
from twin.events.head import split
from twin.run.line import AHEAD_MS

# What a jump does not bring back: ages, and what needs the ticks before.
NOT_COMPARED = {"ramp_max_w_s", "ramp_min_w_s", "water_today_l", "heat_balance_ratio", "water_balance_ratio"}


def pictures(house: House) -> dict[tuple[int, int], dict[str, Any]]:
    """(epoch, tick) -> site and halls of ``twin.site``."""
    out = {}
    for record in house.of("twin.site"):
        head, data = split(record.value)
        loaded = json.loads(data)
        site = {name: value for name, value in loaded["site"].items() if name not in NOT_COMPARED}
        out[head.epoch, head.tick] = {"site": site, "hall": loaded["hall"], "hist": loaded["gpu_hist"]}
    return out


def rows(house: House, topic: str) -> dict[tuple[int, int, str], bytes]:
    """(epoch, tick, key) -> data of a topic, byte for byte."""
    out = {}
    for record in house.of(topic):
        head, data = split(record.value)
        out[head.epoch, head.tick, head.key] = data
    return out


async def test_every_pass_is_the_same(house: House) -> None:
    for kind in ("rows", "site"):
        await house.hire(kind)
    loop = house.begin(lock_step=True)
    await house.run(330)
    first = loop.owner.tick
    assert first == 329

    await house.ask("seek", tick=29)  # five minutes back
    assert (loop.owner.epoch, loop.owner.continues, loop.owner.tick) == (1, False, 29)
    await house.run(30)
    await house.ask("pause")
    house.clock.ms += 60_000
    loop.turn()
    await house.settled()
    assert loop.owner.tick == 59
    await house.ask("resume")
    await house.ask("speed", speed=10.0)
    await house.run(30)
    await house.ask("loop", a=59, b=89, times=3)
    before = len(house.of("twin.site"))
    while loop.owner.epoch < 6 or loop.owner.tick < 100:
        await house.run(1)
    assert len(house.of("twin.site")) - before > 3 * 30
    continues = {c.epoch: c.continues for c in map(house.control_of, house.of("run.control"))}
    assert continues == {0: False, 1: False, 2: True, 3: True, 4: False, 5: False, 6: False}

    got = pictures(house)
    again = [(epoch, tick) for epoch, tick in got if epoch > 0]
    assert len({tick for _, tick in again}) >= 70
    assert {epoch for epoch, _ in again} == {1, 3, 4, 5, 6}  # 2, between resume and speed, had no tick
    for epoch, tick in again:
        assert got[epoch, tick] == got[0, tick], f"epoch {epoch} tick {tick}"
    for topic in ("telemetry.gpu", "telemetry.grid", "telemetry.chillers", "twin.rack"):
        all_rows = rows(house, topic)
        for (epoch, tick, key), data in all_rows.items():
            assert data == all_rows[0, tick, key], f"{topic} epoch {epoch} tick {tick} {key}"

    jobs = {key: table for key, data in rows(house, "telemetry.jobs").items() if (table := json.loads(data))["full"]}
    same = [(epoch, tick) for epoch, tick, key in jobs if epoch > 0 and (0, tick, key) in jobs]
    assert len(same) >= 10
    for epoch, tick in same:
        assert jobs[epoch, tick, "scheduler-1"] == jobs[0, tick, "scheduler-1"], f"jobs epoch {epoch} tick {tick}"

    check_display_time(house)


async def test_history_keeps_every_pass(house: House) -> None:
    for kind in ("rows", "site", "history"):
        await house.hire(kind)
    loop = house.begin(lock_step=True)
    await house.run(12)
    await house.ask("backtrack", tick=4)
    await house.run(5)
    assert (loop.owner.epoch, loop.owner.tick) == (1, 9)
    assert house.store.stored("rack", loop.owner.run) == house.rack_rows_sent(loop.owner.run) == 17 * 64
    assert house.store.stored("site", loop.owner.run) == 17


def check_display_time(house: House) -> None:
    """``ts`` of the ticks is strictly monotone, and never ahead of the wall clock by more than allowed."""
    seen: dict[tuple[int, int], int] = {}
    for record in house.of("telemetry.grid"):
        head, _ = split(record.value)
        seen[head.epoch, head.tick] = head.ts
    ts = np.array(list(seen.values()))
    assert (np.diff(ts) > 0).all()
    assert house.ahead_max_ms <= AHEAD_MS


async def test_a_jump_to_what_has_not_been_is_refused_and_the_run_goes_on(house: House) -> None:
    loop = house.begin(lock_step=True)
    await house.run(3)
    answer = await house.ask("seek", tick=99)
    assert answer.error is not None
    assert "0..2" in answer.error
    for verb, params, why in (
        ("speed", {"speed": "fast"}, "number"),
        ("speed", {"speed": -1}, "allowed"),
        ("step", {"ticks": 1}, "running"),
        ("loop", {"a": 5, "b": 2, "times": 1}, "allowed"),
        ("start", {}, "under way"),
        ("takeover", {}, "replay"),
    ):
        answer = await house.ask(verb, **params)
        assert why in (answer.error or ""), verb
    await house.run(2)
    assert (loop.owner.tick, loop.owner.epoch) == (4, 0)


async def test_single_steps_while_it_stands(house: House) -> None:
    for kind in ("rows", "site", "history"):
        await house.hire(kind)
    loop = house.begin(lock_step=True)
    await house.run(2)
    await house.ask("freeze")
    await house.ask("step", ticks=3)
    for _ in range(20):
        await house.settled()
        loop.turn()
        house.clock.ms += 1
    await house.settled()
    assert (loop.owner.tick, loop.owner.state) == (4, "frozen")
    assert house.twin_hall_power_w() == house.sent_hall_power_w()
    assert house.store.stored("rack", loop.owner.run) == 5 * 64
