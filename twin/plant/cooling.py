"""The cooling plants: one per hall, of a loop with its pumps, a tower of cells, and trim chillers."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twin.physics import cdu, chiller, lag, loop, tower
from twin.plant import cdus as cdu_units
from twin.plant.asbuilt import AsBuilt
from twin.plant.cdus import Cdus, CduWork
from twin.plant.states import RUNNING, STANDBY, STARTING
from twin.plant.weather import Weather
from twin.site import Site

Floats = NDArray[np.float64]
Codes = NDArray[np.uint8]

FAN_TAU_S, FAN_SLOPE_K = 10.0, 10.0  # how fans follow the water, and kelvins that full speed is worth (assumption)
BYPASS_BELOW_K = 0.5  # with all fans at rest a bypass keeps the water this near to its set-point (assumption)
MERKEL_PASSES = 2  # enough with the air of the last tick as a guess
FULL_ACTIVITY = 0.86  # mean of a training step: what the reference plant calls full load
WINTER_C, SUMMER_C = 5.0, 30.0  # between which the latent share of a tower grows (assumption)


@dataclass(frozen=True)
class Loops:
    """One facility loop per hall (n,)."""

    supply_c: Floats
    supply_set_c: Floats
    return_c: Floats
    cooled_c: Floats
    flow_l_min: Floats
    dp_pa: Floats
    heat_in_w: Floats
    heat_out_w: Floats
    chiller_power_w: Floats
    free_cooling: Floats
    level: Floats
    makeup_l_min: Floats
    evaporation_l_min: Floats
    blowdown_l_min: Floats
    makeup_total_l: Floats
    room_c: Floats


@dataclass(frozen=True)
class Towers:
    """Cells of all towers (n,), in site order; what a tower shares is (halls,)."""

    state_code: Codes
    fan_speed_ratio: Floats
    fan_power_w: Floats
    water_out_c: Floats
    approach_k: Floats
    fan_command_ratio: Floats
    air_out_c: Floats


@dataclass(frozen=True)
class Chillers:
    """All trim chillers (n,), in site order; ``starts_at_s`` has the last starts of each."""

    state_code: Codes
    plr: Floats
    power_w: Floats
    cooling_w: Floats
    supply_c: Floats
    cop: Floats
    available_w: Floats
    start_elapsed_s: Floats
    starts_at_s: Floats


@dataclass(frozen=True)
class Pumps:
    """All facility pumps (n,), in site order."""

    state_code: Codes
    speed_ratio: Floats
    power_w: Floats
    flow_l_min: Floats
    health_ratio: Floats
    start_elapsed_s: Floats
    runout_s: Floats


@dataclass(frozen=True)
class Cooling:
    """All that carries heat away."""

    cdus: Cdus
    loops: Loops
    towers: Towers
    chillers: Chillers
    pumps: Pumps


@dataclass
class CoolingWork:
    """What follows from nameplate and state."""

    cdus: CduWork
    rack_hall: NDArray[np.intp]
    tower_ua_w_per_k: float
    room_full_w: Floats
    pump_inputs: Floats
    pump_flow_ratio: Floats


def new(site: Site) -> Cooling:
    """Make room for the cooling plants: duty pumps run, chillers stand by, fans stand still."""
    halls, pumps_n = site.layout.hall_count, site.pump.duty_n + site.pump.standby_n
    cells, chillers_n, pumps = (len(site.unit_ids(kind)) for kind in ("tower_cell", "chiller", "pump"))
    duty = np.tile(np.arange(pumps_n) < site.pump.duty_n, halls)

    def full(n: int, value: float = 0.0) -> Floats:
        return np.full(n, value)

    set_c = site.loop.supply_set_c
    return Cooling(
        cdus=cdu_units.new(site),
        loops=Loops(
            supply_c=full(halls, set_c),
            supply_set_c=full(halls, set_c),
            return_c=full(halls, set_c),
            cooled_c=full(halls, set_c),
            flow_l_min=full(halls, site.loop.flow_l_min),
            dp_pa=full(halls, site.loop.dp_pa),
            heat_in_w=full(halls),
            heat_out_w=full(halls),
            chiller_power_w=full(halls),
            free_cooling=full(halls, 1.0),
            level=full(halls, 1.0),
            makeup_l_min=full(halls),
            evaporation_l_min=full(halls),
            blowdown_l_min=full(halls),
            makeup_total_l=full(halls),
            room_c=full(halls, set_c),
        ),
        towers=Towers(
            state_code=np.full(cells, RUNNING, dtype=np.uint8),
            fan_speed_ratio=full(cells),
            fan_power_w=full(cells),
            water_out_c=full(cells, set_c),
            approach_k=full(cells),
            fan_command_ratio=full(halls),
            air_out_c=np.full((2, halls), set_c),
        ),
        chillers=Chillers(
            state_code=np.full(chillers_n, STANDBY, dtype=np.uint8),
            plr=full(chillers_n),
            power_w=full(chillers_n),
            cooling_w=full(chillers_n),
            supply_c=full(chillers_n, set_c),
            cop=full(chillers_n),
            available_w=full(chillers_n),
            start_elapsed_s=full(chillers_n),
            starts_at_s=np.full((chillers_n, site.chiller.starts_per_hour_max_n), -np.inf),
        ),
        pumps=Pumps(
            state_code=np.where(duty, RUNNING, STANDBY).astype(np.uint8),
            speed_ratio=duty.astype(float),
            power_w=full(pumps),
            flow_l_min=full(pumps),
            health_ratio=full(pumps, 1.0),
            start_elapsed_s=full(pumps),
            runout_s=full(pumps),
        ),
    )


def new_work(site: Site, other_w: Floats) -> CoolingWork:
    """Work out what follows from the nameplate; ``other_w`` is other IT of each hall. [W]."""
    air_kg_s, water_kg_s = rated_flows_kg_s(site)
    halls, pumps_n = site.layout.hall_count, site.pump.duty_n + site.pump.standby_n
    return CoolingWork(
        cdus=cdu_units.new_work(site),
        rack_hall=site.layout.rack_hall.astype(np.intp),
        tower_ua_w_per_k=tower.rated_ua_w_per_k(
            water_kg_s,
            air_kg_s,
            wet_bulb_c=site.tower.design_wet_bulb_c,
            range_k=site.tower.design_range_k,
            approach_k=site.tower.design_approach_k,
            pressure_pa=101_325.0,
        ),
        room_full_w=_room_full_w(site, other_w),
        pump_inputs=np.full((halls, 2 * pumps_n + 1), np.nan),
        pump_flow_ratio=np.zeros((halls, pumps_n)),
    )


def _room_full_w(site: Site, other_w: Floats) -> Floats:
    """Work out what the rear doors of each hall take at the reference plant's full load. [W]."""
    models = [site.gpu_model(hall) for hall in site.layout.hall_ids]
    gpu_w = np.array([m.power_idle_w + (m.power_max_w - m.power_idle_w) * FULL_ACTIVITY for m in models])
    server_w = (site.layout.gpus_per_server * gpu_w + site.server.base_loaded_w) / site.server.psu_efficiency
    servers_n = np.diff(site.layout.hall_first_rack) * site.rack.servers_n
    full: Floats = servers_n * server_w * (1.0 - site.server.liquid_capture_ratio) + other_w
    return full


def rated_flows_kg_s(site: Site) -> tuple[float, float]:
    """Give the rated flows of a tower: air and water. [kg/s]."""
    air_kg_s = site.tower.air_flow_m3_s * tower.AIR_DENSITY_KG_M3
    return air_kg_s, site.tower.water_flow_l_min / 60_000.0 * site.loop.water_density_kg_m3


def step(
    cooling: Cooling,
    work: CoolingWork,
    site: Site,
    asbuilt: AsBuilt,
    weather: Weather,
    rack_power_w: Floats,
    other_w: Floats,
    dt_s: float,
) -> None:
    """Carry all heat out of the halls for one tick.

    Parameters
    ----------
    cooling, work
        Changed in place.
    site, asbuilt
        Nameplate and as-built values.
    weather
        The air outside.
    rack_power_w
        Input of each rack's servers, shape (racks,). [W]
    other_w
        Other IT of each hall, shape (halls,). [W]
    dt_s
        Length of the tick. [s]
    """
    cdus, loops = cooling.cdus, cooling.loops
    step_pumps(cooling, work, site, asbuilt, dt_s)
    np.take(loops.supply_c, work.rack_hall, out=cdus.facility_supply_c)
    cdu_units.step(cdus, work.cdus, site, asbuilt, rack_power_w, float(weather.dew_point_c), dt_s)

    # What the CDUs do not catch goes through the rear doors into the same water, behind them.
    firsts = site.layout.hall_first_rack[:-1]
    liquid_w = np.add.reduceat(cdus.heat_w, firsts)
    room_w = np.add.reduceat(rack_power_w, firsts) * (1.0 - site.server.liquid_capture_ratio) + other_w
    loops.room_c[:] = loops.supply_c + site.room.air_rise_k * room_w / work.room_full_w
    pump_w = cooling.pumps.power_w.reshape(len(other_w), -1).sum(axis=1)
    np.add(liquid_w, room_w + pump_w, out=loops.heat_in_w)

    carried_w_per_k = carried(loops, site)
    half_j_per_k = site.loop.heat_capacity_j_per_k / 2.0
    supply_before, return_before = loops.supply_c.copy(), loops.return_c.copy()
    leaving_c = supply_before + loops.heat_in_w / carried_w_per_k
    loops.return_c[:] = loop.mixed_c(return_before, leaving_c, carried_w_per_k, half_j_per_k, dt_s)
    free_c = _step_towers(cooling, work, site, asbuilt, weather, return_before, carried_w_per_k, dt_s)
    _step_chillers(cooling, site, asbuilt, weather, free_c, carried_w_per_k, dt_s)
    loops.supply_c[:] = loop.mixed_c(supply_before, loops.cooled_c, carried_w_per_k, half_j_per_k, dt_s)
    loops.heat_out_w[:] = carried_w_per_k * (return_before - loops.cooled_c)
    _use_water(loops, site, weather, carried_w_per_k * (return_before - free_c), dt_s)


def step_pumps(cooling: Cooling, work: CoolingWork, site: Site, asbuilt: AsBuilt, dt_s: float) -> None:
    """Run pumps up, and share each loop's flow among its pumps and its racks.

    Parameters
    ----------
    cooling, work
        Changed in place.
    site, asbuilt
        Nameplate and as-built values.
    dt_s
        Length of the tick. [s]
    """
    pumps, loops, cdus, plate = cooling.pumps, cooling.loops, cooling.cdus, site.pump
    starting = pumps.state_code == STARTING
    if starting.any():
        pumps.start_elapsed_s[starting] += dt_s
        pumps.speed_ratio[starting] = np.minimum(pumps.start_elapsed_s[starting] / plate.start_s, 1.0)
        pumps.state_code[starting & (pumps.start_elapsed_s >= plate.start_s)] = RUNNING
    cdu_units.step_pumps(cdus, site, asbuilt)

    halls = len(loops.supply_c)
    asked_l_min = cdus.valve * site.cdu.facility_flow_l_min
    asked_by_hall = np.add.reduceat(asked_l_min, site.layout.hall_first_rack[:-1])
    # Valves always move a little somewhere: only a change of a thousandth is worth solving the loops again.
    opening = np.round(asked_by_hall / site.loop.flow_l_min, 3)
    speed = pumps.speed_ratio.reshape(halls, -1)
    health = (pumps.health_ratio * asbuilt.pump_ratio).reshape(halls, -1)
    inputs = np.column_stack([speed, health, opening])
    if not np.array_equal(inputs, work.pump_inputs):
        work.pump_inputs[:] = inputs
        work.pump_flow_ratio[:] = loop.parallel_flow_ratios(
            speed,
            health,
            opening,
            duty_n=plate.duty_n,
            head_shutoff_ratio=plate.head_shutoff_ratio,
            head_slope_ratio=plate.head_slope_ratio,
        )
    pumps.flow_l_min[:] = work.pump_flow_ratio.ravel() * plate.flow_l_min
    loops.flow_l_min[:] = work.pump_flow_ratio.sum(axis=1) * plate.flow_l_min
    loops.dp_pa[:] = site.loop.dp_pa * np.square(loops.flow_l_min / np.maximum(asked_by_hall, 1e-9))
    cdus.facility_flow_l_min[:] = asked_l_min * (loops.flow_l_min / np.maximum(asked_by_hall, 1e-9))[work.rack_hall]
    given = work.pump_flow_ratio.ravel() / np.maximum(pumps.speed_ratio, 1e-9)
    pumps.power_w[:] = cdu.pump_power_w(plate.power_w, pumps.speed_ratio, plate.fixed_loss_ratio, given)


def _step_towers(
    cooling: Cooling,
    work: CoolingWork,
    site: Site,
    asbuilt: AsBuilt,
    weather: Weather,
    return_c: Floats,
    carried_w_per_k: Floats,
    dt_s: float,
) -> Floats:
    """Cool the water by the towers alone; return what leaves the exchanger, before any chiller. [C]."""
    towers, loops, plate = cooling.towers, cooling.loops, site.tower
    halls = len(return_c)
    if not plate.cells_n:
        return return_c
    into_c = return_c - site.loop.exchanger_approach_k
    fan = np.maximum(towers.fan_command_ratio, plate.fan_speed_min_ratio)
    drop = _cell_drop_k(towers, work, site, asbuilt, weather, into_c, loops.flow_l_min, fan)
    still_k = plate.still_cell_ratio * drop[1]
    # Below the least speed fans run now and then: between still air and least speed.
    share = np.minimum(towers.fan_command_ratio / plate.fan_speed_min_ratio, 1.0)
    live_k = still_k + (drop[0] - still_k) * share
    alive = (towers.state_code == RUNNING).reshape(halls, -1)
    cell_k = np.where(alive, live_k[:, None], still_k[:, None])
    towers.water_out_c[:] = (into_c[:, None] - cell_k).ravel()
    towers.approach_k[:] = towers.water_out_c - float(weather.wet_bulb_c)
    speed = np.where(alive, towers.fan_command_ratio[:, None], 0.0)
    towers.fan_speed_ratio[:] = speed.ravel()
    towers.fan_power_w[:] = plate.cell_fan_power_w * towers.fan_speed_ratio**3
    free_c = into_c - cell_k.mean(axis=1) + site.loop.exchanger_approach_k

    gain = np.minimum(float(np.asarray(lag.settled_ratio(dt_s, FAN_TAU_S))), 0.25) / FAN_SLOPE_K
    moved = towers.fan_command_ratio + gain * (free_c - loops.supply_set_c)
    np.clip(moved, 0.0, 1.0, out=towers.fan_command_ratio)
    floor_c = np.minimum(loops.supply_set_c - BYPASS_BELOW_K, return_c)
    bypassed: Floats = np.maximum(free_c, floor_c)
    return bypassed


def _cell_drop_k(
    towers: Towers,
    work: CoolingWork,
    site: Site,
    asbuilt: AsBuilt,
    weather: Weather,
    into_c: Floats,
    flow_l_min: Floats,
    fan_ratio: Floats,
) -> Floats:
    """Work out how far a cell cools its water, at this fan speed and at full speed, shape (2, halls). [K]."""
    air_kg_s, water_kg_s = rated_flows_kg_s(site)
    air_ratio = np.stack([fan_ratio, np.ones_like(fan_ratio)])
    water_ratio = np.clip(flow_l_min / site.tower.water_flow_l_min, 0.3, 1.0)
    ua = work.tower_ua_w_per_k * asbuilt.tower_ua_ratio * tower.air_factor(air_ratio) * tower.water_factor(water_ratio)
    out = tower.outlet(
        into_c,
        float(weather.wet_bulb_c),
        water_kg_s=water_kg_s * np.maximum(flow_l_min / site.tower.water_flow_l_min, 1e-3),
        air_kg_s=air_kg_s * air_ratio,
        ua_w_per_k=ua,
        pressure_pa=float(weather.pressure_pa),
        design_wet_bulb_c=site.tower.design_wet_bulb_c,
        passes_n=MERKEL_PASSES,
        guess_c=towers.air_out_c,
    )
    towers.air_out_c[:] = out.air_wet_bulb_c
    drop: Floats = np.asarray(into_c - out.water_c)
    return drop


def _step_chillers(
    cooling: Cooling,
    site: Site,
    asbuilt: AsBuilt,
    weather: Weather,
    free_c: Floats,
    carried_w_per_k: Floats,
    dt_s: float,
) -> None:
    """Let the chillers that run take what the towers left."""
    chillers, loops, plate = cooling.chillers, cooling.loops, site.chiller
    halls = len(free_c)
    starting, running = chillers.state_code == STARTING, chillers.state_code == RUNNING
    chillers.start_elapsed_s[starting | running] += dt_s
    chillers.state_code[starting & (chillers.start_elapsed_s >= plate.start_s)] = RUNNING
    loaded = np.clip((chillers.start_elapsed_s - plate.start_s) / plate.start_to_full_s, 0.0, 1.0) * running
    hall = np.repeat(np.arange(halls), plate.per_hall_n)

    leaving_c = np.clip(loops.supply_set_c, plate.leaving_min_c, plate.leaving_max_c)[hall]
    outdoor_c = max(float(weather.dry_bulb_c), plate.outdoor_min_c)
    rated_w = plate.rated_heat_w * asbuilt.chiller_capacity_ratio
    chillers.available_w[:] = chiller.capacity_w(rated_w, plate.capacity_fit, leaving_c, outdoor_c)
    able_w = chillers.available_w * loaded
    able_by_hall = able_w.reshape(halls, -1).sum(axis=1)
    wanted_w = np.maximum(carried_w_per_k * (free_c - loops.supply_set_c), 0.0)
    share = np.where(able_by_hall > 0.0, np.minimum(wanted_w / np.maximum(able_by_hall, 1.0), 1.0), 0.0)
    chillers.cooling_w[:] = able_w * share[hall]
    chillers.plr[:] = chillers.cooling_w / chillers.available_w
    chillers.power_w[:] = chiller.power_w(
        chillers.available_w,
        chillers.plr,
        rated_cop=plate.rated_cop * asbuilt.chiller_cop_ratio,
        input_ratio_fit=plate.input_ratio_fit,
        part_load_fit=plate.part_load_fit,
        part_load_min_ratio=plate.part_load_min_ratio,
        leaving_c=leaving_c,
        outdoor_c=outdoor_c,
    )
    chillers.cop[:] = np.where(chillers.power_w > 0.0, chillers.cooling_w / np.maximum(chillers.power_w, 1e-9), 0.0)
    cooled_w = chillers.cooling_w.reshape(halls, -1).sum(axis=1)
    loops.cooled_c[:] = free_c - cooled_w / carried_w_per_k
    loops.chiller_power_w[:] = chillers.power_w.reshape(halls, -1).sum(axis=1)
    heat_w = np.maximum(carried_w_per_k * (loops.return_c - loops.cooled_c), 1.0)
    loops.free_cooling[:] = np.clip(1.0 - cooled_w / heat_w, 0.0, 1.0)
    chillers.supply_c[:] = np.where(running, loops.cooled_c[hall], loops.supply_c[hall])


def _use_water(loops: Loops, site: Site, weather: Weather, tower_heat_w: Floats, dt_s: float) -> None:
    """Evaporate, blow down and make up."""
    plate = site.tower
    season = np.clip((float(weather.dry_bulb_c) - WINTER_C) / (SUMMER_C - WINTER_C), 0.0, 1.0)
    latent = plate.latent_winter_ratio + (plate.latent_summer_ratio - plate.latent_winter_ratio) * float(season)
    drift = plate.drift_ratio * loops.flow_l_min
    loops.evaporation_l_min[:] = tower.evaporation_l_min(np.maximum(tower_heat_w, 0.0), latent)
    loops.blowdown_l_min[:] = tower.blowdown_l_min(loops.evaporation_l_min, drift, plate.cycles_of_concentration)
    loops.makeup_l_min[:] = loops.evaporation_l_min + loops.blowdown_l_min + drift
    loops.makeup_total_l[:] += loops.makeup_l_min * dt_s / 60.0


def carried(loops: Loops, site: Site) -> Floats:
    """Give the heat that each loop carries per kelvin; a loop at rest still creeps. [W/K]."""
    flow_l_min = np.maximum(loops.flow_l_min, 1e-3 * site.loop.flow_l_min)
    rate = cdu.capacity_rate_w_per_k(flow_l_min, site.loop.water_density_kg_m3, site.loop.water_cp_j_per_kg_k)
    return np.asarray(rate, dtype=float)


def cooling_power_w(cooling: Cooling) -> float:
    """Sum what cooling takes: chillers, tower fans, facility pumps, CDU pumps. [W]."""
    return float(
        cooling.chillers.power_w.sum()
        + cooling.towers.fan_power_w.sum()
        + cooling.pumps.power_w.sum()
        + cooling.cdus.pump_power_w.sum()
    )
