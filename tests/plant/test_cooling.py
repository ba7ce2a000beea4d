import numpy as np
import pytest

from twin.plant import step


def test_rack_of_the_reference_plant(mild, run):
    run(mild, 120)
    cdus = mild.cooling.cdus
    busy = slice(0, 40)
    assert np.median(cdus.heat_w[busy]) == pytest.approx(46.5e3, rel=0.05)
    assert np.median(cdus.supply_c[busy]) == pytest.approx(29.3, abs=0.2)
    assert np.median(cdus.return_c[busy] - cdus.supply_c[busy]) == pytest.approx(7.0, abs=0.5)
    assert np.median(cdus.facility_return_c[busy]) == pytest.approx(32.6, abs=0.4)


@pytest.mark.parametrize(("tripped", "flow"), [(0, 1.0), (1, 0.894), (2, 0.620)])
def test_parallel_pumps_of_a_loop(mild, tripped, flow):
    pumps = mild.cooling.pumps
    pumps.state_code[[3, *range(tripped)]] = 5
    pumps.speed_ratio[:tripped] = 0.0
    step(mild, 1.0)
    assert mild.cooling.loops.flow_l_min[0] / mild.site.loop.flow_l_min == pytest.approx(flow, rel=0.015)


def test_racks_share_what_the_pumps_give(mild, run):
    run(mild, 60)
    by_hall = np.add.reduceat(mild.cooling.cdus.facility_flow_l_min, mild.site.layout.hall_first_rack[:-1])
    np.testing.assert_allclose(by_hall, mild.cooling.loops.flow_l_min, rtol=1e-9)
    np.testing.assert_allclose(
        mild.cooling.pumps.flow_l_min.reshape(4, 4).sum(axis=1), mild.cooling.loops.flow_l_min, rtol=1e-9
    )


def test_standby_pump_starts_by_itself(mild, run):
    mild.cooling.pumps.state_code[0] = 5
    mild.cooling.pumps.speed_ratio[0] = 0.0
    step(mild, 1.0)
    assert mild.cooling.pumps.state_code[3] == 2
    run(mild, 25)
    assert mild.cooling.pumps.state_code[3] == 3
    assert mild.cooling.loops.flow_l_min[0] / mild.site.loop.flow_l_min == pytest.approx(1.0, abs=0.01)


def test_last_pump_runs_out_after_ten_minutes(mild, run):
    mild.cooling.pumps.state_code[[0, 1, 3]] = 5
    mild.cooling.pumps.speed_ratio[[0, 1]] = 0.0
    run(mild, 595, dt_s=5.0)
    assert mild.cooling.pumps.state_code[2] == 3
    run(mild, 10, dt_s=5.0)
    assert mild.cooling.pumps.state_code[2] == 5
    assert mild.cooling.loops.flow_l_min[0] == 0.0


def test_warm_front_speeds_fans_up_and_warms_the_loop(mild, run):
    mild.work.year = mild.work.year + np.array([4.0, 8.0, 6.0, 0.0])
    before = mild.cooling.towers.fan_command_ratio.copy()
    run(mild, 600, dt_s=5.0)
    assert (mild.cooling.towers.fan_command_ratio > before).all()
    assert mild.cooling.loops.supply_c.min() > 27.5


def test_dead_cells_of_the_reference_plant(mild, run):
    """7 of 10 cells at a wet bulb of 19.5 C hold 30.7 C, 6 hold 32.5 C (drills 3.0)."""
    mild.work.year = np.tile([25.0, 17.0, 19.5, 100_680.0], (8760, 1))
    mild.jobs.checkpoint_interval_s[:] = 0.0
    mild.cooling.towers.state_code[:3] = 5
    mild.cooling.towers.state_code[10:14] = 5
    run(mild, 3000, dt_s=10.0)
    assert mild.cooling.loops.supply_c[0] == pytest.approx(30.7, abs=0.4)
    assert mild.cooling.loops.supply_c[1] == pytest.approx(32.5, abs=0.5)
    assert mild.cooling.loops.supply_c[2] == pytest.approx(27.0, abs=0.2)


def test_chillers_carry_what_the_tower_leaves(hot, run):
    run(hot, 30)
    chillers, loops = hot.cooling.chillers, hot.cooling.loops
    taken = chillers.cooling_w.reshape(4, -1).sum(axis=1) / hot.site.scale
    np.testing.assert_allclose(taken, 22.5e6, rtol=0.1)
    running = chillers.state_code == 3
    assert chillers.cop[running] == pytest.approx(4.1, rel=0.15)
    assert (chillers.plr[~running] == 0.0).all()
    np.testing.assert_allclose(loops.supply_c, 27.0, atol=0.1)


def test_loop_takes_liquid_rooms_and_pumps(hot, run):
    run(hot, 2)
    cooling, site = hot.cooling, hot.site
    firsts = site.layout.hall_first_rack[:-1]
    rooms = 0.2 * np.add.reduceat(hot.gpus.rack_power_w, firsts) + site.electrical.other_it_w / 4
    pumps = cooling.pumps.power_w.reshape(4, 4).sum(axis=1)
    liquid = np.add.reduceat(cooling.cdus.heat_w, firsts)
    np.testing.assert_allclose(cooling.loops.heat_in_w, liquid + rooms + pumps, rtol=1e-9)


def test_water_is_of_the_order_of_full_evaporation(hot, run):
    run(hot, 5)
    loops = hot.cooling.loops
    litres_per_kwh = loops.evaporation_l_min.sum() * 60_000.0 / loops.heat_in_w.sum()
    assert 0.5 < litres_per_kwh < 1.48
    np.testing.assert_allclose(loops.blowdown_l_min, loops.evaporation_l_min / 2.0, rtol=0.05)
    assert (loops.makeup_l_min > loops.evaporation_l_min).all()


def test_room_follows_the_loop(hot, run):
    rise = []
    for _ in range(31):  # whole steps of both training jobs
        step(hot, 1.0)
        rise.append(hot.cooling.loops.room_c - hot.cooling.loops.supply_c)
    np.testing.assert_allclose(np.mean(rise, axis=0), 5.0, atol=0.2)


def test_cold_coolant_closes_the_valve(mild, run):
    mild.cooling.loops.supply_set_c[:] = 22.0
    run(mild, 900, dt_s=10.0)
    assert mild.cooling.cdus.valve[:40].max() < 1.0
    assert np.median(mild.cooling.cdus.supply_c[:40]) == pytest.approx(28.8, abs=0.3)
