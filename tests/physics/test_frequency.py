from hypothesis import given
from hypothesis import strategies as st

from twin.physics import frequency


@given(st.floats(0, 1e8))
def test_strong_grid_stays_in_its_normal_band(time_s):
    assert abs(frequency.grid_hz(time_s) - 60.0) <= 0.02


def test_it_moves_slowly():
    steps = [abs(frequency.grid_hz(t + 1.0) - frequency.grid_hz(float(t))) for t in range(600)]
    assert 0.0 < max(steps) < 0.002
