"""The clock of a recording."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.recording.files import T0_MS
from twin.recording.item import NS_PER_MS
from twin.recording.times import Times


@pytest.mark.parametrize(
    ("timestamp_ms", "at_ms"),
    [
        (T0_MS - 3600_000, T0_MS - 3600_000),  # late is what it says, since the recording began
        (T0_MS - 4200_000, T0_MS - 4200_000),
        (T0_MS - 4200_001, T0_MS),
        (T0_MS, T0_MS),
        (T0_MS + 60_000, T0_MS + 60_000),  # clocks of machines differ
        (T0_MS + 60_001, T0_MS),
        (2**62, T0_MS),
        (0, T0_MS),
        (-1, T0_MS),
    ],
)
def test_the_bus_says_when_unless_it_cannot_be(timestamp_ms: int, at_ms: int) -> None:
    assert Times(T0_MS - 3600_000).time_ns("orders", 0, timestamp_ms, T0_MS) == at_ms * NS_PER_MS


def test_it_never_goes_back_within_a_partition_and_others_do_not_matter() -> None:
    times = Times(T0_MS)
    assert times.time_ns("orders", 0, T0_MS + 500, T0_MS) == (T0_MS + 500) * NS_PER_MS
    assert times.time_ns("orders", 0, T0_MS + 100, T0_MS) == (T0_MS + 500) * NS_PER_MS
    assert times.time_ns("orders", 0, -1, T0_MS) == (T0_MS + 500) * NS_PER_MS
    assert times.time_ns("orders", 1, T0_MS + 100, T0_MS) == (T0_MS + 100) * NS_PER_MS
    assert times.time_ns("other", 0, T0_MS + 200, T0_MS) == (T0_MS + 200) * NS_PER_MS
    assert times.time_ns("orders", 0, T0_MS + 501, T0_MS) == (T0_MS + 501) * NS_PER_MS


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(-10, 1_000_000), st.integers(0, 1000)), max_size=60))
def test_whatever_comes_it_is_monotone_and_never_far_ahead(came: list[tuple[int, int, int]]) -> None:
    times, last, now_ms = Times(700_000), dict.fromkeys(range(3), 100_000 * NS_PER_MS), 700_000
    for partition, timestamp_ms, passed_ms in came:
        now_ms += passed_ms
        at_ns = times.time_ns("orders", partition, timestamp_ms, now_ms)
        assert last[partition] <= at_ns <= (now_ms + 60_000) * NS_PER_MS
        last[partition] = at_ns
