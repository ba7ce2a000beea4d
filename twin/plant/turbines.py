"""The gas turbines with their starts, fuel, catalysts and stacks, the gas header, and the permit's count."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twin.physics import emissions, lag, turbine
from twin.plant.asbuilt import AsBuilt
from twin.plant.states import RUNNING, STANDBY, STARTING, STOPPING
from twin.plant.weather import Weather
from twin.site import Site

Floats = NDArray[np.float64]

LOAD_RATIO = 12.5 / 16.0  # of the rating, at which a turbine is run when nothing else is said (reference plant)
POLLUTANTS = ("nox", "co", "voc", "pm", "hcho")
YEAR_H = 8760.0


@dataclass(frozen=True)
class Turbines:
    """All turbines (n,), in site order; ``fuel_power_w`` counts the higher heating value."""

    state_code: NDArray[np.uint8]
    power_w: Floats
    set_w: Floats
    available_w: Floats
    load: Floats
    start_elapsed_s: Floats
    stop_elapsed_s: Floats
    fuel_power_w: Floats
    heat_rate_kj_kwh: Floats
    nox_lb_h: Floats
    co_lb_h: Floats
    nox_ppm: Floats
    co_ppm: Floats
    scr_temp_c: Floats
    starts_year_n: NDArray[np.int64]
    stops_year_n: NDArray[np.int64]
    start_stop_year_h: Floats
    run_h: Floats


@dataclass(frozen=True)
class Gas:
    """The header that feeds all turbines, shape (1,)."""

    pressure_ratio: Floats


@dataclass(frozen=True)
class Permit:
    """Short tons of the rolling twelve months, by pollutant; what the plant itself emitted is ``emitted_ston``."""

    nox_ston: Floats
    co_ston: Floats
    voc_ston: Floats
    pm_ston: Floats
    hcho_ston: Floats
    emitted_ston: Floats


def new(site: Site) -> Turbines:
    """Make room for all turbines, standing by."""
    n = site.turbine.units_n
    floats = {
        name: np.zeros(n)
        for name in Turbines.__dataclass_fields__
        if name not in ("state_code", "starts_year_n", "stops_year_n")
    }
    floats["set_w"][:] = LOAD_RATIO * site.turbine.rated_power_w
    return Turbines(
        state_code=np.full(n, STANDBY, dtype=np.uint8),
        starts_year_n=np.zeros(n, dtype=np.int64),
        stops_year_n=np.zeros(n, dtype=np.int64),
        **floats,
    )


def new_gas() -> Gas:
    """Make a gas header at nominal pressure."""
    return Gas(np.ones(1))


def new_permit(site: Site) -> Permit:
    """Open the permit's count at the site's opening balance."""
    opening = {f"{name}_ston": np.array(getattr(site.permit, f"{name}_opening_ston")) for name in POLLUTANTS}
    return Permit(**opening, emitted_ston=np.zeros(len(POLLUTANTS)))


def step(turbines: Turbines, site: Site, asbuilt: AsBuilt, weather: Weather, dt_s: float) -> None:
    """Advance all turbines by one tick.

    Parameters
    ----------
    turbines
        Changed in place.
    site, asbuilt
        Nameplate and as-built values.
    weather
        The air outside.
    dt_s
        Length of the tick. [s]
    """
    plate = site.turbine
    turbines.available_w[:] = turbine.available_w(
        plate.rated_power_w * asbuilt.turbine_power_ratio,
        float(weather.dry_bulb_c),
        float(weather.pressure_pa),
        derate_per_k=plate.derate_per_k,
        cold_limit_ratio=plate.cold_limit_ratio,
    )
    starting = turbines.state_code == STARTING
    turbines.start_elapsed_s[starting] += dt_s
    turbines.start_stop_year_h[starting] += dt_s / 3600.0
    closed = starting & (turbines.start_elapsed_s >= plate.start_to_breaker_s)
    turbines.state_code[closed] = RUNNING
    turbines.start_elapsed_s[closed] = 0.0

    running, stopping = turbines.state_code == RUNNING, turbines.state_code == STOPPING
    target_w = np.where(running, np.minimum(turbines.set_w, turbines.available_w), 0.0)
    rate_w_per_s = plate.load_rate_per_min / 60.0 * plate.rated_power_w
    ramped = turbine.ramped_w(turbines.power_w, target_w, rate_w_per_s, dt_s)
    turbines.power_w[:] = np.where(running | stopping, ramped, 0.0)
    turbines.run_h[running] += dt_s / 3600.0
    _cool_down(turbines, site, stopping, dt_s)

    lit = starting & (turbines.start_elapsed_s >= plate.prelube_s + plate.purge_s)
    _burn(turbines, site, asbuilt, weather, lit | closed, dt_s)


def _cool_down(turbines: Turbines, site: Site, stopping: NDArray[np.bool_], dt_s: float) -> None:
    unloaded = stopping & (turbines.power_w <= 0.0)
    turbines.start_stop_year_h[stopping] += dt_s / 3600.0
    turbines.stop_elapsed_s[unloaded] += dt_s
    done = unloaded & (turbines.stop_elapsed_s >= site.turbine.cooldown_s)
    turbines.state_code[done] = STANDBY
    turbines.stop_elapsed_s[done] = 0.0


def _burn(
    turbines: Turbines, site: Site, asbuilt: AsBuilt, weather: Weather, lit: NDArray[np.bool_], dt_s: float
) -> None:
    """Work out fuel, catalyst and stack of each machine."""
    plate = site.turbine
    generating = turbines.power_w > 0.0
    burning = generating | lit | (turbines.state_code == RUNNING)
    np.divide(turbines.power_w, turbines.available_w, out=turbines.load)
    full_kj_kwh = turbine.full_load_heat_rate_kj_kwh(
        plate.heat_rate_lhv_kj_per_kwh * asbuilt.turbine_heat_rate_ratio,
        float(weather.dry_bulb_c),
        rise_per_k=plate.heat_rate_rise_per_k,
    )
    lower_w = burning * turbine.fuel_w(turbines.power_w, turbines.available_w, full_kj_kwh, plate.no_load_fuel_ratio)
    turbines.fuel_power_w[:] = lower_w * plate.hhv_per_lhv_ratio
    turbines.heat_rate_kj_kwh[:] = np.where(generating, 3600.0 * lower_w / np.maximum(turbines.power_w, 1.0), 0.0)

    exhaust_c = turbine.exhaust_c(plate.exhaust_temp_c, turbines.load)
    outside_c = float(weather.dry_bulb_c)
    # A cold catalyst is to reach its working temperature after the nameplate's warm-up.
    warm_up_ratio = (plate.exhaust_temp_c - 15.0) / (plate.exhaust_temp_c - site.scr.catalyst_min_c)
    tau_s = site.scr.warm_up_s / float(np.log(warm_up_ratio))
    turbines.scr_temp_c[:] = lag.lagged(turbines.scr_temp_c, np.where(burning, exhaust_c, outside_c), dt_s, tau_s)
    _stack(turbines, site, asbuilt, burning)


def _stack(turbines: Turbines, site: Site, asbuilt: AsBuilt, burning: NDArray[np.bool_]) -> None:
    factors = site.turbine.emissions
    fuel_mmbtu_h = turbine.fuel_mmbtu_h(turbines.fuel_power_w)
    warm = turbines.scr_temp_c >= site.scr.catalyst_min_c
    starting = turbines.state_code == STARTING
    nox = emissions.stack_factor(
        turbines.load,
        uncontrolled=factors.nox_uncontrolled_lb_per_mmbtu,
        lean=factors.nox_lean_lb_per_mmbtu,
        catalysed=factors.nox_scr_lb_per_mmbtu * asbuilt.turbine_stack_ratio,
        low_load_ratio=factors.low_load_ratio,
        low_load_factor=factors.low_load_nox_factor,
        starting=starting,
        catalyst_warm=warm,
    )
    co = emissions.stack_factor(
        turbines.load,
        uncontrolled=factors.co_uncontrolled_lb_per_mmbtu,
        lean=factors.co_lean_lb_per_mmbtu,
        catalysed=factors.co_catalyst_lb_per_mmbtu * asbuilt.turbine_stack_ratio,
        low_load_ratio=factors.low_load_ratio,
        low_load_factor=factors.low_load_co_factor,
        starting=starting,
        catalyst_warm=warm,
    )
    turbines.nox_lb_h[:] = emissions.rate_lb_h(fuel_mmbtu_h, nox)
    turbines.co_lb_h[:] = emissions.rate_lb_h(fuel_mmbtu_h, co)
    turbines.nox_ppm[:] = burning * nox / emissions.NOX_LB_PER_MMBTU_PPM
    turbines.co_ppm[:] = burning * co / emissions.CO_LB_PER_MMBTU_PPM


def count(permit: Permit, turbines: Turbines, site: Site, elapsed_s: float, dt_s: float) -> None:
    """Count the tick's emissions into the rolling twelve months.

    Parameters
    ----------
    permit
        Changed in place.
    turbines
        Read only.
    site
        Nameplate, with the opening balance, which is taken as even over the year before.
    elapsed_s
        Time of the plant at the end of the tick. [s]
    dt_s
        Length of the tick. [s]
    """
    factors = site.turbine.emissions
    fuel_mmbtu_h = turbine.fuel_mmbtu_h(float(turbines.fuel_power_w.sum()))
    lb_h = np.array(
        [
            turbines.nox_lb_h.sum(),
            turbines.co_lb_h.sum(),
            fuel_mmbtu_h * factors.voc_lb_per_mmbtu,
            fuel_mmbtu_h * factors.pm_lb_per_mmbtu,
            fuel_mmbtu_h * factors.hcho_lb_per_mmbtu,
        ]
    )
    permit.emitted_ston[:] += lb_h * (dt_s / 3600.0 / emissions.LB_PER_STON)
    left = max(1.0 - elapsed_s / 3600.0 / YEAR_H, 0.0)
    for number, name in enumerate(POLLUTANTS):
        opening_ston = getattr(site.permit, f"{name}_opening_ston")
        getattr(permit, f"{name}_ston")[...] = opening_ston * left + permit.emitted_ston[number]
