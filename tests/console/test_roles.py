"""Who may do what: one table of all routes, which fails when a route is missing."""

from uuid import uuid4

from tests.console.worlds import ORIGIN, TOKENS, World
from twin.console.app import make_console
from twin.console.seats import MAY, ROLES

COMMAND = {"id": str(uuid4()), "unit": "chiller-3", "verb": "chiller.start"}
# method and path as in the API, path and body to call, what a seat must be allowed; None: no seat is needed
ROUTES = {
    ("GET", "/api/seat"): ("/api/seat", None, "see"),
    ("DELETE", "/api/seat"): ("/api/seat", None, "see"),
    ("GET", "/api/site"): ("/api/site", None, "see"),
    ("GET", "/api/run"): ("/api/run", None, "see"),
    ("GET", "/api/health"): ("/api/health", None, None),
    ("GET", "/api/twin/health"): ("/api/twin/health", None, "see"),
    ("GET", "/api/units/{unit_id}"): ("/api/units/chiller-3", None, "see"),
    ("GET", "/api/racks/{rack_id}"): ("/api/racks/R0001", None, "see"),
    ("GET", "/api/find"): ("/api/find?q=R0001", None, "see"),
    ("GET", "/api/history"): ("/api/history?series=site.pue", None, "see"),
    ("GET", "/api/commands"): ("/api/commands", None, "see"),
    ("GET", "/api/commands/{command_id}"): ("/api/commands/none", None, "see"),
    ("POST", "/api/commands"): ("/api/commands", COMMAND, "command"),
    ("PUT", "/api/watch/{rack}"): ("/api/watch/R0001", {}, "watch"),
    ("DELETE", "/api/watch/{rack}"): ("/api/watch/R0001", None, "watch"),
    ("POST", "/api/injects"): ("/api/injects", {"kind": "chiller_trip", "target": "cooling-2"}, "inject"),
    ("GET", "/api/injects/{inject_id}"): ("/api/injects/none", None, "inject"),
    ("POST", "/api/run/pause"): ("/api/run/pause", {}, "run"),
    ("POST", "/api/run/freeze"): ("/api/run/freeze", {}, "run"),
    ("POST", "/api/run/resume"): ("/api/run/resume", {}, "run"),
    ("POST", "/api/run/end"): ("/api/run/end", {}, "run"),
    ("POST", "/api/run/snapshot"): ("/api/run/snapshot", {}, "run"),
    ("POST", "/api/run/step"): ("/api/run/step", {"ticks": 2}, "run"),
    ("POST", "/api/run/seek"): ("/api/run/seek", {"tick": 1}, "run"),
    ("POST", "/api/run/backtrack"): ("/api/run/backtrack", {"tick": 1}, "run"),
    ("POST", "/api/run/loop"): ("/api/run/loop", {"a": 1, "b": 3, "times": 2}, "run"),
    ("PUT", "/api/run/speed"): ("/api/run/speed", {"speed": 10}, "run"),
    ("GET", "/api/requests/{request_id}"): ("/api/requests/none", None, "see"),
    ("POST", "/api/runs"): ("/api/runs", {"kind": "live"}, "run"),
    ("GET", "/api/player"): ("/api/player", None, "see"),
    ("POST", "/api/player/play"): ("/api/player/play", {}, "drive"),
    ("POST", "/api/player/pause"): ("/api/player/pause", {}, "drive"),
    ("POST", "/api/player/step"): ("/api/player/step", {"seconds": 1}, "drive"),
    ("POST", "/api/player/seek"): ("/api/player/seek", {"ts": 1}, "drive"),
    ("POST", "/api/player/speed"): ("/api/player/speed", {"speed": 2}, "drive"),
    ("POST", "/api/player/loop"): ("/api/player/loop", {"on": False}, "drive"),
    ("POST", "/api/player/takeover"): ("/api/player/takeover", {}, "drive"),
    ("GET", "/api/recordings"): ("/api/recordings", None, "see"),
    ("POST", "/api/recordings"): ("/api/recordings", {"topics": ["telemetry.grid"]}, "run"),
    ("POST", "/api/recordings/expected"): ("/api/recordings/expected", {"topics": ["telemetry.grid"]}, "run"),
    ("GET", "/api/recordings/current"): ("/api/recordings/current", None, "run"),
    ("POST", "/api/recordings/black-box"): ("/api/recordings/black-box", {}, "run"),
    ("POST", "/api/recordings/stop"): ("/api/recordings/stop", {}, "run"),
}


def test_the_table_has_every_route(world: World):
    paths = world.app.openapi()["paths"]
    assert {(method.upper(), path) for path, methods in paths.items() for method in methods} == set(ROUTES)


def test_each_role_may_what_the_table_says_and_nothing_more(live_world: World):
    for (method, _), (path, body, right) in ROUTES.items():
        for role in ROLES:
            live_world.clock.move(1)
            answer = live_world.client.request(method, path, json=body, headers=live_world.bearer(role))
            if right is None or right in MAY[role]:
                assert answer.status_code not in (401, 403, 429), (method, path, role, answer.text)
            else:
                assert (answer.status_code, answer.json()["type"]) == (403, "/problems/role"), (method, path, role)
                assert role in answer.json()["detail"]


def test_without_a_seat_there_is_nothing(live_world: World):
    strangers = {"Authorization": f"Bearer {'x' * 40}"}, {"Origin": ORIGIN, "Cookie": "colossus_8765=x"}
    for (method, _), (path, body, right) in ROUTES.items():
        for headers in strangers:
            answer = live_world.client.request(method, path, json=body, headers=headers)
            if right is None:
                assert answer.status_code == 200
            else:
                assert (answer.status_code, answer.json()["type"]) == (401, "/problems/no-seat"), (method, path)
    for topic in ("run.requests", "commands", "instructor.injects", "twin.marks"):
        assert live_world.sent(topic) == []


def test_the_cookie_of_another_port_is_no_seat(live_world: World):
    live_world.enter("trainee")
    value = live_world.client.cookies["colossus_8765"]
    live_world.client.cookies.clear()
    assert live_world.client.get("/api/seat", headers={"Cookie": f"colossus_8766={value}"}).status_code == 401
    assert live_world.client.get("/api/seat", headers={"Cookie": f"x={{;colossus_8765={value}"}).status_code == 200


def test_a_seat_says_what_it_can(world: World):
    seat = world.get("/api/seat", "trainee").json()
    assert seat == {
        "role": "trainee",
        "name": "trainee",
        "desks": [],
        "until": None,
        "can": ["command", "drive", "see", "watch"],
    }


def test_leaving_ends_the_seat(live_world: World):
    live_world.enter("trainee")
    assert live_world.client.get("/api/seat").json()["role"] == "trainee"
    value = live_world.client.cookies["colossus_8765"]
    assert live_world.client.delete("/api/seat", headers={"Origin": ORIGIN}).status_code == 204
    assert "colossus_8765" not in live_world.client.cookies
    assert live_world.client.get("/api/seat", headers={"Cookie": f"colossus_8765={value}"}).status_code == 401


def test_no_route_is_made_by_the_framework(world: World):
    for path in ("/docs", "/redoc", "/openapi.json"):
        assert world.get(path, "instructor").status_code == 404


def test_two_consoles_share_nothing(world: World):
    other = make_console(world.parts.context)
    assert other.state.parts is not world.parts
    assert TOKENS["trainee"] not in repr(world.parts.context)
