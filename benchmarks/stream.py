"""``colossus bench stream --embedded``: the whole twin in one process, at the pace of the wall clock."""

import asyncio
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import psutil

from benchmarks.memory import rss_mb
from twin.bus.memory import MemoryBus
from twin.embedded import Embedded
from twin.events.head import split
from twin.run import RunPlan, SystemClock
from twin.settings import load_settings
from twin.site import Site, load_site
from twin.store import Points
from twin.store.duck import DuckStore

WARM_UP_S = 5.0
LOOK_EVERY_S = 0.2
SETTLE_S = 30.0


class CountingStore(DuckStore):
    """Counts the rack rows that are written."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.rack_rows = 0

    def write(self, batch: Sequence[Points]) -> None:
        super().write(batch)
        self.rack_rows += sum(points.size for points in batch if points.measurement == "rack")


def _open_counting(folder: Path) -> CountingStore:
    folder.mkdir(parents=True)
    return CountingStore(folder)


class _Watch:
    """What a benchmark sees from outside: lags of the state and of queries."""

    def __init__(self, twin: Embedded, bus: MemoryBus, store: CountingStore, site: Site) -> None:
        self._twin = twin
        self._store = store
        self._rack = site.layout.rack_ids[-1]
        self._racks_of = np.diff(site.layout.array_first_rack)
        self._arrays = {array: i for i, array in enumerate(site.layout.array_ids)}
        self._clock = SystemClock()
        self._frames = bus.read(["telemetry.gpu"])
        self._rolled = bus.read(["twin.rack"])
        self._pictures = bus.read(["twin.site"])
        self.sent = 0
        self.state_s: list[float] = []
        self.site_s: list[float] = []
        self.query_s: list[float] = []
        self._newest_ts = -1

    def take(self) -> None:
        """Count what was sent, and how late the state came of it."""
        while records := self._frames.poll(0.0, limit=10_000):
            for record in records:
                self.sent += int(self._racks_of[self._arrays[(record.key or b"").decode()]])
        while records := self._rolled.poll(0.0, limit=10_000):
            for record in records:
                head, data = split(record.value)
                racks = len(orjson.loads(data).get("rack", {}).get("rack_i", ()))
                self.state_s += [(record.timestamp_ms - head.ts) / 1000] * racks

        while records := self._pictures.poll(0.0, limit=10_000):
            self.site_s += [(record.timestamp_ms - split(record.value)[0].ts) / 1000 for record in records]

    def query(self) -> None:
        """Ask for the newest row of a rack, as a screen would."""
        now_ms = self._clock.now_ms()
        run = self._twin.run_id
        if not run:
            return
        rows = self._store.latest(
            "rack", ["power_w"], run=run, until_ms=now_ms, window_ms=15_000, where={"rack": self._rack}
        )
        if rows.size and int(rows.ts[0]) > self._newest_ts:
            if self._newest_ts >= 0:
                self.query_s.append((self._clock.now_ms() - int(rows.ts[0])) / 1000)
            self._newest_ts = int(rows.ts[0])

    def close(self) -> None:
        """Let go of the bus."""
        self._frames.close()
        self._rolled.close()
        self._pictures.close()


def run_embedded(site_name: str, *, seconds: int) -> dict[str, Any]:
    """Run for some seconds of the wall clock.

    Returns
    -------
    dict
        ``sent, stored, lost, duplicated`` rack rows; from ``ts``, p50 and p99: ``state_s`` to the rows of racks,
        ``site_s`` to the picture of the site, ``query_s`` to the answer of the history; ``cpu`` (share of one core)
        and ``rss_mb`` by process.
    """
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_run(load_site(site_name), seconds, Path(folder)))


async def _run(site: Site, seconds: int, folder: Path) -> dict[str, Any]:
    settings = load_settings(data_dir=folder, console_port=0)
    plan = RunPlan(site=site.id, site_crc=site.crc, seed=7, dt_s=1.0, weather_at="07-15T14:00")
    twin = Embedded(settings, site, plan, open_history=_open_counting)
    stop_plant, stop_console, console_up, running = threading.Event(), asyncio.Event(), asyncio.Event(), asyncio.Event()
    async with twin.observer():
        bus, store = twin.bus, twin.store
        assert isinstance(store, CountingStore)  # noqa: S101
        assert bus is not None  # noqa: S101
        watch = _Watch(twin, bus, store, site)
        console = asyncio.ensure_future(twin.serve_console(stop_console, lambda _: console_up.set()))
        await console_up.wait()
        plant = asyncio.ensure_future(twin.plant_side(stop_plant, running.set))
        await running.wait()
        await _look(watch, WARM_UP_S)
        process = psutil.Process()
        before = process.cpu_times()
        looked_s = await _look(watch, seconds)
        after = process.cpu_times()
        memory_mb = rss_mb()
        stop_plant.set()
        await plant
        for _ in range(int(SETTLE_S / LOOK_EVERY_S)):
            watch.take()
            if bus.settled():
                break
            await asyncio.sleep(LOOK_EVERY_S)
        watch.close()
        stop_console.set()
        await console
        stored = store.stored("rack", twin.run_id)
        cpu = (after.user + after.system - before.user - before.system) / looked_s
        return {
            "site": site.id,
            "seconds": seconds,
            "sent": watch.sent,
            "stored": stored,
            "lost": watch.sent - stored,
            "duplicated": store.rack_rows - stored,
            **_quantiles("state_s", watch.state_s),
            **_quantiles("site_s", watch.site_s),
            **_quantiles("query_s", watch.query_s),
            "cpu": {"embedded": round(cpu, 3)},
            "rss_mb": {"embedded": memory_mb},
        }


async def _look(watch: _Watch, seconds: float) -> float:
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    while loop.time() - began_s < seconds:
        watch.take()
        await loop.run_in_executor(None, watch.query)
        await asyncio.sleep(LOOK_EVERY_S)
    return loop.time() - began_s


def _quantiles(name: str, values: list[float]) -> dict[str, float]:
    given = np.array(values) if values else np.array([np.nan])
    return {f"p{q}_{name}": round(float(np.percentile(given, q)), 3) for q in (50, 99)}
