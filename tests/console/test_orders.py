from uuid import uuid4

from tests.console.worlds import RUN, START_MS, World, control, model_record
from twin.console.orders import COMMAND_GOOD_FOR_MS, ORDERS_KEPT_N, WATCHED_MAX_N, Order
from twin.errors import BusError
from twin.events.control import Command, CommandResult, RunRequest
from twin.events.head import split
from twin.events.instructor import Inject


def command(**changed) -> dict:
    return {"id": str(uuid4()), "unit": "chiller-3", "verb": "chiller.start", "params": {}} | changed


def test_a_command_is_sent_under_its_unit_and_said_to_be_pending(live_world: World):
    body = command()
    answer = live_world.post("/api/commands", body, "trainee")
    assert (answer.status_code, answer.json()) == (202, {"id": body["id"]})
    [(head, data)] = live_world.sent("commands")
    assert (head.schema_id, head.key, head.run, head.tick, head.ts) == (
        "commands/1",
        "chiller-3",
        RUN,
        5,
        START_MS + 5000,
    )
    sent = Command.model_validate(data)
    assert sent.id == body["id"]
    assert sent.by == "trainee"
    assert sent.expires_ms == START_MS + COMMAND_GOOD_FOR_MS
    assert live_world.get(f"/api/commands/{body['id']}").json() == {
        "id": body["id"], "unit": "chiller-3", "verb": "chiller.start", "by": "trainee", "state": "pending",
    }  # fmt: skip


def test_the_same_id_is_the_same_command(live_world: World):
    body = command()
    answers = [live_world.post("/api/commands", body, role) for role in ("trainee", "trainee", "instructor")]
    assert {(answer.status_code, answer.text) for answer in answers} == {(202, answers[0].text)}
    assert len(live_world.sent("commands")) == 1
    other = live_world.post("/api/commands", body | {"unit": "chiller-4"}, "trainee")
    assert other.status_code == 422
    assert "was another command" in other.json()["detail"]
    assert len(live_world.sent("commands")) == 1


def test_the_answer_of_the_plant_comes_back(live_world: World):
    body = command()
    live_world.post("/api/commands", body, "trainee")
    result = CommandResult(
        command_id=body["id"], verb="chiller.start", unit="chiller-3", by="trainee", accepted=False,
        reason="chiller-3 is tripped: reset it first", applied_tick=6,
    )  # fmt: skip
    live_world.take(model_record("command_results", "chiller-3", result))
    answer = live_world.get(f"/api/commands/{body['id']}").json()
    assert (answer["state"], answer["applied_tick"]) == ("rejected", 6)
    assert answer["reason"] == "chiller-3 is tripped: reset it first"
    missing = live_world.get(f"/api/commands/{uuid4()}")
    assert (missing.status_code, missing.json()["type"]) == (404, "/problems/unknown-command")


def test_nonsense_is_refused_with_what_is_allowed_and_never_sent(live_world: World):
    cases = [
        (command(unit="chiler-3"), 404, "chiller-3"),
        (command(unit="turbine-1"), 422, "turbine.load"),
        (command(verb="chiller.explode"), 422, "chiller.start"),
        (command(unit="meter-H1"), 422, "no command"),
        (command(params={"fast": True}), 422, "none"),
        (command(unit="turbine-1", verb="turbine.load", params={"power_w": 17e6}), 422, "0 to 1.65e+07 W"),
        (command(unit="turbine-1", verb="turbine.load", params={"power_w": "all"}), 422, "0 to 1.65e+07 W"),
        (command(unit="turbine-1", verb="turbine.load", params={"power_w": True}), 422, "0 to 1.65e+07 W"),
        (command(unit="turbine-1", verb="turbine.load", params={"mw": 1}), 422, "power_w"),
        (command(unit="cdu-R0007", verb="cdu.select_pump", params={"pump": "C"}), 422, "'C' is not allowed"),
        (command(unit="cdu-R0007", verb="cdu.select_pump", params={"pump": 1}), 422, "allowed: A, B"),
    ]
    for body, status, hint in cases:
        live_world.clock.move(1)
        answer = live_world.post("/api/commands", body, "trainee")
        assert answer.status_code == status, body
        assert hint in answer.json().get("way_out", "") + answer.json()["detail"], answer.text
    assert live_world.sent("commands") == []


def test_what_the_catalogue_allows_is_sent(live_world: World):
    good = [
        command(unit="turbine-1", verb="turbine.load", params={"power_w": 0}),
        command(unit="cdu-R0007", verb="cdu.select_pump", params={"pump": "B"}),
        command(unit="job-hero", verb="job.pause"),
    ]
    for body in good:
        assert live_world.post("/api/commands", body, "trainee").status_code == 202, body
    assert [data["params"] for _, data in live_world.sent("commands")] == [{"power_w": 0}, {"pump": "B"}, {}]


def test_a_run_that_stands_or_has_ended_takes_no_command(world: World):
    for state, slug in (("frozen", "frozen"), ("paused", "paused"), ("ended", "not-in-this-state")):
        world.take(control(5, state=state))
        answer = world.post("/api/commands", command(), "trainee")
        assert answer.status_code == 409
        assert answer.json()["type"] == f"/problems/{slug}"
        allowed = world.get("/api/units/chiller-3", "trainee").json()["commands"][0]
        assert (allowed["allowed"], allowed["reason"]) == (False, f"the run is {state}")
    assert world.sent("commands") == []


def test_a_command_that_the_bus_refused_can_be_sent_again(live_world: World, monkeypatch):
    body = command()

    def gone(*_args, **_kwargs):
        raise BusError("gone")

    monkeypatch.setattr(live_world.bus, "publish", gone)
    assert live_world.post("/api/commands", body, "trainee").status_code == 503
    assert live_world.get(f"/api/commands/{body['id']}").status_code == 404
    monkeypatch.undo()
    assert live_world.post("/api/commands", body, "trainee").status_code == 202
    assert len(live_world.sent("commands")) == 1


def test_remembered_ids_are_bounded(live_world: World):
    orders = live_world.parts.orders
    for number in range(ORDERS_KEPT_N + 5):
        orders.command(Order(str(number), "chiller-3", "chiller.start", {}, "trainee"))
    assert len(orders._orders) == ORDERS_KEPT_N


def test_the_catalogue_is_what_was_passed_in(world: World):
    assert world.get("/api/commands").json()[1] == {
        "kind": "turbine",
        "verb": "turbine.load",
        "params": [{"name": "power_w", "unit": "W", "min": 0.0, "max": 16.5e6, "choices": []}],
    }


def test_requests_go_to_the_owner_of_the_run_and_are_answered_by_their_id(live_world: World):
    answer = live_world.post("/api/run/loop", {"a": 1, "b": 4, "times": 3})
    assert answer.status_code == 202
    assert answer.json()["id"] == RUN
    assert answer.json()["state"] == "running"
    [(head, data)] = live_world.sent("run.requests")
    request = RunRequest.model_validate(data)
    assert head.key == RUN
    assert request.id == answer.json()["request"]
    assert (request.verb, request.by) == ("loop", "instructor")
    assert request.params == {"a": 1, "b": 4, "times": 3}
    live_world.take(control(5, answers=request.id, error="tick 4 cannot be reached"))
    run = live_world.get("/api/run", "instructor").json()
    assert (run["answers"], run["error"]) == (request.id, "tick 4 cannot be reached")
    assert live_world.get("/api/run", "trainee").json()["error"] == "refused"
    answer = live_world.get(f"/api/requests/{request.id}", "instructor").json()
    assert (answer["state"], answer["error"]) == ("refused", "tick 4 cannot be reached")


def test_an_inject_goes_to_its_own_topic_and_must_have_a_target(live_world: World):
    body = {"kind": "chiller_trip", "target": "cooling-2", "ramp_s": 60, "params": {"n": 3}}
    answer = live_world.post("/api/injects", body)
    [(head, data)] = live_world.sent("instructor.injects")
    inject = Inject.model_validate(data)
    assert (answer.json()["id"], inject.run, head.key) == (inject.id, RUN, "cooling-2")
    assert (inject.severity, inject.ramp_s, inject.params) == (1.0, 60.0, {"n": 3})
    assert live_world.sent("commands") == []
    assert live_world.post("/api/injects", body | {"target": "cooling-9"}).status_code == 404
    for target in ("site", "R0001-s2", "R0001-g17", "job-hero", "H1"):
        live_world.clock.move(1)
        assert live_world.post("/api/injects", body | {"target": target}).status_code == 202, target


def test_a_watch_is_a_mark_that_a_tombstone_ends(live_world: World):
    answer = live_world.post("/api/watch/R0007", role="trainee", method="PUT")
    assert (answer.status_code, answer.json()) == (202, {"since": START_MS + 5000})
    [(head, data)] = live_world.sent("twin.marks")
    assert (head.key, data["kind"], data["asset"], data["by"]) == ("watch@R0007", "watch", "R0007", "trainee")
    assert live_world.client.delete("/api/watch/R0007", headers=live_world.bearer("trainee")).status_code == 202
    reader = live_world.bus.read(["twin.marks"], start="beginning")
    assert reader.poll()[-1][4:6] == (b"watch@R0007", None)
    assert live_world.post("/api/watch/R9999", role="trainee", method="PUT").status_code == 404


def test_at_most_so_many_racks_are_watched(live_world: World):
    for number in range(1, WATCHED_MAX_N + 1):
        live_world.clock.move(1)
        assert live_world.post(f"/api/watch/R{number:04d}", role="trainee", method="PUT").status_code == 202
    reader = live_world.bus.read(["twin.marks"], start="beginning")
    live_world.take(*reader.poll())
    live_world.clock.move(1)
    answer = live_world.post("/api/watch/R0064", role="trainee", method="PUT")
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/too-many-watched")
    assert live_world.post("/api/watch/R0001", role="trainee", method="PUT").status_code == 202


def test_messages_of_one_key_are_numbered_without_a_gap_and_not_again_after_a_restart(live_world: World):
    orders = live_world.parts.orders
    first = [orders._next_seq("commands", "chiller-3") for _ in range(3)]
    assert first == [first[0], first[0] + 1, first[0] + 2]
    live_world.clock.move(1)
    orders._seqs.clear()
    assert orders._next_seq("commands", "chiller-3") > first[-1]
    raw = live_world.bus.read(["commands"], start="beginning").poll()
    assert [split(record.value) for record in raw] == []
