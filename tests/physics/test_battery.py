"""Acceptance rows E3 and E4."""

import numpy as np
import pytest

from twin.physics import battery

BOTH = {"charge_efficiency": 0.959, "discharge_efficiency": 0.959}


def test_e3_round_trip():
    stored = battery.charge_change(-1e6, 1e9, 3600.0, **BOTH)
    given = -battery.charge_change(1e6, 1e9, 3600.0, **BOTH)
    assert stored / given == pytest.approx(0.92, rel=0.01)


def test_e4_energy_of_a_step():
    smooth, given_j = 200e6, 0.0
    for _ in range(6000):
        after = battery.smoothed_w(smooth, 250e6, 0.1, 30.0)
        given_j += (250e6 - 0.5 * (smooth + after)) * 0.1
        smooth = after
    assert given_j / 3600.0 == pytest.approx(0.417e6, rel=0.01)


def test_e4_two_second_cycle():
    assert battery.attenuation(2.0, 30.0) == pytest.approx(94.0, rel=0.01)
    smooth, seen = 0.0, []
    for tick in range(40_000):
        smooth = battery.smoothed_w(smooth, np.sin(2 * np.pi * tick * 0.01 / 2.0), 0.01, 30.0)
        seen.append(smooth)
    swing = np.ptp(np.array(seen[-2000:])) / 2.0
    assert 1.0 / swing == pytest.approx(94.0, rel=0.02)


def test_limits_at_the_ends_of_the_window():
    common = {"dt_s": 3600.0}
    give = {"soc_min": 0.05, "discharge_efficiency": 0.959, **common}
    take = {"soc_max": 0.95, "charge_efficiency": 0.959, **common}
    assert battery.discharge_limit_w(0.05, 647e6, 150e6, **give) == 0.0
    assert battery.discharge_limit_w(0.12, 647e6, 150e6, **give) == pytest.approx(0.07 * 647e6 * 0.959)
    assert battery.charge_limit_w(0.95, 647e6, 150e6, **take) == 0.0
    assert battery.charge_limit_w(0.5, 647e6, 150e6, **take) == 150e6


def test_limit_is_just_what_empties_the_battery():
    most = battery.discharge_limit_w(0.0501, 647e6, 150e6, soc_min=0.05, discharge_efficiency=0.959, dt_s=60.0)
    assert 0.0501 + battery.charge_change(most, 647e6, 60.0, **BOTH) == pytest.approx(0.05)
