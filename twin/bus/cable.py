"""A consumer's cable to the memory bus: where it reads, and its seat in a group."""

from collections.abc import Callable, Collection, Iterable, Mapping
from enum import Enum
from typing import TYPE_CHECKING

from twin.bus.base import Place, Record, Start
from twin.bus.group import Group, Seat
from twin.errors import NotOwner

if TYPE_CHECKING:
    from twin.bus.memory import MemoryBus

HEARTBEATS_PER_SESSION = 3


class Step(Enum):
    """What a member of a group has to do next."""

    STAY = "go on"
    GIVE_UP = "a rebalance has begun: give the partitions up and join it"
    LOST = "expelled: the partitions are gone already; join again"
    TAKE_UP = "the rebalance is over: take the new partitions up"


class Cable:
    """What any consumer has of the bus, be it polled by a thread or by Faust.

    Parameters
    ----------
    topics
        What it reads.
    group
        Of which group it becomes a member with ``join``; ``None`` for a groupless reader.
    wake
        Called, with the bus locked, when there may be news.
    idle
        Tells whether all that was taken has been dealt with; called with the bus locked.
    """

    def __init__(
        self,
        bus: "MemoryBus",
        topics: Iterable[str],
        *,
        group: str | None = None,
        wake: Callable[[], None],
        idle: Callable[[], bool],
    ) -> None:
        self.topics = tuple(dict.fromkeys(topics))
        self.positions: dict[Place, int] = {}
        self.generation = 0
        self.wake = wake
        self._bus = bus
        self._counts = {topic: bus.partitions(topic) for topic in self.topics}
        self.group_name = group
        self._group: Group | None = None if group is None else bus.group(group)
        self._member = ""
        self._idle = idle
        self._cut = False
        bus.attach(self)

    def start_reading(self, start: Start) -> dict[Place, int]:
        """Begin to read all partitions without a group; return where each ends now."""
        with self._bus.lock:
            ends = {}
            for topic in self.topics:
                for partition, log in enumerate(self._bus.logs(topic)):
                    place = Place(topic, partition)
                    self.positions[place] = log.end if start == "end" else 0
                    ends[place] = log.end
            return ends

    def take(self, limit: int, among: Collection[Place] | None = None) -> list[Record]:
        """Return the next records of its partitions, or of those ``among`` them, and move on."""
        taken: list[Record] = []
        with self._bus.lock:
            if self._cut:
                return taken
            full = None
            for place, position in self.positions.items():
                log = self._bus.logs(place.topic)[place.partition]
                if position >= log.end or (among is not None and place not in among):
                    continue
                records = log.read(position, limit - len(taken))
                self.positions[place] = records[-1].offset + 1
                taken += records
                if len(taken) >= limit:
                    full = place
                    break
            if full is not None:  # to the end of the queue: a busy partition must not starve the others
                self.positions[full] = self.positions.pop(full)
        return taken

    def unread_ratio(self) -> float:
        """Return the largest share of a partition's retention that it has not read."""
        with self._bus.lock:
            logs = ((self._bus.logs(place.topic)[place.partition], at) for place, at in self.positions.items())
            return max((log.unread_ratio(at) for log, at in logs), default=0.0)

    def seek(self, place: Place, offset: int) -> None:
        """Read a partition of its own from an offset on."""
        with self._bus.lock:
            if place in self.positions:
                self.positions[place] = offset

    def join(self) -> None:
        """Join the group, or the rebalance that goes on in it, with empty hands."""
        with self._bus.lock:
            self.positions.clear()
            if self._cut or self._group is None:
                return
            if self._group.seat(self._member) is None:
                self._member = self._group.join(self._counts, self.wake, self._bus.clock())
            else:
                self._group.rejoin(self._member)

    def beat(self) -> Step:
        """Say that the member lives, and learn what it has to do."""
        with self._bus.lock:
            if self._group is not None and not self._cut:
                self._group.beat(self._member, self._bus.clock())
            return self.step()

    def step(self) -> Step:
        """Return what the member has to do next."""
        if self._group is None or self._cut:
            return Step.STAY
        seat = self._group.seat(self._member)
        if seat is None:
            return Step.LOST
        if self._group.rebalancing:
            return Step.STAY if seat.joined else Step.GIVE_UP
        return Step.STAY if seat.generation == self.generation else Step.TAKE_UP

    def take_up(self) -> frozenset[Place]:
        """Take what was dealt up, each partition from where the group committed last, else from its beginning."""
        with self._bus.lock:
            seat = self._seat()
            if seat is not None:
                self.generation = seat.generation
                self.positions = {place: self.committed(place) or 0 for place in sorted(seat.places)}
            return frozenset(self.positions)

    def committed(self, place: Place) -> int | None:
        """Return the next offset to read that the group has committed, no lower than the log's start."""
        with self._bus.lock:
            offset = None if self._group is None else self._group.committed.get(place)
            return None if offset is None else max(offset, self._bus.logs(place.topic)[place.partition].start)

    def commit(self, offsets: Mapping[Place, int] | None = None) -> None:
        """Remember the next offsets to read; ``None``: all that was taken.

        Raises
        ------
        NotOwner
            Another owns the partitions by now, or the cable was cut.
        """
        with self._bus.lock:
            if self._cut or self._group is None:
                raise NotOwner("the consumer has left or was cut off")
            self._group.commit(self._member, self.generation, self.positions if offsets is None else offsets)

    def leave(self) -> None:
        """Say goodbye."""
        with self._bus.lock:
            if self._group is not None and not self._cut:
                self._group.leave(self._member)
            self.cut()
            self.positions.clear()
            self._bus.detach(self)

    def cut(self) -> None:
        """Fall silent without goodbye, as a process that is killed: nothing passes from here on, either way."""
        with self._bus.lock:
            self._cut = True

    def idle(self) -> bool:
        """Tell whether nothing waits for this consumer and it has dealt with all that it took."""
        if self._cut:
            gone = self._seat() is None
            if gone:
                self._bus.detach(self)
            return gone  # until it is expelled nobody reads its partitions
        if self._group is not None and (self._group.rebalancing or self.step() is not Step.STAY):
            return False
        return self._idle() and not self._backlog()

    def _backlog(self) -> bool:
        logs = self._bus.logs
        return any(at < logs(place.topic)[place.partition].end for place, at in self.positions.items())

    def _seat(self) -> Seat | None:
        return None if self._group is None else self._group.seat(self._member)
