"""Follows control topics into a process, without a group: each process must hear every word (DESIGN.md section 4)."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from twin.bus.base import Bus, Record

POLL_S = 0.5


class Follower:
    """Reads compacted topics from their start in threads, and hands the records over in the event loop.

    Parameters
    ----------
    bus
        Where the topics are.
    handlers
        Full topic name -> what to do with each record, in the event loop of :meth:`start`.
    crash
        Told what ended the reading of a topic after the start: nobody may go on without hearing it.
    """

    def __init__(
        self,
        bus: Bus,
        handlers: Mapping[str, Callable[[Record], None]],
        crash: Callable[[BaseException], Awaitable[None]],
    ) -> None:
        self._bus = bus
        self._handlers = handlers
        self._crash = crash
        self._stopping = False
        self._threads = ThreadPoolExecutor(len(handlers), "follow")
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin; returns when all that the topics held at this moment has been handled.

        Raises
        ------
        BusError
            A topic could not be read up to there; what a handler raises comes out here, too.
        """
        for topic, handle in self._handlers.items():
            caught_up = asyncio.Event()
            following = asyncio.create_task(self._follow(topic, handle, caught_up))
            ready = asyncio.create_task(caught_up.wait())
            await asyncio.wait({following, ready}, return_when=asyncio.FIRST_COMPLETED)
            if following.done():
                ready.cancel()
                await following
            self._tasks.append(asyncio.create_task(self._watch(following)))

    async def stop(self) -> None:
        """Stop reading."""
        self._stopping = True
        await asyncio.gather(*self._tasks)
        self._threads.shutdown()

    async def _follow(self, topic: str, handle: Callable[[Record], None], caught_up: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        reader = self._bus.follow(topic)
        try:
            while not self._stopping:
                wait_s = POLL_S if caught_up.is_set() else 0.0
                # The next poll says that this reader is idle: only when all is dealt with.
                records = await loop.run_in_executor(self._threads, reader.poll, wait_s)
                all_read = reader.caught_up()
                for record in records:
                    handle(record)
                if all_read:
                    caught_up.set()
        finally:
            reader.close()

    async def _watch(self, following: asyncio.Task[None]) -> None:
        (ended_by,) = await asyncio.gather(following, return_exceptions=True)
        if ended_by is not None:
            await self._crash(ended_by)
