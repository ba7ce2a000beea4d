"""The bus of the one-process mode: topics in RAM that keep those of Kafka's promises that this project relies on."""

import logging
import re
import threading
import time
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from twin.bus.base import Bus, Member, OnPlaces, Place, Reader, Record, Start
from twin.bus.cable import HEARTBEATS_PER_SESSION, Cable, Step
from twin.bus.group import Group
from twin.bus.log import Log, Retention, record_bytes
from twin.errors import BusError, MessageTooLarge, NotOwner, UnknownTopic
from twin.events.topics import MAX_MESSAGE_BYTES, Topic, full_name

logger = logging.getLogger(__name__)

_BUSES: dict[str, "MemoryBus"] = {}
_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


class MemoryBus(Bus):
    """Topics in the memory of this process; every method may be called from any thread.

    It can be found by its name (``memory://<name>``) from its making to its closing.

    Parameters
    ----------
    name
        Lower-case letters, digits and hyphens; no two buses of a process have the same.
    clock
        A clock that never goes back [s]: ages and silences are measured by it.
    wall_ms
        The time of day [ms since 1970], for messages that bring none.
    session_timeout_s
        A member of a group that is not heard of for so long [s] is expelled.

    Notes
    -----
    A topic's retention in bytes is divided evenly over its partitions. The age of a message counts from when it came,
    whatever timestamp it carries: a run that starts in the past is not forgotten at once.
    """

    def __init__(
        self,
        name: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_ms: Callable[[], int] = _wall_ms,
        session_timeout_s: float = 10.0,
    ) -> None:
        if not _NAME.fullmatch(name):
            raise BusError(f"bus name {name!r}: only lower-case letters, digits and hyphens are allowed")
        self.name = name
        self.session_timeout_s = session_timeout_s
        self.clock = clock
        self.lock = threading.RLock()
        self.closed = False
        self._wall_ms = wall_ms
        self._logs: dict[str, tuple[Log, ...]] = {}
        self._readers: dict[str, list[Cable]] = {}  # by topic: whom to wake
        self._cables: set[Cable] = set()
        self._groups: dict[str, Group] = {}
        if _BUSES.setdefault(name, self) is not self:
            raise BusError(f"there is a memory bus named {name!r} already")

    @staticmethod
    def find(name: str) -> "MemoryBus":
        """Return the open bus of a name.

        Raises
        ------
        BusError
            There is none.
        """
        bus = _BUSES.get(name)
        if bus is None:
            raise BusError(f"no memory bus named {name!r}: make it before the first app that reads memory://{name}")
        return bus

    def create_topics(self, topics: Iterable[Topic], namespace: str = "") -> None:
        for topic in topics:
            share = Retention(topic.retention_bytes // topic.partitions, topic.retention_s, topic.compacted)
            self.create_topic(full_name(topic.name, namespace), topic.partitions, share)

    def create_topic(self, name: str, partitions: int, retention: Retention) -> None:
        """Create one topic by its full name; one that is there already is left as it is."""
        with self.lock:
            if name not in self._logs:
                self._logs[name] = tuple(Log(retention) for _ in range(partitions))
                self._readers[name] = []

    def partitions(self, topic: str) -> int:
        return len(self.logs(topic))

    def topics(self) -> list[str]:
        with self.lock:
            return list(self._logs)

    def begins(self, topic: str) -> list[int]:
        with self.lock:
            return [log.start for log in self.logs(topic)]

    def logs(self, topic: str) -> tuple[Log, ...]:
        """Return the logs of a topic, one per partition; hold ``lock`` to use them."""
        try:
            return self._logs[topic]
        except KeyError:
            raise UnknownTopic(f"topic {topic!r} does not exist on memory bus {self.name!r}") from None

    def partition_of(self, topic: str, key: bytes | None) -> int:
        """Return the partition where messages of a key go when none is named."""
        return zlib.crc32(key or b"") % len(self.logs(topic))

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
        self.append(topic, value, key=key, partition=partition, timestamp_ms=timestamp_ms, headers=headers)

    def append(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None,
        partition: int | None,
        timestamp_ms: int | None,
        headers: Iterable[tuple[str, bytes]],
    ) -> Record:
        """Do what ``publish`` does, and return the record."""
        logs = self.logs(topic)
        if partition is None:
            partition = self.partition_of(topic, key)
        elif not 0 <= partition < len(logs):
            raise BusError(f"topic {topic!r} has no partition {partition}: it has {len(logs)}")
        log = logs[partition]
        # bytes() of bytes is the same object: only what the caller could still change is copied
        key = None if key is None else bytes(key)
        value = None if value is None else bytes(value)
        kept_headers = tuple((name, bytes(content)) for name, content in headers)
        timestamp_ms = self._wall_ms() if timestamp_ms is None else timestamp_ms
        with self.lock:
            if self.closed:
                raise BusError(f"memory bus {self.name!r} is closed")
            record = Record(topic, partition, log.end, timestamp_ms, key, value, kept_headers)
            if (size := record_bytes(record)) > MAX_MESSAGE_BYTES:
                raise MessageTooLarge(f"message of {size} bytes for {topic!r}: the limit is {MAX_MESSAGE_BYTES}")
            log.append(record, self.clock())
            place = Place(topic, partition)
            for cable in self._readers[topic]:
                if place in cable.positions:
                    cable.wake()
        return record

    def flush(self, timeout_s: float = 10.0) -> None:
        """Return at once: what was published is on the bus."""

    def read(self, topics: Iterable[str], *, start: Start | int = "end") -> "MemoryReader":
        return MemoryReader(self, topics, start)

    def join(
        self,
        group: str,
        topics: Iterable[str],
        *,
        on_assigned: OnPlaces | None = None,
        on_revoked: OnPlaces | None = None,
    ) -> "MemoryMember":
        return MemoryMember(self, group, topics, on_assigned, on_revoked)

    def attach(self, cable: Cable) -> None:
        """Take a consumer's cable in: it is woken by its topics and counts in ``settled``."""
        with self.lock:
            for topic in cable.topics:
                self._readers[topic].append(cable)
            self._cables.add(cable)

    def detach(self, cable: Cable) -> None:
        """Forget a cable."""
        with self.lock:
            if cable in self._cables:
                self._cables.discard(cable)
                for topic in cable.topics:
                    self._readers[topic].remove(cable)

    def group(self, name: str) -> Group:
        """Return the group of a name; it comes into being with its first member and keeps its offsets for ever."""
        with self.lock:
            if name not in self._groups:
                self._groups[name] = Group(name, self.session_timeout_s)
            return self._groups[name]

    def settled(self) -> bool:
        """Tell whether every consumer has an empty queue and an idle handler: the lock step of headless runs.

        For readers and members: all has been polled, and ``poll`` was called again, which says that the batch before
        was dealt with. For Faust's agents: all was read and all of it is acknowledged. A message in a hold-off has
        been acknowledged, so it counts as done. While a group rebalances, or waits for a member that has gone silent
        to be expelled, nothing is settled.

        It takes no tick: what closes a tick (``run.control`` with its ``settled_tick``) is a message like any other,
        so a bus without waiting messages has dealt with it too.
        """
        with self.lock:
            now_s = self.clock()
            for group in self._groups.values():
                group.expire(now_s)
            return all(cable.idle() for cable in self._cables.copy())

    def pressure(self, groups: Collection[str]) -> float:
        """Return how near some groups are to losing messages to retention: 0 nothing unread, 1 the oldest goes next."""
        with self.lock:
            return max((cable.unread_ratio() for cable in self._cables if cable.group_name in groups), default=0.0)

    def close(self) -> None:
        with self.lock:
            self.closed = True
            if _BUSES.get(self.name) is self:
                del _BUSES[self.name]
            for cable in self._cables:
                cable.wake()


class _Poller:
    """What a reader and a member share: a cable, and a thread that waits at its end."""

    def __init__(self, bus: MemoryBus, cable: Callable[[Callable[[], None], Callable[[], bool]], Cable]) -> None:
        self._bus = bus
        self._ready = threading.Condition(bus.lock)
        self._busy = False  # the records of the last poll may still be in work
        self._cable = cable(self._ready.notify_all, lambda: not self._busy)
        self._closed = False

    def close(self) -> None:
        with self._ready:
            self._closed = True
            self._cable.leave()
            self._ready.notify_all()

    def _take(self, limit: int) -> list[Record]:
        if self._closed or self._bus.closed:
            raise BusError("polled after it was closed")
        records = self._cable.take(limit)
        self._busy = bool(records)
        return records

    def _wait(self, timeout_s: float) -> float:
        """Wait for news; return how much of ``timeout_s`` [s] is left."""
        longest_s = min(timeout_s, self._bus.session_timeout_s / HEARTBEATS_PER_SESSION)
        since_s = self._bus.clock()
        if self._ready.wait(longest_s):
            longest_s = self._bus.clock() - since_s
        return timeout_s - longest_s


class MemoryReader(_Poller, Reader):
    """A groupless reader."""

    def __init__(self, bus: MemoryBus, topics: Iterable[str], start: Start | int) -> None:
        names = tuple(topics)
        super().__init__(bus, lambda wake, idle: Cable(bus, names, wake=wake, idle=idle))
        with bus.lock:
            self._goal = self._cable.start_reading("beginning" if isinstance(start, int) else start)
            if isinstance(start, int):
                for place, end in self._goal.items():
                    held = bus.logs(place.topic)[place.partition].read(0, end)
                    self._cable.seek(place, next((one.offset for one in held if one.timestamp_ms >= start), end))

    def poll(self, timeout_s: float = 0.0, *, limit: int = 1000) -> list[Record]:
        with self._ready:
            records = self._take(limit)
            while not records and timeout_s > 0:
                timeout_s = self._wait(timeout_s)
                records = self._take(limit)
            return records

    def aim(self) -> None:
        with self._ready:
            self._goal = {place: self._bus.logs(place.topic)[place.partition].end for place in self._goal}

    def caught_up(self) -> bool:
        with self._ready:
            return all(self._cable.positions[place] >= end for place, end in self._goal.items())


class MemoryMember(_Poller, Member):
    """A member of a group."""

    def __init__(
        self,
        bus: MemoryBus,
        group: str,
        topics: Iterable[str],
        on_assigned: OnPlaces | None,
        on_revoked: OnPlaces | None,
    ) -> None:
        names = tuple(topics)
        super().__init__(bus, lambda wake, idle: Cable(bus, names, group=group, wake=wake, idle=idle))
        self._on_assigned = on_assigned
        self._on_revoked = on_revoked
        self._cable.join()

    def poll(self, timeout_s: float = 0.0, *, limit: int = 1000) -> list[Record]:
        while True:
            self._rebalance()
            with self._ready:
                records = self._take(limit)
                if records or timeout_s <= 0:
                    return records
                if self._cable.step() is Step.STAY:
                    timeout_s = self._wait(timeout_s)

    def _rebalance(self) -> None:
        # outside the lock: what the callbacks do may take its time
        while (step := self._cable.beat()) is not Step.STAY:
            if step is Step.TAKE_UP:
                taken = self._cable.take_up()
                if taken and self._on_assigned is not None:
                    self._on_assigned(taken)
            else:
                given = self.assignment
                if given and self._on_revoked is not None:
                    self._revoke(given, self._on_revoked)
                self._cable.join()

    def _revoke(self, given: frozenset[Place], on_revoked: OnPlaces) -> None:
        try:
            on_revoked(given)
        except NotOwner as exc:  # expelled before it could commit: the next owner reads that part again
            logger.warning("commit_on_revoke=refused reason=%s", exc)

    def commit(self, offsets: Mapping[Place, int] | None = None) -> None:
        self._cable.commit(offsets)

    def drop(self) -> None:
        """Fall silent without a goodbye, as in a crash: the session timeout hands the partitions over."""
        self._cable.cut()

    @property
    def assignment(self) -> frozenset[Place]:
        with self._ready:
            return frozenset(self._cable.positions)
