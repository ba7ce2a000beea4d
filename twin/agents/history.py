"""The app ``history``: what the observer and the plants say, into the store. It scales out.

A message is acknowledged after its points are written; a store that is away is waited for, for ever.
"""

import asyncio
import itertools
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import faust
import numpy as np

from twin.agents.carrier import Carrier
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
BATCH_BYTES = 4 << 20
ROLL_UP_EVERY_S = 10.0
PRUNE_EVERY_S = 600.0
DEAD_LETTER = "dead.letter"
RETRY_S = (0.2, 0.5, 1.0, 2.0, 5.0)


@dataclass(slots=True)
class Taken:
    """A message and its points, made once: whether a run's message is an event depends on those before it."""

    record: Record
    event: Any  # acknowledges it
    points: list[Points] = field(default_factory=list)
    refused: str = ""


def batches(taken: Iterable[Taken]) -> Iterator[list[Taken]]:
    """Cut messages into batches of ``BATCH_BYTES`` of points: as many messages may hold very little or very much."""
    batch: list[Taken] = []
    size = 0
    for one in taken:
        batch.append(one)
        size += sum(points.nbytes for points in one.points)
        if size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


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
        self.buffered = sum(points.size for points in batch)
        try:
            await self._write_at_last(batch)
            self._points += self.buffered
        finally:
            self.buffered = 0

    async def _write_at_last(self, batch: list[Points]) -> None:
        loop = asyncio.get_running_loop()
        for attempt in itertools.count():
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
            return

    async def tidy(self, work: Callable[[int], int], now_ms: int) -> None:
        """Roll up what is due, or drop what is older than its retention, between two writes."""
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._thread, work, now_ms)
        except StoreUnavailable as exc:
            logger.debug("tidy=waits reason=%s", exc)  # the next round does it; that the store is away is told already

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
    maker = PointMaker(context.layout, context.view, context.clock)
    carrier = Carrier(app, context)
    intake = {topic: Intake() for topic in maker.topics}
    channel = app.topic(
        *(context.topic(topic) for topic in maker.topics),
        key_type=bytes,
        value_type=bytes,
        key_serializer="raw",
        value_serializer="raw",
    )

    def taken(event: Any) -> Taken:
        one = Taken(record_of(event, context), event)
        intake[one.record.topic].frames += 1
        try:
            one.points = maker.points_of(one.record)
        except MessageInvalid as exc:
            one.refused = str(exc)
        except StoreRejected as exc:
            one.refused = f"store-rejected: {exc}"
        return one

    async def write(batch: list[Taken]) -> None:
        """Write messages; when the store refuses the batch for good, find out which of them it is."""
        try:
            if points := [points for one in batch for points in one.points]:
                await writer.write(points)
        except StoreRejected as exc:
            if len(batch) > 1:
                for one in batch:
                    await write([one])
                return
            batch[0].refused = f"store-rejected: {exc}"
        # In the order of offsets: one that is acknowledged early would commit those before it, too.
        for one in batch:
            if one.refused:
                intake[one.record.topic].dead += 1
            if one.refused and one.record.topic != DEAD_LETTER:
                await carrier.carry([Dead(one.record, one.refused, (one.event,))])
            else:
                carrier.acknowledge([one.event])  # a letter about a letter could go on for ever

    @app.agent(channel, concurrency=1)
    async def take(stream: Any) -> None:
        # noack, too: when the agent fails or stops, noack_take gives its stream back the acknowledging it had before,
        # while messages still flow through it.
        async for events in stream.noack().noack_take(TAKE_N, within=context.history_within_s):
            for batch in batches(map(taken, events)):
                await write(batch)

    @app.timer(ROLL_UP_EVERY_S)
    async def roll_up() -> None:
        await writer.tidy(store.roll_up, context.clock.now_ms())

    @app.timer(PRUNE_EVERY_S)
    async def prune() -> None:
        await writer.tidy(store.prune, context.clock.now_ms())

    return Attached(intake, sink=writer.report)
