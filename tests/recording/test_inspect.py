"""Looking into a recording, and checking it against itself."""

from pathlib import Path

import pytest
from mcap.opcode import Opcode

from tests.recording.files import T0_MS, item, write
from tests.recording.samples import FACTS, SNAPSHOT, ends_of, sample_items, write_foreign, write_sample
from twin.errors import RecordingInvalid
from twin.events.control import Line, RunControl
from twin.events.head import Head, encode_model
from twin.recording import inspect as module
from twin.recording.inspect import Info, TopicInfo, inspect
from twin.recording.item import NS_PER_MS, Item
from twin.recording.reader import Recording
from twin.recording.verify import Verdict, verify

T0_NS = T0_MS * NS_PER_MS
RUN = "20261124T072000Z-a7f3"


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample(tmp_path_factory.mktemp("sample") / "sample.mcap")


def look(path: Path) -> Info:
    with Recording(path) as recording:
        return inspect(recording)


def topic_of(path: Path, name: str) -> TopicInfo:
    return next(topic for topic in look(path).topics if topic.topic == name)


def control(ms: float, *, run: str = RUN, epoch: int = 0, offset: int = 0) -> Item:
    """Return a ``run.control`` as the owner of a run sends it."""
    data = RunControl(
        run=run, epoch=epoch, line=Line(ts0=T0_MS, tick0=0, ms_per_tick=1000), kind="live", continues=True,
        automatic_operator=True, lock_step=False, site="mini", site_crc="0", seed=7, dt_s=1.0,
        weather_at="07-15T14:00", site_time="07-15T14:00:00", state="running", speed=1.0, speed_reached=1.0,
        settled_tick=0, owner="test", sent_ms=T0_MS, lease_expires_ms=T0_MS,
    )  # fmt: skip
    head = Head(schema="run.control/1", run=run, epoch=epoch, tick=0, seq=0, ts=T0_MS, dt_s=1.0, key="run.control")
    return item("run.control", ms, key=b"run.control", value=encode_model(head, data), offset=offset)


# -- inspect


def test_the_whole_is_told(sample: Path) -> None:
    info = look(sample)
    assert (info.bytes_n, info.chunk_n) == (sample.stat().st_size, 12)
    assert (info.start_ns, info.end_ns, info.span_s) == (T0_NS, T0_NS + 5_500_000_000, 5.5)
    assert info.facts == {"format": "1", **FACTS}
    assert info.closed_by == "the test is over"
    assert [(file.name, file.bytes_n) for file in info.attachments] == [
        ("plant-0.zst", len(SNAPSHOT)),
        ("plant-3.zst", len(SNAPSHOT)),
    ]
    assert info.runs == ()
    assert [topic.topic for topic in info.topics] == ["bare", "orders", "telemetry.gpu"]


def test_each_topic_is_told(sample: Path) -> None:
    gpu = topic_of(sample, "telemetry.gpu")
    assert (gpu.count, gpu.keys_n, gpu.partitions_n, gpu.missing_n) == (12, 2, 2, 0)
    assert gpu.bytes_n == sum(one.bytes_n for one in sample_items() if one.topic == "telemetry.gpu")
    assert gpu.rate_hz == pytest.approx(12 / 5.5)
    assert (gpu.gap_s, gpu.gap_start_ns) == (1.0, T0_NS)
    bare = topic_of(sample, "bare")
    assert (bare.keys_n, bare.bytes_n) == (1, 0)


def test_missing_offsets_are_counted_by_partition(tmp_path: Path) -> None:
    items = [item(ms=n, offset=offset, partition=0) for n, offset in enumerate((5, 6, 9, 10, 20))]
    items += [item(ms=n, offset=offset, partition=1) for n, offset in enumerate((100, 102))]
    assert topic_of(write(tmp_path / "a.mcap", items), "orders").missing_n == 2 + 9 + 1


def test_of_a_compacted_topic_and_of_another_tool_none_is_missed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mcap", [item("alarms", offset=1), item("alarms", ms=5, offset=70)])
    assert topic_of(path, "alarms").missing_n is None
    assert topic_of(write_foreign(tmp_path / "b.mcap"), "/pose").missing_n is None


@pytest.mark.parametrize(
    ("seconds", "gap_s", "starts_s"),
    [((0, 1, 2, 9, 10), 7, 2), ((4, 5, 6, 7, 8, 9, 10), 4, 0), ((0, 1, 2, 3), 7, 3), ((5,), 5, 0)],
)
def test_the_longest_gap_counts_both_ends_of_the_recording(
    tmp_path: Path, seconds: tuple[int, ...], gap_s: float, starts_s: float
) -> None:
    items = [item("other", ms=0), item("other", ms=10_000, offset=1)]
    items += [item(ms=second * 1000, offset=second) for second in seconds]
    found = topic_of(write(tmp_path / "a.mcap", sorted(items, key=lambda one: one.time_ns)), "orders")
    assert (found.gap_s, found.gap_start_ns) == (gap_s, T0_NS + starts_s * 10**9)


def test_runs_are_found_with_their_epochs(tmp_path: Path) -> None:
    other = "20261124T080000Z-0001"
    items = [control(n * 1000, epoch=n // 3, offset=n) for n in range(7)]
    items += [control(9000, run=other, epoch=4, offset=7)]
    items += [item("run.control", 9500, value=b"{}", offset=8), item("run.control", 9600, value=None, offset=9)]
    first, second = look(write(tmp_path / "a.mcap", items)).runs
    assert (first.run, first.kind, first.site, first.epochs) == (RUN, "live", "mini", (0, 1, 2))
    assert (first.start_ns, first.end_ns) == (T0_NS, T0_NS + 6_000_000_000)
    assert (second.run, second.epochs) == (other, (4,))


def test_keys_without_bound_take_no_memory_without_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEYS_MOST_N", 5)
    items = [item(key=b"%d" % n, offset=n) for n in range(20)]
    assert topic_of(write(tmp_path / "a.mcap", items), "orders").keys_n == 5


def test_an_empty_recording_is_told(tmp_path: Path) -> None:
    info = look(write(tmp_path / "a.mcap", []))
    assert (info.topics, info.runs, info.span_s, info.closed_by) == ((), (), 0.0, "ended")


# -- verify


def whats(verdict: Verdict) -> str:
    return "\n".join(f"{finding.where}: {finding.what}" for finding in verdict.findings)


def test_a_whole_file_is_as_it_should_be(sample: Path, tmp_path: Path) -> None:
    assert verify(sample) == Verdict((), sample.stat().st_size, 12, 24, 2)
    assert verify(write(tmp_path / "a.mcap", [])).findings == ()
    assert verify(write_foreign(tmp_path / "b.mcap")).findings == ()


def test_any_wrong_byte_is_found(sample: Path, tmp_path: Path) -> None:
    content, path = sample.read_bytes(), tmp_path / "wrong.mcap"
    for n in range(0, len(content), 17):
        path.write_bytes(content[:n] + bytes([content[n] ^ 0x10]) + content[n + 1 :])
        assert verify(path).findings, n


def test_a_file_that_was_cut_off_anywhere_is_found(sample: Path, tmp_path: Path) -> None:
    content, path = sample.read_bytes(), tmp_path / "cut.mcap"
    for size in range(0, len(content), 41):
        path.write_bytes(content[:size])
        assert verify(path).findings, size
    path.write_bytes(content[: ends_of(sample, Opcode.CHUNK)[5] - 3])
    assert "a record of " in whats(verify(path))


@pytest.mark.parametrize("more", [b"\x00", b"more", b"\x89MCAP0\r\n"])
def test_what_follows_the_end_is_found(sample: Path, tmp_path: Path, more: bytes) -> None:
    (tmp_path / "a.mcap").write_bytes(sample.read_bytes() + more)
    assert "does not end as an MCAP file does" in whats(verify(tmp_path / "a.mcap"))


def test_it_is_told_what_and_where(sample: Path, tmp_path: Path) -> None:
    content, path = bytearray(sample.read_bytes()), tmp_path / "wrong.mcap"
    content[ends_of(sample, Opcode.CHUNK)[2] - 15] ^= 1
    content[ends_of(sample, Opcode.ATTACHMENT)[1] - 15] ^= 1
    path.write_bytes(content)
    told = whats(verify(path))
    assert "the checksum of its data is wrong" in told
    assert "2026-11-24T07:20:01.000Z to 2026-11-24T07:20:01.000Z: a chunk cannot be read" in told
    assert "its checksum is wrong" in told
    assert "telemetry.gpu: 12 messages are told of, 10 are there" in told


def test_offsets_that_do_not_rise_are_found(tmp_path: Path) -> None:
    items = [item(ms=n, offset=offset) for n, offset in enumerate((3, 4, 4, 5, 2, 6))]
    told = whats(verify(write(tmp_path / "a.mcap", items)))
    assert told == "orders partition 0: offsets do not rise, 2 times: 4 after 4 at 2026-11-24T07:20:00.002Z"


def test_a_clock_that_goes_back_is_found(tmp_path: Path) -> None:
    items = [item(ms=ms, offset=n) for n, ms in enumerate((0, 9, 4, 10))]
    assert "offsets do not rise, 1 times" in whats(verify(write(tmp_path / "a.mcap", items)))


def test_a_chunk_that_another_tool_has_put_together_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("twin.recording.envelope.ENVELOPE_TOPIC", "something.else")
        path = write(tmp_path / "a.mcap", [item(offset=n) for n in range(3)], chunk_bytes=1 << 20)
    assert "a chunk has no envelope: another tool has written it" in whats(verify(path))
    assert "something.else" in [topic.topic for topic in look(path).topics]


def test_what_is_no_recording_is_a_finding_and_what_is_not_there_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.mcap").touch()
    assert whats(verify(tmp_path / "a.mcap")) == "byte 0: it is empty"
    (tmp_path / "b.mcap").write_text("text " * 100)
    assert whats(verify(tmp_path / "b.mcap")) == "byte 0: it does not begin as an MCAP file does"
    assert "format 7" in whats(verify(write(tmp_path / "c.mcap", [item()], format="7")))
    assert "no index" in whats(verify(write_foreign(tmp_path / "d.mcap", chunks=False)))
    with pytest.raises(RecordingInvalid, match=r"e\.mcap cannot be read: No such file"):
        verify(tmp_path / "e.mcap")
