"""The socket: hello, first pictures, one picture a second, mailboxes, close codes, and what a trainee never gets."""

import asyncio
import contextlib

import numpy as np
import orjson
import pytest

from tests.console.worlds import ORIGIN, RUN, START_MS, TOKENS, World, control, model_record, picture, racks
from twin.console.hub import (
    EVENTS_N,
    FELL_BEHIND,
    NO_SEAT,
    SERVER_STOPS,
    SOCKETS_PER_SEAT_N,
    TOO_LARGE,
    TOO_MANY,
    Client,
    beats,
)
from twin.console.seats import SEAT_MS
from twin.events.control import CommandResult

COOKIE = {"Origin": ORIGIN}


def result(number: int = 1, *, accepted: bool = True):
    data = CommandResult(
        command_id=f"c{number}", verb="chiller.start", unit="chiller-3", by="trainee-1", accepted=accepted,
        reason="" if accepted else "it is tripped", applied_tick=5,
    )  # fmt: skip
    return model_record("command_results", "chiller-3", data)


def say(socket, op: str, channel: str) -> None:
    socket.send_text(orjson.dumps({"op": op, "ch": channel}).decode())


def closed(socket) -> int:
    """Read until the other side has closed; return its code."""
    for _ in range(2 * EVENTS_N):
        message = socket.receive()
        if message["type"] == "websocket.close":
            return message["code"]
    raise AssertionError("it was not closed")


def test_hello_comes_first_then_the_run(live_world: World):
    with live_world.socket("trainee") as socket:
        assert socket.receive_json() == {
            "ch": "hello",
            "protocol": 1,
            "seat": {"role": "trainee", "name": "trainee"},
            "run": RUN,
            "site_crc": int(live_world.site.crc, 16),
            "server_ms": START_MS,
        }
        run = socket.receive_json()
        assert (run["ch"], run["seq"], run["server_ms"]) == ("run", 0, START_MS)
        assert run["run"] == live_world.get("/api/run").json()


def test_before_the_first_run_the_heartbeat_says_so(world: World):
    with world.socket("observer") as socket:
        assert socket.receive_json()["run"] is None
        assert socket.receive_json()["run"] is None
        say(socket, "sub", "site")
        world.beat()
        assert socket.receive_json()["ch"] == "run"


def test_each_beat_brings_each_wanted_channel_once(live_world: World):
    with live_world.socket("observer") as socket:
        socket.receive_json()
        socket.receive_json()
        say(socket, "sub", "site")
        first = socket.receive_json()
        assert (first["ch"], first["seq"], first["run"], first["epoch"], first["tick"]) == ("site", 0, RUN, 0, 5)
        live_world.take(control(6), picture(live_world.site, 6))
        live_world.beat()
        got = {message["ch"]: message for message in (socket.receive_json(), socket.receive_json())}
        assert (got["run"]["seq"], got["run"]["run"]["tick"]) == (1, 6)
        assert (got["site"]["seq"], got["site"]["tick"]) == (1, 6)
        say(socket, "unsub", "site")
        say(socket, "unsub", "run")  # the heartbeat cannot be ended
        say(socket, "sub", "events")
        assert socket.receive_json()["ch"] == "events"
        live_world.beat()
        assert socket.receive_json()["ch"] == "run"
        live_world.beat()
        assert socket.receive_json()["ch"] == "run"


def test_a_picture_is_made_once_for_all(live_world: World, monkeypatch):
    made = []
    hub = live_world.parts.hub
    inner = hub._picture
    monkeypatch.setattr(hub, "_picture", lambda channel: made.append(channel) or inner(channel))
    with live_world.socket("observer") as one, live_world.socket("trainee") as other:
        for socket in (one, other):
            socket.receive_json()
            socket.receive_json()
            say(socket, "sub", "site")
            socket.receive_json()
        made.clear()
        live_world.beat()
        assert sorted(made) == ["run", "site"]


def test_nobody_looking_costs_one_look_at_the_floor_in_ten_beats(live_world: World, monkeypatch):
    floor, read = live_world.parts.floor, []
    inner = floor._read
    monkeypatch.setattr(floor, "_read", lambda held: read.append(held) or inner(held))
    for tick in range(5, 14):  # the first beat was that of the start
        live_world.take(racks(live_world.site, 0, tick, {}), picture(live_world.site, tick))
        assert read == []
        live_world.beat()
    assert len(read) == 1


def test_the_floor_comes_as_bytes_one_layer_at_a_time(live_world: World):
    live_world.take(racks(live_world.site, 0, 5, {"gpu_temp_max_c": np.full(8, 50.0), "power_w": np.full(8, 60e3)}))
    with live_world.socket("observer") as socket:
        socket.receive_json()
        socket.receive_json()
        say(socket, "sub", "floor:rack:gpu_temp_max_c")
        message = socket.receive_bytes()
        assert message[:4] == b"CFLR"
        assert (message[6], message[64], message[72]) == (1, 100, 255)
        say(socket, "sub", "floor:rack:power_w")
        message = socket.receive_bytes()
        assert (message[6], message[64]) == (11, 150)
        live_world.beat()
        got = [socket.receive() for _ in range(2)]
        assert sorted(one.get("bytes", b"")[6:7] for one in got) == [b"", b"\x0b"]
        assert next(one["bytes"] for one in got if "bytes" in one)[32] == 1  # seq of this socket and channel


def test_events_come_in_full_then_one_by_one(live_world: World):
    live_world.take(result(1))
    with live_world.socket("observer") as socket:
        socket.receive_json()
        socket.receive_json()
        say(socket, "sub", "events")
        first = socket.receive_json()
        assert (first["ch"], first["seq"], first["what"], first["run"]) == ("events", 0, "all", RUN)
        assert [entry["text"] for entry in first["entries"]] == [
            f"run {RUN} of mini: running",
            "chiller.start chiller-3 accepted",
        ]
        live_world.take(result(2, accepted=False))
        new = socket.receive_json()
        assert (new["seq"], new["what"]) == (1, "new")
        assert new["entries"][0] == {
            "kind": "command", "text": "chiller.start chiller-3 rejected: it is tripped", "ts": START_MS,
            "clock": "08-21T14:00:05", "unit": "chiller-3", "by": "trainee-1", "result": "rejected",
        }  # fmt: skip


def test_only_an_instructor_ever_gets_an_inject(live_world: World):
    seen = {}
    roles = ("instructor", "trainee", "observer")
    with contextlib.ExitStack() as stack:
        sockets = {role: stack.enter_context(live_world.socket(role)) for role in roles}
        for socket in sockets.values():
            socket.receive_json()
            socket.receive_json()
            say(socket, "sub", "events")
            socket.receive_json()
        answer = live_world.post("/api/injects", {"kind": "chiller_trip", "target": "cooling-2"})
        assert answer.status_code == 202
        live_world.take(result())
        assert sockets["instructor"].receive_json()["entries"][0]["kind"] == "inject"
        for role, socket in sockets.items():
            seen[role] = socket.receive_json()
            # no gap in the numbers tells that something was left out
            assert seen[role]["seq"] == (2 if role == "instructor" else 1)
            assert seen[role]["entries"][0]["kind"] == "command"
    for role in ("trainee", "observer"):
        with live_world.socket(role) as socket:
            texts = [socket.receive_text(), socket.receive_text()]
            say(socket, "sub", "events")
            texts.append(socket.receive_text())
        assert "trip" not in "".join(texts)
        for path in ("/api/run", "/api/units/cooling-2", "/api/find?q=trip", "/api/twin/health", "/api/commands"):
            assert "chiller_trip" not in live_world.get(path, role).text


def test_without_a_seat_the_code_says_so(world: World):
    with world.socket(headers=COOKIE) as socket:
        assert closed(socket) == NO_SEAT
    with world.socket(headers={"Authorization": f"Bearer {'x' * 40}"}) as socket:
        assert closed(socket) == NO_SEAT
    world.enter("trainee")
    with world.socket(headers=COOKIE) as socket:
        assert socket.receive_json()["seat"]["role"] == "trainee"


def test_a_seat_that_ends_or_leaves_loses_its_socket(world: World):
    world.enter("trainee")
    with world.socket(headers=COOKIE) as socket:
        world.clock.ms += SEAT_MS
        world.beat()
        assert closed(socket) == NO_SEAT
    world.enter("trainee")
    with world.socket(headers=COOKIE) as socket:
        assert world.client.delete("/api/seat", headers=COOKIE).status_code == 204
        world.beat()
        assert closed(socket) == NO_SEAT
    assert world.parts.hub.clients_n == 0


def test_a_seat_has_so_many_sockets_and_others_are_not_hurt(world: World):
    with contextlib.ExitStack() as stack:
        for _ in range(SOCKETS_PER_SEAT_N):
            stack.enter_context(world.socket("trainee")).receive_json()
        assert closed(stack.enter_context(world.socket("trainee"))) == TOO_MANY
        assert stack.enter_context(world.socket("observer")).receive_json()["ch"] == "hello"


def test_too_many_or_too_large_messages_end_the_socket(world: World):
    with world.socket("trainee") as socket:
        for _ in range(11):
            say(socket, "sub", "run")
        assert closed(socket) == TOO_MANY
    with world.socket("trainee") as socket:
        socket.send_text(" " * 4097)
        assert closed(socket) == TOO_LARGE


def test_what_is_not_understood_is_answered_and_harms_nothing(live_world: World):
    nonsense = ['{"op":"sub","ch":"truth"}', '{"op":"sub","ch":"floor:rack:xid"}', '{"op":"x","ch":"site"}', "[1]", "{"]
    with live_world.socket("trainee") as socket:
        socket.receive_json()
        socket.receive_json()
        for text in nonsense:
            socket.send_text(text)
            assert "not understood" in socket.receive_json()["error"]
        say(socket, "sub", "site")
        assert socket.receive_json()["ch"] == "site"


def test_a_server_that_stops_says_so(world: World):
    with world.socket("trainee") as socket:
        world.client.portal.call(world.parts.hub.stop)
        assert closed(socket) == SERVER_STOPS
    with world.socket("trainee") as socket:
        assert closed(socket) == SERVER_STOPS


class SlowSocket:
    """A client that takes one message only when it is let."""

    def __init__(self) -> None:
        self.sent: list[str | bytes] = []
        self.may = asyncio.Semaphore(0)

    async def send_text(self, text: str) -> None:
        await self.may.acquire()
        self.sent.append(text)

    send_bytes = send_text


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_slow_client_misses_pictures_and_never_builds_a_queue(live_world: World):
    live_world.parts.floor.update()
    floor = live_world.parts.floor.picture(live_world.parts.floor.layers["power_w"])
    socket = SlowSocket()
    seat = live_world.seats.of_bearer(TOKENS["trainee"])
    client = Client(socket, seat, 1)
    sending = asyncio.create_task(client.send_all())
    client.put("floor:rack:power_w", floor)
    await settle()
    for number in range(60):
        client.put("site", f'"n":{number}}}')
        client.put("floor:rack:power_w", floor)
    assert len(client._mailbox) == 2
    for _ in range(4):
        socket.may.release()
        await settle()
    floors = [message for message in socket.sent if isinstance(message, bytes)]
    assert [message[7] for message in floors] == [0, 2]
    assert [message[32] for message in floors] == [0, 1]
    assert [message for message in socket.sent if isinstance(message, str)] == ['{"ch":"site","seq":0,"n":59}']
    sending.cancel()


async def test_a_client_too_far_behind_with_events_must_ask_anew(live_world: World):
    client = Client(SlowSocket(), live_world.seats.of_bearer(TOKENS["trainee"]), 1)
    for number in range(EVENTS_N):
        client.put_event(f'"n":{number}}}')
    assert client.close_code is None
    client.put_event('"n":1000}')
    assert client.close_code == FELL_BEHIND
    assert len(client._events) == EVENTS_N


async def test_beats_come_once_a_second_and_catch_no_lost_time_up(live_world: World):
    class Stop(Exception):
        pass

    class Hub:
        beats_n = 0

        def beat(self) -> None:
            self.beats_n += 1
            live_world.clock.move(0.2 if self.beats_n < 3 else 7)

    waits = []

    async def sleep(seconds: float) -> None:
        waits.append(round(seconds, 3))
        live_world.clock.move(seconds)
        if len(waits) == 4:
            raise Stop

    with pytest.raises(Stop):
        await beats(Hub(), now_ms=live_world.clock, sleep=sleep)
    assert waits == [0.8, 0.8, 0.0, 0.0]
