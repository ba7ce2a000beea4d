"""``colossus bench replay``: record a live run on a real Kafka, and play it: speed, timing, seeks, CPU, memory."""

import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.fleet import Fleet
from twin.bus.access import kafka_access
from twin.bus.kafka import KafkaBus
from twin.errors import StartError
from twin.events.head import retold, told
from twin.events.topics import BY_NAME, TOPICS
from twin.process import be_punctual
from twin.recording.choice import Choice
from twin.recording.item import NS_PER_MS, Item
from twin.recording.outlet import BusOutlet
from twin.recording.player import Player
from twin.recording.reader import Recording
from twin.recording.replay import Replay, plan_from, recorded_partitions
from twin.recording.span import Range
from twin.recording.writer import RecordingWriter
from twin.run import ReplayOwner, SystemClock, new_run_id, utc_text
from twin.settings import Settings

WARM_UP_S = 15.0
LOOK_S = 0.2
SEEKS_N = 40
LIGHT = (
    "telemetry.chillers", "telemetry.turbines", "telemetry.grid", "telemetry.network", "telemetry.jobs", "twin.site",
)  # fmt: skip
UNSENT_MAX_RATIO = 0.5
FLUSH_S = 60.0


@dataclass(slots=True)
class _Load:
    """CPU and memory of a process while it works."""

    process: psutil.Process
    began_s: float = 0.0
    cpu_s: float = 0.0
    rss_mb: float = 0.0

    def begin(self) -> None:
        self.began_s, self.cpu_s = time.monotonic(), self._cpu_s()

    def look(self) -> None:
        self.rss_mb = max(self.rss_mb, self.process.memory_info().rss / 1e6)

    def share(self) -> float:
        return round((self._cpu_s() - self.cpu_s) / (time.monotonic() - self.began_s), 3)

    def _cpu_s(self) -> float:
        times = self.process.cpu_times()
        return float(times.user + times.system)


def run_replay(settings: Settings, site: str, *, seconds: int, minutes: int) -> dict[str, Any]:
    """Record, and play what was recorded.

    Parameters
    ----------
    settings
        Where Kafka is; topics of a namespace of its own are made there, and deleted at the end.
    site
        What runs.
    seconds
        How long it is recorded, at each level, and played at real time.
    minutes
        How long a recording the seeks are made in; it is the recorded one over and over.

    Returns
    -------
    dict
        ``record_*`` of the recorder, by level; ``speed_max`` of all telemetry and ``speed_max_light`` of ``twin.site``
        and the units alone; ``p50_timing_s``, ``p99_timing_s`` at real time; ``seek_*``; ``cpu``, ``rss_mb`` of the
        player at real time, ``rss_max_mb`` over all; ``bytes`` of the long recording.

    Raises
    ------
    TwinError
        There is no Kafka.
    """
    namespace = f"bench-{random.getrandbits(32):08x}"
    with ExitStack() as stack:
        bus = stack.enter_context(closing(KafkaBus(kafka_access(settings), name="bench")))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        bus.create_topics(TOPICS, namespace)
        stack.callback(bus.delete_topics, TOPICS, namespace)
        be_punctual()  # as a player is
        figures: dict[str, Any] = {"site": site, "seconds": seconds, "minutes": minutes}
        figures |= _record(namespace, site, folder, seconds)
        figures |= _play(bus, namespace, folder / "full.mcap")
        long = folder / "long.mcap"
        figures |= _lengthen(folder / "full.mcap", long, minutes)
        figures |= _play_long(bus, namespace, long)
        return figures


def _record(namespace: str, site: str, folder: Path, seconds: int) -> dict[str, Any]:
    environment = {"COLOSSUS_NAMESPACE": namespace, "COLOSSUS_DATA_DIR": str(folder)}
    fleet = Fleet(environment, folder)
    figures: dict[str, Any] = {}
    try:
        began = [fleet.begin(kind, f"{kind}-1", "--site", site) for kind in ("rows", "site")]
        for member in began:
            member.wait_started()
        fleet.start("producers", "producers-1", "--site", site, "--new")
        threading.Event().wait(WARM_UP_S)
        for level, flags in (("full", ("--full", "--instructor")), ("default", ())):
            path = folder / f"{level}.mcap"
            figures |= {f"record_{key}_{level}": value for key, value in _recorded(fleet, path, flags, seconds).items()}
    finally:
        fleet.end_all()
    return figures


def _recorded(fleet: Fleet, path: Path, flags: tuple[str, ...], seconds: int) -> dict[str, Any]:
    """Run ``colossus record``; return its figures."""
    command = [sys.executable, "-m", "twin", "record", "-o", str(path), "--for", f"{seconds}s", *flags]
    with subprocess.Popen(  # noqa: S603
        command, env=os.environ | fleet.environment, stdout=subprocess.PIPE, text=True
    ) as recorder:
        assert recorder.stdout is not None  # noqa: S101
        while "records into" not in (line := recorder.stdout.readline()):
            if not line:
                raise StartError("the recorder did not start")
        load = _Load(psutil.Process(recorder.pid))
        load.begin()
        cpu = 0.0
        while recorder.poll() is None:
            try:
                load.look()
                cpu = load.share()
            except psutil.Error:
                break  # it has just ended
            threading.Event().wait(LOOK_S)
        recorder.stdout.read()
    with Recording(path) as recording:
        recorded = dict(recording.metadata()).get("colossus.recorded", {})
        lost = sum(json.loads(recorded.get("lost", "{}")).values())
        files = sum(index.data_size for index in recording.attachments())
        hours = (recording.end_ns - recording.start_ns) / 3.6e12
        return {
            "cpu": cpu,
            "rss_mb": round(load.rss_mb, 1),
            "messages": sum(recording.counts.values()),
            "lost": lost,
            "bytes_per_h": round((recording.bytes_n - files) / hours),
        }


class _Stand:
    """A player on the bus, in this process."""

    def __init__(
        self, bus: KafkaBus, namespace: str, path: Path, *, speed: float, topics: tuple[str, ...] = ()
    ) -> None:
        clock = SystemClock()
        self._bus = bus
        self.recording = Recording(path)
        plan = plan_from(self.recording, Choice(topics=topics), speed)
        owner = None if plan is None else ReplayOwner(plan, "bench")
        outlet = BusOutlet(bus, namespace, recorded_partitions(self.recording), original_time=False)
        outlet.check(Choice(topics=topics).topics_of(self.recording))
        self.player = Player(
            self.recording,
            Choice(topics=topics),
            Range(self.recording.start_ns, self.recording.end_ns),
            outlet,
            owner,
            clock=clock,
            now_s=time.monotonic,
            may_go_on=lambda: bus.unsent_ratio() < UNSENT_MAX_RATIO,
            speed=speed,
        )
        self.replay = Replay(bus, namespace, self.player, clock, _Nobody(), stays=True)
        self.replay.start(new_run_id(utc_text(clock.now_ms()), random.getrandbits(16)))
        self.load = _Load(psutil.Process())
        self._wait = threading.Event()

    def turn(self) -> None:
        wait_s = self.replay.turn()
        if wait_s > 0:
            self._wait.wait(wait_s)

    def until(self, phase: str) -> float:
        """Play until the player is in a phase; return how long it took [s]."""
        began_s = looked_s = time.monotonic()
        while self.player.phase != phase:
            self.turn()
            if time.monotonic() - looked_s > LOOK_S:
                looked_s = time.monotonic()
                self.load.look()
        return time.monotonic() - began_s

    def close(self) -> None:
        self.replay.close()
        self.recording.close()
        self._bus.flush(FLUSH_S)


class _Nobody:
    """Nobody asks."""

    def start(self, params: dict[str, Any]) -> None:
        """Do nothing."""

    def take_over(self, time_ns: int | None) -> None:
        """Do nothing."""


def _play(bus: KafkaBus, namespace: str, path: Path) -> dict[str, Any]:
    """Play at real time, and as fast as possible."""
    stand = _Stand(bus, namespace, path, speed=1.0)
    stand.until("playing")
    stand.load.begin()
    played_s = stand.until("ended")
    figures: dict[str, Any] = {
        "p50_timing_s": round(stand.player.late_s(0.5), 4),
        "p99_timing_s": round(stand.player.late_s(0.99), 4),
        "slowed_s": round(stand.player.state().slowed_s, 3),
        "speed_real_time": round(stand.player.span.length_s / played_s, 3),
        "cpu": stand.load.share(),
        "rss_mb": round(stand.load.rss_mb, 1),
    }
    stand.close()
    return figures | {"speed_max": _speed_max(bus, namespace, path, ())}


def _speed_max(bus: KafkaBus, namespace: str, path: Path, topics: tuple[str, ...]) -> float:
    stand = _Stand(bus, namespace, path, speed=0.0, topics=topics)
    stand.until("playing")
    began_s = time.monotonic()
    stand.until("ended")
    bus.flush(FLUSH_S)
    speed = stand.player.span.length_s / (time.monotonic() - began_s)
    stand.close()
    return round(speed, 2)


def _lengthen(source: Path, target: Path, minutes: int) -> dict[str, Any]:
    """Write what was recorded over and over, as one run that goes on."""
    with Recording(source) as recording, RecordingWriter(target, recording.facts) as writer:
        length_ns = round((recording.end_ns - recording.start_ns) / 1e9) * 10**9
        for n in range(max(1, round(60e9 * minutes / length_ns))):
            for item in _shifted(recording, n, length_ns):
                writer.add(item)
    with Recording(target) as long:
        return {"bytes": long.bytes_n, "messages": sum(long.counts.values())}


def _shifted(recording: Recording, n: int, length_ns: int) -> Iterator[Item]:
    ticks = round(n * length_ns / 1e9)
    shift_ms = n * length_ns // NS_PER_MS
    for item in recording.items():
        if n and item.topic == "run.control" and item.time_ns == recording.start_ns:
            continue  # what the topic held at the start
        value = item.value
        found = told(value) if item.topic in BY_NAME and n else None
        if found is not None and value is not None:
            head, at = found
            moved = head | {"tick": head["tick"] + ticks, "seq": head["seq"] + ticks, "ts": head["ts"] + shift_ms}
            value = retold(value, at, moved)
        yield item._replace(
            time_ns=item.time_ns + n * length_ns, timestamp_ms=item.timestamp_ms + shift_ms, value=value
        )


def _play_long(bus: KafkaBus, namespace: str, path: Path) -> dict[str, Any]:
    opened_s = time.monotonic()
    stand = _Stand(bus, namespace, path, speed=1.0)
    stand.until("playing")
    opened_s = time.monotonic() - opened_s
    chance = random.Random(7)  # noqa: S311
    took_s = []
    for _ in range(SEEKS_N):
        sent_n = stand.player.sent_n
        began_s = time.monotonic()
        stand.player.seek(chance.randint(stand.player.span.start_ns, stand.player.span.end_ns - 10**10))
        while stand.player.phase == "seeking" or stand.player.sent_n == sent_n:
            stand.turn()
        took_s.append(time.monotonic() - began_s)
    stand.load.look()
    rss_mb = stand.load.rss_mb
    stand.close()
    return {
        "open_s": round(opened_s, 3),
        "seek_p50_s": round(float(np.quantile(took_s, 0.5)), 3),
        "seek_p95_s": round(float(np.quantile(took_s, 0.95)), 3),
        "seek_max_s": round(max(took_s), 3),
        "speed_max_light": _speed_max(bus, namespace, path, LIGHT),
        "rss_max_mb": round(max(rss_mb, psutil.Process().memory_info().rss / 1e6), 1),
    }
