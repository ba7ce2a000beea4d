import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from twin.bus.base import Place
from twin.bus.memory import MemoryBus, MemoryMember
from twin.errors import BusError, NotOwner
from twin.events.control import Command
from twin.events.topics import TOPICS, Topic


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def bus(clock: Clock) -> Iterator[MemoryBus]:
    bus = MemoryBus("memory-test", clock=clock, wall_ms=lambda: 1_795_500_000_000, session_timeout_s=10.0)
    bus.create_topics([Topic("t", Command, 4, "any", "event", retention_s=60)])
    yield bus
    bus.close()


# -- the bus itself


def test_a_bus_is_found_by_its_name_until_it_is_closed(bus: MemoryBus) -> None:
    assert MemoryBus.find("memory-test") is bus
    with pytest.raises(BusError, match="memory-test"):
        MemoryBus("memory-test")
    assert MemoryBus.find("memory-test") is bus
    bus.close()
    with pytest.raises(BusError, match="memory-test"):
        MemoryBus.find("memory-test")


@pytest.mark.parametrize("name", ["", "Demo", "a b", "x:1", "-x"])
def test_a_name_that_is_no_host_is_refused(name: str) -> None:
    with pytest.raises(BusError, match="name"):
        MemoryBus(name)


def test_a_closed_bus_takes_and_gives_nothing(bus: MemoryBus) -> None:
    reader = bus.read(["t"], start="beginning")
    bus.publish("t", b"v", key=b"k")
    bus.close()
    with pytest.raises(BusError, match="closed"):
        bus.publish("t", b"v", key=b"k")
    with pytest.raises(BusError, match="closed"):
        reader.poll()


def test_the_whole_table_of_topics_can_be_created(bus: MemoryBus) -> None:
    bus.create_topics(TOPICS, "ns")
    assert {bus.partitions(f"ns.{topic.name}") == topic.partitions for topic in TOPICS} == {True}


def test_bytes_are_not_copied(bus: MemoryBus) -> None:
    value = bytes(20_000)
    reader = bus.read(["t"])
    bus.publish("t", value, key=b"k")
    assert reader.poll()[0].value is value


def test_a_message_without_a_timestamp_gets_the_time_of_day(bus: MemoryBus) -> None:
    reader = bus.read(["t"])
    bus.publish("t", b"v", key=b"k")
    assert reader.poll()[0].timestamp_ms == 1_795_500_000_000


def test_retention_in_seconds_counts_from_the_publishing(bus: MemoryBus, clock: Clock) -> None:
    for now_s in (0.0, 30.0, 61.0, 62.0):
        clock.now_s = now_s
        bus.publish("t", b"%d" % now_s, key=b"k", partition=0, timestamp_ms=0)
    assert [record.value for record in bus.read(["t"], start="beginning").poll()] == [b"30", b"61", b"62"]


@pytest.mark.parametrize("kind", ["reader", "member"])
def test_a_waiting_poll_is_woken_by_a_message_and_by_a_close(kind: str) -> None:
    # with so long a session no heartbeat ends the wait by itself
    bus = MemoryBus("wake-test", session_timeout_s=1e6)
    bus.create_topics([Topic("t", Command, 4, "any", "event")])
    consumer = bus.read(["t"]) if kind == "reader" else bus.join("g", ["t"])
    consumer.poll()
    got: list[bytes | None] = []
    came, closed = threading.Event(), threading.Event()

    def poll_until_closed() -> None:
        try:
            while True:
                got.extend(record.value for record in consumer.poll(60.0))
                came.set()
        except BusError:
            closed.set()

    def wait_until_it_waits() -> None:
        while not consumer._ready._waiters:  # type: ignore[attr-defined]
            assert waiting.is_alive()

    waiting = threading.Thread(target=poll_until_closed)
    waiting.start()
    wait_until_it_waits()
    bus.publish("t", b"v", key=b"k")
    assert came.wait(30.0)
    wait_until_it_waits()
    consumer.close()
    assert closed.wait(30.0)
    assert got == [b"v"]
    bus.close()


def test_many_threads_publish_and_all_arrives_once_and_in_order(bus: MemoryBus) -> None:
    reader = bus.read(["t"])

    def publish(sender: int) -> None:
        for i in range(500):
            bus.publish("t", b"%d" % i, key=b"sender-%d" % sender)

    threads = [threading.Thread(target=publish, args=(sender,)) for sender in range(4)]
    for thread in threads:
        thread.start()
    by_key = defaultdict(list)
    while sum(map(len, by_key.values())) < 2000:
        records = reader.poll(10.0, limit=70)
        assert records
        for record in records:
            by_key[record.key].append(int(record.value or b"-1"))
    for thread in threads:
        thread.join()
    assert all(numbers == list(range(500)) for numbers in by_key.values())


# -- silence and settling


def test_a_silent_member_loses_its_partitions_after_the_session_timeout(bus: MemoryBus, clock: Clock) -> None:
    silent, alive = bus.join("g", ["t"]), bus.join("g", ["t"])
    for member in (silent, alive, silent, alive):
        member.poll()
    assert len(silent.assignment) == len(alive.assignment) == 2
    lost = silent.assignment
    for _ in range(2):
        clock.now_s += 5.0
        alive.poll()
    assert len(alive.assignment) == 2
    clock.now_s += 0.1
    alive.poll()
    assert len(alive.assignment) == 4
    with pytest.raises(NotOwner):
        silent.commit(dict.fromkeys(lost, 1))
    # it was not dead, only slow: it comes back with its next poll
    for member in (silent, alive, silent, alive):
        member.poll()
    assert len(silent.assignment) == len(alive.assignment) == 2


def test_one_that_was_expelled_is_told_and_its_late_commit_does_no_harm(
    bus: MemoryBus, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    revoked: list[frozenset[Place]] = []

    def on_revoked(places: frozenset[Place]) -> None:
        revoked.append(places)
        slow.commit()

    slow = bus.join("g", ["t"], on_revoked=on_revoked)
    slow.poll()
    everything = slow.assignment
    clock.now_s += 11.0
    other = bus.join("g", ["t"])
    other.poll()
    with caplog.at_level(logging.WARNING, logger="twin.bus.memory"):
        slow.poll()
    assert revoked == [everything]
    assert "commit_on_revoke=refused" in caplog.text


def settled_after(bus: MemoryBus, *steps: Callable[[], object]) -> list[bool]:
    found = []
    for step in steps:
        step()
        found.append(bus.settled())
    return found


def nothing() -> None:
    """A step in which nothing happens."""


def test_settled_means_polled_and_polled_again(bus: MemoryBus) -> None:
    assert bus.settled()
    reader = bus.read(["t"])
    member = bus.join("g", ["t"])

    def publish() -> None:
        bus.publish("t", b"v", key=b"k")

    # a member that has not polled yet has no partitions: nothing is settled
    assert settled_after(bus, nothing, member.poll, member.poll) == [False, True, True]
    assert settled_after(bus, publish, reader.poll, reader.poll, member.poll, member.poll) == [False] * 4 + [True]
    assert settled_after(bus, publish, member.poll, member.poll, reader.close) == [False, False, False, True]
    assert settled_after(bus, publish, member.close) == [False, True]


def test_a_rebalance_and_a_silent_member_are_not_settled(bus: MemoryBus, clock: Clock) -> None:
    first = bus.join("g", ["t"])
    first.poll()
    assert bus.settled()
    second = bus.join("g", ["t"])
    assert settled_after(bus, nothing, first.poll, second.poll, first.poll, second.poll)[:2] == [False, False]
    assert bus.settled()
    second.drop()
    assert not bus.settled()
    clock.now_s += 9.0
    first.poll()
    assert not bus.settled()
    clock.now_s += 2.0
    assert not bus.settled()  # expelled, but its partitions have no owner yet
    first.poll()
    assert bus.settled()
    assert len(first.assignment) == 4


def test_an_expelled_member_that_was_the_last_holds_nothing_up(bus: MemoryBus, clock: Clock) -> None:
    member = bus.join("g", ["t"])
    member.poll()
    member.drop()
    clock.now_s += 11.0
    assert bus.settled()


def test_a_committed_offset_is_never_below_the_start_of_its_log(bus: MemoryBus) -> None:
    bus.create_topics([Topic("small", Command, 1, "any", "event", retention_bytes=1000)])
    member = bus.join("g", ["small"])
    member.poll()
    place = Place("small", 0)
    member.commit({place: 0})
    assert member._cable.committed(place) == 0
    for _ in range(100):
        bus.publish("small", bytes(99), key=b"k")
    assert member._cable.committed(place) == 90


def test_a_dropped_member_reads_and_commits_nothing(bus: MemoryBus) -> None:
    member = bus.join("g", ["t"])
    member.poll()
    bus.publish("t", b"v", key=b"k")
    member.drop()
    assert member.poll() == []
    with pytest.raises(NotOwner):
        member.commit()
    member.close()
    assert len(list(bus.group("g").seats())) == 1


# -- any course of events

PARTITIONS = 3


class GroupLife(RuleBasedStateMachine):
    """Members come, go and crash while messages flow."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.bus = MemoryBus("group-life", clock=self.clock, session_timeout_s=10.0)
        self.bus.create_topics([Topic("t", Command, PARTITIONS, "any", "event")])
        self.members: list[MemoryMember] = []
        self.owners: dict[tuple[int, Place], MemoryMember] = {}
        self.ends: dict[Place, int] = {Place("t", p): 0 for p in range(PARTITIONS)}
        self.delivered: dict[Place, set[int]] = defaultdict(set)
        self.next: dict[tuple[MemoryMember, Place], int] = {}

    def teardown(self) -> None:
        try:
            self.the_last_one_reads_what_nobody_committed()
        finally:
            self.bus.close()

    def the_last_one_reads_what_nobody_committed(self) -> None:
        for member in self.members:
            member.close()
        last = self.join()
        for _ in range(8):  # long enough for the crashed ones to be expelled
            self.clock.now_s += 2.0
            self.deliver(last)
        last.commit()
        for place, end in self.ends.items():
            assert self.delivered[place] == set(range(end))
            assert self.bus.group("g").committed.get(place, 0) == end

    @initialize()
    def first(self) -> None:
        self.join()

    @precondition(lambda self: len(self.members) < 4)
    @rule()
    def another(self) -> None:
        self.join()

    def join(self) -> MemoryMember:
        def assigned(places: frozenset[Place]) -> None:
            generation = member._cable.generation
            for place in places:
                assert self.owners.setdefault((generation, place), member) is member
                self.next.pop((member, place), None)

        member = self.bus.join("g", ["t"], on_assigned=assigned, on_revoked=lambda places: member.commit())
        self.members.append(member)
        return member

    def deliver(self, member: MemoryMember, limit: int = 1000) -> None:
        for record in member.poll(limit=limit):
            place = Place(record.topic, record.partition)
            assert place in member.assignment
            committed = self.bus.group("g").committed.get(place, 0)
            assert record.offset == self.next.get((member, place), committed)
            self.next[member, place] = record.offset + 1
            self.delivered[place].add(record.offset)

    @rule(partition=st.integers(0, PARTITIONS - 1), n=st.integers(1, 5))
    def publish(self, partition: int, n: int) -> None:
        for _ in range(n):
            self.bus.publish("t", b"v", key=b"k", partition=partition)
            self.ends[Place("t", partition)] += 1

    @precondition(lambda self: self.members)
    @rule(data=st.data(), limit=st.integers(1, 4))
    def poll(self, data: st.DataObject, limit: int) -> None:
        self.deliver(data.draw(st.sampled_from(self.members)), limit)

    @precondition(lambda self: self.members)
    @rule(data=st.data())
    def commit(self, data: st.DataObject) -> None:
        member = data.draw(st.sampled_from(self.members))
        try:
            member.commit()
        except NotOwner:
            seat = self.bus.group("g").seat(member._cable._member)
            assert seat is None or seat.generation != member._cable.generation

    @precondition(lambda self: self.members)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        member = data.draw(st.sampled_from(self.members))
        self.members.remove(member)
        member.close()

    @precondition(lambda self: self.members)
    @rule(data=st.data())
    def crash(self, data: st.DataObject) -> None:
        member = data.draw(st.sampled_from(self.members))
        self.members.remove(member)
        member.drop()

    @rule(seconds=st.floats(0.1, 12.0))
    def wait(self, seconds: float) -> None:
        self.clock.now_s += seconds

    @invariant()
    def what_is_committed_was_delivered(self) -> None:
        for place, offset in self.bus.group("g").committed.items():
            assert self.delivered[place] >= set(range(offset))

    @invariant()
    def no_partition_has_two_owners(self) -> None:
        owned = [place for seat in self.bus.group("g").seats() for place in seat.places]
        assert len(owned) == len(set(owned))


GroupLife.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestGroupLife = GroupLife.TestCase


def test_pressure_tells_how_near_a_group_is_to_losing_messages() -> None:
    bus = MemoryBus("pressure")
    bus.create_topics([Topic("t", Command, 1, "any", "event", retention_bytes=100_000)])
    member = bus.join("slow", ["t"])
    while not member.assignment:
        member.poll()
    other = bus.join("other", ["t"])
    while not other.assignment:
        other.poll()
    assert bus.pressure({"slow"}) == 0.0
    seen = []
    for _ in range(20):
        bus.publish("t", b"x" * 9_900, key=b"k")
        seen.append(bus.pressure({"slow"}))
        while other.poll():
            pass
    assert seen == sorted(seen)
    assert 0.45 < seen[4] < 0.55
    assert 0.9 < seen[-1] <= 1.0
    assert bus.pressure({"other"}) == 0.0
    assert bus.pressure({"slow", "other"}) == seen[-1]
    while member.poll():
        pass
    assert bus.pressure({"slow"}) == 0.0
    bus.close()
