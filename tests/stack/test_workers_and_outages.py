"""The whole site on the real servers, through crashes, joins, outages, a jump and a new run."""

import threading

import pytest

from tests.stack.theatre import Theatre


@pytest.fixture
def theatre(theatre_of) -> Theatre:  # type: ignore[no-untyped-def]
    return theatre_of("colossus1")


def test_nothing_is_lost_or_counted_twice(theatre: Theatre, outage_s: int) -> None:
    theatre.begin(*(("rows", f"rows-{n}") for n in (1, 2, 3)), ("site", "site-1"))
    theatre.begin(("history", "history-1"), ("history", "history-2"))
    theatre.start("producers", "producers-1")
    theatre.until(lambda: bool(theatre.controls), 10.0, "a run")
    first = theatre.control.run
    theatre.run_ticks(10)

    theatre.fleet.end("rows-2", kill=True)
    theatre.run_ticks(15)
    theatre.start("rows", "rows-4")
    theatre.run_ticks(10)

    theatre.influx.stop()
    theatre.run_ticks(max(outage_s // 2, 5), seconds=outage_s + 60)
    assert theatre.fleet.end("history-1") == 0
    theatre.run_ticks(max(outage_s // 2, 5), seconds=outage_s + 60)
    theatre.influx.start()
    theatre.start("history", "history-3")

    theatre.kafka.stop()
    threading.Event().wait(outage_s)  # the plant waits once what it cannot send fills half of its room
    theatre.kafka.start()
    theatre.run_ticks(outage_s + 10, seconds=10.0 * outage_s)
    answer = theatre.ask("seek", tick=theatre.control.settled_tick - 5)
    assert (answer.error, answer.run) == (None, first)
    theatre.run_ticks(10)
    jumped = theatre.control.epoch
    assert jumped >= 1

    assert theatre.fleet.end("producers-1") == 0
    theatre.start("producers", "producers-2", "--seed", "8")
    theatre.until(lambda: theatre.control.run != first, 10.0, "a new run")
    second = theatre.control.run
    theatre.run_ticks(10)
    assert theatre.fleet.end("producers-2") == 0
    theatre.wait_settled(120.0)

    sent_power_w, sent_rows = theatre.sent()
    assert {(run, epoch) for run, epoch, _ in sent_power_w} == {
        *((first, epoch) for epoch in range(jumped + 1)),
        (second, 0),
    }
    pictures = theatre.pictures("power_w", "stale_n")
    assert {tick: power_w for tick, (power_w, _) in pictures.items()} == sent_power_w
    assert {tuple(stale_n) for _, stale_n in pictures.values()} == {(0,) * theatre.site.layout.hall_count}
    assert {run: theatre.store.stored("rack", run) for run in sent_rows} == sent_rows
    assert [record.value for record in theatre.records("dead.letter")] == []
