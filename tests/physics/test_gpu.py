"""Acceptance rows G1, G2, G3, G6, G7 of the physics, and properties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin.physics import gpu, lag

H100 = {"idle_w": 72.0, "max_w": 700.0, "leak_per_k": 0.003, "leak_reference_c": 45.0}
LADDER = {
    "step_per_s": 0.02,
    "throttle_c": 87.0,
    "release_c": 85.0,
    "slowdown_c": 89.0,
    "slowdown_clock_ratio": 0.5,
    "hbm_max_c": 95.0,
    "clock_min_ratio": 0.17,
}
R_K_PER_W, C_J_PER_K = 0.030, 5.0 / 0.030


def settle(activity, coolant_c, flow_ratio=1.0, seconds=200, dt_s=1.0, temp_c=40.0):
    """Run one GPU until it is warm."""
    temp = np.array([temp_c])
    resistance = np.array([R_K_PER_W * gpu.resistance_ratio(flow_ratio, -0.6)])
    for _ in range(round(seconds / dt_s)):
        power = gpu.power_w(activity, 1.0, temp, **H100)
        temp = gpu.temp_c(temp, power, coolant_c, resistance, lag.settled_ratio(dt_s, resistance * C_J_PER_K))
    return float(temp[0]), float(power[0])


def test_g1_idle():
    temp_c, power_w = settle(0.0, 30.84)
    assert power_w == pytest.approx(72.0, rel=0.05)
    assert temp_c == pytest.approx(33.0, abs=0.1)
    assert gpu.mem_temp_c(np.array([temp_c]), np.array([0.0]), rise_idle_k=8.0, rise_loaded_k=3.0)[0] == pytest.approx(
        41.0, abs=0.1
    )


@pytest.mark.parametrize("coolant_c", [24.0, 27.0, 29.3])
def test_g3_liquid_cooled_training_lies_in_the_measured_band(coolant_c):
    temp_c, power_w = settle(0.86, coolant_c)
    assert 41.0 <= temp_c <= 50.0
    assert power_w == pytest.approx(617.0, rel=0.02)


def test_g6_warmer_gpu_at_its_cap_loses_one_to_two_percent():
    clocks = [
        gpu.clock_ratio(gpu.cap_ratio(gpu.power_w(1.0, 1.0, temp_c, **H100), 700.0, 72.0), 1.6)
        for temp_c in (50.0, 57.0)
    ]
    assert -0.02 <= clocks[1] / clocks[0] - 1.0 <= -0.01


@pytest.mark.parametrize(("limit_c", "seconds"), [(87.0, 9.5), (95.0, 11.5)])
def test_g7_loss_of_coolant(limit_c, seconds):
    temp, power = np.array([47.0]), np.array([700.0])
    resistance = np.array([R_K_PER_W * gpu.resistance_ratio(0.0, -0.6)])
    time_s = 0.0
    while temp[0] < limit_c:
        temp = gpu.temp_c(temp, power, 26.0, resistance, lag.settled_ratio(0.1, resistance * C_J_PER_K))
        time_s += 0.1
    assert time_s == pytest.approx(seconds, rel=0.2)


@pytest.mark.parametrize(
    ("temp_c", "slowing_before", "clock", "slowing", "bits"),
    [
        (86.9, False, 1.0, False, 0x0),
        (87.0, False, 0.98, True, 0x20),
        (86.0, True, 0.98, True, 0x20),
        (84.9, True, 1.0, False, 0x0),
        (89.0, False, 0.5, True, 0x68),
    ],
)
def test_g2_ladder(temp_c, slowing_before, clock, slowing, bits):
    temp = np.array([temp_c])
    allowed, now = gpu.thermal_clock(np.ones(1), np.array([slowing_before]), temp, temp, dt_s=1.0, **LADDER)
    assert allowed[0] == pytest.approx(clock)
    assert now[0] == slowing
    assert gpu.event_reasons(now, False, temp, slowdown_c=89.0)[0] == bits


def test_hot_memory_slows_too():
    allowed, now = gpu.thermal_clock(
        np.ones(1), np.zeros(1, bool), np.array([80.0]), np.array([95.0]), dt_s=1.0, **LADDER
    )
    assert (float(allowed[0]), bool(now[0])) == (pytest.approx(0.98), True)


def test_cap_of_600_w():
    power = gpu.power_w(1.0, 1.0, 45.0, **H100)
    ratio = gpu.cap_ratio(power, 600.0, 72.0)
    assert gpu.power_w(1.0, ratio, 45.0, **H100) == pytest.approx(600.0)
    assert gpu.clock_ratio(ratio, 1.6) == pytest.approx(0.897, abs=0.001)
    assert gpu.clock_power_ratio(gpu.clock_ratio(ratio, 1.6), 1.6) == pytest.approx(ratio)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(20, 95), st.floats(20, 95))
def test_power_grows_with_activity_and_temperature(u1, u2, t1, t2):
    low = gpu.power_w(min(u1, u2), 1.0, min(t1, t2), **H100)
    high = gpu.power_w(max(u1, u2), 1.0, max(t1, t2), **H100)
    assert low <= high + 1e-9


@given(st.floats(0, 700), st.floats(20, 100), st.floats(0, 2))
def test_two_half_steps_equal_one(power_w, temp_c, flow_ratio):
    resistance = np.array([R_K_PER_W * gpu.resistance_ratio(flow_ratio, -0.6)])

    def after(temp, dt_s):
        ratio = lag.settled_ratio(dt_s, resistance * C_J_PER_K)
        return gpu.temp_c(temp, np.array([power_w]), 30.0, resistance, ratio)

    start = np.array([temp_c])
    assert after(after(start, 0.5), 0.5) == pytest.approx(after(start, 1.0), rel=1e-9)


def test_out_gives_the_same_and_allocates_nothing():
    u, t = np.linspace(0, 1, 9, dtype=np.float32), np.full(9, 50, np.float32)
    out = np.empty(9, np.float32)
    assert gpu.power_w(u, 1.0, t, out=out, **H100) is out
    np.testing.assert_allclose(out, gpu.power_w(u, 1.0, t, **H100), rtol=1e-6)
