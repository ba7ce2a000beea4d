"""Instants of a recording, as people write them."""

import pytest

from tests.recording.files import T0_MS
from twin.errors import RecordingError
from twin.recording.instants import instant_ns, utc

NS = 10**9
START_NS = T0_MS * 10**6  # 2026-11-24T07:20:00Z
END_NS = START_NS + 3600 * NS


def seconds(text: str, start_ns: int = START_NS, end_ns: int = END_NS) -> float:
    return (instant_ns(text, start_ns, end_ns) - start_ns) / NS


@pytest.mark.parametrize(
    ("text", "expected_s"),
    [
        ("+0", 0),
        ("+90", 90),
        ("+90s", 90),
        ("+1m30s", 90),
        ("+1m30", 90),
        ("+5m", 300),
        ("+1h", 3600),
        ("+0h59m59.5s", 3599.5),
        ("+0.25", 0.25),
        ("-30s", 3570),
        ("-0", 3600),
        ("-1h", 0),
        ("07:20:00", 0),
        ("07:30:01.5", 601.5),
        ("2026-11-24T07:21:00", 60),
        ("2026-11-24T07:21:00Z", 60),
        ("2026-11-24T07:21:00.123Z", 60.123),
        ("2026-11-24T08:21:00+01:00", 60),
        ("2026-11-24 07:21:00", 60),
    ],
)
def test_an_instant_is_read(text: str, expected_s: float) -> None:
    assert seconds(text) == pytest.approx(expected_s, abs=1e-9)


@pytest.mark.parametrize(
    "text", ["", "+", "-", "+s", "+m", "+1x", "90", "now", "1:2:3", "25:00:00", "2026-13-01T00:00:00Z", "+-5", "+1s1m"]
)
def test_what_is_no_instant_is_said_with_what_is_allowed(text: str) -> None:
    with pytest.raises(RecordingError, match=r"\+90s .* -30s .* 12:34:56"):
        seconds(text)


@pytest.mark.parametrize("text", ["+3601", "-3601s", "07:19:59", "08:20:01", "2026-11-25T07:21:00Z", "2020-01-01"])
def test_what_lies_outside_is_said_with_the_span(text: str) -> None:
    with pytest.raises(RecordingError, match=r"from 2026-11-24T07:20:00\.000Z to 2026-11-24T08:20:00\.000Z \(3600 s\)"):
        seconds(text)


def test_a_time_of_day_is_looked_for_on_every_day_of_the_recording() -> None:
    evening_ns = START_NS + 16 * 3600 * NS  # 23:20 to 00:20
    assert seconds("23:30:00", evening_ns, evening_ns + 3600 * NS) == 600
    assert seconds("00:10:00", evening_ns, evening_ns + 3600 * NS) == 3000
    week_ns = 7 * 86_400 * NS
    assert seconds("07:00:00", START_NS, START_NS + week_ns) == 86_400 - 1200
    assert seconds("08:00:00", START_NS, START_NS + week_ns) == 2400


def test_no_digit_is_lost() -> None:
    assert instant_ns("+0.000000001", START_NS, END_NS) == START_NS + 1
    assert instant_ns("2026-11-24T07:20:00.123456Z", START_NS, END_NS) == START_NS + 123_456_000


def test_an_instant_is_written_as_it_is_read() -> None:
    assert utc(START_NS) == "2026-11-24T07:20:00.000Z"
    for ns in (START_NS, START_NS + 7_000_000, END_NS - 1_000_000):
        assert instant_ns(utc(ns), START_NS, END_NS) == ns
