"""A battery plant: smoothing of a load, limits of charge, split efficiency."""

import numpy as np

from twin.physics.lag import settled_ratio
from twin.physics.quantity import Quantity


def smoothed_w(smooth_w: Quantity, load_w: Quantity, dt_s: float, tau_s: float) -> Quantity:
    """Advance the smooth load that the other sources are to see.

    Parameters
    ----------
    smooth_w
        Before the step. [W]
    load_w
        Mean over the step. [W]
    dt_s, tau_s
        Length of the step and time constant of the low-pass. [s]

    Notes
    -----
    The battery gives ``load - smooth``: a step of dP costs ``dP tau`` of energy, a sine of period T is cut by
    ``sqrt(1 + (2 pi tau/T)^2)``.

    Examples
    --------
    >>> round(float(smoothed_w(200e6, 250e6, 30.0, 30.0)) / 1e6, 2)
    231.61
    """
    return smooth_w + np.subtract(load_w, smooth_w) * settled_ratio(dt_s, tau_s)


def attenuation(period_s: Quantity, tau_s: float) -> Quantity:
    """Give the factor by which smoothing cuts a sinusoidal load.

    Parameters
    ----------
    period_s
        Of the load. [s]
    tau_s
        Of the low-pass. [s]

    Examples
    --------
    >>> round(float(attenuation(2.0, 30.0)), 1)
    94.3
    """
    return np.asarray(np.sqrt(1.0 + np.square(2.0 * np.pi * tau_s / np.asarray(period_s, dtype=float))))[()]


def discharge_limit_w(
    soc: Quantity, energy_wh: Quantity, rated_w: Quantity, *, soc_min: float, discharge_efficiency: float, dt_s: float
) -> Quantity:
    """Compute the most that a battery can give during a step.

    Parameters
    ----------
    soc
        State of charge, 0..1.
    energy_wh
        Content at charge 1. [Wh]
    rated_w
        Of the inverters. [W]
    soc_min
        Charge that is kept, 0..1.
    discharge_efficiency
        Given over taken out, 0..1.
    dt_s
        Length of the step. [s]

    Examples
    --------
    >>> float(discharge_limit_w(0.05, 647e6, 150e6, soc_min=0.05, discharge_efficiency=0.959, dt_s=1.0))
    0.0
    """
    usable_wh = np.maximum(np.subtract(soc, soc_min), 0.0) * energy_wh * discharge_efficiency
    return np.asarray(np.minimum(rated_w, usable_wh * 3600.0 / dt_s))[()]


def charge_limit_w(
    soc: Quantity, energy_wh: Quantity, rated_w: Quantity, *, soc_max: float, charge_efficiency: float, dt_s: float
) -> Quantity:
    """Compute the most that a battery can take during a step.

    Parameters
    ----------
    soc
        State of charge, 0..1.
    energy_wh
        Content at charge 1. [Wh]
    rated_w
        Of the inverters. [W]
    soc_max
        Charge that is not passed, 0..1.
    charge_efficiency
        Stored over taken, 0..1.
    dt_s
        Length of the step. [s]

    Examples
    --------
    >>> float(charge_limit_w(0.5, 647e6, 150e6, soc_max=0.95, charge_efficiency=0.959, dt_s=1.0))
    150000000.0
    """
    room_wh = np.maximum(np.subtract(soc_max, soc), 0.0) * energy_wh / charge_efficiency
    return np.asarray(np.minimum(rated_w, room_wh * 3600.0 / dt_s))[()]


def charge_change(
    power_w: Quantity, energy_wh: Quantity, dt_s: float, *, charge_efficiency: float, discharge_efficiency: float
) -> Quantity:
    """Compute the change of the state of charge in a step.

    Parameters
    ----------
    power_w
        At the terminals, positive when it gives. [W]
    energy_wh
        Content at charge 1. [Wh]
    dt_s
        Length of the step. [s]
    charge_efficiency, discharge_efficiency
        0..1; 0.959 each for the 92 % round trip of a Megapack 2 XL.

    Examples
    --------
    >>> both = dict(charge_efficiency=0.959, discharge_efficiency=0.959)
    >>> round(float(charge_change(95.9e6, 100e6, 3600.0, **both)), 6)
    -1.0
    """
    power = np.asarray(power_w, dtype=float)
    inside = np.where(power > 0.0, power / discharge_efficiency, power * charge_efficiency)
    return np.asarray(-inside * dt_s / (3600.0 * np.asarray(energy_wh, dtype=float)))[()]
