"""The typical year: its published statistics, and interpolation between and at the hours."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin.errors import SiteInvalid
from twin.site import weather
from twin.site.weather import TypicalYear, typical_year, weather_at

DAYS_IN_MONTH = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
MONTH_START_H = (0, *itertools.accumulate(days * 24 for days in DAYS_IN_MONTH))


@pytest.fixture(scope="module")
def year() -> TypicalYear:
    return typical_year("memphis_tmy3")


def test_statistics_are_those_published(year: TypicalYear) -> None:
    dry_bulb_c = year.dry_bulb_c
    assert dry_bulb_c.mean() == pytest.approx(17.0, abs=0.05)
    month_c = [dry_bulb_c[a:b].mean() for a, b in itertools.pairwise(MONTH_START_H)]
    expected = [4.1, 6.6, 12.4, 16.8, 22.1, 26.0, 28.3, 27.5, 24.3, 16.7, 12.1, 6.8]
    assert month_c == pytest.approx(expected, abs=0.06)
    assert np.count_nonzero(dry_bulb_c > 32.2) == 336
    assert (dry_bulb_c.max(), dry_bulb_c.min()) == (38.3, -11.7)
    assert year.pressure_pa.mean() == pytest.approx(100_680, abs=10)
    dew_jan_c, dew_jul_c = year.dew_point_c[:744].mean(), year.dew_point_c[MONTH_START_H[6] : MONTH_START_H[7]].mean()
    assert (dew_jan_c, dew_jul_c) == pytest.approx((-0.7, 20.6), abs=0.06)


@pytest.mark.parametrize(
    ("month", "day", "hour", "dry_bulb_c"),
    [
        (8, 21, 14, 34.4),
        (8, 21, 15, 35.0),
        (7, 10, 14, 34.4),
        (5, 20, 10, 26.7),
        (10, 10, 14, 22.2),
        (4, 15, 13, 22.8),
        (6, 1, 8, 26.7),
    ],
)
def test_the_drills_begin_in_their_weather(month: int, day: int, hour: int, dry_bulb_c: float) -> None:
    site_hours = MONTH_START_H[month - 1] + (day - 1) * 24 + hour
    assert weather_at(site_hours).dry_bulb_c == dry_bulb_c


@given(st.integers(0, 8_759))
def test_a_row_holds_at_its_hour(row: int) -> None:
    year = typical_year("memphis_tmy3")
    found = weather_at(float(row + 1))
    assert found == (year.dry_bulb_c[row], year.dew_point_c[row], year.pressure_pa[row])


@given(st.integers(0, 8_758), st.floats(0.0, 1.0))
def test_between_two_rows_the_weather_is_between_theirs(row: int, share: float) -> None:
    year = typical_year("memphis_tmy3")
    found = weather_at(row + 1 + share).dry_bulb_c
    expected = (1 - share) * year.dry_bulb_c[row] + share * year.dry_bulb_c[row + 1]
    assert found == pytest.approx(expected, abs=1e-6)


def test_the_year_wraps_around(year: TypicalYear) -> None:
    last, first = year.dry_bulb_c[-1], year.dry_bulb_c[0]
    assert weather_at(0.0).dry_bulb_c == last
    assert weather_at(8_760.25).dry_bulb_c == pytest.approx(0.75 * last + 0.25 * first)
    assert weather_at(0.25) == weather_at(8_760.25) == weather_at(-8_759.75)


def test_the_rows_cannot_be_written_to(year: TypicalYear) -> None:
    with pytest.raises(ValueError, match="read-only"):
        year.dry_bulb_c[0] = 40.0


def test_an_unknown_year_is_refused() -> None:
    with pytest.raises(SiteInvalid, match=r"mars\.csv: cannot be read"):
        typical_year("mars")


def test_a_short_year_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "weather").mkdir()
    (tmp_path / "weather" / "short.csv").write_text("dry_bulb_c,dew_point_c,pressure_pa\n1,1,100000\n")
    monkeypatch.setattr(weather.resources, "files", lambda _: tmp_path)
    with pytest.raises(SiteInvalid, match=r"short\.csv: 1 rows, allowed are 8760"):
        typical_year("short")
