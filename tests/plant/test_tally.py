"""What is counted along a run is what a slow look at every GPU counts."""

import math

import numpy as np
import pytest

from twin.plant import Plant, apply, build, inject, restore, snapshot, step
from twin.plant.tally import FIGURES, KG_PER_LB, Tally
from twin.site import load_site

SITE = load_site("mini")


def hot_plant(severity: float) -> Plant:
    plant = build(SITE, seed=7, automatic_operator=False)
    for cdu in ("cdu-R0007", "cdu-R0020"):
        inject(plant, "pump_degraded", cdu, severity=severity)
    return plant


def run(plant: Plant, ticks: int, tally: Tally | None = None) -> dict[str, float]:
    tally = tally or Tally(plant)
    for _ in range(ticks):
        step(plant, 1.0)
        tally.observe(plant)
    return tally.figures()


def test_every_figure_has_its_value() -> None:
    plant = build(SITE, seed=7, automatic_operator=False)
    assert run(plant, 3).keys() == {figure.name for figure in FIGURES}
    assert set(Tally(plant).figures().values()) == {0.0}


@pytest.mark.parametrize(("severity", "ticks"), [(0.9, 200), (1.0, 260)])
def test_heat_is_counted_as_by_a_look_at_every_gpu(severity: float, ticks: int) -> None:
    plant = hot_plant(severity)
    tally, layout = Tally(plant), SITE.layout
    most = {"racks_throttled_n": 0, "racks_off_n": 0, "gpus_off_n": 0}
    ever: dict[str, set[int]] = {"racks_throttled_ever_n": set(), "racks_off_ever_n": set()}
    hottest = 0.0
    for _ in range(ticks):
        step(plant, 1.0)
        tally.observe(plant)
        slow: set[int] = set()
        off: set[int] = set()
        off_n = 0
        for rack in range(layout.rack_count):
            for gpu in range(int(layout.rack_first_gpu[rack]), int(layout.rack_first_gpu[rack + 1])):
                if plant.gpus.thermal_clock_ratio[gpu] < 1:
                    slow.add(rack)
                if plant.gpus.off_left_s[gpu] > 0:
                    off.add(rack)
                    off_n += 1
        most["racks_throttled_n"] = max(most["racks_throttled_n"], len(slow))
        most["racks_off_n"] = max(most["racks_off_n"], len(off))
        most["gpus_off_n"] = max(most["gpus_off_n"], off_n)
        ever["racks_throttled_ever_n"] |= slow
        ever["racks_off_ever_n"] |= off
        hottest = max(hottest, float(plant.gpus.temp_c.max()))
    told = tally.figures()
    assert {name: told[name] for name in most} == most
    assert {name: told[name] for name in ever} == {name: len(racks) for name, racks in ever.items()}
    assert told["gpu_temp_max_c"] == hottest
    assert most["racks_throttled_n"] == 2
    assert (most["gpus_off_n"] > 0) == (severity == 1.0)


def test_what_the_plant_counts_itself_is_counted_from_the_beginning_of_the_stretch() -> None:
    plant = hot_plant(0.9)
    run(plant, 100)
    before = {name: float(getattr(plant.counters, name)) for name in ("water_l", "nox_lb", "it_wh", "lost_gpu_h")}
    told = run(plant, 60)
    after = {name: float(getattr(plant.counters, name)) for name in before}
    assert told["water_l"] == after["water_l"] - before["water_l"] > 0
    assert told["it_wh"] == after["it_wh"] - before["it_wh"] > 0
    assert told["nox_kg"] == (after["nox_lb"] - before["nox_lb"]) * KG_PER_LB > 0
    assert told["lost_gpu_h"] == after["lost_gpu_h"] - before["lost_gpu_h"] > 1


def test_gpu_hours_lost_are_gpus_of_the_job_by_what_its_rate_lacks() -> None:
    plant = hot_plant(0.9)
    run(plant, 100)
    tally, lost_gpu_h = Tally(plant), 0.0
    for _ in range(50):
        step(plant, 1.0)
        tally.observe(plant)
        lost_gpu_h += sum(
            gpus * (1 - rate) / 3600 for gpus, rate in zip(plant.jobs.gpu_n, plant.jobs.rate, strict=True)
        )
    assert int(plant.jobs.failures_n.sum()) == 0  # no job had to do work again
    assert math.isclose(tally.figures()["lost_gpu_h"], lost_gpu_h, rel_tol=1e-9)


def test_what_is_above_a_limit_is_counted_while_it_is() -> None:
    plant = build(SITE, seed=7, automatic_operator=False)
    tally = Tally(plant)
    limit_c, limit_w = SITE.room.air_max_c, SITE.feed.limit_w
    for room_c, feed_w, shed_w in ((limit_c, limit_w, 0.0), (limit_c + 1, limit_w + 3.6e6, 7.2e6), (20.0, 0.0, 3.6e6)):
        plant.cooling.loops.room_c[:] = 20.0
        plant.cooling.loops.room_c[1:3] = room_c
        plant.cooling.loops.supply_c[0] = room_c
        plant.power.feed.power_w[:] = feed_w
        plant.power.shed_power_w[...] = shed_w
        tally.observe(plant)
    told = tally.figures()
    assert told["rooms_over_h"] == pytest.approx(2 / 3600)
    assert (told["room_max_c"], told["supply_max_c"]) == (limit_c + 1, limit_c + 1)
    assert told["feed_over_wh"] == pytest.approx(1000.0)
    assert told["feed_max_w"] == limit_w + 3.6e6
    assert (told["shed_max_w"], told["shed_wh"]) == (7.2e6, pytest.approx(3000.0))


def test_a_longer_tick_counts_for_longer() -> None:
    plant = build(SITE, seed=7, automatic_operator=False)
    step(plant, 5.0)
    plant.cooling.loops.room_c[:] = SITE.room.air_max_c + 1
    plant.jobs.state_code[int(np.argmax(plant.jobs.gpu_n))] = 5
    tally = Tally(plant)
    tally.observe(plant)
    assert tally.figures()["rooms_over_h"] == pytest.approx(SITE.layout.hall_count * 5 / 3600)
    assert tally.figures()["largest_job_stopped_s"] == 5.0


def test_starts_are_counted_from_the_order_on() -> None:
    plant = build(SITE, seed=7, weather_at="01-15T06:00", automatic_operator=False)
    run(plant, 5)
    tally = Tally(plant)
    apply(plant, "turbine.start", "turbine-12", {})
    apply(plant, "chiller.start", "cooling-2", {"n": 3.0})
    run(plant, 3, tally)
    apply(plant, "chiller.start", "cooling-3", {"n": 1.0})
    told = run(plant, 3, tally)
    assert (told["turbine_starts_n"], told["chiller_starts_n"]) == (1.0, 4.0)


def test_a_stretch_of_a_restored_plant_counts_the_same() -> None:
    plant = hot_plant(0.9)
    run(plant, 60)
    other = restore(snapshot(plant))
    assert run(plant, 60) == run(other, 60)
