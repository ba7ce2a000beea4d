"""Every error is a problem: those of the console, of its parts, and of the framework."""

import pytest

from tests.console.worlds import TOKENS, World, control
from twin.console.problems import KINDS, problem
from twin.errors import BusError, StoreUnavailable


def check(answer, status: int, slug: str) -> dict:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["type"] == f"/problems/{slug}"
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    assert set(body) <= {"type", "title", "status", "detail", "instance", "way_out", "errors"}
    return body


def test_what_the_framework_refuses(live_world: World):
    assert check(live_world.get("/api/nothing"), 404, "not-found")["instance"] == "/api/nothing"
    answer = live_world.get("/api/run/pause")
    check(answer, 405, "method-not-allowed")
    assert answer.headers["allow"] == "POST"


def test_a_body_that_does_not_fit_is_told_where(live_world: World):
    for method, path, body, loc in (
        ("PUT", "/api/run/speed", {}, "speed"),
        ("PUT", "/api/run/speed", {"speed": -1}, "speed"),
        ("PUT", "/api/run/speed", {"speed": 1, "spede": 2}, "spede"),
        ("POST", "/api/run/step", {"ticks": 0}, "ticks"),
        ("POST", "/api/run/loop", {"a": 5, "b": 5}, None),
        ("POST", "/api/commands", {"id": "no-uuid", "unit": "chiller-3", "verb": "chiller.start"}, "id"),
        ("POST", "/api/injects", {"kind": "Chiller Trip", "target": "cooling-2"}, "kind"),
        ("POST", "/api/injects", {"kind": "chiller_trip", "target": "cooling-2", "severity": 2}, "severity"),
    ):
        errors = check(live_world.post(path, body, method=method), 422, "invalid")["errors"]
        assert [error["loc"] for error in errors] == [["body", loc] if loc else ["body"]]
        assert errors[0]["msg"]


def test_a_body_that_is_no_json_is_told(live_world: World):
    headers = live_world.bearer("instructor") | {"Content-Type": "application/json"}
    for content in (b"{", b"", b"NaN", b'{"speed": NaN}'):
        check(live_world.client.put("/api/run/speed", content=content, headers=headers), 422, "invalid")


def test_unknown_assets_are_told_with_what_is_near(live_world: World):
    for path in ("/api/units/chiler-3", "/api/racks/R0065"):
        body = check(live_world.get(path), 404, "unknown-asset")
        assert "find" in body["way_out"]
    assert "chiller-3" in check(live_world.get("/api/units/chiler-3"), 404, "unknown-asset")["detail"]


def test_before_the_first_run_it_is_starting(world: World):
    answer = world.get("/api/run")
    check(answer, 503, "starting")
    assert int(answer.headers["retry-after"]) >= 1
    check(world.post("/api/run/pause"), 503, "starting")
    assert world.sent("run.requests") == []


def test_a_bus_that_is_gone(live_world: World, monkeypatch):
    def gone(*_args, **_kwargs):
        raise BusError("broker 10.0.0.7 does not answer")

    monkeypatch.setattr(live_world.bus, "publish", gone)
    body = check(live_world.post("/api/run/pause"), 503, "bus-down")
    assert "10.0.0.7" not in str(body)


def test_a_store_that_is_gone_leaves_the_live_values(live_world: World, monkeypatch):
    def gone(*_args, **_kwargs):
        raise StoreUnavailable("/secret/folder is locked")

    monkeypatch.setattr(live_world.store, "series", gone)
    body = check(live_world.get("/api/history?series=site.pue"), 503, "store-down")
    assert "secret" not in str(body)
    assert live_world.get("/api/run").status_code == 200


def test_a_crash_tells_nothing_of_the_inside(live_world: World, monkeypatch):
    def crash(*_args, **_kwargs):
        raise RuntimeError("secret")

    monkeypatch.setattr("twin.console.routes.assets.twin_health", crash)
    live_world.client._transport.raise_server_exceptions = False
    answer = live_world.get("/api/twin/health")
    check(answer, 500, "internal-server-error")
    assert "secret" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_too_many_of_one_seat_do_not_hurt_another(live_world: World):
    answers = [live_world.get("/api/find?q=R1") for _ in range(11)]
    assert [answer.status_code for answer in answers] == [200] * 10 + [429]
    check(answers[-1], 429, "too-many")
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert live_world.get("/api/find?q=R1", "trainee").status_code == 200


@pytest.mark.parametrize(
    ("state", "allowed"),
    [
        ("running", {"pause", "freeze", "speed", "seek", "loop", "backtrack", "snapshot", "end"}),
        ("paused", {"pause", "freeze", "resume", "step", "speed", "seek", "loop", "backtrack", "snapshot", "end"}),
        ("frozen", {"pause", "freeze", "resume", "step", "speed", "seek", "loop", "backtrack", "snapshot", "end"}),
        ("ended", set()),
    ],
)
def test_what_makes_no_sense_in_this_state_is_refused_with_what_does(world: World, state, allowed):
    world.take(control(5, state=state))
    bodies = {"step": {"ticks": 1}, "seek": {"tick": 1}, "backtrack": {"tick": 1}, "loop": {"a": 1, "b": 2}}
    done = set()
    for verb in ("pause", "freeze", "resume", "step", "seek", "loop", "backtrack", "snapshot", "end"):
        answer = world.post(f"/api/run/{verb}", bodies.get(verb))
        if answer.status_code == 202:
            done.add(verb)
        else:
            body = check(answer, 409, "not-in-this-state")
            assert state in body["detail"]
            assert all(verb in body["way_out"] for verb in allowed)
    world.clock.move(1)
    if world.post("/api/run/speed", {"speed": 2}, method="PUT").status_code == 202:
        done.add("speed")
    assert done == allowed
    assert {data["verb"] for _, data in world.sent("run.requests")} == allowed


def test_every_kind_of_problem_has_its_status_and_title():
    for slug, kind in KINDS.items():
        raised = problem(slug, "what")
        assert raised.status_code == kind.status
        assert 400 <= kind.status < 600
    assert TOKENS["trainee"] not in str(KINDS)
