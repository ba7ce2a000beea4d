"""Each check of the doors, refused and passed; what is refused never reaches the bus."""

from itertools import product

import pytest
from starlette.testclient import WebSocketDenialResponse

from tests.console.worlds import ORIGIN, TOKENS, World
from twin.console.doors import BODY_MAX_BYTES

PATHS = ("/", "/api/run", "/api/nothing", "/page/app.js", "/enter?token=x")


def pause(world: World, headers: dict[str, str], content: bytes = b"{}"):
    return world.client.post("/api/run/pause", content=content, headers=headers)


def nothing_was_sent(world: World) -> bool:
    return world.sent("run.requests") == []


def test_a_foreign_host_is_not_served(live_world: World):
    foreign = ("evil.example", "evil.example:8765", "localhost.evil.example", "", "127.0.0.1.nip.io")
    for path, host in product(PATHS, foreign):
        answer = live_world.client.get(path, headers={"Host": host} | live_world.bearer("instructor"))
        assert answer.status_code == 421
        assert answer.json()["type"] == "/problems/misdirected-request"


def test_loopback_and_named_hosts_are_served(live_world: World):
    for host in ("localhost", "LOCALHOST:8765", "127.0.0.1:8765", "[::1]:8765", "[::1]", "console.example:80"):
        answer = live_world.client.get("/api/run", headers={"Host": host} | live_world.bearer("observer"))
        assert answer.status_code == 200, host


def test_a_foreign_origin_changes_nothing(live_world: World):
    live_world.enter("instructor")
    for origin in (
        "http://localhost:3000",
        "https://localhost:8765",
        "http://evil.example",
        "null",
        "http://127.0.0.1:8765",
        f"{ORIGIN}.evil.example",
        "",
    ):
        for headers in ({}, live_world.bearer("instructor")):
            answer = pause(live_world, {"Origin": origin, "Content-Type": "application/json"} | headers)
            assert answer.status_code == 403, origin
            assert answer.json()["type"] == "/problems/origin"
    assert nothing_was_sent(live_world)


def test_a_cookie_without_origin_changes_nothing(live_world: World):
    live_world.enter("instructor")
    answer = pause(live_world, {"Content-Type": "application/json"})
    assert answer.status_code == 403
    assert "Bearer" in answer.json()["way_out"]
    assert nothing_was_sent(live_world)


def test_the_pages_own_origin_may_with_its_cookie(live_world: World):
    live_world.enter("instructor")
    assert pause(live_world, {"Origin": ORIGIN, "Content-Type": "application/json"}).status_code == 202
    assert len(live_world.sent("run.requests")) == 1


def test_only_json_is_taken(live_world: World):
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", None):
        headers = live_world.bearer("instructor") | ({} if kind is None else {"Content-Type": kind})
        answer = pause(live_world, headers)
        assert answer.status_code == 415, kind
        assert answer.json()["title"] == "Unsupported Media Type"
    assert nothing_was_sent(live_world)


def test_json_may_name_its_characters(live_world: World):
    headers = live_world.bearer("instructor") | {"Content-Type": "application/json; charset=utf-8"}
    assert pause(live_world, headers).status_code == 202


def test_a_delete_with_a_body_needs_its_type_too(live_world: World):
    headers = live_world.bearer("trainee")
    assert live_world.client.request("DELETE", "/api/watch/R0001", headers=headers, content=b"x").status_code == 415
    assert live_world.client.request("DELETE", "/api/watch/R0001", headers=headers).status_code == 202


def test_a_large_body_is_refused_said_or_unsaid(live_world: World):
    headers = live_world.bearer("instructor") | {"Content-Type": "application/json"}
    for content in (b" " * (BODY_MAX_BYTES + 1), iter([b" " * 40_000] * 2)):
        answer = live_world.client.post("/api/run/pause", content=content, headers=headers)
        assert answer.status_code == 413
        assert answer.headers["content-type"] == "application/problem+json"
    assert nothing_was_sent(live_world)
    assert pause(live_world, headers, b"{}" + b" " * (BODY_MAX_BYTES - 2)).status_code == 202


def test_a_length_that_is_no_length_is_refused(live_world: World):
    for length in ("-1", "1e3", "99999999999999999999"):
        headers = live_world.bearer("instructor") | {"Content-Type": "application/json", "Content-Length": length}
        assert pause(live_world, headers).status_code == 413, length


def test_a_socket_from_elsewhere_is_not_opened(live_world: World):
    live_world.enter("instructor")
    refused = [({"Origin": "http://localhost:3000"}, 403), ({}, 403), ({"Origin": ORIGIN, "Host": "evil.example"}, 421)]
    for headers, status in refused:
        with pytest.raises(WebSocketDenialResponse) as denial, live_world.socket(headers=headers):
            pass
        assert denial.value.status_code == status
    assert live_world.parts.hub.clients_n == 0


def test_every_answer_has_its_headers(live_world: World):
    for path in PATHS:
        headers = live_world.client.get(path, headers=live_world.bearer("observer"), follow_redirects=False).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self';")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == ("no-cache" if path.startswith("/page/") else "no-store")
        assert "access-control-allow-origin" not in headers


def test_the_link_of_a_role_opens_the_page_and_leaves_no_token(world: World):
    answer = world.client.get(f"/enter?token={TOKENS['trainee']}", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("colossus_8765=")
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Path=/" in cookie
    assert "Max-Age=43200" in cookie
    assert "Secure" not in cookie
    assert TOKENS["trainee"] not in cookie
    page = world.client.get("/")
    assert page.status_code == 200
    assert "Colossus twin" in page.text


def test_under_tls_the_cookie_is_secure(world: World):
    answer = world.client.get(f"https://localhost:8765/enter?token={TOKENS['trainee']}", follow_redirects=False)
    assert "Secure" in answer.headers["set-cookie"]


def test_a_wrong_token_gets_a_page_that_says_where_the_right_one_is(world: World):
    for path in ("/enter?token=wrong", "/enter", "/"):
        answer = world.client.get(path)
        assert answer.status_code == 401
        assert "printed one line for each role" in answer.text
        assert "set-cookie" not in answer.headers


def test_tokens_cannot_be_tried_for_ever(world: World):
    answers = [world.client.get("/enter?token=wrong").status_code for _ in range(11)]
    assert answers == [401] * 10 + [429]
    answer = world.client.get(f"/enter?token={TOKENS['trainee']}")
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "6"
    world.clock.move(6)
    assert world.client.get(f"/enter?token={TOKENS['trainee']}", follow_redirects=False).status_code == 303


def test_the_log_never_holds_a_token(world: World, caplog):
    caplog.set_level("DEBUG")
    world.client.get(f"/enter?token={TOKENS['trainee']}", follow_redirects=False)
    console = [record.getMessage() for record in caplog.records if record.name.startswith("twin.")]
    assert console == ["method=GET path=/enter status=303"]
