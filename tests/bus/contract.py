"""What every bus has to keep: a suite over the port alone, and a harness for what the port cannot do.

To add a bus: a harness and a subclass of ``BusContract`` with it, and a row in ``IMPLEMENTATIONS``.
"""

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterable

import pytest

from twin.bus.base import Bus, Member, Place, Reader, Record
from twin.errors import BusError, MessageTooLarge, NotOwner, UnknownTopic
from twin.events.control import Command
from twin.events.topics import MAX_MESSAGE_BYTES, Topic

# name of the class: the test module that runs the suite over it
IMPLEMENTATIONS = {
    "KafkaBus": "tests/stack/test_kafka_contract.py",
    "MemoryBus": "tests/bus/test_memory_contract.py",
}


class Harness(ABC):
    """A bus under test."""

    bus: Bus
    poll_s: float  # how long one poll waits [s]
    patience: int  # how many rounds of polls are waited for a thing to happen

    def __init__(self) -> None:
        self._topics = 0

    @abstractmethod
    def crash(self, member: Member) -> None:
        """Let a member vanish without a goodbye."""

    @abstractmethod
    def pass_time(self) -> None:
        """Let a little time go by; called in every round."""

    def topic(self, partitions: int = 1, **kwargs: object) -> str:
        self._topics += 1
        topic = Topic(f"contract.{self._topics}", Command, partitions, "any", "event", **kwargs)  # type: ignore[arg-type]
        self.bus.create_topics([topic])
        return topic.name

    def until(self, happened: Callable[[], bool], *members: Member) -> list[Record]:
        """Poll the members in turn until something has happened; return what they read."""
        records: list[Record] = []
        for _ in range(self.patience):
            for member in members:
                records += member.poll(self.poll_s)
            if happened():
                return records
            self.pass_time()
        raise AssertionError("it did not happen")

    def read(self, reader: Reader | Member, n: int) -> list[Record]:
        """Poll until ``n`` records have come, or more."""
        records: list[Record] = []
        for _ in range(self.patience):
            records += reader.poll(self.poll_s)
            if len(records) >= n:
                return records
            self.pass_time()
        raise AssertionError(f"{len(records)} of {n} records came")

    def read_all(self, topic: str) -> list[Record]:
        reader = self.bus.read([topic], start="beginning")
        records: list[Record] = []
        for _ in range(self.patience):
            records += reader.poll(self.poll_s)
            if reader.caught_up():
                reader.close()
                return records
        raise AssertionError("the reader did not catch up")

    def overflow(self, topic: str) -> list[Record]:
        """Publish 16 MB to a topic of one partition; return what is left of it when its first has gone."""
        for i in range(40):
            self.bus.publish(topic, bytes(400_000), key=b"%d" % i)
        self.bus.flush()
        for _ in range(self.patience):
            records = self.read_all(topic)
            if records[0].offset > 0:
                return records
            self.pass_time()
        raise AssertionError("retention did not take the first message")


def values(records: Iterable[Record]) -> list[bytes | None]:
    return [record.value for record in records]


def owns(member: Member, n: int) -> Callable[[], bool]:
    return lambda: len(member.assignment) == n


def share(n: int, *members: Member) -> Callable[[], bool]:
    """All ``n`` partitions are owned, each by one, and nobody has none."""

    def shared() -> bool:
        owned = [place for member in members for place in member.assignment]
        return len(owned) == len(set(owned)) == n and all(member.assignment for member in members)

    return shared


class BusContract:
    @pytest.fixture
    def harness(self) -> Iterable[Harness]:
        raise AssertionError("a subclass brings it")

    @pytest.fixture
    def bus(self, harness: Harness) -> Bus:
        return harness.bus

    # -- topics and messages

    def test_there_is_no_topic_that_was_not_created(self, bus: Bus) -> None:
        with pytest.raises(UnknownTopic):
            bus.partitions("nowhere")
        with pytest.raises(UnknownTopic):
            bus.publish("nowhere", b"v", key=b"k")
        with pytest.raises(UnknownTopic):
            bus.read(["nowhere"])
        with pytest.raises(UnknownTopic):
            bus.begins("nowhere")
        with pytest.raises(UnknownTopic):
            bus.join("group", ["nowhere"])

    def test_topics_are_created_in_a_namespace_and_left_alone_if_they_exist(self, bus: Bus) -> None:
        bus.create_topics([Topic("twice", Command, 3, "any", "event")], "ns")
        bus.publish("ns.twice", b"v", key=b"k")
        bus.create_topics([Topic("twice", Command, 5, "any", "event")], "ns")
        assert bus.partitions("ns.twice") == 3

    def test_a_message_arrives_as_it_was_sent(self, harness: Harness, bus: Bus) -> None:
        topic = harness.topic(3)
        headers = [("trace", b"\x00\xff"), ("trace", b"again")]
        bus.publish(topic, b"value", key=b"key", partition=2, timestamp_ms=1_700_000_000_123, headers=headers)
        (record,) = harness.read_all(topic)
        assert record == Record(topic, 2, 0, 1_700_000_000_123, b"key", b"value", tuple(headers))

    def test_no_key_no_value_and_no_timestamp_are_allowed(self, harness: Harness, bus: Bus) -> None:
        topic = harness.topic()
        bus.publish(topic, None, key=None)
        bus.publish(topic, b"", key=b"")
        first, second = harness.read_all(topic)
        assert (first.key, first.value, first.headers) == (None, None, ())
        assert (second.key, second.value) == (b"", b"")
        assert 1_000_000_000_000 < first.timestamp_ms <= second.timestamp_ms

    def test_what_was_published_does_not_change_with_the_callers_buffer(self, harness: Harness, bus: Bus) -> None:
        topic = harness.topic()
        key, value, header = bytearray(b"key"), bytearray(b"value"), bytearray(b"header")
        bus.publish(topic, value, key=key, headers=[("h", header)])
        key[:], value[:], header[:] = b"KEY", b"VALUE", b"HEADER"
        (record,) = harness.read_all(topic)
        assert (record.key, record.value, record.headers) == (b"key", b"value", (("h", b"header"),))

    def test_order_is_kept_per_key(self, harness: Harness, bus: Bus) -> None:
        topic = harness.topic(4)
        for i in range(200):
            bus.publish(topic, b"%d" % i, key=b"key-%d" % (i % 17))
        by_key = defaultdict(list)
        partitions = defaultdict(set)
        for record in harness.read_all(topic):
            assert record.key is not None
            assert record.value is not None
            by_key[record.key].append(int(record.value))
            partitions[record.key].add(record.partition)
        assert sum(map(len, by_key.values())) == 200
        assert all(numbers == sorted(numbers) for numbers in by_key.values())
        assert all(len(mine) == 1 for mine in partitions.values())
        assert len(set.union(*partitions.values())) > 1

    def test_a_named_partition_is_obeyed_and_offsets_count_up_in_it(self, harness: Harness, bus: Bus) -> None:
        topic = harness.topic(3)
        for i in range(30):
            bus.publish(topic, b"%d" % i, key=b"same", partition=i % 3)
        records = harness.read_all(topic)
        for partition in range(3):
            mine = [record for record in records if record.partition == partition]
            assert values(mine) == [b"%d" % i for i in range(partition, 30, 3)]
            assert [record.offset for record in mine] == list(range(10))

    def test_a_partition_that_does_not_exist_is_refused(self, harness: Harness, bus: Bus) -> None:
        topic = harness.topic(3)
        for partition in (3, -1):
            with pytest.raises(BusError):
                bus.publish(topic, b"v", key=b"k", partition=partition)

    def test_a_message_above_the_limit_is_refused_and_one_below_passes(self, harness: Harness, bus: Bus) -> None:
        topic = harness.topic()
        bus.publish(topic, bytes(MAX_MESSAGE_BYTES - 1000), key=b"k")
        with pytest.raises(MessageTooLarge):
            bus.publish(topic, bytes(MAX_MESSAGE_BYTES + 1), key=b"k")
        assert len(harness.read_all(topic)) == 1

    def test_all_topics_can_be_listed(self, harness: Harness, bus: Bus) -> None:
        made = {harness.topic(3), harness.topic(compacted=True)}
        harness.until(lambda: made <= set(bus.topics()))
        assert not any(name.startswith("__") for name in bus.topics())

    # -- readers

    def test_readers_are_independent(self, harness: Harness, bus: Bus) -> None:
        topic = harness.topic(2)
        early = bus.read([topic], start="beginning")
        for i in range(10):
            bus.publish(topic, b"%d" % i, key=b"%d" % i)
        late = bus.read([topic], start="beginning")
        assert len(harness.read(early, 10)) == 10
        assert len(harness.read(late, 10)) == 10

    def test_a_reader_from_the_end_sees_only_what_comes_after_it(self, harness: Harness, bus: Bus) -> None:
        topic = harness.topic(2)
        for partition in range(2):
            bus.publish(topic, b"old", key=b"k", partition=partition)
        bus.flush()
        reader = bus.read([topic])
        assert reader.poll() == []
        for partition in range(2):
            bus.publish(topic, b"new", key=b"k", partition=partition)
        assert values(harness.read(reader, 2)) == [b"new", b"new"]

    def test_a_reader_from_an_instant_sees_what_is_of_it_and_later(self, harness: Harness, bus: Bus) -> None:
        topic = harness.topic(3)
        first_ms = 1_700_000_000_000
        for i in range(20):
            bus.publish(topic, b"%d" % i, key=b"k", partition=i % 2, timestamp_ms=first_ms + 10 * i)
        bus.flush()
        reader = bus.read([topic], start=first_ms + 95)
        assert not reader.caught_up()
        records = harness.read(reader, 10)
        assert sorted(int(record.value or b"") for record in records) == list(range(10, 20))
        assert reader.caught_up()
        bus.publish(topic, b"more", key=b"k", partition=2)
        assert values(harness.read(reader, 1)) == [b"more"]
        assert bus.read([topic], start=2 * first_ms).caught_up()

    def test_a_reader_reads_several_topics(self, harness: Harness, bus: Bus) -> None:
        one, two = harness.topic(), harness.topic()
        reader = bus.read([one, two])
        reader.poll()
        bus.publish(one, b"1", key=b"k")
        bus.publish(two, b"2", key=b"k")
        assert {(record.topic, record.value) for record in harness.read(reader, 2)} == {(one, b"1"), (two, b"2")}

    def test_a_limited_poll_loses_nothing_and_starves_no_partition(self, harness: Harness, bus: Bus) -> None:
        topic = harness.topic(3)
        for i in range(30):
            bus.publish(topic, b"%d" % i, key=b"k", partition=i % 3)
        bus.flush()
        reader = bus.read([topic], start="beginning")
        offsets = defaultdict(list)
        for _ in range(harness.patience):
            records = reader.poll(harness.poll_s, limit=4)
            assert len(records) <= 4
            for record in records:
                offsets[record.partition].append(record.offset)
                # for each that is read another comes in the same place, so that it never runs dry
                bus.publish(topic, b"more", key=b"k", partition=record.partition)
            if reader.caught_up():
                break
        for partition in range(3):
            assert len(offsets[partition]) >= 10
            assert offsets[partition] == list(range(len(offsets[partition])))

    def test_caught_up_means_all_that_was_there_at_the_beginning(self, harness: Harness, bus: Bus) -> None:
        topic = harness.topic(2)
        assert harness.read_all(topic) == []
        bus.publish(topic, b"1", key=b"k")
        bus.flush()
        reader = bus.read([topic], start="beginning")
        assert not reader.caught_up()
        harness.read(reader, 1)
        assert reader.caught_up()
        bus.publish(topic, b"2", key=b"k")
        assert reader.caught_up()

    def test_a_reader_that_is_aimed_returns_all_that_is_there_by_then(self, harness: Harness, bus: Bus) -> None:
        topic = harness.topic(2)
        reader = bus.read([topic], start="end")
        assert reader.read_up() == []
        for i in range(300):
            bus.publish(topic, b"%d" % i, key=b"k", partition=i % 2)
        bus.flush()
        reader.aim()
        assert not reader.caught_up()
        assert sorted(int(record.value or b"") for record in reader.read_up()) == list(range(300))
        assert reader.caught_up()

    # -- retention and compaction

    def test_retention_takes_the_oldest_beyond_its_bytes(self, harness: Harness, bus: Bus) -> None:
        topic = harness.topic(retention_bytes=2 << 20)
        assert bus.begins(topic) == [0]
        lagging = bus.read([topic], start="beginning")
        records = harness.overflow(topic)
        assert records[0].offset <= bus.begins(topic)[0] <= records[-1].offset
        assert [record.key for record in records] == [b"%d" % record.offset for record in records]
        assert records[-1].offset == 39
        assert harness.read(lagging, 1)[0].offset == records[0].offset

    def test_a_group_that_lags_behind_retention_goes_on_where_the_log_begins(self, harness: Harness, bus: Bus) -> None:
        topic = harness.topic(retention_bytes=2 << 20)
        member = bus.join("lagging", [topic])
        harness.until(owns(member, 1), member)
        member.commit({Place(topic, 0): 0})
        member.close()
        records = harness.overflow(topic)
        assert harness.read(bus.join("lagging", [topic]), 1)[0].offset == records[0].offset

    def test_compaction_keeps_the_last_of_each_key_for_ever(self, harness: Harness, bus: Bus) -> None:
        topic = harness.topic(compacted=True, retention_bytes=1 << 20)
        bus.publish(topic, b"first", key=b"changed")
        bus.publish(topic, b"kept", key=b"never again")
        bus.publish(topic, b"last", key=b"changed")
        bus.publish(topic, b"to be ended", key=b"ended")
        bus.publish(topic, None, key=b"ended")
        for i in range(20):
            bus.publish(topic, b"%d" % i + bytes(200_000), key=b"busy")
        bus.flush()
        latest: dict[bytes | None, bytes | None] = {}
        reader = bus.follow(topic)
        offsets = []
        for _ in range(harness.patience):
            for record in reader.poll(harness.poll_s):
                offsets.append(record.offset)
                latest[record.key] = record.value
            if reader.caught_up():
                break
        assert latest[b"changed"] == b"last"
        assert latest[b"never again"] == b"kept"
        assert latest.get(b"ended") is None
        assert (latest[b"busy"] or b"").startswith(b"19")
        assert offsets == sorted(offsets)

    def test_a_follower_sees_the_last_value_however_late_it_comes_and_all_that_follow(
        self, harness: Harness, bus: Bus
    ) -> None:
        topic = harness.topic(compacted=True)
        for i in range(5):
            bus.publish(topic, b"%d" % i, key=b"run.control")
        bus.flush()
        follower = bus.follow(topic)
        records = harness.read(follower, 1)
        assert records[-1].value == b"4"
        bus.publish(topic, b"5", key=b"run.control")
        assert values(harness.read(follower, 1)) == [b"5"]

    # -- groups

    def test_a_group_starts_at_the_beginning_and_goes_on_where_it_committed(self, harness: Harness, bus: Bus) -> None:
        topic = harness.topic()
        for i in range(10):
            bus.publish(topic, b"%d" % i, key=b"k")
        first = bus.join("group", [topic])
        assert len(harness.read(first, 10)) == 10
        first.commit({Place(topic, 0): 4})
        first.close()
        second = bus.join("group", [topic])
        assert harness.read(second, 6)[0].offset == 4
        second.commit()
        second.close()
        bus.publish(topic, b"10", key=b"k")
        assert [record.offset for record in harness.read(bus.join("group", [topic]), 1)] == [10]

    def test_two_groups_both_read_all(self, harness: Harness, bus: Bus) -> None:
        topic = harness.topic(2)
        for i in range(10):
            bus.publish(topic, b"%d" % i, key=b"%d" % i)
        assert len(harness.read(bus.join("one", [topic]), 10)) == 10
        assert len(harness.read(bus.join("two", [topic]), 10)) == 10

    def test_members_split_the_partitions(self, harness: Harness, bus: Bus) -> None:
        topic = harness.topic(6)
        members = [bus.join("group", [topic]) for _ in range(3)]
        harness.until(share(6, *members), *members)
        assert [len(member.assignment) for member in members] == [2, 2, 2]
        for i in range(60):
            bus.publish(topic, b"%d" % i, key=b"k", partition=i % 6)
        seen: list[bytes | None] = []
        for member in members:
            records = harness.read(member, 20)
            assert {Place(topic, record.partition) for record in records} == member.assignment
            seen += values(records)
        assert sorted(int(value or b"-1") for value in seen) == list(range(60))

    def test_one_partition_goes_to_one_member(self, harness: Harness, bus: Bus) -> None:
        topic = harness.topic()
        members = [bus.join("group", [topic]) for _ in range(3)]
        harness.until(lambda: sum(len(member.assignment) for member in members) == 1, *members)

    def test_a_join_and_a_leave_share_out_anew_and_both_are_told(self, harness: Harness, bus: Bus) -> None:
        topic = harness.topic(4)
        told: list[tuple[str, frozenset[Place]]] = []
        first = bus.join(
            "group",
            [topic],
            on_assigned=lambda places: told.append(("assigned", places)),
            on_revoked=lambda places: told.append(("revoked", places)),
        )
        harness.until(owns(first, 4), first)
        everything = first.assignment
        second = bus.join("group", [topic])
        harness.until(share(4, first, second), first, second)
        half = first.assignment
        second.close()
        harness.until(owns(first, 4), first)
        assert told == [
            ("assigned", everything),
            ("revoked", everything),
            ("assigned", half),
            ("revoked", half),
            ("assigned", everything),
        ]

    def test_what_is_committed_on_revoke_is_not_delivered_again(self, harness: Harness, bus: Bus) -> None:
        topic = harness.topic(4)
        first = bus.join("group", [topic], on_revoked=lambda places: first.commit())
        for i in range(40):
            bus.publish(topic, b"%d" % i, key=b"k", partition=i % 4)
        records = harness.read(first, 40)
        second = bus.join("group", [topic])
        records += harness.until(share(4, first, second), first, second)
        for i in range(40, 80):
            bus.publish(topic, b"%d" % i, key=b"k", partition=i % 4)
        records += harness.read(first, 20) + harness.read(second, 20)
        assert sorted(int(value or b"-1") for value in values(records)) == list(range(80))

    def test_what_is_not_committed_is_delivered_again_to_the_next_owner(self, harness: Harness, bus: Bus) -> None:
        topic = harness.topic(2)
        first = bus.join("group", [topic])
        for i in range(10):
            bus.publish(topic, b"%d" % i, key=b"k", partition=i % 2)
        harness.read(first, 10)
        first.close()
        second = bus.join("group", [topic])
        assert sorted(values(harness.read(second, 10))) == [b"%d" % i for i in range(10)]

    def test_a_commit_for_a_partition_that_was_lost_is_refused(self, harness: Harness, bus: Bus) -> None:
        topic = harness.topic(2)
        first = bus.join("group", [topic])
        harness.until(owns(first, 2), first)
        second = bus.join("group", [topic])
        harness.until(share(2, first, second), first, second)
        (lost,) = second.assignment
        with pytest.raises(NotOwner):
            first.commit({lost: 1})
        second.commit({lost: 1})

    def test_a_crashed_member_is_expelled_and_its_messages_are_delivered_again(
        self, harness: Harness, bus: Bus
    ) -> None:
        topic = harness.topic(2)
        first, second = bus.join("group", [topic]), bus.join("group", [topic])
        harness.until(share(2, first, second), first, second)
        for i in range(20):
            bus.publish(topic, b"%d" % i, key=b"k", partition=i % 2)
        taken = harness.read(first, 10)
        harness.read(second, 10)
        second.commit()
        harness.crash(first)
        again = harness.until(owns(second, 2), second)
        again += harness.read(second, 10 - len(again))
        assert sorted(values(again)) == sorted(values(taken))


def known_implementations() -> set[str]:
    """Return the names of all subclasses of the port that ship."""
    found: set[str] = set()
    classes = [Bus]
    while classes:
        for implementation in classes.pop().__subclasses__():
            classes.append(implementation)
            if implementation.__module__.startswith("twin."):
                found.add(implementation.__name__)
    return found
