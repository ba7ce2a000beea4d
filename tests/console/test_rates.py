from hypothesis import given
from hypothesis import strategies as st

from tests.console.worlds import Clock
from twin.console.rates import RATES, Rates


def test_the_burst_is_free_then_it_must_wait():
    clock = Clock()
    rates = Rates(now_ms=clock)
    assert [rates.take("commands", "me") for _ in range(10)] == [0.0] * 10
    assert rates.take("commands", "me") == 0.2
    assert rates.take("commands", "you") == 0.0
    assert rates.take("history", "me") == 0.0
    clock.move(0.2)
    assert rates.take("commands", "me") == 0.0


def test_a_clock_that_goes_back_gives_nothing_and_breaks_nothing():
    clock = Clock()
    rates = Rates(now_ms=clock)
    for _ in range(5):
        rates.take("injects", "me")
    clock.move(-3600)
    assert rates.take("injects", "me") > 0
    clock.move(0.2)
    assert rates.take("injects", "me") == 0


@given(st.lists(st.floats(0, 3), min_size=1, max_size=200))
def test_never_more_than_burst_and_rate(waits_s):
    clock = Clock()
    rates = Rates(now_ms=clock)
    taken, start_ms = 0, clock.ms
    for wait_s in waits_s:
        clock.move(wait_s)
        taken += rates.take("marks", "me") == 0.0
    elapsed_s = (clock.ms - start_ms) / 1000
    assert taken <= RATES["marks"].burst + RATES["marks"].per_s * elapsed_s + 1e-6


def test_many_addresses_do_not_fill_the_memory():
    rates = Rates(now_ms=Clock())
    for address in range(10_000):
        rates.take("enter", str(address))
    assert len(rates._buckets) <= 4096
