"""The initial condition: a plant that has run like this for an hour, at the weather it begins with."""

import numpy as np

from twin.plant import cooling as cooling_plants
from twin.plant import gpus as gpu_fleet
from twin.plant import power as power_plant
from twin.plant import turbines as turbine_units
from twin.plant.model import Plant
from twin.plant.states import RUNNING
from twin.plant.weather import step as set_weather

RUNNING_TURBINES_RATIO = 8 / 15  # of all turbines (reference plant)
CHILLER_LOAD_RATIO = 0.92  # so many chillers run that none is loaded higher (reference plant: 23.6 of 26.6 MW)
LONG_S = 3600.0
ROUND_S = 15.0
ROUNDS_N = 40


def settle(plant: Plant) -> None:
    """Bring a new plant near its equilibrium.

    Parameters
    ----------
    plant
        Changed in place: temperatures, fans, chillers, turbines, the battery's view of the load.
    """
    set_weather(plant.weather, plant.work.year, plant.site_time_s)
    jobs, loops = plant.jobs, plant.cooling.loops
    mean = jobs.activity_low + (jobs.activity_high - jobs.activity_low) * jobs.duty_ratio
    jobs.activity[:] = mean
    jobs.sm_active[:] = 1.0 - np.square(1.0 - mean)
    cooling_plants.step_pumps(plant.cooling, plant.work.cooling, plant.site, plant.asbuilt, ROUND_S)
    for _ in range(4):
        _heat(plant)
        _cool(plant, LONG_S)
        _hold(plant)
    for _ in range(ROUNDS_N):
        _cool(plant, ROUND_S)
        _hold(plant)
    _run_chillers(plant)
    for _ in range(ROUNDS_N):
        _cool(plant, ROUND_S)
    _heat(plant)
    loops.makeup_total_l[:] = 0.0
    _run_turbines(plant)


def _heat(plant: Plant) -> None:
    """Let power and temperature of the GPUs settle at the coolant that there is."""
    cdus = plant.cooling.cdus
    for _ in range(3):
        gpu_fleet.step(
            plant.gpus,
            plant.work.gpus,
            plant.site,
            plant.asbuilt,
            plant.jobs,
            cdus.supply_c,
            cdus.flow_ratio,
            LONG_S,
        )


def _cool(plant: Plant, dt_s: float) -> None:
    cooling_plants.step(
        plant.cooling,
        plant.work.cooling,
        plant.site,
        plant.asbuilt,
        plant.weather,
        plant.gpus.rack_power_w,
        power_plant.other_it_w(plant.site),
        dt_s,
    )


def _hold(plant: Plant) -> None:
    """Keep supply at its set-point while towers and chillers are still being found."""
    loops = plant.cooling.loops
    loops.supply_c[:] = loops.supply_set_c
    loops.return_c[:] = loops.supply_set_c + loops.heat_in_w / cooling_plants.carried(loops, plant.site)


def _run_chillers(plant: Plant) -> None:
    """Run as many chillers as the towers leave heat for."""
    chillers, loops, plate = plant.cooling.chillers, plant.cooling.loops, plant.site.chiller
    halls = len(loops.supply_c)
    by_hall = chillers.state_code.reshape(halls, -1)
    one_w = chillers.available_w.reshape(halls, -1).mean(axis=1)
    warm_w = cooling_plants.carried(loops, plant.site) * (loops.cooled_c - loops.supply_set_c)
    for hall, needed in enumerate(np.ceil(np.maximum(warm_w, 0.0) / one_w / CHILLER_LOAD_RATIO - 0.05)):
        by_hall[hall, : int(needed)] = RUNNING
    chillers.start_elapsed_s[chillers.state_code == RUNNING] = plate.start_s + plate.start_to_full_s


def _run_turbines(plant: Plant) -> None:
    """Run the usual turbines at the usual load, or at what the feed cannot bring."""
    site, power, turbines = plant.site, plant.power, plant.power.turbines
    running_n = round(RUNNING_TURBINES_RATIO * site.turbine.units_n)
    turbines.state_code[:running_n] = RUNNING
    turbine_units.step(turbines, site, plant.asbuilt, plant.weather, LONG_S)
    power_plant.total(power, site, plant.gpus.hall_power_w, cooling_plants.cooling_power_w(plant.cooling))
    missing_w = float(power.facility_power_w) - float(power.feed.limit_w.sum())
    each_w = max(missing_w / running_n, turbine_units.LOAD_RATIO * site.turbine.rated_power_w)
    turbines.set_w[:running_n] = np.minimum(each_w, turbines.available_w[:running_n])
    turbine_units.step(turbines, site, plant.asbuilt, plant.weather, LONG_S)
    turbines.run_h[:] = 0.0
    power.battery.smooth_w[0] = float(power.facility_power_w)
