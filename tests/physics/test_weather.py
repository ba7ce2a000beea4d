"""Acceptance row M2; everything against psychrolib."""

import numpy as np
import psychrolib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin.physics import weather

psychrolib.SetUnitSystem(psychrolib.SI)
PRESSURE_PA = 100_680.0


def test_m2_wet_bulb():
    dew_c = psychrolib.GetTDewPointFromRelHum(30.0, 0.5)
    assert weather.wet_bulb_c(30.0, dew_c, 101_325.0) == pytest.approx(22.00, abs=0.01)


@given(st.floats(3, 45), st.floats(0.1, 1.0))
def test_wet_bulb_equals_psychrolib(temp_c, humidity):
    dew_c = psychrolib.GetTDewPointFromRelHum(temp_c, humidity)
    theirs = psychrolib.GetTWetBulbFromTDewPoint(temp_c, min(dew_c, temp_c), PRESSURE_PA)
    if abs(theirs) > 0.1:  # at the change from ice to water the two equations differ
        assert weather.wet_bulb_c(temp_c, dew_c, PRESSURE_PA) == pytest.approx(theirs, abs=0.002)


@given(st.floats(-20, 50))
def test_saturation_pressure_equals_psychrolib(temp_c):
    ours = weather.saturation_pressure_pa(temp_c)
    assert ours == pytest.approx(psychrolib.GetSatVapPres(temp_c), rel=1e-4)


@given(st.floats(0, 45), st.floats(0.1, 1.0))
def test_dew_point_equals_psychrolib(temp_c, humidity):
    theirs = psychrolib.GetTDewPointFromRelHum(temp_c, humidity)
    if theirs > 0.0:
        assert weather.dew_point_c(temp_c, humidity) == pytest.approx(theirs, abs=0.1)


@given(st.floats(-10, 45))
def test_enthalpy_equals_psychrolib(temp_c):
    theirs = psychrolib.GetSatAirEnthalpy(temp_c, PRESSURE_PA)
    assert weather.saturated_enthalpy_j_per_kg(temp_c, PRESSURE_PA) == pytest.approx(theirs, rel=1e-3, abs=10)


def test_saturated_air_has_one_temperature():
    assert weather.wet_bulb_c(25.0, 25.0, PRESSURE_PA) == pytest.approx(25.0, abs=1e-6)


@pytest.mark.parametrize(("hour", "value"), [(0.0, 1.0), (0.25, 1.25), (1.0, 2.0), (2.5, 2.0), (3.0, 1.0), (-0.5, 2.0)])
def test_table_closes_on_itself(hour, value):
    table = np.array([[1.0], [2.0], [3.0]])
    assert weather.at_hour(table, hour)[0] == pytest.approx(value)
