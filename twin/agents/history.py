"""The app ``history``: what the observer and the plants say, into the store. It scales out.

A message is acknowledged after its points are written; a store that is away is waited for, for ever.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import faust
import numpy as np

from twin.agents.carrier import Carrier, acknowledge
from twin.agents.context import Attached, Context
from twin.agents.points import PointMaker
from twin.agents.pulse import record_of
from twin.bus.base import Record
from twin.errors import MessageInvalid, StartError, StoreRejected, StoreUnavailable
from twin.events.derived import SinkHealth
from twin.state.counts import Intake
from twin.state.outputs import Dead
from twin.store import Points, Store

logger = logging.getLogger(__name__)

TAKE_N = 400
ROLL_UP_EVERY_S = 10.0
PRUNE_EVERY_S = 600.0
RETRY_S = (0.2, 0.5, 1.0, 2.0, 5.0)


class Writer:
    """Writes batches in a thread of its own, and says how it goes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._thread = ThreadPoolExecutor(1, "history-write")
        self._seconds: deque[float] = deque(maxlen=256)
        self._points = 0
        self._retries = 0
        self.buffered = 0

    async def write(self, batch: list[Points]) -> None:
        """Write a batch, however often it takes.

        Raises
        ------
        StoreRejected
            The store will never take it.
        """
        loop = asyncio.get_running_loop()
        self.buffered = sum(points.size for points in batch)
        for attempt in range(10**9):
            began = time.perf_counter()
            try:
                await loop.run_in_executor(self._thread, self._store.write, batch)
            except StoreUnavailable as exc:
                self._retries += 1
                if attempt == 0:
                    logger.warning("write=waits points=%d reason=%s", self.buffered, exc)
                await asyncio.sleep(RETRY_S[min(attempt, len(RETRY_S) - 1)])
                continue
            self._seconds.append(time.perf_counter() - began)
            self._points += self.buffered
            self.buffered = 0
            return

    async def tidy(self, work: Callable[[int], int], now_ms: int) -> None:
        """Roll up what is due, or drop what is older than its retention, between two writes."""
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._thread, work, now_ms)
        except StoreUnavailable as exc:
            logger.warning("tidy=waits reason=%s", exc)  # the next round does it

    def report(self, seconds: float) -> SinkHealth:
        """Say how the writes of the last ``seconds`` went, and begin anew."""
        health = SinkHealth(
            sink=type(self._store).__name__,
            points_hz=round(self._points / max(seconds, 1e-3), 1),
            write_p99_s=round(float(np.percentile(self._seconds, 99)), 4) if self._seconds else 0.0,
            retry_n=self._retries,
            buffered_n=self.buffered,
        )
        self._points = self._retries = 0
        return health


def attach(app: faust.App, context: Context) -> Attached:
    """Add the agent of ``history``."""
    store = context.store
    if store is None:
        raise StartError("the app history needs a store")
    writer = Writer(store)
    maker = PointMaker(context.layout)
    carrier = Carrier(app, context)
    intake = {topic: Intake() for topic in maker.topics}
    channel = app.topic(
        *(context.topic(topic) for topic in maker.topics),
        key_type=bytes,
        value_type=bytes,
        key_serializer="raw",
        value_serializer="raw",
    )

    async def write(records: list[tuple[Record, Any]]) -> None:
        """Write messages; when the store refuses the batch for good, find out which of them it is."""
        batch: list[Points] = []
        dead: list[Dead] = []
        for record, event in records:
            try:
                batch += maker.points_of(record)
            except (MessageInvalid, StoreRejected) as exc:
                dead.append(Dead(record, str(exc), (event,)))
        refused = {id(letter.done[0]) for letter in dead}
        written = [(record, event) for record, event in records if id(event) not in refused]
        try:
            if batch:
                await writer.write(batch)
        except StoreRejected as exc:
            if len(written) == 1:
                dead.append(Dead(written[0][0], f"store-rejected: {exc}", (written[0][1],)))
            else:
                for one in written:
                    await write([one])
        else:
            acknowledge(event for _, event in written)
        for letter in dead:
            intake[letter.record.topic].dead += 1
        await carrier.carry(dead)

    @app.agent(channel, concurrency=1)
    async def take(stream: Any) -> None:
        async for events in stream.noack_take(TAKE_N, within=context.history_within_s):
            records = [(record_of(event, context), event) for event in events]
            for record, _ in records:
                intake[record.topic].frames += 1
            await write(records)

    @app.timer(ROLL_UP_EVERY_S)
    async def roll_up() -> None:
        await writer.tidy(store.roll_up, context.clock.now_ms())

    @app.timer(PRUNE_EVERY_S)
    async def prune() -> None:
        await writer.tidy(store.prune, context.clock.now_ms())

    return Attached(intake, sink=writer.report)
