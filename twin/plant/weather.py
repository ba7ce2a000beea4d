"""The weather of the typical year at the site's own time."""

import csv
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from twin.errors import PlantError
from twin.physics import weather as air

HOUR_S = 3600.0
YEAR_S = 8760 * HOUR_S
_DAYS_BEFORE_MONTH = (0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365)
_WEATHER_AT = re.compile(r"(\d\d)-(\d\d)T(\d\d):(\d\d)")


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
    file = resources.files("twin.site") / "weather" / f"{name}.csv"
    with file.open(encoding="utf-8") as lines:
        rows = [
            (float(row["dry_bulb_c"]), float(row["dew_point_c"]), float(row["pressure_pa"]))
            for row in csv.DictReader(lines)
        ]
    dry, dew, pressure = np.array(rows).T
    year = np.column_stack([dry, np.minimum(dew, dry), air.wet_bulb_c(dry, dew, pressure), pressure])
    year.flags.writeable = False
    return year


def site_time_s(weather_at: str) -> float:
    """Turn ``MM-DDTHH:MM`` into seconds of the typical year.

    Parameters
    ----------
    weather_at
        Month, day and local standard time; the typical year has no 29 February.

    Raises
    ------
    PlantError
        No such hour.

    Examples
    --------
    >>> site_time_s("01-02T01:30") / 3600.0
    25.5
    """
    match = _WEATHER_AT.fullmatch(weather_at)
    if match:
        month, day, hour, minute = (int(part) for part in match.groups())
        if 1 <= month <= 12 and hour <= 23 and minute <= 59:
            first, end = _DAYS_BEFORE_MONTH[month - 1 : month + 1]
            if 1 <= day <= end - first:
                return (first + day - 1) * 24 * HOUR_S + hour * HOUR_S + minute * 60.0
    raise PlantError(f"weather_at {weather_at!r}: allowed is MM-DDTHH:MM of a year of 365 days, such as 07-15T14:00")


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
