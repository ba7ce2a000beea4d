"""A server in a process of its own: started, waited for, stopped by its id, started again on the same data."""

import os
import signal
import socket
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

LOOK_EVERY_S = 0.1
START_S = 180.0
STOP_S = 30.0


class DidNotStartError(Exception):
    """A server ended or did not answer in time; holds the end of its log."""


def free_ports(n: int) -> list[int]:
    """Return ports of loopback on which nobody listens."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [opened.getsockname()[1] for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports


class Server(ABC):
    """One server; its data, its log and its process id are in ``folder``."""

    name: str

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # there are secrets in it
        self._process: subprocess.Popen[bytes] | None = None
        self._log_from = 0

    @property
    def pid(self) -> int:
        """The process id; 0 if it does not run."""
        try:
            pid = int((self.folder / "pid").read_text())
        except (FileNotFoundError, ValueError):
            return 0
        return pid if _runs(pid, self.folder) else 0

    @abstractmethod
    def command(self) -> Sequence[str]:
        """Return how it is started."""

    def environment(self) -> Mapping[str, str]:
        """Return further variables of its environment."""
        return {}

    @abstractmethod
    def ready(self) -> bool:
        """Tell whether it answers."""

    @abstractmethod
    def prepare(self) -> None:
        """Make what it needs before it starts."""

    def start(self) -> None:
        """Start it and wait until it answers; one that runs is left alone."""
        if self.pid:
            return
        self.prepare()
        with (self.folder / "log").open("ab") as log:
            self._log_from = log.tell()
            # In a session of its own: an interrupt of the terminal is not for it.
            self._process = subprocess.Popen(  # noqa: S603
                self.command(),
                cwd=self.folder,
                env=os.environ | self.environment(),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        (self.folder / "pid").write_text(str(self._process.pid))
        until_s = time.monotonic() + START_S
        while not self.ready():
            if self._process.poll() is not None or time.monotonic() > until_s:
                self.stop()
                raise DidNotStartError(f"{self.name} did not start:\n{self.log_since_start()[-3000:]}")
            _wait(LOOK_EVERY_S)

    def log_since_start(self) -> str:
        """Return what it has written since it was started last."""
        return (self.folder / "log").read_bytes()[self._log_from :].decode(errors="replace")

    def stop(self, *, kill: bool = False) -> None:
        """Stop it, or kill it; one that does not run is no error."""
        pid = self.pid
        if pid:
            os.kill(pid, signal.SIGKILL if kill else signal.SIGTERM)
            until_s = time.monotonic() + STOP_S
            while _runs(pid, self.folder):
                if self._process is not None:
                    self._process.poll()  # a child that has ended stays until it is asked for
                if time.monotonic() > until_s:
                    os.kill(pid, signal.SIGKILL)
                _wait(LOOK_EVERY_S)
        if self._process is not None:
            self._process.wait()
            self._process = None
        (self.folder / "pid").unlink(missing_ok=True)


def _runs(pid: int, folder: Path) -> bool:
    """Tell whether a process runs that was started in a folder: an id may be another's by now."""
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()) == folder.resolve()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


def _wait(seconds: float) -> None:
    threading.Event().wait(seconds)
