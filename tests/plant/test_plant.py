"""The sums of the reference plant, balances, a steady start, and independence of the step."""

import numpy as np
import pytest

from twin.errors import PlantError
from twin.plant import build, step
from twin.site import load_site


def means(plant, ticks):
    """Average what matters over a whole number of steps of the hero job."""
    scale = 1e-6 / plant.site.scale
    rows = []
    for _ in range(ticks):
        step(plant, 1.0)
        power = plant.power
        rows.append(
            [
                float(power.it_power_w),
                float(power.facility_power_w),
                float(plant.cooling.chillers.power_w.sum()),
                float(power.feed.power_w.sum()),
                float(power.turbines.power_w.sum()),
                float(power.loss_power_w),
            ]
        )
    return dict(
        zip(("it", "facility", "chillers", "feed", "turbines", "loss"), np.mean(rows, axis=0) * scale, strict=True)
    )


@pytest.mark.parametrize("name", ["colossus1", "mini"])
def test_load_of_the_reference_plant_on_a_hot_day(name):
    plant = build(load_site(name), 7, "08-21T15:00", automatic_operator=False)
    mw = means(plant, 30)
    assert mw["it"] == pytest.approx(206.0, abs=4.0)
    assert mw["facility"] == pytest.approx(250.0, abs=5.0)
    assert mw["chillers"] == pytest.approx(23.0, abs=3.0)
    assert mw["loss"] == pytest.approx(6.0, abs=0.5)
    assert mw["turbines"] == pytest.approx(100.0, abs=0.5)
    assert mw["feed"] == pytest.approx(150.0, abs=5.0)
    assert int((plant.power.turbines.state_code == 3).sum()) == 8


@pytest.mark.parametrize("name", ["colossus1", "mini"])
def test_temperatures_of_the_reference_plant(name):
    plant = build(load_site(name), 7, "08-21T14:00", automatic_operator=False)
    busy = plant.jobs.server_job.repeat(plant.site.layout.gpus_per_server) >= 0
    temp = plant.gpus.temp_c.astype(float)
    assert temp[busy].mean() == pytest.approx(47.8, abs=0.4)
    hottest = temp.reshape(-1, 64).max(axis=1)
    assert np.median(hottest) == pytest.approx(51.7, abs=0.7)
    assert np.median(plant.cooling.cdus.supply_c) == pytest.approx(29.3, abs=0.2)
    np.testing.assert_allclose(plant.cooling.loops.return_c, 35.0, atol=0.3)


def test_mild_day_runs_without_chillers(mild, run):
    mw = means(mild, 30)
    assert mw["chillers"] == 0.0
    assert mw["facility"] == pytest.approx(225.0, abs=5.0)
    assert mw["feed"] == pytest.approx(125.0, abs=5.0)
    run(mild, 300, dt_s=10.0)
    np.testing.assert_allclose(mild.cooling.loops.supply_c, 27.0, atol=0.1)


@pytest.mark.parametrize("weather_at", ["01-10T05:00", "04-01T12:00", "07-15T14:00", "08-21T14:00"])
def test_a_new_plant_is_steady(mini, run, weather_at):
    plant = build(mini, 3, weather_at, automatic_operator=True)
    supply, temp = plant.cooling.loops.supply_c.copy(), plant.gpus.temp_c.mean(dtype=float)
    run(plant, 540, dt_s=10.0)
    np.testing.assert_allclose(plant.cooling.loops.supply_c, supply, atol=0.5)
    assert plant.gpus.temp_c.mean(dtype=float) == pytest.approx(temp, abs=1.0)


def test_sources_equal_load_and_losses(hot):
    for _ in range(25):
        step(hot, 1.0)
        power = hot.power
        given = power.feed.power_w.sum() + power.turbines.power_w.sum() + power.battery.power_w.sum()
        drawn = power.it_power_w + power.cooling_power_w + power.aux_power_w + power.loss_power_w
        assert given == pytest.approx(float(drawn), rel=1e-12)
        assert power.facility_power_w == pytest.approx(float(drawn), rel=1e-12)


def test_heat_in_equals_heat_out_when_steady(hot, run):
    hot.jobs.checkpoint_interval_s[:] = 0.0
    run(hot, 400, dt_s=10.0)
    sums = np.zeros(3)
    for _ in range(31):  # whole steps of both training jobs
        step(hot, 1.0)
        cdus = hot.cooling.cdus
        captured = hot.site.server.liquid_capture_ratio * hot.gpus.rack_power_w.sum()
        sums += [captured, cdus.heat_w.sum(), hot.cooling.loops.heat_in_w.sum() / hot.cooling.loops.heat_out_w.sum()]
    assert sums[1] == pytest.approx(sums[0], rel=0.01)
    assert sums[2] / 31 == pytest.approx(1.0, abs=0.01)


def test_power_of_servers_adds_up_to_halls(hot, run):
    run(hot, 3)
    gpus, plate = hot.gpus, hot.site.server
    assert gpus.rack_power_w.sum() == pytest.approx(gpus.server_power_w.sum(), rel=1e-12)
    assert gpus.hall_power_w.sum() == pytest.approx(gpus.server_power_w.sum(), rel=1e-12)
    assert gpus.hall_gpu_power_w.sum() == pytest.approx(gpus.power_w.sum(dtype=float), rel=1e-12)
    base = gpus.server_power_w * plate.psu_efficiency - gpus.power_w.reshape(-1, 8).sum(axis=1, dtype=float)
    assert base.min() >= plate.base_idle_w - 1e-6
    assert base.max() <= plate.base_loaded_w + 1e-6


def test_two_half_steps_are_near_one(mini, run):
    whole, halves = (build(mini, 7, "08-21T14:00", automatic_operator=False) for _ in range(2))
    run(whole, 60)
    run(halves, 60, dt_s=0.5)
    np.testing.assert_allclose(halves.gpus.temp_c, whole.gpus.temp_c, atol=0.3)
    np.testing.assert_allclose(halves.cooling.loops.supply_c, whole.cooling.loops.supply_c, atol=0.02)
    np.testing.assert_allclose(halves.jobs.cycles, whole.jobs.cycles, atol=1e-6)
    assert halves.counters.facility_wh == pytest.approx(float(whole.counters.facility_wh), rel=2e-3)
    assert halves.counters.gas_mmbtu == pytest.approx(float(whole.counters.gas_mmbtu), rel=1e-6)


def test_time_goes_on(mini):
    plant = build(mini, 7, "12-31T23:59", automatic_operator=False)
    assert (plant.tick, plant.site_time_s) == (0, 365 * 86_400.0 - 60.0)
    for _ in range(61):
        step(plant, 1.0)
    assert (plant.tick, plant.elapsed_s, plant.site_time_s) == (61, 61.0, 1.0)


@pytest.mark.parametrize("weather_at", ["02-29T00:00", "13-01T00:00", "07-15", "07-15T24:00", "7-15T14:00"])
def test_impossible_weather_is_refused(mini, weather_at):
    with pytest.raises(PlantError, match="allowed is MM-DDTHH:MM"):
        build(mini, 7, weather_at)


def test_counters_follow_the_powers(hot, run):
    run(hot, 10)
    counters = hot.counters
    assert counters.facility_wh > counters.it_wh > 0.0
    sources = counters.feed_wh + counters.turbine_wh + counters.battery_out_wh - counters.battery_in_wh
    assert sources == pytest.approx(float(counters.facility_wh), rel=1e-9)
    assert counters.water_l == pytest.approx(hot.cooling.loops.makeup_total_l.sum(), rel=1e-9)
    money = counters.feed_wh / 1e6 * 58 + counters.gas_mmbtu * 3.66 + counters.water_l * 0.0005
    assert counters.cost_usd == pytest.approx(float(money), rel=1e-9)
