"""Acceptance row P1, and named limits."""

import pytest

from twin import kpi


def test_p1_reference_plant_is_near_the_claim():
    assert kpi.pue(225e6, 206e6) == pytest.approx(1.09, abs=0.01)
    assert kpi.pue(250e6, 206e6) == pytest.approx(1.21, abs=0.01)


def test_wue_of_full_evaporation():
    assert kpi.wue_l_kwh(1e6 * 1.48 / 60_000.0, 1e6) == pytest.approx(1.48)


def test_cue_is_carbon_per_energy():
    assert kpi.cue_kg_kwh(532.0 * 100.0, 100e6) == pytest.approx(0.532)


@pytest.mark.parametrize("figure", [kpi.pue, kpi.wue_l_kwh, kpi.cue_kg_kwh])
def test_no_it_no_meaning(figure):
    assert figure(1e6, 0.0) == 0.0


def test_cost_adds_up():
    prices = {"feed_usd_per_mwh": 58.0, "gas_usd_per_mmbtu": 3.66, "water_usd_per_l": 0.0005}
    assert kpi.cost_usd_h(feed_w=1e6, fuel_mmbtu_h=0.0, water_l_min=0.0, **prices) == pytest.approx(58.0)
    assert kpi.cost_usd_h(feed_w=0.0, fuel_mmbtu_h=1.0, water_l_min=0.0, **prices) == pytest.approx(3.66)
    assert kpi.cost_usd_h(feed_w=0.0, fuel_mmbtu_h=0.0, water_l_min=1000.0, **prices) == pytest.approx(30.0)


def test_lost_work_has_a_price():
    assert kpi.lost_work_usd(75_000.0, 7.70) == pytest.approx(577_500.0)
