import numpy as np

from tests.console.worlds import RUN, START_MS, World
from twin.store import Points


def write(world: World, run: str = RUN) -> None:
    ts = START_MS + 1000 * np.arange(10)
    world.store.write([
        Points("site", run, ts, {}, {"pue": np.array([1.1, 1.2, np.nan, *[1.3] * 7])}, {}),
        Points("hall", run, ts, {"hall": "H1"}, {"power_w": 1e6 * np.arange(10)}, {}),
        Points("hall", run, ts, {"hall": "H2"}, {"power_w": 2e6 * np.arange(10)}, {}),
    ])  # fmt: skip


def ask(world: World, query: str, **headers: str):
    return world.get(f"/api/history?{query}", headers=headers)


def test_curves_come_with_unit_and_resolution(live_world: World):
    write(live_world)
    write(live_world, "20261124T010000Z-0001")
    query = f"series=site.pue,hall.power_w@H2&from={START_MS}&to={START_MS + 10_000}"
    answer = ask(live_world, query).json()
    assert (answer["run"], answer["source"]) == (RUN, "store")
    pue, power = answer["series"]
    assert pue["id"] == "site.pue"
    assert pue["unit"] == ""
    assert pue["resolution_s"] == 1
    assert pue["t"] == [START_MS + 1000 * i for i in range(10) if i != 2]  # what was not measured is absent
    assert pue["v"] == [1.1, 1.2, *[1.3] * 7]
    assert (power["unit"], power["v"]) == ("W", [2e6 * i for i in range(10)])


def test_fewer_points_are_rolled_up(live_world: World):
    write(live_world)
    answer = ask(live_world, f"series=hall.power_w@H1&from={START_MS}&to={START_MS + 10_000}&points=2").json()
    [curve] = answer["series"]
    assert curve["resolution_s"] == 5
    assert curve["v"] == [2e6, 7e6]


def test_without_a_range_it_is_the_last_quarter_of_an_hour_of_the_run(live_world: World):
    write(live_world)
    [curve] = ask(live_world, "series=hall.power_w@H1&points=2000").json()["series"]
    assert curve["t"][-1] == START_MS + 5000  # the run is at tick 5


def test_csv(live_world: World):
    write(live_world)
    answer = ask(live_world, f"series=site.pue&from={START_MS}&to={START_MS + 3000}", Accept="text/csv")
    assert answer.headers["content-type"].startswith("text/csv")
    lines = [f"site.pue,,{START_MS},1.1", f"site.pue,,{START_MS + 1000},1.2"]
    assert answer.text.splitlines() == ["series,unit,ts_ms,value", *lines]


def test_what_is_not_there_is_told_with_what_is(live_world: World):
    write(live_world)
    for series, hint in (
        ("site.puu", "pue"),
        ("sight.pue", "there are"),
        ("pue", "there are"),
        ("hall.power_w", "name the hall"),
        ("site.pue@H1", "one for the site"),
        ("xid.text@H1", "text"),
        ("", "1 to 8"),
        (",".join(["site.pue"] * 9), "1 to 8"),
    ):
        live_world.clock.move(1)
        answer = ask(live_world, f"series={series}")
        assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid"), series
        assert hint in answer.text, series
    for range_ in ("from=5&to=5", "from=6&to=5", "from=0", "points=1", "points=2001", "from=-1"):
        live_world.clock.move(1)
        assert ask(live_world, f"series=site.pue&{range_}").status_code == 422, range_


def test_an_asset_without_data_is_an_empty_curve(live_world: World):
    [curve] = ask(live_world, "series=rack.power_w@R9999").json()["series"]
    assert (curve["t"], curve["v"]) == ([], [])
