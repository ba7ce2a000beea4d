"""One running app of the observer: its control topics first, then the app."""

import asyncio
import logging
from dataclasses import dataclass

import faust
from aiokafka.errors import KafkaError

from twin.agents.context import Context
from twin.agents.follower import Follower
from twin.errors import BusError, StartError

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 8.0
logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Worker:
    """An app, and what it follows."""

    app: faust.App
    follower: Follower
    context: Context

    async def start(self) -> None:
        """Start the follower, then the app.

        Raises
        ------
        StartError
            The app failed, or its group did not take it in.
        BusError
            A control topic cannot be read, or the bus refuses the app.
        """
        await self.follower.start()
        self.app.loop = asyncio.get_running_loop()
        self.app.finalize()
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await self.app.start()
        except KafkaError as exc:
            raise BusError(f"the app {self.context.worker} is not let in by the bus: {exc!r}") from exc
        except TimeoutError as exc:
            raise StartError(
                f"the app {self.context.worker} had not begun to work after {START_TIMEOUT_S:g} s: look whether the "
                "bus is well, and try again"
            ) from exc
        self.check()

    async def stop(self) -> bool:
        """Stop the app with a goodbye to its group, then the follower; tell whether that was possible.

        A bus that is away cannot be said goodbye to, and what waits for it does not end: the next worker reads again
        what is not acknowledged.
        """
        stopping = asyncio.ensure_future(self.app.stop())
        _, waits = await asyncio.wait({stopping}, timeout=STOP_TIMEOUT_S)
        if waits:
            logger.warning("worker=%s stop=without_goodbye reason=the bus does not answer", self.context.worker)
            return False
        stopping.result()
        await self.follower.stop()
        return True

    def check(self) -> None:
        """Raise what ended the app, if something did.

        Raises
        ------
        StartError
            The app has crashed.
        """
        if self.app.crashed:
            raise StartError(f"the app {self.context.worker} has failed") from self.app.crash_reason
