"""The coolant distribution units: one in each rack, between its cold plates and the facility water."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twin.physics import cdu, gpu, lag, loop
from twin.plant.asbuilt import AsBuilt
from twin.site import Site

Floats = NDArray[np.float64]

VALVE_PER_K_S = 0.002  # integral action of the valve (assumption)
VALVE_DEAD_K = 0.5  # colder than the set-point by less leaves the valve alone (assumption)
VALVE_STILL_K = 0.05  # an actuator does not follow less, and flows that stand still need not be worked out again
CREEP_W_PER_K = 80.0  # about 1 % of the flow
PUMP_NAMES = ("A", "B")


@dataclass(frozen=True)
class Cdus:
    """One CDU per rack (n,); pumps A and B of each, shape (n, 2)."""

    supply_c: Floats
    return_c: Floats
    flow_l_min: Floats
    facility_supply_c: Floats
    facility_return_c: Floats
    facility_flow_l_min: Floats
    pump_speed_ratio: Floats
    pump_power_w: Floats
    valve: Floats
    leak: NDArray[np.uint8]
    heat_w: Floats
    flow_ratio: Floats
    rise_w: Floats
    selected_pump: NDArray[np.int64]
    pump_health_ratio: Floats


@dataclass
class CduWork:
    """The exchangers' conductance at the flows for which it was worked out."""

    conductance_w_per_k: Floats
    flow_l_min: Floats
    facility_flow_l_min: Floats


def new(site: Site) -> Cdus:
    """Make room for all CDUs, at nominal flow."""
    n = site.layout.rack_count
    plate = site.cdu
    return Cdus(
        supply_c=np.full(n, plate.supply_set_c),
        return_c=np.full(n, plate.supply_set_c),
        flow_l_min=np.full(n, plate.coolant_flow_l_min),
        facility_supply_c=np.full(n, site.loop.supply_set_c),
        facility_return_c=np.full(n, site.loop.supply_set_c),
        facility_flow_l_min=np.full(n, plate.facility_flow_l_min),
        pump_speed_ratio=np.ones(n),
        pump_power_w=np.full(n, plate.pump_power_w),
        valve=np.ones(n),
        leak=np.zeros(n, dtype=np.uint8),
        heat_w=np.zeros(n),
        flow_ratio=np.ones(n),
        rise_w=np.zeros(n),
        selected_pump=np.zeros(n, dtype=np.int64),
        pump_health_ratio=np.ones((n, plate.pumps_n)),
    )


def new_work(site: Site) -> CduWork:
    """Make room for what is worked out again only when a flow changes."""
    n = site.layout.rack_count
    return CduWork(np.zeros(n), np.full(n, np.nan), np.full(n, np.nan))


def step_pumps(cdus: Cdus, site: Site, asbuilt: AsBuilt) -> None:
    """Set the coolant flow of each rack from its pump.

    Parameters
    ----------
    cdus
        Changed in place.
    site, asbuilt
        Nameplate and as-built values.
    """
    racks = np.arange(len(cdus.supply_c))
    health = cdus.pump_health_ratio[racks, cdus.selected_pump]
    built = asbuilt.cdu_pump_ratio[racks, cdus.selected_pump]
    np.multiply(cdus.pump_speed_ratio, health, out=cdus.flow_ratio)
    cdus.flow_ratio[:] *= built
    np.multiply(cdus.flow_ratio, site.cdu.coolant_flow_l_min, out=cdus.flow_l_min)
    # The drive reports speed; only its power betrays a pump that moves less water.
    cdus.pump_power_w[:] = cdu.pump_power_w(
        site.cdu.pump_power_w, cdus.pump_speed_ratio, site.pump.fixed_loss_ratio, health
    )


def step(
    cdus: Cdus,
    work: CduWork,
    site: Site,
    asbuilt: AsBuilt,
    rack_power_w: Floats,
    dew_point_c: float,
    dt_s: float,
) -> None:
    """Carry the racks' heat into the facility water for one tick.

    Parameters
    ----------
    cdus, work
        Changed in place; facility supply and flow are those of the loop.
    site, asbuilt
        Nameplate and as-built values.
    rack_power_w
        Input of each rack's servers, shape (racks,). [W]
    dew_point_c
        Of the air. [C]
    dt_s
        Length of the tick. [s]
    """
    plate, model = site.cdu, next(iter(site.gpus.values()))
    coolant_w_per_k = cdu.capacity_rate_w_per_k(
        cdus.flow_l_min, plate.coolant_density_kg_m3, plate.coolant_cp_j_per_kg_k
    )
    facility_w_per_k = cdu.capacity_rate_w_per_k(
        cdus.facility_flow_l_min, site.loop.water_density_kg_m3, site.loop.water_cp_j_per_kg_k
    )
    if not (
        np.array_equal(work.flow_l_min, cdus.flow_l_min)
        and np.array_equal(work.facility_flow_l_min, cdus.facility_flow_l_min)
    ):
        ua = cdu.ua_w_per_k(
            plate.ua_w_per_k * asbuilt.cdu_ua_ratio,
            cdus.flow_ratio,
            cdus.facility_flow_l_min / plate.facility_flow_l_min,
            plate.ua_flow_exponent,
        )
        work.conductance_w_per_k[:] = cdu.conductance_w_per_k(ua, coolant_w_per_k, facility_w_per_k)
        work.flow_l_min[:], work.facility_flow_l_min[:] = cdus.flow_l_min, cdus.facility_flow_l_min

    # GPUs give heat to the coolant as fast as their temperature rises above it; without flow they keep it.
    resistance = gpu.resistance_ratio(cdus.flow_ratio, model.flow_exponent)
    captured_w = site.server.liquid_capture_ratio * rack_power_w
    cdus.rise_w[:] = lag.lagged(cdus.rise_w, resistance * captured_w, dt_s, model.tau_s * resistance)
    into_coolant_w = cdus.rise_w / resistance

    # The coolant is two mixed halves, before and behind the cold plates. Standing coolant creeps, for the sums' sake.
    half_j_per_k = plate.coolant_volume_l / 2000.0 * plate.coolant_density_kg_m3 * plate.coolant_cp_j_per_kg_k
    moved_w_per_k = np.maximum(coolant_w_per_k, CREEP_W_PER_K)
    leaving_c = cdus.supply_c + into_coolant_w / moved_w_per_k
    cdus.return_c[:] = loop.mixed_c(cdus.return_c, leaving_c, moved_w_per_k, half_j_per_k, dt_s)
    np.multiply(work.conductance_w_per_k, cdus.return_c - cdus.facility_supply_c, out=cdus.heat_w)
    cooled_c = cdus.return_c - cdus.heat_w / moved_w_per_k
    cdus.supply_c[:] = loop.mixed_c(cdus.supply_c, cooled_c, moved_w_per_k, half_j_per_k, dt_s)
    cdus.facility_return_c[:] = cdus.facility_supply_c + cdus.heat_w / np.maximum(facility_w_per_k, CREEP_W_PER_K)
    _move_valves(cdus, site, dew_point_c, dt_s)


def _move_valves(cdus: Cdus, site: Site, dew_point_c: float, dt_s: float) -> None:
    """Close the facility valve while the coolant is too cold, for the racks' sake or the dew's."""
    plate = site.cdu
    set_c = max(plate.supply_set_c, dew_point_c + plate.dew_margin_k)
    error_k = cdus.supply_c - set_c
    error_k = np.where(error_k < 0.0, np.minimum(error_k + VALVE_DEAD_K, 0.0), error_k)
    error_k[np.abs(error_k) < VALVE_STILL_K] = 0.0
    moved = cdus.valve + VALVE_PER_K_S * error_k * dt_s
    np.clip(moved, plate.valve_min_ratio, 1.0, out=cdus.valve)
