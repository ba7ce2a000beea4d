"""Typical years of weather, packaged as they were published (see ``weather/SOURCE.md``)."""

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from twin.errors import SiteInvalid

HOURS_N = 8760
YEAR_S = HOURS_N * 3600.0
_DAYS_BEFORE_MONTH = (0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365)
_WEATHER_AT = re.compile(r"(\d\d)-(\d\d)T(\d\d):(\d\d)")

FloatArray = npt.NDArray[np.float64]


class Weather(NamedTuple):
    """The weather of one instant."""

    dry_bulb_c: float
    dew_point_c: float
    pressure_pa: float


@dataclass(frozen=True, slots=True, eq=False)
class TypicalYear:
    """Hourly weather of 8,760 hours of local standard time; entry ``i`` holds at hour ``i + 1`` of the year."""

    dry_bulb_c: FloatArray
    dew_point_c: FloatArray
    pressure_pa: FloatArray


@cache
def typical_year(name: str) -> TypicalYear:
    """Read a packaged typical year.

    Parameters
    ----------
    name
        A file of ``twin/site/weather``, without ``.csv``.

    Raises
    ------
    SiteInvalid
        No such file, or not 8,760 rows.

    Examples
    --------
    >>> round(float(typical_year("memphis_tmy3").dry_bulb_c.mean()), 1)
    17.0
    """
    file = resources.files("twin.site") / "weather" / f"{name}.csv"
    try:
        lines = file.read_text(encoding="ascii").splitlines()
    except OSError as error:
        raise SiteInvalid(f"{file}: cannot be read ({error.strerror})") from error
    columns = lines[0].split(",")
    rows = np.loadtxt(lines[1:], delimiter=",", dtype=np.float64, ndmin=2)
    if len(rows) != HOURS_N:
        raise SiteInvalid(f"{file}: {len(rows)} rows, allowed are {HOURS_N}")
    rows.flags.writeable = False
    return TypicalYear(
        dry_bulb_c=rows[:, columns.index("dry_bulb_c")],
        dew_point_c=rows[:, columns.index("dew_point_c")],
        pressure_pa=rows[:, columns.index("pressure_pa")],
    )


def weather_at(site_hours: float, year: str = "memphis_tmy3") -> Weather:
    """Interpolate the weather of a typical year; after its last hour comes its first.

    Parameters
    ----------
    site_hours
        Hours of local standard time since 1 January, 0:00 [h]; any number, the year repeats.
    year
        The name of a typical year (``site.weather``).

    Examples
    --------
    >>> weather_at(1.0)
    Weather(dry_bulb_c=9.4, dew_point_c=9.4, pressure_pa=99400.0)
    """
    rows = typical_year(year)
    hour = int(site_hours // 1)
    share = site_hours - hour
    before, after = (hour - 1) % HOURS_N, hour % HOURS_N
    return Weather(
        *(
            float(column[before] + (column[after] - column[before]) * share)
            for column in (rows.dry_bulb_c, rows.dew_point_c, rows.pressure_pa)
        )
    )


def seconds_of_year(weather_at: str) -> float:
    """Turn ``MM-DDTHH:MM`` into seconds of the typical year [s].

    Parameters
    ----------
    weather_at
        Month, day and local standard time; the typical year has no 29 February.

    Raises
    ------
    SiteInvalid
        No such time.

    Examples
    --------
    >>> seconds_of_year("01-02T01:30") / 3600.0
    25.5
    """
    match = _WEATHER_AT.fullmatch(weather_at)
    if match:
        month, day, hour, minute = (int(part) for part in match.groups())
        if 1 <= month <= 12 and hour <= 23 and minute <= 59:
            first, end = _DAYS_BEFORE_MONTH[month - 1 : month + 1]
            if 1 <= day <= end - first:
                return (first + day - 1) * 86_400.0 + hour * 3600.0 + minute * 60.0
    raise SiteInvalid(f"weather_at {weather_at!r}: allowed is MM-DDTHH:MM of a year of 365 days, such as 07-15T14:00")
