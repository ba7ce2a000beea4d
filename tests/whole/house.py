"""A whole twin under a clock of its own: plant, bus, workers and store, driven tick by tick."""

import asyncio
import itertools
import json
from collections import defaultdict
from collections.abc import Callable, Container
from pathlib import Path
from typing import Any

import numpy as np

from producers.families import PRODUCERS
from producers.loop import Loop
from twin.bus.base import Record
from twin.bus.memory import MemoryBus
from twin.embedded import Worker, make_worker
from twin.events.control import RunControl, RunRequest
from twin.events.head import Head, encode_model, split
from twin.events.layout import FrameLayout
from twin.events.topics import TOPICS
from twin.run import RunPlan, new_run_id, utc_text
from twin.site import load_site
from twin.store import Store
from twin.store.duck import open_store

_NUMBERS = itertools.count()
START_MS = 1_795_504_800_000
SETTLE_ROUNDS = 20_000
SESSION_TIMEOUT_S = 1.5


async def until(so: Callable[[], bool]) -> None:
    """Give way until it is so."""
    for _ in range(20_000):
        if so():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it never comes")


class HandClock:
    """A wall clock that moves when it is told to."""

    def __init__(self) -> None:
        self.ms = START_MS

    def now_ms(self) -> int:
        return self.ms


class FlakyStore(Store):
    """A store that can be away; everything else is the real one's."""

    def __init__(self, store: Store) -> None:
        self.real = store
        self.away: Exception | None = None
        self.written = 0

    def write(self, batch: Any) -> None:
        if self.away is not None:
            raise self.away
        self.real.write(batch)
        self.written += sum(points.size for points in batch if points.measurement == "rack")

    def latest(self, *args: Any, **kwargs: Any) -> Any:
        return self.real.latest(*args, **kwargs)

    def series(self, *args: Any, **kwargs: Any) -> Any:
        return self.real.series(*args, **kwargs)

    def topk(self, *args: Any, **kwargs: Any) -> Any:
        return self.real.topk(*args, **kwargs)

    def events(self, *args: Any, **kwargs: Any) -> Any:
        return self.real.events(*args, **kwargs)

    def stored(self, measurement: str, run: str) -> int:
        return self.real.stored(measurement, run)

    def roll_up(self, now_ms: int) -> int:
        return self.real.roll_up(now_ms)

    def prune(self, now_ms: int) -> int:
        return self.real.prune(now_ms)

    def close(self) -> None:
        self.real.close()


class House:
    """One bus, one store, any workers, one run at a time."""

    def __init__(self, folder: Path, site: str = "mini") -> None:
        self.clock = HandClock()
        self.site = load_site(site)
        self.layout = FrameLayout(self.site)
        # Members prove that they live in real time: hand time runs far faster than they can.
        self.bus = MemoryBus(f"house-{next(_NUMBERS)}", wall_ms=self.clock.now_ms, session_timeout_s=SESSION_TIMEOUT_S)
        self.bus.create_topics(TOPICS)
        self.folder = folder
        self.store = FlakyStore(open_store(folder / "history"))
        self.workers: list[Worker] = []
        self.dead: list[Worker] = []
        self.loop: Loop | None = None
        self.ahead_max_ms = -(10**15)  # how far display time has been ahead of the wall clock, looked at in each turn
        self.records: list[Record] = []
        self._taps = [self.bus.read([topic.name], start="beginning") for topic in TOPICS]
        self._workers_n = itertools.count(1)

    async def hire(self, kind: str, *, meanwhile: bool = False) -> Worker:
        worker = make_worker(
            kind,
            next(self._workers_n),
            self.bus,
            self.layout,
            self.clock,
            store=self.store if kind == "history" else None,
            history_within_s=0.005,
        )
        starting = asyncio.ensure_future(worker.start())
        while not starting.done():
            if meanwhile:
                await self.run(1, settle=False)  # a join may have to wait for a member that has gone silent
            await asyncio.sleep(0.002)
        await starting
        self.workers.append(worker)
        return worker

    async def dismiss(self, worker: Worker) -> None:
        """Let a worker leave with a goodbye."""
        self.workers.remove(worker)
        await worker.stop()

    async def kill(self, worker: Worker) -> None:
        """Let a worker vanish: no goodbye, no commit, nothing more from it on the bus."""
        self.workers.remove(worker)
        self.dead.append(worker)
        worker.app.consumer.drop()
        await worker.app.agents.stop()
        await worker.follower.stop()

    def begin(self, *, lock_step: bool, seed: int = 7, speed: float = 1.0, nonce: int = 1) -> Loop:
        plan = RunPlan(
            site=self.site.id,
            site_crc=self.site.crc,
            seed=seed,
            dt_s=1.0,
            weather_at="07-15T14:00",
            speed=speed,
            lock_step=lock_step,
        )
        self.loop = Loop(
            self.bus,
            "",
            self.site,
            plan,
            owner=f"owner-{nonce}",
            producers=[make(self.layout) for make in PRODUCERS.values()],
            clock=self.clock,
            snapshot_dir=self.folder / "snapshots",
            may_go_on=(lambda _: self.bus.settled()) if lock_step else (lambda _: True),
        )
        self.loop.start(new_run_id(utc_text(self.clock.ms), nonce))
        return self.loop

    def tap(self) -> None:
        """Take what has been published, before retention does."""
        for reader in self._taps:
            while records := reader.poll(0.0):
                self.records += records

    async def run(self, ticks: int, *, settle: bool = True) -> None:
        """Let so many ticks come due, one at a time."""
        assert self.loop is not None
        for _ in range(ticks):
            before = self.loop.owner.tick, self.loop.owner.epoch
            while True:
                if settle:
                    await self.settled()
                self.loop.turn()
                self.ahead_max_ms = max(self.ahead_max_ms, self.loop.owner.last_ts - self.clock.ms)
                if (self.loop.owner.tick, self.loop.owner.epoch) != before:
                    break
                self.clock.ms += self.loop.owner.line.ms_per_tick
            if not settle:
                await self.breathe()
        if settle:
            await self.settled()

    async def breathe(self, turns: int = 10) -> None:
        for _ in range(turns):
            self.tap()
            await asyncio.sleep(0.001)
        self.alive()

    async def settled(self) -> None:
        """Wait until everything that was published has been dealt with."""
        for round_ in range(SETTLE_ROUNDS):
            if self.bus.settled():
                return
            if round_ % 10 == 0:
                self.tap()  # a tap that has not read everything is a consumer too
            if round_ % 500 == 0:
                self.alive()
            await asyncio.sleep(0.001)
        raise AssertionError("the bus does not settle")

    def alive(self) -> None:
        for worker in self.workers:
            worker.check()

    async def ask(self, verb: str, **params: Any) -> RunControl:
        """Send a request, and return the answer of the run's owner."""
        assert self.loop is not None
        owner = self.loop.owner
        request = RunRequest(id=f"r{next(_NUMBERS)}", verb=verb, by="test", params=params)  # type: ignore[arg-type]
        head = Head(
            schema_id="run.requests/1",
            run=owner.run,
            epoch=owner.epoch,
            tick=0,
            seq=0,
            ts=self.clock.ms,
            dt_s=1.0,
            key="r",
        )
        self.bus.publish("run.requests", encode_model(head, request), key=b"r")
        self.loop.turn()
        await self.breathe(2)
        answers = [c for c in map(self.control_of, self.of("run.control")) if c.answers == request.id]
        assert len(answers) == 1
        return answers[0]

    @staticmethod
    def control_of(record: Record) -> RunControl:
        return RunControl.model_validate_json(split(record.value)[1])

    def of(self, topic: str) -> list[Record]:
        self.tap()
        return [record for record in self.records if record.topic == topic]

    def sent_hall_power_w(self, leave_out: Container[tuple[int, int]] = ()) -> dict[tuple[str, int, int], list[float]]:
        """Add the frames up as they were sent: (run, epoch, tick) -> power of each hall.

        ``leave_out``: (partition, offset) of messages that were broken on purpose.
        """
        halls = self.site.layout
        sums: dict[tuple[str, int, int], list[float]] = defaultdict(lambda: [0.0] * halls.hall_count)
        for record in self.of("telemetry.gpu"):
            if (record.partition, record.offset) in leave_out:
                continue
            head, data = split(record.value)
            hall = int(halls.array_hall[halls.array_index(head.key)])
            sums[head.run, head.epoch, head.tick][hall] += sum(json.loads(data)["server"]["power_w"])
        return dict(sums)

    def twin_hall_power_w(self, field: str = "power_w") -> dict[tuple[str, int, int], list[float]]:
        """Return what the last ``twin.site`` of each tick says."""
        last = {}
        for record in self.of("twin.site"):
            head, data = split(record.value)
            last[head.run, head.epoch, head.tick] = json.loads(data)["hall"][field]
        return last

    def rack_rows_sent(self, run: str) -> int:
        racks = np.diff(self.site.layout.array_first_rack)
        total = 0
        for record in self.of("telemetry.gpu"):
            head, _ = split(record.value)
            if head.run == run:
                total += int(racks[self.site.layout.array_index(head.key)])
        return total

    async def close(self) -> None:
        if self.loop is not None:
            self.loop.close()
        await asyncio.gather(*(worker.stop() for worker in [*self.workers, *self.dead]))
        self.store.close()
        self.bus.close()
