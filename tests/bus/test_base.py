"""What every bus gets from its port: reading up, following, and the look at the topics."""

from collections.abc import Iterator

import pytest

from twin.bus.base import READ_UP_POLL_S, Reader, Record, check_topics
from twin.bus.log import Retention
from twin.bus.memory import MemoryBus
from twin.errors import BusError, UnknownTopic
from twin.events.topics import TOPICS, Topic

KEPT = Retention(1 << 20, 1800, compacted=False)


@pytest.fixture
def bus() -> Iterator[MemoryBus]:
    bus = MemoryBus("base-test")
    bus.create_topic("t", 3, KEPT)
    bus.create_topic("u", 1, KEPT)
    yield bus
    bus.close()


def send(bus: MemoryBus, first: int, last: int, topic: str = "t") -> None:
    for n in range(first, last):
        bus.publish(topic, b"%d" % n, key=b"k", partition=n % bus.partitions(topic))


def numbers(records: list[Record]) -> list[int]:
    return sorted(int(record.value or b"") for record in records)


# -- reading up


def test_all_that_was_there_is_returned_in_order_however_much_it_is(bus: MemoryBus) -> None:
    send(bus, 0, 2500)  # one poll returns a thousand at most
    send(bus, 2500, 2600, "u")
    records = bus.read(["t", "u"], start="beginning").read_up()
    assert numbers(records) == list(range(2600))
    for place in {(record.topic, record.partition) for record in records}:
        offsets = [record.offset for record in records if (record.topic, record.partition) == place]
        assert offsets == list(range(len(offsets)))


def test_what_comes_later_is_left_to_the_next_poll(bus: MemoryBus) -> None:
    send(bus, 0, 10)
    reader = bus.read(["t"], start="beginning")
    assert numbers(reader.read_up()) == list(range(10))
    send(bus, 10, 13)
    assert reader.read_up() == []
    assert numbers(reader.poll()) == [10, 11, 12]


def test_it_does_not_wait_where_nothing_was(bus: MemoryBus) -> None:
    send(bus, 0, 3)
    assert bus.read(["u"], start="beginning").read_up(0.0) == []
    assert bus.read(["t"], start="end").read_up(0.0) == []
    reader = bus.follow("t")
    assert numbers(reader.read_up(0.0)) == [0, 1, 2]


class Slow(Reader):
    """Returns what it is told to, one batch a poll, and has caught up after so many records."""

    def __init__(self, batches: list[int], goal: int) -> None:
        self.batches = batches
        self.left = goal
        self.waited_s: list[float] = []

    def poll(self, timeout_s: float = 0.0, *, limit: int = 1000) -> list[Record]:
        self.waited_s.append(timeout_s)
        n = self.batches.pop(0) if self.batches else 0
        self.left -= n
        return [Record("t", 0, 0, 0, None, b"0")] * n

    def caught_up(self) -> bool:
        return self.left <= 0

    def aim(self) -> None:
        """Keep the goal."""

    def close(self) -> None:
        """Hold nothing."""


@pytest.mark.parametrize("timeout_s", [0.5, 10.0])
def test_a_reader_that_never_catches_up_is_given_up(timeout_s: float) -> None:
    reader = Slow([2, 0, 3], goal=6)
    with pytest.raises(BusError, match=rf"within {timeout_s:g} s: look whether it is well"):
        reader.read_up(timeout_s)
    in_vain_n = len(reader.waited_s) - 2
    assert timeout_s <= in_vain_n * READ_UP_POLL_S <= timeout_s + 2 * READ_UP_POLL_S


def test_a_reader_that_gets_on_may_take_longer_than_it_waits(bus: MemoryBus) -> None:
    reader = Slow(100 * [1], goal=100)
    assert len(reader.read_up(0.5)) == 100
    assert max(reader.waited_s) == READ_UP_POLL_S
    with_gaps = Slow(5 * [0] + [4], goal=4)
    assert len(with_gaps.read_up(0.5)) == 4


def test_of_a_rest_that_does_not_come_what_came_is_returned_and_the_rest_told_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert len(Slow([2, 0, 3], goal=6).read_rest(0.5)) == 5
    assert "rest=unread reason=what the bus holds did not come within 0.5 s" in caplog.text


def test_a_rest_is_all_that_is_there_by_now(bus: MemoryBus) -> None:
    reader = bus.read(["t"], start="end")
    send(bus, 0, 3)
    assert numbers(reader.read_rest()) == [0, 1, 2]
    assert reader.read_rest() == []


# -- the look at the topics


def made_but_for(bus: MemoryBus, name: str, namespace: str = "") -> None:
    bus.create_topics([topic for topic in TOPICS if topic.name != name], namespace)


def test_topics_as_the_table_says_are_right(bus: MemoryBus) -> None:
    bus.create_topics(TOPICS)
    check_topics(bus)
    bus.create_topic("more.than.ours", 7, KEPT)
    check_topics(bus)


def test_each_topic_that_is_missing_is_named_with_what_to_do(bus: MemoryBus) -> None:
    bus.create_topics([topic for topic in TOPICS if topic.name not in ("alarms", "twin.rack")])
    with pytest.raises(UnknownTopic) as caught:
        check_topics(bus)
    assert str(caught.value) == "there is no topic twin.rack, alarms: run `colossus topics create`"


@pytest.mark.parametrize(("name", "partitions", "wanted"), [("telemetry.gpu", 1, 24), ("commands", 24, 1)])
def test_a_wrong_number_of_partitions_is_named_with_what_to_do(
    bus: MemoryBus, name: str, partitions: int, wanted: int
) -> None:
    made_but_for(bus, name)
    bus.create_topic(name, partitions, KEPT)
    with pytest.raises(BusError, match=f"{name} has {partitions} partitions, not {wanted}: delete") as caught:
        check_topics(bus)
    assert not isinstance(caught.value, UnknownTopic)
    assert "colossus topics create" in str(caught.value)
    assert "COLOSSUS_NAMESPACE" in str(caught.value)


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_no_topic_of_the_table_is_passed_over(bus: MemoryBus, topic: Topic) -> None:
    made_but_for(bus, topic.name)
    with pytest.raises(UnknownTopic, match=f"no topic {topic.name}:"):
        check_topics(bus)


def test_the_topics_of_a_namespace_are_looked_at(bus: MemoryBus) -> None:
    bus.create_topics(TOPICS)
    made_but_for(bus, "commands", "ci")
    check_topics(bus)
    with pytest.raises(UnknownTopic, match=r"no topic ci\.commands:"):
        check_topics(bus, "ci")
    bus.create_topics(TOPICS, "ci")
    check_topics(bus, "ci")
