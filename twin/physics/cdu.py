"""A coolant distribution unit: heat exchanger between rack coolant and facility water, and its pumps."""

import numpy as np

from twin.physics.quantity import Quantity

# Without flow on one side a little heat still creeps through; it keeps the time constant finite.
CREEP_W_PER_K = 1.0


def effectiveness(ntu: Quantity, capacity_ratio: Quantity) -> Quantity:
    """Compute the effectiveness of a counterflow heat exchanger.

    Parameters
    ----------
    ntu
        Number of transfer units, UA over the smaller capacity rate, >= 0.
    capacity_ratio
        Smaller over larger capacity rate, 0..1.

    Returns
    -------
    float or ndarray
        Heat over the most that could pass, 0..1.

    Notes
    -----
    Kays and London: ``(1 - exp(-N(1-C)))/(1 - C exp(-N(1-C)))``, and ``N/(1+N)`` for C = 1.

    Examples
    --------
    >>> round(float(effectiveness(2.5, 0.8)), 5)
    0.76435
    >>> round(float(effectiveness(2.5, 1.0)), 5)
    0.71429
    """
    n, c = np.asarray(ntu, dtype=float), np.asarray(capacity_ratio, dtype=float)
    balanced = np.abs(1.0 - c) < 1e-6
    spread = np.where(balanced, 0.5, 1.0 - c)
    decay = np.exp(-n * spread)
    unbalanced = (1.0 - decay) / (1.0 - np.where(balanced, 0.5, c) * decay)
    return np.asarray(np.where(balanced, n / (1.0 + n), unbalanced))[()]


def ua_w_per_k(
    ua_nominal_w_per_k: Quantity, coolant_ratio: Quantity, facility_ratio: Quantity, exponent: float
) -> Quantity:
    """Scale the conductance of a plate exchanger with the flow on both sides.

    Parameters
    ----------
    ua_nominal_w_per_k
        At nominal flow of both sides. [W/K]
    coolant_ratio, facility_ratio
        Flow over nominal, each side.
    exponent
        0.7: convection in a plate channel goes with flow to this power.

    Notes
    -----
    Two equal film resistances in series: ``UA0 * 2/(f_t^-0.7 + f_f^-0.7)``; the wall is neglected.

    Examples
    --------
    >>> float(ua_w_per_k(15700.0, 1.0, 1.0, 0.7))
    15700.0
    >>> round(float(ua_w_per_k(15700.0, 0.5, 1.0, 0.7)))
    11964
    """
    films = np.maximum(coolant_ratio, 1e-9) ** -exponent + np.maximum(facility_ratio, 1e-9) ** -exponent
    return np.asarray(2.0 * ua_nominal_w_per_k / films)[()]


def capacity_rate_w_per_k(flow_l_min: Quantity, density_kg_m3: float, cp_j_per_kg_k: float) -> Quantity:
    """Compute the heat that a flow carries per kelvin.

    Parameters
    ----------
    flow_l_min
        Volume flow. [L/min]
    density_kg_m3
        Density. [kg/m3]
    cp_j_per_kg_k
        Specific heat. [J/(kg K)]

    Examples
    --------
    >>> round(float(capacity_rate_w_per_k(100.0, 1015.0, 3950.0)))
    6682
    """
    return flow_l_min * (density_kg_m3 * cp_j_per_kg_k / 60_000.0)


def conductance_w_per_k(ua_w_per_k: Quantity, coolant_w_per_k: Quantity, facility_w_per_k: Quantity) -> Quantity:
    """Compute the heat that the exchanger passes per kelvin between its two inlets.

    Parameters
    ----------
    ua_w_per_k
        Conductance of the exchanger at the present flows. [W/K]
    coolant_w_per_k, facility_w_per_k
        Capacity rates of both sides. [W/K]

    Returns
    -------
    float or ndarray
        ``effectiveness * C_min``, at least the creep of standing water. [W/K]

    Examples
    --------
    >>> round(float(conductance_w_per_k(15700.0, 6682.0, 8322.0)))
    5007
    """
    low = np.minimum(coolant_w_per_k, facility_w_per_k)
    high = np.maximum(coolant_w_per_k, facility_w_per_k)
    safe = np.maximum(low, 1e-3)
    eps = effectiveness(np.minimum(ua_w_per_k / safe, 1e3), safe / np.maximum(high, 1e-3))
    return np.asarray(np.maximum(eps * low, CREEP_W_PER_K))[()]


def pump_power_w(
    rated_w: Quantity, speed_ratio: Quantity, fixed_ratio: float, flow_per_speed_ratio: Quantity = 1.0
) -> Quantity:
    """Compute the power of a pump on a drive by the affinity laws.

    Parameters
    ----------
    rated_w
        At full speed and rated flow. [W]
    speed_ratio
        Speed over rated; 0 stands still and draws nothing.
    fixed_ratio
        Share of the rated power that does not fall with speed (drive and bearings), 0..1.
    flow_per_speed_ratio
        Flow at this speed over the flow that the speed would give in a healthy pump.

    Notes
    -----
    Flow goes with speed n, head with n^2, power with n^3: ``P0 (0.05 + 0.95 n^3)``. A pump that runs but
    moves less water loads its motor less: half of the hydraulic part stays at zero flow (radial pump).

    Examples
    --------
    >>> float(pump_power_w(1000.0, 1.0, 0.05))
    1000.0
    >>> round(float(pump_power_w(1000.0, 0.5, 0.05)), 1)
    168.8
    """
    share = 0.5 + 0.5 * np.clip(flow_per_speed_ratio, 0.0, 2.0)
    turning = np.asarray(speed_ratio) > 0.0
    hydraulic = (1.0 - fixed_ratio) * np.power(speed_ratio, 3) * share
    return np.asarray(rated_w * np.where(turning, fixed_ratio + hydraulic, 0.0))[()]
