"""What keepers refuse beyond the columns: tables of what passes and what does not."""

from typing import Any

import numpy as np
import pytest

from tests.state.scene import NEW, T0, Run, at
from twin.errors import MessageInvalid
from twin.events.derived import TWIN_RACK
from twin.events.frames import Frame
from twin.events.gpu import TELEMETRY_GPU
from twin.events.topics import GPU_PARTITIONS
from twin.run import CLOCKS_APART_MS
from twin.state.checks import check_groups, check_tick, places_of
from twin.state.suspects import without_suspects


def second_epoch() -> Run:
    """Return a run whose epoch 1 begins with tick 4, at the wall clock of ``at(10)``, and at 10 ticks a second."""
    run = Run()
    for _ in range(4):
        run.owner.did_tick()
    run.owner.set_speed(10.0, at(10))
    run.say(at(10))
    return run


@pytest.mark.parametrize(
    ("epoch", "tick", "now_ms", "passes"),
    [
        (1, 4, at(10), True),
        (1, 3, at(10), False),
        (1, 4 + CLOCKS_APART_MS // 100, at(10), True),
        (1, 5 + CLOCKS_APART_MS // 100, at(10), False),
        (1, 5 + CLOCKS_APART_MS // 100, at(10.1), True),
        (0, 3, at(10), True),  # another epoch: its line is not known
        (2, 10**9, at(10), True),
    ],
)
def test_ticks_of_an_epoch(epoch, tick, now_ms, passes):
    run = second_epoch()
    head = run.head(TELEMETRY_GPU, "A001", tick, epoch=epoch)
    if passes:
        check_tick(head, run.view.control, now_ms)
        return
    with pytest.raises(MessageInvalid, match=f"out-of-range: head.tick: {tick} is not in 4.."):
        check_tick(head, run.view.control, now_ms)


def test_ticks_of_what_is_not_known_pass():
    run = second_epoch()
    check_tick(run.head(TELEMETRY_GPU, "A001", 10**9), None, T0)
    check_tick(run.head(TELEMETRY_GPU, "A001", 10**9, run=NEW), run.view.control, T0)


def one(group: str, **changed: Any) -> Frame:
    """Return a frame whose only group has one place, all zero but for what is given."""
    columns = {column.name: np.zeros(1) for column in TWIN_RACK.by_name[group].columns}
    columns.update({name: np.array(values, dtype=float) for name, values in changed.items()})
    return Frame(dense={group: {name: values for name, values in columns.items() if len(values)}})


NAN = float("nan")


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (Frame(), ""),
        (one("rack"), ""),
        (one("rack", rack_i=[63]), ""),
        (one("rack", rack_i=[64]), "bad-index: rack.rack_i: beyond 64 places"),
        (one("rack", rack_i=[NAN]), "bad-type: rack.rack_i: expected whole numbers"),
        (one("rack", power_w=[NAN]), ""),
        (one("rack", power_w=[]), "missing-column: rack.power_w"),
        (one("close", partition=[GPU_PARTITIONS]), "bad-index: close.partition"),
        (one("close", watermark=[NAN]), "bad-type: close.watermark"),
        (one("hall", hall_i=[4]), "bad-index: hall.hall_i: beyond 4"),
        (one("hall", busy_n=[NAN]), "bad-type: hall.busy_n"),
        (one("hall", busy_n=[]), "missing-column: hall.busy_n"),
        (one("temp_hist", bin=[239]), ""),
        (one("temp_hist", bin=[240]), "bad-index: temp_hist.bin"),
        (one("power_hist", bin=[150]), "bad-index: power_hist.bin"),
        (one("power_hist", hall_i=[4]), "bad-index: power_hist.hall_i"),
        (one("xid", rack_i=[64]), "bad-index: xid.rack_i"),
        (one("cdu", rack_i=[64]), "bad-index: cdu.rack_i"),
        (one("gpu", rack_i=[64]), "bad-index: gpu.rack_i"),
    ],
)
def test_groups_of_the_observers_own(small, frame, reason):
    places = places_of(small.site)
    if not reason:
        check_groups(TWIN_RACK, frame, places)
        return
    with pytest.raises(MessageInvalid, match=reason):
        check_groups(TWIN_RACK, frame, places)


def test_a_doubt_about_a_sparse_column_or_an_absent_group_takes_nothing_away():
    frame = Frame(
        dense={"gpu": {"power_w": np.array([1.0])}}, suspect={"gpu.xid": np.array([0]), "cdu.valve": np.array([0])}
    )
    assert without_suspects(frame).dense == frame.dense
