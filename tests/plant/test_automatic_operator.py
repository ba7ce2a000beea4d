import numpy as np
import pytest

from twin.plant import build, inject, step
from twin.plant.automatic_operator import wanted


def run_and_note(plant, seconds, dt_s=5.0, watch=lambda: None):
    noted = []
    for _ in range(round(seconds / dt_s)):
        step(plant, dt_s)
        watch()
        noted += [(int(plant.elapsed_s), order.verb, order.unit) for order in plant.operator_commands]
    return noted


def test_operator_off_orders_nothing(hot):
    inject(hot, "chiller_trip", "cooling-2")
    assert run_and_note(hot, 60) == []


def test_operator_brings_tripped_chillers_back(mini):
    plant = build(mini, 7, "08-21T14:00")
    inject(plant, "chiller_trip", "cooling-2")
    noted = run_and_note(plant, 1500, dt_s=10.0)
    assert noted[0][1:] == ("chiller.reset", "cooling-2")
    starts = [at for at, verb, unit in noted if (verb, unit) == ("chiller.start", "cooling-2")]
    assert 3 <= len(starts) <= 6
    assert plant.cooling.loops.supply_c[1] == pytest.approx(27.0, abs=0.4)
    assert {unit for _, verb, unit in noted if verb.startswith("chiller")} == {"cooling-2"}


def test_operator_covers_a_lost_gas_skid(mini):
    plant = build(mini, 7, "08-21T15:00")
    limit = plant.site.feed.limit_w
    inject(plant, "turbine_trip", "gas-skid-2")
    seen = []

    def watch():
        power = plant.power
        seen.append([float(power.feed.power_w[0]), float(power.battery.setpoint_w[0]), float(power.turbines.set_w[0])])

    noted = run_and_note(plant, 1200, watch=watch)
    feed_w, setpoint_w, set_w = np.array(seen).T
    assert feed_w[:2].max() > 1.2 * limit
    assert feed_w[12:].max() < 1.06 * limit  # the end of a checkpoint comes between two looks
    fell = np.flatnonzero(np.diff(set_w) < 0.0)
    assert len(fell) == 1
    assert setpoint_w[fell[0]] == 0.0
    verbs = [verb for _, verb, _ in noted]
    assert verbs.count("turbine.start") == 3
    assert "battery.setpoint" in verbs
    assert verbs.count("turbine.reset") == 3
    assert len(noted) < 60
    assert int((plant.power.turbines.state_code == 3).sum()) == 8
    assert plant.power.battery.setpoint_w[0] == 0.0
    assert plant.power.battery.smooth_w[0] - plant.power.turbines.power_w.sum() <= 1.01 * limit


def test_operator_starts_chillers_as_the_day_warms_up(mini):
    plant = build(mini, 7, "06-01T08:00")
    warmest = 0.0
    for _ in range(5 * 120):
        step(plant, 30.0)
        warmest = max(warmest, float(plant.cooling.loops.supply_c.max()))
    assert warmest < 28.0
    assert int((plant.cooling.chillers.state_code == 3).sum()) > 20


def test_operator_is_pure(hot):
    from twin.plant import state_hash

    hot.elapsed_s, hot.dt_s = 600.0, 1.0
    hot.cooling.chillers.state_code[:12] = 5
    before = state_hash(hot)
    assert wanted(hot)
    assert state_hash(hot) == before
