"""The port of the bus: what every implementation promises, and the shapes that cross it.

Names of topics and groups are full names (with the namespace); ``twin.events.topics`` makes them.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from twin.errors import BusError, UnknownTopic
from twin.events.topics import TOPICS, Topic, full_name

logger = logging.getLogger(__name__)

READ_UP_POLL_S = 0.1


class Record(NamedTuple):
    """One message of a topic, as it was published."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


class Place(NamedTuple):
    """A partition of a topic."""

    topic: str
    partition: int


Start = Literal["beginning", "end"]
OnPlaces = Callable[[frozenset[Place]], None]


class Reader(ABC):
    """A groupless reader of whole topics; it commits nothing."""

    @abstractmethod
    def poll(self, timeout_s: float = 0.0, *, limit: int = 1000) -> list[Record]:
        """Return what has come since the last call, in order per partition; wait up to ``timeout_s`` [s].

        To poll again says that all records of the call before have been dealt with.
        """

    @abstractmethod
    def caught_up(self) -> bool:
        """Tell whether the reader has returned all that the topics held when it began, or was aimed last."""

    @abstractmethod
    def aim(self) -> None:
        """Let it be caught up only when it has returned all that the topics hold now."""

    @abstractmethod
    def close(self) -> None:
        """Stop reading."""

    def read_up(self, timeout_s: float = 10.0) -> list[Record]:
        """Return all that the topics held when the reader began, or was aimed last.

        Raises
        ------
        BusError
            It did not come within ``timeout_s`` [s] of waiting.
        """
        records: list[Record] = []
        for came in self._up(timeout_s):
            records += came
        return records

    def read_rest(self, timeout_s: float = 1.0) -> list[Record]:
        """Return what the topics hold by now and has not been returned, before the reader is closed.

        A single poll is not all of it: a Kafka sends what it is asked for a little later. What does not come within
        ``timeout_s`` [s] of waiting is left, and told of.
        """
        records: list[Record] = []
        try:
            self.aim()
            for came in self._up(timeout_s):
                records += came
        except BusError as exc:
            logger.warning("rest=unread reason=%s", exc)
        return records

    def _up(self, timeout_s: float) -> Iterator[list[Record]]:
        waits_left = round(timeout_s / READ_UP_POLL_S)
        while not self.caught_up():
            came = self.poll(READ_UP_POLL_S)
            yield came
            waits_left -= not came
            if waits_left < 0:
                raise BusError(f"what the bus holds did not come within {timeout_s:g} s: look whether it is well")


class Member(ABC):
    """A member of a group: the partitions of its topics are shared out among all members."""

    @abstractmethod
    def poll(self, timeout_s: float = 0.0, *, limit: int = 1000) -> list[Record]:
        """Return records of the partitions it owns; also its heartbeat, and where a rebalance happens.

        ``on_revoked`` runs here before partitions are lost (commit there), ``on_assigned`` after new ones came.
        """

    @abstractmethod
    def commit(self, offsets: Mapping[Place, int] | None = None) -> None:
        """Remember the next offsets to read; ``None``: all that was polled.

        Raises
        ------
        NotOwner
            The partitions belong to another member by now.
        """

    @property
    @abstractmethod
    def assignment(self) -> frozenset[Place]:
        """The partitions that it owns now."""

    @abstractmethod
    def close(self) -> None:
        """Leave the group with a goodbye; its partitions go to the others at once."""


class Bus(ABC):
    """The one seam to Kafka."""

    @abstractmethod
    def create_topics(self, topics: Iterable[Topic], namespace: str = "") -> None:
        """Create topics as the table says; one that is there already is left as it is."""

    @abstractmethod
    def partitions(self, topic: str) -> int:
        """Return how many partitions a topic has.

        Raises
        ------
        UnknownTopic
            It does not exist.
        """

    @abstractmethod
    def topics(self) -> list[str]:
        """Return the full names of all topics that there are, but for those that the bus keeps for itself."""

    @abstractmethod
    def begins(self, topic: str) -> list[int]:
        """Return for each partition of a topic the lowest offset that can still be read.

        Raises
        ------
        UnknownTopic
            It does not exist.
        """

    @abstractmethod
    def publish(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None,
        partition: int | None = None,
        timestamp_ms: int | None = None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> None:
        """Send a message; order is kept per key, or per partition where one is named.

        Parameters
        ----------
        value
            ``None`` is a tombstone: it ends the key in a compacted topic.
        partition
            ``None``: by hash of the key.
        timestamp_ms
            ``None``: now. A Kafka forgets by it: what is older than the topic keeps is gone at once.

        Raises
        ------
        UnknownTopic, MessageTooLarge
        """

    @abstractmethod
    def flush(self, timeout_s: float = 10.0) -> None:
        """Return when all that was published is on the bus.

        Raises
        ------
        BusError
            Not within ``timeout_s``.
        """

    @abstractmethod
    def read(self, topics: Iterable[str], *, start: Start | int = "end") -> Reader:
        """Read whole topics without a group.

        Parameters
        ----------
        start
            Where to begin; a number: at the first message with such a timestamp [ms], or a later one.
        """

    @abstractmethod
    def join(
        self,
        group: str,
        topics: Iterable[str],
        *,
        on_assigned: OnPlaces | None = None,
        on_revoked: OnPlaces | None = None,
    ) -> Member:
        """Become a member of a group; partitions come with the first polls."""

    def follow(self, topic: str) -> Reader:
        """Read a compacted topic from its start, without a group: how control topics reach every process."""
        return self.read([topic], start="beginning")

    @abstractmethod
    def close(self) -> None:
        """Flush and stop."""


def check_topics(bus: Bus, namespace: str = "") -> None:
    """Look whether all topics of the table are there as it says.

    Raises
    ------
    BusError
        Which are missing or have another number of partitions, and what to do.
    """
    missing, wrong = [], []
    for topic in TOPICS:
        name = full_name(topic.name, namespace)
        try:
            partitions = bus.partitions(name)
        except UnknownTopic:
            missing.append(name)
            continue
        if partitions != topic.partitions:
            wrong.append(f"{name} has {partitions} partitions, not {topic.partitions}")
    absent = f"there is no topic {', '.join(missing)}"
    if wrong:
        told = "; ".join([*wrong, absent] if missing else wrong)
        raise BusError(
            f"{told}: delete what is wrong and run `colossus topics create`, or choose another namespace "
            "(COLOSSUS_NAMESPACE)"
        )
    if missing:
        raise UnknownTopic(f"{absent}: run `colossus topics create`")
