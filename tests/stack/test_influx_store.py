"""The history on a real InfluxDB: what only the server shows. The contract suite over it is test_influx_contract.py."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

from tests.stack.servers.influx import Influx
from tests.store.batches import HOUR_MS, OTHER_RUN, RUN, T0, event, racks, site, turbines
from twin.errors import StartError, StoreRejected, StoreUnavailable
from twin.store import Points, Rows, Series, Store
from twin.store.duck import open_store
from twin.store.influx import InfluxStore, open_influx
from twin.store.influx_connection import Connection
from twin.store.influx_setup import RETENTION_S, Tokens, init
from twin.store.rollup import WINDOW_MS

NUMBERS = itertools.count()
FOR_EVER = dict.fromkeys(RETENTION_S, 0)
NAN = float("nan")


@pytest.fixture
def namespace() -> str:
    return f"store{next(NUMBERS)}"


@pytest.fixture
def tokens(influx: Influx, namespace: str) -> Tokens:
    return init(influx.url, influx.org, influx.admin_token, namespace, retention_s=FOR_EVER)


@pytest.fixture
def again(influx: Influx, namespace: str, tokens: Tokens) -> Iterator[Callable[[], InfluxStore]]:
    """A function that opens one more store on the same buckets."""
    opened: list[InfluxStore] = []

    def another() -> InfluxStore:
        opened.append(open_influx(influx.url, influx.org, tokens.writer, namespace))
        return opened[-1]

    yield another
    for store in opened:
        store.close()


@pytest.fixture
def store(again: Callable[[], InfluxStore]) -> InfluxStore:
    return again()


@pytest.fixture
def admin(influx: Influx, tokens: Tokens) -> Iterator[Connection]:
    connection = Connection(influx.url, influx.org, influx.admin_token)
    yield connection
    connection.close()


# -- what init prepares


def test_init_may_be_run_again_and_changes_nothing(influx: Influx, namespace: str, tokens: Tokens) -> None:
    assert init(influx.url, influx.org, influx.admin_token, namespace, retention_s=FOR_EVER) == tokens
    assert tokens.writer != tokens.reader


def test_init_mends_retention_and_leaves_the_points(
    influx: Influx, namespace: str, admin: Connection, store: InfluxStore
) -> None:
    now_ms = time.time_ns() // 1_000_000
    store.write([site(now_ms, pue=1.5)])
    init(influx.url, influx.org, influx.admin_token, namespace)
    kept_s = {}
    for name in RETENTION_S:
        (bucket,) = admin.call("GET", "/api/v2/buckets", [("name", f"{namespace}.{name}")])["buckets"]
        (rule,) = bucket["retentionRules"]
        kept_s[name] = (rule["everySeconds"], rule["shardGroupDurationSeconds"])
    day_s = 24 * 3600
    assert kept_s == {"live": (day_s, 3600), "5m": (730 * day_s, 7 * day_s), "scratch": (7 * day_s, day_s)}
    assert store.stored("site", RUN) == 1


def test_init_mends_what_was_taken_away(influx: Influx, namespace: str, tokens: Tokens, admin: Connection) -> None:
    org_id = admin.call("GET", "/api/v2/orgs", [("org", influx.org)])["orgs"][0]["id"]
    live = f"{namespace}.live"
    (mapping,) = admin.call("GET", "/api/v2/dbrps", [("orgID", org_id), ("db", live)])["content"]
    assert (mapping["database"], mapping["retention_policy"], mapping["default"], mapping["virtual"]) == (
        live, "autogen", True, False,
    )  # fmt: skip
    (bucket,) = admin.call("GET", "/api/v2/buckets", [("orgID", org_id), ("name", live)])["buckets"]
    admin.call("DELETE", f"/api/v2/buckets/{bucket['id']}")
    with pytest.raises(StartError, match="colossus store init"):
        open_influx(influx.url, influx.org, tokens.writer, namespace)
    mended = init(influx.url, influx.org, influx.admin_token, namespace, retention_s=FOR_EVER)
    assert mended.writer != tokens.writer  # its rights were for a bucket that is gone
    open_influx(influx.url, influx.org, mended.writer, namespace).close()
    descriptions = [
        one["description"]
        for one in admin.call("GET", "/api/v2/authorizations", [("orgID", org_id)])["authorizations"]
        if one["description"].endswith(f" {namespace}")
    ]
    assert sorted(descriptions) == [f"colossus reader {namespace}", f"colossus writer {namespace}"]


def test_init_makes_an_organization_that_is_not_there(influx: Influx) -> None:
    tokens = init(influx.url, "another", influx.admin_token, "x", retention_s=FOR_EVER)
    open_influx(influx.url, "another", tokens.writer, "x").close()


def test_without_a_namespace_the_buckets_have_their_plain_names(influx: Influx) -> None:
    tokens = init(influx.url, influx.org, influx.admin_token, retention_s=FOR_EVER)
    (result,) = ask(influx, tokens.reader, "live", "SHOW DATABASES")["results"]
    assert {row[0] for row in result["series"][0]["values"]} == set(RETENTION_S)


def test_init_with_a_wrong_admin_token_says_what_to_do(influx: Influx, tokens: Tokens) -> None:
    for token in ("not-the-token", tokens.reader):
        with pytest.raises(StartError, match=r"COLOSSUS_INFLUX_ADMIN_TOKEN|organization"):
            init(influx.url, influx.org, token, "x")


# -- who may do what


def ask(influx: Influx, token: str, database: str, text: str) -> Any:
    answer = httpx2.get(
        f"{influx.url}/query",
        params={"db": database, "q": text, "epoch": "ms"},
        headers={"Authorization": f"Token {token}"},
    )
    answer.raise_for_status()
    return answer.json()


def test_grafana_reads_with_the_readers_token_in_influxql(
    influx: Influx, namespace: str, tokens: Tokens, store: InfluxStore
) -> None:
    store.write([racks(T0, 40, power_w=1.0), racks(T0 + 1000, 40, power_w=np.arange(40.0))])
    text = f"""SELECT last("power_w") AS "power_w" FROM "rack" WHERE "run" = '{RUN}' AND time > {T0 - 1}ms
        AND time <= {T0 + 1000}ms AND "hall" =~ /^H1$/ GROUP BY "rack" """  # noqa: S608
    (result,) = ask(influx, tokens.reader, f"{namespace}.live", text)["results"]
    assert [(one["tags"], one["values"]) for one in result["series"]] == [
        ({"rack": f"R{1 + i:04d}"}, [[T0 + 1000, i]]) for i in range(16)
    ]


def test_the_reader_may_not_write_and_nobody_reaches_another_namespace(
    influx: Influx, namespace: str, tokens: Tokens
) -> None:
    other = f"store{next(NUMBERS)}"
    theirs = init(influx.url, influx.org, influx.admin_token, other, retention_s=FOR_EVER)
    foreign = open_influx(influx.url, influx.org, theirs.writer, other)
    foreign.write([site(T0, pue=1.0)])
    foreign.close()
    for token in tokens:
        with pytest.raises(StartError, match="COLOSSUS_INFLUX_TOKEN"):
            open_influx(influx.url, influx.org, token, other)
        for text in ("SELECT * FROM site", "SHOW MEASUREMENTS", 'SHOW TAG VALUES WITH KEY = "run"'):
            (result,) = ask(influx, token, f"{other}.live", text)["results"]
            assert "series" not in result
        assert "series" in ask(influx, theirs.reader, f"{other}.live", text)["results"][0]
    with pytest.raises(StartError, match=r"403.*COLOSSUS_INFLUX_TOKEN"):
        open_influx(influx.url, influx.org, tokens.reader, namespace)
    reader = InfluxStore(Connection(influx.url, influx.org, tokens.reader), namespace)
    assert reader.stored("site", RUN) == 0
    with pytest.raises(StoreUnavailable, match="COLOSSUS_INFLUX_TOKEN"):
        reader.write([site(T0, pue=1.0)])
    reader.close()


def test_the_writer_may_make_no_buckets_and_see_no_tokens(influx: Influx, tokens: Tokens, admin: Connection) -> None:
    org_id = admin.call("GET", "/api/v2/orgs", [("org", influx.org)])["orgs"][0]["id"]
    writer = Connection(influx.url, influx.org, tokens.writer)
    with pytest.raises(StoreUnavailable):
        writer.call("POST", "/api/v2/buckets", body={"orgID": org_id, "name": "mine", "retentionRules": []})
    assert writer.call("GET", "/api/v2/authorizations", [("orgID", org_id)])["authorizations"] == []
    writer.close()


def test_a_wrong_token_or_organization_or_namespace_says_what_to_do(
    influx: Influx, namespace: str, tokens: Tokens
) -> None:
    with pytest.raises(StartError, match=r"401.*COLOSSUS_INFLUX_TOKEN"):
        open_influx(influx.url, influx.org, "not-the-token", namespace)
    with pytest.raises(StartError, match=r"404.*COLOSSUS_INFLUX_ORG"):
        open_influx(influx.url, "nowhere", tokens.writer, namespace)
    with pytest.raises(StartError, match="colossus store init"):
        open_influx(influx.url, influx.org, tokens.writer, "never-prepared")


# -- the server goes and comes, and refuses


def test_a_server_that_goes_away_is_unavailable_and_loses_nothing(influx: Influx, store: InfluxStore) -> None:
    batch = [racks(T0 + 1000 * i, 100, power_w=float(i)) for i in range(20)]
    store.write(batch[:10])
    influx.stop()
    try:
        for call in (lambda: store.write(batch), lambda: store.stored("rack", RUN), lambda: store.roll_up(T0)):
            with pytest.raises(StoreUnavailable, match="COLOSSUS_INFLUX_URL"):
                call()
    finally:
        influx.start()
    assert store.stored("rack", RUN) == 1000
    store.write(batch)
    assert store.stored("rack", RUN) == 2000


def test_a_field_of_another_type_is_rejected_and_the_rest_is_stored_and_rolled_up(
    store: InfluxStore, namespace: str, admin: Connection
) -> None:
    admin.write(f"{namespace}.live", b"event,kind=run,priority=p3,run=other text=5.0 %d" % T0)
    with pytest.raises(StoreRejected, match=r"422.*text"):
        store.write([event(T0, text="x"), turbines(T0, ["turbine-1"], power_w=5.0)])
    assert store.stored("turbine", RUN) == 1
    assert store.roll_up(T0 + HOUR_MS) == 1
    (series,) = store.series("turbine", ["power_w"], run=RUN, from_ms=T0, to_ms=T0 + 1, bucket="5m")
    assert series.fields["power_w"].tolist() == [5.0]


def test_what_is_past_retention_is_dropped_in_silence_and_the_rest_is_written(
    influx: Influx, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    tokens = init(influx.url, influx.org, influx.admin_token, namespace)
    store = open_influx(influx.url, influx.org, tokens.writer, namespace)
    now_ms = time.time_ns() // 1_000_000
    store.write([site([now_ms - 48 * HOUR_MS, now_ms], pue=[1.0, 1.5])])
    assert store.stored("site", RUN) == 1
    assert f"bucket={namespace}.live past_retention_n=1" in caplog.text
    store.close()


@pytest.mark.parametrize("text", ["x" * 200_000, "a\r\nb\tc\0d", "", "\\", '"', "a\\"])
def test_any_text_comes_back(text: str, store: InfluxStore) -> None:
    store.write([event(T0, text=text, by="ann")])
    (found,) = store.events(run=RUN, from_ms=T0, to_ms=T0 + 1, limit=1)
    assert (found.text, found.by) == (text, "ann")


def test_a_tag_that_the_server_cannot_take_is_rejected(store: InfluxStore) -> None:
    for unit in ("a\nb", "a\\", "x" * 70_000):
        with pytest.raises(StoreRejected):
            store.write([turbines(T0, [unit], power_w=1.0)])
    assert store.stored("turbine", RUN) == 0


def test_where_takes_any_values_by_the_letter(store: InfluxStore) -> None:
    units = ["a/b", "c.d|e", "f\\g", "it's", "", "größe 面", "(x)", "^$", "a=b,c d", "\ttab"]
    store.write([turbines(T0, [*units, "cxd", "e"], power_w=1.0)])
    for some in (units, units[:2], units[2:3], units[4:6], ["a\nb", *units[:1]]):
        rows = store.latest("turbine", ["power_w"], run=RUN, until_ms=T0, window_ms=1, where={"unit": some})
        assert set(rows.tags["unit"]) == set(some) - {"a\nb"}


def test_an_absent_tag_is_an_empty_one(store: InfluxStore) -> None:
    store.write([turbines(T0, ["", "turbine-1"], power_w=[1.0, 2.0])])
    rows = store.latest("turbine", ["power_w"], run=RUN, until_ms=T0, window_ms=1)
    assert rows.tags["unit"] == ["", "turbine-1"]
    rows = store.latest("turbine", ["power_w"], run=RUN, until_ms=T0, window_ms=1, where={"unit": ""})
    assert rows.fields["power_w"].tolist() == [1.0]


def test_many_rows_of_few_fields_are_counted_exactly(store: InfluxStore) -> None:
    ts = T0 + 1000 * np.arange(30_000)
    even, odd = ts % 2000 == 0, ts % 2000 != 0
    store.write(
        [Points("site", RUN, ts[even], {}, {"pue": 1.0}, {}), Points("site", RUN, ts[odd], {}, {"gpu_n": 1.0}, {})]
    )
    store.write([Points("site", RUN, ts[:10], {}, {"gpu_n": 1.0}, {})])
    assert store.stored("site", RUN) == 30_000


# -- as the other store


def test_the_four_reads_answer_as_the_embedded_store_does(store: InfluxStore, tmp_path: Path) -> None:
    duck = open_store(tmp_path / "history")
    rng = np.random.default_rng(7)

    def some(n: int) -> Any:
        return np.where(rng.random(n) < 0.3, NAN, rng.uniform(-1e6, 1e6, n).round())  # exact as a FLOAT, too

    names = [f"turbine-{i}" for i in range(5)]
    fields = ["state_code", "running", "power_w", "load", "run_h"]
    for _ in range(60):
        ts = T0 + int(rng.integers(0, 3600)) * 1000
        run = (RUN, OTHER_RUN)[int(rng.integers(0, 2))]
        batch = [
            turbines(ts, names, run=run, **{field: some(5) for field in fields}),
            racks(ts, 20, run=run, power_w=some(20), residual_k=some(20)),
            event(ts, ("command", "alarm")[int(rng.integers(0, 2))], run=run, text=f"at {ts}"),
        ]
        for one in (store, duck):
            one.write(batch)
    for one in (store, duck):
        while one.roll_up(T0 + 2 * HOUR_MS):
            pass
    for run in (RUN, OTHER_RUN, "nobody"):
        same(store, duck, lambda s, run=run: [s.stored(name, run) for name in ("turbine", "rack", "event", "site")])
        for where in (None, {"unit": ["turbine-1", "turbine-3"]}, {"plant": "power-1", "unit": "turbine-2"}):
            for window_ms in (1000, 60_000, 3 * HOUR_MS):
                read = {"run": run, "until_ms": T0 + 1_800_000, "window_ms": window_ms, "where": where}
                same(store, duck, lambda s, read=read: s.latest("turbine", fields, **read))
                same(store, duck, lambda s, read=read: s.topk("turbine", "power_w", 3, **read))
            for every_ms in (None, 1000, 60_000, 777_777):
                for bucket in ("live", "5m"):
                    read = {"from_ms": T0, "to_ms": T0 + HOUR_MS, "every_ms": every_ms, "where": where, "run": run}
                    same(
                        store,
                        duck,
                        lambda s, read=read, bucket=bucket: s.series("turbine", fields, bucket=bucket, **read),
                    )
        same(
            store,
            duck,
            lambda s, run=run: s.series("rack", ["power_w", "residual_k"], run=run, from_ms=0, to_ms=10**15),
        )
        same(
            store, duck, lambda s, run=run: s.events(run=run, from_ms=T0, to_ms=T0 + HOUR_MS, limit=7, kinds=["alarm"])
        )
    duck.close()


def same(one: Store, other: Store, read: Callable[[Store], Any]) -> None:
    for left, right in zip(plain(read(one)), plain(read(other)), strict=True):
        np.testing.assert_equal(left[0], right[0])
        np.testing.assert_allclose(left[1], right[1], rtol=1e-6)


def plain(answer: Rows | Sequence[Any]) -> list[tuple[Any, Any]]:
    """Return an answer as pairs of what must be equal and what may be rounded."""
    if isinstance(answer, Rows):
        return [((answer.tags, answer.ts.tolist(), answer.texts), list(answer.fields.values()))]
    return [
        ((one.tags, one.ts.tolist(), one.texts), list(one.fields.values())) if isinstance(one, Series) else (one, 0.0)
        for one in answer
    ]


# -- several workers roll up at once


def pue_of(store: Store) -> list[float]:
    (series,) = store.series("site", ["pue"], run=RUN, from_ms=T0, to_ms=T0 + HOUR_MS, bucket="5m")
    values: list[float] = series.fields["pue"].tolist()
    return values


def test_a_window_made_by_one_worker_is_not_made_by_another(again: Callable[[], InfluxStore]) -> None:
    one, other = again(), again()
    one.write([site(T0, pue=1.0)])
    assert other.roll_up(T0 + HOUR_MS) == 1
    assert one.roll_up(T0 + HOUR_MS) == 0
    other.write([site(T0 + 1, pue=2.0)])
    assert one.roll_up(T0 + HOUR_MS) == 1
    assert pue_of(other) == [1.5]


def between(store: InfluxStore, monkeypatch: pytest.MonkeyPatch, bucket: str, what: Callable[[], object]) -> None:
    """Do something once, just before the store next writes to a bucket."""
    send = store._send
    once = [what]

    def sending(target: Any, out: Any) -> None:
        if target == bucket and once:
            once.pop()()
        send(target, out)

    monkeypatch.setattr(store, "_send", sending)


def test_points_that_come_while_a_window_is_made_are_not_forgotten(
    again: Callable[[], InfluxStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = again(), again()
    one.write([site(T0, pue=1.0)])
    between(one, monkeypatch, "5m", lambda: other.write([site(T0 + 1, pue=2.0)]))
    one.roll_up(T0 + HOUR_MS)
    assert pue_of(one) == [1.0]
    assert one.roll_up(T0 + HOUR_MS) == 1
    assert pue_of(one) == [1.5]
    assert one.roll_up(T0 + HOUR_MS) == 0


def test_a_slow_worker_that_writes_over_a_newer_window_has_it_made_again(
    again: Callable[[], InfluxStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, quick, third = again(), again(), again()
    slow.write([site(T0, pue=1.0)])

    send = quick._send
    said_late: list[tuple[Any, Any]] = []

    def hold_marks(target: Any, out: Any) -> None:
        said_late.append((target, out)) if target == "live" else send(target, out)

    def meanwhile() -> None:
        third.write([site(T0 + 1, pue=2.0)])
        assert quick.roll_up(T0 + HOUR_MS) == 1
        assert pue_of(quick) == [1.5]

    monkeypatch.setattr(quick, "_send", hold_marks)
    between(slow, monkeypatch, "5m", meanwhile)
    assert slow.roll_up(T0 + HOUR_MS) == 1
    assert pue_of(slow) == [1.0]
    for target, out in said_late:
        send(target, out)
    assert third.roll_up(T0 + HOUR_MS) == 1
    assert pue_of(third) == [1.5]


def test_a_write_whose_mark_was_not_written_is_unavailable(store: InfluxStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(windows: object) -> None:
        raise StoreUnavailable("away")

    monkeypatch.setattr(store, "_mark", away)
    with pytest.raises(StoreUnavailable):
        store.write([site(T0, pue=1.0)])
    monkeypatch.undo()
    assert store.roll_up(T0 + HOUR_MS) == 0
    store.write([site(T0, pue=1.0)])
    assert store.roll_up(T0 + HOUR_MS) == 1


def test_many_workers_write_and_roll_up_and_the_windows_are_right(again: Callable[[], InfluxStore]) -> None:
    failures: list[BaseException] = []
    now_ms = T0 + HOUR_MS

    def work(number: int) -> None:
        try:
            store = again()
            for i in range(30):
                store.write(
                    [
                        Points(
                            "pump",
                            RUN,
                            T0 + 10_000 * i,
                            {"plant": "p", "unit": f"u{number}"},
                            {"power_w": float(i)},
                            {},
                        )
                    ]
                )
                store.roll_up(now_ms)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    store = again()
    while store.roll_up(now_ms):
        pass
    found = store.series("pump", ["power_w"], run=RUN, from_ms=T0, to_ms=now_ms, bucket="5m")
    assert [series.tags["unit"] for series in found] == ["u0", "u1", "u2", "u3"]
    assert [series.fields["power_w"].tolist() for series in found] == [[14.5]] * 4


def test_one_call_makes_a_bounded_number_of_windows_the_oldest_first(store: InfluxStore) -> None:
    store.write([site([T0 + WINDOW_MS * i for i in range(30)], pue=1.0), turbines(T0, ["turbine-1"], power_w=1.0)])
    now_ms = T0 + 5 * HOUR_MS
    assert [store.roll_up(now_ms) for _ in range(4)] == [12, 12, 6, 0]


def test_a_window_that_is_partly_gone_is_not_made_again(store: InfluxStore) -> None:
    store.write([site([T0, T0 + 1000], pue=[1.0, 2.0])])
    store.roll_up(T0 + HOUR_MS)
    store.write([site(T0 + 1, pue=9.0)])
    assert store.roll_up(T0 + 24 * HOUR_MS + 1) == 0
    assert pue_of(store) == [1.5]


# -- retention


def test_prune_deletes_what_is_past_and_says_from_how_many_buckets(store: InfluxStore) -> None:
    hours = [T0 + h * HOUR_MS for h in range(31)]
    store.write([site(ts, pue=1.0) for ts in hours] + [event(T0, text="x")])
    while store.roll_up(T0 + 24 * HOUR_MS - 1):
        pass
    now_ms = T0 + 30 * HOUR_MS
    assert store.prune(now_ms) == 1
    (series,) = store.series("site", ["pue"], run=RUN, from_ms=T0, to_ms=now_ms + 1, bucket="live")
    assert series.ts.tolist() == hours[6:]
    assert store.stored("event", RUN) == 0
    assert store.prune(now_ms) == 0
    (series,) = store.series("site", ["pue"], run=RUN, from_ms=T0, to_ms=now_ms + 1, bucket="5m")
    assert series.ts.tolist()[0] == T0
    assert store.prune(T0 + 3 * 365 * 24 * HOUR_MS) == 2
    assert store.series("site", ["pue"], run=RUN, from_ms=T0, to_ms=now_ms + 1, bucket="5m") == []
