"""The demo as a user meets it: started by the command line, asked and ordered by other command lines, stopped."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.producers.recorded import record
from tests.test_cli import colossus, refused


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "twin", "demo", "--site", "mini", "--no-browser", "--no-operator", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "COLOSSUS_DATA_DIR": str(tmp_path)},
    ) as process:
        yield process
        process.kill()


def test_a_recording_is_taken_over_and_what_was_rebuilt_is_told(demo: subprocess.Popen[str], tmp_path: Path) -> None:
    (tmp_path / "recordings").mkdir()
    record(tmp_path / "recordings" / "run.mcap", {}, 40)
    assert demo.stdout is not None
    assert "Ctrl-C" in [demo.stdout.readline() for _ in range(4)][-1]

    def order(*words: str) -> subprocess.CompletedProcess[str]:
        return colossus(*words, COLOSSUS_DATA_DIR=str(tmp_path))

    assert order("replay", "run.mcap", "--end-run", "--paused").stdout.startswith("the demo plays run.mcap: paused")
    taken = order("takeover", "run.mcap", "--at", "+30s", "--lead", "5")
    assert taken.returncode == 0, taken.stderr
    rebuilt, yours = taken.stdout.splitlines()
    assert re.fullmatch(
        r"the plant of run \S+ was rebuilt at tick \d+: no difference: \d+ frames compared, .*", rebuilt
    )
    assert yours.startswith("you have the plant")

    accepted = order("command", "cdu.select_pump", "cdu-R0007", "pump=B")
    assert (accepted.returncode, accepted.stdout) == (0, "cdu.select_pump cdu-R0007: accepted\n")
    refused(order("command", "cdu.select_pump", "cdu-R0007", "pump=C"), "'C' is not allowed", "A, B")


def test_orders_from_another_command_line(demo: subprocess.Popen[str], tmp_path: Path) -> None:
    assert demo.stdout is not None
    greeting = [demo.stdout.readline() for _ in range(4)]
    (address,) = set(re.findall(r"http://127\.0\.0\.1:\d+", "".join(greeting)))
    assert int(address.rpartition(":")[2]) > 0
    door = tmp_path / "console.json"
    assert door.stat().st_mode & 0o777 == 0o600

    def order(*words: str) -> subprocess.CompletedProcess[str]:
        return colossus(*words, COLOSSUS_DATA_DIR=str(tmp_path))

    assert re.search(r"state +running", order("run", "show").stdout)

    applied = order("inject", "chiller_trip", "cooling-2")
    assert (applied.returncode, applied.stdout) == (0, "chiller_trip cooling-2: applied\n")
    rejected = order("inject", "chiller_trip", "turbine-1")
    assert rejected.returncode == 1
    assert rejected.stdout.startswith("chiller_trip turbine-1: rejected: ")
    refused(order("inject", "chiller_trip", "cooling-9"), "cooling-9")

    rejected = order("command", "chiller.start", "chiller-13")
    assert rejected.returncode == 1
    assert rejected.stdout == "chiller.start chiller-13: rejected: chiller-13 is tripped: reset it first\n"
    accepted = order("command", "chiller.reset", "chiller-13")
    assert (accepted.returncode, accepted.stdout) == (0, "chiller.reset chiller-13: accepted\n")

    assert order("run", "pause").returncode == 0
    refused(order("command", "chiller.start", "chiller-13"), "paused", "colossus run resume")
    refused(order("run", "pause"), "pause")
    assert order("run", "resume").returncode == 0

    demo.send_signal(signal.SIGINT)
    _, said = demo.communicate(timeout=30)
    assert demo.returncode == 0, said
    assert "Traceback" not in said
    assert not door.exists()
