import numpy as np
import pytest

from twin.plant import weather

MEMPHIS = "memphis_tmy3"


def test_m1_typical_year():
    dry, dew, wet, _ = weather.typical_year(MEMPHIS).T
    assert len(dry) == 8760
    assert dry.mean() == pytest.approx(17.0, abs=0.5)
    assert np.percentile(dry, 99.6) == pytest.approx(35.6, abs=0.5)
    assert np.percentile(wet, 99.6) == pytest.approx(26.0, abs=0.5)
    assert (dry > 32.2).sum() == pytest.approx(336, rel=0.15)
    assert (wet <= 20.0).sum() == pytest.approx(6236, rel=0.02)
    assert np.all(dew <= wet + 1e-6)
    assert np.all(wet <= dry + 1e-6)


def test_row_of_an_hour_holds_at_the_hour():
    air, year = weather.new(), weather.typical_year(MEMPHIS)
    weather.step(air, year, weather.site_time_s("08-21T14:00"))
    assert float(air.dry_bulb_c) == pytest.approx(34.4)
    weather.step(air, year, weather.site_time_s("01-01T01:00"))
    assert float(air.dry_bulb_c) == pytest.approx(9.4)


def test_between_hours_it_is_interpolated():
    air, year = weather.new(), weather.typical_year(MEMPHIS)
    start = weather.site_time_s("06-01T08:00")
    weather.step(air, year, start + 1800.0)
    row = int(start / 3600.0) - 1
    assert float(air.dry_bulb_c) == pytest.approx(year[row : row + 2, 0].mean())
