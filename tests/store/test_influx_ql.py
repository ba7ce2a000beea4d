"""InfluxQL as text, and its answers as columns; what the server makes of it is tested in tests/stack."""

import numpy as np
import pytest

from tests.store.batches import OTHER_RUN, RUN, T0
from twin.events.measurements import BY_NAME
from twin.store import influx_ql
from twin.store.influx_ql import Mark
from twin.store.rollup import LONG_RUN_MS, WINDOW_MS, Window

SITE, TURBINE, ALARM = BY_NAME["site"], BY_NAME["turbine"], BY_NAME["alarm"]


# -- questions


def test_a_condition_has_its_run_its_tags_and_its_time() -> None:
    assert (
        influx_ql.condition("r", {"hall": "H1", "rack": ["R2", "R1"]}, 5, 7)
        == """"run" = 'r' AND "hall" = 'H1' AND "rack" =~ /^(R1|R2)$/ AND time >= 5ms AND time <= 7ms"""
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("it's", r"'it\'s'"),
        ("a' OR 1=1 --", r"'a\' OR 1=1 --'"),
        ("back\\slash", r"'back\\slash'"),
        (r"\'", r"'\\\''"),
        ("", "''"),
    ],
)
def test_strings_cannot_end_early(value: str, expected: str) -> None:
    assert influx_ql.string(value) == expected
    assert f'"run" = {expected} AND' in influx_ql.condition(value, None, 0, 1)


def test_several_values_are_taken_by_the_letter() -> None:
    wanted = influx_ql.condition("r", {"unit": ["a/b", "c.d|e", "f\\g", ""]}, 0, 1)
    assert r'"unit" =~ /^(|a\/b|c\.d\|e|f\\g)$/' in wanted


@pytest.mark.parametrize("where", [{"hall": []}, {"hall": "a\nb"}, {"hall": ["a\r", "\0"]}])
def test_what_cannot_be_stored_is_not_found(where: dict[str, str | list[str]]) -> None:
    assert "time < 0ms" in influx_ql.condition("r", where, 0, 1)
    assert "time < 0ms" in influx_ql.condition("a\nrun", None, 0, 1)
    assert "time < 0ms" not in influx_ql.condition("r", {"hall": ["H1", "a\nb"]}, 0, 1)


def test_times_stay_within_what_the_server_counts() -> None:
    assert influx_ql.condition("r", None, -5, 10**15).endswith("time >= 0ms AND time <= 9000000000000ms")


def test_each_read_is_one_statement() -> None:
    asked = {
        influx_ql.raw(SITE, ["pue", "gpu_n"], "x"): 'SELECT "pue", "gpu_n" FROM "site" WHERE x',
        influx_ql.newest(TURBINE, ["load"], "x"): (
            'SELECT "load" FROM "turbine" WHERE x GROUP BY "plant", "unit" ORDER BY time DESC LIMIT 1'
        ),
        influx_ql.last(TURBINE, ["load"], "x"): (
            'SELECT last("load") AS "load" FROM "turbine" WHERE x GROUP BY "plant", "unit"'
        ),
        influx_ql.every(ALARM, ["raised", "ack_s", "text"], "x", 5000): (
            'SELECT sum("raised") AS "raised", max("ack_s") AS "ack_s", last("text") AS "text" FROM "alarm" WHERE x '
            'GROUP BY time(5000ms), "priority", "rule", "unit" fill(none)'
        ),
    }
    assert list(asked) == list(asked.values())


def test_every_field_has_an_aggregate_that_the_server_knows() -> None:
    for spec in BY_NAME.values():
        text = influx_ql.every(spec, influx_ql.columns_of(spec), "x", 1)
        for field in spec.fields:
            assert f'{field.roll_up}("{field.name}") AS "{field.name}"' in text


# -- answers


def found(values: list[list[object]], statement: int = 0, **tags: str) -> dict[str, object]:
    series: dict[str, object] = {"name": "x", "columns": [], "values": values}
    return {"statement_id": statement, "series": [series | ({"tags": tags} if tags else {})]}


def test_pieces_of_a_series_are_joined_and_statements_stay_apart() -> None:
    groups = influx_ql.grouped(
        [
            found([[1, 1.0]], plant="p", unit="u1"),
            found([[2, 2.0]], plant="p", unit="u1"),
            found([[1, 9.0]], plant="p", unit="u2"),
            found([[5, 7.0]], statement=1),
            {"statement_id": 2},
        ],
        [TURBINE.tags, (), ()],
    )
    assert groups == [
        {("p", "u1"): [[1, 1.0], [2, 2.0]], ("p", "u2"): [[1, 9.0]]},
        {(): [[5, 7.0]]},
        {},
    ]  # fmt: skip


def test_null_is_nan_in_a_field_and_none_in_a_text() -> None:
    group = {("p1", "rule", "u"): [[T0, None, "hot"], [T0 + 1, 3, None]]}
    columns = influx_ql.flat(ALARM, ["value", "text"], group)
    np.testing.assert_array_equal(columns.values["value"], [np.nan, 3.0])
    assert columns.values["text"].tolist() == ["hot", None]
    (series,) = influx_ql.series_of(ALARM, ["value", "text"], group)
    assert (series.tags, series.ts.tolist()) == ({"priority": "p1", "rule": "rule", "unit": "u"}, [T0, T0 + 1])
    assert (series.fields["value"].dtype, list(series.texts["text"])) == (np.float64, ["hot", None])


def test_rows_come_in_order_of_the_tags_and_an_empty_answer_has_its_columns() -> None:
    group = {("p", "u2"): [[2, 2.0]], ("p", "u1"): [[1, 1.0]]}
    rows = influx_ql.rows_of(TURBINE, influx_ql.flat(TURBINE, ["load"], group))
    assert (rows.tags["unit"], rows.ts.tolist(), rows.fields["load"].tolist()) == (["u1", "u2"], [1, 2], [1.0, 2.0])
    empty = influx_ql.rows_of(ALARM, influx_ql.flat(ALARM, ["value", "text"], {}))
    assert (empty.size, empty.ts.dtype, empty.fields["value"].dtype) == (0, np.int64, np.float64)
    assert (empty.tags, empty.texts) == ({"priority": [], "rule": [], "unit": []}, {"text": []})


def test_values_are_put_beside_the_series_they_belong_to() -> None:
    columns = influx_ql.flat(ALARM, ["value", "text"], {("a", "b", "c"): [[0, 1.0, "x"]]})
    out = influx_ql.aligned(columns, [("z", "z", "z"), ("a", "b", "c")])
    np.testing.assert_array_equal(out["value"], [np.nan, 1.0])
    assert out["text"].tolist() == [None, "x"]


# -- marks


def test_marks_are_read_by_window() -> None:
    answer = [
        found([[T0, 5, None], [T0 + WINDOW_MS, 6, 6]], measurement="site", run=RUN),
        found([[T0, 7, 5]], measurement="rack", run=OTHER_RUN),
        found([[T0, 7, 5]], measurement="of another version", run=RUN),
    ]
    assert influx_ql.marked(answer) == {
        Window(T0, RUN, "site"): Mark(5, None),
        Window(T0 + WINDOW_MS, RUN, "site"): Mark(6, 6),
        Window(T0, OTHER_RUN, "rack"): Mark(7, 5),
    }


def test_a_run_is_long_by_all_its_windows_where_that_matters() -> None:
    def windows(measurement: str, run: str, span_ms: int) -> list[Window]:
        return [Window(T0 + ms, run, measurement) for ms in (0, WINDOW_MS, span_ms)]

    assert influx_ql.long_runs(windows("rack", RUN, LONG_RUN_MS) + windows("rack", OTHER_RUN, 0)) == {RUN}
    assert influx_ql.long_runs(windows("site", RUN, LONG_RUN_MS)) == set()
