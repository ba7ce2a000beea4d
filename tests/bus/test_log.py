from hypothesis import given
from hypothesis import strategies as st

from twin.bus.base import Record
from twin.bus.log import Log, Retention, record_bytes

FOREVER_S = 1e12


def fill(log: Log, messages: list[tuple[bytes | None, bytes | None]], now_s: float = 0.0) -> list[Record]:
    records = []
    for key, value in messages:
        records.append(Record("t", 0, log.end, 0, key, value))
        log.append(records[-1], now_s)
    return records


def test_bytes_are_bounded_and_offsets_survive_trimming() -> None:
    log = Log(Retention(1000, FOREVER_S))
    records = fill(log, [(b"k", bytes(99))] * 500)
    assert (log.start, log.end) == (490, 500)
    assert log.read(0, 1000) == records[490:]
    assert log.read(495, 3) == records[495:498]
    assert log.read(500, 10) == []


def test_what_is_dropped_is_let_go_of() -> None:
    log = Log(Retention(1000, FOREVER_S))
    fill(log, [(b"k", bytes(99))] * 5000)
    assert sum(record is not None for record in log._tail) == 10
    assert len(log._tail) <= 130


def test_the_newest_message_stays_even_above_the_limit() -> None:
    log = Log(Retention(10, FOREVER_S))
    records = fill(log, [(b"k", bytes(100))] * 3)
    assert log.read(0, 10) == records[2:]


def test_age_counts_from_when_a_message_came() -> None:
    log = Log(Retention(1 << 20, 60.0))
    fill(log, [(b"k", b"old")], now_s=100.0)
    fill(log, [(b"k", b"young")], now_s=160.0)
    assert log.start == 0  # exactly the age
    fill(log, [(b"k", b"now")], now_s=160.1)
    assert log.start == 1


def test_a_compacted_log_keeps_the_last_of_each_key_in_the_order_of_offsets() -> None:
    log = Log(Retention(1000, FOREVER_S, compacted=True))
    fill(log, [(b"b", b"b1"), (b"a", b"a1"), (b"b", b"b2"), (b"c", b"c1"), (b"c", None)])
    fill(log, [(b"busy", bytes(96))] * 100)
    assert [record.value for record in log.read(0, 2)] == [b"a1", b"b2"]
    assert [record.offset for record in log.read(0, 1000)] == [1, 2, *range(95, 105)]
    assert [record.offset for record in log.read(2, 3)] == [2, 95, 96]
    assert log.start == 1
    fill(log, [(b"a", b"a2")])
    assert log.start == 2


def test_a_tombstone_ends_its_key_once_retention_has_passed_it() -> None:
    log = Log(Retention(1000, FOREVER_S, compacted=True))
    fill(log, [(b"a", b"a1"), (b"a", None)])
    assert [record.value for record in log.read(0, 10)] == [b"a1", None]
    fill(log, [(b"busy", bytes(96))] * 100)
    assert {record.key for record in log.read(0, 1000)} == {b"busy"}
    assert log._last.keys() == {b"busy"}


def test_size_counts_key_value_and_headers() -> None:
    assert record_bytes(Record("t", 0, 0, 0, None, None)) == 0
    assert record_bytes(Record("t", 0, 0, 0, b"kk", b"vvv", (("name", b"12345"),))) == 14


@given(
    messages=st.lists(
        st.tuples(st.sampled_from([b"a", b"b", b"c", b"d"]), st.one_of(st.none(), st.binary(max_size=30)))
    ),
    max_bytes=st.integers(0, 200),
    compacted=st.booleans(),
    start=st.integers(0, 60),
    limit=st.integers(1, 8),
)
def test_a_log_is_what_it_says(
    messages: list[tuple[bytes, bytes | None]], max_bytes: int, compacted: bool, start: int, limit: int
) -> None:
    log = Log(Retention(max_bytes, FOREVER_S, compacted))
    records = fill(log, messages)
    left = log.read(0, 1000)
    assert [record.offset for record in left] == sorted({record.offset for record in left})
    assert all(records[record.offset] is record for record in left)
    assert left[-1:] == records[-1:]
    # reading in small steps gives the same
    found, at = [], start
    while step := log.read(at, limit):
        assert len(step) <= limit
        found += step
        at = step[-1].offset + 1
    assert found == [record for record in left if record.offset >= start]
    if left:
        assert log.start == left[0].offset
    if compacted:
        state = {record.key: record.value for record in records}
        assert {record.key: record.value for record in left if state[record.key] is not None} == {
            key: value for key, value in state.items() if value is not None
        }
    else:
        assert [record.offset for record in left] == list(range(log.end - len(left), log.end))
        assert len(left) <= 1 or sum(record_bytes(record) for record in left) <= max_bytes
