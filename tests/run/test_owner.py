"""Runs by their rules: pause, speed, jumps, the past, crashes, two owners (DESIGN.md section 4)."""

import contextlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin.errors import LeaseLost, RunActive, RunError
from twin.run import LEASE_MS, RunOwner, RunPlan, RunView, new_run_id
from twin.run.line import AHEAD_MS

PLAN = RunPlan(site="mini", site_crc="0", seed=7, dt_s=1.0, weather_at="07-15T14:00")
T0 = 1_800_000_000_000
RUN = new_run_id("20270115T080000Z", 1)


def started(plan: RunPlan = PLAN, *, now_ms: int = T0, owner: str = "one") -> RunOwner:
    run = RunOwner(plan, owner)
    run.begin(RUN, seen=None, now_ms=now_ms)
    return run


def ticks(run: RunOwner, now_ms: int) -> list[tuple[int, int, int]]:
    """Do all ticks that are due; give (epoch, tick, ts) of each."""
    out = []
    while run.due(now_ms):
        ts = run.did_tick()
        out.append((run.epoch, run.tick, ts))
        assert ts <= now_ms + AHEAD_MS
    return out


@pytest.mark.parametrize(
    ("change", "hurries"),
    [
        ({"speed": 1.0}, False),
        ({"speed": 0.1}, False),
        ({"speed": 2.0}, True),
        ({"speed": 0.0}, True),
        ({"start_ms": T0 - 3_600_000, "speed": 60.0}, True),
    ],
)
def test_it_hurries_when_it_goes_faster_than_the_wall_clock(change: dict[str, float], hurries: bool):
    assert started(replace(PLAN, **change)).hurries is hurries


@pytest.mark.parametrize("change", [{"seed": -1}, {"dt_s": 0.0}, {"dt_s": float("nan")}, {"dt_s": 3601.0}])
def test_what_run_control_cannot_tell_of_is_no_plan(change: dict[str, float]):
    with pytest.raises(RunError, match="is not allowed"):
        replace(PLAN, **change)


def test_one_tick_a_second_on_a_straight_line():
    run = started()
    done = ticks(run, T0) + ticks(run, T0 + 999) + ticks(run, T0 + 3000)
    assert done == [(0, 0, T0), (0, 1, T0 + 1000), (0, 2, T0 + 2000), (0, 3, T0 + 3000)]


def test_pause_and_resume_is_a_new_epoch_that_continues():
    run = started()
    ticks(run, T0 + 2000)
    run.pause()
    assert not run.due(T0 + 60_000)
    control = run.control(T0 + 30_000)
    assert (control.state, control.epoch, control.lease_expires_ms) == ("paused", 0, T0 + 30_000 + LEASE_MS)
    run.resume(T0 + 62_000)
    assert (run.epoch, run.continues) == (1, True)
    assert ticks(run, T0 + 62_000) == [(1, 3, T0 + 62_000)]
    with pytest.raises(RunError, match="running"):
        run.resume(T0 + 62_000)


def test_change_of_speed_continues_and_squeezes_the_line():
    run = started()
    ticks(run, T0 + 2000)
    run.set_speed(10, T0 + 2500)
    assert run.continues
    done = ticks(run, T0 + 3500)
    assert [tick for _, tick, _ in done] == list(range(3, 14))
    assert done[0][2] == T0 + 2500
    assert done[-1][2] - done[0][2] == 1000
    for bad in (-1, 0.001, 20_000):
        with pytest.raises(RunError, match="allowed"):
            run.set_speed(bad, T0 + 4000)


def test_jump_back_does_not_continue_and_display_time_goes_on():
    run = started()
    ticks(run, T0 + 300_000)
    run.jump(0, T0 + 300_200)
    assert (run.epoch, run.continues, run.tick) == (1, False, 0)
    assert ticks(run, T0 + 301_300) == [(1, 1, T0 + 300_200), (1, 2, T0 + 301_200)]
    with pytest.raises(RunError, match="cannot be reached"):
        run.jump(99, T0 + 301_400)


def test_a_run_from_the_past_fills_history_and_catches_up():
    run = started(replace(PLAN, start_ms=T0 - 600_000, speed=60.0))
    first = [run.did_tick() for _ in range(3)]
    assert first == [T0 - 600_000, T0 - 599_000, T0 - 598_000]
    assert run.filling
    assert not run.catch_up(T0)
    ticks(run, T0 + 10_000)
    assert run.last_ts == T0 + 10_000
    assert run.catch_up(T0 + 10_000)
    assert (run.epoch, run.continues, run.plan.speed, run.filling, run.hurries) == (1, True, 1.0, False, False)
    assert ticks(run, T0 + 11_001) == [(1, 611, T0 + 10_001), (1, 612, T0 + 11_001)]


def test_steps_of_a_paused_run():
    run = started()
    with pytest.raises(RunError):
        run.step(T0)
    ticks(run, T0)
    run.pause(frozen=True)
    run.step(T0 + 500)
    assert [run.did_tick(), run.did_tick()] == [T0 + 500, T0 + 501]
    assert (run.state, run.epoch) == ("frozen", 1)


def test_a_second_run_is_refused_with_the_way_out():
    first = started()
    second = RunOwner(PLAN, "two")
    with pytest.raises(RunActive, match="COLOSSUS_NAMESPACE"):
        second.begin("20270115T080001Z-0002", seen=first.control(T0), now_ms=T0 + LEASE_MS - 1)
    second.begin("20270115T080001Z-0002", seen=first.control(T0), now_ms=T0 + LEASE_MS)
    assert second.state == "running"


def test_an_ended_run_frees_the_lease_at_once():
    first = started()
    ticks(first, T0 + 5000)
    first.end()
    second = RunOwner(PLAN, "two")
    second.begin("20270115T080001Z-0002", seen=first.control(T0 + 5000), now_ms=T0 + 4900)
    assert second.line.ts0 > first.last_ts  # display time is monotone over runs too


def test_a_crashed_owner_is_followed_in_the_same_run():
    first = started()
    ticks(first, T0 + 9000)
    seen = first.control(T0 + 9000)
    second = RunOwner(PLAN, "two")
    with pytest.raises(RunActive):
        second.resume_crashed(seen, tick=9, now_ms=T0 + 9000 + LEASE_MS - 1)
    second.resume_crashed(seen, tick=9, now_ms=T0 + 9000 + LEASE_MS)
    assert (second.run, second.epoch, second.continues, second.tick) == (RUN, 1, True, 9)
    assert ticks(second, T0 + 14_000)[0][:2] == (1, 10)
    # The first one wakes again: it must learn that it lost.
    with pytest.raises(LeaseLost, match="two"):
        first.check(second.control(T0 + 14_000), now_ms=T0 + 14_000)
    second.check(first.control(T0 + 14_000), now_ms=T0 + 14_000)


def test_two_owners_that_resume_at_once_agree_on_one():
    seen = started().control(T0)
    late = T0 + LEASE_MS
    owners = [RunOwner(PLAN, name) for name in ("ann", "bob")]
    for owner in owners:
        owner.resume_crashed(seen, tick=0, now_ms=late)
    controls = [owner.control(late) for owner in owners]
    with pytest.raises(LeaseLost):
        owners[0].check(controls[1], now_ms=late)
    owners[1].check(controls[0], now_ms=late)
    for order in (controls, controls[::-1]):
        view = RunView()
        for control in order:
            view.accept(control, now_ms=late)
        assert view.control == controls[1]


def test_clock_set_back_is_refused():
    run = started()
    ticks(run, T0 + 10_000)
    with pytest.raises(RunError, match="set back"):
        run.set_speed(2, T0 + 10_000 - AHEAD_MS - 1)


@given(
    st.lists(
        st.tuples(st.sampled_from(["go", "pause", "resume", "speed", "jump", "step"]), st.integers(0, 5000)),
        max_size=30,
    )
)
def test_display_time_is_monotone_and_never_ahead_whatever_happens(moves):
    run, now, seen_ts, last_epoch = started(), T0, -1, 0
    for move, number in moves:
        now += number
        try:
            if move == "pause":
                run.pause()
            elif move == "resume":
                run.resume(now)
            elif move == "speed":
                run.set_speed([0, 0.1, 1, 10, 1000][number % 5], now)
            elif move == "jump":
                run.jump(number % (run.tick + 2) - 1, now)
            elif move == "step":
                run.step(now)
                run.did_tick()
                assert run.last_ts > seen_ts
                seen_ts = run.last_ts
        except RunError:
            continue
        for _, _, ts in ticks(run, now):
            assert ts > seen_ts
            seen_ts = ts
        assert run.epoch >= last_epoch
        last_epoch = run.epoch


def test_a_plan_that_cannot_be_is_refused_before_anything_starts():
    for change, why in (
        ({"speed": -3.0}, "allowed"),
        ({"weather_at": "13-40T99:00"}, "MM-DDTHH:MM"),
        ({"weather_at": "7-1T1:5"}, "MM-DDTHH:MM"),
        ({"start_ms": T0, "speed": 1.0}, "catches up"),
    ):
        with pytest.raises(RunError, match=why):
            replace(PLAN, **change)


def test_a_pause_is_no_catching_up():
    run = started(replace(PLAN, start_ms=T0 - 600_000, speed=60.0))
    for _ in range(5):
        run.did_tick()
    run.pause()
    assert not run.catch_up(T0 + 1000)
    run.resume(T0 + 2000)
    assert (run.filling, run.did_tick()) == (True, T0 - 600_000 + 5000)


def test_a_jump_in_a_fill_is_shown_now():
    run = started(replace(PLAN, start_ms=T0 - 600_000, speed=60.0))
    for _ in range(5):
        run.did_tick()
    run.jump(2, T0 + 1000)
    assert (run.filling, run.plan.speed, run.line.ts0, run.line.ms_per_tick) == (False, 1.0, T0 + 1000, 1000)


def test_display_time_after_a_crashed_fill_is_after_all_that_it_may_have_said():
    run = started(replace(PLAN, start_ms=T0 - 600_000, speed=60.0))
    seen = run.control(T0)
    for _ in range(60):
        last = run.did_tick()  # and died before it said so
    after = RunOwner(PLAN, "two")
    after.begin("20270115T080100Z-0002", seen=seen, now_ms=T0 + LEASE_MS)
    assert after.line.ts0 > last


def test_whatever_the_clock_forbids_leaves_the_run_as_it_was():
    run = started()
    ticks(run, T0 + 30_000)
    before = (run.epoch, run.tick, run.line, run.plan, run.state)
    early = T0 + 30_000 - AHEAD_MS - 1
    for move in (lambda: run.jump(5, early), lambda: run.set_speed(2.0, early), lambda: run.step(early)):
        with contextlib.suppress(RunError):
            move()
        assert (run.epoch, run.tick, run.line, run.plan, run.state) == before


def test_a_fill_that_is_changed_before_its_first_tick_begins_where_it_was_told():
    run = RunOwner(replace(PLAN, start_ms=T0 - 60_000, speed=60.0), "one")
    run.begin(RUN, seen=None, now_ms=T0)
    run.set_speed(100.0, T0)
    assert run.line.ts0 == T0 - 60_000
    run.jump(-1, T0)
    assert (run.line.ts0, run.filling) == (T0, False)
