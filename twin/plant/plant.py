"""Build a plant, and advance it by one tick in the order in which heat and power go through it."""

from twin.errors import CommandRejected
from twin.plant import asbuilt as built
from twin.plant import automatic_operator, initial, malfunctions, protection
from twin.plant import commands as orders
from twin.plant import cooling as cooling_plants
from twin.plant import counters as totals
from twin.plant import failures as gpu_failures
from twin.plant import gpus as gpu_fleet
from twin.plant import jobs as job_table
from twin.plant import network as fabric
from twin.plant import power as power_plant
from twin.plant import turbines as turbine_units
from twin.plant import weather as air
from twin.plant.model import Plant, Work, unit_index
from twin.site import Site
from twin.site.weather import YEAR_S

# One stream of chance per cause. A new one goes to the end, so that the others keep theirs.
STREAMS = (*gpu_failures.STREAMS, *fabric.STREAMS)


def build(site: Site, seed: int, weather_at: str = "07-15T14:00", *, automatic_operator: bool = True) -> Plant:
    """Build a plant that has settled at the weather it begins with.

    Parameters
    ----------
    site
        What exists, with nameplate values.
    seed
        As-built values and chance follow from it alone.
    weather_at
        Begin in the typical year, ``MM-DDTHH:MM``, local standard time.
    automatic_operator
        Whether chillers, turbines and battery are operated by rule.

    Raises
    ------
    PlantError
        ``weather_at`` is no time of the year.
    """
    plant = blank(site, seed, air.site_time_s(weather_at), automatic_operator=automatic_operator)
    gpu_fleet.place(plant.gpus, site, plant.asbuilt, plant.jobs, plant.work.gpus.parts)
    initial.settle(plant)
    return plant


def blank(site: Site, seed: int, site_time_s: float, *, automatic_operator: bool) -> Plant:
    """Make room for a plant: nothing has settled yet.

    Parameters
    ----------
    site, seed
        As in :func:`build`.
    site_time_s
        Seconds of the typical year. [s]
    automatic_operator
        As in :func:`build`.
    """
    streams = built.spawn_streams(seed, 1, STREAMS)
    jobs = job_table.new(site)
    links = fabric.new_work(site, jobs)
    return Plant(
        site=site,
        seed=seed,
        automatic_operator=automatic_operator,
        site_time_s=site_time_s,
        asbuilt=built.draw(site, seed),
        weather=air.new(),
        jobs=jobs,
        gpus=gpu_fleet.new(site),
        cooling=cooling_plants.new(site),
        power=power_plant.new(site),
        network=fabric.new(site, links, streams),
        failures=gpu_failures.new(site, streams),
        counters=totals.new(),
        streams=streams,
        work=Work(
            gpus=gpu_fleet.new_work(site, jobs),
            cooling=cooling_plants.new_work(site, power_plant.other_it_w(site)),
            network=links,
            year=air.typical_year(site.weather),
            index=unit_index(site),
        ),
    )


def step(plant: Plant, dt_s: float) -> None:
    """Advance the plant by one tick.

    Parameters
    ----------
    plant
        Changed in place.
    dt_s
        Length of the tick. [s]
    """
    site, begin_s = plant.site, plant.elapsed_s
    end_s = begin_s + dt_s
    plant.dt_s = dt_s
    plant.site_time_s = (plant.site_time_s + dt_s) % YEAR_S
    malfunctions.step(plant, end_s)
    air.step(plant.weather, plant.work.year, plant.site_time_s)
    _compute(plant, dt_s, begin_s)
    cooling_plants.step(
        plant.cooling,
        plant.work.cooling,
        site,
        plant.asbuilt,
        plant.weather,
        plant.gpus.rack_power_w,
        power_plant.other_it_w(site),
        dt_s,
    )
    _supply(plant, dt_s, begin_s)
    protection.step(plant.cooling, site, dt_s)
    gpu_fleet.report(plant.gpus, plant.work.gpus, plant.jobs, site.layout.gpus_per_server)
    fabric.step(plant.network, plant.work.network, site, plant.jobs, plant.streams, end_s)
    job_table.advance(plant.jobs, site, dt_s)
    newly_off = plant.work.gpus.newly_off
    gpu_failures.step(plant.failures, site, plant.asbuilt, plant.jobs, plant.streams, newly_off, end_s)
    totals.step(plant.counters, site, plant.power, plant.cooling, plant.jobs, dt_s)
    plant.elapsed_s = end_s
    plant.tick += 1
    _operate(plant)


def _compute(plant: Plant, dt_s: float, begin_s: float) -> None:
    """Let the jobs load the GPUs, and the GPUs heat up."""
    job_table.step(plant.jobs, dt_s, begin_s)
    gpu_fleet.step(
        plant.gpus,
        plant.work.gpus,
        plant.site,
        plant.asbuilt,
        plant.jobs,
        plant.cooling.cdus.supply_c,
        plant.cooling.cdus.flow_ratio,
        dt_s,
    )
    job_table.account(plant.jobs, plant.site, plant.work.gpus.parts, plant.gpus.server_power_w)


def _supply(plant: Plant, dt_s: float, begin_s: float) -> None:
    """Add the load up and share it among the sources."""
    site, power = plant.site, plant.power
    turbine_units.step(power.turbines, site, plant.asbuilt, plant.weather, dt_s)
    cooling_w = cooling_plants.cooling_power_w(plant.cooling)
    power_plant.total(power, site, plant.gpus.hall_power_w, cooling_w)
    power_plant.dispatch(power, site, plant.asbuilt, plant.jobs, begin_s, dt_s)
    turbine_units.count(power.permit, power.turbines, site, begin_s + dt_s, dt_s)


def _operate(plant: Plant) -> None:
    """Carry out what the automatic operator wants; what the plant refuses is left."""
    plant.operator_commands.clear()
    if not plant.automatic_operator:
        return
    for command in automatic_operator.wanted(plant):
        try:
            orders.apply(plant, command.verb, command.unit, command.params)
        except CommandRejected:
            continue
        plant.operator_commands.append(command)
