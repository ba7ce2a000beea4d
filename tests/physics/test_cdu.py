"""Acceptance rows C1, C2, C3, C5; the effectiveness against the library ht, coolant data against CoolProp."""

import ht
import numpy as np
import pytest
from CoolProp.CoolProp import PropsSI
from hypothesis import given
from hypothesis import strategies as st

from twin.physics import cdu

WATER = (995.7, 4179.0)
PG25 = (1010.0, 3969.0)


def test_c1_effectiveness():
    assert cdu.effectiveness(2.5, 0.8) == pytest.approx(0.76435, abs=1e-4)


@given(st.floats(0.01, 20), st.floats(0.001, 0.999) | st.just(1.0))
def test_effectiveness_equals_ht(ntu, capacity_ratio):
    theirs = ht.effectiveness_from_NTU(NTU=ntu, Cr=capacity_ratio, subtype="counterflow")
    assert cdu.effectiveness(ntu, capacity_ratio) == pytest.approx(theirs, abs=1e-5)


def test_pg25_equals_coolprop():
    density = PropsSI("D", "T", 313.15, "P", 101_325.0, "INCOMP::MPG-25%")
    heat = PropsSI("C", "T", 313.15, "P", 101_325.0, "INCOMP::MPG-25%")
    assert (density, heat) == (pytest.approx(PG25[0], rel=1e-3), pytest.approx(PG25[1], rel=1e-3))


@pytest.mark.parametrize(("coolant", "rise_k"), [(WATER, 9.6), (PG25, 10.06)])
def test_c2_rise_at_the_ocp_flow(coolant, rise_k):
    assert 1000.0 / cdu.capacity_rate_w_per_k(1.5, *coolant) == pytest.approx(rise_k, rel=0.02)


def test_c3_cold_plate():
    assert cdu.capacity_rate_w_per_k(13.0, *WATER) * 10.0 == pytest.approx(9000.0, rel=0.01)


def test_c5_frontier_loop():
    gallons_l = 6000 * 3.785412
    assert 1e6 / cdu.capacity_rate_w_per_k(gallons_l, *WATER) == pytest.approx(0.635, rel=0.03)


@given(st.floats(0.0, 2.0), st.floats(0.0, 2.0))
def test_conductance_never_passes_more_than_the_smaller_stream(coolant_ratio, facility_ratio):
    coolant, facility = 6682.0 * coolant_ratio, 8322.0 * facility_ratio
    ua = cdu.ua_w_per_k(15_700.0, coolant_ratio, facility_ratio, 0.7)
    passed = cdu.conductance_w_per_k(ua, coolant, facility)
    assert cdu.CREEP_W_PER_K <= passed <= max(min(coolant, facility), cdu.CREEP_W_PER_K) + 1e-6


@pytest.mark.parametrize(("speed", "flow", "power_w"), [(0.0, 1.0, 0.0), (1.0, 1.0, 500.0), (1.0, 0.0, 262.5)])
def test_pump_power_named_points(speed, flow, power_w):
    assert cdu.pump_power_w(500.0, speed, 0.05, flow) == pytest.approx(power_w)


def test_pump_power_follows_the_cube_of_speed():
    speed = np.array([0.3, 0.6])
    hydraulic = cdu.pump_power_w(1000.0, speed, 0.05) - 50.0
    assert hydraulic[1] / hydraulic[0] == pytest.approx(8.0)
