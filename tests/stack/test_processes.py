"""The processes of the stack as a user runs them: what they refuse, what they outlive, how they end."""

import asyncio
import secrets
import socket
import subprocess
import sys
from collections.abc import Callable

import httpx2
import pytest
from aiokafka import AIOKafkaProducer

from tests.stack.servers.kafka import Kafka
from tests.stack.servers.running import free_ports
from tests.stack.theatre import FOREIGN, Theatre
from twin.events.control import Command, CommandResult
from twin.events.head import split
from twin.events.instructor import Inject, Truth
from twin.events.topics import TOPICS, Topic

SECONDS = 60.0
APPS = ("rows", "site", "history")


@pytest.fixture
def theatre(theatre_of: Callable[[str], Theatre]) -> Theatre:
    return theatre_of("mini")


def refused(theatre: Theatre, *words: str, **environment: str) -> str:
    """Run a command line that must not start; return what it says: one line, exit code 2."""
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "twin", *words],
        capture_output=True,
        text=True,
        env={"PATH": "", **theatre.environment, **environment},
        timeout=90,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


# -- what is refused at the start


@pytest.mark.parametrize("kind", ["producers", *APPS, "console"])
def test_without_kafka_one_line_says_what_to_do(theatre: Theatre, kind: str) -> None:
    nobody = f"127.0.0.1:{free_ports(1)[0]}"
    said = refused(theatre, "up", kind, "--site", "mini", COLOSSUS_KAFKA=nobody)
    assert nobody in said
    assert "COLOSSUS_KAFKA" in said


@pytest.mark.parametrize("kind", ["history", "console"])
def test_without_influxdb_or_with_a_wrong_token_one_line_says_what_to_do(theatre: Theatre, kind: str) -> None:
    nobody = f"http://127.0.0.1:{free_ports(1)[0]}"
    assert nobody in refused(theatre, "up", kind, "--site", "mini", COLOSSUS_INFLUX_URL=nobody)
    said = refused(theatre, "up", kind, "--site", "mini", COLOSSUS_INFLUX_TOKEN=secrets.token_hex(32))
    assert "COLOSSUS_INFLUX_TOKEN" in said


def test_a_missing_topic_and_a_wrong_number_of_partitions_are_named(theatre: Theatre) -> None:
    said = refused(theatre, "up", "rows", "--site", "mini", COLOSSUS_NAMESPACE="nowhere")
    assert "nowhere.telemetry.gpu" in said
    assert "colossus topics create" in said
    (rack,) = (topic for topic in TOPICS if topic.name == "twin.rack")
    wrong = f"wrong{secrets.token_hex(3)}"
    theatre.bus.create_topics([Topic("twin.rack", rack.data, 3, rack.key, rack.rate)], wrong)
    theatre.bus.create_topics(TOPICS, wrong)
    for words in (("up", "site", "--site", "mini"), ("topics", "create")):
        said = refused(theatre, *words, COLOSSUS_NAMESPACE=wrong)
        assert f"{wrong}.twin.rack has 3 partitions, not 24" in said


def test_a_second_run_is_refused_and_so_is_a_port_in_use(theatre: Theatre) -> None:
    first = theatre.start("producers", "producers-1")
    said = refused(theatre, "up", "producers", "--site", "mini")
    assert "COLOSSUS_NAMESPACE" in said
    assert "is running" in said
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert "COLOSSUS_HEALTH_PORT" in refused(theatre, "up", "rows", "--site", "mini", COLOSSUS_HEALTH_PORT=port)
    assert first.runs()


def test_a_second_site_is_refused_and_one_that_follows_a_dead_one_waits_for_its_place(theatre: Theatre) -> None:
    theatre.start("site", "site-1")
    assert "an app site works in this namespace already" in refused(theatre, "up", "site", "--site", "mini")
    theatre.fleet.end("site-1", kill=True)
    assert theatre.start("site", "site-2").health()["state"] == "ok"


# -- what they outlive


def test_health_tells_what_is_away_and_that_it_came_back(theatre: Theatre) -> None:
    theatre.begin(*((kind, f"{kind}-1") for kind in APPS))
    plant = theatre.start("producers", "producers-1")
    members = [theatre.fleet.members[f"{kind}-1"] for kind in APPS]
    assert [member.health()["state"] for member in [*members, plant]] == ["ok"] * 4
    theatre.influx.stop()
    try:
        theatre.until(lambda: "influxdb" in members[2].health()["waits_for"], SECONDS, "history says so")
        assert [member.health()["state"] for member in [*members, plant]] == ["ok", "ok", "waits", "ok"]
    finally:
        theatre.influx.start()
    theatre.kafka.stop()
    try:
        for member in [*members, plant]:
            theatre.until(lambda one=member: "kafka" in one.health()["waits_for"], SECONDS, member.name)  # type: ignore[misc]
    finally:
        theatre.kafka.start()
    for member in [*members, plant]:
        theatre.until(lambda one=member: one.health()["state"] == "ok", SECONDS, member.name)  # type: ignore[misc]
    theatre.run_ticks(5)
    theatre.wait_settled(SECONDS)
    said = {name: theatre.log(name).splitlines() for name in theatre.fleet.members}
    assert all(line[:2] == "20" for lines in said.values() for line in lines), said  # a line each, and no traces


def test_foreign_and_corrupt_messages_stop_nobody(theatre: Theatre) -> None:
    theatre.begin(*((kind, f"{kind}-1") for kind in APPS))
    theatre.start("producers", "producers-1")
    theatre.until(lambda: bool(theatre.controls), SECONDS, "a run")
    broken = (b"", b"{", b"\x00\xff" * 50, b'{"head":{}}', b'{"head":{"schema":"telemetry.gpu/9"},"data":{}}', None)
    for topic in TOPICS:
        for value in broken:
            theatre.bus.publish(theatre.name(topic.name), value, key=FOREIGN)
    theatre.bus.flush()
    asyncio.run(send_lz4(theatre))
    theatre.start("rows", "rows-2")  # reads the compacted topics from their beginning
    theatre.run_ticks(10)
    assert theatre.fleet.end("producers-1") == 0
    theatre.wait_settled(SECONDS)
    letters = [split(record.value)[1] for record in theatre.records("dead.letter") if record.key != FOREIGN]
    assert len(letters) > len(broken) * 10
    sent_power_w, sent_rows = theatre.sent_of(theatre.control.run)
    assert {tick: power_w for tick, (power_w,) in theatre.pictures("power_w").items()} == sent_power_w
    assert theatre.store.stored("rack", theatre.control.run) == sent_rows


async def send_lz4(theatre: Theatre) -> None:
    """Send what not every reader could unpack, to every topic."""
    async with AIOKafkaProducer(bootstrap_servers=theatre.kafka.address, compression_type="lz4") as producer:
        for topic in TOPICS:
            await producer.send_and_wait(theatre.name(topic.name), b"foreign" * 100, key=FOREIGN)


def test_who_is_told_to_end_while_kafka_is_away_ends(theatre: Theatre) -> None:
    theatre.begin(*((kind, f"{kind}-1") for kind in APPS))
    theatre.start("producers", "producers-1")
    theatre.until(lambda: bool(theatre.controls), SECONDS, "a run")
    theatre.run_ticks(5)
    run = theatre.control.run
    theatre.kafka.stop(kill=True)
    try:
        assert theatre.fleet.end_all() == dict.fromkeys(("producers-1", *(f"{app}-1" for app in APPS)), 0)
    finally:
        theatre.kafka.start()
    theatre.begin(*((kind, f"{kind}-2") for kind in APPS))
    again = theatre.start("producers", "producers-2")  # nobody could be told that the run has ended
    assert f"run {run} gone on with" in again.greeting
    theatre.run_ticks(5)
    assert theatre.fleet.end("producers-2") == 0
    theatre.wait_settled(SECONDS)
    sent_power_w, sent_rows = theatre.sent_of(run)
    assert {tick: power_w for tick, (power_w,) in theatre.pictures("power_w").items()} == sent_power_w
    assert theatre.store.stored("rack", run) == sent_rows


def test_producers_that_were_killed_go_on_with_their_run_and_apply_no_command_twice(theatre: Theatre) -> None:
    theatre.start("producers", "producers-1", "--no-operator")
    theatre.until(lambda: bool(theatre.controls), SECONDS, "a run")
    run = theatre.control.run
    theatre.run_ticks(3)
    before = [order(theatre, "chiller.stop", "cooling-1", n=1.0) for _ in range(2)]
    inject = Inject(id=secrets.token_hex(8), run=run, kind="chiller_trip", target="cooling-2")
    theatre.send("instructor.injects", inject.target, inject)
    theatre.until(lambda: set(before) <= set(results(theatre)), SECONDS, "the answers")
    theatre.run_ticks(3)
    theatre.fleet.end("producers-1", kill=True)
    last_tick = theatre.last_tick_sent(run)
    between = order(theatre, "chiller.reset", "cooling-2")
    again = theatre.start("producers", "producers-2", "--no-operator")
    assert f"run {run} gone on with from tick {last_tick}, as epoch 1" in again.greeting
    theatre.until(lambda: theatre.control.epoch == 1, SECONDS, "the new epoch")
    assert (theatre.control.run, theatre.control.continues) == (run, True)
    theatre.run_ticks(3)
    answered = results(theatre)
    assert sorted(answered) == sorted([*before, between])
    assert {name: len(told) for name, told in answered.items()} == dict.fromkeys(answered, 1)
    assert answered[between][0].accepted
    truths = [Truth.model_validate_json(split(record.value)[1]) for record in theatre.records("instructor.truth")]
    assert [truth.inject_id for truth in truths] == [inject.id]
    ticks = theatre.ticks_sent(run)
    assert ticks[0] == list(range(last_tick + 1))
    assert ticks[1] == list(range(last_tick + 1, last_tick + 1 + len(ticks[1])))


def order(theatre: Theatre, verb: str, unit: str, **params: float) -> str:
    expires_ms = theatre.now_ms() + 30_000
    command = Command(
        id=secrets.token_hex(8), run=theatre.control.run, verb=verb, unit=unit, params=params, by="test",
        expires_ms=expires_ms,
    )  # fmt: skip
    theatre.send("commands", unit, command)
    return command.id


def results(theatre: Theatre) -> dict[str, list[CommandResult]]:
    told: dict[str, list[CommandResult]] = {}
    for record in theatre.records("command_results"):
        result = CommandResult.model_validate_json(split(record.value)[1])
        if result.by == "test":
            told.setdefault(result.command_id, []).append(result)
    return told


# -- the console, and a Kafka that asks who we are


def test_the_console_shows_and_steers_a_run_with_the_readers_token(theatre: Theatre) -> None:
    theatre.begin(*((kind, f"{kind}-1") for kind in APPS))
    theatre.start("producers", "producers-1")
    theatre.fleet.environment["COLOSSUS_INFLUX_TOKEN"] = theatre.tokens.reader
    console = theatre.start("console", "console-1", "--port", "0")
    links = [console.read_line() for _ in range(3)]
    url, _, token = links[0].split()[1].partition("/enter?token=")
    with httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}) as http:
        theatre.until(lambda: http.get("/api/run").status_code == httpx2.codes.OK, SECONDS, "the run is shown")
        assert http.get("/api/run").json()["id"] == theatre.control.run
        asked = http.post("/api/run/pause", json={})
        assert asked.status_code == httpx2.codes.ACCEPTED
        theatre.until(lambda: theatre.control.state == "paused", SECONDS, "it pauses")
        assert http.post("/api/run/resume", json={}).status_code == httpx2.codes.ACCEPTED
        theatre.run_ticks(5)
        asked_for = {"series": "site.facility_power_w"}
        theatre.until(
            lambda: len(http.get("/api/history", params=asked_for).json()["series"][0]["t"]) > 3, SECONDS, "a curve"
        )
    assert console.health()["state"] == "ok"
    assert theatre.fleet.end_all() == dict.fromkeys(("console-1", "producers-1", *(f"{a}-1" for a in APPS)), 0)


def test_all_processes_work_over_tls_with_a_password(theatre: Theatre, kafka: Kafka) -> None:
    theatre.fleet.environment |= {
        "COLOSSUS_KAFKA": kafka.safe_address,
        "COLOSSUS_KAFKA_SECURITY": "sasl_ssl",
        "COLOSSUS_KAFKA_CA_FILE": str(kafka.ca_file),
        "COLOSSUS_KAFKA_USER": kafka.user,
        "COLOSSUS_KAFKA_PASSWORD": kafka.password,
    }
    theatre.begin(*((kind, f"{kind}-1") for kind in APPS))
    theatre.start("producers", "producers-1")
    theatre.until(lambda: bool(theatre.controls), SECONDS, "a run")
    theatre.run_ticks(5)
    assert theatre.fleet.end("producers-1") == 0
    theatre.wait_settled(SECONDS)
    _, sent_rows = theatre.sent_of(theatre.control.run)
    assert theatre.store.stored("rack", theatre.control.run) == sent_rows > 0
