"""Follows control topics into a process, without a group: each process must hear every word (DESIGN.md section 4)."""

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping

from twin.bus.base import Bus, Reader, Record
from twin.errors import BusError

logger = logging.getLogger(__name__)
POLL_S = 0.5


class Follower:
    """Reads compacted topics from their start in a thread, and hands the records over in the event loop.

    Parameters
    ----------
    bus
        Where the topics are.
    handlers
        Full topic name -> what to do with each record, in the event loop of :meth:`start`.
    """

    def __init__(self, bus: Bus, handlers: Mapping[str, Callable[[Record], None]]) -> None:
        self._bus = bus
        self._handlers = handlers
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    async def start(self) -> None:
        """Begin; returns when all that the topics held at this moment has been handled.

        Raises
        ------
        BusError
            A topic could not be read up to there.
        """
        loop = asyncio.get_running_loop()
        for topic, handle in self._handlers.items():
            reader = self._bus.follow(topic)
            ready: asyncio.Future[None] = loop.create_future()
            thread = threading.Thread(
                target=self._run, args=(reader, handle, ready, loop), name=f"follow-{topic}", daemon=True
            )
            self._threads.append(thread)
            thread.start()
            await ready

    async def stop(self) -> None:
        """Stop reading."""
        self._stop.set()
        for thread in self._threads:
            while thread.is_alive():
                await asyncio.sleep(0.01)

    def _run(
        self,
        reader: Reader,
        handle: Callable[[Record], None],
        ready: asyncio.Future[None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        async def deal(records: list[Record], *, caught_up: bool) -> None:
            for record in records:
                handle(record)
            if caught_up and not ready.done():
                ready.set_result(None)

        def give_up(reason: BusError) -> None:
            if not ready.done():
                ready.set_exception(reason)

        try:
            said = False
            while not self._stop.is_set() and not loop.is_closed():
                records = reader.poll(POLL_S if said else 0.0)
                caught_up = not said and reader.caught_up()
                if records or caught_up:
                    # Wait until it is done: only then may the next poll say that this reader is idle.
                    asyncio.run_coroutine_threadsafe(deal(records, caught_up=caught_up), loop).result()
                said = said or caught_up
        except BusError as exc:
            logger.info("follower=ended reason=%s", exc)
            if not loop.is_closed():
                loop.call_soon_threadsafe(give_up, exc)
        finally:
            reader.close()
