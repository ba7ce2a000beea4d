"""A cooling tower by Merkel's theory, as an exchanger between water and saturated air; its water use."""

from typing import NamedTuple

import numpy as np

from twin.physics.cdu import effectiveness
from twin.physics.quantity import Array, Quantity
from twin.physics.weather import saturated_enthalpy_j_per_kg

AIR_CP_J_PER_KG_K = 1006.0
AIR_DENSITY_KG_M3 = 1.2  # at which air flows are rated; reproduces EnergyPlus' run within 0.1 K
WATER_CP_J_PER_KG_K = 4186.0
# Slope of the exchanger's conductance with the wet bulb, EnergyPlus CoolingTower:VariableSpeed:Merkel.
WET_BULB_SLOPE_PER_K = 0.0081
LATENT_L_PER_KWH = 1.48  # of heat carried off by evaporation alone at 30 C: 3600 kJ / 2430 kJ/kg


class Outlet(NamedTuple):
    """What leaves a tower cell."""

    water_c: Quantity
    air_wet_bulb_c: Quantity


def air_factor(air_ratio: Quantity) -> Quantity:
    """Give the conductance at an air flow over that at rated air flow.

    Parameters
    ----------
    air_ratio
        Air flow over rated, 0.2..1.

    Notes
    -----
    ``1.3 f - 0.3 f^2``, EnergyPlus CoolingTower:VariableSpeed:Merkel.

    Examples
    --------
    >>> round(float(air_factor(0.5)), 3)
    0.575
    """
    return air_ratio * (1.3 - 0.3 * air_ratio)


def water_factor(water_ratio: Quantity) -> Quantity:
    """Give the conductance at a water flow over that at rated water flow.

    Parameters
    ----------
    water_ratio
        Water flow over rated, 0.3..1.

    Notes
    -----
    ``0.1082 + 1.667 f - 0.7713 f^2``, EnergyPlus CoolingTower:VariableSpeed:Merkel.

    Examples
    --------
    >>> round(float(water_factor(1.0)), 4)
    1.0039
    """
    return 0.1082 + water_ratio * (1.667 - 0.7713 * water_ratio)


def rated_ua_w_per_k(
    water_kg_s: float, air_kg_s: float, *, wet_bulb_c: float, range_k: float, approach_k: float, pressure_pa: float
) -> float:
    """Size a tower: find the conductance that meets its design point.

    Parameters
    ----------
    water_kg_s, air_kg_s
        Rated flows. [kg/s]
    wet_bulb_c
        Of the air at the design point. [C]
    range_k, approach_k
        Fall of the water; water out above wet bulb. [K]
    pressure_pa
        Air pressure. [Pa]

    Examples
    --------
    >>> rated = dict(wet_bulb_c=25.6, range_k=5.5, approach_k=3.9, pressure_pa=101325.0)
    >>> round(rated_ua_w_per_k(1.089, 0.673, **rated))
    1719
    """
    heat_w = water_kg_s * WATER_CP_J_PER_KG_K * range_k
    inlet_j_per_kg = float(saturated_enthalpy_j_per_kg(wet_bulb_c, pressure_pa))
    low, high = wet_bulb_c, wet_bulb_c + 60.0
    for _ in range(60):
        out_c = 0.5 * (low + high)
        gained_w = air_kg_s * (float(saturated_enthalpy_j_per_kg(out_c, pressure_pa)) - inlet_j_per_kg)
        low, high = (out_c, high) if gained_w < heat_w else (low, out_c)
    air_w_per_k = heat_w / (out_c - wet_bulb_c)
    water_w_per_k = water_kg_s * WATER_CP_J_PER_KG_K
    smaller = min(air_w_per_k, water_w_per_k)
    ratio = smaller / max(air_w_per_k, water_w_per_k)
    eps = heat_w / (smaller * (range_k + approach_k))
    ntu = np.log((1.0 - eps * ratio) / (1.0 - eps)) / (1.0 - ratio)
    cp_saturated = air_w_per_k / air_kg_s
    return float(ntu * smaller * AIR_CP_J_PER_KG_K / cp_saturated)


def outlet(
    water_in_c: Quantity,
    wet_bulb_c: Quantity,
    *,
    water_kg_s: Quantity,
    air_kg_s: Quantity,
    ua_w_per_k: Quantity,
    pressure_pa: float,
    design_wet_bulb_c: float,
    passes_n: int = 30,
    guess_c: Quantity | None = None,
) -> Outlet:
    """Find the water that leaves a tower.

    Parameters
    ----------
    water_in_c
        Water on top. [C]
    wet_bulb_c
        Air at the inlet. [C]
    water_kg_s, air_kg_s
        Flows. [kg/s]
    ua_w_per_k
        Conductance at these flows and the design wet bulb: rated times :func:`air_factor` and
        :func:`water_factor`. [W/K]
    pressure_pa
        Air pressure. [Pa]
    design_wet_bulb_c
        Of the design point. [C]
    passes_n
        Damped passes on the specific heat of saturated air.
    guess_c
        Wet bulb of the leaving air to begin with; with that of a moment ago three passes are enough. [C]

    Returns
    -------
    Outlet
        Water out and wet bulb of the air out. [C]

    Notes
    -----
    Merkel's exchanger: air is a stream with the mean specific heat of saturation between its two wet bulbs;
    counterflow effectiveness. Equations of EnergyPlus (CoolingTower:VariableSpeed:Merkel).

    Examples
    --------
    >>> ua = 1718.0 * float(air_factor(0.322))
    >>> t = outlet(32.63, 19.2, water_kg_s=1.089, air_kg_s=0.673 * 0.322, ua_w_per_k=ua,
    ...            pressure_pa=101325.0, design_wet_bulb_c=25.6)
    >>> round(float(t.water_c), 1)
    30.0
    """
    water_w_per_k = np.multiply(water_kg_s, WATER_CP_J_PER_KG_K)
    ua = ua_w_per_k * (1.0 + WET_BULB_SLOPE_PER_K * np.subtract(design_wet_bulb_c, wet_bulb_c))
    h_in = saturated_enthalpy_j_per_kg(wet_bulb_c, pressure_pa)
    hot = np.maximum(np.subtract(water_in_c, wet_bulb_c), 0.0)
    start = np.add(wet_bulb_c, 0.5 * hot) if guess_c is None else guess_c
    air_out = np.maximum(start, np.add(wet_bulb_c, 0.01))
    heat_w: Array = np.zeros_like(hot)
    for _ in range(passes_n):
        cp = (saturated_enthalpy_j_per_kg(air_out, pressure_pa) - h_in) / (air_out - wet_bulb_c)
        air_w_per_k = np.maximum(air_kg_s * cp, 1e-6)
        smaller = np.minimum(air_w_per_k, water_w_per_k)
        larger = np.maximum(air_w_per_k, water_w_per_k)
        ntu = ua * (cp / AIR_CP_J_PER_KG_K) / smaller
        heat_w = np.asarray(effectiveness(ntu, smaller / larger) * smaller * hot)
        found = wet_bulb_c + heat_w / air_w_per_k
        air_out = np.maximum(0.5 * (air_out + found), np.add(wet_bulb_c, 0.01))
    return Outlet(np.asarray(water_in_c - heat_w / water_w_per_k)[()], np.asarray(air_out)[()])


def evaporation_l_min(heat_w: Quantity, latent_ratio: Quantity) -> Quantity:
    """Compute the water that a tower evaporates.

    Parameters
    ----------
    heat_w
        Heat rejected. [W]
    latent_ratio
        Share of it that goes by evaporation, about 0.75 in winter to 0.95 in summer.

    Notes
    -----
    1.48 L/kWh if all of it is latent at 30 C.

    Examples
    --------
    >>> round(float(evaporation_l_min(1e6, 1.0)), 1)
    24.7
    """
    return heat_w * latent_ratio * (LATENT_L_PER_KWH / 60_000.0)


def blowdown_l_min(evaporation_l_min: Quantity, drift_l_min: Quantity, cycles_of_concentration: float) -> Quantity:
    """Compute the water that must be let off so that salts do not build up.

    Parameters
    ----------
    evaporation_l_min, drift_l_min
        Losses that leave the salts behind, and those that take them along. [L/min]
    cycles_of_concentration
        Salt in the basin over salt in the make-up, > 1.

    Examples
    --------
    >>> float(blowdown_l_min(100.0, 5.0, 3.0))
    45.0
    """
    let_off = np.divide(evaporation_l_min, cycles_of_concentration - 1.0) - drift_l_min
    return np.asarray(np.maximum(let_off, 0.0))[()]
