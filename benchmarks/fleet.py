"""Processes of the stack, started as a user starts them: ``colossus up …``, each apart."""

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twin.errors import StartError

START_S = 60.0
STOP_S = 40.0


class DidNotStartError(StartError):
    """A process ended before it had begun; holds what it said."""


class Member:
    """One process.

    Attributes
    ----------
    kind, name
        What it is, and what it is called.
    greeting
        The first line that it printed.
    """

    def __init__(self, kind: str, name: str, arguments: list[str], environment: Mapping[str, str], log: Path) -> None:
        self.kind = kind
        self.name = name
        self.log = log
        with log.open("ab") as errors:
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", "twin", "up", kind, "--name", name, *arguments],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=os.environ | environment,
                start_new_session=True,
            )
        self.pid = self._process.pid
        self.greeting = ""

    def wait_started(self) -> str:
        """Return its first line.

        Raises
        ------
        DidNotStartError
            It ended instead.
        """
        assert self._process.stdout is not None  # noqa: S101
        timer = threading.Timer(START_S, self._process.kill)
        timer.start()
        self.greeting = self._process.stdout.readline()
        timer.cancel()
        if not self.greeting:
            raise DidNotStartError(f"{self.name}: {self.log.read_text(errors='replace')[-2000:]}")
        return self.greeting

    def read_line(self) -> str:
        """Return the next line that it printed."""
        assert self._process.stdout is not None  # noqa: S101
        return self._process.stdout.readline()

    def health(self) -> dict[str, Any]:
        """Ask how it does."""
        url = self.greeting.rpartition(" ")[2].strip()
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310
                told: dict[str, Any] = json.load(answer)
        except urllib.error.HTTPError as exc:
            told = json.load(exc)
        return told

    def runs(self) -> bool:
        """Tell whether it has not ended."""
        return self._process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal; one that has ended hears none."""
        self._process.send_signal(number)

    def wait(self, seconds: float = STOP_S) -> int:
        """Wait for its end, and return its exit code; one that does not end is killed."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()
        finally:
            if self._process.stdout is not None:
                self._process.stdout.close()


class Fleet:
    """All processes of one namespace.

    Parameters
    ----------
    environment
        Their ``COLOSSUS_*`` settings; those that are started later get what it says by then.
    folder
        For their logs.
    """

    def __init__(self, environment: Mapping[str, str], folder: Path) -> None:
        self.environment = {"COLOSSUS_HEALTH_PORT": "0", **environment}
        self._folder = folder
        self.members: dict[str, Member] = {}

    def begin(self, kind: str, name: str, *arguments: str) -> Member:
        """Start a process; it is not waited for."""
        member = Member(kind, name, list(arguments), self.environment, self._folder / f"{name}.log")
        self.members[name] = member
        return member

    def start(self, kind: str, name: str, *arguments: str) -> Member:
        """Start a process and wait until it works."""
        member = self.begin(kind, name, *arguments)
        member.wait_started()
        return member

    def end(self, name: str, *, kill: bool = False) -> int:
        """End a process with a goodbye, or without; return its exit code."""
        member = self.members.pop(name)
        member.signal(signal.SIGKILL if kill else signal.SIGTERM)
        return member.wait()

    def end_all(self) -> dict[str, int]:
        """End all; return their exit codes."""
        for member in self.members.values():
            member.signal(signal.SIGTERM)
        codes = {name: member.wait() for name, member in self.members.items()}
        self.members.clear()
        return codes
