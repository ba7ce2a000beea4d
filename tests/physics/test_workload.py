import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin.physics import workload

LEVELS = {"activity_high": 0.95, "activity_low": 0.35, "checkpoint_activity": 0.1}


def test_mean_of_a_training_step():
    assert workload.mean_activity(workload.high_share(0.0, 1.0, 0.85), 0.0, **LEVELS) == pytest.approx(0.86)


@given(st.floats(0, 50), st.floats(0.01, 20), st.floats(0.05, 0.95))
def test_share_equals_a_fine_sum(begin, span, duty):
    x = begin + (np.arange(20_000) + 0.5) / 20_000 * span
    assert workload.high_share(begin, begin + span, duty) == pytest.approx(np.mean(x % 1.0 < duty), abs=0.005)


@given(st.floats(0, 50), st.floats(0.01, 20), st.floats(0.01, 20), st.floats(0.05, 0.95))
def test_shares_of_two_spans_add_up(begin, first, second, duty):
    middle, end = begin + first, begin + first + second
    parts = first * workload.high_share(begin, middle, duty) + second * workload.high_share(middle, end, duty)
    assert workload.high_share(begin, end, duty) * (first + second) == pytest.approx(parts, abs=1e-6)


@pytest.mark.parametrize(("clock", "bandwidth", "ratio"), [(1.0, 1.0, 1.0), (0.5, 1.0, 1.85), (1.0, 0.5, 1.15)])
def test_step_waits_for_the_slowest(clock, bandwidth, ratio):
    assert workload.step_ratio(0.85, clock, bandwidth) == pytest.approx(ratio)
