"""The recorder on the memory bus: what is in the file is what was on the bus."""

import contextlib
import hashlib
import json
import logging
import random
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from tests.recording.files import T0_MS
from twin.bus.log import Retention
from twin.bus.memory import MemoryBus
from twin.errors import RecordingUnwritable
from twin.events.alarm import Alarm
from twin.events.control import Line, RunControl
from twin.events.head import Head, encode_model
from twin.events.instructor import SnapshotReference
from twin.events.topics import BY_NAME, TOPICS, full_name
from twin.recording.facts import facts_of
from twin.recording.item import NS_PER_MS, Item
from twin.recording.levels import Selection, select
from twin.recording.reader import Recording
from twin.recording.recorder import FLUSH_EVERY_S, RECORDED, Recorder
from twin.recording.repair import repair
from twin.recording.writer import RecordingWriter

RUN = "20261124T072000Z-a7f3"
GPU = "telemetry.gpu"
HIDDEN = {topic.name for topic in TOPICS if topic.instructor}


class Clock:
    def __init__(self) -> None:
        self.ms = T0_MS

    def now_ms(self) -> int:
        return self.ms


class Stage:
    """A bus, a clock, and a recording of it."""

    def __init__(self, folder: Path, namespace: str = "") -> None:
        self.folder = folder
        self.namespace = namespace
        self.clock = Clock()
        self.bus = MemoryBus("recorder", clock=lambda: self.clock.ms / 1000, wall_ms=self.clock.now_ms)
        self.bus.create_topics(TOPICS, namespace)
        self.path = folder / "test.mcap"
        self.recorder: Recorder
        self.writer: RecordingWriter

    def name(self, topic: str) -> str:
        return full_name(topic, self.namespace)

    def select(self, *patterns: str, full: bool = False, instructor: bool = False) -> Selection:
        return select(self.bus.topics(), self.namespace, patterns=patterns, full=full, instructor=instructor)

    def begin(self, *patterns: str, full: bool = False, instructor: bool = False, **more: int) -> Recorder:
        selection = self.select(*patterns, full=full, instructor=instructor)
        self.writer = RecordingWriter(self.path, facts_of(self.bus, self.namespace, selection, self.clock.ms))
        self.recorder = Recorder(
            self.bus, selection, self.writer, self.clock, snapshot_dir=self.folder / "snapshots", **more
        )
        return self.recorder

    def send(
        self, topic: str, value: bytes | None, key: bytes | None = b"k", partition: int = 0, **more: object
    ) -> None:
        self.bus.publish(self.name(topic), value, key=key, partition=partition, **more)  # type: ignore[arg-type]

    def say(self, topic: str, data: BaseModel, key: str = "k") -> None:
        head = Head(schema_id=BY_NAME[topic].schema_id, run=RUN, epoch=0, tick=1, seq=0, ts=0, dt_s=1.0, key=key)
        self.send(topic, encode_model(head, data), key=key.encode())

    def raised(self, state: str = "raised") -> None:
        alarm = Alarm(
            rule="hot", asset="R0001", priority=1, state=state, raised_tick=1, value=1, limit=1,  # type: ignore[arg-type]
            cause_path=(), suppressed_n=0, text="",
        )  # fmt: skip
        self.say("alarms", alarm, "hot@R0001")

    def frames(self, seconds: int, *, turn: bool = True) -> None:
        """Let so many seconds pass, with a GPU frame in four partitions each."""
        for _ in range(seconds):
            for partition in range(4):
                self.send(GPU, b"%d" % self.clock.ms, key=b"A%d" % partition, partition=partition)
            if turn:
                self.recorder.turn(0.0)
            self.clock.ms += 1000

    def end(self) -> list[Item]:
        self.recorder.turn(0.0)
        self.recorder.close("test")
        with Recording(self.path) as recording:
            return list(recording.items())

    def facts(self, name: str) -> dict[str, str]:
        with Recording(self.path) as recording:
            return dict(recording.metadata())[name]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    with contextlib.suppress(AttributeError, RecordingUnwritable):  # a test that failed in the middle
        stage.writer.close("test")
    stage.bus.close()


@pytest.fixture
def spaced(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path, "ci")
    yield stage
    with contextlib.suppress(AttributeError, RecordingUnwritable):  # a test that failed in the middle
        stage.writer.close("test")
    stage.bus.close()


def control(**more: object) -> RunControl:
    facts = {
        "run": RUN, "epoch": 0, "line": Line(ts0=T0_MS, tick0=0, ms_per_tick=1000), "kind": "live", "continues": False,
        "automatic_operator": True, "lock_step": False, "site": "mini", "site_crc": "00c0ffee", "seed": 7, "dt_s": 1.0,
        "weather_at": "07-15T14:00", "site_time": "07-15T14:00:00", "state": "running", "speed": 1.0,
        "speed_reached": 1.0, "settled_tick": 1, "owner": "test", "sent_ms": T0_MS, "lease_expires_ms": T0_MS + 5000,
    }  # fmt: skip
    return RunControl(**facts | more)  # type: ignore[arg-type]


# -- byte for byte


def test_what_is_read_back_is_what_was_sent(stage: Stage) -> None:
    chance = random.Random(1)  # noqa: S311
    stage.bus.create_topic("orders", 3, Retention(1 << 30, 1e9))
    stage.bus.publish("orders", b"before", key=b"k")
    stage.begin("orders", "commands")
    sent: list[tuple[object, ...]] = []
    offsets = dict.fromkeys(range(3), 0)
    offsets[stage.bus.partition_of("orders", b"k")] = 1
    for n in range(500):
        partition = chance.randrange(3)
        key = chance.choice([None, b"", b"\x00\xff", b"key-%d" % chance.randrange(9)])
        value = chance.choice([None, b"", chance.randbytes(chance.randrange(3000)), b'{"n": %d}' % n])
        headers = tuple((f"h{i}", chance.randbytes(3)) for i in range(chance.choice([0, 0, 2])))
        stage.bus.publish(
            "orders", value, key=key, partition=partition, headers=headers, timestamp_ms=stage.clock.ms - 50
        )
        sent.append(("orders", partition, offsets[partition], stage.clock.ms - 50, key, value, headers))
        offsets[partition] += 1
        if n % 7 == 0:
            stage.clock.ms += 100
            stage.recorder.turn(0.0)
    found = [(i.topic, i.partition, i.offset, i.timestamp_ms, i.key, i.value, i.headers) for i in stage.end()]
    for partition in range(3):
        assert [one for one in found if one[1] == partition] == [one for one in sent if one[1] == partition]
    assert len(found) == 500
    assert stage.facts(RECORDED) | {"ended_ms": ""} == {
        "counts": '{"orders": 500}', "lost": "{}", "snapshots": "0", "snapshots_missing": "0",
        "black_box_dropped": "0", "ended_ms": "",
    }  # fmt: skip


def test_the_clock_is_the_buss_and_the_receipt_stands_beside_it(stage: Stage) -> None:
    stage.begin("commands")
    stage.send("commands", b"1", timestamp_ms=T0_MS + 10)
    stage.send("commands", b"2", timestamp_ms=T0_MS + 500_000)
    stage.send("commands", b"3", timestamp_ms=T0_MS + 20)
    stage.clock.ms = T0_MS + 400
    items = stage.end()
    assert [(one.value, one.time_ns - T0_MS * NS_PER_MS) for one in items] == [
        (b"1", 10 * NS_PER_MS),
        (b"2", 400 * NS_PER_MS),
        (b"3", 400 * NS_PER_MS),
    ]
    assert {one.received_ms for one in items} == {T0_MS + 400}
    assert items[1].timestamp_ms == T0_MS + 500_000


def test_what_is_from_long_before_counts_as_received_and_keeps_its_timestamp(stage: Stage) -> None:
    """A stray, or a whole replay at original time: the run.control of such a one is of now, as its recording is."""
    stage.begin("commands", "command_results")
    old_ms = T0_MS - 86_400_000
    for n in range(3):
        stage.clock.ms += 1000
        stage.send("commands", b"old", timestamp_ms=old_ms + 1000 * n)
        stage.send("command_results", b"new")
        stage.recorder.turn(0.0)
    items = stage.end()
    assert [one.time_ns // NS_PER_MS - T0_MS for one in items if one.value == b"old"] == [1000, 2000, 3000]
    assert [one.timestamp_ms - old_ms for one in items if one.value == b"old"] == [0, 1000, 2000]
    with Recording(stage.path) as recording:
        assert (recording.start_ns, recording.end_ns) == (items[0].time_ns, items[-1].time_ns)


def test_what_waited_on_the_bus_keeps_its_time(stage: Stage) -> None:
    stage.begin("commands")
    for _ in range(3):
        stage.clock.ms += 1000
        stage.send("commands", b"waits")
    stage.clock.ms += 1_000_000  # the recorder could not reach the bus, which keeps half an hour
    assert [one.time_ns // NS_PER_MS - T0_MS for one in stage.end()] == [1000, 2000, 3000]


def test_names_in_the_file_have_no_namespace(spaced: Stage) -> None:
    spaced.bus.create_topic("orders", 1, Retention(1 << 20, 1e9))
    spaced.begin("commands", "orders", "ci.twin.*")
    for name in ("ci.commands", "orders", "ci.twin.site"):
        spaced.bus.publish(name, b"v", key=b"k")
    assert sorted(one.topic for one in spaced.end()) == ["commands", "orders", "twin.site"]
    topics = json.loads(spaced.facts("colossus.recording")["topics"])
    assert topics["orders"] == 1
    assert topics["twin.rack"] == 24


# -- facts and what was there before


def test_compacted_topics_are_read_from_their_beginning_as_of_the_start(stage: Stage) -> None:
    stage.say("run.control", control(), "run.control")
    stage.raised()
    stage.send("telemetry.grid", b"before")
    stage.clock.ms += 600_000
    stage.begin()
    stage.clock.ms += 1000
    stage.say("run.control", control(settled_tick=2), "run.control")
    stage.send("telemetry.grid", b"after")
    items = stage.end()
    start_ns = (T0_MS + 600_000) * NS_PER_MS
    assert [(one.topic, one.time_ns - start_ns) for one in items] == [
        ("run.control", 0), ("alarms", 0), ("telemetry.grid", 10**9), ("run.control", 10**9),
    ]  # fmt: skip
    assert items[0].timestamp_ms == T0_MS
    facts = stage.facts("colossus.recording")
    assert facts["run"] == RUN
    assert (facts["site"], facts["site_crc"], facts["seed"], facts["dt_s"]) == ("mini", "00c0ffee", "7", "1.0")
    assert (facts["weather_at"], facts["level"], facts["instructor"]) == ("07-15T14:00", "default", "no")
    assert facts["started_ms"] == str(T0_MS + 600_000)
    assert set(json.loads(facts["versions"])) == {"twin", "python", "kafka-python", "mcap"}
    assert "192 MiB" in facts["black_box"]


def test_without_a_run_there_are_no_facts_of_one(stage: Stage) -> None:
    stage.begin("commands", instructor=True)
    stage.end()
    facts = stage.facts("colossus.recording")
    assert not {"run", "site", "seed", "weather_at", "black_box"} & facts.keys()
    assert (facts["level"], facts["instructor"]) == ("topics", "yes")


# -- what is safe, and what is lost


def test_it_flushes_every_five_seconds_also_when_the_clock_was_set_back(stage: Stage) -> None:
    recorder = stage.begin("commands")
    written = stage.path.stat().st_size
    for step_ms, grows in ((4999, False), (1, True), (4999, False), (-100_000, True), (4000, False), (1000, True)):
        stage.clock.ms += step_ms
        stage.send("commands", b"v" * 100)
        recorder.turn(0.0)
        assert (stage.path.stat().st_size > written) == grows, step_ms
        written = stage.path.stat().st_size
    assert FLUSH_EVERY_S == 5.0


def test_what_the_bus_forgot_is_counted(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    stage.bus.create_topic("small", 2, Retention(1000, 1e9))
    recorder = stage.begin("small", "commands")
    stage.bus.publish("small", bytes(100), key=b"k", partition=0)
    recorder.turn(0.0)
    with caplog.at_level(logging.WARNING):
        for _ in range(30):
            stage.bus.publish("small", bytes(100), key=b"k", partition=0)
        stage.bus.publish("small", bytes(100), key=b"k", partition=1)
        recorder.turn(0.0)
        stage.clock.ms += 5000
        recorder.turn(0.0)
    held_n = 1000 // 101
    assert recorder.lost_n == {"small": 30 - held_n}
    assert f"lost_n={30 - held_n}" in caplog.text
    items = stage.end()
    assert len(items) == 1 + held_n + 1
    assert json.loads(stage.facts(RECORDED)["lost"]) == {"small": 30 - held_n}


def test_what_compaction_takes_is_not_lost(stage: Stage) -> None:
    recorder = stage.begin("run.control")
    for _ in range(2):
        stage.send("run.control", b"first", key=b"run.control")
        recorder.turn(0.0)
        for n in range(20_000):
            stage.send("run.control", b"%d" % n * 200, key=b"run.control")
    items = stage.end()
    assert items[1].offset > 1
    assert recorder.lost_n == {}


def test_offsets_that_were_never_messages_are_not_lost(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of transactions a Kafka keeps marks between the messages."""
    recorder = stage.begin("commands")
    for value in (b"1", b"mark", b"2"):
        stage.send("commands", value)
    poll = recorder._readers[0].poll
    monkeypatch.setattr(
        recorder._readers[0], "poll", lambda *a, **k: [one for one in poll(*a, **k) if one.value != b"mark"]
    )
    assert [one.value for one in stage.end()] == [b"1", b"2"]
    assert recorder.lost_n == {}


def test_a_full_disk_ends_it_and_what_was_flushed_is_in_the_file(stage: Stage) -> None:
    recorder = stage.begin("commands")
    stage.send("commands", random.Random(1).randbytes(20_000))  # noqa: S311
    stage.clock.ms += 5000
    recorder.turn(0.0)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (stage.path.stat().st_size + 5000, before[1]))
    try:
        stage.send("commands", random.Random(2).randbytes(20_000))  # noqa: S311
        stage.clock.ms += 5000
        with pytest.raises(RecordingUnwritable, match=r"1 messages, .* are in it"):
            recorder.turn(0.0)
        recorder.close("full")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    mended = stage.folder / "mended.mcap"
    repair(stage.path, mended)
    with Recording(mended) as recording:
        assert [len(one.value or b"") for one in recording.items()] == [20_000]


# -- the black box


def gpu_seconds(items: list[Item]) -> list[int]:
    """Return the seconds after the beginning of which all four frames are there, once, in order."""
    frames = [one for one in items if one.topic == GPU]
    assert [one.value for one in frames] == [b"%d" % (one.time_ns // NS_PER_MS) for one in frames]
    for partition in range(4):
        offsets = [one.offset for one in frames if one.partition == partition]
        assert offsets == sorted(set(offsets))
    seconds = [(one.time_ns // NS_PER_MS - T0_MS) // 1000 for one in frames]
    assert all(seconds.count(second) == 4 for second in seconds)
    return sorted(set(seconds))


def test_without_an_alarm_there_are_no_gpus_in_the_file(stage: Stage) -> None:
    stage.begin()
    stage.frames(100)
    stage.raised("cleared")
    stage.send("alarms", b"no alarm")
    assert gpu_seconds(stage.end()) == []


def test_an_alarm_brings_the_minute_before_and_the_minute_after(stage: Stage) -> None:
    stage.begin()
    stage.frames(200)
    stage.raised()  # at second 200
    stage.frames(200)
    assert gpu_seconds(stage.end()) == list(range(140, 261))


def test_alarms_that_overlap_extend_it_and_bring_nothing_twice(stage: Stage) -> None:
    stage.begin()
    stage.frames(200)
    for _ in range(3):
        stage.raised()  # at seconds 200, 230, 260
        stage.frames(30)
    stage.frames(110)
    stage.raised()  # at second 400: from 340 on
    stage.frames(100)
    assert gpu_seconds(stage.end()) == [*range(140, 321), *range(340, 461)]


def test_an_alarm_from_before_the_recording_brings_nothing(stage: Stage) -> None:
    stage.raised()
    stage.begin()
    stage.frames(100)
    assert gpu_seconds(stage.end()) == []


def test_an_alarm_that_comes_late_still_finds_its_minute(stage: Stage) -> None:
    stage.begin()
    stage.frames(100)
    stage.bus.publish("alarms", b"", key=b"", timestamp_ms=stage.clock.ms - 9000)  # of no meaning
    at_ms = stage.clock.ms - 4000
    wall_ms, stage.bus._wall_ms = stage.bus._wall_ms, lambda: at_ms
    stage.raised()  # of second 96
    stage.bus._wall_ms = wall_ms
    stage.frames(100)
    assert gpu_seconds(stage.end()) == list(range(36, 157))


def test_at_the_end_what_is_still_held_of_a_window_is_written(stage: Stage) -> None:
    stage.begin()
    stage.frames(100)
    stage.raised()
    stage.frames(3)
    stage.frames(3, turn=False)
    assert gpu_seconds(stage.end()) == list(range(40, 106))


def test_on_command_it_writes_the_last_minute(stage: Stage) -> None:
    recorder = stage.begin()
    stage.frames(200)
    recorder.write_black_box()
    stage.frames(100)
    recorder.write_black_box()
    stage.frames(10)
    assert gpu_seconds(stage.end()) == [*range(139, 200), *range(239, 300)]


def test_at_most_a_few_blocks_are_written_in_a_turn(stage: Stage) -> None:
    recorder = stage.begin()
    stage.frames(70)
    recorder.write_black_box()
    written = []
    for _ in range(9):
        before = stage.writer.counts[GPU] + stage.writer.unwritten_n
        recorder.turn(0.0)
        written.append(stage.writer.counts[GPU] + stage.writer.unwritten_n - before)
    assert written[:7] == [8 * 4] * 7
    assert sum(written) == 61 * 4
    stage.end()


def test_the_black_box_is_bounded_and_what_it_drops_is_told(stage: Stage) -> None:
    recorder = stage.begin(black_box_bytes=20_000)
    stage.frames(100)
    assert 10_000 < recorder.black_box.bytes_n <= 20_000
    recorder.write_black_box()
    kept = gpu_seconds(stage.end())
    assert kept == list(range(100 - len(kept), 100))
    assert 5 < len(kept) < 20
    assert int(stage.facts(RECORDED)["black_box_dropped"]) == 4 * (100 - len(kept))


def test_at_full_level_everything_is_written_at_once(stage: Stage) -> None:
    stage.begin(full=True)
    stage.frames(10)
    stage.raised()
    assert gpu_seconds(stage.end()) == list(range(10))


# -- snapshots


def reference(folder: Path, tick: int, data: bytes, *, run: str = RUN) -> SnapshotReference:
    path = folder / "snapshots" / run / f"{tick:012d}.plant.zst"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return SnapshotReference(
        tick=tick, path=str(path), sha256=hashlib.sha256(data).hexdigest(), bytes=len(data), schema_id="plant/1"
    )


def test_snapshots_are_in_the_file_once_and_those_that_are_not_here_are_counted(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.begin(instructor=True)
    here = reference(stage.folder, 60, b"plant")
    elsewhere = reference(stage.folder / "elsewhere", 120, b"plant of another folder")
    gone = here.model_copy(update={"tick": 180})
    changed = reference(stage.folder, 240, b"changed")
    (stage.folder / "snapshots" / RUN / f"{240:012d}.plant.zst").write_bytes(b"CHANGED")
    secret = stage.folder / "secret"
    secret.write_bytes(b"secret")
    other_name = SnapshotReference(
        tick=300, path=str(secret), sha256=hashlib.sha256(b"secret").hexdigest(), bytes=6, schema_id="plant/1"
    )
    with caplog.at_level(logging.WARNING):
        for one in (here, here, elsewhere, gone, changed, other_name):
            stage.clock.ms += 1000
            stage.say("instructor.snapshots", one, RUN)
        stage.send("instructor.snapshots", b"no reference")
        assert len(stage.end()) == 7
    assert caplog.text.count("snapshot_missing") == 1
    with Recording(stage.path) as recording:
        name = f"snapshots/{RUN}/000000000060.plant.zst"
        first = recording.attachments()[0]
        assert (first.name, first.media_type, first.log_time) == (name, "application/zstd", (T0_MS + 1000) * NS_PER_MS)
        assert recording.attachment(name) == b"plant"
        assert recording.attachment(f"snapshots/{RUN}/000000000120.plant.zst") == b"plant of another folder"
        assert len(recording.attachments()) == 2
    assert stage.facts(RECORDED)["snapshots_missing"] == "3"


def test_a_trainees_recording_has_no_snapshots(stage: Stage) -> None:
    stage.begin()
    stage.say("instructor.snapshots", reference(stage.folder, 60, b"plant"), RUN)
    assert stage.end() == []
    with Recording(stage.path) as recording:
        assert recording.attachments() == []
