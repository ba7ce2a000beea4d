"""Moist air: saturation, humidity, dew point and wet bulb by the ASHRAE equations; a table over the year."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin.physics.quantity import Array, Quantity

MOLAR_MASS_RATIO = 0.621945  # water over dry air, ASHRAE Fundamentals 2017, chapter 1
WET_BULB_PASSES = 40


def saturation_pressure_pa(temp_c: Quantity) -> Quantity:
    """Compute the pressure of saturated water vapour, over ice below the triple point.

    Parameters
    ----------
    temp_c
        Temperature, -100..200 C. [C]

    Notes
    -----
    Hyland and Wexler, as in ASHRAE Fundamentals 2017, chapter 1, eq. 5 and 6.

    Examples
    --------
    >>> round(float(saturation_pressure_pa(20.0)), 1)
    2338.8
    """
    t = np.asarray(temp_c, dtype=float) + 273.15
    wet = t >= 273.16
    if wet.all():
        return np.asarray(np.exp(_log_over_water(t)))[()]
    return np.asarray(np.exp(np.where(wet, _log_over_water(t), _log_over_ice(t))))[()]


def _log_over_water(t: Array) -> Array:
    polynomial = 1.3914993 + t * (-4.8640239e-2 + t * (4.1764768e-5 - 1.4452093e-8 * t))
    return np.asarray(-5.8002206e3 / t + polynomial + 6.5459673 * np.log(t))


def _log_over_ice(t: Array) -> Array:
    high = 6.2215701e-7 + t * (2.0747825e-9 - 9.484024e-13 * t)
    polynomial = 6.3925247 + t * (-9.677843e-3 + t * high)
    return np.asarray(-5.6745359e3 / t + polynomial + 4.1635019 * np.log(t))


def humidity_ratio(vapour_pressure_pa: Quantity, pressure_pa: Quantity) -> Quantity:
    """Compute kilograms of water per kilogram of dry air.

    Parameters
    ----------
    vapour_pressure_pa
        Partial pressure of water. [Pa]
    pressure_pa
        Air pressure. [Pa]

    Examples
    --------
    >>> round(float(humidity_ratio(2338.8, 101325.0)), 5)
    0.0147
    """
    return MOLAR_MASS_RATIO * vapour_pressure_pa / (pressure_pa - vapour_pressure_pa)


def dew_point_c(temp_c: Quantity, relative_humidity_ratio: Quantity) -> Quantity:
    """Compute the dew point from temperature and relative humidity.

    Parameters
    ----------
    temp_c
        Dry bulb. [C]
    relative_humidity_ratio
        0..1.

    Notes
    -----
    Magnus form with the coefficients of Alduchov and Eskridge (1996): within 0.1 K from -40 to 50 C.

    Examples
    --------
    >>> round(float(dew_point_c(30.0, 0.5)), 1)
    18.4
    """
    t = np.asarray(temp_c, dtype=float)
    gamma = np.log(np.maximum(relative_humidity_ratio, 1e-6)) + 17.625 * t / (243.04 + t)
    return np.asarray(243.04 * gamma / (17.625 - gamma))[()]


def wet_bulb_c(temp_c: Quantity, dew_point_c: Quantity, pressure_pa: Quantity) -> Quantity:
    """Find the wet bulb from dry bulb and dew point.

    Parameters
    ----------
    temp_c, dew_point_c
        Dry bulb and dew point. [C]
    pressure_pa
        Air pressure. [Pa]

    Notes
    -----
    ASHRAE Fundamentals 2017, chapter 1, eq. 33 and 35 (over ice below freezing), solved by bisection between
    dew point and dry bulb.

    Examples
    --------
    >>> round(float(wet_bulb_c(30.0, 18.44, 101325.0)), 1)
    22.0
    """
    dry = np.asarray(temp_c, dtype=float)
    pressure = np.asarray(pressure_pa, dtype=float)
    actual = humidity_ratio(saturation_pressure_pa(np.minimum(dew_point_c, dry)), pressure)
    low, high = np.broadcast_arrays(np.minimum(dew_point_c, dry), dry)
    for _ in range(WET_BULB_PASSES):
        wet = 0.5 * (low + high)
        saturated = humidity_ratio(saturation_pressure_pa(wet), pressure)
        over_water = ((2501.0 - 2.326 * wet) * saturated - 1.006 * (dry - wet)) / (2501.0 + 1.86 * dry - 4.186 * wet)
        over_ice = ((2830.0 - 0.24 * wet) * saturated - 1.006 * (dry - wet)) / (2830.0 + 1.86 * dry - 2.1 * wet)
        too_wet = np.where(wet >= 0.0, over_water, over_ice) > actual
        low, high = np.where(too_wet, low, wet), np.where(too_wet, wet, high)
    return np.asarray(0.5 * (low + high))[()]


def saturated_enthalpy_j_per_kg(temp_c: Quantity, pressure_pa: float) -> Quantity:
    """Compute the enthalpy of saturated air, per kilogram of dry air.

    Parameters
    ----------
    temp_c
        Temperature. [C]
    pressure_pa
        Air pressure. [Pa]

    Notes
    -----
    ``1006 t + w (2,501,000 + 1860 t)``, ASHRAE Fundamentals 2017, chapter 1, eq. 30.

    Examples
    --------
    >>> round(float(saturated_enthalpy_j_per_kg(20.0, 101325.0)), -2)
    57400.0
    """
    w = humidity_ratio(saturation_pressure_pa(temp_c), pressure_pa)
    return 1006.0 * temp_c + w * (2_501_000.0 + 1860.0 * temp_c)


def at_hour(table: NDArray[Any], hour_of_year: float) -> NDArray[Any]:
    """Interpolate a table of hourly rows, which closes on itself at the end of the year.

    Parameters
    ----------
    table
        Row h holds at h o'clock of the year, shape (hours, quantities).
    hour_of_year
        Hours since the first row. [h]

    Returns
    -------
    ndarray
        One row, shape (quantities,).

    Examples
    --------
    >>> import numpy as np
    >>> at_hour(np.array([[10.0], [12.0]]), 0.5)
    array([11.])
    >>> at_hour(np.array([[10.0], [12.0]]), 1.5)
    array([11.])
    """
    hours_n = table.shape[0]
    whole = int(hour_of_year // 1.0)
    share = hour_of_year - whole
    mixed: Array = table[whole % hours_n] * (1.0 - share) + table[(whole + 1) % hours_n] * share
    return mixed
