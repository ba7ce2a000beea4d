"""Every command: accepted with its effect, and rejected with its reason."""

import numpy as np
import pytest

from twin.errors import CommandRejected
from twin.plant import COMMANDS, apply, state_hash


def nothing(plant):
    """Leave the plant as it is."""


def trip_chiller(plant):
    plant.cooling.chillers.state_code[0] = 5


def start_twice(plant):
    plant.elapsed_s = 1800.0
    plant.cooling.chillers.starts_at_s[0] = [600.0, 1200.0]


def trip_turbine(plant):
    plant.power.turbines.state_code[6] = 5


def use_all_starts(plant):
    plant.power.turbines.starts_year_n[8] = 22


def sink_gas(plant):
    plant.power.gas.pressure_ratio[:] = 0.7


def lock_turbine_out(plant):
    plant.power.turbines.state_code[8] = 6


def trip_pump(plant):
    plant.cooling.pumps.state_code[3] = 5


def dew(plant):
    plant.weather.dew_point_c[...] = 23.0


def empty_battery(plant):
    plant.power.battery.soc[:] = 0.05


def trip_battery(plant):
    plant.power.battery.state_code[:] = 5


ACCEPTED = [
    (nothing, "chiller.start", "chiller-1", {}, lambda p: p.cooling.chillers.state_code[0] == 2),
    (nothing, "chiller.start", "cooling-2", {"n": 3.0}, lambda p: (p.cooling.chillers.state_code[12:15] == 2).all()),
    (
        lambda p: apply(p, "chiller.start", "chiller-1", {}),
        "chiller.stop",
        "chiller-1",
        {},
        lambda p: p.cooling.chillers.state_code[0] == 1,
    ),
    (trip_chiller, "chiller.reset", "chiller-1", {}, lambda p: p.cooling.chillers.state_code[0] == 1),
    (trip_chiller, "chiller.reset", "cooling-1", {}, lambda p: p.cooling.chillers.state_code[0] == 1),
    (nothing, "turbine.start", "turbine-9", {}, lambda p: p.power.turbines.state_code[8] == 2),
    (nothing, "turbine.stop", "turbine-1", {}, lambda p: p.power.turbines.state_code[0] == 4),
    (nothing, "turbine.load", "turbine-1", {"power_w": 2e5}, lambda p: p.power.turbines.set_w[0] == 2e5),
    (trip_turbine, "turbine.reset", "turbine-7", {}, lambda p: p.power.turbines.state_code[6] == 1),
    (nothing, "pump.start", "pump-4", {}, lambda p: p.cooling.pumps.state_code[3] == 2),
    (nothing, "pump.stop", "pump-1", {}, lambda p: p.cooling.pumps.speed_ratio[0] == 0.0),
    (nothing, "cdu.select_pump", "cdu-R0010", {"pump": "B"}, lambda p: p.cooling.cdus.selected_pump[9] == 1),
    (nothing, "loop.set_temp", "loop-3", {"temp_c": 28.5}, lambda p: p.cooling.loops.supply_set_c[2] == 28.5),
    (nothing, "battery.setpoint", "battery-1", {"power_w": -1e6}, lambda p: p.power.battery.setpoint_w[0] == -1e6),
    (nothing, "gpu.power_cap", "job-r1", {"power_w": 600}, lambda p: (p.gpus.cap_w == 600).sum() == 336),
    (nothing, "gpu.power_cap", "H2", {"power_w": 600}, lambda p: (p.gpus.cap_w == 600).sum() == 1024),
    (nothing, "gpu.power_cap", "A003", {"power_w": 600}, lambda p: (p.gpus.cap_w[1024:1536] == 600).all()),
    (nothing, "gpu.power_cap", "R0002", {"power_w": 600}, lambda p: (p.gpus.cap_w[64:128] == 600).all()),
    (nothing, "gpu.power_cap", "R0001-s1", {"power_w": 600}, lambda p: (p.gpus.cap_w[8:16] == 600).all()),
    (nothing, "gpu.power_cap", "R0001-g5", {"power_w": 600}, lambda p: p.gpus.cap_w[5] == 600),
]

REJECTED = [
    (nothing, "chiller.restart", "chiller-1", {}, "no command 'chiller.restart': allowed are battery.setpoint"),
    (nothing, "chiller.start", "chiller-99", {}, "no unit 'chiller-99'"),
    (nothing, "chiller.start", "pump-1", {}, "chiller.start cannot go to pump-1, a pump"),
    (nothing, "chiller.start", "chiller-1", {"m": 1}, "has no parameter 'm'"),
    (nothing, "chiller.start", "cooling-1", {"n": 0}, "n 0: allowed is 1..1000"),
    (nothing, "chiller.start", "cooling-1", {"n": "many"}, "n 'many': must be a number"),
    (nothing, "chiller.start", "cooling-1", {"n": float("nan")}, "must be a number"),
    (nothing, "turbine.load", "turbine-1", {"power_w": True}, "must be a number"),
    (nothing, "turbine.load", "turbine-1", {}, "turbine.load needs power_w"),
    (trip_chiller, "chiller.start", "chiller-1", {}, "chiller-1 is tripped: reset it first"),
    (
        start_twice,
        "chiller.start",
        "chiller-1",
        {},
        "chiller-1 has started 2 times within an hour: the next start is allowed in 40 min",
    ),
    (nothing, "chiller.stop", "chiller-1", {}, "chiller-1 is standby"),
    (nothing, "chiller.stop", "cooling-1", {}, "no chiller of cooling-1 runs"),
    (nothing, "chiller.reset", "chiller-1", {}, "chiller-1 has not tripped"),
    (nothing, "chiller.reset", "cooling-1", {}, "no chiller of cooling-1 has tripped"),
    (trip_turbine, "turbine.start", "turbine-7", {}, "turbine-7 is tripped: reset it first"),
    (nothing, "turbine.start", "turbine-1", {}, "turbine-1 is running"),
    (use_all_starts, "turbine.start", "turbine-9", {}, "turbine-9 has used 22 of 22 starts of its permit year"),
    (sink_gas, "turbine.start", "turbine-9", {}, "gas pressure is 0.70 of nominal: a start needs 0.80"),
    (lock_turbine_out, "turbine.start", "turbine-9", {}, "turbine-9 is lockout"),
    (nothing, "turbine.stop", "turbine-9", {}, "turbine-9 is standby"),
    (nothing, "turbine.load", "turbine-9", {"power_w": 1e5}, "turbine-9 is standby"),
    (nothing, "turbine.load", "turbine-1", {"power_w": 9e5}, "turbine-1 can give 0.3. MW in this air"),
    (nothing, "turbine.reset", "turbine-1", {}, "turbine-1 has not tripped"),
    (trip_pump, "pump.start", "pump-4", {}, "pump-4 is tripped: it must be repaired first"),
    (nothing, "pump.start", "pump-1", {}, "pump-1 is running"),
    (nothing, "pump.stop", "pump-4", {}, "pump-4 is standby"),
    (nothing, "cdu.select_pump", "cdu-R0010", {"pump": "A"}, "cdu-R0010 runs on pump A already"),
    (nothing, "cdu.select_pump", "cdu-R0010", {"pump": "C"}, "pump 'C': allowed are A, B"),
    (dew, "loop.set_temp", "loop-3", {"temp_c": 24.9}, "24.9 C is below the dew point of 23.0 C [+] 2 K"),
    (nothing, "loop.set_temp", "loop-3", {"temp_c": 46.0}, "46.0 C is above the 45.0 C that the racks take"),
    (nothing, "battery.setpoint", "battery-1", {"power_w": 4e6}, "battery-1 has 3.1 MW available"),
    (nothing, "battery.setpoint", "battery-1", {"power_w": -4e6}, "battery-1 has 3.1 MW available"),
    (empty_battery, "battery.setpoint", "battery-1", {"power_w": 1e6}, "battery-1 is empty: charge is at 0.05"),
    (trip_battery, "battery.setpoint", "battery-1", {"power_w": 1e6}, "battery-1 is tripped"),
    (nothing, "gpu.power_cap", "job-hero", {"power_w": 199.0}, "a GPU takes caps of 200..700 W"),
    (nothing, "gpu.power_cap", "R9999", {"power_w": 600.0}, "no rack 'R9999'"),
]


@pytest.mark.parametrize(
    ("before", "verb", "unit", "params", "holds"), ACCEPTED, ids=lambda v: v if isinstance(v, str) else ""
)
def test_accepted(mild, before, verb, unit, params, holds):
    before(mild)
    apply(mild, verb, unit, params)
    assert holds(mild)


@pytest.mark.parametrize(
    ("before", "verb", "unit", "params", "reason"), REJECTED, ids=lambda v: v if isinstance(v, str) else ""
)
def test_rejected_and_nothing_has_changed(mild, before, verb, unit, params, reason):
    before(mild)
    hash_before = state_hash(mild)
    with pytest.raises(CommandRejected, match=reason):
        apply(mild, verb, unit, params)
    assert state_hash(mild) == hash_before


def test_every_command_has_good_and_rejected_cases():
    assert {verb for _, verb, *_ in ACCEPTED} == set(COMMANDS)
    assert {verb for _, verb, *_ in REJECTED} >= set(COMMANDS)


def test_start_of_a_chiller_cools_after_five_minutes(hot, run):
    chillers = hot.cooling.chillers
    chillers.state_code[:12] = 1
    run(hot, 60, dt_s=5.0)
    apply(hot, "chiller.start", "cooling-1", {"n": 12})
    run(hot, 295, dt_s=5.0)
    run(hot, 4)
    assert chillers.cooling_w[:12].sum() == 0.0
    warm = float(hot.cooling.loops.supply_c[0])
    run(hot, 2)
    assert (chillers.state_code[:12] == 3).all()
    run(hot, 90, dt_s=5.0)
    half = chillers.cooling_w[:12].sum() / chillers.available_w[:12].sum()
    assert half == pytest.approx(0.5, abs=0.02)
    run(hot, 500, dt_s=10.0)
    assert hot.cooling.loops.supply_c[0] < warm - 1.0


def test_set_temp_is_reached(mild, run):
    apply(mild, "loop.set_temp", "loop-1", {"temp_c": 29.0})
    run(mild, 900, dt_s=10.0)
    np.testing.assert_allclose(mild.cooling.loops.supply_c, [29.0, 27.0, 27.0, 27.0], atol=0.15)
