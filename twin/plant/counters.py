"""What the site has used and put out since the plant began: energy, water, gas, emissions, money."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from twin import kpi
from twin.physics import turbine
from twin.plant.cooling import Cooling
from twin.plant.jobs import Jobs
from twin.plant.power import Power
from twin.site import Site

Scalar = NDArray[np.float64]


@dataclass(frozen=True)
class Counters:
    """Running totals, each a scalar."""

    feed_wh: Scalar
    turbine_wh: Scalar
    battery_out_wh: Scalar
    battery_in_wh: Scalar
    facility_wh: Scalar
    it_wh: Scalar
    cooling_wh: Scalar
    loss_wh: Scalar
    water_l: Scalar
    gas_mmbtu: Scalar
    nox_lb: Scalar
    co_lb: Scalar
    co2_lb: Scalar
    cost_usd: Scalar
    lost_gpu_h: Scalar


def new() -> Counters:
    """Begin at zero."""
    return Counters(*(np.zeros(()) for _ in fields(Counters)))


def step(counters: Counters, site: Site, power: Power, cooling: Cooling, jobs: Jobs, dt_s: float) -> None:
    """Count one tick.

    Parameters
    ----------
    counters
        Changed in place.
    site
        Nameplate, with prices and emission factors.
    power, cooling, jobs
        As they are at the end of the tick.
    dt_s
        Length of the tick. [s]
    """
    hours = dt_s / 3600.0
    battery_w = float(power.battery.power_w.sum())
    feed_w = float(power.feed.power_w.sum())
    makeup_l_min = float(cooling.loops.makeup_l_min.sum())
    fuel_mmbtu_h = float(turbine.fuel_mmbtu_h(float(power.turbines.fuel_power_w.sum())))
    counters.feed_wh[...] += feed_w * hours
    counters.turbine_wh[...] += power.turbines.power_w.sum() * hours
    counters.battery_out_wh[...] += max(battery_w, 0.0) * hours
    counters.battery_in_wh[...] += max(-battery_w, 0.0) * hours
    counters.facility_wh[...] += power.facility_power_w * hours
    counters.it_wh[...] += power.it_power_w * hours
    counters.cooling_wh[...] += power.cooling_power_w * hours
    counters.loss_wh[...] += power.loss_power_w * hours
    counters.water_l[...] += makeup_l_min * dt_s / 60.0
    counters.gas_mmbtu[...] += fuel_mmbtu_h * hours
    counters.nox_lb[...] += power.turbines.nox_lb_h.sum() * hours
    counters.co_lb[...] += power.turbines.co_lb_h.sum() * hours
    counters.co2_lb[...] += fuel_mmbtu_h * site.turbine.emissions.co2_lb_per_mmbtu * hours
    counters.cost_usd[...] += hours * kpi.cost_usd_h(
        feed_w=feed_w,
        fuel_mmbtu_h=fuel_mmbtu_h,
        water_l_min=makeup_l_min,
        feed_usd_per_mwh=site.prices.feed_usd_per_mwh,
        gas_usd_per_mmbtu=site.prices.gas_usd_per_mmbtu,
        water_usd_per_l=site.prices.water_usd_per_l,
    )
    counters.lost_gpu_h[...] = jobs.lost_gpu_h.sum()
