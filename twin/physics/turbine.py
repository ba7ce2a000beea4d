"""A gas turbine: what it can give in this air, what it burns for it, how it starts."""

import numpy as np

from twin.physics.quantity import Quantity

ISO_C = 15.0
ISO_PA = 101_325.0
J_PER_MMBTU = 1.055_055_853e9


def available_w(
    rated_w: Quantity, inlet_c: Quantity, pressure_pa: Quantity, *, derate_per_k: float, cold_limit_ratio: float
) -> Quantity:
    """Compute the most that a turbine gives in this air.

    Parameters
    ----------
    rated_w
        ISO rating. [W]
    inlet_c
        Air at the inlet. [C]
    pressure_pa
        Air pressure. [Pa]
    derate_per_k
        Loss per kelvin above 15 C, 0.005 for industrial machines. [1/K]
    cold_limit_ratio
        Limit of the generator over the rating in cold air.

    Notes
    -----
    ``P_iso (1 - k (T - 15)) p/101325``.

    Examples
    --------
    >>> round(float(available_w(16e6, 35.0, 100_680.0, derate_per_k=0.005, cold_limit_ratio=1.05)) / 1e6, 2)
    14.31
    """
    given = rated_w * (1.0 - derate_per_k * np.subtract(inlet_c, ISO_C)) * np.divide(pressure_pa, ISO_PA)
    return np.asarray(np.minimum(given, np.multiply(rated_w, cold_limit_ratio)))[()]


def full_load_heat_rate_kj_kwh(heat_rate_iso_kj_kwh: Quantity, inlet_c: Quantity, *, rise_per_k: float) -> Quantity:
    """Compute the heat rate at full load in this air.

    Parameters
    ----------
    heat_rate_iso_kj_kwh
        At 15 C; lower or higher heating value as the caller counts fuel. [kJ/kWh]
    inlet_c
        Air at the inlet. [C]
    rise_per_k
        Growth per kelvin above 15 C, 0.0006-0.0008. [1/K]

    Examples
    --------
    >>> round(float(full_load_heat_rate_kj_kwh(10_160.0, 35.0, rise_per_k=0.0007)))
    10302
    """
    return heat_rate_iso_kj_kwh * (1.0 + rise_per_k * np.subtract(inlet_c, ISO_C))


def fuel_w(
    power_w: Quantity, available_w: Quantity, full_load_heat_rate_kj_kwh: Quantity, no_load_ratio: float
) -> Quantity:
    """Compute the fuel power of a burning turbine by Willans' line.

    Parameters
    ----------
    power_w
        Output; 0 for a machine at speed without load. [W]
    available_w
        Full load in this air. [W]
    full_load_heat_rate_kj_kwh
        At full load in this air. [kJ/kWh]
    no_load_ratio
        Fuel at speed without load over fuel at full load: 0.20, the same as the governor model's Wfnl.

    Returns
    -------
    float or ndarray
        In the heating value of the heat rate. [W]

    Notes
    -----
    ``F/F_full = w0 + (1 - w0) x``.

    Examples
    --------
    >>> round(float(fuel_w(16e6, 16e6, 10_160.0, 0.2)) / 1e6, 1)
    45.2
    """
    full_w = available_w * np.divide(full_load_heat_rate_kj_kwh, 3600.0)
    return full_w * (no_load_ratio + (1.0 - no_load_ratio) * np.divide(power_w, available_w))


def fuel_mmbtu_h(fuel_w: Quantity) -> Quantity:
    """Turn fuel power into millions of British thermal units per hour.

    Parameters
    ----------
    fuel_w
        Higher heating value, which American gas and permits count by. [W]

    Examples
    --------
    >>> round(float(fuel_mmbtu_h(45.2e6)), 1)
    154.2
    """
    return fuel_w * (3600.0 / J_PER_MMBTU)


def exhaust_c(full_load_c: Quantity, load_ratio: Quantity) -> Quantity:
    """Compute the temperature of the exhaust, which the catalyst lives on.

    Parameters
    ----------
    full_load_c
        At full load. [C]
    load_ratio
        Output over the most in this air, 0..1.

    Notes
    -----
    30 K hotter from full load to 60 %, as inlet guide vanes close; flat below.

    Examples
    --------
    >>> float(exhaust_c(490.0, 0.6))
    520.0
    """
    return full_load_c + 75.0 * (1.0 - np.clip(load_ratio, 0.6, 1.0))


def ramped_w(power_w: Quantity, target_w: Quantity, rate_w_per_s: Quantity, dt_s: float) -> Quantity:
    """Move an output towards its target at a limited rate.

    Parameters
    ----------
    power_w, target_w
        Output now, and wanted. [W]
    rate_w_per_s
        Limit, up and down. [W/s]
    dt_s
        Length of the step. [s]

    Examples
    --------
    >>> float(ramped_w(10e6, 12.5e6, 53_000.0, 10.0))
    10530000.0
    """
    step = np.multiply(rate_w_per_s, dt_s)
    return np.asarray(power_w + np.clip(np.subtract(target_w, power_w), -step, step))[()]
