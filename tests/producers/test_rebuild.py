"""The plant of a recording is rebuilt as it was at any instant, or it is said why it cannot be."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from producers.differences import Difference, differences
from producers.families import PRODUCERS
from producers.incidents import RUN
from producers.rebuild import Moment, Rebuilt, check, rebuild, run_on, saved
from tests.producers.recorded import (
    PLAN,
    SITE,
    changed,
    command,
    edited,
    inject,
    plant_at,
    record,
    request,
    turn_ns,
    without,
)
from tests.recording.files import item as any_item
from tests.recording.files import write
from twin.errors import TakeoverRefused
from twin.events.head import split
from twin.events.layout import FrameLayout
from twin.plant import Plant, TimedCommand, TimedInject, carry_out, restore, snapshot, state_hash
from twin.recording.item import Item
from twin.recording.reader import Recording
from twin.recording.snapshot_files import attachment_name
from twin.site import load_site

START_9 = TimedCommand(5, "turbine.start", "turbine-9")
HOT = TimedInject(20, "pump_degraded", "cdu-R0007", 0.9, ramp_s=10.0, hold_s=40.0)
LOAD = TimedCommand(63, "turbine.load", "turbine-1", {"power_w": 200_000.0})
LEFT = [TimedCommand(90, "turbine.start", "turbine-10"), TimedInject(95, "turbine_trip", "turbine-2")]
BACK_AT, BACK_TO = 100, 80  # the turn in which the run jumps back, and the tick after which it goes on
START_11 = TimedCommand(86, "turbine.start", "turbine-11")
TRIP = TimedInject(131, "turbine_trip", "turbine-1")
BEFORE, AFTER = [START_9, HOT, LOAD, *LEFT], [START_9, HOT, LOAD, START_11, TRIP]
TURNS = 180
ORDERS: dict[int, list[Any]] = {
    5: [command("a", "turbine.start", "turbine-9"), command("bad", "turbine.start", "turbine-99")],
    20: [
        inject("i", "pump_degraded", "cdu-R0007", severity=0.9, ramp_s=10.0, hold_s=40.0),
        inject("bad too", "no_such", "cdu-R0007"),
    ],
    63: [command("b", "turbine.load", "turbine-1", power_w=200_000.0)],
    90: [command("left", "turbine.start", "turbine-10")],
    95: [inject("left too", "turbine_trip", "turbine-2")],
    BACK_AT: [request("seek", tick=BACK_TO)],
    105: [command("c", "turbine.start", "turbine-11")],
    150: [inject("j", "turbine_trip", "turbine-1")],
}


def tick_of(turn: int) -> int:
    return turn if turn < BACK_AT else turn - BACK_AT + BACK_TO + 1


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("rebuild") / "run.mcap", ORDERS, TURNS)


def rebuilt(path: Path, turn: int, ms: int = 500) -> Rebuilt:
    with Recording(path) as recording:
        return rebuild(recording, RUN, turn_ns(turn, ms), SITE)


def checked(path: Path, turn: int) -> Difference:
    with Recording(path) as recording:
        found = rebuild(recording, RUN, turn_ns(turn), SITE)
        return check(found.plant, recording, found.moment)


def refused(path: Path, turn: int = 70, run: str = RUN) -> tuple[str, str]:
    def taken_over(recording: Recording) -> None:
        found = rebuild(recording, run, turn_ns(turn), SITE)
        check(found.plant, recording, found.moment)

    with Recording(path) as recording, pytest.raises(TakeoverRefused) as told:
        taken_over(recording)
    return told.value.reason, str(told.value)


# -- the plant


@pytest.mark.parametrize("turn", [0, 4, 5, 6, 25, 59, 60, 61, 75, 91, 99, 100, 101, 106, 138, 139, 140, 151, 179])
def test_the_plant_is_as_it_was(path: Path, turn: int) -> None:
    found = rebuilt(path, turn)
    orders = BEFORE if turn < BACK_AT else AFTER
    tick = tick_of(turn)
    assert (found.moment.tick, found.moment.epoch, found.branch) == (tick, *((0, 0) if turn < BACK_AT else (1, 1)))
    assert state_hash(found.plant) == state_hash(plant_at(tick + 1, orders))
    assert state_hash(restore(found.start, site=SITE)) == state_hash(found.plant)
    begin = 0 if turn < BACK_AT else BACK_TO + 1
    assert found.log == [order for order in orders if begin <= order.tick <= tick]
    assert found.future == [order for order in orders if order.tick > tick]
    assert found.to_come == [order for order in found.future if isinstance(order, TimedInject)]
    last = BACK_AT - 1 if turn < BACK_AT else tick_of(TURNS - 1)
    assert sorted(found.line) == list(range(tick, last + 1))
    assert (found.control.run, found.control.settled_tick) == (RUN, tick if turn else -1)


@pytest.mark.parametrize("turn", [0, 6, 25, 59, 60, 61, 99, 100, 101, 110, 138, 151, 179])
def test_its_sensors_show_what_was_recorded(path: Path, turn: int) -> None:
    told = checked(path, turn)
    assert (told.resolutions, told.missing_n) == (0.0, 0)
    assert told.compared_n == told.equal_n
    assert told.compared_n == 18 + (tick_of(turn) % 10 == 9 or turn in (0, BACK_AT))  # and the table of jobs


def test_in_the_middle_of_a_tick_what_was_accepted_is_to_come(path: Path) -> None:
    with Recording(path) as recording:
        answers = [one for one in recording.items(topics=("command_results",)) if one.time_ns < turn_ns(6, 0)]
        found = rebuild(recording, RUN, answers[0].time_ns, SITE)
    assert (found.moment.tick, found.log) == (4, [])
    assert found.to_come == [START_9, HOT, LEFT[1]]
    assert (found.answered, found.plant.tick) == ({"a"}, 5)


def test_what_was_answered_by_then_is_known(path: Path) -> None:
    assert rebuilt(path, 4).answered == frozenset()
    assert rebuilt(path, 70).answered == {"a", "b", "bad", "i", "bad too"}


def test_snapshots_of_the_branch_can_be_read(path: Path) -> None:
    found = rebuilt(path, 150)
    assert [reference.tick for reference in found.snapshots] == [81, 120]
    with Recording(path) as recording:
        for reference in found.snapshots:
            data = saved(recording, RUN, reference)
            assert data is not None
            orders = [order for order in AFTER if order.tick < reference.tick]
            assert state_hash(restore(data, site=SITE)) == state_hash(plant_at(reference.tick, orders))


def test_of_two_snapshots_of_one_tick_that_of_the_branch_is_taken(tmp_path: Path) -> None:
    orders: dict[int, list[Any]] = {
        40: [command("left", "turbine.start", "turbine-9")],
        80: [request("seek", tick=30)],
        90: [command("kept", "turbine.start", "turbine-10")],
    }
    found = rebuilt(record(tmp_path / "a", orders, 115), 110)  # tick 60 came twice
    assert [reference.tick for reference in found.snapshots] == [31, 60]
    with Recording(tmp_path / "a") as recording:
        assert [index.name[-16:-10] for index in recording.attachments()] == ["000000", "000060", "000031", "000060"]
        data = saved(recording, RUN, found.snapshots[-1])
    order = TimedCommand(41, "turbine.start", "turbine-10")
    assert data is not None
    assert state_hash(restore(data, site=SITE)) == state_hash(plant_at(60, [order]))
    assert state_hash(found.plant) == state_hash(plant_at(62, [order]))


def test_a_long_way_is_told_of(path: Path, tmp_path: Path) -> None:
    bare = edited(path, tmp_path / "a", attachment=lambda name, data: data if name == attachment_name(RUN, 0) else None)
    calls: list[int] = []
    with Recording(bare) as recording:
        found = rebuild(recording, RUN, turn_ns(99), SITE, meanwhile=lambda: calls.append(1))
    assert state_hash(found.plant) == state_hash(plant_at(100, BEFORE))
    assert len(calls) >= 3


def test_what_the_automatic_operator_did_is_not_done_twice(tmp_path: Path) -> None:
    plan = replace(PLAN, automatic_operator=True)
    path = record(tmp_path / "a", {0: [inject("i", "chiller_trip", "cooling-2")]}, 90, plan=plan)
    found = rebuilt(path, 85)
    assert found.log == [TimedInject(0, "chiller_trip", "cooling-2")]
    assert state_hash(found.plant) == state_hash(plant_at(86, found.log, plan))
    assert checked(path, 85).resolutions == 0.0
    assert found.control.automatic_operator


# -- and how it goes on


@pytest.mark.parametrize("turn", [70, 130])
def test_with_no_command_it_goes_on_as_recorded_in_every_byte(path: Path, turn: int) -> None:
    with Recording(path) as recording:
        found = rebuild(recording, RUN, turn_ns(turn), SITE)
        frames = {
            (head.epoch, head.tick, one.topic, head.key): data
            for one in recording.items(turn_ns(turn))
            if one.topic.startswith("telemetry.")
            for head, data in (split(one.value),)
        }
    epoch, layout = found.moment.epoch, FrameLayout(SITE)
    producers = [make(layout) for make in PRODUCERS.values()]
    equal: list[bool] = []

    def look(plant: Plant) -> None:
        for producer in producers:
            for reading in producer.readings(plant, first_of_epoch=False):
                equal.append(frames.get((epoch, plant.tick - 1, producer.topic, reading.key)) == reading.data)

    run_on(found.plant, found.future, max(found.line) + 1, 1.0, look)
    assert len(equal) >= 18 * (len(found.line) - 1)
    assert all(equal)


def test_orders_that_are_due_after_the_last_step_are_left() -> None:
    plant = plant_at(3, [])
    run_on(plant, [TimedCommand(2, "no.such", "x"), START_9], 5, 1.0, lambda _: None)
    assert state_hash(plant) == state_hash(plant_at(5, []))


# -- what cannot be taken over


def test_a_recording_of_a_real_site_has_no_snapshot(tmp_path: Path, path: Path) -> None:
    for one in (
        write(tmp_path / "a", [any_item("orders")]),
        edited(path, tmp_path / "b", instructor="no"),
        edited(path, tmp_path / "c", attachment=lambda *_: None),
    ):
        reason, text = refused(one)
        assert reason == "no-snapshot"
        assert "no snapshot" in text


@pytest.mark.parametrize(
    ("spoil", "reason", "text"),
    [
        (without("telemetry.grid"), "no-frames", "telemetry.grid"),
        (without("run.control"), "no-control", RUN),
        (without("instructor.injects"), "no-injects", "pump_degraded of cdu-R0007 was applied in tick 20"),
        (changed("instructor.snapshots", lambda m: m["data"].update(schema_id="plant/9")), "other-schema", "plant/9"),
        (changed("command_results", lambda m: m["data"].update(accepted=True)), "not-repeatable", "turbine-99"),
    ],
)
def test_what_is_missing_or_foreign_is_said(
    path: Path, tmp_path: Path, spoil: Callable[[Item], Item | None], reason: str, text: str
) -> None:
    told = refused(edited(path, tmp_path / "a", item=spoil), 50)
    assert told[0] == reason
    assert text in told[1]


def test_before_the_first_tick_and_of_another_run_there_is_nothing(path: Path, tmp_path: Path) -> None:
    assert refused(path, -1)[0] == "too-early"
    assert refused(path, 70, "20200101T000000Z-0000")[0] == "too-early"
    late = edited(path, tmp_path / "a", attachment=lambda name, data: data if "060." in name else None)
    reason, text = refused(late, 58)
    assert (reason, "before tick 58" in text) == ("too-early", True)
    assert checked(late, 59).resolutions == 0.0


def test_another_site_file_is_refused(path: Path) -> None:
    with Recording(path) as recording, pytest.raises(TakeoverRefused, match=r"site file mini .* this is colossus1"):
        rebuild(recording, RUN, turn_ns(70), load_site("colossus1"))


def test_a_damaged_snapshot_is_passed_over_for_one_before_it(path: Path, tmp_path: Path) -> None:
    newest = edited(path, tmp_path / "a", attachment=lambda name, data: b"x" if "060." in name else data)
    assert state_hash(rebuilt(newest, 70).plant) == state_hash(plant_at(71, BEFORE))
    every = edited(path, tmp_path / "b", attachment=lambda *_: b"x")
    assert refused(every)[0] == "damaged"


def test_a_tick_of_which_nothing_is_recorded_cannot_be_checked(path: Path) -> None:
    found = rebuilt(path, 70)
    with Recording(path) as recording, pytest.raises(TakeoverRefused) as told:
        check(found.plant, recording, Moment(RUN, 0, 5000, 0, 1 << 62))
    assert told.value.reason == "no-frames"


# -- a plant that is another one


def test_a_command_that_is_left_out_is_found(path: Path, tmp_path: Path) -> None:
    def drop(item: Item) -> Item | None:
        return None if item.topic == "command_results" and b'"turbine.load"' in (item.value or b"") else item

    reason, text = refused(edited(path, tmp_path / "a", item=drop), 90)
    assert reason == "differs"
    assert "telemetry.turbines" in text or "telemetry.grid" in text


def swapped(path: Path, to: Path, plant: Plant) -> Path:
    """Put another plant into the place of a snapshot, as if it had been saved."""
    data = snapshot(plant)
    name, digest = attachment_name(RUN, plant.tick), hashlib.sha256(data).hexdigest()

    def tell(message: dict[str, dict[str, object]]) -> None:
        if message["data"]["tick"] == plant.tick:
            message["data"]["sha256"] = digest

    return edited(
        path, to, item=changed("instructor.snapshots", tell), attachment=lambda n, d: data if n == name else d
    )


def test_a_plant_of_another_seed_is_found(path: Path, tmp_path: Path) -> None:
    other = plant_at(60, BEFORE, replace(PLAN, seed=8))
    reason, text = refused(swapped(path, tmp_path / "a", other))
    assert reason == "differs"
    assert "largest difference" in text


def test_a_loop_that_is_a_little_warmer_is_found_by_its_sensor(path: Path, tmp_path: Path) -> None:
    plant = plant_at(60, BEFORE)
    plant.cooling.loops.supply_set_c[2] += 0.5
    reason, text = refused(swapped(path, tmp_path / "a", plant), 59)
    assert reason == "differs"
    assert (
        "largest difference 5 resolutions: telemetry.chillers cooling-3 loop.supply_set_c[0], recorded 27, rebuilt 27.5"
        in text
    )


def test_a_loop_that_is_warmer_by_less_than_is_seen_is_the_same(path: Path, tmp_path: Path) -> None:
    plant = plant_at(60, BEFORE)
    plant.cooling.loops.supply_set_c[2] += 0.08
    told = checked(swapped(path, tmp_path / "a", plant), 59)
    assert (round(told.resolutions, 6), told.column, told.key) == (1.0, "loop.supply_set_c", "cooling-3")
    assert told.equal_n < told.compared_n


def test_what_a_resume_has_saved_is_not_ordered_again(path: Path, tmp_path: Path) -> None:
    """An owner dies between an order and its tick; who resumes saves the plant with it, in an epoch of its own."""
    order = TimedCommand(60, "turbine.start", "turbine-12")
    plant = plant_at(60, BEFORE)
    run_on_with = plant_at(71, [*BEFORE, order])
    carry_out(plant, order)
    once = swapped(path, tmp_path / "a", plant)

    def later(message: dict[str, dict[str, object]]) -> None:
        if message["data"]["tick"] == 60:
            message["head"]["epoch"] = 1

    with Recording(path) as recording:
        answer = next(
            one for one in recording.items(topics=("command_results",)) if b'"turbine-9"' in (one.value or b"")
        )
    loaded = orjson.loads(answer.value or b"")
    loaded["data"].update(unit="turbine-12", applied_tick=60, command_id="cut off")
    more = [answer._replace(value=orjson.dumps(loaded), offset=999, time_ns=turn_ns(60, 1))]
    both = edited(
        once,
        tmp_path / "b",
        item=changed("instructor.snapshots", later),
        attachment=lambda name, data: data if name == attachment_name(RUN, 60) else None,
        more=more,
    )
    assert state_hash(rebuilt(both, 70).plant) == state_hash(run_on_with)


# -- frame against frame


@pytest.fixture(scope="module")
def plant() -> Plant:
    return plant_at(10, [])


def frames_of(plant: Plant) -> dict[tuple[str, str], bytes]:
    layout = FrameLayout(SITE)
    return {
        (producer.topic, reading.key): reading.data
        for producer in (make(layout) for make in PRODUCERS.values())
        for reading in producer.readings(plant, first_of_epoch=True)
    }


def compared_with(plant: Plant, frames: dict[tuple[str, str], bytes]) -> Difference:
    layout = FrameLayout(SITE)
    return differences(plant, [make(layout) for make in PRODUCERS.values()], frames)


def spoilt(plant: Plant, topic: str, key: str, change: Callable[[Any], None]) -> Difference:
    frames = frames_of(plant)
    loaded = orjson.loads(frames[topic, key])
    change(loaded)
    frames[topic, key] = orjson.dumps(loaded)
    return compared_with(plant, frames)


def shift(group: str, column: str, at: int, by: float) -> Callable[[Any], None]:
    def change(loaded: Any) -> None:
        loaded[group][column][at] += by

    return change


@pytest.mark.parametrize(
    ("topic", "key", "group", "column", "by", "steps"),
    [
        ("telemetry.gpu", "A001", "gpu", "power_w", 1, 1.0),
        ("telemetry.gpu", "A001", "gpu", "power_w", -3, 3.0),
        ("telemetry.gpu", "A003", "cdu", "supply_c", 0.1, 1.0),
        ("telemetry.gpu", "A003", "cdu", "valve", -0.002, 2.0),
        ("telemetry.chillers", "cooling-1", "chiller", "state_code", 1, np.inf),
        ("telemetry.chillers", "cooling-1", "pump", "tripped", 1, np.inf),
        ("telemetry.network", "H1", "hall", "links_down_n", 1, np.inf),
    ],
)
def test_a_difference_is_told_in_steps_of_its_sensor(
    plant: Plant, topic: str, key: str, group: str, column: str, by: float, steps: float
) -> None:
    told = spoilt(plant, topic, key, shift(group, column, 2 if group != "hall" else 0, by))
    assert told.resolutions == pytest.approx(steps)
    assert (told.topic, told.key, told.column) == (topic, key, f"{group}.{column}")
    assert told.index == (2 if group != "hall" else 0)
    assert told.within == (steps <= 1)
    assert told.equal_n == told.compared_n - 1


def test_the_same_plant_shows_the_same(plant: Plant) -> None:
    told = compared_with(plant, frames_of(plant))
    assert (told.resolutions, told.within, told.equal_n, told.missing_n) == (0.0, True, 19, 0)
    assert told.text() == "no difference: 19 frames compared, 19 equal in every byte"


JOBS = ("telemetry.jobs", *SITE.unit_ids("scheduler"))


@pytest.mark.parametrize(
    ("change", "column", "index", "steps"),
    [
        (lambda table: table["jobs"][1].update(ettr=table["jobs"][1]["ettr"] - 0.0001), "jobs.ettr", 1, 1.0),
        (lambda table: table["jobs"][0].update(power_w=table["jobs"][0]["power_w"] + 2), "jobs.power_w", 0, 2.0),
        (lambda table: table["jobs"][0].update(state_code=5), "jobs.state_code", 0, np.inf),
        (lambda table: table["jobs"][0].update(id="job-other"), "jobs.id", 0, np.inf),
        (lambda table: table["jobs"][0].update(servers=[[0, 3]]), "jobs.servers[0][0]", 1, np.inf),
        (lambda table: table.update(lost_gpu_h=table["lost_gpu_h"] + 0.004), "lost_gpu_h", -1, 4.0),
        (lambda table: table.update(running_n=1), "running_n", -1, np.inf),
    ],
)
def test_the_table_of_jobs_is_compared_too(
    plant: Plant, change: Callable[[Any], None], column: str, index: int, steps: float
) -> None:
    told = spoilt(plant, *JOBS, change)
    assert (told.topic, told.column, told.index) == (JOBS[0], column, index)
    assert told.resolutions == pytest.approx(steps)


@pytest.mark.parametrize(
    ("change", "column"),
    [
        (lambda frame: frame["loop"]["supply_c"].__setitem__(0, None), "loop.supply_c"),
        (lambda frame: frame["loop"]["supply_c"].__setitem__(0, "x"), ""),
        (lambda frame: frame.pop("loop"), ""),
    ],
)
def test_what_was_not_measured_or_cannot_be_read_is_not_the_same(
    plant: Plant, change: Callable[[Any], None], column: str
) -> None:
    if column:
        told = spoilt(plant, "telemetry.chillers", "cooling-1", change)
        assert (told.resolutions, told.column) == (np.inf, column)
        return
    with pytest.raises(TakeoverRefused, match=r"unreadable: the recorded frame telemetry.chillers cooling-1"):
        spoilt(plant, "telemetry.chillers", "cooling-1", change)


def test_bits_and_names_must_be_the_same(plant: Plant) -> None:
    told = spoilt(plant, "telemetry.gpu", "A002", lambda frame: frame["gpu"].update(xid={"7": 79}))
    assert (told.resolutions, told.column, told.index, told.recorded) == (np.inf, "gpu.xid", 7, 79.0)
    told = spoilt(plant, "telemetry.network", "H1", lambda frame: frame["job"]["unit"].__setitem__(1, "job-x"))
    assert (told.resolutions, told.column, told.recorded) == (np.inf, "job.unit", "job-x")
    assert "not the same: telemetry.network H1 job.unit[1], recorded job-x" in told.text()


def test_a_frame_that_the_plant_does_not_make_is_found(plant: Plant) -> None:
    frames = frames_of(plant)
    frames["telemetry.gpu", "A999"] = frames["telemetry.gpu", "A001"]
    told = compared_with(plant, frames)
    assert (told.resolutions, told.key, told.rebuilt) == (np.inf, "A999", None)


def test_frames_that_were_not_recorded_are_counted(path: Path, tmp_path: Path) -> None:
    told = checked(edited(path, tmp_path / "a", item=without("telemetry.gpu")), 70)
    assert (told.resolutions, told.compared_n, told.missing_n) == (0.0, 10, 8)
    assert "8 not in the recording" in told.text()
