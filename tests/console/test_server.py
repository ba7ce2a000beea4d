"""The whole console on a real port: it reads the bus by itself, serves sockets, and stops cleanly."""

import asyncio
import errno
import socket
from pathlib import Path

import httpx2
import orjson
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.console.worlds import RUN, TOKENS, Clock, control, picture
from twin.bus.memory import MemoryBus
from twin.console.app import make_console
from twin.console.context import ConsoleContext
from twin.console.hub import SERVER_STOPS
from twin.console.seats import Seats
from twin.console.server import listen, serve, url_of
from twin.errors import StartError, UnknownTopic
from twin.events.topics import TOPICS

BEARER = {"Authorization": f"Bearer {TOKENS['observer']}"}


async def briefly(seconds: float) -> None:
    await asyncio.sleep(min(seconds, 0.02))


def make(mini, store, bus):
    clock = Clock()
    seats = Seats(TOKENS, now_ms=clock)
    return make_console(
        ConsoleContext(
            data_dir=Path("data"),
            site=mini, bus=bus, store=store, seats=seats, now_ms=clock, version="1", namespace="ci", sleep=briefly
        )
    )  # fmt: skip


async def until_closed(client) -> None:
    while True:
        await client.recv()


@pytest.fixture
def bus():
    bus = MemoryBus("console-server")
    yield bus
    bus.close()


async def test_it_reads_the_bus_serves_and_stops(mini, store, bus):
    bus.create_topics(TOPICS, "ci")
    listening, stop, started = listen("127.0.0.1", 0), asyncio.Event(), asyncio.Event()
    port = listening.getsockname()[1]
    serving = asyncio.create_task(serve(make(mini, store, bus), listening, stop=stop, on_started=started.set))
    async with asyncio.timeout(20):
        await started.wait()
        for record in (control(5), picture(mini, 5)):
            bus.publish(f"ci.{record.topic}", record.value, key=record.key)
        async with connect(f"ws://127.0.0.1:{port}/ws", additional_headers=BEARER) as client:
            await client.send('{"op":"sub","ch":"site"}')
            channels = {}
            while "site" not in channels:  # it comes when the reader has found it
                message = orjson.loads(await client.recv())
                channels[message["ch"]] = message
            assert channels["site"]["site"]["facility_power_w"] == 250e6
            async with httpx2.AsyncClient() as http:
                answer = await http.get(f"http://127.0.0.1:{port}/api/run", headers=BEARER)
                assert answer.json()["id"] == RUN
                assert "server" not in answer.headers
            stop.set()
            with pytest.raises(ConnectionClosed) as closed:
                await until_closed(client)
            assert closed.value.rcvd.code == SERVER_STOPS
        await serving
    with listen("127.0.0.1", port):
        pass  # the port is free again


async def test_a_part_that_fails_ends_it(mini, store, bus):
    stop = asyncio.Event()
    with pytest.raises(UnknownTopic, match=r"ci\.run\.control"):
        await serve(make(mini, store, bus), listen("127.0.0.1", 0), stop=stop, on_started=lambda: None)


def test_a_port_in_use_is_one_clear_line():
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartError, match=rf"^port {port} is in use: .*COLOSSUS_CONSOLE_PORT"):
            listen("127.0.0.1", port)


def test_an_answer_is_sent_at_once_and_not_when_the_one_before_is_acknowledged():
    with listen("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname()):
        let_in, _ = listening.accept()
        with let_in:
            assert let_in.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_an_address_that_is_not_ours_is_one_clear_line(monkeypatch):
    with pytest.raises(StartError, match=r"cannot listen on .*COLOSSUS_CONSOLE_HOST"):
        listen("192.0.2.1", 8765)

    def refuse(*_args, **_kwargs):
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket, "create_server", refuse)
    with pytest.raises(StartError, match="port 80 is not allowed"):
        listen("127.0.0.1", 80)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "http://127.0.0.1:{port}"),
        ("localhost", "http://localhost:{port}"),
        ("0.0.0.0", "http://127.0.0.1:{port}"),  # noqa: S104
        ("::1", "http://[::1]:{port}"),
        ("::", "http://[::1]:{port}"),
    ],
)
def test_the_address_that_is_told_is_one_that_a_browser_here_can_open(host, address):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        assert url_of(host, listening) == address.format(port=listening.getsockname()[1])
