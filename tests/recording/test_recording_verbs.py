"""``colossus recording …``: what the verbs print, and that whatever is wrong is one line and an exit code."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from mcap.opcode import Opcode

from tests.recording.samples import all_of, by_partition, ends_of, sample_items, write_sample


def recording(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603  (our own program)
        [sys.executable, "-m", "twin", "recording", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"},
        check=False,
    )


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.startswith("colossus: ")
    assert done.stderr.count("\n") == 1
    for word in words:
        assert word in done.stderr


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample(tmp_path_factory.mktemp("sample") / "sample.mcap")


@pytest.fixture(scope="module")
def broken(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a recording with a damaged chunk that was cut off."""
    content = bytearray(sample.read_bytes()[: ends_of(sample, Opcode.CHUNK)[8] + 5])
    content[ends_of(sample, Opcode.CHUNK)[3] - 15] ^= 0xFF
    path = tmp_path_factory.mktemp("broken") / "broken.mcap"
    path.write_bytes(content)
    return path


def test_info_prints_a_line_for_each_topic(sample: Path) -> None:
    done = recording("info", sample)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["site", "mini"] in lines
    assert "2026-11-24T07:20:00.000Z to 2026-11-24T07:20:05.500Z (5.5 s)" in done.stdout
    assert ["telemetry.gpu", "12", "2", "2", "0.00", "2.18", "1.0", "2026-11-24T07:20:00.000Z", "0"] in lines
    assert ["plant-3.zst", "240"] in lines


def test_info_gives_the_same_to_programs(sample: Path) -> None:
    told = json.loads(recording("info", sample, "--json").stdout)
    assert told["facts"]["site"] == "mini"
    assert {topic["topic"]: topic["count"] for topic in told["topics"]} == {"telemetry.gpu": 12, "orders": 6, "bare": 6}
    assert told["closed_by"] == "the test is over"


def test_verify_of_a_whole_file(sample: Path) -> None:
    done = recording("verify", sample)
    assert done.returncode == 0
    assert done.stdout == (f"0 findings in 24 messages, 12 chunks, 2 attachments, {sample.stat().st_size} bytes\n")
    assert json.loads(recording("verify", sample, "--json").stdout)["findings"] == []


def test_verify_of_a_broken_one(broken: Path) -> None:
    done = recording("verify", broken)
    assert (done.returncode, done.stderr) == (1, "")
    assert "it was cut off, not closed, or is damaged" in done.stdout
    done = recording("verify", broken, "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["findings"][0]["where"].startswith("byte ")


def test_repair_says_what_was_saved_and_what_was_lost(broken: Path) -> None:
    before = broken.read_bytes()
    done = recording("repair", broken)
    assert done.returncode == 0, done.stderr
    assert broken.read_bytes() == before
    target = broken.with_name("broken.repaired.mcap")
    assert done.stdout.startswith(f"{target}: 2026-11-24T07:20:00.000Z to ")
    assert "lost: a chunk at byte " in done.stdout
    assert "2026-11-24T07:20:01.250Z to 2026-11-24T07:20:01.500Z (0.2 s)" in done.stdout
    assert "lost: the last 5 bytes: the file ends here" in done.stdout
    assert recording("verify", target).returncode == 0
    refused(recording("repair", broken), str(target), "there already")


def test_repair_of_a_whole_file_says_that_nothing_was_lost(sample: Path, tmp_path: Path) -> None:
    assert "nothing was lost" in recording("repair", sample, "-o", tmp_path / "a.mcap").stdout


def test_cut_filter_and_merge(sample: Path, tmp_path: Path) -> None:
    parts = [tmp_path / "head.mcap", tmp_path / "tail.mcap"]
    done = recording("cut", sample, "--to", "+3", "-o", parts[0])
    assert done.stdout.splitlines()[0] == (
        f"{parts[0]}: 2026-11-24T07:20:00.000Z to 2026-11-24T07:20:03.000Z (3.0 s), 2 attachments"
    )
    assert recording("cut", sample, "--from", "-2.5s", "-o", parts[1]).returncode == 0
    done = recording("merge", *parts, "-o", tmp_path / "whole.mcap")
    assert "2 messages were in several files, and are in it once" in done.stdout
    assert by_partition(all_of(tmp_path / "whole.mcap")) == by_partition(sample_items())
    done = recording("filter", sample, "--topics", "ord*", "--keys", "k1", "-o", tmp_path / "some.mcap")
    assert ["orders", "3"] in [line.split() for line in done.stdout.splitlines()]


def test_what_is_wrong_is_one_line(sample: Path, broken: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.mcap"
    refused(recording("info", tmp_path / "none.mcap"), "none.mcap", "No such file")
    refused(recording("info", broken), "cut off", "colossus recording repair")
    refused(recording("cut", sample, "--from", "+9", "-o", new), "+9", "2026-11-24T07:20:05.500Z")
    refused(recording("cut", sample, "--from", "soon", "-o", new), "'soon'", "+1m30s")
    refused(recording("cut", sample, "--from", "+3", "--to", "+2", "-o", new), "lies before")
    refused(recording("filter", sample, "--topics", "x", "-o", new), "it has bare, orders")
    refused(recording("merge", sample, "-o", new), "two recordings")
    refused(recording("export", sample, "power_w@R0001", "-o", tmp_path / "a.txt"), ".csv or .parquet")
    refused(recording("export", sample, "power_w@R0001", "-o", tmp_path / "a.csv"), "twin.rack", "is not in")
    assert list(tmp_path.iterdir()) == []
