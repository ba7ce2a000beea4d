"""The keeper of the site: how a picture that was sent is mended by what comes late."""

import math
from typing import Any

import pytest

from tests.state.scene import T0, Run, at, tokens_of
from tests.state.site_scene import GRID, PARTITIONS, SITE, Change, Desk, ticks_of, value
from twin.state.outputs import Done
from twin.state.site import KEEP_TICKS


@pytest.fixture
def desk(readings, run) -> Desk:
    return Desk(readings, run)


def test_a_late_part_mends_the_sums_at_once_when_nothing_is_missing_then(desk):
    whole = Desk(desk.readings, desk.run).whole(0, 0.0)[0]
    desk.units(0, 0.0)
    desk.racks(0, 0.0, without=[3])
    (first,) = desk.tick(1.0)
    (again,) = desk.send("twin.rack", 3, 0, 1.2)
    assert again.head == first.head
    assert again.done == (("twin.rack", "3", 0),)
    assert value(first, "site", "gpu_measured_n") == 4096 - 512
    assert again.data == whole.data
    assert desk.tick(5.0) == []


def test_other_late_parts_go_out_together_no_more_often_than_once_a_second(desk):
    desk.units(0, 0.0)
    desk.racks(0, 0.0, without=[3, 4, 5, 6])
    desk.tick(1.0)
    assert desk.send("twin.rack", 3, 0, 1.2) == desk.tick(1.3) == []
    assert desk.send("twin.rack", 4, 0, 1.9) == desk.tick(1.999) == []
    (again,) = desk.tick(2.0)
    assert value(again, "site", "gpu_measured_n") == 4096 - 2 * 512
    assert again.done == (("twin.rack", "3", 0), ("twin.rack", "4", 0))
    assert desk.send("twin.rack", 5, 0, 2.1) == desk.tick(2.2) == []
    assert len(desk.send("twin.rack", 6, 0, 2.3)) == 1  # it is whole


def _first_racks(n: int) -> Change:
    """Keep the first racks of a part, as if an array were missing in it."""

    def change(data: dict[str, Any]) -> None:
        data["rack"] = {name: column[:n] for name, column in data["rack"].items()}

    return change


def _last_racks(n: int) -> Change:
    def change(data: dict[str, Any]) -> None:
        data["rack"] = {name: column[-n:] for name, column in data["rack"].items()}

    return change


def test_late_arrays_go_out_together_though_each_partition_has_spoken(desk):
    desk.units(0, 0.0)
    racks_n = SITE.layout.rack_count // len(PARTITIONS)
    for number in PARTITIONS:
        outs = desk.send("twin.rack", number, 0, 0.0, change=_first_racks(racks_n - 2))
    assert ticks_of(outs) == [0]
    late = [out for n in PARTITIONS[:-1] for out in desk.send("twin.rack", n, 0, 0.1, change=_last_racks(2), mark=n)]
    assert late == desk.tick(0.2) == []
    (again,) = desk.tick(1.0)
    assert again.done == tuple(PARTITIONS[:-1])
    (whole,) = desk.send("twin.rack", PARTITIONS[-1], 0, 1.1, change=_last_racks(2))
    assert value(whole, "site", "it_power_w") == pytest.approx(value(desk.whole(1, 2.0)[-1], "site", "it_power_w"))


def test_parts_of_stale_arrays_go_out_together(desk):
    desk.whole(0, 0.0)
    for tick in range(1, 13):
        desk.units(tick, tick)
        desk.racks(tick, tick, without=[1, 2, 3, 4])
        desk.tick(tick + 1.0)
    outs = [out for number in (1, 2, 3) for out in desk.send("twin.rack", number, 12, 13.5)]
    assert ticks_of(outs + desk.tick(13.6)) == []
    assert ticks_of(desk.tick(14.0)) == [12]


def test_a_clock_that_is_set_back_holds_nothing_up(desk):
    desk.units(0, 0.0)
    desk.racks(0, 0.0, without=[3, 4])
    desk.tick(1000.0)
    desk.send("twin.rack", 3, 0, 1000.1)
    assert ticks_of(desk.tick(0.0)) == [0]


def test_in_lock_step_late_parts_go_out_with_the_next_beat(readings):
    run = Run(lock_step=True)
    run.say(T0)
    desk = Desk(readings, run)
    desk.units(0, 0.0)
    desk.racks(0, 0.0, without=[3, 4])
    before = Run(lock_step=True)
    run.owner.jump(-1, at(0.1))
    run.say(at(0.1))
    assert ticks_of(desk.tick(60.0)) == [0]
    assert desk.send("twin.rack", 3, 0, 60.0, by=before) == []
    assert ticks_of(desk.tick(60.0)) == [0]


def test_a_part_that_says_nothing_new_is_acknowledged(desk):
    desk.whole(0, 0.0)
    assert desk.send("twin.rack", 3, 0, 1.0) == [Done((("twin.rack", "3", 0),))]


def test_a_late_unit_mends_the_picture(desk):
    desk.racks(0, 0.0)
    desk.units(0, 0.0, without=[GRID])
    (first,) = desk.tick(1.0)
    (again,) = desk.send(GRID, "power-1", 0, 1.1)
    assert math.isnan(value(first, "site", "it_power_w"))
    assert value(again, "site", "it_power_w") > 1e6


def test_a_duplicate_of_a_unit_is_dropped(desk):
    desk.send(GRID, "power-1", 0, 0.0)
    assert desk.send(GRID, "power-1", 0, 0.0, mark="again") == []  # until its tick is out
    (out,) = desk.units(0, 0.0, without=[GRID]) + desk.racks(0, 0.0)
    assert {("twin.rack", "0", 0), (GRID, "power-1", 0), "again"} <= set(out.done)
    assert desk.send(GRID, "power-1", 0, 0.1, mark="third") == [Done(("third",))]
    assert desk.keeper.intake[GRID].duplicates == 2


def test_a_tick_in_lock_step_of_an_epoch_that_is_over_does_not_wait_for_ever(readings):
    run = Run(lock_step=True)
    desk = Desk(readings, run)
    run.say(at(0), 0)
    desk.units(0, 0.0)
    desk.racks(0, 0.0, without=[5])
    desk.run.owner.jump(-1, at(0))
    desk.run.say(at(0))
    assert desk.tick(0.9) == []
    assert ticks_of(desk.tick(1.0)) == [0]


def test_what_is_too_old_to_be_mended_is_acknowledged(desk):
    desk.send("twin.rack", 0, KEEP_TICKS, KEEP_TICKS)
    assert desk.send("twin.rack", 1, 0, KEEP_TICKS) == [Done((("twin.rack", "1", 0),))]
    assert desk.keeper.intake["twin.rack"].late == 1


def test_a_mended_tick_is_not_forgotten_before_it_was_sent_again(desk):
    desk.units(0, 0.0)
    desk.racks(0, 0.0, without=[3, 4])
    outs = desk.tick(1.0)
    outs += desk.send("twin.rack", 3, 0, 1.2)  # waits for the beat
    for tick in range(1, KEEP_TICKS + 2):
        outs += desk.send("telemetry.network", "H1", tick, KEEP_TICKS)
    assert ("twin.rack", "3", 0) not in tokens_of(outs)
    assert ("twin.rack", "3", 0) in tokens_of(desk.tick(KEEP_TICKS + 1))
