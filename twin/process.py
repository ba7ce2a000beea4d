"""One process of the stack: its signals, its log, and how it does, told at an HTTP address."""

import gc
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import FrameType
from typing import Any, Literal, NoReturn

from twin.errors import StartError, TwinError

logger = logging.getLogger(__name__)

State = Literal["starting", "ok", "waits", "stopping"]
CHECK_EVERY_S = 2.0
_OK, _UNAVAILABLE, _NOT_FOUND = 200, 503, 404


class Health:
    """What a process says of itself; any thread may write and read it.

    Parameters
    ----------
    process
        Its name.
    now_ms
        The wall clock [ms].
    """

    def __init__(self, process: str, now_ms: Callable[[], int]) -> None:
        self.process = process
        self._now_ms = now_ms
        self._lock = threading.Lock()
        self._state: State = "starting"
        self._since_ms = now_ms()
        self._waits_for: dict[str, str] = {}
        self._facts: dict[str, Callable[[], object]] = {}

    def fact(self, name: str, read: Callable[[], object]) -> None:
        """Tell one thing more, read whenever somebody asks."""
        with self._lock:
            self._facts[name] = read

    def enter(self, state: State) -> None:
        """Say in which part of its life the process is."""
        with self._lock:
            self._enter(state)

    def waits_for(self, what: str, reason: str | None) -> None:
        """Say that something is away, or with no reason that it is there; the log gets a line at each change."""
        with self._lock:
            before = self._waits_for.pop(what, None)
            if reason is not None:
                self._waits_for[what] = reason
            if self._state in ("ok", "waits"):
                self._enter("waits" if self._waits_for else "ok")
        if reason is not None and before is None:
            logger.warning("process=%s %s=away reason=%s", self.process, what, reason)
        elif reason is None and before is not None:
            logger.warning("process=%s %s=back", self.process, what)

    def _enter(self, state: State) -> None:
        if state == "ok" and self._waits_for:
            state = "waits"
        if state != self._state:
            self._state, self._since_ms = state, self._now_ms()

    def report(self) -> dict[str, Any]:
        """Return all that it says: ``process, state, since_ms, waits_for`` and its facts."""
        with self._lock:
            told: dict[str, Any] = {
                "process": self.process,
                "state": self._state,
                "since_ms": self._since_ms,
                "waits_for": dict(self._waits_for),
            }
            facts = dict(self._facts)
        return told | {name: read() for name, read in facts.items()}


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that hung up."""


class HealthDoor:
    """``GET /health`` of one process: 200 while all is well, 503 while it starts, waits or stops.

    It answers from a thread of its own, so that a busy process answers too.

    Parameters
    ----------
    health
        What it tells.
    host, port
        Where it listens; port 0 is any free one.

    Raises
    ------
    StartError
        The port is in use, or the address is not of this machine.
    """

    def __init__(self, health: Health, host: str, port: int) -> None:
        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                report = health.report() if self.path == "/health" else {"error": "only /health is here"}
                code = _NOT_FOUND if "error" in report else _OK if report["state"] == "ok" else _UNAVAILABLE
                body = json.dumps(report).encode()
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing: it is asked every few seconds."""

        try:
            self._server = _Server((host, port), Answer)
        except OSError as exc:
            raise StartError(
                f"the health endpoint cannot listen on {host}:{port} ({exc.strerror}): end what listens there, or "
                "choose another (COLOSSUS_HEALTH_HOST, COLOSSUS_HEALTH_PORT)"
            ) from exc
        self.url = f"http://{host}:{self._server.server_address[1]}/health"
        self._thread = threading.Thread(target=self._server.serve_forever, name="health", daemon=True)

    def __enter__(self) -> "HealthDoor":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def watching(health: Health, checks: Mapping[str, Callable[[], None]]) -> Iterator[None]:
    """Look every few seconds whether what a process needs is there, in a thread of its own.

    Parameters
    ----------
    checks
        By name; each blocks for a few seconds at most and raises one of our errors when it is not there.
    """
    stop = threading.Event()

    def look() -> None:
        try:
            while not stop.is_set():
                for what, check in checks.items():
                    try:
                        check()
                    except TwinError as exc:
                        health.waits_for(what, str(exc))
                    else:
                        health.waits_for(what, None)
                stop.wait(CHECK_EVERY_S)
        finally:
            if not stop.is_set():  # whatever ended it: nobody looks any more, and what was said last must not stand
                health.waits_for("watch", "it has failed: restart this process")

    thread = threading.Thread(target=look, name="watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextmanager
def stop_on_signal(stop: Callable[[], object]) -> Iterator[None]:
    """Call ``stop`` on SIGINT and SIGTERM, in the main thread."""

    def told(_number: int, _frame: FrameType | None) -> None:
        stop()

    with ExitStack() as restore:
        for number in (signal.SIGINT, signal.SIGTERM):
            restore.callback(signal.signal, number, signal.signal(number, told))
        yield


def leave_at_once(code: int) -> NoReturn:
    """End the process though threads of its libraries wait for what is away; its log is written."""
    logging.shutdown()
    os._exit(code)


class _OneLine(logging.Formatter):
    """One line a record: of an error its kind and text."""

    def formatException(self, ei: Any) -> str:  # noqa: N802  (the library's name)
        return "" if ei[0] is None else f"{ei[0].__name__}: {ei[1]}"

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).replace("\n", " ")


def be_punctual() -> None:
    """Let nothing of Python's own hold up a thread that must be in time, once all is imported and made.

    A look at all objects of a started process takes 50 ms; and a thread that wants the interpreter while another one
    computes gets it after a millisecond, not after five.
    """
    gc.freeze()
    sys.setswitchinterval(0.001)


def set_up_log() -> None:
    """Write warnings to standard error, a line each."""
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    for client in ("aiokafka", "kafka"):
        # They tell of every attempt to reach a broker that is away; ``Health`` tells of it once.
        logging.getLogger(client).setLevel(logging.CRITICAL)
