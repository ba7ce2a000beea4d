"""Acceptance rows T1 and T3, and the sums of the reference plant."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin.physics import turbine

LHV, HHV = 10_160.0, 10_160.0 * 1.108


def test_t1_iso_point():
    fuel = turbine.fuel_w(16e6, 16e6, LHV, 0.2)
    assert fuel == pytest.approx(45.2e6, rel=0.01)
    assert 16e6 / fuel == pytest.approx(0.354, rel=0.01)


@pytest.mark.parametrize(("load", "ratio"), [(0.75, 1.05), (0.50, 1.18), (0.30, 1.45)])
def test_t3_part_load_heat_rate(load, ratio):
    part = turbine.fuel_w(load * 16e6, 16e6, LHV, 0.2) / load
    assert part / turbine.fuel_w(16e6, 16e6, LHV, 0.2) == pytest.approx(ratio, rel=0.03)


def test_hot_day_of_the_reference_plant():
    most = turbine.available_w(16e6, 35.0, 100_680.0, derate_per_k=0.005, cold_limit_ratio=1.05)
    assert most == pytest.approx(14.31e6, rel=0.001)
    rate = turbine.full_load_heat_rate_kj_kwh(HHV, 35.0, rise_per_k=0.0007)
    assert turbine.fuel_mmbtu_h(turbine.fuel_w(most, most, rate, 0.2)) == pytest.approx(154.8, rel=0.01)
    assert turbine.fuel_mmbtu_h(turbine.fuel_w(12.5e6, most, rate, 0.2)) == pytest.approx(139.2, rel=0.01)


def test_cold_air_is_limited_by_the_generator():
    assert turbine.available_w(16e6, -20.0, 101_325.0, derate_per_k=0.005, cold_limit_ratio=1.05) == 16.8e6


def test_exhaust_of_part_load():
    assert [turbine.exhaust_c(490.0, load) for load in (1.0, 0.6, 0.2)] == [490.0, 520.0, 520.0]


@given(st.floats(0, 16e6), st.floats(0, 16e6), st.floats(0.1, 100))
def test_ramp_keeps_its_rate_and_never_overshoots(power_w, target_w, dt_s):
    after = turbine.ramped_w(power_w, target_w, 53_333.0, dt_s)
    assert abs(after - power_w) <= 53_333.0 * dt_s + 1e-6
    assert min(power_w, target_w) - 1e-6 <= after <= max(power_w, target_w) + 1e-6
    half = turbine.ramped_w(power_w, target_w, 53_333.0, dt_s / 2)
    assert turbine.ramped_w(half, target_w, 53_333.0, dt_s / 2) == pytest.approx(after, rel=1e-9, abs=1e-3)
