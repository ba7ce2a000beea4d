"""``colossus bench stream``: every process apart, on the real Kafka and InfluxDB of the settings."""

import re
import tempfile
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from benchmarks.delays import Delays
from benchmarks.fleet import Fleet
from twin.bus.access import kafka_access
from twin.bus.kafka import KafkaBus
from twin.errors import SettingInvalid
from twin.events.topics import TOPICS
from twin.settings import Settings
from twin.site import load_site
from twin.store.influx import open_influx
from twin.store.influx_setup import init

WARM_UP_S = 15.0
LOOK_EVERY_S = 0.2
SETTLE_S = 60.0
NAMESPACE = "bench"


def run_stack(settings: Settings, site_name: str, *, seconds: int, rows: int) -> dict[str, Any]:
    """Run for some seconds of the wall clock.

    Parameters
    ----------
    settings
        Where Kafka and InfluxDB are, with the admin token; what the benchmark makes there has the namespace ``bench``.
    rows
        How many workers of the app ``rows``.

    Returns
    -------
    dict
        As of ``run_embedded``; ``cpu`` and ``rss_mb`` by process, those of the servers too where they run on this
        machine. ``duplicated``: rows that were sent to the history more than once; it keeps one.

    Raises
    ------
    TwinError
        There are no servers.
    """
    if settings.influx_url is None or settings.influx_admin_token is None:
        raise SettingInvalid(
            "bench stream runs on a real Kafka and a real InfluxDB: COLOSSUS_KAFKA, COLOSSUS_INFLUX_URL and "
            "COLOSSUS_INFLUX_ADMIN_TOKEN are needed (make servers), or --embedded for all in one process"
        )
    site = load_site(site_name)
    bus = KafkaBus(kafka_access(settings), name="bench")
    bus.create_topics(TOPICS, NAMESPACE)
    tokens = init(settings.influx_url, settings.influx_org, settings.influx_admin_token.get_secret_value(), NAMESPACE)
    store = open_influx(settings.influx_url, settings.influx_org, tokens.writer, NAMESPACE)
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            "COLOSSUS_NAMESPACE": NAMESPACE,
            "COLOSSUS_DATA_DIR": folder,
            "COLOSSUS_INFLUX_TOKEN": tokens.writer,
        }
        fleet = Fleet(environment, Path(folder))
        delays = Delays(bus, store, site, NAMESPACE)
        try:
            return _measure(fleet, delays, store, settings, site_name, seconds, rows)
        finally:
            fleet.end_all()
            delays.close()
            store.close()
            bus.close()


def _measure(
    fleet: Fleet, delays: Delays, store: Any, settings: Settings, site: str, seconds: int, rows: int
) -> dict[str, Any]:
    workers = [*(("rows", f"rows-{n}") for n in range(1, rows + 1)), ("site", "site-1"), ("history", "history-1")]
    began = [fleet.begin(kind, name, "--site", site) for kind, name in workers]
    began.append(fleet.begin("console", "console-1", "--site", site, "--port", "0"))
    for member in began:
        member.wait_started()
    plant = fleet.start("producers", "producers-1", "--site", site, "--new")
    found = re.search(r"run (\S+) begun", plant.greeting)
    delays.run = found[1] if found else ""
    _look(delays, WARM_UP_S)
    processes = {name: psutil.Process(member.pid) for name, member in fleet.members.items()}
    processes |= _servers(settings)
    delays.begin()
    before = {name: _cpu_s(process) for name, process in processes.items()}
    looked_s = _look(delays, seconds)
    cpu = {name: round((_cpu_s(process) - before[name]) / looked_s, 3) for name, process in processes.items()}
    rss_mb = {name: round(process.memory_info().rss / 1e6, 1) for name, process in processes.items()}
    fleet.end("producers-1")
    until_s = time.monotonic() + SETTLE_S
    stored = -1
    while time.monotonic() < until_s:
        delays.take(wait_s=1.0)
        stored = store.stored("rack", delays.run)
        if stored >= delays.sent:
            break
    return {
        "site": site,
        "seconds": seconds,
        "rows": rows,
        "sent": delays.sent,
        "stored": stored,
        "lost": delays.sent - stored,
        "duplicated": delays.rolled - stored,
        **delays.figures(),
        "cpu": {**cpu, "all": round(sum(cpu.values()), 3)},
        "rss_mb": {**rss_mb, "all": round(sum(rss_mb.values()), 1)},
    }


def _look(delays: Delays, seconds: float) -> float:
    began_s = time.monotonic()
    wait = threading.Event()
    while time.monotonic() - began_s < seconds:
        delays.query()  # what the topics hold is read afterwards: it would take the time from those who are measured
        wait.wait(LOOK_EVERY_S)
    return time.monotonic() - began_s


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _servers(settings: Settings) -> dict[str, psutil.Process]:
    """Find the servers by their ports, if they run on this machine."""
    ports = {
        int((settings.kafka or ":0").partition(",")[0].rpartition(":")[2]): "kafka",
        urlsplit(settings.influx_url or "").port or 8086: "influxd",
    }
    found = {}
    for connection in psutil.net_connections("tcp"):
        address: Any = connection.laddr
        if connection.status == psutil.CONN_LISTEN and address.port in ports and connection.pid:
            found[ports[address.port]] = psutil.Process(connection.pid)
    return found
