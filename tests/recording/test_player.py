"""The player: its clock, its states, and what a replayed run looks like to those who read it."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.recording.files import T0_MS, item
from tests.recording.stage import NOW_MS, REPLAY, RUN, Stage, control, own, seconds
from twin.errors import RecordingError, RunError
from twin.events.head import split
from twin.events.head import told as told_head


def test_a_run_is_played_at_its_own_pace_with_its_ticks_and_a_new_identity(tmp_path: Path) -> None:
    with Stage(tmp_path, seconds(0, 9)) as stage:
        stage.start()
        stage.pass_s(3.0)
        records = [record for record in stage.came() if record.topic == "telemetry.grid"]
        heads = [split(record.value)[0] for record in records]
        assert [(head.tick, head.key) for head in heads] == [(n, key) for n in range(3) for key in "ab"]
        assert {head.run for head in heads} == {REPLAY}
        assert {head.epoch for head in heads} == {1}
        line = stage.replay.owner.line  # type: ignore[union-attr]
        assert [head.ts for head in heads] == [line.ts0 + 1000 * (head.tick - line.tick0) for head in heads]
        assert line.ts0 == NOW_MS
        # each when it was due: the first of a tick 100 ms after the tick's run.control, the second 200 ms
        assert [record.timestamp_ms - NOW_MS for record in records] == pytest.approx(
            [100, 200, 1100, 1200, 2100, 2200], abs=11
        )


def test_data_keys_and_headers_stay_byte_for_byte(tmp_path: Path) -> None:
    odd = item("telemetry.grid", 50, key=b"\xff\x00", value=b"no message of ours", headers=(("h", b"\x00"), ("h", b"")))
    spaced = own("telemetry.grid", 0, 60)
    assert spaced.value is not None
    with Stage(tmp_path, [control(-1, 0), own("telemetry.grid", 0, 10), odd, spaced]) as stage:
        stage.start()
        stage.pass_s(1.0)
        first, foreign, last = [record for record in stage.came() if record.topic == "telemetry.grid"]
        assert (foreign.key, foreign.value, foreign.headers) == (odd.key, odd.value, odd.headers)
        assert last.value is not None
        assert last.value.endswith(b',"data":{"tick":0, "of":"k"}}'), "the space in the data stays"
        assert first.partition == last.partition == 0


@pytest.mark.parametrize(("speed", "wall_s"), [(0.5, 4.0), (2.0, 1.0), (10.0, 0.2)])
def test_speed(tmp_path: Path, speed: float, wall_s: float) -> None:
    with Stage(tmp_path, seconds(0, 9), speed=speed) as stage:
        stage.start()
        stage.pass_s(wall_s - 0.01)
        assert max(tick for _, tick, _ in stage.frames()) == 1
        stage.pass_s(0.3 / speed)
        assert max(tick for _, tick, _ in stage.frames()) == 2
        assert stage.replay.owner.line.ms_per_tick == 1000 / speed  # type: ignore[union-attr]


def test_in_slow_motion_the_messages_of_a_tick_stay_together(tmp_path: Path) -> None:
    with Stage(tmp_path, seconds(0, 3), speed=0.1) as stage:
        stage.start()
        stage.pass_s(10.0)
        stage.frames()
        stage.pass_s(1.0, step_s=0.001)
        assert [record.timestamp_ms - NOW_MS for record in stage.came() if record.topic == "telemetry.grid"] == []
        stage.pass_s(0.2, step_s=0.001)
        times = [record.timestamp_ms for record in stage.came() if record.topic == "telemetry.grid"]
        assert times[1] - times[0] == pytest.approx(100, abs=2)


def test_as_fast_as_possible_keeps_display_time_at_the_wall_clock(tmp_path: Path) -> None:
    with Stage(tmp_path, seconds(0, 2999, keys=("a",)), speed=0) as stage:
        stage.start()
        for _ in range(100):
            stage.player._feed.wait(0.1)
            stage.replay.turn()
        sent = stage.player.sent_n
        assert sent == 1901, "one tick is at least a millisecond, and no tick is shown 2 s before its time"
        began_ms = stage.clocks.ms
        stage.finish()
        assert stage.player.sent_n == 3000
        assert stage.clocks.ms - began_ms >= 999


def test_pause_stands_between_ticks_and_resume_opens_an_epoch(tmp_path: Path) -> None:
    with Stage(tmp_path, seconds(0, 9)) as stage:
        stage.start()
        stage.pass_s(1.15)
        stage.player.pause()
        assert stage.frames() == [(1, 0, "a"), (1, 0, "b"), (1, 1, "a"), (1, 1, "b")]
        stage.pass_s(5.0)
        assert stage.frames() == []
        assert stage.replay.owner.state == "paused"  # type: ignore[union-attr]
        stage.player.play()
        stage.pass_s(1.05)
        assert stage.frames() == [(2, 2, "a"), (2, 2, "b")]
        assert stage.replay.owner.continues  # type: ignore[union-attr]


def test_seek_opens_an_epoch_that_does_not_continue_and_begins_with_a_whole_tick(tmp_path: Path) -> None:
    with Stage(tmp_path, seconds(0, 9)) as stage:
        stage.start()
        stage.pass_s(2.5)
        stage.frames()
        stage.player.seek(stage.ns(7150))  # between the two messages of tick 7
        stage.arrive()
        stage.pass_s(1.05)
        assert stage.frames() == [(2, 7, "a"), (2, 7, "b"), (2, 8, "a")]
        assert not stage.replay.owner.continues  # type: ignore[union-attr]
        stage.player.seek(stage.ns(1000))
        stage.arrive()
        stage.pass_s(1.0)
        assert stage.frames()[:2] == [(2, 8, "b"), (3, 1, "a")], "what has begun is finished first"


def test_seek_while_it_stands_shows_the_tick_there(tmp_path: Path) -> None:
    with Stage(tmp_path, seconds(0, 9)) as stage:
        stage.start(paused=True)
        assert stage.frames() == [(1, 0, "a"), (1, 0, "b")]
        stage.player.seek(stage.ns(5000))
        stage.arrive()
        assert stage.player.phase == "paused"
        assert stage.frames() == [(2, 5, "a"), (2, 5, "b")]


def test_the_last_of_several_seeks_counts(tmp_path: Path) -> None:
    with Stage(tmp_path, seconds(0, 9)) as stage:
        stage.start()
        for ms in (8000, 2000, 4000):
            stage.player.seek(stage.ns(ms))
        stage.arrive()
        stage.pass_s(0.5)
        assert stage.frames()[0][1] == 4


def test_steps(tmp_path: Path) -> None:
    with Stage(tmp_path, seconds(0, 9)) as stage:
        stage.start(paused=True)
        stage.frames()
        stage.player.step(messages=1)
        assert stage.frames() == [(2, 1, "a")]
        stage.player.step(seconds=2)
        assert stage.frames() == [(2, 1, "b"), (2, 2, "a"), (2, 2, "b"), (2, 3, "a"), (2, 3, "b")]
        assert stage.replay.owner.line.ms_per_tick == 1  # type: ignore[union-attr]
        stage.player.play()
        stage.pass_s(1.0)
        assert {epoch for epoch, _, _ in stage.frames()} == {3}


def test_a_step_of_one_message_leaves_its_tick_open(tmp_path: Path) -> None:
    with Stage(tmp_path, seconds(0, 9)) as stage:
        stage.start(paused=True)
        stage.player.step(messages=1)
        stage.pass_s(1.1)
        assert [told.settled_tick for told in stage.controls()][-1] == 0
        stage.player.step(messages=1)
        stage.player.step(messages=1)  # only the next tick says that the one before it is whole
        stage.pass_s(1.1)
        assert [told.settled_tick for told in stage.controls()][-1] == 1
        stage.player.set_speed(2.0)
        assert stage.frames()[-1] == (2, 2, "b")  # the rest of the tick, in the epoch in which it has begun
        assert (stage.replay.owner.epoch, stage.replay.owner.tick) == (3, 2)  # type: ignore[union-attr]


def test_a_wall_clock_that_is_set_back_is_waited_for(tmp_path: Path) -> None:
    items = [*seconds(0, 3), *seconds(4, 9, epoch=1)]
    with Stage(tmp_path, items) as stage:
        stage.start()
        stage.pass_s(2.5)
        stage.clocks.wall_behind_ms = 30_000
        with pytest.raises(RunError, match="set back"):
            stage.player.set_speed(4.0)
        stage.player.pause()
        with pytest.raises(RunError, match="set back"):
            stage.player.play()
        assert (stage.player.phase, stage.player.state().speed) == ("paused", 1.0)
        stage.player.seek(stage.ns(5000))
        stage.pass_s(1.0)
        assert (stage.player.phase, stage.player.held_back) == ("seeking", True)
        stage.pass_s(30.0)
        assert (stage.player.phase, stage.player.held_back) == ("paused", False)
        stage.player.play()
        stage.frames()
        stage.pass_s(6.0)
        assert {tick for _, tick, _ in stage.frames()} == {6, 7, 8, 9}


def test_the_next_epoch_waits_for_a_wall_clock_that_is_set_back(tmp_path: Path) -> None:
    items = [*seconds(0, 3), *seconds(4, 9, epoch=1)]
    with Stage(tmp_path, items) as stage:
        stage.start()
        stage.pass_s(3.5)
        stage.clocks.wall_behind_ms = 5_000
        stage.pass_s(2.0)
        assert stage.player.held_back
        stage.pass_s(12.0)
        frames = [tick for _, tick, key in stage.frames() if key == "a"]
        assert (frames, stage.player.phase) == (list(range(10)), "ended")


def test_a_frame_of_a_newer_run_that_nobody_speaks_of_opens_no_epoch(tmp_path: Path) -> None:
    stray = [own("telemetry.grid", 7, 1000 * n + 50, run="20991123T000000Z-0001", key="x") for n in range(4)]
    with Stage(tmp_path, sorted([*seconds(0, 9), *stray])) as stage:
        stage.start()
        stage.pass_s(4.0)
        assert [tick for _, tick, key in stage.frames() if key != "b"] == [0, 1, 2, 3]
        assert stage.player.state().note.startswith("4 messages that cannot be")
        assert stage.replay.owner.epoch == 1  # type: ignore[union-attr]


def test_a_loop_goes_round_until_it_is_given_up(tmp_path: Path) -> None:
    with Stage(tmp_path, seconds(0, 9)) as stage:
        stage.start(2000)
        stage.player.set_loop((stage.ns(2000), stage.ns(3500)))
        stage.pass_s(5.0)
        frames = stage.frames()
        assert {tick for _, tick, _ in frames} == {2, 3}
        assert len({epoch for epoch, _, _ in frames}) >= 3
        stage.player.set_loop(None)
        stage.pass_s(2.0)
        assert 4 in {tick for _, tick, _ in stage.frames()}


def test_at_the_end_it_stands_and_can_be_played_again(tmp_path: Path) -> None:
    with Stage(tmp_path, seconds(0, 2)) as stage:
        stage.start()
        stage.pass_s(5.0)
        assert stage.player.phase == "ended"
        assert stage.replay.owner.state == "paused"  # type: ignore[union-attr]
        stage.frames()
        stage.player.play()
        stage.arrive()
        stage.pass_s(0.5)
        assert stage.frames()[0][1] == 0


def test_a_change_of_speed_continues(tmp_path: Path) -> None:
    with Stage(tmp_path, seconds(0, 9)) as stage:
        stage.start()
        stage.pass_s(1.15)
        stage.player.set_speed(10)
        stage.pass_s(0.2)
        frames = stage.frames()
        assert [tick for epoch, tick, _ in frames if epoch == 1] == [0, 0, 1, 1]
        assert [tick for epoch, tick, _ in frames if epoch == 2][:2] == [2, 2]
        assert stage.replay.owner.continues  # type: ignore[union-attr]


def test_recorded_epochs_become_epochs(tmp_path: Path) -> None:
    after = [
        control(1, 3000, epoch=4, continues=True, line={"ts0": T0_MS, "tick0": 2, "ms_per_tick": 1000}),
        own("telemetry.grid", 2, 3100, epoch=4),
        own("telemetry.grid", 2, 3150, epoch=3, key="late"),
    ]
    back = [own("telemetry.grid", 0, 4100, epoch=5), control(-1, 4200, epoch=5)]
    with Stage(tmp_path, [*seconds(0, 1, keys=("k",), epoch=3), *after, *back]) as stage:
        stage.start()
        stage.pass_s(5.0)
        records = stage.came()
        heads = [split(record.value)[0] for record in records if record.topic == "telemetry.grid"]
        assert [(head.epoch, head.tick) for head in heads] == [(1, 0), (1, 1), (2, 2), (1, 2), (3, 0)]
        ts = [head.ts for head in heads if head.key == "k"]
        assert ts == sorted(ts), "display time never goes back"


def test_a_run_that_stood_stands_in_the_replay(tmp_path: Path) -> None:
    stood = [control(1, 2000 + 1000 * n, state="paused") for n in range(5)]
    with Stage(tmp_path, [*seconds(0, 1), *stood, *seconds(7, 8)]) as stage:
        stage.start()
        stage.pass_s(4.0)
        assert stage.replay.owner.state == "paused"  # type: ignore[union-attr]
        stage.pass_s(4.0)
        assert stage.replay.owner.state == "running"  # type: ignore[union-attr]


def test_a_bus_that_is_slow_slows_the_clock_and_nothing_is_left_out(tmp_path: Path) -> None:
    with Stage(tmp_path, seconds(0, 9)) as stage:
        stage.start()
        stage.pass_s(2.0)
        stage.open = False
        stage.pass_s(3.0)
        assert stage.player.held_back
        assert "waits" in stage.player.state().note
        stage.open = True
        stage.pass_s(0.05)
        assert stage.player.state().slowed_s == pytest.approx(2.95, abs=0.2)
        stage.pass_s(9.0)
        frames = stage.frames()
        assert [tick for _, tick, key in frames if key == "a"] == list(range(10))
        assert stage.player.state().timing_p99_ms < 500


def test_a_tail_of_the_recorded_run_before_the_start_is_left_out(tmp_path: Path) -> None:
    with Stage(tmp_path, seconds(0, 9)) as stage:
        stage.start(4000)
        stage.pass_s(1.0)
        assert {tick for _, tick, _ in stage.frames()} == {4}


def test_foreign_topics_need_no_run(tmp_path: Path) -> None:
    items = [item("telemetry.grid", 100 * n, key=None if n % 2 else b"k%d" % n, value=b"%d" % n) for n in range(10)]
    with Stage(tmp_path, items, foreign=True) as stage:
        assert stage.player.owner is None
        stage.replay.start("")
        stage.arrive()
        stage.pass_s(2.0)
        came = [record for record in stage.came() if record.topic == "telemetry.grid"]
        assert [(record.key, record.value) for record in came] == [(one.key, one.value) for one in items]
        assert stage.player.phase == "ended"


def test_what_the_observer_makes_is_not_played_but_where_it_is_named(tmp_path: Path) -> None:
    more = [
        own("twin.site", 0, 150),
        own("alarms", 0, 160),
        own("instructor.truth", 0, 170),
        own("run.requests", 0, 180),
    ]
    items = [*seconds(0, 1), *more]
    (tmp_path / "b").mkdir()
    with Stage(tmp_path, items) as stage:
        stage.start()
        stage.pass_s(2.0)
        assert Counter(record.topic for record in stage.came()).keys() == {"telemetry.grid", "run.control"}
    with Stage(tmp_path / "b", items, topics=("twin.site", "instructor.*", "al*"), instructor=True) as stage:
        stage.start()
        stage.pass_s(2.0)
        assert Counter(record.topic for record in stage.came()).keys() == {
            "twin.site", "instructor.truth", "run.control",
        }  # fmt: skip


def test_racks_are_played_where_the_frames_they_were_made_of_are_missing(tmp_path: Path) -> None:
    items = [control(-1, 0)]
    for tick in range(3):
        if tick != 1:
            items.append(own("telemetry.gpu", tick, 1000 * tick + 100, key="A001")._replace(partition=5))
        items += [own("twin.rack", tick, 1000 * tick + 400, key=str(p))._replace(partition=p) for p in (5, 6)]
    with Stage(tmp_path, items) as stage:
        stage.start()
        stage.pass_s(3.0)
        heads = sorted((split(r.value)[0].tick, r.partition) for r in stage.came() if r.topic == "twin.rack")
        assert heads == [(0, 6), (1, 5), (1, 6), (2, 6)]


def test_frames_of_an_older_run_that_still_come_are_left_out(tmp_path: Path) -> None:
    old = "20261123T000000Z-0001"
    late = [own("twin.rack", 900 + n, 1000 * n + 50, run=old, key="0") for n in range(4)]
    before = [control(905, 0, run=old), control(-1, 0)]
    with Stage(tmp_path, [*before, *sorted([*seconds(0, 9), *late])]) as stage:
        stage.start()
        stage.pass_s(4.0)
        assert [tick for _, tick, key in stage.frames() if key == "a"] == [0, 1, 2, 3]
        assert stage.player.state().note == "4 messages that cannot be of what is played are left out"
        assert stage.replay.owner.epoch == 1  # type: ignore[union-attr]


def test_only_some_keys(tmp_path: Path) -> None:
    with Stage(tmp_path, seconds(0, 3), keys=("b*",)) as stage:
        stage.start()
        stage.pass_s(4.0)
        assert {key for _, _, key in stage.frames()} == {"b"}


def test_the_table_of_jobs_of_that_instant_comes_with_a_seek(tmp_path: Path) -> None:
    items = [
        *seconds(0, 9),
        own("telemetry.jobs", 2, 2050, key="scheduler"),
        own("telemetry.jobs", 8, 8050, key="scheduler"),
    ]
    with Stage(tmp_path, sorted(items)) as stage:
        stage.start(6000)
        came = [split(r.value)[0] for r in stage.came() if r.topic == "telemetry.jobs"]
        assert [(head.tick, head.epoch) for head in came] == [(6, 1)], "a reader takes none from before the epoch"


def test_original_time_leaves_all_times(tmp_path: Path) -> None:
    items = seconds(0, 3)
    with Stage(tmp_path, items, original_time=True) as stage:
        stage.start()
        stage.pass_s(4.0)
        came = [record for record in stage.came() if record.topic == "telemetry.grid"]
        recorded = [one for one in items if one.topic == "telemetry.grid"]
        assert [record.timestamp_ms for record in came] == [one.timestamp_ms for one in recorded]
        assert [split(r.value)[0].ts for r in came] == [split(one.value)[0].ts for one in recorded]


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (lambda p, ns: p.seek(ns(99_000)), "after what is played"),
        (lambda p, ns: p.seek(ns(-1)), "before what is played"),
        (lambda p, ns: p.set_speed(-1), "not allowed"),
        (lambda p, ns: p.set_speed(0.001), "0.01"),
        (lambda p, ns: p.set_loop((ns(2000), ns(2500))), "a second"),
        (lambda p, ns: p.set_loop((ns(2000), ns(90_000))), "within"),
        (lambda p, ns: p.step(messages=1), "not paused"),
        (lambda p, ns: p.play(), "plays already"),
    ],
)
def test_what_is_impossible_is_refused_and_changes_nothing(tmp_path: Path, what, words: str) -> None:  # type: ignore[no-untyped-def]
    with Stage(tmp_path, seconds(0, 3)) as stage:
        stage.start()
        before = stage.player.state()
        with pytest.raises(RecordingError, match=words):
            what(stage.player, stage.ns)
        assert stage.player.state() == before


streams = st.lists(
    st.tuples(
        st.sampled_from(["telemetry.grid", "telemetry.gpu", "telemetry.network", "commands"]),
        st.integers(0, 2),  # key
        st.integers(0, 5000),  # ms
        st.one_of(st.none(), st.binary(max_size=30), st.just(b"own")),
        st.lists(st.tuples(st.text(max_size=3), st.binary(max_size=3)), max_size=2),
    ),
    min_size=1,
    max_size=40,
)


@settings(max_examples=30, deadline=None)
@given(stream=streams, cuts=st.lists(st.integers(1, 60), max_size=3))
def test_whatever_is_recorded_is_played_in_the_order_of_its_key(
    tmp_path_factory: pytest.TempPathFactory,
    stream,
    cuts: list[int],  # type: ignore[no-untyped-def]
) -> None:
    items = [control(-1, 0)]
    for n, (topic, key, ms, value, headers) in enumerate(sorted(stream, key=lambda one: one[2])):
        name = f"k{key}"
        if value == b"own":
            one = own(topic, ms // 1000, ms, key=name, seq=n)
        else:
            one = item(topic, ms, key=name.encode(), value=value)
        items.append(one._replace(partition=key if topic == "telemetry.gpu" else 0, headers=tuple(headers), offset=n))
    with Stage(tmp_path_factory.mktemp("p"), items, speed=0) as stage:
        stage.start()
        for cut in cuts:  # it is stopped and goes on in between
            if stage.player.phase == "playing":
                stage.player.pause()
                stage.player.play()
            for _ in range(cut):
                stage.replay.turn()
        stage.finish()
        came: dict[tuple[str, bytes | None], list[object]] = {}
        for record in stage.came():
            if record.topic != "run.control":
                came.setdefault((record.topic, record.key), []).append(told(record.value, record.headers))
        sent: dict[tuple[str, bytes | None], list[object]] = {}
        for one in items[1:]:
            sent.setdefault((one.topic, one.key), []).append(told(one.value, one.headers))
        assert came == sent


def told(value: bytes | None, headers: object) -> object:
    """Return what must stay: of our messages the head without run, epoch and time, and the bytes of the data."""
    found = told_head(value)
    if value is None or found is None:
        return value, headers
    head, at = found
    assert head.pop("run") in (RUN, REPLAY)
    del head["epoch"], head["ts"]
    return head, value[at:], headers
