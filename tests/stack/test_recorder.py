"""``colossus record`` on a real Kafka: byte for byte, through a broker that goes away, and after a kill."""

import json
import os
import random
import secrets
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.stack.servers.kafka import Kafka
from tests.stack.servers.running import free_ports
from tests.stack.theatre import Theatre
from twin.bus.access import KafkaAccess
from twin.bus.kafka import KafkaBus
from twin.events.alarm import Alarm
from twin.events.control import Command
from twin.events.topics import TOPICS, Topic
from twin.recording.item import Item
from twin.recording.reader import Recording
from twin.recording.recorder import RECORDED
from twin.recording.repair import repair

PATIENCE = 300
STOP_S = 60.0
Message = tuple[int, int, int, bytes | None, bytes | None, tuple[tuple[str, bytes], ...]]


class Recorder:
    """A process ``colossus record``, as a user starts it."""

    def __init__(self, path: Path, environment: dict[str, str], *flags: str) -> None:
        self.path = path
        with path.with_suffix(".log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", "twin", "record", "-o", str(path), *flags],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=os.environ | {"COLOSSUS_HEALTH_PORT": "0"} | environment,
                start_new_session=True,
            )
        assert self._process.stdout is not None
        self.expected = self._process.stdout.readline()
        self.greeting = self._process.stdout.readline()
        assert str(path) in self.greeting, path.with_suffix(".log").read_text()

    def health(self) -> dict[str, object]:
        url = self.greeting.split()[-1]
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310
                told: dict[str, object] = json.load(answer)
        except urllib.error.HTTPError as exc:  # it is not well, and says how
            told = json.load(exc)
        return told

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGINT) -> str:
        """End it; return what it printed at its end."""
        self.send(number)
        said, _ = self._process.communicate(timeout=STOP_S)
        assert self._process.returncode == (0 if number != signal.SIGKILL else -signal.SIGKILL)
        return said

    def wait(self) -> str:
        """Wait for its own end."""
        said, _ = self._process.communicate(timeout=STOP_S)
        assert self._process.returncode == 0
        return said

    def log(self) -> str:
        return self.path.with_suffix(".log").read_text()


@pytest.fixture
def bus(kafka: Kafka) -> Iterator[KafkaBus]:
    with closing(KafkaBus(KafkaAccess(kafka.address), name="test")) as bus:
        yield bus


@pytest.fixture
def record(kafka: Kafka, tmp_path: Path) -> Iterator[Callable[..., Recorder]]:
    """A function that begins to record into a new file."""
    begun: list[Recorder] = []

    def begin(*flags: str, **environment: str) -> Recorder:
        settings = {"COLOSSUS_KAFKA": kafka.address, "COLOSSUS_DATA_DIR": str(tmp_path / "data"), **environment}
        begun.append(Recorder(tmp_path / f"{len(begun)}.mcap", settings, *flags))
        return begun[-1]

    yield begin
    for one in begun:
        if one._process.poll() is None:
            one.end(signal.SIGKILL)


def new_topic(bus: KafkaBus, partitions: int = 1) -> str:
    name = f"foreign.{secrets.token_hex(6)}"
    bus.create_topics([Topic(name, Command, partitions, "any", "event", retention_s=10**9)])
    return name


def until(so: Callable[[], bool], what: str) -> None:
    for _ in range(PATIENCE):
        if so():
            return
        threading.Event().wait(0.1)
    raise AssertionError(what)


def on_the_bus(bus: KafkaBus, topic: str) -> list[Message]:
    with closing(bus.read([topic], start="beginning")) as reader:
        records = reader.read_up(30.0)
    return sorted((r.partition, r.offset, r.timestamp_ms, r.key, r.value, r.headers) for r in records)


def in_the_file(items: list[Item], topic: str) -> list[Message]:
    """Return a topic's messages, checked to be in order per partition."""
    mine = [(i.partition, i.offset, i.timestamp_ms, i.key, i.value, i.headers) for i in items if i.topic == topic]
    for partition in {one[0] for one in mine}:
        offsets = [one[1] for one in mine if one[0] == partition]
        assert offsets == sorted(set(offsets))
    return sorted(mine)


def read(path: Path) -> list[Item]:
    with Recording(path) as recording:
        return list(recording.items())


def refused(kafka: Kafka, path: Path, *flags: str, **environment: str) -> str:
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "twin", "record", "-o", str(path), *flags],
        capture_output=True,
        text=True,
        env={"PATH": "", "COLOSSUS_KAFKA": kafka.address, **environment},
        timeout=90,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


# -- anybody's topics


def test_foreign_topics_are_recorded_byte_for_byte(bus: KafkaBus, record: Callable[..., Recorder]) -> None:
    chance = random.Random(1)  # noqa: S311
    topic, other = new_topic(bus, 3), new_topic(bus)
    recorder = record("--topics", topic, "--topics", f"{other[:-1]}?")
    assert "unknown (nothing came" in recorder.expected
    for n in range(2000):
        bus.publish(
            topic,
            chance.choice([None, b"", chance.randbytes(chance.randrange(5000)), b'{"n": %d}' % n]),
            key=chance.choice([None, b"", b"\x00\xff", chance.randbytes(20)]),
            partition=chance.randrange(3),
            headers=[("h", chance.randbytes(4)), ("h", b"")][: chance.randrange(3)],
        )
    bus.publish(other, bytes(900_000), key=b"large")
    bus.flush()
    until(lambda: recorder.health()["messages"] == 2001, "all is flushed")
    said = recorder.end()
    assert "2,001 messages, 0 lost" in said
    items = read(recorder.path)
    assert in_the_file(items, topic) == on_the_bus(bus, topic)
    assert in_the_file(items, other) == on_the_bus(bus, other)
    assert recorder.log() == ""


def test_a_broker_that_goes_away_costs_nothing(kafka: Kafka, bus: KafkaBus, record: Callable[..., Recorder]) -> None:
    topic = new_topic(bus, 3)
    recorder = record("--topics", topic)
    stop, sent = threading.Event(), 0

    def send() -> None:
        nonlocal sent
        while not stop.wait(0.005):
            bus.publish(topic, b"%d" % sent, key=b"%d" % (sent % 7))
            sent += 1

    sending = threading.Thread(target=send)
    sending.start()
    try:
        for kill in (False, True):
            threading.Event().wait(3.0)
            kafka.stop(kill=kill)
            threading.Event().wait(8.0)
            kafka.start()
        threading.Event().wait(3.0)
    finally:
        stop.set()
        sending.join()
    bus.flush(60.0)
    until(lambda: recorder.health()["messages"] == sent, f"all {sent} are flushed")
    until(lambda: recorder.health()["state"] == "ok", "it is well again")
    assert f"{sent:,} messages, 0 lost" in recorder.end()
    assert in_the_file(read(recorder.path), topic) == on_the_bus(bus, topic)
    assert [line.split("kafka=")[1][:4] for line in recorder.log().splitlines()] == ["away", "back"] * 2


def test_after_a_kill_the_file_holds_all_but_the_last_seconds(bus: KafkaBus, record: Callable[..., Recorder]) -> None:
    topic = new_topic(bus)
    recorder = record("--topics", topic)
    for n in range(300):
        bus.publish(topic, b"%d" % n * 50, key=b"k")
    bus.flush()
    until(lambda: recorder.health()["messages"] == 300, "it has flushed")
    bus.publish(topic, b"not flushed", key=b"k")
    bus.flush()
    recorder.end(signal.SIGKILL)
    mended = recorder.path.with_name("mended.mcap")
    repair(recorder.path, mended)
    assert in_the_file(read(mended), topic)[:300] == on_the_bus(bus, topic)[:300]


def test_what_cannot_be_recorded_is_one_line(kafka: Kafka, bus: KafkaBus, tmp_path: Path) -> None:
    topic, path = new_topic(bus), tmp_path / "refused.mcap"
    assert "'nowhere'" in refused(kafka, path, "--topics", "nowhere")
    assert "--for '2x'" in refused(kafka, path, "--topics", topic, "--for", "2x")
    assert "--full exclude" in refused(kafka, path, "--topics", topic, "--full")
    assert "colossus topics create" in refused(kafka, path, COLOSSUS_NAMESPACE="nobody")
    nobody = f"127.0.0.1:{free_ports(1)[0]}"
    assert nobody in refused(kafka, path, "--topics", topic, COLOSSUS_KAFKA=nobody)
    assert not path.exists()
    path.write_bytes(b"there")
    assert "is there already" in refused(kafka, path, "--topics", topic)
    assert path.read_bytes() == b"there"


# -- a run of the twin


@pytest.fixture
def theatre(theatre_of: Callable[[str], Theatre]) -> Theatre:
    return theatre_of("mini")


def test_a_run_is_recorded_and_gpus_come_on_command_and_around_an_alarm(
    theatre: Theatre, record: Callable[..., Recorder]
) -> None:
    theatre.start("producers", "producers-1")
    theatre.until(lambda: bool(theatre.controls), 60.0, "a run")
    theatre.run_ticks(5)
    recorder = record(**theatre.environment)
    assert "GB per hour, and" in recorder.expected
    theatre.run_ticks(10)
    recorder.send(signal.SIGUSR1)
    theatre.run_ticks(10)
    alarm = Alarm(
        rule="hot", asset="R0001", priority=1, state="raised", raised_tick=1, value=1.0, limit=1.0, cause_path=(),
        suppressed_n=0, text="",
    )  # fmt: skip
    theatre.send("alarms", "hot@R0001", alarm)
    theatre.run_ticks(5)
    recorder.end(signal.SIGTERM)
    items = read(recorder.path)
    assert {item.topic for item in items} >= {"telemetry.gpu", "telemetry.grid", "run.control", "alarms"}
    on_bus = on_the_bus(theatre.bus, theatre.name("telemetry.gpu"))
    gpus = in_the_file(items, "telemetry.gpu")
    assert len(gpus) > 8 * 20
    assert set(gpus) <= set(on_bus)
    for partition in {one[0] for one in gpus}:
        offsets = [one[1] for one in gpus if one[0] == partition]
        assert offsets == list(range(offsets[0], offsets[0] + len(offsets)))
    with Recording(recorder.path) as recording:
        assert recording.facts["run"] == theatre.control.run
        assert recording.facts["namespace"] == theatre.namespace
        assert json.loads(recording.facts["topics"])["telemetry.gpu"] == 24
        assert json.loads(dict(recording.metadata())[RECORDED]["lost"]) == {}
        assert recording.closed_by == "stopped by a signal"


def test_an_instructors_recording_holds_all_topics_and_the_snapshots(
    theatre: Theatre, record: Callable[..., Recorder]
) -> None:
    theatre.start("producers", "producers-1")
    theatre.until(lambda: bool(theatre.controls), 60.0, "a run")
    theatre.run_ticks(1)
    recorder = record("--full", "--instructor", "--for", "15s", **theatre.environment)
    assert theatre.ask("snapshot").error is None
    recorder.wait()
    items = read(recorder.path)
    for topic in TOPICS:
        on_bus = on_the_bus(theatre.bus, theatre.name(topic.name))
        mine = in_the_file(items, topic.name)
        assert set(mine) <= set(on_bus)
        assert bool(mine) or topic.name not in ("telemetry.gpu", "run.requests", "instructor.snapshots")
    with Recording(recorder.path) as recording:
        (attached,) = recording.attachments()
        assert attached.name.startswith(f"snapshots/{theatre.control.run}/")
        assert recording.closed_by == "its 15 s are over"
