"""What needs more than one tick: ramps, balances of heat and water, the water of the day."""

import math
from typing import Any

import numpy as np
import pytest

from tests.state.site_scene import CHILLERS, GRID, LAYOUT, SITE
from twin.events.frames import Frame
from twin.state.picture import Row, Units
from twin.state.trends import Trends

PLANTS = LAYOUT.keys(CHILLERS)
NOON_S = 12 * 3600.0


def cooling(total_l: float = 0.0, **loop: float) -> dict[tuple[str, str], Frame]:
    """Make a frame of each cooling plant, its one loop with these values."""
    steady = {
        "supply_c": 27.0,
        "return_c": 37.0,
        "flow_l_min": 0.0,
        "heat_in_w": 1e6,
        "heat_out_w": 1e6,
        "makeup_l_min": 30.0,
        "evaporation_l_min": 20.0,
        "blowdown_l_min": 10.0,
        "level": 1.0,
    }
    groups = {"loop": steady | loop, "water": {"makeup_total_l": total_l / len(PLANTS)}}
    dense = {group: {name: np.array([value]) for name, value in columns.items()} for group, columns in groups.items()}
    return {(CHILLERS, key): Frame(dense=dense) for key in PLANTS}


def grid(load_w: float) -> dict[tuple[str, str], Frame]:
    return {(GRID, "power-1"): Frame(dense={"fast": {"load_w": np.full(20, load_w)}})}


def follow(trends: Trends, tick: int, units: Units, *, dt_s: float = 1.0, site_time_s: float = NOON_S) -> Row:
    return trends.follow(tick, units, dt_s=dt_s, site_time_s=site_time_s)


@pytest.fixture
def trends() -> Trends:
    return Trends(LAYOUT)


def test_a_ramp_is_per_second_whatever_the_tick_and_the_gaps(trends):
    assert "ramp_max_w_s" not in follow(trends, 4, grid(1e6), dt_s=0.5)
    assert follow(trends, 5, grid(2e6), dt_s=0.5)["ramp_max_w_s"] == 2e6
    row = follow(trends, 9, grid(0.0), dt_s=0.5)
    assert row["ramp_max_w_s"] == row["ramp_min_w_s"] == -1e6


def test_the_same_tick_again_and_an_older_one_change_nothing(trends):
    follow(trends, 5, grid(1e6) | cooling(100.0))
    assert follow(trends, 4, grid(9e6) | cooling(0.0)) == {}
    assert "ramp_max_w_s" not in follow(trends, 5, grid(9e6))
    assert follow(trends, 6, grid(3e6))["ramp_max_w_s"] == 2e6


def balances(trends: Trends, ticks: range, at: Any) -> list[tuple[float, float]]:
    rows = [follow(trends, tick, at(tick)) for tick in ticks]
    return [(row.get("heat_balance_ratio", math.nan), row.get("water_balance_ratio", math.nan)) for row in rows]


def test_what_goes_out_as_it_comes_in_balances_when_a_minute_is_known(trends):
    found = balances(trends, range(100), lambda tick: cooling())
    assert all(math.isnan(heat) and math.isnan(water) for heat, water in found[:60])
    assert found[60:] == [(0.0, 0.0)] * 40


def test_heat_that_warms_the_loop_is_not_lost(trends):
    """900 kW of 1 MW leave; the rest warms water and metal of the loop: half of them at each temperature."""
    per_s = 0.1e6 / SITE.loop.heat_capacity_j_per_k

    def at(tick):
        return cooling(heat_out_w=0.9e6, supply_c=27 + per_s * tick, return_c=37 + per_s * tick)

    assert balances(trends, range(70), at)[-1][0] == pytest.approx(0.0, abs=1e-9)


def test_heat_that_is_nowhere_shows(trends):
    assert balances(trends, range(70), lambda tick: cooling(heat_out_w=0.9e6))[-1][0] == pytest.approx(0.1)


def test_water_that_fills_the_tank_or_drifts_away_is_not_lost(trends):
    drift_l_min = SITE.tower.drift_ratio * 1000.0
    per_s = 5.0 / 60 / (1000 * SITE.loop.tank_volume_m3)

    def at(tick):
        return cooling(makeup_l_min=35 + drift_l_min, flow_l_min=1000.0, level=0.5 + per_s * tick)

    assert balances(trends, range(70), at)[-1][1] == pytest.approx(0.0, abs=1e-9)


def test_a_leak_shows(trends):
    assert balances(trends, range(70), lambda tick: cooling(makeup_l_min=40.0))[-1][1] == pytest.approx(0.25)


def test_a_balance_forgets_what_is_older_than_a_minute(trends):
    found = balances(trends, range(200), lambda tick: cooling(heat_out_w=0.5e6 if tick < 100 else 1e6))
    assert found[99][0] == pytest.approx(0.5)
    assert 0 < found[130][0] < 0.5
    assert found[160][0] == 0


def test_water_counts_from_the_first_tick_of_each_day(trends):
    second = 200 * 86_400.0 + 86_398
    litres = [1000.0, 1003.0, 1010.0, 1011.0]
    rows = [follow(trends, i, cooling(total_l), site_time_s=second + i) for i, total_l in enumerate(litres)]
    assert [row["water_today_l"] for row in rows] == [0, 3, 0, 1]
    plan_l = SITE.water.plan_l_per_day
    assert [row["water_plan_l"] for row in rows] == pytest.approx(
        [plan_l * 86_398 / 86_400, plan_l * 86_399 / 86_400, 0, plan_l / 86_400]
    )


def test_an_unknown_time_of_the_site_has_no_day(trends):
    assert "water_today_l" not in follow(trends, 0, cooling(5.0), site_time_s=math.nan)


def test_an_epoch_that_continues_goes_on_and_leaves_the_one_before_as_it_was(trends):
    for tick in range(100):
        follow(trends, tick, cooling(tick) | grid(1e6))
    row = follow(trends.continued(100), 100, cooling(100.0, heat_out_w=0.5e6) | grid(5e6))
    assert row["ramp_max_w_s"] == 4e6
    assert row["water_today_l"] == 100
    assert row["heat_balance_ratio"] == pytest.approx(0.5 / 60)
    assert follow(trends, 100, grid(1e6))["ramp_max_w_s"] == 0


def test_an_epoch_that_continues_forgets_the_ticks_that_it_does_again(trends):
    for tick in range(100):
        follow(trends, tick, cooling(tick) | grid(1e6))
    again = trends.continued(80)
    row = follow(again, 80, cooling(80.0, heat_out_w=0.5e6) | grid(5e6))
    assert row["water_today_l"] == 80
    assert not row.keys() & {"ramp_max_w_s", "heat_balance_ratio"}
    rows = [follow(again, tick, cooling(heat_out_w=0.5e6)) for tick in range(81, 100)]
    # Of the minute before tick 99, twenty seconds were lived through twice; the second time counts.
    assert rows[-1]["heat_balance_ratio"] == pytest.approx(0.5 * 20 / 60)
