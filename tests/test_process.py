"""One process of the stack: what it says of itself, its signals, its log."""

import json
import logging
import os
import signal
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from twin import process
from twin.errors import BusError, StartError, StoreError
from twin.process import Health, HealthDoor, set_up_log, stop_on_signal, watching

PATIENCE_S = 10.0
LOOPBACK = "127.0.0.1"


class Clock:
    ms = 1000

    def now_ms(self) -> int:
        return self.ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health(clock: Clock) -> Health:
    return Health("rows-1", clock.now_ms)


# -- health


def test_a_process_that_begins_is_starting(health: Health) -> None:
    assert health.report() == {"process": "rows-1", "state": "starting", "since_ms": 1000, "waits_for": {}}


def test_since_when_is_told_anew_at_each_change_alone(health: Health, clock: Clock) -> None:
    for ms, state in ((2000, "ok"), (3000, "ok"), (4000, "stopping"), (5000, "stopping")):
        clock.ms = ms
        health.enter(state)  # type: ignore[arg-type]
        assert health.report()["state"] == state
        assert health.report()["since_ms"] == (2000 if state == "ok" else 4000)


def test_a_process_waits_until_all_is_back(health: Health, clock: Clock) -> None:
    health.enter("ok")
    clock.ms = 2000
    health.waits_for("kafka", "nobody answers")
    clock.ms = 3000
    health.waits_for("influxdb", "too many requests")
    assert health.report() == {
        "process": "rows-1",
        "state": "waits",
        "since_ms": 2000,
        "waits_for": {"kafka": "nobody answers", "influxdb": "too many requests"},
    }
    clock.ms = 4000
    health.waits_for("kafka", None)
    assert (health.report()["state"], health.report()["since_ms"]) == ("waits", 2000)
    assert health.report()["waits_for"] == {"influxdb": "too many requests"}
    clock.ms = 5000
    health.waits_for("influxdb", None)
    assert (health.report()["state"], health.report()["since_ms"]) == ("ok", 5000)
    assert health.report()["waits_for"] == {}


@pytest.mark.parametrize("state", ["starting", "stopping"])
def test_who_starts_or_stops_does_so_whatever_is_away(health: Health, state: Any) -> None:
    health.enter(state)
    health.waits_for("kafka", "nobody answers")
    assert health.report()["state"] == state
    assert health.report()["waits_for"] == {"kafka": "nobody answers"}
    health.waits_for("kafka", None)
    assert health.report()["state"] == state


def test_who_has_started_while_something_is_away_waits(health: Health) -> None:
    health.waits_for("kafka", "nobody answers")
    health.enter("ok")
    assert health.report()["state"] == "waits"
    health.waits_for("kafka", None)
    assert health.report()["state"] == "ok"


def test_the_log_gets_a_line_when_something_goes_and_when_it_comes_back(
    health: Health, caplog: pytest.LogCaptureFixture
) -> None:
    health.enter("ok")
    health.waits_for("kafka", None)
    assert caplog.messages == []
    for reason in ("nobody answers", "nobody answers", "it has another reason by now"):
        health.waits_for("kafka", reason)
    assert health.report()["waits_for"] == {"kafka": "it has another reason by now"}
    health.waits_for("influxdb", "401")
    for _ in range(2):
        health.waits_for("kafka", None)
    health.waits_for("kafka", "again")
    assert caplog.messages == [
        "process=rows-1 kafka=away reason=nobody answers",
        "process=rows-1 influxdb=away reason=401",
        "process=rows-1 kafka=back",
        "process=rows-1 kafka=away reason=again",
    ]
    assert {record.levelname for record in caplog.records} == {"WARNING"}


def test_a_fact_is_read_whenever_somebody_asks(health: Health) -> None:
    lost = {"commands": 1}
    health.fact("lost_n", lambda: dict(lost))
    assert health.report()["lost_n"] == {"commands": 1}
    lost["commands"] = 2
    assert health.report()["lost_n"] == {"commands": 2}


# -- its door


def ask(url: str) -> tuple[int, dict[str, Any]]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=PATIENCE_S) as answer:
            assert answer.headers["Content-Type"] == "application/json"
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code, json.load(exc)


def test_all_is_well_is_200_and_all_else_503(health: Health) -> None:
    health.fact("run", lambda: {"tick": 7})
    with HealthDoor(health, LOOPBACK, 0) as door:
        assert ask(door.url) == (503, health.report())
        health.enter("ok")
        assert ask(door.url) == (200, health.report())
        assert ask(door.url)[1]["run"] == {"tick": 7}
        health.waits_for("kafka", "nobody answers")
        code, told = ask(door.url)
        assert (code, told["state"], told["waits_for"]) == (503, "waits", {"kafka": "nobody answers"})
        health.waits_for("kafka", None)
        assert ask(door.url)[0] == 200
        health.enter("stopping")
        assert ask(door.url)[0] == 503


@pytest.mark.parametrize("path", ["/", "/healthy", "/health/", "/metrics"])
def test_nothing_else_is_there(health: Health, path: str) -> None:
    health.enter("ok")
    with HealthDoor(health, LOOPBACK, 0) as door:
        code, told = ask(door.url.removesuffix("/health") + path)
    assert code == 404
    assert "/health" in told["error"]


def test_it_says_nothing_of_who_asks(health: Health, capfd: pytest.CaptureFixture[str]) -> None:
    with HealthDoor(health, LOOPBACK, 0) as door:
        ask(door.url)
        ask(door.url + "y")
    assert capfd.readouterr() == ("", "")


def test_one_who_asks_and_says_nothing_keeps_nobody_waiting(health: Health) -> None:
    health.enter("ok")
    with HealthDoor(health, LOOPBACK, 0) as door:
        port = int(door.url.rpartition(":")[2].partition("/")[0])
        with socket.create_connection((LOOPBACK, port), timeout=PATIENCE_S):
            assert ask(door.url)[0] == 200


def test_a_port_in_use_is_named_with_the_settings(health: Health) -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartError, match=rf"{LOOPBACK}:{port} .*in use") as caught:
            HealthDoor(health, LOOPBACK, port)
    assert "COLOSSUS_HEALTH_HOST" in str(caught.value)
    assert "COLOSSUS_HEALTH_PORT" in str(caught.value)


def test_an_address_of_another_machine_is_refused(health: Health) -> None:
    with pytest.raises(StartError, match=r"192\.0\.2\.1:0 .*COLOSSUS_HEALTH_HOST"):
        HealthDoor(health, "192.0.2.1", 0)  # of the addresses that documents may use


def test_a_door_that_is_closed_leaves_its_port(health: Health) -> None:
    with HealthDoor(health, LOOPBACK, 0) as door:
        port = int(door.url.rpartition(":")[2].partition("/")[0])
    with HealthDoor(health, LOOPBACK, port) as again:
        assert again.url == door.url


# -- watching


class Watched:
    """A check that fails while it is told to; ``looked`` waits for looks that began after it was called."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self._looks = threading.Semaphore(0)

    def __call__(self) -> None:
        self._looks.release()
        error = self.error  # read once: it is set from another thread
        if error is not None:
            raise error

    def looked(self) -> None:
        while self._looks.acquire(blocking=False):
            pass
        for _ in range(2):  # the second says that what the first found has been told
            assert self._looks.acquire(timeout=PATIENCE_S)


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> Watched:
    monkeypatch.setattr(process, "CHECK_EVERY_S", 0.001)
    return Watched()


def test_what_goes_away_and_comes_back_is_told(
    health: Health, kafka: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    influxdb = Watched()
    health.enter("ok")
    with watching(health, {"kafka": kafka, "influxdb": influxdb}):
        kafka.looked()
        assert health.report()["state"] == "ok"
        kafka.error = BusError("nobody answers")
        influxdb.error = StoreError("401")
        kafka.looked()
        assert health.report()["waits_for"] == {"kafka": "nobody answers", "influxdb": "401"}
        assert health.report()["state"] == "waits"
        kafka.error = None
        influxdb.looked()
        assert health.report()["waits_for"] == {"influxdb": "401"}
        influxdb.error = None
        influxdb.looked()
        kafka.looked()
        assert health.report()["state"] == "ok"
    assert [message.partition(" reason")[0] for message in caplog.messages] == [
        "process=rows-1 kafka=away",
        "process=rows-1 influxdb=away",
        "process=rows-1 kafka=back",
        "process=rows-1 influxdb=back",
    ]


def test_the_watch_ends_with_what_it_watches_and_waits_for_no_look(health: Health) -> None:
    kafka = Watched()
    with watching(health, {"kafka": kafka}):  # it looks every two seconds
        assert kafka._looks.acquire(timeout=PATIENCE_S)
        assert "watch" in {thread.name for thread in threading.enumerate()}
    assert "watch" not in {thread.name for thread in threading.enumerate()}
    assert not kafka._looks.acquire(blocking=False)


# -- signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_and_then_means_what_it_meant_before(number: signal.Signals) -> None:
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    told: list[str] = []
    with stop_on_signal(lambda: told.append("stop")):
        signal.raise_signal(number)
        assert told == ["stop"]
        signal.raise_signal(number)
        assert told == ["stop", "stop"]
        assert signal.getsignal(number) != before[number]
    assert {n: signal.getsignal(n) for n in before} == before


def test_signals_are_given_back_when_it_fails_too() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(BusError), stop_on_signal(lambda: None):
        raise BusError("away")
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_signal_from_outside_reaches_it() -> None:
    stop = threading.Event()
    with stop_on_signal(stop.set):
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.wait(PATIENCE_S)


# -- the log

CLIENTS = ("kafka", "aiokafka")  # they tell of every attempt to reach a broker


@pytest.fixture
def log() -> Iterator[Callable[[], list[str]]]:
    """Set the log up as a process does, on handlers of its own; return what it writes, by lines."""
    root = logging.getLogger()
    handlers = root.handlers[:]
    levels = {logger: logger.level for logger in (root, *map(logging.getLogger, CLIENTS))}
    root.handlers[:] = []
    try:
        set_up_log()
        (handler,) = root.handlers
        assert isinstance(handler, logging.StreamHandler)
        written: list[str] = []
        handler.setStream(
            type("Stream", (), {"write": lambda _, text: written.append(text), "flush": lambda _: None})()
        )
        yield lambda: "".join(written).splitlines()
    finally:
        root.handlers[:] = handlers
        for logger, level in levels.items():
            logger.setLevel(level)


def test_a_record_is_one_line_whatever_it_says(log: Callable[[], list[str]]) -> None:
    logging.getLogger("twin.any").warning("one=%s", "a\nb\n\nc")
    logging.getLogger("twin.any").info("nobody asked for it")
    (line,) = log()
    assert line.endswith(" WARNING twin.any one=a b  c")


@pytest.mark.parametrize("client", CLIENTS)
def test_what_health_tells_once_its_clients_do_not_tell_again(log: Callable[[], list[str]], client: str) -> None:
    logging.getLogger(f"{client}.conn").error("Connection lost")
    assert log() == []


def fail() -> None:
    try:
        int("line one\nline two")
    except ValueError as exc:
        raise BusError("the bus\nis away") from exc


def test_of_an_error_its_name_and_text_are_told_and_no_trace(log: Callable[[], list[str]]) -> None:
    try:
        fail()
    except BusError:
        logging.getLogger("twin.any").exception("write=failed")
    (line,) = log()
    assert line.endswith(" ERROR twin.any write=failed BusError: the bus is away")
    assert "Traceback" not in line
    assert "test_process" not in line


def test_an_error_that_is_none_is_no_error_of_the_log() -> None:
    record = logging.LogRecord("n", logging.WARNING, "", 1, "m", (), (None, None, None))
    assert process._OneLine("%(message)s").format(record).strip() == "m"


def test_a_fact_may_be_added_while_others_are_read() -> None:
    health = Health("p", lambda: 0)
    health.fact("a", lambda: health.fact("b", lambda: 1))
    assert health.report()["a"] is None
