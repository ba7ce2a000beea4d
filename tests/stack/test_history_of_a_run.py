"""The history of one live run: InfluxDB holds it in the words of the events, and both stores answer the same."""

from collections.abc import Iterator

import httpx2
import numpy as np
import pytest

from tests.stack.theatre import Theatre
from twin.agents.points import PointMaker
from twin.events.layout import FrameLayout
from twin.events.measurements import BY_NAME, MEASUREMENTS
from twin.run import RunView, SystemClock, ts_at
from twin.store import Rows, Series, Store
from twin.store.duck import open_store

SECONDS = 60.0
TICKS = 30
# What a run without alarms, drills and watched racks leaves.
WRITTEN = frozenset(spec.name for spec in MEASUREMENTS) - {"alarm", "alarm_kpi", "gpu", "residual", "xid"}


@pytest.fixture(scope="module")
def theatre(kafka, influx, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Theatre]:  # type: ignore[no-untyped-def]
    """A run of ``mini`` that has ended, and is stored."""
    theatre = Theatre(kafka, influx, tmp_path_factory.mktemp("theatre"), "mini")
    theatre.begin(("rows", "rows-1"), ("site", "site-1"), ("history", "history-1"))
    theatre.start("producers", "producers-1")
    theatre.until(lambda: bool(theatre.controls), SECONDS, "a run")
    theatre.run_ticks(TICKS)
    assert theatre.fleet.end("producers-1") == 0
    theatre.until(lambda: theatre.control.state == "ended", SECONDS, "its end")
    theatre.wait_settled(SECONDS)
    theatre.fleet.end_all()
    yield theatre
    theatre.close()


@pytest.fixture(scope="module")
def run(theatre: Theatre) -> str:
    return theatre.control.run


@pytest.fixture(scope="module")
def duck(theatre: Theatre, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """What the same messages make of DuckDB."""
    view, clock = RunView(), SystemClock()
    view.accept(theatre.control, now_ms=clock.now_ms())
    maker = PointMaker(FrameLayout(theatre.site), view, clock)
    records = sorted(
        (record for topic in maker.topics for record in theatre.records(topic)), key=lambda record: record.timestamp_ms
    )
    store = open_store(tmp_path_factory.mktemp("duck") / "history")
    for record in records:
        store.write(maker.points_of(record._replace(topic=record.topic.removeprefix(f"{theatre.namespace}."))))
    yield store
    store.close()


def read_influxql(theatre: Theatre, query: str) -> list[dict[str, object]]:
    """Ask the server itself, as Grafana does, with the reader's token."""
    answer = httpx2.get(
        f"{theatre.influx.url}/query",
        params={"db": f"{theatre.namespace}.live", "q": query, "epoch": "ms"},
        headers={"Authorization": f"Token {theatre.tokens.reader}"},
    )
    assert answer.status_code == httpx2.codes.OK, answer.text
    (result,) = answer.json()["results"]
    return result.get("series", [])


def test_influxql_finds_every_measurement_with_the_fields_of_the_events(theatre: Theatre, run: str) -> None:
    found = {
        series["name"]: {name for name, _ in series["values"]}  # type: ignore[attr-defined]
        for series in read_influxql(theatre, "SHOW FIELD KEYS")
    }
    assert set(found) >= WRITTEN
    for name in found.keys() & BY_NAME.keys():
        spec = BY_NAME[name]
        assert found[name] <= {field.name for field in spec.fields} | set(spec.texts), name
    # What is always measured is always there, under the name that says its unit.
    for name in ("rack", "hall", "turbine", "site", "loop", "feed", "battery"):
        (latest,) = read_influxql(theatre, f"SELECT last(*) FROM \"{name}\" WHERE run = '{run}'")
        assert {f"last_{field}" for field in found[name]} <= set(latest["columns"])  # type: ignore[call-overload]


def test_rows_of_racks_halls_and_site_fit_together(theatre: Theatre, run: str) -> None:
    def total(measurement: str, field: str, group: str) -> float:
        inner = f'SELECT last("{field}") AS v FROM "{measurement}" WHERE run = \'{run}\' GROUP BY {group}'
        (series,) = read_influxql(theatre, f"SELECT sum(v) FROM ({inner})")
        return float(series["values"][0][1])  # type: ignore[index]

    racks_w, halls_w = total("rack", "power_w", "rack"), total("hall", "power_w", "hall")
    assert racks_w == pytest.approx(halls_w, rel=1e-9)
    (site,) = read_influxql(theatre, f"SELECT last(it_power_w), last(pue) FROM site WHERE run = '{run}'")
    _, it_power_w, pue = site["values"][0]  # type: ignore[index]
    assert racks_w == pytest.approx(it_power_w, rel=0.2)
    assert 1.0 < pue < 2.0


@pytest.mark.parametrize("name", sorted(WRITTEN))
def test_both_stores_answer_the_four_reads_alike(theatre: Theatre, duck: Store, run: str, name: str) -> None:
    spec = BY_NAME[name]
    numbers = [field.name for field in spec.fields]
    fields = [*numbers, *spec.texts]
    until_ms = ts_at(theatre.control.line, theatre.control.settled_tick) + 1  # what came later may not be stored
    latest = {"run": run, "until_ms": until_ms, "window_ms": 600_000}
    span = {"run": run, "from_ms": until_ms - 600_000, "to_ms": until_ms}
    theirs, ours = theatre.store.latest(name, fields, **latest), duck.latest(name, fields, **latest)
    assert theirs.size > 0
    same_rows(theirs, ours)
    for every_ms in (None, 10_000):
        pairs = zip(
            theatre.store.series(name, fields, every_ms=every_ms, **span),
            duck.series(name, fields, every_ms=every_ms, **span),
            strict=True,
        )
        for one, other in pairs:
            same_series(one, other)
    for field in numbers[:3]:
        same_rows(theatre.store.topk(name, field, 5, **latest), duck.topk(name, field, 5, **latest))
    assert theatre.store.stored(name, run) == duck.stored(name, run)


def test_both_stores_tell_the_same_events(theatre: Theatre, duck: Store, run: str) -> None:
    span = {"run": run, "from_ms": 0, "to_ms": theatre.now_ms(), "limit": 100}
    told = theatre.store.events(**span)
    assert told == duck.events(**span)
    assert "run" in {event.kind for event in told}


def same_rows(one: Rows, other: Rows) -> None:
    assert one.tags == other.tags
    assert one.ts.tolist() == other.ts.tolist()
    same_values(one, other)


def same_series(one: Series, other: Series) -> None:
    assert one.tags == other.tags
    assert one.ts.tolist() == other.ts.tolist()
    same_values(one, other)


def same_values(one: Rows | Series, other: Rows | Series) -> None:
    for name, column in one.fields.items():
        # DuckDB keeps what sensors show coarsely as float32; the finest sensor of the site shows 1e-4.
        np.testing.assert_allclose(column, other.fields[name], rtol=3e-7, atol=1e-6, err_msg=name)
    assert {name: list(column) for name, column in one.texts.items()} == {
        name: list(column) for name, column in other.texts.items()
    }
