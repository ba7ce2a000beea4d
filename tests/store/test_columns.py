"""Batches into columns: against plain dictionaries."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.store.batches import RUN, T0, event, racks, turbines
from twin.store import Points
from twin.store.columns import gather, merged

NAN = float("nan")
rows = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.integers(0, 3),
        st.one_of(st.just(NAN), st.integers(0, 9)),
        st.one_of(st.none(), st.text(max_size=2)),
    ),
    min_size=1,
    max_size=30,
)


@given(rows=rows)
def test_rows_of_one_identity_become_one_with_the_last_of_what_there_is(
    rows: list[tuple[int, int, float, str | None]],
) -> None:
    expected: dict[tuple[int, int], list[float | str | None]] = {}
    for series, ts, number, text in rows:
        known = expected.setdefault((ts, series), [NAN, None])
        known[0] = known[0] if np.isnan(number) else number
        known[1] = known[1] if text is None else text
    texts = np.empty(len(rows), object)
    texts[:] = [row[3] for row in rows]
    out = merged(
        np.array([row[0] for row in rows], np.int32),
        np.array([row[1] for row in rows], np.int64),
        {"number": np.array([row[2] for row in rows], np.float64), "text": texts},
    )
    keys = sorted(expected)
    assert list(zip(out["ts"].tolist(), out["series"].tolist(), strict=True)) == keys
    np.testing.assert_array_equal(out["number"], [expected[key][0] for key in keys])
    assert out["text"].tolist() == [expected[key][1] for key in keys]


def test_scalars_stand_for_all_rows_and_absent_fields_are_nan() -> None:
    columns = gather([turbines(T0, ["turbine-1", "turbine-2"], power_w=5.0), turbines(T0 + 1, ["turbine-3"], load=0.5)])
    assert columns.keys == [("power-1", "turbine-1"), ("power-1", "turbine-2"), ("power-1", "turbine-3")]
    assert columns.ts.tolist() == [T0, T0, T0 + 1]
    np.testing.assert_array_equal(columns.values["power_w"], [5.0, 5.0, NAN])
    np.testing.assert_array_equal(columns.values["load"], [NAN, NAN, 0.5])


def test_rows_in_which_nothing_was_measured_are_left_out() -> None:
    columns = gather([racks(T0, 3, power_w=[NAN, 1.0, NAN], residual_k=[NAN, NAN, 0.0])])
    assert [key[2] for key in columns.keys] == ["R0002", "R0003"]
    assert gather([Points("site", RUN, T0, {}, {}, {})]).keys == []
    assert gather([event(T0, text="")]).values["text"].tolist() == [""]


def test_rows_are_chosen_by_time_half_open() -> None:
    columns = gather([turbines(T0 + i, ["turbine-1"], power_w=float(i)) for i in range(4)])
    assert columns.between(T0 + 1, T0 + 3).values["power_w"].tolist() == [1.0, 2.0]
    assert len(columns.between(T0 + 1, T0 + 3).keys) == 2


def test_points_tell_their_size_and_their_weight() -> None:
    one, many = event(T0, text="x" * 1000), racks(T0, 3125, power_w=np.ones(3125))
    assert (one.size, many.size) == (1, 3125)
    assert 1000 < one.nbytes < 1200
    assert 8 * 3125 * 7 <= many.nbytes < 8 * 3125 * 8
