"""The command line: what it prints, and that whatever is wrong is one line and exit code 2."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from twin.cli.options import past_ms
from twin.errors import SettingInvalid
from twin.events.topics import TOPICS
from twin.settings import load_settings
from twin.stack import open_history


def colossus(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603  (our own program)
        [sys.executable, "-m", "twin", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", **environment},
        check=False,
    )


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("colossus: ")]
    assert len(lines) == 1, done.stderr
    for word in words:
        assert word in lines[0]


def test_sites_and_topics_are_listed() -> None:
    assert {line.split()[0] for line in colossus("site", "list").stdout.splitlines()} == {"colossus1", "mini"}
    shown = colossus("topics", "list").stdout
    assert [line.split()[0] for line in shown.splitlines()[1:]] == [topic.name for topic in TOPICS]
    assert "H100" in colossus("site", "show", "mini").stdout


def test_the_same_seed_gives_the_same_hash_with_a_restore_in_the_middle_too() -> None:
    def state_hash(*more: str) -> str:
        done = colossus("bench", "plant", "--site", "mini", "--hours", "0.05", "--json", *more)
        figures = json.loads(done.stdout)
        assert {"x_realtime", "gpu_updates_per_s", "peak_rss_mb", "final_rss_mb"} <= set(figures)
        return str(figures["state_hash"])

    first = state_hash("--seed", "7")
    assert state_hash("--seed", "7", "--restore") == first
    assert state_hash("--seed", "8") != first


def test_an_unknown_site_is_named_with_those_that_there_are() -> None:
    refused(colossus("site", "show", "colossus9"), "colossus9", "mini")


def test_a_broken_site_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("schema: site/1\nid: mine\nhalls: 3\n")
    done = colossus("demo", "--site", str(path), "--no-browser", "--data-dir", str(tmp_path / "data"))
    assert done.returncode == 2
    assert "mine.yaml" in done.stderr
    assert "halls" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_setting() -> None:
    refused(colossus("demo", "--no-browser", COLOSSUS_CONSOLE_PORT="abc"), "COLOSSUS_CONSOLE_PORT", "abc")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--weather-at", "13-40T99:00"), ("13-40T99:00", "MM-DDTHH:MM")),
        (("--from", "yesterday"), ("yesterday", "-6h")),
        (("--speed", "-3"), ("-3", "allowed")),
    ],
)
def test_a_wrong_flag(tmp_path: Path, flags: tuple[str, ...], words: tuple[str, ...]) -> None:
    refused(colossus("demo", "--site", "mini", "--no-browser", "--data-dir", str(tmp_path / "d"), *flags), *words)


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = colossus("demo", "--site", "mini", "--no-browser", "--port", port, "--data-dir", str(tmp_path / "d"))
    refused(done, port, "in use")


def test_a_data_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "d").write_text("")
    refused(colossus("demo", "--site", "mini", "--no-browser", "--data-dir", str(tmp_path / "d")), str(tmp_path / "d"))


def test_no_console_runs(tmp_path: Path) -> None:
    refused(colossus("run", "show", COLOSSUS_DATA_DIR=str(tmp_path)), "make demo", "COLOSSUS_CONSOLE_URL")


def test_a_console_that_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    done = colossus("run", "show", COLOSSUS_CONSOLE_URL=f"http://127.0.0.1:{port}", COLOSSUS_CONSOLE_TOKEN="x" * 40)
    refused(done, str(port), "make demo")


@pytest.mark.parametrize(
    ("way", "words"),
    [
        ({"URL": "http://127.0.0.1:1"}, ("COLOSSUS_CONSOLE_TOKEN is missing",)),
        ({"TOKEN": "x" * 40}, ("COLOSSUS_CONSOLE_URL is missing",)),
        ({"URL": "http://[::1", "TOKEN": "x" * 40}, ("http://[::1", "http://host:port")),
        ({"URL": "http://127.0.0.1:1", "TOKEN": "\u00e4" * 40}, ("COLOSSUS_CONSOLE_TOKEN",)),
    ],
)
def test_a_way_to_a_console_that_cannot_be_one(tmp_path: Path, way: dict[str, str], words: tuple[str, ...]) -> None:
    given = {f"COLOSSUS_CONSOLE_{name}": value for name, value in way.items()}
    refused(colossus("run", "show", COLOSSUS_DATA_DIR=str(tmp_path), **given), *words)


def test_a_console_file_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "console.json").mkdir()
    done = colossus("demo", "--site", "mini", "--no-browser", "--port", "0", "--data-dir", str(tmp_path))
    refused(done, "console.json", "COLOSSUS_DATA_DIR")


# -- the stack, where it is not there


def free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"127.0.0.1:{free.getsockname()[1]}"


@pytest.mark.parametrize("process", ["history", "console"])
def test_what_needs_a_history_says_so_before_anything_else(tmp_path: Path, process: str) -> None:
    done = colossus("up", process, "--site", "mini", COLOSSUS_DATA_DIR=str(tmp_path))
    refused(done, "COLOSSUS_INFLUX_URL", "COLOSSUS_INFLUX_TOKEN", "colossus store init")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("process", ["producers", "rows", "site"])
def test_no_process_of_the_stack_starts_without_a_kafka(tmp_path: Path, process: str) -> None:
    done = colossus("up", process, "--site", "mini", COLOSSUS_DATA_DIR=str(tmp_path))
    refused(done, "COLOSSUS_KAFKA is not set", "COLOSSUS_KAFKA=127.0.0.1:9092", "colossus demo")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


@pytest.mark.parametrize("reads_only", [False, True])
@pytest.mark.parametrize("known", [{}, {"influx_url": "http://127.0.0.1:1"}, {"influx_token": "x"}])
def test_a_history_without_an_influxdb_says_what_to_set(known: dict[str, str], reads_only: bool) -> None:
    with pytest.raises(SettingInvalid, match=r"COLOSSUS_INFLUX_URL and COLOSSUS_INFLUX_TOKEN .*colossus store init"):
        open_history(load_settings(**known), reads_only=reads_only)


def test_topics_are_not_made_where_nobody_listens() -> None:
    address = free_address()
    done = colossus("topics", "create", COLOSSUS_KAFKA=address)
    refused(done, address, "make servers", "COLOSSUS_KAFKA")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("verb", "known"),
    [("prune", {}), ("init", {}), ("init", {"URL": "http://127.0.0.1:1"}), ("init", {"ADMIN_TOKEN": "x" * 40})],
)
def test_a_store_is_not_touched_without_its_address_and_a_token(verb: str, known: dict[str, str]) -> None:
    done = colossus("store", verb, **{f"COLOSSUS_INFLUX_{name}": value for name, value in known.items()})
    refused(done, "COLOSSUS_INFLUX_URL", "COLOSSUS_INFLUX_ADMIN_TOKEN (or _FILE)")
    assert done.stderr.count("\n") == 1


def test_a_store_is_not_made_where_nobody_listens(tmp_path: Path) -> None:
    address = free_address()
    way = {"COLOSSUS_INFLUX_URL": f"http://{address}", "COLOSSUS_INFLUX_ADMIN_TOKEN": "not-to-be-seen"}
    done = colossus("store", "init", "--tokens", str(tmp_path / "tokens"), **way)
    refused(done, address, "COLOSSUS_INFLUX_URL")
    assert "not-to-be-seen" not in done.stderr
    assert not (tmp_path / "tokens").exists()


def test_the_stream_is_not_measured_without_servers() -> None:
    done = colossus("bench", "stream", "--site", "mini")
    refused(done, "COLOSSUS_KAFKA", "COLOSSUS_INFLUX_URL", "COLOSSUS_INFLUX_ADMIN_TOKEN", "--embedded")
    assert done.stderr.count("\n") == 1


def test_how_long_ago() -> None:
    assert past_ms(None, 5) is None
    assert [past_ms(text, 10**9) for text in ("-90s", "-1.5m", "-2h", "-1d")] == [
        10**9 - 90_000,
        10**9 - 90_000,
        10**9 - 7_200_000,
        10**9 - 86_400_000,
    ]
    for bad in ("6h", "-6", "-h", "-6y", ""):
        with pytest.raises(SettingInvalid, match="-6h"):
            past_ms(bad, 0)
