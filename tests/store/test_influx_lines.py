"""Batches as line protocol: against a small reader of it."""

import re
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.store.batches import OTHER_RUN, RUN, T0, event, racks, site, turbines
from twin.errors import StoreRejected
from twin.events.measurements import BY_NAME
from twin.store import Points
from twin.store.columns import gather
from twin.store.influx_lines import Prefixes, lines, mark_line, prefix, storable
from twin.store.rollup import Window

NAN = float("nan")
LINE = re.compile(
    rb"(?P<series>(?:\\[,= ]|[^ ])+) (?P<values>(?:\w+=(?:[^\",]+|\"(?:\\.|[^\"\\])*\"),?)+) (?P<ts>\d+)", re.DOTALL
)
VALUE = re.compile(rb"(\w+)=([^\",]+|\"(?:\\.|[^\"\\])*\")", re.DOTALL)


def written(*parts: Points) -> list[bytes]:
    return lines(gather(parts), parts[0].measurement, parts[0].run, Prefixes())


def read(line: bytes) -> tuple[str, dict[str, str], dict[str, float | str], int]:
    """Read a line: measurement, tags, values, time."""
    found = LINE.fullmatch(line)
    assert found, line
    measurement, *tags = re.split(r"(?<!\\),", found["series"].decode())
    pairs = (re.split(r"(?<!\\)=", tag) for tag in tags)
    values: dict[str, float | str] = {}
    for name, value in VALUE.findall(found["values"]):
        text = value.decode()
        values[name.decode()] = re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL) if text[0] == '"' else float(text)
    return measurement, {name: re.sub(r"\\([,= ])", r"\1", value) for name, value in pairs}, values, int(found["ts"])


def test_a_line_has_its_tags_in_order_of_their_names_and_floats_only() -> None:
    assert written(racks(T0, 1, power_w=[5.0], throttled_n=np.array([3]), gpu_temp_max_c=61.5)) == [
        b"rack,array=A001,hall=H1,pos=1,rack=R0001,row=1,run=20261124T072000Z-a7f3 "
        b"power_w=5.0,throttled_n=3.0,gpu_temp_max_c=61.5 1795500000000"
    ]


def test_what_was_not_measured_is_left_out_and_nothing_leaves_no_line() -> None:
    out = written(racks(T0, 3, power_w=[NAN, 1.0, 2.0], residual_k=[NAN, NAN, 0.0]))
    assert [(tags["rack"], values) for _, tags, values, _ in map(read, out)] == [
        ("R0002", {"power_w": 1.0}),
        ("R0003", {"power_w": 2.0, "residual_k": 0.0}),
    ]
    assert written(site(T0, pue=NAN)) == written(Points("site", RUN, T0, {}, {}, {})) == []


def test_lines_stay_in_the_order_of_their_rows_whatever_fields_they_have() -> None:
    out = written(site([T0, T0, T0 + 1, T0], pue=[1.0, NAN, 3.0, 4.0], gpu_n=[NAN, 2.0, NAN, NAN]))
    assert [(values, ts - T0) for _, _, values, ts in map(read, out)] == [
        ({"pue": 1.0}, 0),
        ({"gpu_n": 2.0}, 0),
        ({"pue": 3.0}, 1),
        ({"pue": 4.0}, 0),
    ]


def test_an_empty_tag_is_absent_and_an_empty_text_is_a_text() -> None:
    (line,) = written(Points("xid", RUN, T0, {"hall": "", "xid": "79", "fatal": "1"}, {"raised": 1.0}, {"text": ""}))
    assert line == b'xid,fatal=1,run=20261124T072000Z-a7f3,xid=79 raised=1.0,text="" 1795500000000'


tags = st.text(st.characters(codec="utf-8"), max_size=8)
texts = st.text(st.characters(codec="utf-8"), max_size=8)


@given(
    run=st.text(st.characters(codec="utf-8"), min_size=1, max_size=8).filter(storable),
    rows=st.lists(
        st.tuples(
            tags.filter(storable),
            st.integers(0, 4_000_000_000_000),
            st.floats(allow_infinity=False),
            st.one_of(st.none(), texts),
        ),
        min_size=1,
        max_size=8,
    ),
)
def test_any_batch_can_be_read_again(run: str, rows: list[tuple[str, int, float, str | None]]) -> None:
    parts = [
        Points(
            "alarm",
            run,
            ts,
            {"priority": "p1", "rule": "gpu_hot", "unit": unit},
            {"value": value},
            {} if words is None else {"text": words},
        )
        for unit, ts, value, words in rows
    ]
    expected = []
    for unit, ts, value, words in rows:
        key = {"priority": "p1", "rule": "gpu_hot", "run": run} | ({"unit": unit} if unit else {})
        values: dict[str, float | str] = {} if np.isnan(value) else {"value": value}
        values |= {} if words is None else {"text": words}
        if values:
            expected.append(("alarm", key, values, ts))
    assert [read(line) for line in written(*parts)] == expected


@pytest.mark.parametrize("value", ["a\nb", "a\r", "\0", "a\\", "a\\,b", "a\\ b", "a\\=b"])
def test_a_tag_that_no_line_can_carry_is_refused_by_name(value: str) -> None:
    assert not storable(value)
    with pytest.raises(StoreRejected, match=r"turbine\.unit"):
        written(turbines(T0, ["turbine-1", value], power_w=1.0))
    with pytest.raises(StoreRejected, match=r"site\.run"):
        written(site(T0, run=value, pue=1.0))


def test_a_refused_tag_leaves_the_kept_beginnings_sound() -> None:
    prefixes = Prefixes()
    for _ in range(2):
        with pytest.raises(StoreRejected):
            lines(gather([turbines(T0, ["turbine-1", "a\n"], power_w=1.0)]), "turbine", RUN, prefixes)
    (line,) = lines(gather([turbines(T0, ["turbine-1"], power_w=1.0)]), "turbine", RUN, prefixes)
    assert read(line)[1]["unit"] == "turbine-1"


def test_beginnings_are_kept_within_a_bound() -> None:
    prefixes = Prefixes(limit=5)
    for run in (RUN, OTHER_RUN, RUN):
        for start in (0, 3, 6):
            units = [f"turbine-{start + i}" for i in range(3)]
            begins = prefixes.of("turbine", run, [("power-1", unit) for unit in units])
            assert begins == [prefix("turbine", run, ("power-1", unit)) for unit in units]
            assert prefixes.size <= 5


def test_beginnings_may_be_made_by_several_threads() -> None:
    prefixes = Prefixes(limit=50)
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for i in range(200):
                key = ("power-1", f"turbine-{(i * number) % 70}")
                assert prefixes.of("turbine", RUN, [key]) == [prefix("turbine", RUN, key)]
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_every_measurement_can_be_written() -> None:
    for spec in BY_NAME.values():
        points = Points(
            spec.name,
            RUN,
            T0,
            dict.fromkeys(spec.tags, "x"),
            {field.name: 1.0 for field in spec.fields},
            dict.fromkeys(spec.texts, "x"),
        )
        (line,) = written(points)
        measurement, keys, values, _ = read(line)
        assert (measurement, list(keys)) == (spec.name, sorted(spec.keys))
        assert not keys.keys() & values.keys()  # InfluxQL could not tell them apart


def test_texts_are_quoted() -> None:
    (line,) = written(event(T0, text='say "a\\b",\nthen c=d'))
    assert line.endswith(b' text="say \\"a\\\\b\\",\nthen c=d" 1795500000000')


def test_a_mark_holds_its_token_exactly() -> None:
    line = mark_line(Window(T0, "a run", "rack"), "made", 2**52 - 1)
    assert line == b"rollup_window,measurement=rack,run=a\\ run made=4503599627370495.0 1795500000000"
