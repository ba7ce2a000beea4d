"""The contract of the history: every store passes it; nothing here knows one of them."""

import importlib
import pkgutil
import threading

import numpy as np
import pytest

import twin.store
from tests.store.batches import HOUR_MS, OTHER_RUN, RUN, T0, by_tag, event, racks, site, turbines
from tests.store.implementations import IMPLEMENTATIONS, Open
from twin.errors import StoreRejected, StoreUnavailable
from twin.events.measurements import MEASUREMENTS
from twin.store import Points, Store

NAN = float("nan")


def test_every_store_is_listed() -> None:
    for module in pkgutil.iter_modules(twin.store.__path__, "twin.store."):
        importlib.import_module(module.name)
    ours = {store for store in Store.__subclasses__() if store.__module__.startswith("twin.store.")}
    assert ours == set(IMPLEMENTATIONS)


# -- writing


def test_the_same_batch_twice_is_stored_once(store: Store) -> None:
    batch = [racks(T0 + 1000 * i, 16, power_w=np.arange(16.0)) for i in range(3)]
    store.write(batch)
    store.write(batch)
    assert store.stored("rack", RUN) == 48


def test_a_point_twice_in_one_batch_is_stored_once_and_the_later_wins(store: Store) -> None:
    store.write([site(T0, pue=1.1), site(T0, pue=1.2)])
    store.write([site([T0 + 1000, T0 + 1000], pue=[1.3, 1.4])])
    assert store.stored("site", RUN) == 2
    (series,) = store.series("site", ["pue"], run=RUN, from_ms=T0, to_ms=T0 + 2000)
    assert series.fields["pue"] == pytest.approx([1.2, 1.4])


def test_a_late_rewrite_replaces(store: Store) -> None:
    store.write([site(T0 + 1000 * i, pue=1.1) for i in range(10)])
    store.write([site(T0 + 3000, pue=1.5)])
    (series,) = store.series("site", ["pue"], run=RUN, from_ms=T0 + 2000, to_ms=T0 + 5000)
    assert series.fields["pue"] == pytest.approx([1.1, 1.5, 1.1])


def test_a_rewrite_leaves_fields_and_texts_that_it_does_not_carry(store: Store) -> None:
    unit = {"plant": "cooling-1", "unit": "loop-1"}
    store.write([Points("loop", RUN, T0, unit, {"supply_c": 20.0, "return_c": 30.0}, {})])
    store.write([Points("loop", RUN, T0, unit, {"supply_error_k": 0.5, "return_c": NAN}, {})])
    rows = store.latest("loop", ["supply_c", "return_c", "supply_error_k"], run=RUN, until_ms=T0, window_ms=1000)
    assert {name: column.tolist() for name, column in rows.fields.items()} == {
        "supply_c": [20.0],
        "return_c": [30.0],
        "supply_error_k": [0.5],
    }
    store.write([event(T0, text="start turbine-7", by="ann"), event(T0, result="accepted")])
    (found,) = store.events(run=RUN, from_ms=T0, to_ms=T0 + 1, limit=9)
    assert (found.text, found.by, found.result) == ("start turbine-7", "ann", "accepted")


def test_old_points_come_after_new_ones(store: Store) -> None:
    store.write([site(T0 + 5000, pue=1.5)])
    store.write([site(T0 + 2000, pue=1.2), site(T0 - 7 * HOUR_MS, pue=1.0)])
    (series,) = store.series("site", ["pue"], run=RUN, from_ms=T0 - 8 * HOUR_MS, to_ms=T0 + HOUR_MS, bucket="live")
    assert series.ts.tolist() == [T0 - 7 * HOUR_MS, T0 + 2000, T0 + 5000]
    assert series.fields["pue"] == pytest.approx([1.0, 1.2, 1.5])


def test_one_batch_may_hold_many_measurements_runs_and_times(store: Store) -> None:
    store.write(
        [
            site([T0 - 1, T0, T0 + HOUR_MS], pue=[1.0, 1.1, 1.2]),
            site(T0, run=OTHER_RUN, pue=2.0),
            racks(T0, 8, power_w=5.0),
            event(T0, text="x"),
        ]
    )
    assert [store.stored(*key) for key in (("site", RUN), ("site", OTHER_RUN), ("rack", RUN), ("event", RUN))] == [
        3, 1, 8, 1,
    ]  # fmt: skip


def test_an_empty_batch_and_empty_points_are_nothing(store: Store) -> None:
    store.write([])
    store.write([racks(T0, 0, power_w=np.empty(0)), site(T0, pue=NAN), Points("site", RUN, T0, {}, {}, {})])
    assert store.stored("rack", RUN) == store.stored("site", RUN) == 0


def test_a_whole_second_of_the_site(store: Store) -> None:
    n = 3125
    power_w = np.random.default_rng(1).uniform(0, 80_000, n).round()
    store.write([racks(T0, n, power_w=power_w, gpu_temp_max_c=60.0)])
    rows = store.latest("rack", ["power_w"], run=RUN, until_ms=T0, window_ms=15_000)
    assert rows.size == n
    assert by_tag(rows.tags, rows.fields["power_w"].tolist(), "rack") == by_tag(
        racks(T0, n).tags, power_w.tolist(), "rack"
    )


def test_large_and_small_numbers_keep_what_their_unit_needs(store: Store) -> None:
    store.write([site(T0, it_power_w=287_654_321.0, water_today_l=3_141_592_653.0, frequency_hz=59.987, pue=1.2345)])
    rows = store.latest(
        "site", ["it_power_w", "water_today_l", "frequency_hz", "pue"], run=RUN, until_ms=T0, window_ms=1
    )
    assert rows.fields["it_power_w"][0] == 287_654_321.0
    assert rows.fields["water_today_l"][0] == 3_141_592_653.0
    assert rows.fields["frequency_hz"][0] == pytest.approx(59.987, abs=1e-4)
    assert rows.fields["pue"][0] == pytest.approx(1.2345, rel=1e-6)


NASTY = (
    'it\'s "quoted"',
    "a'; DROP TABLE series; --",
    "line\nbreak, comma=and space",
    "Größe 面 🙂",
    "back\\slash",
    "%s {0} $1",
)


@pytest.mark.parametrize("nasty", NASTY)
def test_any_string_is_a_text_and_any_line_a_tag_value(store: Store, nasty: str) -> None:
    line = nasty.replace("\n", " ")
    store.write([turbines(T0, [line, "turbine-1"], power_w=[1.0, 2.0]), event(T0, text=nasty, unit=nasty, by=nasty)])
    rows = store.latest("turbine", ["power_w"], run=RUN, until_ms=T0, window_ms=1, where={"unit": line})
    assert rows.tags["unit"] == [line]
    assert rows.fields["power_w"].tolist() == [1.0]
    (found,) = store.events(run=RUN, from_ms=T0, to_ms=T0 + 1, limit=1)
    assert (found.text, found.unit, found.by) == (nasty, nasty, nasty)


def test_a_strange_run_is_only_a_run(store: Store) -> None:
    store.write([site(T0, run=NASTY[1], pue=1.1), site(T0, pue=1.2)])
    assert store.stored("site", NASTY[1]) == 1
    rows = store.latest("site", ["pue"], run=NASTY[1], until_ms=T0, window_ms=1)
    assert rows.fields["pue"] == pytest.approx([1.1])


# -- what is refused


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Points("racks", RUN, T0, {}, {}, {}), ["'racks'", "rack,"]),
        (lambda: site(T0, pu=1.0), ["'pu'", "pue"]),
        (lambda: Points("hall", RUN, T0, {"Hall": "H1"}, {}, {}), ["'Hall'", "hall"]),
        (lambda: Points("hall", RUN, T0, {}, {"power_w": 1.0}, {}), ["'hall'"]),
        (lambda: Points("event", RUN, T0, {"kind": "run", "priority": "p3"}, {}, {"txt": "x"}), ["'txt'", "text"]),
        (lambda: site(T0, run="", pue=1.0), ["'run'"]),
        (lambda: racks(T0, 4, power_w=np.ones(3)), ["lengths", "power_w"]),
        (lambda: site(T0, pue=float("inf")), ["pue", "infinite"]),
        (lambda: site(-1, pue=1.0), ["time", "-1"]),
        (lambda: site(10**17, pue=1.0), ["time", "100000000000000000"]),
        (lambda: event(T0, text="half a \ud800 pair"), ["text", "UTF-8"]),
        (lambda: turbines(T0, ["\ud800"], power_w=1.0), ["unit", "UTF-8"]),
    ],
)  # fmt: skip
def test_wrong_points_are_refused_by_name(make, named) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(StoreRejected) as error:
        make()
    assert all(word in str(error.value) for word in named)


def test_reads_with_wrong_names_are_refused_by_name(store: Store) -> None:
    window = {"run": RUN, "until_ms": T0, "window_ms": 1}
    wide = {"run": RUN, "from_ms": T0, "to_ms": T0 + 1}
    with pytest.raises(StoreRejected, match=r"'nope'.*rack"):
        store.latest("nope", ["x"], **window)
    with pytest.raises(StoreRejected, match=r"'temp_c'.*gpu_temp_max_c"):
        store.latest("rack", ["temp_c"], **window)
    with pytest.raises(StoreRejected, match=r"'unit'.*rack"):
        store.series("rack", ["power_w"], where={"unit": "R1"}, **wide)
    with pytest.raises(StoreRejected, match=r"'power'.*power_w"):
        store.topk("rack", "power", 3, **window)
    with pytest.raises(StoreRejected, match="no field"):
        store.series("rack", [], **wide)
    with pytest.raises(StoreRejected, match="text"):
        store.topk("alarm", "cause", 3, **window)
    with pytest.raises(StoreRejected, match="5-minute"):
        store.series("gpu", ["power_w"], bucket="5m", **wide)
    with pytest.raises(StoreRejected, match="'nope'"):
        store.stored("nope", RUN)


# -- reading


def test_every_measurement_gives_back_what_was_written(store: Store) -> None:
    batch = [
        Points(
            spec.name,
            RUN,
            T0,
            {tag: f"{tag}-1" for tag in spec.tags},
            {field.name: float(i) for i, field in enumerate(spec.fields)},
            {name: f"{name} of {spec.name}" for name in spec.texts},
        )
        for spec in MEASUREMENTS
    ]
    store.write(batch)
    for points in batch:
        names = [*points.fields, *points.texts]
        rows = store.latest(points.measurement, names, run=RUN, until_ms=T0, window_ms=1)
        assert {tag: column[0] for tag, column in rows.tags.items()} == points.tags
        assert rows.ts.tolist() == [T0]
        assert {name: column[0] for name, column in rows.fields.items()} == pytest.approx(points.fields)
        assert {name: column[0] for name, column in rows.texts.items()} == points.texts


def test_latest_is_the_last_value_of_each_field_within_the_window(store: Store) -> None:
    store.write(
        [
            turbines(T0, ["turbine-1", "turbine-2"], power_w=[1.0, 2.0], load=[0.1, 0.2]),
            turbines(T0 + 1000, ["turbine-1", "turbine-2"], power_w=[3.0, NAN], load=[NAN, NAN]),
            turbines(T0 + 2000, ["turbine-2"], power_w=9.0),
        ]
    )
    rows = store.latest("turbine", ["power_w", "load"], run=RUN, until_ms=T0 + 1500, window_ms=10_000)
    assert rows.tags == {"plant": ["power-1", "power-1"], "unit": ["turbine-1", "turbine-2"]}
    assert rows.ts.tolist() == [T0 + 1000, T0]
    assert rows.fields["power_w"].tolist() == [3.0, 2.0]
    assert rows.fields["load"] == pytest.approx([0.1, 0.2])


def test_a_value_that_is_not_in_the_window_is_missing_and_not_zero(store: Store) -> None:
    store.write([turbines(T0, ["turbine-1"], power_w=1.0), turbines(T0 + 1000, ["turbine-1"], load=0.5)])
    rows = store.latest("turbine", ["power_w", "load"], run=RUN, until_ms=T0 + 1000, window_ms=1000)
    assert np.isnan(rows.fields["power_w"]).all()
    assert rows.fields["load"].tolist() == [0.5]


def test_the_window_of_latest_is_open_at_its_begin_and_closed_at_its_end(store: Store) -> None:
    store.write([site([T0, T0 + 1000], pue=[1.0, 1.5])])
    window = {"run": RUN, "window_ms": 1000}
    assert store.latest("site", ["pue"], until_ms=T0 + 1000, **window).fields["pue"].tolist() == [1.5]
    assert store.latest("site", ["pue"], until_ms=T0 + 999, **window).fields["pue"].tolist() == [1.0]
    assert store.latest("site", ["pue"], until_ms=T0 - 1, **window).size == 0
    assert store.latest("site", ["pue"], until_ms=T0 + 2000, **window).size == 0


def test_latest_looks_back_over_hours(store: Store) -> None:
    store.write([site(T0 - HOUR_MS, pue=1.25, it_power_w=1.0), site(T0 + HOUR_MS, it_power_w=2.0)])
    rows = store.latest("site", ["pue", "it_power_w"], run=RUN, until_ms=T0 + HOUR_MS, window_ms=3 * HOUR_MS)
    assert (rows.fields["pue"].tolist(), rows.fields["it_power_w"].tolist()) == ([1.25], [2.0])


def test_latest_gives_texts(store: Store) -> None:
    key = {"priority": "p1", "rule": "gpu_hot", "unit": ["R0001", "R0002"]}
    store.write(
        [
            Points("alarm", RUN, T0, key, {"active": 1.0}, {"text": ["hot", "hotter"], "cause": ["chiller-1", ""]}),
            Points("alarm", RUN, T0 + 1, key | {"unit": "R0003"}, {"active": 1.0}, {}),
        ]
    )
    rows = store.latest("alarm", ["text", "active", "cause"], run=RUN, until_ms=T0 + 1, window_ms=1000)
    assert list(rows.texts["text"]) == ["hot", "hotter", None]
    assert [cause or "" for cause in rows.texts["cause"]] == ["chiller-1", "", ""]
    assert rows.fields["active"].tolist() == [1.0] * 3


def test_where_chooses_by_one_value_or_several_and_all_tags_together(store: Store) -> None:
    store.write([racks(T0, 48, power_w=np.arange(48.0))])
    window = {"run": RUN, "until_ms": T0, "window_ms": 1}

    def names(**where: object) -> list[str]:
        return list(store.latest("rack", ["power_w"], where=where, **window).tags["rack"])  # type: ignore[arg-type]

    assert names(hall="H2") == [f"R{i:04d}" for i in range(17, 33)]
    assert names(hall=["H1", "H3"], pos=["1", "3"]) == ["R0001", "R0003", "R0033", "R0035"]
    assert names(hall="H1", array="A003") == names(rack="R9999") == names(hall=[]) == []


def test_series_are_ordered_complete_and_half_open(store: Store) -> None:
    for ts in (T0 + 2000, T0, T0 + 1000, T0 + 3000):
        store.write([turbines(ts, ["turbine-2", "turbine-1"], power_w=[ts - T0 + 2.0, ts - T0 + 1.0])])
    found = store.series("turbine", ["power_w"], run=RUN, from_ms=T0, to_ms=T0 + 3000)
    assert [series.tags for series in found] == [
        {"plant": "power-1", "unit": "turbine-1"},
        {"plant": "power-1", "unit": "turbine-2"},
    ]
    assert found[1].ts.tolist() == [T0, T0 + 1000, T0 + 2000]
    assert found[1].fields["power_w"].tolist() == [2.0, 1002.0, 2002.0]


def test_points_without_a_wanted_value_are_absent_and_a_hole_in_one_field_is_nan(store: Store) -> None:
    store.write([site(T0, pue=1.0, it_power_w=5.0), site(T0 + 1000, pue=1.5), site(T0 + 2000, gpu_n=4.0)])
    (series,) = store.series("site", ["pue", "it_power_w"], run=RUN, from_ms=T0, to_ms=T0 + HOUR_MS)
    assert series.ts.tolist() == [T0, T0 + 1000]
    assert np.isnan(series.fields["it_power_w"]).tolist() == [False, True]


def test_intervals_take_each_field_by_its_roll_up(store: Store) -> None:
    ts = [T0 + 1000 * i for i in range(10)]
    store.write(
        [
            site(
                ts,
                pue=np.arange(10.0),  # mean
                shed_power_w=np.arange(10.0),  # max
                frequency_min_hz=np.arange(10.0),  # min
                gpu_n=np.arange(10.0)[::-1],  # last
                ecc_dbe_n=np.arange(10.0),  # sum
            )
        ]
    )
    names = ["pue", "shed_power_w", "frequency_min_hz", "gpu_n", "ecc_dbe_n"]
    (series,) = store.series("site", names, run=RUN, from_ms=T0 + 1000, to_ms=T0 + 9000, every_ms=5000)
    assert series.ts.tolist() == [T0, T0 + 5000]
    assert {name: column.tolist() for name, column in series.fields.items()} == {
        "pue": [2.5, 6.5],
        "shed_power_w": [4.0, 8.0],
        "frequency_min_hz": [1.0, 5.0],
        "gpu_n": [5.0, 1.0],
        "ecc_dbe_n": [10.0, 26.0],
    }


def test_empty_intervals_are_absent(store: Store) -> None:
    store.write([site([T0, T0 + 20_000], pue=[1.0, 2.0])])
    (series,) = store.series("site", ["pue"], run=RUN, from_ms=T0, to_ms=T0 + 60_000, every_ms=5000)
    assert series.ts.tolist() == [T0, T0 + 20_000]


def test_an_interval_may_be_any_length_across_hours(store: Store) -> None:
    ts = np.arange(T0 - 7000, T0 + 7000, 1000)  # over the end of a file
    store.write([Points("site", RUN, ts, {}, {"pue": np.arange(14.0)}, {})])
    (series,) = store.series("site", ["pue"], run=RUN, from_ms=T0 - HOUR_MS, to_ms=T0 + HOUR_MS, every_ms=7001)
    starts = ts // 7001 * 7001
    assert series.ts.tolist() == np.unique(starts).tolist()
    assert series.fields["pue"] == pytest.approx([np.arange(14.0)[starts == s].mean() for s in np.unique(starts)])


def test_topk_is_ordered_and_ties_go_by_the_tags(store: Store) -> None:
    store.write([racks(T0, 6, gpu_temp_max_c=[50.0, 70.0, NAN, 60.0, 70.0, 60.0])])
    window = {"run": RUN, "until_ms": T0, "window_ms": 1000}
    top = store.topk("rack", "gpu_temp_max_c", 4, **window)
    assert top.tags["rack"] == ["R0002", "R0005", "R0004", "R0006"]
    assert top.fields["gpu_temp_max_c"].tolist() == [70.0, 70.0, 60.0, 60.0]
    assert store.topk("rack", "gpu_temp_max_c", 2, smallest=True, **window).tags["rack"] == ["R0001", "R0004"]
    assert store.topk("rack", "gpu_temp_max_c", 99, **window).size == 5
    assert store.topk("rack", "gpu_temp_max_c", 1, where={"pos": "4"}, **window).tags["rack"] == ["R0004"]


def test_events_are_the_newest_first_and_limited(store: Store) -> None:
    store.write([event(T0 + i, ("command", "alarm", "run")[i % 3], text=f"no {i}") for i in range(9)])
    found = store.events(run=RUN, from_ms=T0 + 1, to_ms=T0 + 8, limit=3)
    assert [(one.ts - T0, one.kind, one.text) for one in found] == [
        (7, "alarm", "no 7"),
        (6, "command", "no 6"),
        (5, "run", "no 5"),
    ]
    found = store.events(run=RUN, from_ms=T0, to_ms=T0 + 9, limit=99, kinds=["run", "alarm"])
    assert [one.text for one in found] == [f"no {i}" for i in (8, 7, 5, 4, 2, 1)]
    assert store.events(run=RUN, from_ms=T0, to_ms=T0 + 9, limit=99, kinds=["dead_letter"]) == []


def test_no_read_sees_another_run(store: Store) -> None:
    store.write([racks(T0, 4, run=OTHER_RUN, power_w=7.0), event(T0, run=OTHER_RUN, text="x")])
    assert store.stored("rack", RUN) == 0
    assert store.latest("rack", ["power_w"], run=RUN, until_ms=T0, window_ms=1000).size == 0
    assert store.series("rack", ["power_w"], run=RUN, from_ms=T0, to_ms=T0 + 1) == []
    assert store.topk("rack", "power_w", 1, run=RUN, until_ms=T0, window_ms=1000).size == 0
    assert store.events(run=RUN, from_ms=T0, to_ms=T0 + 1, limit=9) == []
    store.write([racks(T0, 4, power_w=1.0)])
    rows = store.latest("rack", ["power_w"], run=RUN, until_ms=T0, window_ms=1000)
    assert rows.fields["power_w"].tolist() == [1.0] * 4


def test_an_empty_answer_has_all_its_columns(store: Store) -> None:
    rows = store.latest("alarm", ["active", "text"], run=RUN, until_ms=T0, window_ms=1000)
    assert rows.size == 0
    assert rows.tags == {"priority": [], "rule": [], "unit": []}
    assert (rows.ts.dtype, rows.fields["active"].dtype, list(rows.texts["text"])) == (np.int64, np.float64, [])


# -- life


def test_all_is_there_after_closing_and_opening_again(reopen: Open) -> None:
    store = reopen()
    store.write([racks(T0, 8, power_w=1.0), event(T0, text="x"), site(T0, pue=1.5)])
    store.roll_up(T0 + HOUR_MS)
    store = reopen()
    assert (store.stored("rack", RUN), store.stored("site", RUN)) == (8, 1)
    assert len(store.events(run=RUN, from_ms=T0, to_ms=T0 + 1, limit=9)) == 1
    assert len(store.series("site", ["pue"], run=RUN, from_ms=T0, to_ms=T0 + 1, bucket="5m")) == 1
    store.write([racks(T0, 8, power_w=2.0), racks(T0 + 1000, 8, power_w=2.0)])
    assert store.stored("rack", RUN) == 16


def test_pruning_keeps_the_last_24_hours(store: Store) -> None:
    now_ms = T0 + 30 * HOUR_MS
    hours = [T0 + h * HOUR_MS for h in range(31)]
    store.write([site(ts, pue=1.0) for ts in hours])
    store.prune(now_ms)
    (series,) = store.series("site", ["pue"], run=RUN, from_ms=T0, to_ms=now_ms + 1, bucket="live")
    assert [ts for ts in hours if ts > now_ms - 24 * HOUR_MS] == [ts for ts in series.ts if ts > now_ms - 24 * HOUR_MS]


def test_a_closed_store_says_so(store: Store) -> None:
    store.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        store.write([site(T0, pue=1.0)])
    store.close()


def test_threads_may_write_and_read_at_once(store: Store) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for i in range(10):
                store.write([turbines(T0 + i, [f"turbine-{number}"], power_w=float(i))])
                store.latest("turbine", ["power_w"], run=RUN, until_ms=T0 + i, window_ms=1000)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert store.stored("turbine", RUN) == 40
