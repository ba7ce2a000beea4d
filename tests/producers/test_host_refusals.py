"""The host at work where something is wrong: requests that cannot be, files that are damaged or gone, a full disk."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from producers.host import Source, Wish
from tests.producers.desk import Desk, Running, at_ms, desk_with, plant_running
from tests.producers.recorded import PLAN, SITE, record
from tests.recording.files import write
from tests.recording.stage import FACTS, seconds
from twin.errors import BusError, LeaseLost, RecordingInvalid, RunError
from twin.events.control import RunControl
from twin.events.head import split
from twin.recording.item import Item
from twin.recording.reader import Recording

OWN = FACTS | {"site_crc": SITE.crc}
BAD = [
    ({"kind": "replay", "recording": "none.mcap"}, "no recording none.mcap"),
    ({"kind": "replay", "recording": "n" * 300}, "File name too long"),
    ({"kind": "replay", "recording": "other.mcap"}, "ffffffff"),
    ({"kind": "replay", "recording": "broken.mcap"}, "is no recording"),
    ({"kind": "replay", "recording": "cut.mcap"}, "was cut off"),
    ({"kind": "replay", "recording": "seed.mcap"}, "seed -1 is not allowed"),
    ({"kind": "replay", "recording": "dt.mcap"}, "dt_s 0 is not allowed"),
    ({"kind": "replay", "recording": "own.mcap", "speed": 1e9}, "speed 1e+09 is not allowed"),
    ({"kind": "live", "seed": -1}, "seed -1 is not allowed"),
    ({"kind": "live", "speed": -1}, "speed -1 is not allowed"),
]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("recorded") / "run.mcap", {}, 40)


@pytest.fixture
def desk(tmp_path: Path, recorded: Path) -> Iterator[Desk]:
    with desk_with(recorded, tmp_path) as desk:
        folder = tmp_path / "recordings"
        write(folder / "own.mcap", seconds(0, 30), **OWN)
        write(folder / "other.mcap", seconds(0, 9), **(OWN | {"site_crc": "ffffffff"}))
        write(folder / "seed.mcap", seconds(0, 9), **(OWN | {"seed": "-1"}))
        write(folder / "dt.mcap", seconds(0, 9), **(OWN | {"dt_s": "0"}))
        (folder / "broken.mcap").write_bytes(b"x" * 100)
        (folder / "cut.mcap").write_bytes((folder / "own.mcap").read_bytes()[:-100])
        yield desk


@pytest.fixture
def running(desk: Desk) -> Iterator[Running]:
    with plant_running(desk) as running:
        yield running


def play(running: Running, name: str, **params: object) -> RunControl:
    assert running.ask("start", kind="replay", recording=name, **params) is None
    return running.until(lambda control: control.player is not None and control.player.phase == "playing")


def goes_on(running: Running) -> None:
    """Fail if the run that was there is not, or stands."""
    before = running.said[-1]
    running.until(lambda control: control.run == before.run and control.settled_tick >= before.settled_tick + 2)


@pytest.mark.parametrize("kind", ["live", "replay"])
@pytest.mark.parametrize(("params", "words"), BAD)
def test_what_cannot_be_is_answered_and_what_runs_goes_on(
    running: Running, kind: str, params: dict[str, object], words: str
) -> None:
    if kind == "replay":
        play(running, "own.mcap")
    error = running.ask("start", **params)
    assert error is not None
    assert words in error
    goes_on(running)
    assert running.said[-1].kind == kind


def test_a_topic_that_may_not_be_written_is_a_refusal(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    partitions = running.desk.bus.partitions

    def refuse(topic: str) -> int:
        if topic == "telemetry.grid":
            raise BusError("topic 'telemetry.grid' cannot be used: Kafka's error code 29")
        return partitions(topic)

    monkeypatch.setattr(running.desk.bus, "partitions", refuse)
    assert "error code 29" in str(running.ask("start", kind="replay", recording="own.mcap"))
    goes_on(running)


class Spoiler:
    """Does something to the world at the moment in which one thing has ended and the next has not begun."""

    def __init__(self, spoil: Callable[[], object]) -> None:
        self._spoil = spoil

    def look(self, source: Source) -> None: ...

    def ended(self, source: Source) -> None:
        self._spoil()


def test_for_a_recording_that_is_gone_meanwhile_the_last_plant_begins_anew(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    own = desk.folder / "recordings" / "own.mcap"
    running = Running(desk, desk.host.begin(PLAN, SITE), Spoiler(lambda: own.unlink(missing_ok=True)))
    first = running.until(lambda control: control.settled_tick >= 2)
    assert running.ask("start", kind="replay", recording="own.mcap") is None
    anew = running.until(lambda control: control.run != first.run and control.settled_tick >= 2)
    assert (anew.kind, anew.seed, anew.weather_at) == ("live", first.seed, first.weather_at)
    assert "own.mcap cannot be opened" in caplog.text
    running.stop.set()
    running.ends()
    assert running.error is None
    assert [state for *_, state in running.lives()] == ["ended", "ended"]


def test_a_host_of_no_site_ends_with_the_recording_that_is_gone(tmp_path: Path) -> None:
    (tmp_path / "recordings").mkdir()
    own = write(tmp_path / "recordings" / "own.mcap", seconds(0, 30), **OWN)
    desk = Desk(tmp_path)
    running = Running(desk, desk.host.replay(Wish(own, stays=True)), Spoiler(own.unlink))
    running.until(lambda control: control.settled_tick >= 2)
    assert running.ask("start", kind="live") == "kind 'live' is not allowed: live or replay"
    assert running.ask("start", kind="replay", recording="own.mcap") is None
    running.ends()
    assert isinstance(running.error, RecordingInvalid)
    assert running.said[-1].state == "ended"
    desk.bus.close()


def damaged(path: Path, share: float = 0.5) -> Path:
    """Spoil a chunk of a recording, so far behind its beginning."""
    with Recording(path) as recording:
        chunk = recording._chunks[int(share * recording.chunk_n)]
    content = bytearray(path.read_bytes())
    at = chunk.chunk_start_offset + chunk.chunk_length // 2
    content[at : at + 8] = b"\xff" * 8
    path.write_bytes(content)
    return path


def test_a_damaged_part_is_left_out_and_told_and_the_host_goes_on(running: Running) -> None:
    damaged(running.desk.folder / "recordings" / "own.mcap")
    replay = play(running, "own.mcap")
    over = running.until(lambda control: control.player is not None and control.player.phase == "ended")
    assert over.player is not None
    assert over.player.note.startswith("1 damaged parts are left out, the first: a chunk cannot be read")
    heads = [split(record.value)[0] for record in running.desk.came if record.topic == "telemetry.grid"]
    ticks = {head.tick for head in heads if head.run == replay.run}
    assert {0, 30} < ticks < set(range(31))
    assert running.ask("start", kind="live") is None
    running.until(lambda control: control.kind == "live" and control.settled_tick >= 2)


def test_what_cannot_be_rebuilt_for_damage_stands_and_can_be_played_on(running: Running) -> None:
    path = damaged(running.desk.folder / "recordings" / "run.mcap")
    replay = play(running, "run.mcap")
    error = running.ask("takeover", ts=at_ms(path, 20))
    assert error is not None
    assert "cannot be read" in error
    stands = running.until(lambda control: control.state == "paused", since=0)
    assert stands.run == replay.run
    assert running.ask("resume") is None
    goes_on(running)


def read_no_further(recording: Recording, item: Item) -> Item:
    if item.time_ns > recording.start_ns + 5_000_000_000:
        raise RecordingInvalid("the disk has gone")
    return item


@pytest.fixture
def disk_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    items = Recording.items

    def of(self: Recording, *args: object, **options: object) -> Iterator[Item]:
        return (read_no_further(self, item) for item in items(self, *args, **options))  # type: ignore[arg-type]

    monkeypatch.setattr(Recording, "items", of)


@pytest.mark.usefixtures("disk_goes")
def test_after_a_recording_that_cannot_be_read_on_the_last_plant_begins_anew(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    first = running.said[-1]
    assert running.ask("start", kind="replay", recording="own.mcap") is None
    anew = running.until(
        lambda control: control.kind == "live" and control.run != first.run and control.settled_tick >= 2
    )
    assert anew.seed == first.seed
    assert [(kind, state) for _, kind, state in running.lives()][:2] == [("live", "ended"), ("replay", "ended")]
    assert "own.mcap cannot be read on: the disk has gone" in caplog.text


@pytest.mark.usefixtures("disk_goes")
def test_a_host_of_no_site_ends_with_a_recording_that_cannot_be_read_on(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    own = write(tmp_path / "own.mcap", seconds(0, 30), **OWN)
    running = Running(desk, desk.host.replay(Wish(own, stays=True)))
    running.ends()
    assert isinstance(running.error, RecordingInvalid)
    assert "the disk has gone" in str(running.error)
    assert running.said[-1].state == "ended"
    desk.bus.close()


def full(folder: Path) -> None:
    """Let nothing be written there: a file stands in the place of the folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.write_bytes(b"")


def test_a_full_disk_refuses_what_needs_room_and_ends_nothing(running: Running) -> None:
    full(running.desk.folder / "snapshots")
    since = len(running.said)
    assert "cannot be written" in str(running.ask("start", kind="live"))
    goes_on(running)
    running.until(lambda control: control.settled_tick > 65, since=since)  # over the minute of a snapshot
    replay = play(running, "run.mcap")
    assert str(running.ask("takeover", ts=at_ms(running.desk.folder / "recordings" / "run.mcap", 10))).startswith(
        "no-room: the snapshot of tick"
    )
    assert "cannot be written" in str(running.ask("start", kind="live"))
    assert running.ask("resume") is None
    goes_on(running)
    assert running.said[-1].run == replay.run


def test_a_comparison_that_cannot_be_kept_is_told_all_the_same(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    full(running.desk.folder / "takeovers")
    play(running, "run.mcap")
    assert running.ask("takeover", ts=at_ms(running.desk.folder / "recordings" / "run.mcap", 10)) is None
    running.until(lambda control: control.kind == "live" and control.settled_tick >= 12)
    play(running, "own.mcap")
    ((comparison, path),) = running.desk.comparisons
    assert comparison.lines()
    assert f"takeover=unsaved path={path}" in caplog.text
    goes_on(running)


def test_of_a_comparison_that_does_not_fit_on_the_disk_nothing_is_left(running: Running) -> None:
    run = play(running, "run.mcap").run
    folder = running.desk.folder / "takeovers"
    folder.mkdir()
    (folder / f"{run}.part").symlink_to("/dev/full")
    assert running.ask("takeover", ts=at_ms(running.desk.folder / "recordings" / "run.mcap", 10)) is None
    running.until(lambda control: control.kind == "live" and control.settled_tick >= 12)
    play(running, "own.mcap")
    assert len(running.desk.comparisons) == 1
    assert not (folder / f"{run}.json").exists(), "who ends a run reads it as soon as it is there"


@pytest.mark.parametrize("kind", ["live", "replay"])
def test_nothing_follows_while_the_wall_clock_is_behind_what_was_shown(running: Running, kind: str) -> None:
    if kind == "replay":
        play(running, "run.mcap")
    running.desk.clocks.wall_behind_ms = 3_600_000
    run = running.said[-1].run
    for verb, params in (
        ("start", {"kind": "live"}),
        ("start", {"kind": "replay", "recording": "own.mcap"}),
        *([("takeover", {})] if kind == "replay" else []),
    ):
        assert "the clock of this machine was set back" in str(running.ask(verb, **params))
    running.desk.clocks.wall_behind_ms = 0
    goes_on(running)
    assert running.said[-1].run == run


def test_where_nothing_can_begin_any_more_the_host_ends_and_nobody_listens_on(desk: Desk) -> None:
    def clock_is_set_back() -> None:
        desk.clocks.wall_behind_ms = 3_600_000

    running = Running(desk, desk.host.begin(PLAN, SITE), Spoiler(clock_is_set_back))
    running.until(lambda control: control.settled_tick >= 2)
    assert running.ask("start", kind="replay", recording="own.mcap") is None
    running.ends()
    assert isinstance(running.error, RunError)
    assert "set back" in str(running.error)
    assert [(kind, state) for _, kind, state in running.lives()] == [("live", "ended")]


@pytest.mark.parametrize("kind", ["live", "replay"])
def test_who_has_lost_the_lease_ends_and_says_nothing_more(desk: Desk, kind: str) -> None:
    own = Wish(desk.folder / "recordings" / "own.mcap", stays=True)
    running = Running(desk, desk.host.begin(PLAN, SITE) if kind == "live" else desk.host.replay(own))
    mine = running.until(lambda control: control.settled_tick >= 2)
    desk._send("run.control", mine.model_copy(update={"owner": "somebody", "epoch": mine.epoch + 1}))
    running.ends()
    assert isinstance(running.error, LeaseLost)
    assert "ended" not in {control.state for control in running.said}, "the lease is somebody's"
