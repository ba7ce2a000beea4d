import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin.physics import lag

SECONDS = st.floats(0.01, 1e4)


@given(value=st.floats(-100, 100), target=st.floats(-100, 100), dt_s=SECONDS, tau_s=SECONDS)
def test_two_half_steps_equal_one(value, target, dt_s, tau_s):
    one = lag.lagged(value, target, dt_s, tau_s)
    half = lag.lagged(value, target, dt_s / 2, tau_s)
    assert lag.lagged(half, target, dt_s / 2, tau_s) == pytest.approx(one, rel=1e-9, abs=1e-9)


def test_limits():
    assert lag.settled_ratio(1.0, np.inf) == 0.0
    assert lag.settled_ratio(1e9, 1.0) == 1.0
    assert lag.mean_of_lag_ratio(1e-12, 1.0) == 1.0


@given(dt_s=SECONDS, tau_s=SECONDS)
def test_mean_of_a_lag_is_its_integral(dt_s, tau_s):
    t = np.linspace(0.0, dt_s, 2001)
    integral = np.trapezoid(np.exp(-t / tau_s), t) / dt_s if dt_s / tau_s < 20 else tau_s / dt_s
    assert lag.mean_of_lag_ratio(dt_s, tau_s) == pytest.approx(integral, rel=1e-3)
