"""``colossus record`` beside a demo: what it asks of the console, and what it says."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from twin.cli.record import record
from twin.errors import RecordingError

LEVEL = {"topics": [], "full": True, "instructor": False}


class Console:
    """Records what is asked of it; each look at the recording is a step of the test."""

    def __init__(self, *steps: Callable[[], object], problem: str | None = None) -> None:
        self.steps = list(steps)
        self.asked: list[object] = []
        self.told: dict[str, Any] = {
            "state": "recording", "path": "r.mcap", "messages": 7, "lost": 0, "bytes": 2e6, "problem": problem,
        }  # fmt: skip

    def __call__(self, _settings: object) -> "Console":
        return self

    def expected_size(self, **level: object) -> dict[str, object]:
        self.asked.append(level)
        return {"bytes_per_h": 6.2e9, "black_box_bytes": 0.0, "how": "by what came in the last 3 s"}

    def record(self, **body: object) -> dict[str, Any]:
        self.asked.append(body)
        return self.told

    def recording(self) -> dict[str, Any]:
        if self.steps:
            self.steps.pop(0)()
        return self.told

    def write_black_box(self) -> None:
        assert self.told["state"] == "recording"
        self.asked.append("black box")

    def stop_recording(self) -> None:
        self.asked.append("stop")
        self.told["state"] = "ended"

    def ends(self) -> None:
        self.told["state"] = "ended"


def send(number: signal.Signals) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


@pytest.fixture
def beside(monkeypatch: pytest.MonkeyPatch) -> Callable[[Console], Console]:
    """Let the verb find a console, and look often."""

    def beside(console: Console) -> Console:
        monkeypatch.setattr("twin.console.client.ConsoleClient", console)
        return console

    monkeypatch.delenv("COLOSSUS_KAFKA", raising=False)
    monkeypatch.setattr(sys.modules[record.__module__], "LOOK_EVERY_S", 0.01)  # the package has a verb of its name
    return beside


def test_the_size_is_told_before_it_records(
    beside: Callable[[Console], Console], capsys: pytest.CaptureFixture[str]
) -> None:
    console = beside(Console(send(signal.SIGINT)))
    record(full=True)
    assert console.asked == [LEVEL, {"name": None, "seconds": None, **LEVEL}, "stop"]
    assert capsys.readouterr().out.splitlines() == [
        "expected size: 6.20 GB per hour (by what came in the last 3 s)",
        "records into r.mcap; stop with Ctrl-C",
        "r.mcap: 7 messages, 0 lost, 2.0 MB",
    ]


def test_sigusr1_writes_the_black_box_and_ends_nothing(beside: Callable[[Console], Console]) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGINT)]
    console = beside(Console(send(signal.SIGUSR1), lambda: None, send(signal.SIGUSR1), send(signal.SIGTERM)))
    record(output=Path("mine.mcap"), lasts="30m")
    assert console.asked[1] == {
        "name": "mine.mcap",
        "seconds": 1800.0,
        "topics": [],
        "full": False,
        "instructor": False,
    }
    assert console.asked[2:] == ["black box", "black box", "stop"]
    assert [signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGINT)] == before


def test_one_that_ends_by_itself_is_asked_nothing_more(beside: Callable[[Console], Console]) -> None:
    console = beside(Console(problem="the disk is full"))
    console.steps = [send(signal.SIGUSR1), console.ends]
    with pytest.raises(RecordingError, match="the disk is full"):
        record()
    assert console.asked[2:] == ["black box"]
