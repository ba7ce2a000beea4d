"""``colossus bench stream --embedded``: the whole twin in one process, at the pace of the wall clock."""

import asyncio
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from benchmarks.delays import Delays
from benchmarks.memory import rss_mb
from twin.embedded import Embedded
from twin.run import RunPlan
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
        delays = Delays(bus, store, site)
        console = asyncio.ensure_future(twin.serve_console(stop_console, lambda _: console_up.set()))
        await console_up.wait()
        plant = asyncio.ensure_future(twin.plant_side(stop_plant, running.set))
        await running.wait()
        delays.run = twin.run_id
        await _look(delays, WARM_UP_S)
        process = psutil.Process()
        delays.begin()
        before = process.cpu_times()
        looked_s = await _look(delays, seconds)
        after = process.cpu_times()
        memory_mb = rss_mb()
        stop_plant.set()
        await plant
        for _ in range(int(SETTLE_S / LOOK_EVERY_S)):
            delays.take()
            if bus.settled():
                break
            await asyncio.sleep(LOOK_EVERY_S)
        delays.close()
        stop_console.set()
        await console
        stored = store.stored("rack", twin.run_id)
        cpu = (after.user + after.system - before.user - before.system) / looked_s
        return {
            "site": site.id,
            "seconds": seconds,
            "sent": delays.sent,
            "stored": stored,
            "lost": delays.sent - stored,
            "duplicated": store.rack_rows - stored,
            **delays.figures(),
            "cpu": {"embedded": round(cpu, 3)},
            "rss_mb": {"embedded": memory_mb},
        }


async def _look(delays: Delays, seconds: float) -> float:
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    while loop.time() - began_s < seconds:
        delays.take()
        await loop.run_in_executor(None, delays.query)
        await asyncio.sleep(LOOK_EVERY_S)
    return loop.time() - began_s
