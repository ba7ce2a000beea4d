"""What the trainee has changed is told by the plant's own counters, from the same instant on."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from producers.comparison import Comparison, compare
from producers.incidents import RUN
from producers.rebuild import Rebuilt, rebuild, run_on
from tests.producers import recorded
from tests.producers.recorded import SITE, Action, changed, command, edited, inject, turn_ns
from twin.plant import TimedCommand, TimedInject
from twin.plant.tally import FIGURES, Tally
from twin.recording.reader import Recording

BREAK = TimedInject(10, "pump_degraded", "cdu-R0007", 0.95)
LATER = TimedInject(90, "chiller_trip", "cooling-2")
CURE = TimedCommand(70, "cdu.select_pump", "cdu-R0007", {"pump": "B"})
START = TimedCommand(75, "turbine.start", "turbine-9")
TURNS, AT = 260, 60
PLAN = replace(recorded.PLAN, weather_at="08-21T14:00")
ORDERS: dict[int, list[Any]] = {
    10: [inject("i", "pump_degraded", "cdu-R0007", severity=0.95)],
    90: [inject("j", "chiller_trip", "cooling-2")],
}
CURED: dict[int, list[Any]] = ORDERS | {
    70: [command("c", "cdu.select_pump", "cdu-R0007", pump="B")],
    75: [command("d", "turbine.start", "turbine-9")],
}


@pytest.fixture(scope="module")
def nobody_acted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recorded.record(tmp_path_factory.mktemp("comparison") / "a", ORDERS, TURNS, plan=PLAN)


@pytest.fixture(scope="module")
def somebody_acted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recorded.record(tmp_path_factory.mktemp("comparison") / "b", CURED, TURNS, plan=PLAN)


def compared(
    path: Path, yours: Sequence[Action], *, to_tick: int = TURNS - 1, operator: bool = False
) -> tuple[Comparison, Rebuilt]:
    with Recording(path) as recording:
        found = rebuild(recording, RUN, turn_ns(AT), SITE)
        run_on(found.plant, (), AT + 20, 1.0, lambda _: None)  # what has become of it does not matter
        told = compare(found, recording, yours=yours, automatic_operator=operator, to_tick=to_tick)
    return told, found


Told = tuple[Comparison, Rebuilt]


@pytest.fixture(scope="module")
def unchanged(nobody_acted: Path) -> Told:
    return compared(nobody_acted, [LATER])


@pytest.fixture(scope="module")
def undone(somebody_acted: Path) -> Told:
    return compared(somebody_acted, [LATER])


def counted(orders: Sequence[Action], to_tick: int = TURNS - 1) -> dict[str, float]:
    """Count what a plant does that was never rebuilt."""
    plant = recorded.plant_at(AT + 1, [order for order in orders if order.tick <= AT], PLAN)
    tally = Tally(plant)
    run_on(plant, orders, to_tick + 1, 1.0, tally.observe)
    return tally.figures()


def test_the_columns_are_what_such_plants_count(undone: Told) -> None:
    told, _ = undone
    assert list(told.columns) == ["recorded", "yours", "none"]
    assert told.columns["recorded"] == counted([BREAK, CURE, START, LATER])
    assert told.columns["yours"] == told.columns["none"] == counted([BREAK, LATER])
    assert told.commands_n == {"recorded": 2, "yours": 0, "none": 0}
    assert (told.run, told.site, told.from_tick, told.to_tick) == (RUN, "mini", AT + 1, TURNS - 1)
    assert told.effect()["turbine_starts_n"] == -1
    assert told.effect()["lost_gpu_h"] > 10


def test_where_nobody_had_acted_there_is_no_third_column(nobody_acted: Path) -> None:
    told, found = compared(nobody_acted, [LATER, CURE])
    assert list(told.columns) == ["recorded", "yours"]
    assert found.to_come == [LATER]
    assert told.columns["yours"] == counted([BREAK, CURE, LATER])
    assert told.effect()["lost_gpu_h"] < -10


def test_what_an_instructor_breaks_meanwhile_is_in_every_column(somebody_acted: Path) -> None:
    more = TimedInject(100, "chiller_trip", "cooling-1")
    told, _ = compared(somebody_acted, [LATER, more])
    assert told.columns["recorded"] == counted([BREAK, CURE, START, LATER, more])
    assert told.columns["yours"] == told.columns["none"] == counted([BREAK, LATER, more])
    assert (told.added_n, told.model_error) == (1, None)
    assert "1 injects given meanwhile are in every column" in told.lines()[0]
    assert told.lines()[-1].endswith("injects were given that it did not have")


def test_an_order_that_what_was_broken_makes_impossible_is_left_out(tmp_path: Path) -> None:
    orders = ORDERS | {75: [command("d", "turbine.stop", "turbine-1")]}
    path = recorded.record(tmp_path / "a", orders, TURNS, plan=PLAN)
    trip = TimedInject(70, "turbine_trip", "turbine-1")
    told, _ = compared(path, [LATER, trip])
    assert told.commands_n == {"recorded": 0, "yours": 0, "none": 0}
    assert told.columns["recorded"] == counted([BREAK, trip, LATER])


def test_with_no_order_of_yours_there_is_no_difference(unchanged: Told) -> None:
    told, found = unchanged
    assert found.future == [LATER]
    assert set(told.effect().values()) == {0.0}


def test_the_automatic_operator_of_one_side_makes_a_difference(nobody_acted: Path) -> None:
    told, _ = compared(nobody_acted, [LATER], operator=True)
    assert told.columns["yours"] == told.columns["none"]
    assert told.effect()["chiller_starts_n"] >= 3  # it starts what has tripped


def test_the_automatic_operator_of_the_recorded_run_is_kept(tmp_path: Path) -> None:
    path = recorded.record(tmp_path / "a", ORDERS, TURNS, plan=replace(PLAN, automatic_operator=True))
    told, _ = compared(path, [LATER])
    assert told.columns["recorded"]["chiller_starts_n"] >= 3
    assert told.columns["yours"]["chiller_starts_n"] == 0
    assert told.model_error is not None
    assert told.model_error.resolutions == 0.0


def test_the_error_of_the_model_is_told_and_refuses_nothing(
    unchanged: Told, nobody_acted: Path, tmp_path: Path
) -> None:
    told, _ = unchanged
    assert told.model_error is not None
    assert (told.model_error.resolutions, told.model_error.missing_n) == (0.0, 0)

    def warmer(message: dict[str, Any]) -> None:
        if message["head"]["tick"] == TURNS - 1 and message["head"]["key"] == "cooling-4":
            message["data"]["loop"]["return_c"][0] += 0.7

    told, _ = compared(edited(nobody_acted, tmp_path / "a", item=changed("telemetry.chillers", warmer)), [LATER])
    assert told.model_error is not None
    assert (told.model_error.column, round(told.model_error.resolutions, 3)) == ("loop.return_c", 7.0)
    assert told.lines()[-1].startswith("model against the recorded tick 259: largest difference 7 resolutions")


def test_orders_after_the_last_tick_do_not_count(somebody_acted: Path) -> None:
    told, _ = compared(somebody_acted, [CURE, START], to_tick=72)
    assert told.commands_n == {"recorded": 1, "yours": 1, "none": 0}


def test_what_the_recording_orders_later_makes_no_column(somebody_acted: Path) -> None:
    told, _ = compared(somebody_acted, [], to_tick=65)
    assert told.commands_n == {"recorded": 0, "yours": 0}


def test_what_is_broken_after_the_last_tick_does_not_count(nobody_acted: Path) -> None:
    later = TimedInject(100, "chiller_trip", "cooling-1")
    told, _ = compared(nobody_acted, [later], to_tick=72)
    assert told.added_n == 0
    assert told.model_error is not None


def test_beyond_the_end_of_the_recording_the_model_cannot_be_compared(nobody_acted: Path) -> None:
    told, _ = compared(nobody_acted, [LATER], to_tick=TURNS + 20)
    assert told.model_error is None
    assert told.lines()[-1].endswith("the recording does not reach so far")
    assert told.columns["recorded"] == counted([BREAK, LATER], TURNS + 20)


def test_it_is_a_table_for_people_and_json_for_machines(undone: Told) -> None:
    told, _ = undone
    lines = told.lines()
    assert lines[0].startswith(f"run {RUN} of mini, ticks 61 to 259 (recorded: the recorded orders again, none:")
    assert lines[1].split() == ["recorded", "yours", "none", "yours", "-", "recorded"]
    table = {line.split("  ")[0]: line.split()[-4:] for line in lines[2:-2]}
    lost = told.columns["yours"]["lost_gpu_h"]
    assert table["GPU-hours lost"][1:3] == [f"{lost:.1f}", f"{lost:.1f}"]
    assert float(table["GPU-hours lost"][3]) == pytest.approx(told.effect()["lost_gpu_h"], abs=0.06)
    assert "MW shed, most at one time" not in table  # nothing was shed by anybody
    assert len({len(line) for line in lines[1:-2]}) == 1
    again = json.loads(json.dumps(told.as_dict(), allow_nan=False))
    assert again["columns"] == told.columns
    assert again["effect"] == told.effect()
    assert again["columns"]["yours"].keys() == {figure.name for figure in FIGURES}
    assert again["model_error"]["within"] is True


def test_what_was_not_measured_at_all_is_no_number_in_json(nobody_acted: Path, tmp_path: Path) -> None:
    def unmeasured(message: dict[str, Any]) -> None:
        if message["head"]["tick"] == TURNS - 1:
            message["data"]["loop"]["return_c"][0] = None

    path = edited(nobody_acted, tmp_path / "a", item=changed("telemetry.chillers", unmeasured))
    told, _ = compared(path, [LATER])
    error = json.loads(json.dumps(told.as_dict(), allow_nan=False))["model_error"]
    assert (error["resolutions"], error["within"], error["recorded"]) == (None, False, None)
    assert "loop.return_c[0], recorded nothing, rebuilt " in error["text"]


def test_a_stretch_without_a_tick_is_no_trouble(nobody_acted: Path) -> None:
    told, _ = compared(nobody_acted, [], to_tick=AT)
    assert set(told.columns["yours"].values()) == {0.0}
