"""Record, replay, record again: what was on the bus first is on the other bus, message by message."""

from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.recording.stage import FACTS, RUN, Clocks, Handlers, control, own
from twin.bus.log import Retention
from twin.bus.memory import MemoryBus
from twin.events.head import told
from twin.events.topics import TOPICS
from twin.recording.choice import Choice
from twin.recording.item import Item
from twin.recording.levels import select
from twin.recording.outlet import BusOutlet
from twin.recording.player import Player
from twin.recording.reader import Recording
from twin.recording.recorder import Recorder
from twin.recording.replay import Replay, plan_from, recorded_partitions
from twin.recording.span import Range
from twin.recording.writer import RecordingWriter
from twin.run import ReplayOwner

_NUMBERS = count()
PARTITIONS = 3
PLAYED = ("telemetry.*", "orders", "commands")


def a_bus(clocks: Clocks) -> MemoryBus:
    bus = MemoryBus(f"round-{next(_NUMBERS)}", clock=clocks.now_s, wall_ms=clocks.now_ms)
    bus.create_topics(TOPICS)
    bus.create_topic("orders", PARTITIONS, Retention(1 << 24, 1e9))
    return bus


def recorder_of(bus: MemoryBus, path: Path, clocks: Clocks) -> Recorder:
    selection = select(bus.topics(), "", patterns=(*PLAYED, "run.control"))
    partitions = {topic: bus.partitions(topic) for topic in ("orders", "telemetry.gpu")}
    facts = FACTS | {"topics": str(partitions).replace("'", '"')}
    return Recorder(bus, selection, RecordingWriter(path, facts), clocks, snapshot_dir=path.parent)


def play(bus: MemoryBus, path: Path, clocks: Clocks, speed: float) -> None:
    with Recording(path) as recording:
        plan = plan_from(recording, Choice(), speed)
        assert plan is not None
        player = Player(
            recording,
            Choice(),
            Range(recording.start_ns, recording.end_ns),
            BusOutlet(bus, "", recorded_partitions(recording), original_time=False),
            ReplayOwner(plan, "player"),
            clock=clocks,
            now_s=clocks.now_s,
            may_go_on=lambda: True,
            speed=speed,
        )
        replay = Replay(bus, "", player, clocks, Handlers(), stays=False)
        replay.start("20261128T120000Z-0001")
        for _ in range(20_000):
            if replay.done:
                break
            if replay.turn() > 0:
                player._feed.wait(0.05)
                clocks.ms += 5
        assert player.phase == "ended"
        replay.close()


messages = st.lists(
    st.tuples(
        st.sampled_from(["telemetry.grid", "telemetry.gpu", "commands", "orders"]),
        st.integers(0, PARTITIONS - 1),
        st.integers(0, 400),  # ms after the one before
        st.one_of(st.just("own"), st.none(), st.binary(max_size=20)),
        st.lists(st.tuples(st.sampled_from(["h", ""]), st.binary(max_size=4)), max_size=2),
    ),
    max_size=40,
)


@settings(max_examples=25, deadline=None)
@given(stream=messages, speed=st.sampled_from([0.0, 1.0, 7.5]))
def test_keys_headers_and_data_come_back_in_the_order_of_their_partition(  # type: ignore[no-untyped-def]
    tmp_path_factory: pytest.TempPathFactory, stream, speed: float
) -> None:
    folder, clocks = tmp_path_factory.mktemp("round"), Clocks()
    first, second = a_bus(clocks), a_bus(clocks)
    recorder = recorder_of(first, folder / "first.mcap", clocks)
    began_ms = clocks.ms
    for n, (topic, partition, later_ms, content, headers) in enumerate([("run.control", 0, 0, "own", []), *stream]):
        clocks.ms += later_ms
        tick, key = int((clocks.ms - began_ms) // 1000), f"k{partition}"
        if content == "own" and topic != "orders":
            one = control(-1, 0) if topic == "run.control" else own(topic, tick, 0, key=key, seq=n)
            value = one.value
        else:
            value = b"own" if content == "own" else content
        many = topic in ("orders", "telemetry.gpu")
        first.publish(
            topic, value, key=key.encode(), partition=partition if many else None, headers=tuple(headers)
        )  # fmt: skip
        recorder.turn(0.0)
    recorder.close("test")
    again = recorder_of(second, folder / "second.mcap", clocks)
    play(second, folder / "first.mcap", clocks, speed)
    again.turn(0.0)
    again.close("test")
    assert by_partition(folder / "second.mcap") == by_partition(folder / "first.mcap")
    first.close()
    second.close()


def by_partition(path: Path) -> dict[tuple[str, int], list[object]]:
    found: dict[tuple[str, int], list[object]] = {}
    with Recording(path) as recording:
        for item in recording.items():
            if item.topic != "run.control":
                found.setdefault((item.topic, item.partition), []).append(kept(item))
    return found


def kept(item: Item) -> object:
    """Return what must not change: of our messages the head but run, epoch and time, and the bytes of the data."""
    head = told(item.value)
    if head is None or item.value is None:
        return item.key, item.value, item.headers
    facts, at = head
    run = facts.pop("run")
    assert run in (RUN, "20261128T120000Z-0001")
    del facts["epoch"], facts["ts"]
    return item.key, facts, item.value[at:], item.headers
