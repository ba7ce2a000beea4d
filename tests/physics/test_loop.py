import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq

from twin.physics import loop

CURVE = {"duty_n": 3, "head_shutoff_ratio": 1.25, "head_slope_ratio": 0.25}


@pytest.mark.parametrize(("running", "flow"), [(3, 1.0), (2, 0.894), (1, 0.620), (0, 0.0)])
def test_pumps_of_the_reference_plant(running, flow):
    speed = np.array([[1.0] * running + [0.0] * (4 - running)])
    ratios = loop.parallel_flow_ratios(speed, np.ones((1, 4)), np.ones(1), **CURVE)
    assert ratios.sum() / 3 == pytest.approx(flow, abs=0.001)


def test_one_pump_alone_runs_out():
    ratios = loop.parallel_flow_ratios(np.array([[1.0, 0.0, 0.0]]), np.ones((1, 3)), np.ones(1), **CURVE)
    assert ratios[0, 0] == pytest.approx(1.86, abs=0.01)


@given(
    st.lists(st.sampled_from([0.0, 0.5, 0.9, 1.0]), min_size=4, max_size=4),
    st.lists(st.floats(0.0, 1.0), min_size=4, max_size=4),
    st.floats(0.2, 1.0),
)
def test_flow_meets_the_system_curve(speed, health, opening):
    speed, health = np.array([speed]), np.array([health])
    flow = loop.parallel_flow_ratios(speed, health, np.array([opening]), **CURVE)

    def excess(head):
        free = np.sqrt(np.maximum(1.25 * speed**2 - head, 0.0) / 0.25)
        return float((free * health).sum()) - 3 * opening * np.sqrt(head)

    most = 1.25 * float(speed.max()) ** 2
    head = brentq(excess, 0.0, most, xtol=1e-14) if most > 0 and excess(0.0) > 0 else 0.0
    assert flow.sum() == pytest.approx(3 * opening * np.sqrt(head), rel=0.01, abs=0.003)


def test_half_loop_of_the_reference_plant():
    after = loop.mixed_c(27.0, 28.0, 6.52e6, 900e6, 138.0)
    assert after == pytest.approx(28.0 - np.exp(-1.0), abs=0.001)


@given(st.floats(5, 50), st.floats(5, 50), st.floats(0, 1e7), st.floats(0.01, 1e5))
def test_two_half_steps_equal_one_and_stay_between(temp, inlet, rate, dt_s):
    one = loop.mixed_c(temp, inlet, rate, 900e6, dt_s)
    two = loop.mixed_c(loop.mixed_c(temp, inlet, rate, 900e6, dt_s / 2), inlet, rate, 900e6, dt_s / 2)
    assert two == pytest.approx(one, abs=1e-9)
    assert min(temp, inlet) - 1e-9 <= one <= max(temp, inlet) + 1e-9
