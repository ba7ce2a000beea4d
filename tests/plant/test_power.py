import numpy as np
import pytest

from twin.plant import step
from twin.plant.commands import apply


def test_fast_channel_averages_to_the_tick_and_swings_with_the_job(hot, run):
    run(hot, 3)
    for _ in range(5):
        step(hot, 1.0)
        assert hot.power.fast_load_w.mean() == pytest.approx(float(hot.power.facility_power_w), rel=1e-9)
    swing = []
    for _ in range(10):
        step(hot, 1.0)
        swing.append(np.ptp(hot.power.fast_load_w))
    hero_w = hot.jobs.slope_w[0] * 0.6
    assert max(swing) >= 0.95 * hero_w


def test_battery_takes_the_swing_from_the_feed(hot, run):
    run(hot, 60, dt_s=5.0)
    load, feed = [], []
    for _ in range(25):
        step(hot, 1.0)
        load.append(hot.power.fast_load_w.copy())
        feed.append(hot.power.fast_feed_w.copy())
    assert np.ptp(np.concatenate(feed)) < 0.1 * np.ptp(np.concatenate(load))


def test_without_battery_the_feed_sees_it_all(hot, run):
    hot.power.battery.state_code[:] = 5
    run(hot, 10)
    assert hot.power.battery.power_w[0] == 0.0
    rest = hot.power.fast_load_w - hot.power.fast_feed_w
    np.testing.assert_allclose(rest, hot.power.turbines.power_w.sum(), rtol=1e-9)


def test_battery_setpoint_is_given_and_drains_the_packs(hot, run):
    wanted = 37e6 * hot.site.scale
    apply(hot, "battery.setpoint", "battery-1", {"power_w": wanted})
    given = []
    start = float(hot.power.battery.soc[0])
    for _ in range(62):
        step(hot, 5.0)
        given.append(float(hot.power.battery.power_w[0]))
    assert np.mean(given) == pytest.approx(wanted, rel=0.05)
    drained = (start - hot.power.battery.soc[0]) * hot.site.battery.energy_wh
    assert drained == pytest.approx(np.sum(given) * 5.0 / 3600.0 / 0.959, rel=0.05)
    assert hot.power.battery.soc[0] == pytest.approx(hot.power.battery.pack_soc.mean(), abs=0.001)


def test_empty_battery_gives_nothing(hot, run):
    hot.power.battery.pack_soc[:] = 0.05
    hot.power.battery.soc[:] = 0.05
    hot.power.battery.setpoint_w[:] = 1e6
    run(hot, 20)
    assert hot.power.battery.power_w[0] <= 1e-6
    assert hot.power.battery.soc[0] >= 0.0499


def test_start_of_a_turbine(hot, run):
    apply(hot, "turbine.start", "turbine-9", {})
    turbines = hot.power.turbines
    run(hot, 535, dt_s=5.0)
    run(hot, 4)
    assert (turbines.state_code[8], turbines.power_w[8]) == (2, 0.0)
    assert turbines.start_elapsed_s[8] == 539.0
    assert turbines.fuel_power_w[8] > 0.0
    run(hot, 2)
    assert turbines.state_code[8] == 3
    run(hot, 60, dt_s=5.0)
    assert turbines.power_w[8] / hot.site.turbine.rated_power_w == pytest.approx(0.20, abs=0.01)
    run(hot, 200, dt_s=10.0)
    assert turbines.power_w[8] == pytest.approx(turbines.set_w[8])
    assert turbines.starts_year_n[8] == 1


def test_stop_of_a_turbine_unloads_and_cools_down(hot, run):
    apply(hot, "turbine.stop", "turbine-1", {})
    run(hot, 120, dt_s=10.0)
    assert hot.power.turbines.state_code[0] == 4
    assert 0.0 < hot.power.turbines.power_w[0] < hot.power.turbines.set_w[0]
    run(hot, 130, dt_s=10.0)
    assert (hot.power.turbines.power_w[0], hot.power.turbines.fuel_power_w[0]) == (0.0, 0.0)
    run(hot, 600, dt_s=10.0)
    assert hot.power.turbines.state_code[0] == 1


def test_stack_of_a_warm_turbine_keeps_the_limit(hot, run):
    run(hot, 5)
    turbines, running = hot.power.turbines, hot.power.turbines.state_code == 3
    assert turbines.nox_ppm[running] == pytest.approx(1.7, rel=0.15)
    assert turbines.nox_ppm[running].max() < 2.0
    assert (turbines.nox_ppm[~running] == 0.0).all()
    assert turbines.nox_lb_h.sum() / hot.site.scale == pytest.approx(7.0, rel=0.1)


def test_cold_catalyst_and_low_load_show_in_the_stack(hot, run):
    turbines = hot.power.turbines
    turbines.scr_temp_c[0] = 100.0
    turbines.set_w[1] = 0.45 * turbines.available_w[1]
    run(hot, 150, dt_s=5.0)
    assert turbines.nox_ppm[0] == pytest.approx(26.9, rel=0.01)
    assert turbines.nox_ppm[1] == pytest.approx(3.0 * 1.7, rel=0.15)


def test_permit_counts_what_the_stacks_emit(hot, run):
    run(hot, 60, dt_s=5.0)
    permit, site = hot.power.permit, hot.site
    assert permit.emitted_ston[0] == pytest.approx(float(hot.counters.nox_lb) / 2000.0, rel=1e-9)
    opening = site.permit.nox_opening_ston * (1.0 - 60.0 / 3600.0 / 8760.0)
    assert permit.nox_ston == pytest.approx(opening + permit.emitted_ston[0])


def test_frequency_is_the_grids(hot, run):
    run(hot, 10)
    power = hot.power
    assert 59.98 <= power.frequency_min_hz <= power.frequency_hz <= power.frequency_max_hz <= 60.02
    assert power.rocof_min_hz_s <= 0.0 <= power.rocof_max_hz_s
    assert not power.islanded
