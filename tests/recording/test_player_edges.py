"""The player where a recording is odd: strays, late frames, words that come late or never, steps at the end."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.recording.files import T0_MS, item, write
from tests.recording.stage import FACTS, Stage, control, own, seconds
from twin.errors import RecordingError
from twin.recording.choice import Choice
from twin.recording.item import NS_PER_MS, Item
from twin.recording.place import place_at
from twin.recording.player import STEP_MAX_N
from twin.recording.reader import Recording
from twin.recording.replay import rehearse
from twin.recording.retelling import told_of
from twin.recording.span import Range
from twin.recording.ticks import CurrentTick

STRAY_RUN = "20991123T000000Z-0001"


def stray(ms: float, tick: int = 7) -> Item:
    """Return a frame of a newer run that nobody speaks of."""
    return own("telemetry.grid", tick, ms, run=STRAY_RUN, key="x")


def test_a_step_over_a_stray_loses_nothing(tmp_path: Path) -> None:
    items = sorted([*seconds(0, 3), stray(1150), stray(3900)])
    with Stage(tmp_path, items) as stage:
        stage.start(paused=True)
        stage.frames()
        for _ in range(7):
            stage.player.step(messages=1)
        stage.player.step(messages=STEP_MAX_N)
        assert [(tick, key) for _, tick, key in stage.frames()] == [(n, key) for n in (1, 2, 3) for key in "ab"]
        with pytest.raises(RecordingError, match=f"{STEP_MAX_N} messages"):
            stage.player.step(messages=STEP_MAX_N + 1)


def test_a_step_ends_where_the_range_does(tmp_path: Path) -> None:
    with Stage(tmp_path, seconds(0, 3)) as stage:
        stage.start(2500, paused=True)
        stage.player.step(seconds=10)
        assert stage.player.position_ns <= stage.player.span.end_ns


def test_a_late_frame_does_not_hold_up_the_place_that_is_sought(tmp_path: Path) -> None:
    items = [*seconds(0, 59), own("telemetry.grid", 10, 40_050, key="c")]
    with Stage(tmp_path, sorted(items)) as stage:
        stage.start(40_000)
        stage.pass_s(1.0)
        assert {tick for _, tick, _ in stage.frames()} == {40}


def test_a_seek_waits_for_the_word_of_its_epoch_where_it_has_not_been_read(tmp_path: Path) -> None:
    frame, word = own("telemetry.grid", 0, 0), control(-1, 900, line={"ts0": T0_MS, "tick0": 0, "ms_per_tick": 100})

    class Feed:
        def __init__(self) -> None:
            self.items: list[Item] = [frame]
            self.note: Callable[[Any], None] = lambda _: None

        def find(self, wanted: Callable[[Item], bool], *, upto_ns: int | None = None) -> tuple[Item | None, bool]:
            return next((one for one in self.items if wanted(one)), None), word in self.items

    feed = Feed()
    with Recording(write(tmp_path / "r.mcap", [frame, word])) as recording:
        start_ns = recording.start_ns
        assert place_at(start_ns, recording.end_ns, recording, feed) is None  # type: ignore[arg-type]
        feed.items.append(word)
        place = place_at(start_ns, recording.end_ns, recording, feed)  # type: ignore[arg-type]
    assert place is not None
    assert place.control is not None
    assert place.control.line.ms_per_tick == 100


def test_orders_alone_are_played_too(tmp_path: Path) -> None:
    items = [own("commands", n, 1000 * n, key=f"k{n}") for n in range(4)]
    with Stage(tmp_path, items) as stage:
        stage.start()
        stage.pass_s(4.0)
        assert [record.key for record in stage.came() if record.topic == "commands"] == [b"k0", b"k1", b"k2", b"k3"]
        assert stage.player.state().note == ""


def test_a_bus_that_is_free_again_is_told_at_once(tmp_path: Path) -> None:
    with Stage(tmp_path, seconds(0, 9)) as stage:
        stage.start()
        stage.pass_s(1.05)
        stage.open = False
        stage.pass_s(0.5)
        assert stage.player.held_back
        stage.player.set_speed(0.01)
        stage.open = True
        stage.pass_s(0.1)
        assert not stage.player.held_back


def test_an_epoch_at_original_time_begins_where_it_goes_on(tmp_path: Path) -> None:
    with Stage(tmp_path, seconds(0, 9), original_time=True) as stage:
        stage.start()
        stage.pass_s(4.5)
        stage.player.pause()
        stage.player.play()
        owner = stage.replay.owner
        assert owner is not None
        assert (owner.continues, owner.line.tick0, owner.line.ts0) == (True, 5, T0_MS + 5000)


def test_a_frame_of_an_older_epoch_leaves_no_tick() -> None:
    sent = CurrentTick()
    assert not sent.is_left_by(told_of(own("telemetry.grid", 3, 0)))
    sent.sent(told_of(own("telemetry.grid", 3, 0, epoch=1)))
    older, later = own("telemetry.grid", 9, 0, epoch=0), own("telemetry.grid", 4, 0, epoch=1)
    assert not sent.is_left_by(told_of(older))
    assert sent.is_left_by(told_of(later))
    assert sent.is_left_by(told_of(own("telemetry.grid", 0, 0, epoch=2)))


def test_a_rehearsal_of_what_is_rare_waits_for_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    items = [control(-1, 0), *(own("telemetry.grid", 60 * n, 60_000 * n) for n in range(60))]
    with Recording(write(tmp_path / "r.mcap", items, **FACTS)) as recording:
        waits: list[float | None] = []
        wait = threading.Event.wait
        monkeypatch.setattr(threading.Event, "wait", lambda self, s=None: waits.append(s) or wait(self, s))
        counts, _ = rehearse(recording, Choice(), Range(recording.start_ns, recording.end_ns))
    assert counts["telemetry.grid"] == 60
    assert len(waits) < 100


def test_topics_of_others_are_played_whatever_they_are_called(tmp_path: Path) -> None:
    foreign = [item("factory.alarms", 0), item("shop.commands", 1), item("factory.orders", 2)]
    mine = own("telemetry.grid", 0, 3)._replace(topic="ci.telemetry.grid")
    with Recording(write(tmp_path / "r.mcap", [*foreign, mine])) as recording:
        assert Choice().topics_of(recording) == {"factory.alarms", "shop.commands", "factory.orders"}
        assert Choice(("*",)).topics_of(recording) == {"factory.alarms", "shop.commands", "factory.orders"}
        assert Choice(("ci.telemetry.grid",)).topics_of(recording) == {"ci.telemetry.grid"}
        assert recording.start_ns == T0_MS * NS_PER_MS
