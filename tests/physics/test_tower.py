"""Acceptance rows H5 and H6, and the table of loop temperatures without chillers of the reference plant."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin.physics import tower
from twin.site import load_site

WATER_KG_S, AIR_M3_S = 1.09317 * 0.9957, 0.56124
RATED = {"wet_bulb_c": 25.6, "range_k": 5.5, "approach_k": 3.9, "pressure_pa": 101_325.0}
SMALL_UA = tower.rated_ua_w_per_k(WATER_KG_S, AIR_M3_S * tower.AIR_DENSITY_KG_M3, **RATED)


def small(water_in_c, wet_bulb_c, fan_ratio, **more):
    return tower.outlet(
        water_in_c,
        wet_bulb_c,
        water_kg_s=1.089,
        air_kg_s=AIR_M3_S * tower.AIR_DENSITY_KG_M3 * fan_ratio,
        ua_w_per_k=SMALL_UA * tower.air_factor(fan_ratio),
        pressure_pa=101_325.0,
        design_wet_bulb_c=25.6,
        **more,
    )


@pytest.mark.parametrize(
    ("wet_bulb_c", "water_in_c", "fan_ratio", "published_c"),
    [(19.20, 32.63, 0.322, 30.00), (24.55, 37.07, 0.659, 31.49)],
)
def test_h5_energyplus_run(wet_bulb_c, water_in_c, fan_ratio, published_c):
    assert small(water_in_c, wet_bulb_c, fan_ratio).water_c == pytest.approx(published_c, abs=0.1)


def test_rated_point_comes_back():
    assert small(25.6 + 3.9 + 5.5, 25.6, 1.0).water_c == pytest.approx(25.6 + 3.9, abs=0.03)


@pytest.mark.parametrize(
    ("wet_bulb_c", "supply_c"), [(19.5, 27.0), (22.0, 28.6), (24.0, 29.9), (25.0, 30.6), (26.7, 31.8)]
)
def test_loop_of_the_reference_plant_without_chillers(wet_bulb_c, supply_c):
    site = load_site("colossus1")
    plate = site.tower
    water = plate.water_flow_l_min / 60_000.0 * site.loop.water_density_kg_m3
    air = plate.air_flow_m3_s * tower.AIR_DENSITY_KG_M3
    ua = tower.rated_ua_w_per_k(
        water, air, wet_bulb_c=25.6, range_k=8.0, approach_k=plate.design_approach_k, pressure_pa=101_325.0
    )
    found = 40.0
    for _ in range(60):
        out = tower.outlet(
            found + 8.0 - 1.5,
            wet_bulb_c,
            water_kg_s=water,
            air_kg_s=air,
            ua_w_per_k=ua,
            pressure_pa=100_680.0,
            design_wet_bulb_c=25.6,
        )
        found = 0.5 * (found + out.water_c + 1.5)
    assert found == pytest.approx(supply_c, abs=0.25)


@given(st.floats(26, 45), st.floats(-10, 25), st.floats(0.2, 0.95))
def test_more_air_and_drier_air_cool_better_but_never_below_wet_bulb(water_in_c, wet_bulb_c, fan_ratio):
    out = small(water_in_c, wet_bulb_c, fan_ratio).water_c
    assert wet_bulb_c - 1e-9 <= out <= water_in_c
    assert small(water_in_c, wet_bulb_c, fan_ratio + 0.05).water_c <= out + 1e-6
    assert small(water_in_c, wet_bulb_c - 1.0, fan_ratio).water_c <= out + 1e-6


def test_drier_air_than_designed_raises_the_conductance():
    as_rated = {"water_kg_s": 1.089, "air_kg_s": 0.67, "pressure_pa": 101_325.0}
    corrected = tower.outlet(32.0, 15.6, ua_w_per_k=SMALL_UA, design_wet_bulb_c=25.6, **as_rated).water_c
    by_hand = tower.outlet(32.0, 15.6, ua_w_per_k=SMALL_UA * 1.081, design_wet_bulb_c=15.6, **as_rated).water_c
    assert corrected == pytest.approx(by_hand, abs=1e-9)


def test_water_at_wet_bulb_is_not_cooled():
    assert small(20.0, 20.0, 1.0).water_c == pytest.approx(20.0)


def test_two_passes_from_the_last_air_are_enough():
    full = small(35.0, 24.0, 0.8)
    near = small(35.1, 24.0, 0.8, passes_n=2, guess_c=full.air_wet_bulb_c)
    assert near.water_c == pytest.approx(small(35.1, 24.0, 0.8).water_c, abs=0.01)


def test_h6_evaporation():
    assert tower.evaporation_l_min(1e6, 1.0) * 60.0 / 1000.0 == pytest.approx(1.48, rel=0.01)


def test_blowdown_is_not_negative():
    np.testing.assert_allclose(tower.blowdown_l_min(np.array([100.0, 1.0]), 5.0, 3.0), [45.0, 0.0])
