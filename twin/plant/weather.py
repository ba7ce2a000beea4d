"""The weather of the typical year at the site's own time."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from twin.errors import PlantError, SiteInvalid
from twin.physics import weather as air
from twin.site.weather import seconds_of_year
from twin.site.weather import typical_year as packaged_year

HOUR_S = 3600.0


@dataclass(frozen=True)
class Weather:
    """The air outside, now."""

    dry_bulb_c: NDArray[np.float64]
    dew_point_c: NDArray[np.float64]
    wet_bulb_c: NDArray[np.float64]
    pressure_pa: NDArray[np.float64]


def new() -> Weather:
    """Make room for the weather."""
    return Weather(*(np.zeros(()) for _ in range(4)))


@cache
def typical_year(name: str) -> NDArray[np.float64]:
    """Read a typical year, and work its wet bulb out once.

    Parameters
    ----------
    name
        A file of ``twin/site/weather``, without ``.csv``; its row of hour h holds at h o'clock.

    Returns
    -------
    ndarray
        Dry bulb, dew point, wet bulb [C] and pressure [Pa] at 1, 2, .. 8760 h, shape (8760, 4).
    """
    read = packaged_year(name)
    dry, dew, pressure = read.dry_bulb_c, read.dew_point_c, read.pressure_pa
    year = np.column_stack([dry, np.minimum(dew, dry), air.wet_bulb_c(dry, dew, pressure), pressure])
    year.flags.writeable = False
    return year


def site_time_s(weather_at: str) -> float:
    """Turn ``MM-DDTHH:MM`` into seconds of the typical year [s].

    Raises
    ------
    PlantError
        No such time.
    """
    try:
        return seconds_of_year(weather_at)
    except SiteInvalid as exc:
        raise PlantError(str(exc)) from exc


def step(weather: Weather, year: NDArray[np.float64], site_time_s: float) -> None:
    """Set the weather to that of an instant.

    Parameters
    ----------
    weather
        Changed in place.
    year
        See :func:`typical_year`.
    site_time_s
        Seconds of the typical year. [s]
    """
    row = air.at_hour(year, site_time_s / HOUR_S - 1.0)
    weather.dry_bulb_c[...], weather.dew_point_c[...], weather.wet_bulb_c[...], weather.pressure_pa[...] = row
