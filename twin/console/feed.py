"""The reader: polls the bus without a group, in a thread of its own, and fills the live picture."""

import threading
from contextlib import ExitStack, closing

from twin.bus.base import Bus
from twin.console.live import FOLLOWED, TOPICS, Live
from twin.events.topics import full_name

POLL_S = 0.1
LIMIT = 2000


class Feed:
    """Reads for one :class:`Live`.

    Parameters
    ----------
    bus
        Where from.
    namespace
        Prefix of the topics.
    live
        Where to.
    """

    def __init__(self, bus: Bus, namespace: str, live: Live) -> None:
        self._bus = bus
        self._namespace = namespace
        self._live = live
        self._stop = threading.Event()

    def run(self) -> None:
        """Read until :meth:`stop`; looks ten times a second, so that many messages cost one wake-up.

        Raises
        ------
        BusError
            A topic is missing, or the bus is gone.
        """
        with ExitStack() as stack:
            readers = [
                stack.enter_context(closing(self._bus.follow(full_name(topic, self._namespace)))) for topic in FOLLOWED
            ]
            names = [full_name(topic, self._namespace) for topic in TOPICS]
            readers.append(stack.enter_context(closing(self._bus.read(names))))
            while not self._stop.wait(POLL_S):
                for reader in readers:
                    self._live.take(reader.poll(limit=LIMIT))

    def stop(self) -> None:
        """Let :meth:`run` return at its next look."""
        self._stop.set()
