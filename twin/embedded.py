"""The one-process mode: plant, bus, apps, history and console put together. The one module that imports producers.

It owns the signals. A part that fails ends the whole, with its error.
"""

import asyncio
import contextlib
import logging
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from producers.comparison import Comparison
from producers.families import PRODUCERS
from producers.host import Host
from producers.loop import Loop
from producers.takeover import Takeover
from twin.agents.apps import APPS, make_app
from twin.agents.context import Context
from twin.agents.worker import Worker
from twin.bus.memory import MemoryBus
from twin.events.layout import FrameLayout
from twin.events.topics import TOPICS, full_name
from twin.run import Clock, RunOwner, RunPlan, SystemClock
from twin.settings import Settings
from twin.site import Site
from twin.stack import Entrance, serve_console
from twin.store import Store
from twin.store.duck import open_store

logger = logging.getLogger(__name__)

SETTLE_TIMEOUT_S = 20.0
PRESSURE_MAX = 0.5  # share of the retention that may lie unread


def make_worker(kind: str, number: int, bus: MemoryBus, layout: FrameLayout, clock: Clock, **more: Any) -> Worker:
    """Build one worker of an app over a memory bus.

    Parameters
    ----------
    kind
        One of ``APPS``.
    number
        Tells two workers of one app apart.
    more
        Further fields of its :class:`Context` (``store``, ``namespace``, …).
    """
    context = Context(
        worker=f"{kind}-{number}",
        namespace=more.pop("namespace", ""),
        faust={"broker": f"memory://{bus.name}"},
        bus=bus,
        layout=layout,
        clock=clock,
        **more,
    )
    return Worker(*make_app(kind, context), context)


@dataclass(slots=True)
class Embedded:
    """The twin in one process.

    Parameters
    ----------
    settings
        Where things are.
    site, plan
        What runs.
    families
        Which telemetry the plant side publishes.
    open_history
        Opens the history in a folder.
    on_comparison
        Told what was made of a takeover, and where that is kept.

    Attributes
    ----------
    takeovers
        By run, what was rebuilt when it was taken over, and how true it is.
    """

    settings: Settings
    site: Site
    plan: RunPlan
    families: tuple[str, ...] = tuple(PRODUCERS)
    open_history: Callable[[Path], Store] = open_store
    on_comparison: Callable[[Comparison, Path], None] = lambda *_: None
    clock: Clock = field(default_factory=SystemClock)
    loop: Loop | None = None
    host: Host | None = None
    bus: MemoryBus | None = None
    store: Store | None = None
    takeovers: dict[str, str] = field(default_factory=dict)

    @property
    def run_id(self) -> str:
        """The run of the plant."""
        return "" if self.loop is None else self.loop.owner.run

    @contextlib.asynccontextmanager
    async def observer(self) -> AsyncIterator[list[Worker]]:
        """Run bus, history and the three apps; on the way out all that was published is stored."""
        bus = self.bus = MemoryBus("embedded")
        bus.create_topics(TOPICS, self.settings.namespace)
        store = self.store = self.open_history(self.settings.data_dir / "history")
        layout = FrameLayout(self.site)
        workers = [
            make_worker(
                kind,
                1,
                bus,
                layout,
                self.clock,
                namespace=self.settings.namespace,
                store=store if kind == "history" else None,
            )
            for kind in APPS
        ]
        started: list[Worker] = []
        try:
            for worker in workers:
                started.append(worker)
                await worker.start()
            yield workers
            await self._settle(bus)
        finally:
            for worker in reversed(started):
                await worker.stop()
            store.close()
            bus.close()

    async def _settle(self, bus: MemoryBus) -> None:
        """Wait until everything that was published has been dealt with."""
        for _ in range(int(SETTLE_TIMEOUT_S / 0.05)):
            if bus.settled():
                return
            await asyncio.sleep(0.05)
        logger.warning("stop=unsettled reason=something is still on its way after %s s", SETTLE_TIMEOUT_S)

    async def plant_side(self, stop: threading.Event, on_running: Callable[[], None]) -> None:
        """Build the plant and run it in a thread of its own until it ends or ``stop`` is set.

        Raises
        ------
        TwinError
            What ended it, if it did not end well.
        """
        assert self.bus is not None  # noqa: S101  (observer() has made it)
        bus, namespace = self.bus, self.settings.namespace
        running = asyncio.get_running_loop()

        def keep(made: Takeover) -> None:
            self.takeovers[made.run] = made.text()

        def run() -> None:
            host = self.host = Host(
                bus,
                namespace,
                folder=self.settings.data_dir,
                name="producers",
                clock=self.clock,
                now_s=time.monotonic,
                gate=_Gate(bus, namespace).open_for,
                site=self.site,
                families=self.families,
                on_takeover=keep,
                on_comparison=self.on_comparison,
            )
            loop = self.loop = host.begin(self.plan, self.site)
            running.call_soon_threadsafe(on_running)
            host.run(loop, stop)

        with ThreadPoolExecutor(1, "producers") as thread:
            await running.run_in_executor(thread, run)

    async def serve_console(self, stop: asyncio.Event, on_started: Callable[[Entrance], None]) -> None:
        """Serve the console until ``stop`` is set.

        Raises
        ------
        StartError
            The port is in use.
        """
        assert self.bus is not None  # noqa: S101
        assert self.store is not None  # noqa: S101
        await serve_console(
            self.settings, self.site, self.bus, self.store, clock=self.clock, stop=stop, on_started=on_started,
            takeover_of=self.takeovers.get,
        )  # fmt: skip

    async def run(self, on_started: Callable[[Entrance], None]) -> None:
        """Run everything until a signal, the end of the run, or the failure of a part.

        Parameters
        ----------
        on_started
            Called once the console answers.

        Raises
        ------
        TwinError
            What ended it, if it did not end well.
        """
        ends = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, ends.set)
        stop_plant = threading.Event()
        stop_console = asyncio.Event()
        async with self.observer() as workers:
            parts = [
                asyncio.ensure_future(self.serve_console(stop_console, on_started)),
                asyncio.ensure_future(self.plant_side(stop_plant, lambda: None)),
                asyncio.ensure_future(_watch(workers)),
                asyncio.ensure_future(ends.wait()),
            ]
            console, plant, watch, waiting = parts
            try:
                await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            finally:
                stop_plant.set()
                watch.cancel()
                waiting.cancel()
                await asyncio.wait({plant})
                stop_console.set()
                await asyncio.wait({console})
            for part in (console, plant, watch):
                if part.done() and not part.cancelled() and (error := part.exception()) is not None:
                    raise error


async def _watch(workers: Iterable[Worker]) -> None:
    while True:
        for worker in workers:
            worker.check()
        await asyncio.sleep(0.5)


class _Gate:
    """Lets the plant wait for the observer, so that nothing is lost: always in lock step, else when it falls behind.

    A run that hurries waits for all apps. One at the pace of the wall clock, or slower, waits for the state alone: a
    slow store must not stop it.
    """

    def __init__(self, bus: MemoryBus, namespace: str) -> None:
        self._bus = bus
        self._state = {full_name(app, namespace) for app in ("rows", "site")}
        self._all = {full_name(app, namespace) for app in APPS}

    def open_for(self, owner: RunOwner) -> bool:
        """Tell whether the run may do its next tick."""
        if owner.plan.lock_step:
            return self._bus.settled()
        return self._bus.pressure(self._all if owner.hurries else self._state) < PRESSURE_MAX
