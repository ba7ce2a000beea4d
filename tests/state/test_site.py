"""The keeper of the site: when a tick goes out, who is stale, and what is refused."""

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.state.scene import NEW, OLD, RUN, T0, Run, at, tokens_of
from tests.state.site_scene import (
    ALL,
    GRID,
    PARTITIONS,
    UNITS,
    Desk,
    read,
    set_column,
    ticks_of,
    value,
)
from twin.bus.base import Record
from twin.events.derived import TWIN_RACK
from twin.events.head import encode
from twin.run import RunView
from twin.state.outputs import Done, Output, Send
from twin.state.site import FAMILIES


@pytest.fixture
def desk(readings, run) -> Desk:
    return Desk(readings, run)


# --- when a tick goes out


def test_a_complete_tick_is_sent_once(desk):
    outs = desk.units(0, 0.0) + desk.racks(0, 0.1, without=[7])
    assert outs == []
    (out,) = desk.send("twin.rack", 7, 0, 0.1)
    assert (out.head.schema_id, out.head.key, out.head.tick, out.head.seq) == ("twin.site/1", "mini", 0, 0)
    assert len(out.done) == len(set(out.done)) == ALL
    assert desk.tick(9.0) == []


def test_the_order_of_arrival_does_not_matter(desk):
    assert desk.racks(0, 0.0) == []
    assert ticks_of(desk.units(0, 0.1)) == [0]


def test_ticks_go_out_in_order(desk):
    assert desk.units(0, 0.0) + desk.racks(0, 0.0, without=[2]) == []
    assert desk.units(1, 0.5) + desk.racks(1, 0.5, without=[2]) == []
    assert ticks_of(desk.send("twin.rack", 2, 0, 0.6)) == [0]
    assert ticks_of(desk.send("twin.rack", 2, 1, 0.7)) == [1]


@pytest.mark.parametrize("late", [("twin.rack", 2), (GRID, "power-1")])
def test_what_is_past_a_tick_is_not_waited_for_there(desk, late):
    topic, key = late
    desk.units(0, 0.0, without=[topic])
    desk.racks(0, 0.0, without=[key])
    desk.units(1, 0.1, without=[topic])
    desk.racks(1, 0.1, without=[key])
    outs = desk.send(topic, key, 1, 0.2)
    assert ticks_of(outs) == [0, 1]
    assert ticks_of(desk.send(topic, key, 0, 0.3)) == [0]  # it was late, and mends the tick


def test_an_earlier_tick_that_begins_later_goes_out_first(desk):
    desk.racks(2, 0.0)
    desk.racks(1, 0.1)
    assert desk.units(2, 0.2, without=[GRID]) == []
    assert desk.units(1, 0.3, without=[GRID]) == []
    assert ticks_of(desk.send(GRID, "power-1", 2, 0.4)) == [1, 2]


@pytest.mark.parametrize("missing", ["partition", "unit"])
def test_a_tick_waits_a_second_from_its_first_racks_for_what_is_missing(desk, missing):
    desk.racks(0, 0.5, without=[3] if missing == "partition" else [])
    desk.units(0, 0.6, without=[GRID] if missing == "unit" else [])
    assert desk.tick(1.499) == []
    assert ticks_of(desk.tick(1.5)) == [0]


def test_a_tick_is_not_late_while_what_is_missing_may_lie_unread_here(desk):
    desk.units(0, 0.0)
    desk.racks(0, 0.0, without=[3])
    assert desk.tick(29.0, queue_empty=False) == []
    assert ticks_of(desk.send("twin.rack", 3, 0, 29.1)) == [0]
    desk.units(1, 31.0)
    assert desk.tick(60.0, queue_empty=False) == []
    assert ticks_of(desk.tick(60.0, queue_empty=True)) == [1]
    desk.units(2, 61.0)
    assert ticks_of(desk.tick(91.0, queue_empty=False)) == [2]  # who never reads everything must speak all the same


def test_a_tick_without_any_racks_waits_three_seconds(desk):
    desk.units(0, 0.5)
    assert desk.tick(3.499) == []
    (out,) = desk.tick(3.5)
    assert value(out, "site", "gpu_measured_n") == 0
    assert value(out, "close", "stale_n") == 0


def test_in_lock_step_a_tick_goes_out_when_control_has_passed_it_and_the_rows_have_spoken(readings):
    run = Run(lock_step=True)
    run.say(T0)
    desk = Desk(readings, run)
    desk.units(0, 0.0, without=[GRID])
    desk.racks(0, 0.0, without=[5])
    assert desk.tick(60.0, queue_empty=True) == []  # not sent yet, for all that is known here
    run.say(at(0.0), 0)
    assert desk.tick(60.0, queue_empty=True) == []  # the rows have not made all of it
    assert desk.send("twin.rack", 5, 0, 0.1) == []
    assert desk.tick(60.0, queue_empty=False) == []
    assert ticks_of(desk.tick(0.2, queue_empty=True)) == [0]


def test_in_lock_step_what_is_left_of_an_epoch_before_goes_out(readings):
    run = Run(lock_step=True)
    run.say(T0)
    desk = Desk(readings, run)
    desk.racks(0, 0.0)
    desk.units(0, 0.0, without=[GRID])
    run.say(at(0.0), 0)
    run.owner.jump(-1, at(0.1))
    run.say(at(0.1))
    assert ticks_of(desk.tick(0.1, queue_empty=True)) == [0]


# --- staleness


def silent(desk: Desk, last: int, start: int = 0) -> list[Output]:
    """Let the array of partition 2 be silent after tick ``start``; return what the last tick gave."""
    outs: list[Output] = []
    for tick in range(start, last + 1):
        outs = desk.units(tick, tick) + desk.racks(tick, tick, without=[2] if tick > start else [])
        outs += desk.tick(tick + 1.0)
    return outs


def test_an_array_is_stale_when_it_is_ten_seconds_behind_the_median(desk):
    (out,) = silent(desk, 10)
    assert value(out, "close", "stale_n") == 0
    (out,) = desk.units(11, 11.0) + desk.racks(11, 11.0, without=[2]) + desk.tick(11.1)  # and it is not waited for
    assert value(out, "close", "stale_n") == 1
    assert value(out, "close", "array_n") == 8
    assert read(out).dense["hall"]["stale_n"].tolist() == [0, 1, 0, 0]
    assert value(out, "run", "age_max_s") == 11.0
    # It comes back.
    outs = desk.units(12, 12.0) + desk.racks(12, 12.0)
    assert [value(out, "close", "stale_n") for out in outs if isinstance(out, Send)][-1] == 0


def test_nothing_is_stale_while_it_lies_unread_here(desk):
    desk.whole(0, 0.0)
    outs = desk.tick(0.1)
    piled_up = range(1, 31)
    for topic, key in UNITS:
        for tick in piled_up:
            outs += desk.send(topic, key, tick, 30.0)
    for number in PARTITIONS:
        for tick in piled_up:
            outs += desk.send("twin.rack", number, tick, 30.0) + desk.tick(30.0, queue_empty=False)
    assert ticks_of(outs) == list(piled_up)
    assert {(value(out, "close", "stale_n"), value(out, "run", "age_max_s")) for out in outs} == {(0, 0)}


def test_arrays_that_were_never_there_are_stale_after_ten_seconds_even_when_they_are_most(desk):
    absent = [0, 1, 2, 3, 4]
    for tick in range(11):
        (out, *_) = desk.units(tick, tick) + desk.racks(tick, tick, without=absent) + desk.tick(tick + 1.0)
        assert value(out, "close", "stale_n") == (len(absent) if tick > 9 else 0)
        assert value(out, "run", "age_max_s") == tick + 1


def test_if_no_array_was_ever_there_all_are_stale_after_ten_seconds(desk):
    for tick in range(12):
        (out, *_) = desk.units(tick, tick) + desk.tick(tick + 3.0)
        assert value(out, "close", "stale_n") == (8 if tick > 9 else 0)


def test_a_partition_that_is_empty_and_said_so_is_not_waited_for(desk):
    def no_rows(data):
        for group in list(data):
            if group != "close":
                del data[group]

    desk.units(0, 0.0)
    desk.racks(0, 0.0, without=[2])
    (out,) = desk.send("twin.rack", 2, 0, 0.1, change=no_rows)
    assert value(out, "site", "gpu_measured_n") == 4096 - 512


def test_if_all_stand_still_nothing_is_stale(desk):
    desk.whole(0, 0.0)
    desk.units(60, 60.0)
    (out,) = desk.tick(63.0)
    assert value(out, "close", "stale_n") == 0


def _new_epoch(desk: Desk, *, continues: bool) -> None:
    silent(desk, 12)
    desk.run.say(at(12), 12)
    if continues:
        desk.run.owner.set_speed(1.0, at(13))
    else:
        desk.run.owner.jump(12, at(13))
    desk.run.say(at(13))


def test_an_epoch_that_continues_knows_what_is_stale(desk):
    _new_epoch(desk, continues=True)
    (out,) = desk.units(13, 14.0) + desk.racks(13, 14.0, without=[2])
    assert (out.head.epoch, value(out, "close", "stale_n")) == (1, 1)


def test_a_reader_a_long_way_behind_knows_the_water_of_the_day_too(desk):
    for tick in range(12):
        desk.whole(tick, tick)
    desk.run.say(at(12), 11)
    desk.run.owner.set_speed(2.0, at(12))
    desk.run.say(at(13), 12)
    desk.run.owner.set_speed(1.0, at(13))  # the epoch after it holds already
    desk.run.say(at(13.1))
    (out,) = desk.whole(12, 14.0, epoch=1, ts=at(12))
    assert value(out, "site", "ramp_max_w_s") == 0.0
    (again,) = desk.whole(13, 14.0, epoch=2, ts=at(13))
    assert value(again, "site", "ramp_max_w_s") == 0.0


def test_an_epoch_without_a_frame_breaks_nothing(desk):
    for tick in range(3):
        desk.whole(tick, tick)
    desk.run.say(at(3), 2)
    desk.run.owner.pause()
    desk.run.say(at(3))
    desk.run.owner.set_speed(2.0, at(4))  # an epoch of a run that stands
    desk.run.say(at(4))
    desk.run.owner.resume(at(5))
    desk.run.say(at(5))
    (out,) = desk.whole(3, 5.1)
    assert (out.head.epoch, value(out, "site", "ramp_max_w_s")) == (2, 0.0)


def test_the_last_tick_of_an_epoch_goes_out_before_the_first_of_the_one_that_continues_it(desk):
    for tick in range(3):
        desk.whole(tick, tick)
    desk.units(3, 3.0)
    desk.run.say(at(3), 3)
    desk.run.owner.set_speed(2.0, at(3))
    desk.run.say(at(3))
    assert ticks_of(desk.whole(4, 3.2)) == []
    assert ticks_of(desk.racks(3, 3.3, epoch=0, ts=at(3))) == [3]
    (out, *_) = desk.tick(3.4)
    assert (out.head.epoch, out.head.tick, value(out, "site", "ramp_max_w_s")) == (1, 4, 0.0)


def test_an_epoch_that_continues_does_not_wait_for_a_plant_that_is_silent(desk):
    for tick in range(12):
        desk.units(tick, tick, without=[GRID] if tick else [])
        desk.racks(tick, tick)
        desk.tick(tick + 1.0)
    desk.run.say(at(12), 11)
    desk.run.owner.set_speed(1.0, at(13))
    desk.run.say(at(13))
    assert ticks_of(desk.racks(12, 14.0) + desk.units(12, 14.0, without=[GRID])) == [12]


def test_a_rebuilt_plant_does_some_ticks_again(desk):
    for tick in range(30):
        desk.whole(tick, tick)
    desk.run.owner.tick = 19  # the crashed owner's snapshot and commands lead to here
    desk.run.owner.set_speed(1.0, at(30))
    desk.run.say(at(30))
    for tick in range(20, 31):
        (out, *_) = desk.units(tick, tick + 10) + desk.racks(tick, tick + 10, without=[2]) + desk.tick(tick + 11.0)
        assert (out.head.epoch, out.head.tick) == (1, tick)
        assert value(out, "close", "stale_n") == (1 if tick > 29 else 0)
        assert value(out, "run", "age_max_s") == tick - 19


def test_an_epoch_that_does_not_continue_begins_anew(desk):
    _new_epoch(desk, continues=False)
    assert desk.units(13, 14.0) + desk.racks(13, 14.0, without=[2]) == []
    (out,) = desk.tick(15.0)
    assert value(out, "close", "stale_n") == 0


# --- runs


def test_a_newer_run_waits_for_its_control(desk):
    later = Run(NEW, view=desk.run.view)
    assert desk.whole(0, 1.0, by=later) == []
    assert desk.tick(2.9) == []
    later.say(at(2.95))
    (out,) = desk.tick(2.95)
    assert (out.head.run, len(out.done)) == (NEW, ALL)


def test_a_newer_run_without_control_is_left_to_history(desk):
    later = Run(NEW, view=desk.run.view)
    desk.send(GRID, "power-1", 0, 1.0, by=later)
    assert desk.tick(2.999) == []
    assert desk.tick(3.0) == [Done(((GRID, "power-1", 0),))]
    assert desk.keeper.intake[GRID].other_run == 1


def test_a_foreign_run_is_left_to_history(desk):
    desk.units(0, 0.0)
    assert desk.send("twin.rack", 0, 0, 0.0, by=Run(OLD)) == [Done((("twin.rack", "0", 0),))]
    assert desk.keeper.intake["twin.rack"].other_run == 1
    assert ticks_of(desk.racks(0, 0.1)) == [0]


def test_an_epoch_that_held_before_is_finished(desk):
    desk.units(0, 0.0)
    before = Run(RUN, view=RunView())
    desk.run.owner.did_tick()
    desk.run.owner.set_speed(1.0, at(0.5))
    desk.run.say(at(0.5))
    (out,) = desk.racks(0, 0.6, by=before)
    assert out.head.epoch == 0


# --- bad input

RACK = ("twin.rack", 0)
BAD: dict[str, tuple[tuple[str, Any], Any, dict[str, Any]]] = {
    "another schema": (RACK, None, {"schema_id": "twin.site/1"}),
    "another major": ((GRID, "power-1"), None, {"schema_id": "telemetry.grid/2"}),
    "unknown key": ((GRID, "power-1"), None, {"key": "power-9"}),
    "a tick that cannot be": (RACK, None, {"tick": 10_000}),
    "no close": (RACK, lambda data: data.pop("close"), {}),
    "rack beyond": (RACK, lambda data: data["rack"]["rack_i"].__setitem__(0, 64), {}),
    "rack negative": (RACK, lambda data: data["rack"]["rack_i"].__setitem__(0, -1), {}),
    "a column too short": (RACK, lambda data: data["rack"]["power_w"].pop(), {}),
    "a column missing": (RACK, lambda data: data["hall"].pop("busy_n"), {}),
    "a count unknown": (RACK, lambda data: data["hall"].__setitem__("busy_n", [None]), {}),
    "a bin beyond": (RACK, lambda data: data["temp_hist"]["bin"].__setitem__(0, 240), {}),
    "partition beyond": (RACK, lambda data: data["close"].__setitem__("partition", [24]), {}),
    "too few feeds": ((GRID, "power-1"), lambda data: data["feed"]["power_w"].pop(), {}),
    "huge": ((GRID, "power-1"), set_column("feed", "power_w", 1e300), {}),
    "text": ((GRID, "power-1"), set_column("feed", "power_w", "much"), {}),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_messages_are_counted_and_change_nothing(desk, name):
    """Their letter is written by ``history``, which reads the same topics: one letter, not two."""
    (topic, key), change, head = BAD[name]
    clean = Desk(desk.readings, desk.run).whole(0, 0.0)[0]
    data = orjson.loads(desk.readings[topic, str(key)])
    if change is not None:
        change(data)
    made = desk.run.head(TWIN_RACK if topic == "twin.rack" else FAMILIES[topic], str(key), 0).model_copy(update=head)
    record = Record(topic, 0, 0, T0, b"", encode(made, orjson.dumps(data)))
    assert desk.keeper.take(record, "bad", at(0)) == [Done(("bad",))]
    assert desk.keeper.intake[topic].dead == 1
    assert desk.whole(0, 0.0)[0].data == clean.data


@pytest.mark.parametrize("raw", [None, b"", b"{", b"[]", b'{"head":{},"data":{}}'])
def test_bytes_that_are_no_message(desk, raw):
    assert desk.keeper.take(Record(GRID, 0, 0, T0, b"", raw), "bad", T0) == [Done(("bad",))]
    assert desk.keeper.intake[GRID].dead == 1


# --- every token once


@settings(max_examples=40)
@given(data=st.data())
def test_every_token_comes_out_once(readings, data):
    run = Run()
    desk = Desk(readings, run)
    foreign = {OLD: Run(OLD), NEW: Run(NEW)}
    sent: list[int] = []
    outs: list[Output] = []
    now = 0.0
    steps = st.sampled_from(["message"] * 12 + ["pass", "control", "speed", "jump", "foreign", "broken", "whole"])
    for token in range(data.draw(st.integers(5, 50))):
        action = data.draw(steps)
        if action == "pass":
            now += data.draw(st.sampled_from([0.1, 1.0, 3.0]))
            outs += desk.tick(now, queue_empty=data.draw(st.booleans()))
        elif action == "control":
            now += 1.0
            run.say(at(now), run.owner.tick + 1)
        elif action == "speed":
            run.owner.set_speed(1.0, at(now))
        elif action == "jump":
            run.owner.jump(data.draw(st.integers(-1, run.owner.tick)), at(now))
        elif action == "broken":
            sent.append(token)
            outs += desk.keeper.take(Record(GRID, 0, 0, T0, b"", b"{"), token, at(now))
        elif action == "whole":
            outs += desk.whole(max(run.owner.tick, 0), now)
        else:
            by = foreign[data.draw(st.sampled_from([OLD, NEW]))] if action == "foreign" else run
            tick = max(0, run.owner.tick + data.draw(st.sampled_from([-2, -1, 0, 1, 2, 30])))
            topic, key = data.draw(st.sampled_from([*UNITS, *(("twin.rack", number) for number in PARTITIONS)]))
            sent.append(token)
            outs += desk.send(topic, key, tick, now, mark=token, by=by)
    run.say(at(now))
    for later in (0.5, 3.0, 6.0, 10.0):
        outs += desk.tick(now + later)
    assert sorted(token for token in tokens_of(outs) if isinstance(token, int)) == sent
