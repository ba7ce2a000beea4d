"""Acceptance rows T4 and T5."""

import numpy as np
import pytest

from twin.physics import emissions

NOX = {"uncontrolled": 0.32, "lean": 0.099, "catalysed": 0.00737, "low_load_ratio": 0.5, "low_load_factor": 3.0}


@pytest.mark.parametrize(("factor", "ston"), [(0.32, 86.40), (0.099, 26.73), (0.082, 22.14), (0.0066, 1.78)])
def test_t4_ap42(factor, ston):
    assert emissions.rate_lb_h(90.0, factor) * 6000 / emissions.LB_PER_STON == pytest.approx(ston, rel=0.002)


@pytest.mark.parametrize(("ppm", "factor"), [(25.0, 0.0921), (9.0, 0.0332), (2.0, 0.00737)])
def test_ppm_at_15_percent_oxygen(ppm, factor):
    assert ppm * emissions.NOX_LB_PER_MMBTU_PPM == pytest.approx(factor, rel=0.002)


def test_t5_fifteen_turbines_all_year():
    fuel_mmbtu_h = 247_000 * 10_670 / 1e6
    assert emissions.rate_lb_h(fuel_mmbtu_h, 0.00737) * 8760 / 2000 == pytest.approx(85.0, rel=0.03)


@pytest.mark.parametrize(
    ("load", "starting", "warm", "factor"),
    [
        (0.9, False, True, 0.00737),
        (0.9, False, False, 0.099),
        (0.4, False, False, 0.297),
        (0.4, False, True, 0.00737 * 3),
        (0.0, True, False, 0.32),
    ],
)
def test_modes_of_burning(load, starting, warm, factor):
    assert emissions.stack_factor(load, starting=starting, catalyst_warm=warm, **NOX) == pytest.approx(factor)


def test_vector_equals_scalar():
    load, warm = np.array([0.9, 0.4]), np.array([True, False])
    both = emissions.stack_factor(load, starting=np.zeros(2, bool), catalyst_warm=warm, **NOX)
    np.testing.assert_allclose(both, [0.00737, 0.297])
