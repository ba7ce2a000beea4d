"""Acceptance rows H1 and H2 of the air screw, and the order of things outside its rating point."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin.physics import chiller

CAPFT = (0.985959, 0.049487, -0.000298, -0.003737, -4.5e-05, -0.000502)
EIRFT = (0.570624, 0.011954, -0.000522, -3.2e-05, 0.000421, -0.000606)
EIRFPLR = (0.036487, 0.734743, 0.219947)


def cop(leaving_c, outdoor_c, load_ratio=1.0):
    power = chiller.power_w(
        1.0,
        load_ratio,
        rated_cop=2.80,
        input_ratio_fit=EIRFT,
        part_load_fit=EIRFPLR,
        part_load_min_ratio=0.15,
        leaving_c=leaving_c,
        outdoor_c=outdoor_c,
    )
    return load_ratio / power


@pytest.mark.parametrize(
    ("leaving_c", "outdoor_c", "capacity", "published_cop"),
    [(6.67, 35.0, 0.9997, 2.80), (20.0, 35.0, 1.319, 4.05), (18.0, 35.0, 1.278, 3.735)],
)
def test_h1_h2(leaving_c, outdoor_c, capacity, published_cop):
    assert chiller.capacity_w(1.0, CAPFT, leaving_c, outdoor_c) == pytest.approx(capacity, rel=0.005)
    assert cop(leaving_c, outdoor_c) == pytest.approx(published_cop, rel=0.005)


def test_h2_without_the_part_load_correction():
    # The published 4.09 leaves the part load fit at its sum of 0.991.
    assert cop(20.0, 35.0) / sum(EIRFPLR) == pytest.approx(4.09, rel=0.005)


def test_reference_hall():
    assert 12 * chiller.capacity_w(1.68e6, CAPFT, 20.0, 35.0) == pytest.approx(26.6e6, rel=0.005)


@given(st.floats(6.67, 19.0), st.floats(15.0, 44.0))
def test_cop_falls_with_outdoor_and_rises_with_leaving(leaving_c, outdoor_c):
    assert cop(leaving_c, outdoor_c) > cop(leaving_c, outdoor_c + 1.0)
    assert cop(leaving_c + 1.0, outdoor_c) > cop(leaving_c, outdoor_c)


def test_part_load_is_continuous_and_cycles_to_nothing():
    loads = np.linspace(0.0, 1.0, 1001)
    power = loads / np.array([cop(20.0, 35.0, load) if load else np.inf for load in loads])
    assert power[0] == 0.0
    assert np.all(np.diff(power) > 0.0)
    assert np.diff(power).max() < 0.002
