"""The keeper of rows: when a tick closes, what is late, and what belongs to another run."""

from collections import Counter
from typing import Any

import numpy as np
import orjson
import pytest

from tests.state.row_scene import ARRAYS, Desk, control, next_epoch, same
from tests.state.scene import (
    NEW,
    OLD,
    RUN,
    T0,
    Run,
    at,
    close_of,
    rack_data,
    racks_of,
    tokens_of,
)
from twin.events.gpu import TELEMETRY_GPU
from twin.run import RunView
from twin.state.outputs import Done


@pytest.fixture
def desk(gateways, run) -> Desk:
    return Desk(gateways, run)


# --- closing


def test_a_tick_closes_at_once_when_all_arrays_have_reported(desk):
    assert desk.send(0, 0, 0.0) == desk.send(48, 0, 0.1) == []
    (out,) = desk.send(24, 0, 0.2)
    assert (out.topic, out.partition, out.head.key, out.head.tick, out.head.seq) == ("twin.rack", 0, "0", 0, 0)
    assert out.done == ((0, 0, 0), (48, 0, 0), (24, 0, 0))
    assert racks_of(out) == [0, 24, 48]  # in site order, however they came
    assert close_of(out) == {"partition": 0, "late": 0, "watermark": 0}


def test_a_tick_without_one_array_closes_half_a_second_after_its_first_frame(desk):
    desk.send(0, 0, 0.0)
    assert desk.send(24, 0, 0.4) == []
    assert desk.tick(0.499) == []
    (out,) = desk.tick(0.5)
    assert racks_of(out) == [0, 24]


def test_while_something_lies_unread_a_tick_is_not_closed_without_it(desk):
    desk.send(0, 0, 0.0)
    desk.send(24, 0, 0.0)
    assert desk.tick(5.0, queue_empty=False) == []
    (whole,) = desk.send(48, 0, 5.1)  # one message, and not one more for what came late
    assert racks_of(whole) == [0, 24, 48]


def test_of_what_has_piled_up_no_more_stays_open_than_an_array_needs_to_be_stale(desk):
    desk.send_all(0, 0.0)
    closed = {
        tick: [(out.head.tick, racks_of(out)) for array in ARRAYS[:2] for out in desk.send(array, tick, 20.0)]
        for tick in range(1, 31)
    }
    assert not any(closed[tick] for tick in range(1, 11))
    # The next tick says that A049 is stale: all that waited for it goes out.
    assert closed[11] == [(tick, [0, 24]) for tick in range(1, 12)]
    assert all(closed[tick] == [(tick, [0, 24])] for tick in range(12, 31))


def test_who_never_reads_everything_must_speak_all_the_same(desk):
    desk.send(0, 0, 0.0)
    assert desk.tick(29.999, queue_empty=False) == []
    assert [racks_of(out) for out in desk.tick(30.0, queue_empty=False)] == [[0]]


@pytest.mark.parametrize("silent", [ARRAYS[2:], ARRAYS[1:], ARRAYS], ids=["the last one", "two", "all"])
def test_who_was_silent_and_is_back_is_waited_for_again(desk, silent):
    desk.send_all(0, 0.0)
    for tick in range(1, 21):
        for array in ARRAYS:
            if array not in silent:
                desk.send(array, tick, tick)
        control(desk.run, tick, settled=tick)
        desk.tick(tick + 0.6)
    outs = {tick: desk.send_all(tick, tick) for tick in range(21, 25)}  # those who were silent come last
    assert [racks_of(out) for out in outs[24]] == [list(ARRAYS)]
    assert sum(len(of_tick) for of_tick in outs.values()) <= len(ARRAYS) + 3
    assert desk.keeper.age_max_s() == 0.0


def test_who_is_late_in_each_tick_is_waited_for_when_it_is_in_time_again(desk):
    desk.send_all(0, 0.0)
    for tick in range(1, 21):
        desk.send(0, tick, tick)
        desk.send(24, tick, tick)
        desk.tick(tick + 0.6)
        (late,) = desk.send(48, tick, tick + 0.7)
        assert close_of(late)["late"] == 1
    assert [racks_of(out) for out in desk.send_all(21, 21.0)] == [list(ARRAYS)]


def test_ticks_close_in_order(desk):
    desk.send(0, 0, 0.0)
    for array in ARRAYS[:2]:
        desk.send(array, 1, 0.1)
    # A049 is past tick 0, so nothing is waited for there any more.
    assert [out.head.tick for out in desk.send(48, 1, 0.2)] == [0, 1]


def test_a_silent_array_is_waited_for_ten_seconds_of_ticks(desk):
    desk.send_all(0, 0.0)
    for tick in range(1, 11):
        assert desk.send(0, tick, tick) == desk.send(24, tick, tick) == []
        assert len(desk.tick(tick + 0.5)) == 1
    assert desk.send(0, 11, 11.0) == []
    assert [racks_of(out) for out in desk.send(24, 11, 11.0)] == [[0, 24]]
    # It comes back, and is waited for again.
    assert desk.send(48, 12, 12.0) == desk.send(0, 12, 12.0) == []
    assert [racks_of(out) for out in desk.send(24, 12, 12.0)] == [[0, 24, 48]]
    assert desk.send(0, 13, 13.0) == desk.send(24, 13, 13.0) == []


def test_an_array_that_was_never_there_is_waited_for_ten_seconds_from_the_start(desk):
    for tick in range(100, 110):
        desk.keeper.take(*_of(desk, 0, tick), at(tick))
        assert desk.send(24, tick, tick) == []
        assert len(desk.tick(tick + 0.5)) == 1
    desk.send(0, 110, 110.0)
    assert len(desk.send(24, 110, 110.0)) == 1


def _of(desk: Desk, array: int, tick: int) -> tuple[Any, Any]:
    return desk.gateways.record(array, desk.run.head(TELEMETRY_GPU, desk.gateways.keys[array], tick)), (array, tick)


def test_the_live_rows_are_the_frame(desk):
    desk.send_all(3, 3.0)
    state, layout = desk.keeper.state, desk.gateways.layout.site.layout
    for array in ARRAYS:
        frame = desk.gateways.frames[array]
        gpus = slice(layout.rack_first_gpu[array], layout.rack_first_gpu[array + 1])
        for name, values in frame.dense["gpu"].items():
            np.testing.assert_array_equal(state.gpu[name][gpus], values.astype(np.float32))
        for name, values in frame.dense["cdu"].items():
            assert state.cdu[name][array] == np.float32(values[0])
    assert state.tick[list(ARRAYS)].tolist() == [3, 3, 3]
    assert state.offset[list(ARRAYS)].tolist() == [1, 2, 3]
    assert state.ts[0] == T0 + 3000
    others = np.setdiff1d(np.arange(64), ARRAYS)
    assert np.isnan(state.cdu["supply_c"][others]).all()
    assert (state.tick[others] == -1).all()


def test_sparse_values_are_gone_with_the_next_frame(desk):
    frame = orjson.loads(desk.gateways.data[0])
    frame["gpu"]["xid"] = {"5": 79}
    head = desk.run.head(TELEMETRY_GPU, "A001", 0)
    desk.keeper.take(desk.gateways.record(0, head, orjson.dumps(frame)), "x", at(0))
    assert desk.keeper.state.gpu_sparse["xid"][:8].tolist() == [0, 0, 0, 0, 0, 79, 0, 0]
    desk.send(0, 1, 1.0)
    assert not desk.keeper.state.gpu_sparse["xid"].any()


# --- numbers: late, twice, missing, out of order


def test_a_late_frame_is_sent_at_once_with_its_own_racks_only(desk):
    desk.send(0, 0, 0.0)
    desk.send(24, 0, 0.0)
    desk.tick(0.5)
    (out,) = desk.send(48, 0, 0.7)
    assert racks_of(out) == [48]
    assert close_of(out) == {"partition": 0, "late": 1, "watermark": 0}
    assert out.head.tick == 0
    assert out.done == ((48, 0, 0),)
    assert desk.keeper.intake.late == 1


def test_a_late_frame_does_not_turn_the_live_rows_back(desk):
    desk.send_all(0, 0.0)
    desk.send_all(2, 2.0)
    before = desk.rows()
    desk.send(0, 1, 2.1)
    assert same(before, desk.rows())


def test_a_duplicate_is_dropped(desk):
    desk.send_all(0, 0.0)
    assert desk.send(0, 0, 0.1, mark="again") == [Done(("again",))]
    assert desk.keeper.intake.duplicates == 1


def test_a_duplicate_of_a_frame_in_an_open_tick_is_acknowledged_with_that_tick(desk):
    desk.send(0, 0, 0.0)
    assert desk.send(0, 0, 0.1, mark="again") == []
    desk.send(24, 0, 0.1)
    (out,) = desk.send(48, 0, 0.1)
    assert Counter(out.done) == Counter([(0, 0, 0), "again", (24, 0, 0), (48, 0, 0)])
    assert racks_of(out) == [0, 24, 48]


def test_a_gap_is_counted_when_it_is_certain_and_out_of_order_is_none(desk):
    for seq in (0, 2, 1, 3, 5):  # 1 comes out of order, 4 never
        desk.send(0, seq, seq)
    assert desk.keeper.intake.gaps == 0
    for seq in range(6, 4 + 64):
        desk.send(0, seq, seq)
    assert desk.keeper.intake.gaps == 0
    desk.send(0, 4 + 64, 68.0)
    assert desk.keeper.intake.gaps == 1
    assert desk.keeper.intake.duplicates == 0


def test_the_lag_is_counted(desk):
    desk.send(0, 1, 1.25)
    assert list(desk.keeper.intake.lags_s) == [0.25]


# --- runs and epochs


def test_frames_wait_for_the_first_control(gateways):
    run = Run()
    desk = Desk(gateways, run)
    assert desk.send_all(0, 0.0) == []
    control(run, 0.5)
    assert [racks_of(out) for out in desk.tick(0.5)] == [[0, 24, 48]]
    assert desk.keeper.intake.other_run == 0


@pytest.mark.parametrize("run_id", [RUN, NEW])
def test_frames_of_a_newer_run_or_epoch_wait_for_their_control(desk, run_id):
    desk.send_all(0, 0.0)
    later = Run(run_id, view=desk.run.view)
    if run_id == RUN:
        later.owner.did_tick()
        later.owner.set_speed(1.0, at(1))
    assert desk.send_all(1, 1.0, by=later) == []
    assert desk.tick(2.9) == []
    control(later, 2.95)
    (out,) = desk.tick(2.95)
    assert (racks_of(out), out.head.run, out.head.epoch) == ([0, 24, 48], run_id, later.owner.epoch)
    assert close_of(out)["late"] == 0


def test_frames_of_a_newer_run_without_control_go_to_history_after_two_seconds(desk):
    desk.send_all(0, 0.0)
    before = desk.rows()
    later = Run(NEW, view=desk.run.view)
    desk.send(0, 5, 1.0, by=later)
    desk.send(24, 5, 2.0, by=later)
    assert desk.tick(2.999) == []
    (out,) = desk.tick(3.0)
    assert (racks_of(out), close_of(out)["late"], out.head.run) == ([0], 1, NEW)
    assert close_of(out)["watermark"] == -1  # it says nothing of that run's ticks
    (out,) = desk.send(48, 1, 4.0)[:1]
    assert racks_of(out) == [24]
    assert desk.keeper.intake.other_run == 2
    assert desk.rows()["tick"][24] == 0
    assert desk.rows()["gpu.power_w"].tobytes() == before["gpu.power_w"].tobytes()


def test_a_foreign_run_is_for_history_only(desk):
    desk.send_all(4, 4.0)
    before = desk.rows()
    old = Run(OLD)
    (out,) = desk.send(0, 9, 4.1, by=old)
    assert (racks_of(out), close_of(out)["late"], out.head.run, out.head.tick) == ([0], 1, OLD, 9)
    assert desk.keeper.intake.other_run == 1
    assert same(before, desk.rows())


def test_the_last_ticks_of_an_epoch_that_held_are_taken_in_order(desk):
    desk.send_all(0, 0.0)
    control(desk.run, 1.0, settled=1)
    before = Run(RUN, view=RunView())
    desk.run.owner.pause()
    desk.run.owner.resume(at(1.5))
    control(desk.run, 1.5)
    # The control of epoch 1 is here, but no frame of it: tick 1 of epoch 0 is on its way still.
    (out,) = desk.send_all(1, 1.6, by=before)
    assert (racks_of(out), close_of(out)["late"], out.head.epoch) == ([0, 24, 48], 0, 0)
    assert desk.send(0, 2, 2.0) == []
    # The partition has gone on: what comes of epoch 0 now is late.
    (out,) = desk.send(0, 1, 2.1, seq=7, by=before)
    assert (close_of(out)["late"], out.head.epoch) == (1, 0)
    assert desk.keeper.intake.late == 1


def test_open_ticks_of_an_epoch_close_before_the_next_begins(desk):
    desk.send(0, 0, 0.0)
    control(desk.run, 0.1, settled=0)
    desk.run.owner.set_speed(2.0, at(0.1))
    control(desk.run, 0.1)
    (out,) = desk.send(0, 1, 0.2)
    assert (racks_of(out), out.head.epoch, out.done) == ([0], 0, ((0, 0, 0),))


def test_an_epoch_that_continues_keeps_the_rows(desk):
    next_epoch(desk, continues=True)
    before = desk.power_w(24).copy()
    desk.send(0, 2, 2.0)
    assert desk.power_w(24).tobytes() == before.tobytes()
    # What was there is still waited for.
    assert desk.tick(2.4) == []
    assert [racks_of(out) for out in desk.tick(2.5)] == [[0]]


def test_an_epoch_without_a_frame_clears_no_rows(desk):
    next_epoch(desk, continues=True)
    desk.run.owner.set_speed(2.0, at(1.6))  # no frame of the epoch before it has come
    control(desk.run, 1.6)
    before = desk.power_w(24).copy()
    desk.send(0, 2, 2.0)
    assert desk.power_w(24).tobytes() == before.tobytes()


def test_a_reader_a_long_way_behind_keeps_the_rows_too(desk):
    next_epoch(desk, continues=True)
    behind = desk.run.owner.epoch
    desk.run.owner.set_speed(2.0, at(1.6))  # the epoch after it holds already
    control(desk.run, 1.6)
    before = desk.power_w(24).copy()
    desk.send(0, 2, 2.0, epoch=behind)
    assert desk.power_w(24).tobytes() == before.tobytes()


def test_an_epoch_that_does_not_continue_clears_the_rows(desk):
    next_epoch(desk, continues=False)
    desk.send(0, 1, 2.0)
    assert np.isnan(desk.power_w(24)).all()
    assert desk.keeper.state.tick[[0, 24]].tolist() == [1, -1]


def test_a_rebuilt_plant_does_some_ticks_again(desk):
    for tick in range(3):
        desk.send_all(tick, tick)
    control(desk.run, 2.0, settled=2)
    crashed = desk.run.owner.control(at(2.0))
    desk.run.owner.resume_crashed(crashed, tick=0, now_ms=at(3.0))
    control(desk.run, 3.0)
    # Tick 1 comes again, in the new epoch: it is live, not late.
    (out,) = desk.send_all(1, 3.0)
    assert (out.head.tick, close_of(out)["late"], close_of(out)["watermark"]) == (1, 0, 1)
    assert desk.keeper.state.tick[list(ARRAYS)].tolist() == [1, 1, 1]


def test_gaps_within_the_window_count_when_the_epoch_ends(desk):
    desk.send(0, 0, 0.0)
    desk.send(0, 2, 2.0)
    control(desk.run, 2.0, settled=2)
    desk.run.owner.set_speed(2.0, at(2.0))
    control(desk.run, 2.0)
    desk.send(0, 3, 2.1, seq=0)
    assert desk.keeper.intake.gaps == 1


# --- partitions


def test_revoked_partitions_are_cleared_and_not_acknowledged(gateways, run):
    desk = Desk(gateways, run, (0, 1))
    desk.send(0, 0, 0.0)
    desk.send(1, 0, 0.0)
    desk.send(24, 0, 0.0, by=Run(NEW))  # waits for its control
    desk.keeper.revoke([0])
    assert np.isnan(desk.power_w(0)).all()
    assert np.isfinite(desk.power_w(1)).all()
    assert desk.keeper.state.tick[0] == -1
    assert desk.send(48, 0, 0.1) == []  # still in the stream: its new owner reads it
    assert tokens_of(desk.tick(5.0)) == [(1, 0, 0)]
    desk.keeper.revoke([7])  # one that was never here


def test_a_partition_that_comes_back_begins_anew(desk):
    desk.send(0, 0, 0.0)
    desk.keeper.revoke([0])
    desk.keeper.assign([0])
    desk.keeper.assign([0])
    assert desk.send(0, 0, 1.0) == []
    desk.send(24, 0, 1.0)
    assert [racks_of(out) for out in desk.send(48, 0, 1.0)] == [[0, 24, 48]]


# --- lock step and silence


def test_in_lock_step_a_tick_closes_when_control_has_passed_it_and_the_queue_is_empty(gateways):
    run = Run(lock_step=True)
    control(run, 0.0)
    desk = Desk(gateways, run)
    desk.send(0, 0, 0.0)
    assert desk.tick(100.0, queue_empty=True) == []  # how long the machine takes says nothing
    control(run, 100.0, settled=0)
    assert desk.tick(100.0, queue_empty=False) == []
    (out,) = desk.tick(100.0, queue_empty=True)
    assert racks_of(out) == [0]
    desk.send(0, 1, 100.1)
    assert desk.tick(200.0, queue_empty=True) == []


def test_in_lock_step_what_is_open_of_an_epoch_before_closes(gateways):
    run = Run(lock_step=True)
    control(run, 0.0)
    desk = Desk(gateways, run)
    desk.send(0, 0, 0.0)
    run.owner.did_tick()
    run.owner.set_speed(1.0, at(1.0))
    control(run, 1.0)
    outs = desk.tick(1.0, queue_empty=True)
    assert [(racks_of(out), out.head.epoch) for out in outs] == [([0], 0)]


def test_a_silent_partition_closes_with_no_rows(desk):
    control(desk.run, 3.0, settled=3)
    assert desk.tick(3.499, queue_empty=True) == desk.tick(3.5, queue_empty=False) == []
    (out,) = desk.tick(3.5, queue_empty=True)
    assert racks_of(out) == []
    assert close_of(out) == {"partition": 0, "late": 0, "watermark": 3}
    assert (out.head.tick, out.head.ts, out.head.key, out.done) == (3, T0 + 3000, "0", ())
    assert desk.tick(9.0, queue_empty=True) == []  # once
    (out,) = desk.send(0, 3, 9.0)
    assert close_of(out)["late"] == 1


def test_a_partition_without_arrays_says_nothing(gateways, run):
    mini_like = Desk(gateways, run, (23,))
    mini_like.keeper._partitions[23].arrays = ()
    control(run, 3.0, settled=3)
    assert mini_like.tick(4.0, queue_empty=True) == []


def test_the_age_is_of_the_oldest_array_against_the_newest(desk):
    assert desk.keeper.age_max_s() == 0.0
    desk.send_all(0, 0.0)
    desk.send(0, 7, 7.0)
    assert desk.keeper.age_max_s() == 7.0


# --- details


def test_cdus_come_each_tenth_tick_and_under_watch_each_tick(desk):
    def cdus(tick):
        (out,) = desk.send_all(tick, tick)
        frame = rack_data(out)
        return frame.dense["cdu"]["rack_i"].tolist() if "cdu" in frame.dense else None

    assert (cdus(10), cdus(11)) == ([0, 24, 48], None)
    desk.keeper.watched = frozenset({24, 5})
    assert (cdus(20), cdus(21)) == ([0, 24, 48], [24])


def test_gpus_of_a_rack_under_watch_are_sent(desk):
    desk.keeper.watched = frozenset({24})
    (out,) = desk.send_all(1, 1.0)
    rows = rack_data(out).dense["gpu"]
    assert rows["rack_i"].tolist() == [24] * 64
    assert rows["gpu"].tolist() == list(range(64))
    np.testing.assert_array_equal(rows["power_w"], desk.gateways.frames[24].dense["gpu"]["power_w"])


def test_an_epoch_that_continues_one_that_was_not_seen_here_clears_the_rows(desk):
    next_epoch(desk, continues=False)  # no frame of this epoch comes: the jump goes by unseen
    desk.run.owner.set_speed(1.0, at(1.6))
    control(desk.run, 1.6)
    desk.send(0, 1, 2.0)
    assert np.isnan(desk.power_w(24)).all()
