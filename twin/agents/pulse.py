"""What the apps ``rows`` and ``site`` have in common: a keeper that is fed by a stream and by time."""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

import faust
from faust.types import TP

from twin.agents.carrier import Carrier
from twin.agents.context import Context
from twin.bus.base import Record
from twin.state.outputs import Output

BEAT_S = 0.1


class Keeper(Protocol):
    """A keeper of state."""

    def take(self, record: Record, token: Any, now_ms: int) -> list[Output]:
        """Take one message."""
        ...

    def tick(self, now_ms: int, *, queue_empty: bool) -> list[Output]:
        """Do what time asks for."""
        ...


def record_of(event: Any, context: Context) -> Record:
    """Return the message of an event of a stream, its topic without namespace."""
    message = event.message
    return Record(
        context.short(message.topic),
        message.partition,
        message.offset,
        int(1000 * (message.timestamp or 0)),
        message.key,
        message.value,
    )


class Progress:
    """How far a keeper has been given what was published for this worker.

    Faust counts a message as read when it stands in the queue of a stream, where nobody has dealt with it.
    """

    def __init__(self, app: faust.App) -> None:
        self._app = app
        self._generation = -1
        self._next: dict[TP, int] = {}

    def took(self, event: Any) -> None:
        """Note that the keeper has been given a message; one from before a rebalance comes again, to whom it may be."""
        message = event.message
        if message.generation_id == self._app.consumer_generation_id:
            self._of_generation()[message.tp] = message.offset + 1

    async def queue_empty(self) -> bool:
        """Tell whether the keeper has been given all that was published for this worker."""
        consumer: Any = self._app.consumer
        places, known = consumer.assignment(), self._of_generation()
        for tp in places:
            end = consumer.highwater(tp)
            if end is None:
                return False  # nobody has looked yet
            next_ = known.get(tp, consumer._committed_offset.get(tp) or 0)  # noqa: SLF001
            if next_ < end and (tp in known or (await consumer.earliest_offsets(tp)).get(tp, 0) < end):
                return False
        return bool(places)

    def _of_generation(self) -> dict[TP, int]:
        if self._generation != self._app.consumer_generation_id:
            self._generation = self._app.consumer_generation_id
            self._next = {}
        return self._next


def run_keeper(
    app: faust.App,
    context: Context,
    keeper: Keeper,
    topics: tuple[str, ...],
    carrier: Carrier,
    *,
    own: Callable[[set[int]], None] = lambda _: None,
) -> None:
    """Attach a keeper: one agent over its topics, and a task that keeps time.

    Nothing is acknowledged before what became of it is out.

    Parameters
    ----------
    own
        Told the partition of each message of the present generation: after a rebalance messages may come before
        Faust tells of the assignment, and what a keeper passed over would be a hole that a later commit skips.
    """
    progress = Progress(app)
    awake = asyncio.Event()
    turn = asyncio.Lock()  # what was said first goes out first: a mended picture must not be followed by an older one
    context.control_changed.append(awake.set)
    channel = app.topic(
        *(context.topic(topic) for topic in topics),
        key_type=bytes,
        value_type=bytes,
        key_serializer="raw",
        value_serializer="raw",
    )

    @app.agent(channel, concurrency=1)
    async def take(stream: Any) -> None:
        async for event in stream.noack().events():
            if event.message.generation_id == app.consumer_generation_id:
                own({event.message.partition})
            carrier.expect(event)
            async with turn:
                outputs = keeper.take(record_of(event, context), event, context.clock.now_ms())
                progress.took(event)
                await carrier.carry(outputs)

    @app.task
    async def keep_time() -> None:
        while not app.should_stop:
            async with turn:
                empty = await progress.queue_empty()
                await carrier.carry(keeper.tick(context.clock.now_ms(), queue_empty=empty))
            awake.clear()
            try:
                async with asyncio.timeout(BEAT_S):
                    await awake.wait()
            except TimeoutError:
                continue


def on_partitions(
    app: faust.App, topic: str, assign: Callable[[set[int]], None], revoke: Callable[[set[int]], None]
) -> None:
    """Tell a keeper which partitions of a topic come and go."""

    def of_topic(places: set[TP]) -> set[int]:
        return {place.partition for place in places if place.topic == topic}

    @app.on_partitions_assigned.connect(weak=False)
    async def assigned(_: faust.App, assigned: set[TP], **__: Any) -> None:
        assign(of_topic(assigned))

    @app.on_partitions_revoked.connect(weak=False)
    async def revoked(_: faust.App, revoked: set[TP], **__: Any) -> None:
        revoke(of_topic(revoked))
