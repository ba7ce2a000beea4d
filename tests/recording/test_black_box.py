"""The ring of the last minute."""

import random
from collections import defaultdict

import pytest

from tests.recording.files import T0_MS, item
from twin.recording.black_box import BlackBox
from twin.recording.item import NS_PER_MS, Item

PARTITIONS = 4
FRAME_BYTES = 1000


def frame(n: int, ms: float, value: bytes | None = None) -> Item:
    """Return the ``n``-th frame."""
    content = random.Random(n).randbytes(FRAME_BYTES) if value is None else value  # noqa: S311
    one = item("telemetry.gpu", ms, partition=n % PARTITIONS, offset=n // PARTITIONS, value=content)
    return one._replace(received_ms=T0_MS + int(ms))


def ns(seconds: float) -> int:
    return T0_MS * NS_PER_MS + round(seconds * 1e9)


def offsets(items: list[Item]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = defaultdict(list)
    for one in items:
        found[one.partition].append(one.offset)
    return found


def test_what_is_taken_is_what_was_put_in() -> None:
    box = BlackBox()
    put = [frame(n, 100 * n) for n in range(50)]
    put.append(put[-1]._replace(offset=99, value=None, key=None))
    put.append(put[-1]._replace(offset=100, value=b"", headers=(("h", b"\x00"), ("h", b"\xff"))))
    for one in put:
        box.add(one)
    box.cut()
    box.want(ns(0), ns(10))
    assert list(box.take()) == put


def test_nothing_comes_unasked_and_nothing_twice() -> None:
    box = BlackBox()
    for n in range(100):
        box.add(frame(n, 100 * n))
    box.cut()
    assert list(box.take()) == []
    box.want(ns(2), ns(4))
    first = list(box.take())
    assert [one.time_ns for one in first] == [ns(n / 10) for n in range(20, 41)]
    box.want(ns(3), ns(5))
    second = list(box.take())
    assert [one.time_ns for one in second] == [ns(n / 10) for n in range(41, 51)]
    box.want(ns(1), ns(9))
    third = list(box.take())
    assert [one.time_ns for one in third] == [ns(n / 10) for n in (*range(10, 20), *range(51, 91))]
    box.want(ns(1), ns(9))
    assert list(box.take()) == []


def test_a_window_that_lies_ahead_takes_what_comes_in_order() -> None:
    box = BlackBox()
    taken: list[Item] = []
    for n in range(1000):
        if n == 300:
            box.want(ns(10), ns(50))
        box.add(frame(n, 100 * n))
        taken += box.take(1)
    box.cut()
    taken += box.take()
    assert sorted(one.time_ns for one in taken) == [ns(n / 10) for n in range(100, 501)]
    assert all(numbers == sorted(numbers) for numbers in offsets(taken).values())


def test_a_turn_takes_so_many_blocks_at_most() -> None:
    box = BlackBox()
    for n in range(200):
        box.add(frame(n, 100 * n))  # ten to a block, which is of a second
    box.cut()
    box.want(ns(0), ns(20))
    sizes = []
    while part := list(box.take(2)):
        sizes.append(len(part))
    assert sizes == [20] * 10


def test_a_block_ends_at_a_mebibyte_too() -> None:
    box = BlackBox()
    for n in range(30):
        box.add(frame(n, n, value=bytes(100_000)))
    box.want(ns(0), ns(1))
    assert len(list(box.take(1))) == 11
    assert box.bytes_n < 1 << 20  # packed


def test_a_minute_is_held_and_a_little_more_for_an_alarm_that_comes_late() -> None:
    box = BlackBox()
    for n in range(2000):
        box.add(frame(n, 100 * n))
    box.cut()
    box.want(0, ns(1000))
    held = list(box.take())
    assert ns(133) <= held[0].time_ns <= ns(135)
    assert held[-1].time_ns == ns(199.9)
    assert box.dropped_n == 0


def test_what_is_wanted_stays_until_it_is_taken() -> None:
    box = BlackBox()
    box.want(ns(10), ns(20))
    for n in range(2000):
        box.add(frame(n, 100 * n))
    assert [one.time_ns for one in box.take()] == [ns(n / 10) for n in range(100, 201)]
    box.add(frame(2000, 300_000))
    box.cut()
    assert len(box._blocks) == 1


def test_a_timestamp_that_lies_ahead_makes_nothing_forgotten() -> None:
    box = BlackBox()
    for n in range(300):
        box.add(frame(n, 100 * n))
    ahead = frame(300, 30_000)
    box.add(ahead._replace(time_ns=ns(30 + 59)))
    box.cut()
    box.want(0, ns(1000))
    assert len(list(box.take())) == 301


@pytest.mark.parametrize("wanted", [False, True])
def test_its_memory_is_bounded_and_the_oldest_go_first(wanted: bool) -> None:
    box = BlackBox(max_bytes=200_000)
    if wanted:
        box.want(ns(0), ns(60))
    for n in range(600):
        box.add(frame(n, 100 * n))
        assert box.bytes_n <= 200_000
    box.cut()
    box.want(0, ns(60))
    held = list(box.take())
    assert len(held) + box.dropped_n == 600
    assert [one.time_ns for one in held] == [ns(n / 10) for n in range(box.dropped_n, 600)]
    assert 100 < len(held) < 200


def test_what_was_taken_is_not_counted_as_dropped() -> None:
    box = BlackBox(max_bytes=200_000)
    box.want(ns(0), ns(60))
    taken = []
    for n in range(600):
        box.add(frame(n, 100 * n))
        taken += box.take()
    box.cut()
    taken += box.take()
    assert len(taken) == 600
    assert box.dropped_n == 0


def test_many_alarms_cost_no_more_than_one() -> None:
    box = BlackBox()
    unpacked = 0
    for n in range(1200):
        box.add(frame(n, 50 * n))
        box.want(ns(n / 20 - 60), ns(n / 20 + 60))
        before = len(box._blocks)
        unpacked += sum(map(box._owes, box._blocks))
        list(box.take())
        assert sum(map(box._owes, box._blocks)) == 0
        assert before == len(box._blocks)
    assert unpacked <= len(box._blocks) + 2
    assert len(box._windows) == 1


def test_windows_and_blocks_do_not_pile_up() -> None:
    box = BlackBox()
    for n in range(20_000):
        if n % 1500 == 0:
            box.want(ns(n / 10), ns(n / 10 + 1))
        box.add(frame(n, 100 * n, value=b"small"))
        list(box.take())
    assert len(box._windows) <= 2
    assert len(box._blocks) <= 70
