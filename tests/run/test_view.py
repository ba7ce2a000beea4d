"""What a reader of run.control believes, whenever it joins."""

import pytest

from twin.errors import MessageInvalid
from twin.events.head import Head
from twin.run import LEASE_MS, RunOwner, RunPlan, RunView, check_control

PLAN = RunPlan(site="mini", site_crc="0", seed=7, dt_s=1.0, weather_at="07-15T14:00")
T0 = 1_800_000_000_000
OLD, NEW, NEWER = "20270115T080000Z-0001", "20270115T090000Z-0001", "20270115T100000Z-0001"


def head(run: str, epoch: int) -> Head:
    return Head(schema="telemetry.gpu/1", run=run, epoch=epoch, tick=1, seq=1, ts=T0, dt_s=1.0, key="A001")


def owner(run: str, name: str = "one", now_ms: int = T0) -> RunOwner:
    it = RunOwner(PLAN, name)
    it.begin(run, seen=None, now_ms=now_ms)
    return it


def test_nothing_known_yet_means_wait():
    view = RunView()
    assert view.standing(head(NEW, 0)) == "newer"
    assert view.age_s(T0) == float("inf")


def test_standing_of_frames():
    view, run = RunView(), owner(NEW)
    run.set_speed(2, T0)
    view.accept(run.control(T0), now_ms=T0)
    standings = {name: view.standing(head(name, 1)) for name in (OLD, NEW, NEWER)}
    assert standings == {OLD: "other", NEW: "current", NEWER: "newer"}
    assert view.standing(head(NEW, 0)) == "earlier"
    assert view.standing(head(NEW, 2)) == "newer"
    assert view.age_s(T0 + 1500) == 1.5


def test_the_newest_epoch_wins_and_an_echo_is_refused():
    view, run = RunView(), owner(NEW)
    before = run.control(T0)
    run.pause()
    run.resume(T0 + 10)
    assert view.accept(run.control(T0 + 10), now_ms=T0 + 10)
    assert not view.accept(before, now_ms=T0 + 20)
    assert view.control is not None
    assert view.control.epoch == 1
    assert view.refused == 1


def test_a_reader_that_joins_late_needs_one_message():
    view, run = RunView(), owner(NEW)
    for _ in range(3):
        run.did_tick()
    assert view.accept(run.control(T0 + 2000), now_ms=T0 + 2000)
    assert view.control is not None
    assert view.control.settled_tick == 2
    assert not view.accept(run.control(T0 + 3000), now_ms=T0 + 3000)  # a renewal is no change


def test_an_older_run_holds_again_only_after_the_newer_ended_or_died():
    view = RunView()
    newest = owner(NEW, "new")
    view.accept(newest.control(T0), now_ms=T0)
    resumed = owner(OLD, "old", T0)
    assert not view.accept(resumed.control(T0 + LEASE_MS - 1), now_ms=T0 + LEASE_MS - 1)
    assert view.accept(resumed.control(T0 + LEASE_MS), now_ms=T0 + LEASE_MS)

    view = RunView()
    newest.end()
    view.accept(newest.control(T0), now_ms=T0)
    assert view.accept(resumed.control(T0 + 1), now_ms=T0 + 1)


def test_a_run_that_says_what_cannot_be_is_refused():
    good = owner(NEW).control(T0)
    check_control(good, T0)
    for tick in (1_000_000, 2**52):
        with pytest.raises(MessageInvalid, match=r"^out-of-range: settled_tick"):
            check_control(good.model_copy(update={"settled_tick": tick}), T0)
