"""The numbers of the site: known sums and figures, what is unknown, and histograms."""

import math

import numpy as np
import orjson
import pytest

from tests.state.site_scene import (
    CHILLERS,
    GRID,
    LAYOUT,
    PARTITIONS,
    SITE,
    TURBINES,
    Desk,
    all_of,
    read,
    set_column,
    value,
)
from twin.events.derived import TWIN_RACK
from twin.events.frames import decode_frame
from twin.events.measurements import POWER_EDGES_W, TEMP_EDGES_C
from twin.state import picture
from twin.state.parts import HallTotals


@pytest.fixture
def desk(readings, run) -> Desk:
    return Desk(readings, run)


# --- numbers


def test_figures_of_merit_with_known_numbers(desk):
    meters = SITE.layout.hall_count
    changes = {
        GRID: all_of(
            set_column("feed", "power_w", 3e6),
            set_column("feed", "limit_w", 6e6),
            set_column("battery", "power_w", -1e6),
            set_column("battery", "available_w", 2e6),
            set_column("meter", "power_w", 1e6, 1e6),
        ),
        TURBINES: all_of(
            set_column("turbine", "power_w", 4e6),
            set_column("turbine", "running", 1),
            set_column("turbine", "available_w", 5e6, 5e6),  # one that stands can give nothing
            set_column("turbine", "fuel_power_w", 10e6),
            set_column("permit", "nox_ston", 0.25 * SITE.permit.nox_cap_ston),
        ),
        CHILLERS: set_column("loop", "makeup_l_min", 10.0),
    }
    (out,) = desk.racks(0, 0.0) + desk.units(0, 0.0, changes=changes)
    site = {name: values.item() for name, values in read(out).dense["site"].items()}
    it, facility, plants = meters * 1e6, 6e6, len(LAYOUT.keys(CHILLERS))
    assert (site["it_power_w"], site["facility_power_w"]) == (it, facility)
    assert site["pue"] == pytest.approx(facility / it)
    assert site["wue_l_kwh"] == pytest.approx(plants * 10 * 60 / (it / 1000), rel=1e-4)
    assert (site["feed_load"], site["turbine_load"], site["battery_load"]) == (0.5, 0.8, 0.5)
    assert site["spare_power_w"] == 3e6 + 1e6  # of the feed and of the turbine that runs: batteries are no spare
    mmbtu_h = 10e6 * SITE.turbine.hhv_per_lhv_ratio * 3600 / 1.05505585e9
    co2_kg_h = mmbtu_h * SITE.turbine.emissions.co2_lb_per_mmbtu * 0.45359237
    assert site["cue_kg_kwh"] == pytest.approx(co2_kg_h / (it / 1000), rel=1e-4)
    water_l_h, prices = plants * 600, SITE.prices
    assert site["cost_usd_h"] == pytest.approx(
        3 * prices.feed_usd_per_mwh + mmbtu_h * prices.gas_usd_per_mmbtu + water_l_h * prices.water_usd_per_l, rel=1e-4
    )
    assert value(out, "permit", "nox_cap_ratio") == pytest.approx(0.25, abs=1e-3)
    assert value(out, "close", "site_time_s") == (195 * 24 + 14) * 3600 + 1  # 15 July, 14:00, after the first step


def test_the_share_of_throttled_gpus(desk):
    def throttled(data):
        data["hall"]["throttle_thermal_n"] = [128]

    desk.units(0, 0.0)
    desk.racks(0, 0.0, without=[0])
    (out,) = desk.send("twin.rack", 0, 0, 0.1, change=throttled)
    assert read(out).dense["hall"]["throttle_thermal_ratio"].tolist()[0] == 128 / 1024


def test_halls_are_the_sums_of_their_racks(desk):
    (out,) = desk.whole(0, 0.0)
    hall = read(out).dense["hall"]
    power = np.zeros(4)
    for number in PARTITIONS:
        rack = decode_frame(TWIN_RACK, desk.readings["twin.rack", str(number)], {"close": 1}).dense["rack"]
        np.add.at(power, SITE.layout.rack_hall[rack["rack_i"].astype(int)], rack["power_w"])
    np.testing.assert_allclose(hall["power_w"], power)
    assert hall["measured_n"].tolist() == [1024] * 4
    it = value(out, "site", "it_power_w")
    balance = (it - power.sum() - SITE.electrical.other_it_w) / it
    assert value(out, "site", "power_balance_ratio") == pytest.approx(balance, abs=1e-5)
    assert abs(balance) < 0.01  # the meters agree with the racks
    dew = orjson.loads(desk.readings[CHILLERS, "cooling-1"])["weather"]["dew_point_c"][0]
    assert (hall["dew_margin_k"] < hall["coolant_supply_c"] - dew + 1e-3).all()
    assert read(out).text["loop"]["unit"] == [f"loop-{i}" for i in range(1, 5)]


@pytest.mark.parametrize(
    ("topic", "fields"),
    [
        (GRID, "it_power_w feed_power_w battery_power_w facility_power_w pue wue_l_kwh cue_kg_kwh feed_load "
               "battery_soc battery_load battery_autonomy_s frequency_hz islanded power_swing_w heat_balance_ratio "
               "power_balance_ratio cost_usd_h spare_power_w"),
        (TURBINES, "turbine_power_w turbine_available_w turbine_load facility_power_w pue cue_kg_kwh cost_usd_h "
                   "spare_power_w"),
        (CHILLERS, "wue_l_kwh cost_usd_h heat_balance_ratio water_today_l"),
    ],
)  # fmt: skip
def test_without_a_topic_its_numbers_are_unknown_not_zero(desk, topic, fields):
    desk.racks(0, 0.0)
    desk.units(0, 0.0, without=[topic])
    (out,) = desk.tick(1.0)
    data = orjson.loads(out.data)
    assert {name: data["site"][name] for name in fields.split()} == {name: [None] for name in fields.split()}
    if topic == TURBINES:
        assert data["permit"]["nox_ston"] == [None]


@pytest.mark.parametrize(
    ("topic", "group", "column", "field"),
    [(GRID, "feed", "power_w", "feed_power_w"), (GRID, "meter", "power_w", "it_power_w"),
     (TURBINES, "turbine", "power_w", "turbine_power_w")],
)  # fmt: skip
def test_a_sum_of_which_nothing_was_measured_is_unknown(desk, topic, group, column, field):
    (out,) = desk.racks(0, 0.0) + desk.units(0, 0.0, changes={topic: set_column(group, column, None, None)})
    assert math.isnan(value(out, "site", field))
    assert math.isnan(value(out, "site", "pue"))


def test_a_doubted_value_counts_for_nothing(desk):
    def doubted(data):
        data["meter"]["power_w"][0] = 4e9
        data["suspect"] = {"meter.power_w": [0]}

    (out,) = desk.racks(0, 0.0) + desk.units(0, 0.0, changes={GRID: doubted})
    assert value(out, "site", "it_power_w") < 1e9
    assert math.isnan(read(out).dense["hall"]["meter_power_w"][0])
    assert desk.keeper.intake[GRID].suspects == 1


def test_a_sum_is_unknown_when_one_of_several_plants_is_missing(desk):
    desk.racks(0, 0.0)
    desk.units(0, 0.0, without=[(CHILLERS, "cooling-3")])
    (out,) = desk.tick(1.0)
    assert math.isnan(value(out, "site", "wue_l_kwh"))
    assert math.isnan(value(out, "site", "water_today_l"))
    assert not math.isnan(value(out, "site", "pue"))
    assert read(out).text["loop"]["unit"] == ["loop-1", "loop-2", "loop-4"]
    assert not np.isnan(read(out).dense["hall"]["dew_margin_k"]).any()  # every plant tells the same weather


def test_a_hall_without_racks_is_unknown_but_for_what_was_measured_there(desk):
    in_h1 = [number for number in PARTITIONS if SITE.layout.array_hall[number] == 0]
    desk.units(0, 0.0)
    desk.racks(0, 0.0, without=in_h1)
    (out,) = desk.tick(1.0)
    hall = read(out).dense["hall"]
    known = {"hall_i", "meter_power_w", "measured_n", "stale_n"}
    assert {name for name, values in hall.items() if not math.isnan(values[0])} == known
    assert hall["measured_n"].tolist() == [0, 1024, 1024, 1024]
    assert not any(math.isnan(values[1]) for values in hall.values())
    assert value(out, "site", "power_balance_ratio") > 0.1  # the racks that are silent are missed


def test_without_any_racks_their_counts_are_unknown(desk):
    desk.units(0, 0.0)
    (out,) = desk.tick(3.0)
    data = orjson.loads(out.data)["site"]
    assert {name: data[name] for name in ("gpu_busy_n", "gpu_down_n", "throttle_brake_n", "ecc_dbe_n")} == {
        "gpu_busy_n": [None],
        "gpu_down_n": [None],
        "throttle_brake_n": [None],
        "ecc_dbe_n": [None],
    }
    assert data["gpu_measured_n"] == [0]


@pytest.mark.parametrize(
    ("power_w", "expected_s"),
    [
        (1e6, 3600 * (0.55 - SITE.battery.soc_min) * SITE.battery.energy_wh * SITE.battery.discharge_efficiency / 1e6),
        (0.0, 86_400),  # not discharged
        (-1e6, 86_400),  # charging
        (1.0, 86_400),  # longer than a day is for ever
        (None, math.nan),
    ],
)
def test_the_time_until_the_battery_is_empty(desk, power_w, expected_s):
    change = all_of(set_column("battery", "power_w", power_w), set_column("battery", "soc", 0.55))
    (out,) = desk.racks(0, 0.0) + desk.units(0, 0.0, changes={GRID: change})
    assert value(out, "site", "battery_autonomy_s") == pytest.approx(expected_s, nan_ok=True)


# --- what needs more than one tick


def test_swing_within_the_second_and_ramp_of_the_load(desk):
    def load(low, high):
        return {GRID: lambda data: data["fast"].update(load_w=[low] * 10 + [high] * 10)}

    (out,) = desk.racks(0, 0.0) + desk.units(0, 0.0, changes=load(0.9e6, 1.1e6))
    assert value(out, "site", "power_swing_w") == pytest.approx(0.2e6)
    assert math.isnan(value(out, "site", "ramp_max_w_s"))
    (out,) = desk.racks(2, 2.0) + desk.units(2, 2.0, changes=load(2e6, 2e6))
    assert value(out, "site", "power_swing_w") == 0
    assert value(out, "site", "ramp_max_w_s") == value(out, "site", "ramp_min_w_s") == pytest.approx(0.5e6)


# --- histograms


@pytest.mark.parametrize("share", [0.01, 0.5, 0.9, 0.99, 1.0])
@pytest.mark.parametrize("n", [1, 7, 1000])
def test_a_quantile_is_right_to_half_a_bin(share, n):
    temps = np.random.default_rng(n).uniform(20, 100, n)
    hist = np.bincount((temps / 0.5).astype(int), minlength=240)
    exact = np.quantile(temps, share, method="inverted_cdf")
    assert abs(picture.quantile_c(hist, share) - exact) <= 0.25 + 1e-9


def test_the_quantile_of_nothing_is_unknown():
    assert math.isnan(picture.quantile_c(np.zeros(240, dtype=int), 0.99))


def test_gpu_hist_bins_are_numpys():
    rng = np.random.default_rng(5)
    temps, powers = np.round(rng.uniform(0, 119, (4, 500)) * 2) / 2, rng.uniform(0, 1490, (4, 500))
    totals = HallTotals(
        {}, {}, {}, {}, {},
        temp_hist=np.array([np.bincount((row / 0.5).astype(int), minlength=240) for row in temps]),
        power_hist=np.array([np.bincount((row / 10).astype(int), minlength=150) for row in powers]),
    )  # fmt: skip
    rows = picture.histogram_rows(totals)
    assert rows["scope_i"].tolist() == [0, 1, 2, 3, 4]
    for letter, edges, values in (("t", TEMP_EDGES_C, temps), ("p", POWER_EDGES_W, powers)):
        names = [f"{letter}_lt_{edge}" for edge in edges] + [f"{letter}_ge_{edges[-1]}"]
        for scope, of_scope in enumerate([values.ravel(), *values]):
            expected = np.histogram(of_scope, [-np.inf, *edges, np.inf])[0].tolist()
            assert [rows[name][scope] for name in names] == expected
