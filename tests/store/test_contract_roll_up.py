"""The contract of the history, its roll-up: every store passes it; nothing here knows one of them."""

import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.store.batches import HOUR_MS, OTHER_RUN, RUN, T0, event, racks, site
from tests.store.implementations import Open
from twin.events.measurements import BY_NAME
from twin.store import Points, Store

NAN = float("nan")


def test_a_window_is_made_when_it_is_over_and_not_before(store: Store) -> None:
    store.write([site([T0, T0 + 299_999], pue=[1.0, 2.0])])
    assert store.roll_up(T0 + 299_999) == 0
    assert store.roll_up(T0 + 330_000) > 0
    assert store.roll_up(T0 + 330_000) == 0
    (series,) = store.series("site", ["pue"], run=RUN, from_ms=T0, to_ms=T0 + HOUR_MS, bucket="5m")
    assert (series.ts.tolist(), series.fields["pue"].tolist()) == ([T0], [1.5])


def test_a_wide_range_is_read_from_the_five_minutes_and_a_narrow_one_from_live(store: Store) -> None:
    store.write([site([T0, T0 + 1000], pue=[1.0, 2.0]), event(T0, text="x")])
    store.roll_up(T0 + HOUR_MS)
    narrow = store.series("site", ["pue"], run=RUN, from_ms=T0, to_ms=T0 + 6 * HOUR_MS)
    wide = store.series("site", ["pue"], run=RUN, from_ms=T0, to_ms=T0 + 6 * HOUR_MS + 1)
    live = store.series("site", ["pue"], run=RUN, from_ms=T0, to_ms=T0 + 6 * HOUR_MS + 1, bucket="live")
    assert [len(found[0].ts) for found in (narrow, wide, live)] == [2, 1, 2]
    assert len(store.series("event", ["text"], run=RUN, from_ms=T0, to_ms=T0 + 9 * HOUR_MS)) == 1


def test_a_late_point_makes_its_window_again(store: Store) -> None:
    store.write([site([T0, T0 + 300_000], pue=[1.0, 9.0])])
    store.roll_up(T0 + HOUR_MS)
    store.write([site(T0 + 1000, pue=2.0)])
    assert store.roll_up(T0 + HOUR_MS) == 1
    (series,) = store.series("site", ["pue"], run=RUN, from_ms=T0, to_ms=T0 + HOUR_MS, bucket="5m")
    assert (series.ts.tolist(), series.fields["pue"].tolist()) == ([T0, T0 + 300_000], [1.5, 9.0])


def test_a_restart_in_the_middle_of_a_window_loses_nothing(reopen: Open) -> None:
    reopen().write([site(T0 + 1000 * i, ecc_dbe_n=1.0, pue=1.0) for i in range(100)])
    store = reopen()
    store.write([site(T0 + 1000 * i, ecc_dbe_n=1.0, pue=2.0) for i in range(100, 300)])
    store = reopen()
    store.roll_up(T0 + HOUR_MS)
    (series,) = store.series("site", ["ecc_dbe_n", "pue"], run=RUN, from_ms=T0, to_ms=T0 + HOUR_MS, bucket="5m")
    assert series.fields["ecc_dbe_n"].tolist() == [300.0]
    assert series.fields["pue"] == pytest.approx([5 / 3])


def test_runs_of_the_same_five_minutes_stay_apart(store: Store) -> None:
    store.write([site([T0, T0 + 1000], pue=[1.0, 2.0]), site(T0, run=OTHER_RUN, pue=4.0)])
    _roll_up_all(store, T0 + HOUR_MS)
    for run, expected in ((RUN, 1.5), (OTHER_RUN, 4.0)):
        (series,) = store.series("site", ["pue"], run=run, from_ms=T0, to_ms=T0 + HOUR_MS, bucket="5m")
        assert series.fields["pue"].tolist() == [expected]


def test_racks_are_rolled_up_for_long_runs_only(store: Store) -> None:
    hours = [racks(T0 + h * HOUR_MS, 4, power_w=float(h)) for h in range(7)]
    now_ms = T0 + 8 * HOUR_MS
    store.write([*hours[:6], racks(T0, 4, run=OTHER_RUN, power_w=1.0)])
    _roll_up_all(store, now_ms)
    wide = {"from_ms": T0, "to_ms": T0 + 9 * HOUR_MS, "bucket": "5m", "where": {"rack": "R0001"}}
    assert store.series("rack", ["power_w"], run=RUN, **wide) == []
    store.write(hours[6:])
    _roll_up_all(store, now_ms)
    (series,) = store.series("rack", ["power_w"], run=RUN, **wide)
    assert series.fields["power_w"].tolist() == [float(h) for h in range(7)]
    store.write([racks(T0 + 1000, 4, power_w=10.0)])  # late, alone
    _roll_up_all(store, now_ms)
    (series,) = store.series("rack", ["power_w"], run=RUN, **wide)
    assert series.fields["power_w"][0] == 5.0
    assert store.series("rack", ["power_w"], run=OTHER_RUN, **wide) == []


def _roll_up_all(store: Store, now_ms: int) -> None:
    while store.roll_up(now_ms):
        pass


RUN_NUMBERS = itertools.count()
REDUCE = {"mean": np.mean, "max": np.max, "min": np.min, "last": lambda x: x[-1], "sum": np.sum}
FEED = BY_NAME["feed"]
readings = st.lists(
    st.tuples(
        st.integers(0, 1_200_000),
        st.sampled_from(["feed-1", "feed-2"]),
        st.lists(
            st.one_of(st.just(NAN), st.floats(-1000, 1000, width=16)),
            min_size=len(FEED.fields),
            max_size=len(FEED.fields),
        ),
    ),
    min_size=1,
    max_size=40,
)


@given(readings=readings, cuts=st.lists(st.integers(0, 40), max_size=3))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_five_minutes_are_numpys(
    store: Store, readings: list[tuple[int, str, list[float]]], cuts: list[int]
) -> None:
    run = f"run-{next(RUN_NUMBERS)}"  # the store lives on through all examples
    names = [field.name for field in FEED.fields]
    oracle: dict[tuple[str, int], dict[str, float]] = {}
    edges = [0, *sorted(cuts), len(readings)]
    for begin, end in itertools.pairwise(edges):
        part = readings[begin:end]
        store.write(
            [
                Points("feed", run, T0 + ms, {"plant": "p", "unit": unit}, dict(zip(names, values, strict=True)), {})
                for ms, unit, values in part
            ]
        )
        for ms, unit, values in part:
            known = oracle.setdefault((unit, T0 + ms), {})
            known |= {n: v for n, v in zip(names, values, strict=True) if not np.isnan(v)}
        _roll_up_all(store, T0 + HOUR_MS)
    expected = {}
    for field in FEED.fields:
        windows: dict[tuple[str, int], list[float]] = {}
        for unit, ts in sorted(oracle):
            if field.name in oracle[unit, ts]:
                windows.setdefault((unit, ts // 300_000 * 300_000), []).append(oracle[unit, ts][field.name])
        expected |= {(*key, field.name): REDUCE[field.roll_up](values) for key, values in windows.items()}
    found = {
        (series.tags["unit"], int(ts), name): float(value)
        for series in store.series("feed", names, run=run, from_ms=T0, to_ms=T0 + 2 * HOUR_MS, bucket="5m")
        for name in names
        for ts, value in zip(series.ts, series.fields[name], strict=True)
        if not np.isnan(value)
    }
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-6)
