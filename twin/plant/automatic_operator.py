"""The automatic operator: what people do by hand in a drill, done by rule in a live run, through the same commands.

It looks every ten seconds and reads what an operator can read.
"""

import math
from collections.abc import Iterator

import numpy as np

from twin.plant.cooling import carried
from twin.plant.model import OperatorCommand, Plant
from twin.plant.states import RUNNING, STANDBY, STARTING, TRIPPED
from twin.plant.turbines import LOAD_RATIO

LOOK_S = 10.0
CHILLERS_AT_ONCE = 3
CHILLER_ROUND_S = 60.0
CHILLER_STOP_ROUND_S = 900.0
WARM_K = 0.3  # supply above its set-point by more calls for a chiller
FULL_RATIO = 0.92  # chillers are kept below this load
SPARE_RATIO = 0.80  # one chiller less would carry the load with this margin
STEP_RATIO = 0.02  # of a turbine's rating: smaller changes of load are not worth an order


def wanted(plant: Plant) -> tuple[OperatorCommand, ...]:
    """List what the automatic operator orders now.

    Parameters
    ----------
    plant
        Read only.
    """
    if not _due(plant, LOOK_S):
        return ()
    return (*_chillers(plant), *_turbines(plant))


def _due(plant: Plant, every_s: float) -> bool:
    """Tell whether a multiple of a period lies in the last tick."""
    return plant.elapsed_s // every_s > (plant.elapsed_s - plant.dt_s) // every_s


def _chillers(plant: Plant) -> Iterator[OperatorCommand]:
    chillers, loops = plant.cooling.chillers, plant.cooling.loops
    by_hall = chillers.state_code.reshape(len(loops.supply_c), -1)
    one_w = chillers.available_w.reshape(by_hall.shape).mean(axis=1)
    cooling_w = chillers.cooling_w.reshape(by_hall.shape).sum(axis=1)
    warm_w = carried(loops, plant.site) * (loops.cooled_c - loops.supply_set_c)
    for hall, codes in enumerate(by_hall):
        unit = f"cooling-{hall + 1}"
        if (codes == TRIPPED).any():
            yield OperatorCommand("chiller.reset", unit, {})
        going_n = int(np.isin(codes, (STARTING, RUNNING)).sum())
        need_n = math.ceil((cooling_w[hall] + max(warm_w[hall], 0.0)) / one_w[hall] / FULL_RATIO)
        warm = loops.supply_c[hall] > loops.supply_set_c[hall] + WARM_K
        if warm and need_n > going_n and _due(plant, CHILLER_ROUND_S):
            yield OperatorCommand("chiller.start", unit, {"n": float(min(need_n - going_n, CHILLERS_AT_ONCE))})
        idle = going_n > 0 and cooling_w[hall] < SPARE_RATIO * (going_n - 1) * one_w[hall]
        idle = idle or (going_n == 1 and cooling_w[hall] <= 0.0)
        if idle and not warm and not (codes == STARTING).any() and _due(plant, CHILLER_STOP_ROUND_S):
            yield OperatorCommand("chiller.stop", unit, {"n": 1.0})


def _turbines(plant: Plant) -> Iterator[OperatorCommand]:
    turbines, site = plant.power.turbines, plant.site
    ids = site.unit_ids("turbine")
    usual_w = LOAD_RATIO * site.turbine.rated_power_w
    beyond_feed_w = float(plant.power.battery.smooth_w[0]) - float(plant.power.feed.limit_w.sum())
    for turbine in np.flatnonzero(turbines.state_code == TRIPPED):
        yield OperatorCommand("turbine.reset", ids[turbine], {})
    running = np.flatnonzero(turbines.state_code == RUNNING)
    starting_n = int((turbines.state_code == STARTING).sum())
    most_w = float(turbines.available_w[running].min(initial=np.inf))
    each_w = min(max(beyond_feed_w / max(len(running), 1), usual_w), most_w)
    eased = float(plant.power.battery.setpoint_w[0]) == 0.0
    for turbine in running:
        change_w = each_w - float(turbines.set_w[turbine])
        # Less is ordered only when the new machines have taken their load.
        if abs(change_w) > STEP_RATIO * site.turbine.rated_power_w and (change_w > 0.0 or eased):
            yield OperatorCommand("turbine.load", ids[turbine], {"power_w": each_w})
    missing_n = math.ceil((beyond_feed_w - len(running) * each_w) / usual_w - 1e-6) if len(running) else 1
    for turbine in np.flatnonzero(turbines.state_code == STANDBY)[: max(missing_n - starting_n, 0)]:
        yield OperatorCommand("turbine.start", ids[turbine], {})
    yield from _battery(plant, beyond_feed_w - float(turbines.power_w.sum()))


def _battery(plant: Plant, missing_w: float) -> Iterator[OperatorCommand]:
    """Let the battery give what turbines and feed cannot, until turbines have started."""
    units, step_w = plant.power.battery, STEP_RATIO * plant.site.battery.power_w
    now_w = float(units.setpoint_w[0])
    target_w = math.ceil(max(missing_w, 0.0) / step_w) * step_w
    if target_w > now_w or target_w < now_w - 1.5 * step_w:
        target_w = min(target_w, float(units.available_w[0]))
        yield OperatorCommand("battery.setpoint", plant.site.unit_ids("battery")[0], {"power_w": target_w})
