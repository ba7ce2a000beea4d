"""The power plant: what the site draws, what is lost, and who supplies it.

In parallel with the grid the feed takes what turbines and battery leave, whatever that is: a stiff grid. Islands,
relays and load shedding come with the frequency model.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twin.physics import battery, electrical, frequency, lag
from twin.plant import jobs as job_table
from twin.plant import turbines as turbine_units
from twin.plant.asbuilt import AsBuilt
from twin.plant.jobs import Jobs
from twin.plant.states import RUNNING, STOPPING
from twin.plant.turbines import Gas, Permit, Turbines
from twin.site import Site

Floats = NDArray[np.float64]
Codes = NDArray[np.uint8]

SOC_RECOVERY_H = 4.0  # time in which an idle battery goes back to its set charge (assumption)
CELL_RISE_K, CELL_TAU_S, CELL_REST_C = 12.0, 1800.0, 25.0  # at rated power; cells are kept cool (assumption)
FEED_DROP_PU = 0.01  # voltage at the limit of the feed (assumption)


@dataclass(frozen=True)
class Feed:
    """The utility's feeds (n,)."""

    closed: Codes
    power_w: Floats
    limit_w: Floats
    voltage_pu: Floats
    voltage_min_pu: Floats


@dataclass(frozen=True)
class Battery:
    """The battery plants (n,), positive power when they give; ``pack_soc`` is per pack."""

    state_code: Codes
    power_w: Floats
    available_w: Floats
    soc: Floats
    pack_soc: Floats
    setpoint_w: Floats
    smooth_w: Floats
    cell_max_c: Floats


@dataclass(frozen=True)
class Ups:
    """The UPS of each hall (n,)."""

    state_code: Codes
    latched: Codes
    charge: Floats


@dataclass(frozen=True)
class Power:
    """All that powers; ``fast_*`` are 20 values of the last second of the tick."""

    feed: Feed
    turbines: Turbines
    gas: Gas
    permit: Permit
    battery: Battery
    ups: Ups
    meter_power_w: Floats
    it_power_w: Floats
    cooling_power_w: Floats
    aux_power_w: Floats
    loss_power_w: Floats
    facility_power_w: Floats
    frequency_hz: Floats
    frequency_min_hz: Floats
    frequency_max_hz: Floats
    rocof_min_hz_s: Floats
    rocof_max_hz_s: Floats
    islanded: Codes
    shed_power_w: Floats
    shed_stage_code: Codes
    fast_load_w: Floats
    fast_feed_w: Floats


def new(site: Site) -> Power:
    """Make room for the power plant: feed closed, battery at its set charge, turbines standing by."""
    halls, packs = site.layout.hall_count, site.battery.packs_n

    def one(value: float = 0.0) -> Floats:
        return np.full(1, value)

    def scalar(value: float = 0.0) -> Floats:
        return np.array(value)

    nominal_hz = site.electrical.frequency_hz
    return Power(
        feed=Feed(np.ones(1, dtype=np.uint8), one(), one(site.feed.limit_w), one(1.0), one(1.0)),
        turbines=turbine_units.new(site),
        gas=turbine_units.new_gas(),
        permit=turbine_units.new_permit(site),
        battery=Battery(
            state_code=np.full(1, RUNNING, dtype=np.uint8),
            power_w=one(),
            available_w=one(site.battery.power_w),
            soc=one(site.battery.soc_set),
            pack_soc=np.full(packs, site.battery.soc_set),
            setpoint_w=one(),
            smooth_w=one(),
            cell_max_c=one(CELL_REST_C),
        ),
        ups=Ups(np.full(halls, RUNNING, dtype=np.uint8), np.zeros(halls, dtype=np.uint8), np.full(halls, 1.0)),
        meter_power_w=np.zeros(halls),
        it_power_w=scalar(),
        cooling_power_w=scalar(),
        aux_power_w=scalar(),
        loss_power_w=scalar(),
        facility_power_w=scalar(),
        frequency_hz=scalar(nominal_hz),
        frequency_min_hz=scalar(nominal_hz),
        frequency_max_hz=scalar(nominal_hz),
        rocof_min_hz_s=scalar(),
        rocof_max_hz_s=scalar(),
        islanded=np.zeros((), dtype=np.uint8),
        shed_power_w=scalar(),
        shed_stage_code=np.zeros((), dtype=np.uint8),
        fast_load_w=np.zeros(job_table.FAST_PER_S),
        fast_feed_w=np.zeros(job_table.FAST_PER_S),
    )


def total(power: Power, site: Site, gpu_hall_power_w: Floats, cooling_power_w: float) -> None:
    """Add up what the site draws, and what is lost on the way.

    Parameters
    ----------
    power
        Changed in place.
    site
        Nameplate.
    gpu_hall_power_w
        Input of the GPU servers of each hall, shape (halls,). [W]
    cooling_power_w
        All cooling. [W]
    """
    np.add(gpu_hall_power_w, other_it_w(site), out=power.meter_power_w)
    it_w = float(power.meter_power_w.sum())
    turning_n = int(np.count_nonzero((power.turbines.state_code == RUNNING) | (power.turbines.state_code == STOPPING)))
    aux_w = (
        site.electrical.building_w
        + turning_n * site.turbine.aux_power_w
        + site.battery.aux_ratio * site.battery.power_w
    )
    drawn_w = it_w + cooling_power_w + aux_w
    loss_w = electrical.loss_w(
        drawn_w,
        reference_w=site.electrical.loss_reference_w,
        no_load_w=site.electrical.loss_no_load_w,
        at_reference_w=site.electrical.loss_at_reference_w,
    )
    power.it_power_w[...] = it_w
    power.cooling_power_w[...] = cooling_power_w
    power.aux_power_w[...] = aux_w
    power.loss_power_w[...] = loss_w
    power.facility_power_w[...] = drawn_w + loss_w


def other_it_w(site: Site) -> Floats:
    """Share storage, CPU servers and switches among the halls, shape (halls,). [W]."""
    halls = site.layout.hall_count
    return np.full(halls, site.electrical.other_it_w / halls)


def dispatch(power: Power, site: Site, asbuilt: AsBuilt, jobs: Jobs, elapsed_s: float, dt_s: float) -> None:
    """Share the load among turbines, battery and feed for one tick.

    Parameters
    ----------
    power
        Changed in place.
    site, asbuilt
        Nameplate and as-built values.
    jobs
        The table, with the fast activity of this tick.
    elapsed_s
        Time of the plant at the begin of the tick. [s]
    dt_s
        Length of the tick. [s]
    """
    load_w = float(power.facility_power_w)
    turbines_w = float(power.turbines.power_w.sum())
    wanted_w, fast_wanted_w = _smooth(power, site, jobs, dt_s)
    given_w = _run_battery(power.battery, site, asbuilt, wanted_w, dt_s)
    power.feed.power_w[0] = load_w - turbines_w - given_w
    # Within the second the battery follows what it is asked for, as far as it can.
    limit_w = float(power.battery.available_w[0])
    fast_given_w = np.clip(fast_wanted_w, -limit_w, limit_w) if power.battery.state_code[0] == RUNNING else 0.0
    np.subtract(power.fast_load_w, turbines_w + fast_given_w, out=power.fast_feed_w)

    power.feed.voltage_pu[:] = 1.0 - FEED_DROP_PU * power.feed.power_w / power.feed.limit_w
    power.feed.voltage_min_pu[:] = 1.0 - FEED_DROP_PU * power.fast_feed_w.max() / power.feed.limit_w
    now_hz, before_hz = frequency.grid_hz(elapsed_s + dt_s), frequency.grid_hz(elapsed_s)
    power.frequency_hz[...] = now_hz
    power.frequency_min_hz[...] = min(now_hz, before_hz)
    power.frequency_max_hz[...] = max(now_hz, before_hz)
    slope_hz_s = (now_hz - before_hz) / dt_s
    power.rocof_min_hz_s[...] = min(slope_hz_s, 0.0)
    power.rocof_max_hz_s[...] = max(slope_hz_s, 0.0)


def _smooth(power: Power, site: Site, jobs: Jobs, dt_s: float) -> tuple[float, Floats]:
    """Advance the low-pass of the load and fill the fast load; return what is asked of the battery."""
    units, plate = power.battery, site.battery
    load_w, before_w = float(power.facility_power_w), float(units.smooth_w[0])
    swing_w = jobs.slope_w @ (jobs.fast_activity - jobs.activity[:, None])
    np.add(load_w, swing_w, out=power.fast_load_w)

    after_w = float(battery.smoothed_w(before_w, load_w, dt_s, plate.smoothing_s))
    units.smooth_w[0] = after_w
    mean_w = load_w + (before_w - load_w) * float(lag.mean_of_lag_ratio(dt_s, plate.smoothing_s))
    recovery_w = 0.0
    if units.setpoint_w[0] == 0.0:
        recovery_w = (float(units.soc[0]) - plate.soc_set) * plate.energy_wh / SOC_RECOVERY_H
    extra_w = float(units.setpoint_w[0]) + recovery_w
    fast_smooth_w = before_w + (after_w - before_w) * job_table.fast_edges_s(dt_s)[1:] / dt_s
    return load_w - mean_w + extra_w, power.fast_load_w - fast_smooth_w + extra_w


def _run_battery(units: Battery, site: Site, asbuilt: AsBuilt, wanted_w: float, dt_s: float) -> float:
    """Give or take what is asked for, within charge and rating; return what was given. [W]."""
    plate = site.battery
    energy_wh = asbuilt.pack_energy_wh
    running = units.state_code[0] == RUNNING
    rated_w = plate.power_w if running else 0.0
    give_w = float(
        battery.discharge_limit_w(
            units.soc[0],
            plate.energy_wh,
            rated_w,
            soc_min=plate.soc_min,
            discharge_efficiency=plate.discharge_efficiency,
            dt_s=dt_s,
        )
    )
    take_w = float(
        battery.charge_limit_w(
            units.soc[0],
            plate.energy_wh,
            rated_w,
            soc_max=plate.soc_max,
            charge_efficiency=plate.charge_efficiency,
            dt_s=dt_s,
        )
    )
    given_w = min(max(wanted_w, -take_w), give_w)
    units.power_w[0], units.available_w[0] = given_w, give_w
    # Packs share alike, so that a small pack empties first.
    units.pack_soc[:] += battery.charge_change(
        given_w / plate.packs_n,
        energy_wh,
        dt_s,
        charge_efficiency=plate.charge_efficiency,
        discharge_efficiency=plate.discharge_efficiency,
    )
    units.soc[0] = float((units.pack_soc * energy_wh).sum() / energy_wh.sum())
    warm_c = CELL_REST_C + CELL_RISE_K * (given_w / plate.power_w) ** 2
    units.cell_max_c[:] = lag.lagged(units.cell_max_c, warm_c, dt_s, CELL_TAU_S)
    return given_w
