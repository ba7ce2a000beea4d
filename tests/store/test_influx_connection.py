"""What a server or a network may answer, and what becomes of it: no server of InfluxDB is needed for that."""

import http.server
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from tests.store.batches import T0, site
from twin.errors import StartError, StoreRejected, StoreUnavailable
from twin.store import influx_connection
from twin.store.influx import InfluxStore, open_influx
from twin.store.influx_connection import Connection
from twin.store.influx_setup import init

ANSWER = b'{"results":[{"statement_id":0}]}\n'


class Pretender(http.server.BaseHTTPRequestHandler):
    """Answers every request as the test says."""

    status = 200
    body = ANSWER
    claims = 0  # bytes more than it sends
    waits = threading.Event()
    asked: list[str]

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.asked.append(self.path)
        self.waits.wait(5)
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.body) + self.claims))
        self.end_headers()
        self.wfile.write(self.body)
        self.close_connection = True

    do_GET = do_POST  # noqa: N815  as the base class wants it

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[tuple[str, type[Pretender]]]:
    waits = threading.Event()
    waits.set()
    pretender = type("Pretending", (Pretender,), {"waits": waits, "asked": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), pretender) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}", pretender
        waits.set()
        running.shutdown()
        thread.join()


@pytest.fixture
def store(server: tuple[str, type[Pretender]]) -> Iterator[InfluxStore]:
    connection = Connection(server[0], "colossus", "token")
    store = InfluxStore(connection, "ci")
    yield store
    store.close()


def refusal(message: str) -> bytes:
    return json.dumps({"code": "x", "message": message}).encode()


@pytest.mark.parametrize("status", [400, 413, 422])
def test_what_is_refused_for_good_is_rejected_and_says_why(
    status: int, store: InfluxStore, server: tuple[str, type[Pretender]]
) -> None:
    server[1].status, server[1].body = status, refusal("unable to parse 'x': no time")
    with pytest.raises(StoreRejected, match=rf"{status}.*unable to parse"):
        store.write([site(T0, pue=1.0)])


@pytest.mark.parametrize(
    ("status", "what_to_do"),
    [
        (401, "COLOSSUS_INFLUX_TOKEN"),
        (403, "COLOSSUS_INFLUX_TOKEN"),
        (404, "colossus store init"),
        (429, "429"),
        (500, "500"),
        (502, "502"),
        (503, "503"),
        (301, "301"),
    ],
)
def test_what_may_succeed_later_is_unavailable_and_says_what_to_do(
    status: int, what_to_do: str, store: InfluxStore, server: tuple[str, type[Pretender]]
) -> None:
    server[1].status, server[1].body = status, b"<html>a proxy's\npage</html>"
    for call in (
        lambda: store.write([site(T0, pue=1.0)]),
        lambda: store.latest("site", ["pue"], run="r", until_ms=T0, window_ms=1),
        lambda: store.stored("site", "r"),
        lambda: store.roll_up(T0),
        lambda: store.prune(T0),
    ):
        before = len(server[1].asked)
        with pytest.raises(StoreUnavailable, match=what_to_do) as error:
            call()
        assert "\n" not in str(error.value)
        assert len(server[1].asked) == before + 1  # who calls tries again, nobody else


def test_points_that_are_too_old_are_no_error(
    store: InfluxStore, server: tuple[str, type[Pretender]], caplog: pytest.LogCaptureFixture
) -> None:
    server[1].status, server[1].body = (
        422,
        refusal(
            "failure writing points to database: partial write: dropped 7 points outside retention policy of duration "
            f"24h - oldest point {'x' * 2000} dropped=7 for database: 1 for retention policy: autogen"
        ),
    )
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            store.write([site(T0, pue=1.0)])
    assert [record.getMessage() for record in caplog.records] == ["bucket=ci.live past_retention_n=7"]


def test_a_conflict_is_an_error_though_it_is_partial_too(
    store: InfluxStore, server: tuple[str, type[Pretender]]
) -> None:
    server[1].status, server[1].body = 422, refusal("partial write: field type conflict: input field dropped=1")
    with pytest.raises(StoreRejected, match="field type conflict"):
        store.write([site(T0, pue=1.0)])


def test_what_a_refused_batch_left_behind_is_rolled_up_all_the_same(
    store: InfluxStore, server: tuple[str, type[Pretender]]
) -> None:
    server[1].status, server[1].body = 400, refusal("no")
    with pytest.raises(StoreRejected):
        store.write([site(T0, pue=1.0)])
    assert len(server[1].asked) == 2  # the points, and their mark


@pytest.mark.parametrize(
    "body", [b"<html>hello</html>", ANSWER[:10], b'{"results":[{"statement_id":0,"error":"timeout"}]}']
)
def test_an_answer_that_is_none_is_unavailable(
    body: bytes, store: InfluxStore, server: tuple[str, type[Pretender]]
) -> None:
    server[1].body = body
    with pytest.raises(StoreUnavailable):
        store.stored("site", "r")


def test_an_answer_that_breaks_off_is_unavailable(store: InfluxStore, server: tuple[str, type[Pretender]]) -> None:
    server[1].claims = 100
    with pytest.raises(StoreUnavailable, match="COLOSSUS_INFLUX_URL"):
        store.stored("site", "r")


def test_a_missing_database_says_what_to_do(store: InfluxStore, server: tuple[str, type[Pretender]]) -> None:
    server[1].body = b'{"results":[{"statement_id":0,"error":"database not found: ci.live"}]}'
    with pytest.raises(StoreUnavailable, match=r"ci\.live.*colossus store init"):
        store.stored("site", "r")


def test_a_server_that_hangs_is_unavailable(
    server: tuple[str, type[Pretender]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(influx_connection, "TIMEOUT_MS", 100)
    monkeypatch.setattr(influx_connection, "QUERY_TIMEOUT_MS", 100)
    store = InfluxStore(Connection(server[0], "colossus", "token"))
    server[1].waits.clear()
    for call in (lambda: store.write([site(T0, pue=1.0)]), lambda: store.stored("site", "r")):
        with pytest.raises(StoreUnavailable, match="COLOSSUS_INFLUX_URL"):
            call()
    store.close()


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://no-such-host.invalid:8086", "http://[::1"])
def test_a_server_that_is_not_there_is_an_error_of_the_start(url: str) -> None:
    for start in (lambda: open_influx(url, "colossus", "token"), lambda: init(url, "colossus", "token")):
        with pytest.raises(StartError, match="COLOSSUS_INFLUX_URL") as error:
            start()
        assert "\n" not in str(error.value)


def test_a_token_that_no_header_carries_is_an_error_of_the_start(server: tuple[str, type[Pretender]]) -> None:
    for token in ("tok\nen", "tökän"):
        with pytest.raises(StartError, match="COLOSSUS_INFLUX_TOKEN"):
            open_influx(server[0], "colossus", token)
        with pytest.raises(StartError, match="COLOSSUS_INFLUX_ADMIN_TOKEN"):
            init(server[0], "colossus", token)


def test_a_closed_store_says_so(store: InfluxStore) -> None:
    store.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        store.write([site(T0, pue=1.0)])
    with pytest.raises(StoreUnavailable, match="closed"):
        store.stored("site", "r")
    store.close()


def test_the_client_is_imported_by_nobody_who_does_not_connect() -> None:
    code = "import sys, twin.store.influx, twin.store.influx_setup; print('influxdb_client' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert out.stdout == "False\n"
