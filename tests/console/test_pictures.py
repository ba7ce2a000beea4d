import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.console.test_assets import chillers
from tests.console.worlds import World, control, picture
from twin.console.pictures import shown, site_picture


@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_rounding_loses_less_than_anybody_sees(value):
    assert abs(shown(value) - value) <= 5e-4 * abs(value) + 1e-4


def test_what_was_not_measured_is_null():
    assert shown(float("nan")) is shown(float("inf")) is None


def test_the_picture_of_the_site(live_world: World):
    live_world.take(chillers(live_world, 5, np.array([3.0, 1.0, 5.0, *[0.0] * 9])))
    made = site_picture(live_world.parts.live, live_world.site)
    assert made["site"]["facility_power_w"] == 250_000_000
    assert made["site"]["pue"] == pytest.approx(1.1412)
    assert made["site"]["it_power_w"] is None
    assert made["temp"] == {"mean_c": 47.5, "p99_c": 53, "max_c": 58.5}  # H3 is not measured: it does not count
    assert made["halls"][2]["id"] == "H3"
    assert made["halls"][2]["gpu_temp_max_c"] is None
    [plant] = made["plants"]
    assert (plant["id"], plant["hall"], plant["supply_c"], plant["wet_bulb_c"]) == ("cooling-1", "H1", 27, 25)
    assert plant["chillers"] == [3, 1, 5, *[0] * 9]
    assert made["twin"]["arrays_stale"] == 1
    assert made["twin"]["energy_residual"] == 0.002
    assert (made["age_s"], made["stale"]) == (0, False)
    assert len(orjson.dumps(made)) < 4000


def test_old_values_say_so(live_world: World):
    live_world.take(control(8))
    assert not site_picture(live_world.parts.live, live_world.site)["stale"]
    live_world.take(control(9))
    made = site_picture(live_world.parts.live, live_world.site)
    assert (made["age_s"], made["stale"]) == (4, True)


def test_a_site_with_nothing_measured_breaks_nothing(world: World):
    assert site_picture(world.parts.live, world.site) is None
    world.take(control(5), picture(world.site, 5, of_site={"facility_power_w": np.nan}))
    made = site_picture(world.parts.live, world.site)
    assert made["site"]["facility_power_w"] is None
    assert made["plants"] == []


def test_health_needs_no_seat_and_says_little(world: World):
    def health() -> dict:
        return world.client.get("/api/health").json()

    assert health() == {"status": "starting", "version": "1.2.3"}
    world.take(control(5), picture(world.site, 5))
    assert health()["status"] == "ok"
    world.clock.move(10)
    assert health() == {"status": "degraded", "version": "1.2.3"}


def test_the_twins_health(live_world: World):
    health = live_world.get("/api/twin/health").json()
    assert health["never"] == 8
    assert (health["arrays_stale"], health["dead_letters"], health["lag_s"]) == (1, 0, None)
