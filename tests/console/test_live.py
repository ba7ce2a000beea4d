import math

import pytest

from tests.console.worlds import RUN, START_MS, Clock, control, head, model_record, picture, racks, record
from twin.bus.base import Record
from twin.console.live import Live
from twin.events.alarm import Mark
from twin.events.control import CommandResult, Line
from twin.events.derived import Health, IngestHealth

NEXT_RUN = "20261124T080000Z-0001"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def live(mini, clock) -> Live:
    return Live("", mini, now_ms=clock)


def site_tick(live: Live) -> int | None:
    held = live.held("twin.site", "mini")
    return None if held is None else held.head.tick


def test_the_newest_frame_of_each_sender_is_kept(live, mini):
    live.take(
        [control(3), picture(mini, 1), picture(mini, 3), picture(mini, 2), racks(mini, 0, 3, {}), racks(mini, 1, 2, {})]
    )
    assert site_tick(live) == 3
    assert sorted((held.head.key, held.head.tick) for held in live.senders("twin.rack")) == [("0", 3), ("1", 2)]


def test_frames_of_another_run_or_an_earlier_epoch_are_not_shown(live, mini):
    old = "20261124T010000Z-0001"
    live.take([control(3, epoch=2), picture(mini, 9, run=old), picture(mini, 9, epoch=1)])
    assert site_tick(live) is None


def test_frames_that_come_before_their_run_control_wait_for_it(live, mini):
    live.take([picture(mini, 4)])
    assert site_tick(live) is None
    live.take([control(4)])
    assert site_tick(live) == 4
    live.take([picture(mini, 5, epoch=1)])
    assert site_tick(live) == 4
    live.take([control(5, epoch=1, continues=True)])
    assert site_tick(live) == 5


def test_a_jump_empties_the_picture_and_a_pause_does_not(live, mini):
    live.take([control(9), picture(mini, 9)])
    live.take([control(9, state="paused"), control(9, epoch=1, continues=True)])
    assert (site_tick(live), live.resets_n) == (9, 1)
    live.take([control(2, epoch=2)])
    assert (site_tick(live), live.resets_n) == (None, 2)
    live.take([picture(mini, 3, epoch=2)])
    assert site_tick(live) == 3


def test_a_new_run_takes_over_when_the_old_one_has_ended(live, mini):
    live.take([control(9), picture(mini, 9), control(9, state="ended"), control(0, run=NEXT_RUN)])
    assert live.control.run == NEXT_RUN
    assert site_tick(live) is None


def test_ages_are_display_time_and_stand_with_the_clock(live, clock):
    live.take([control(10)])
    assert live.age_s(10) == 0
    assert live.age_s(6) == 4
    assert live.stale_after_s() == 3
    fast = Line(ts0=START_MS, tick0=0, ms_per_tick=17)
    live.take([control(600, line=fast, epoch=1, continues=True)])
    assert live.age_s(580) == pytest.approx(0.34)
    clock.move(6000)
    slow = Line(ts0=START_MS, tick0=0, ms_per_tick=10_000)
    live.take([control(600, line=slow, epoch=2, continues=True)])
    assert live.stale_after_s() == 30


def test_a_silent_owner_makes_everything_old_but_an_ended_run_does_not(live, clock):
    assert live.age_s(0) == math.inf
    live.take([control(10)])
    clock.move(1)
    assert live.age_s(10) == 0
    clock.move(5)
    assert live.age_s(10) == live.run_age_s() == 5
    live.take([control(10, state="ended", sent_ms=clock.ms)])
    clock.move(100)
    assert live.age_s(10) == 0


def test_what_is_no_message_is_counted_and_harms_nothing(live, mini):
    live.take([control(3), picture(mini, 3)])
    broken = [
        Record("twin.site", 0, 1, START_MS, b"mini", value)
        for value in (None, b"", b"{", b"[]", b'{"head":{},"data":{}}', b"\xff" * 10)
    ]
    broken.append(record("run.control", head("run.control", "run.control"), b'{"run":"no"}'))
    broken.append(Record("twin.marks", 0, 1, START_MS, None, b"{}"))
    live.take(broken)
    assert live.refused_n == len(broken)
    assert site_tick(live) == 3
    live.take([record("twin.site", head("twin.site", "mini", 4), b'{"site":{"pue":"x"}}')])
    assert live.refused_n == len(broken) + 1
    assert live.frame("twin.site", "mini")[0].head.tick == 3


def test_a_tick_that_cannot_be_is_refused_when_its_run_is_known(live, mini):
    live.take([picture(mini, 100_000), control(3)])
    assert (site_tick(live), live.refused_n) == (None, 1)
    live.take([picture(mini, 4)])
    assert site_tick(live) == 4


def test_results_are_found_by_the_commands_id_and_bounded(live):
    def result(number: int) -> Record:
        data = CommandResult(
            command_id=f"c{number}", verb="chiller.start", unit="chiller-1", by="t", accepted=True, reason="",
            applied_tick=1,
        )  # fmt: skip
        return model_record("command_results", "chiller-1", data)

    live.take([control(3), *(result(number) for number in range(1001))])
    assert live.result("c0") is None
    assert live.result("c1000").accepted
    assert live.result("nobody") is None


def test_counts_add_up_and_the_lag_is_the_worst_now(live):
    def health(process: str, lag_s: float) -> Record:
        topic = IngestHealth(
            topic="telemetry.gpu", frames_hz=1, lag_p50_s=0, lag_p99_s=lag_s, age_max_s=0, control_age_s=0,
            kafka_lag_n=0, suspect_n=0, dead_n=2, gap_n=3, duplicate_n=5, late_n=0, other_run_n=0,
        )  # fmt: skip
        data = Health(process=process, at_ms=1, cpu=0, rss_mb=1, buffer_fill=0, ingest=(topic,))
        return model_record("twin.health", process, data)

    assert live.totals() == (None, 0, 0, 0)
    live.take([health("rows", 9.0), health("site", 0.2), health("rows", 0.1)])
    assert live.totals() == (0.2, 6, 9, 15)


def test_marks_come_and_go(live):
    def mark(rack: str, kind: str = "watch") -> Record:
        return model_record("twin.marks", f"{kind}@{rack}", Mark(kind=kind, asset=rack, run=RUN, by="t"))

    live.take([mark("R0001"), mark("R0002"), mark("R0003", "suspect")])
    assert live.watched() == {"R0001", "R0002"}
    live.take([Record("twin.marks", 0, 1, START_MS, b"watch@R0001", None)])
    assert live.watched() == {"R0002"}


def test_topics_have_the_namespace(mini):
    live = Live("ci", mini, now_ms=Clock())
    live.take([control(3)._replace(topic="ci.run.control"), picture(mini, 3)._replace(topic="ci.twin.site")])
    assert site_tick(live) == 3
