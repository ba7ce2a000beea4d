import numpy as np
import orjson

from tests.console.worlds import RUN, START_MS, World, control, model_record, racks, record, units
from twin.console.assets import columns_of, find
from twin.events.head import split
from twin.events.jobs import JobTable, Overflow
from twin.events.layout import FrameLayout


def chillers(world: World, tick: int, codes: np.ndarray):
    groups = {
        "chiller": {"state_code": codes, "power_w": 1e5 + np.arange(12)},
        "loop": {"supply_c": np.array([27.0]), "makeup_l_min": np.array([380.0])},
        "weather": {"dry_bulb_c": np.array([35.1]), "wet_bulb_c": np.array([25.0])},
    }
    return units(world.site, "telemetry.chillers", "cooling-1", tick, groups)


def test_a_unit_has_its_own_values_with_unit_age_and_quality(live_world: World):
    codes = np.array([3.0, 1.0, 5.0, *[0.0] * 9])
    live_world.take(chillers(live_world, 4, codes))
    unit = live_world.get("/api/units/chiller-3").json()
    assert (unit["id"], unit["kind"], unit["state"]) == ("chiller-3", "chiller", "tripped")
    assert unit["values"]["power_w"] == {"value": 100002, "unit": "W", "age_s": 1.0, "quality": "good"}
    assert unit["values"]["cop"]["quality"] == "not measured"
    assert unit["values"]["cop"]["value"] is None
    assert unit["provenance"] == {
        "topic": "telemetry.chillers", "partition": 0, "offset": 7, "seq": 4, "gateway": "cooling-1",
    }  # fmt: skip
    assert {"id": "loop-1", "kind": "loop", "relation": "cools", "direction": "to"} in unit["neighbours"]
    assert unit["commands"] == [{"verb": "chiller.start", "params": [], "allowed": False, "reason": "not as observer"}]
    assert live_world.get("/api/units/chiller-3", "trainee").json()["commands"][0]["allowed"] is True
    assert live_world.get("/api/units/chiller-1").json()["state"] == "running"
    assert live_world.get("/api/units/loop-1").json()["values"]["supply_c"]["value"] == 27
    live_world.take(control(9))
    assert live_world.get("/api/units/chiller-3").json()["values"]["power_w"]["quality"] == "stale"


def test_a_breaker_says_open_or_closed_and_a_doubted_value_says_so(live_world: World):
    feeds = {"closed": np.array([0.0]), "power_w": np.array([0.0])}
    of_head, data = split(units(live_world.site, "telemetry.grid", "power-1", 5, {"feed": feeds}).value)
    doubted = orjson.dumps(orjson.loads(data) | {"suspect": {"feed.power_w": [0]}})
    live_world.take(record("telemetry.grid", of_head, doubted))
    feed = live_world.get("/api/units/feed-1").json()
    assert feed["state"] == "open"
    assert feed["values"]["power_w"]["quality"] == "suspect"


def test_the_scheduler_shows_the_job_table(live_world: World):
    table = JobTable(
        full=False, jobs=(), events=(), overflow=Overflow(gpu_n=0, usd_h=0), running_n=5, queued_n=2, goodput=0.91,
        lost_gpu_h=1, failures_24h_n=3, failures_expected_n=2.5,
    )  # fmt: skip
    live_world.take(model_record("telemetry.jobs", "scheduler-1", table, tick=5))
    values = live_world.get("/api/units/scheduler-1").json()["values"]
    assert (values["running_n"]["value"], values["goodput"]["value"]) == (5, 0.91)


def test_a_rack_and_its_cdu(live_world: World):
    columns = {"power_w": 58_000.0 + np.arange(8), "coolant_flow_l_min": np.full(8, 92.0)}
    live_world.take(racks(live_world.site, 1, 5, columns))
    rack = live_world.get("/api/racks/R0011").json()
    assert rack["values"]["power_w"]["value"] == 58_002
    assert "rack_i" not in rack["values"]
    assert rack["provenance"]["gateway"] == "1"
    assert {"id": "cdu-R0011", "kind": "cdu", "relation": "cools", "direction": "from"} in rack["neighbours"]
    cdu = live_world.get("/api/units/cdu-R0011").json()
    assert cdu["values"]["coolant_flow_l_min"]["value"] == 92
    assert "power_w" not in cdu["values"]
    assert live_world.get("/api/racks/R0001").json()["values"] == {}


def test_every_kind_of_unit_can_be_asked_for(live_world: World):
    for kind in {unit.kind: unit.id for unit in live_world.site.units}.values():
        assert live_world.get(f"/api/units/{kind}").status_code == 200, kind


def test_each_unit_that_a_gateway_reports_has_a_place(mini):
    columns = columns_of(FrameLayout(mini))
    measured = {"chiller", "tower_cell", "pump", "loop", "turbine", "gas", "battery", "feed", "ups", "meter", "switch"}
    for unit in mini.units:
        if unit.kind in measured:
            assert [column.key for column in columns[unit.id]] == [unit.plant], unit.id


def test_find_puts_the_exact_one_first(mini):
    assert find(mini, " r0011 ")[0] == {
        "id": "R0011", "kind": "rack", "route": "#/floor/H1/A002/R0011", "text": "rack R0011",
    }  # fmt: skip
    assert find(mini, "cdu-R0011")[0]["route"] == "#/floor/H1/A002/R0011"
    assert [hit["id"] for hit in find(mini, "turbine-1")][:2] == ["turbine-1", "turbine-10"]
    assert find(mini, "turbine-7")[0]["route"] == "#/power/turbine-7"
    assert find(mini, "job-hero")[0]["route"] == "#/jobs/job-hero"
    assert find(mini, "chiller-3")[0]["route"] == "#/cooling/chiller-3"
    assert find(mini, "A003")[0]["route"] == "#/floor/H2/A003"
    assert len(find(mini, "r")) == 20
    assert find(mini, "  ") == find(mini, "nothing-like-it") == []


def test_the_site_is_drawn_up_once_and_has_a_tag(live_world: World):
    answer = live_world.get("/api/site")
    plan = answer.json()
    assert plan["id"] == "mini"
    assert plan["layout_crc"] == int(live_world.site.crc, 16)
    assert [hall["id"] for hall in plan["halls"]] == ["H1", "H2", "H3", "H4"]
    assert plan["halls"][0]["arrays"][0] == {"id": "A001", "racks": 8, "gpus": 512, "gpu_cols": 8, "gpu_rows": 8}
    assert len(plan["racks"]["id"]) == len(plan["racks"]["row"]) == len(plan["racks"]["pos"]) == 64
    assert plan["limits"]["gpu_temp_c"] == {"medium": 80, "high": 87, "critical": 89, "shutdown": 95}
    assert plan["zone"] == "CST"
    ids = {unit["id"] for unit in plan["units"]} | {hall["id"] for hall in plan["halls"]}
    assert all(edge["from"] in ids and edge["to"] in ids for edge in plan["edges"])
    assert {"from": "turbine-1", "to": "power-1", "kind": "feeds"} in plan["edges"]
    tag = answer.headers["etag"]
    again = live_world.get("/api/site", headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")


def test_the_run_says_where_it_stands(live_world: World):
    run = live_world.get("/api/run").json()
    assert (run["id"], run["state"], run["speed"], run["reached"]) == (RUN, "running", 1.0, 0.99)
    assert (run["tick"], run["ts"], run["clock"]) == (5, START_MS + 5000, "08-21T14:00:05")
    live_world.take(control(5, state="paused"))
    assert live_world.get("/api/run").json()["reached"] is None
