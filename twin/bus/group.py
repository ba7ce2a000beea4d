"""Who owns which partition: the coordinator of a consumer group, after Kafka's eager protocol.

A join, a leave or a silence begins a rebalance. Every member gives its partitions up and joins again; when all have
done so they are dealt out anew, under a new generation. No I/O, no lock and no clock of its own: the bus has them.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from twin.bus.base import Place
from twin.errors import NotOwner


@dataclass(slots=True)
class Seat:
    """What the coordinator knows of a member.

    Attributes
    ----------
    topics
        What it reads, each with its number of partitions.
    wake
        Called when the member has something to learn.
    seen_s
        When it was last heard of [s].
    generation, places
        What it was dealt last.
    joined
        Whether it takes part in the rebalance under way.
    """

    topics: Mapping[str, int]
    wake: Callable[[], None]
    seen_s: float
    generation: int = 0
    places: frozenset[Place] = frozenset()
    joined: bool = True


def deal(members: Mapping[str, Mapping[str, int]]) -> dict[str, frozenset[Place]]:
    """Deal all partitions out in a circle, as Kafka's round robin does.

    Parameters
    ----------
    members
        For each member the topics that it reads, each with its number of partitions.

    Examples
    --------
    >>> dealt = deal({"a": {"t": 3}, "b": {"t": 3}})
    >>> sorted(place.partition for place in dealt["a"]), sorted(place.partition for place in dealt["b"])
    ([0, 2], [1])
    """
    places = sorted({Place(topic, p) for topics in members.values() for topic, n in topics.items() for p in range(n)})
    names = sorted(members)
    dealt: dict[str, set[Place]] = {name: set() for name in names}
    turn = 0
    for place in places:
        while place.topic not in members[names[turn % len(names)]]:
            turn += 1
        dealt[names[turn % len(names)]].add(place)
        turn += 1
    return {name: frozenset(mine) for name, mine in dealt.items()}


class Group:
    """A consumer group: its members, its generation, and the offsets that it has committed."""

    def __init__(self, name: str, session_timeout_s: float) -> None:
        self.name = name
        self.generation = 0
        self.committed: dict[Place, int] = {}
        self.rebalancing = False
        self._seats: dict[str, Seat] = {}
        self._session_timeout_s = session_timeout_s
        self._joins = 0

    def join(self, topics: Mapping[str, int], wake: Callable[[], None], now_s: float) -> str:
        """Take a new member in and return its id; ids sort in the order of joining."""
        self._joins += 1
        member = f"{self.name}-{self._joins:06d}"
        self._seats[member] = Seat(topics, wake, now_s)
        self._begin(joined=member)
        return member

    def leave(self, member: str) -> None:
        """Let a member go; one that is not there is no error."""
        if self._seats.pop(member, None) is not None:
            self._begin()

    def seat(self, member: str) -> Seat | None:
        """Return the seat of a member; ``None`` if it was expelled."""
        return self._seats.get(member)

    def seats(self) -> Iterable[Seat]:
        """Return all seats."""
        return self._seats.values()

    def beat(self, member: str, now_s: float) -> Seat | None:
        """Hear from a member, expel those that fell silent, and return its seat, or ``None`` if it lost it."""
        seat = self._seats.get(member)
        if seat is not None:
            seat.seen_s = now_s
        self.expire(now_s)
        return seat

    def expire(self, now_s: float) -> None:
        """Expel all members that have not been heard of for the session timeout."""
        silent = [name for name, seat in self._seats.items() if now_s - seat.seen_s > self._session_timeout_s]
        for name in silent:
            del self._seats[name]
        if silent:
            self._begin()

    def rejoin(self, member: str) -> None:
        """Give the member's partitions up and take part in the rebalance under way."""
        seat = self._seats[member]
        seat.places = frozenset()
        seat.joined = True
        self._finish_if_all_joined()

    def commit(self, member: str, generation: int, offsets: Mapping[Place, int]) -> None:
        """Remember the next offsets to read; none is no error, whoever asks.

        Raises
        ------
        NotOwner
            The member was expelled, its generation has passed, or it does not own one of the partitions.
        """
        if not offsets:
            return
        seat = self._seats.get(member)
        if seat is None:
            raise NotOwner(f"member {member} is not in group {self.name} any more")
        if generation != self.generation:
            raise NotOwner(f"member {member} commits in generation {generation}; {self.name} is in {self.generation}")
        foreign = offsets.keys() - seat.places
        if foreign:
            raise NotOwner(f"member {member} of group {self.name} does not own {sorted(foreign)}")
        self.committed.update(offsets)

    def _begin(self, joined: str | None = None) -> None:
        for name, seat in self._seats.items():
            # one that has given its partitions up already has nothing to lose: it need not do so again
            seat.joined = name == joined or (self.rebalancing and seat.joined)
        self.rebalancing = bool(self._seats)
        self._finish_if_all_joined()
        self._wake_all()

    def _finish_if_all_joined(self) -> None:
        if not self.rebalancing or not all(seat.joined for seat in self._seats.values()):
            return
        self.generation += 1
        self.rebalancing = False
        dealt = deal({name: seat.topics for name, seat in self._seats.items()})
        for name, seat in self._seats.items():
            seat.places = dealt[name]
            seat.generation = self.generation
        self._wake_all()

    def _wake_all(self) -> None:
        for seat in self._seats.values():
            seat.wake()
