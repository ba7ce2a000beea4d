"""Ten thousand broken messages of every kind, mixed into a live run."""

import json
from collections import Counter
from collections.abc import Callable

import numpy as np
import orjson

from tests.whole.house import House
from twin.events.head import split

N = 10_000
Breaker = Callable[[dict], object]


def _swap(path: str, value: object) -> Breaker:
    def breaker(whole: dict) -> object:
        *way, last = path.split(".")
        node = whole
        for step in way:
            node = node[step]
        node[last] = value
        return whole

    return breaker


# Reason in dead.letter -> what is done to a good message.
BROKEN: dict[str, Breaker] = {
    "not-json": lambda whole: orjson.dumps(whole)[:-7],
    "empty": lambda _: b"",
    "no-head": lambda whole: whole["data"],
    "unknown-schema": _swap("head.schema", "telemetry.other/1"),
    "other-major": _swap("head.schema", "telemetry.gpu/2"),
    "unknown-key": _swap("head.key", "A999"),
    "bad-head": _swap("head.tick", -5),
    "wrong-length": _swap("data.gpu.power_w", [1, 2, 3]),
    "out-of-range": _swap("data.gpu.power_w", [1e300] * 512),
    "bad-type": _swap("data.gpu.power_w", ["hot"] * 512),
    "missing-column": _swap("data.gpu.power_w", None),
    "missing-group": _swap("data.gpu", None),
    "bad-index": _swap("data.gpu.xid", {"9999": 79}),
}


def not_a_number(raw: bytes) -> bytes:
    return raw.replace(b'"power_w":[', b'"power_w":[NaN,', 1)


async def test_each_is_kept_aside_with_its_reason_and_the_run_goes_on(house: House) -> None:
    for kind in ("rows", "site", "history"):
        await house.hire(kind)
    loop = house.begin(lock_step=True)
    await house.run(3)
    good = {record.key: record for record in house.of("telemetry.gpu")}
    rng = np.random.default_rng(6)
    kinds = [*BROKEN, "nan", "wrong-partition"]
    expected: Counter[str] = Counter()
    published: dict[tuple[int, int], str] = {}
    ends = dict.fromkeys(range(24), 0)
    for record in house.of("telemetry.gpu"):
        ends[record.partition] = record.offset + 1
    sent = 0
    while sent < N:
        for _ in range(min(500, N - sent)):
            record = good[list(good)[int(rng.integers(len(good)))]]
            kind = kinds[sent % len(kinds)]
            partition = record.partition
            if kind == "nan":
                raw, reason = not_a_number(record.value or b""), "not-json"
            elif kind == "wrong-partition":
                raw, reason, partition = record.value or b"", kind, (record.partition + 1) % 24
            else:
                made = BROKEN[kind](orjson.loads(record.value or b""))
                raw, reason = (made if isinstance(made, bytes) else orjson.dumps(made)), kind
            house.bus.publish("telemetry.gpu", raw, key=record.key, partition=partition)
            published[partition, ends[partition]] = reason
            ends[partition] += 1
            expected[reason] += 1
            sent += 1
        await house.run(1)
        for record in house.of("telemetry.gpu"):
            ends[record.partition] = max(ends[record.partition], record.offset + 1)
    await house.run(3)

    letters = [json.loads(split(record.value)[1]) for record in house.of("dead.letter")]
    assert len(letters) == N
    assert Counter(letter["reason"].partition(":")[0] for letter in letters) == expected
    assert {(x["partition"], x["offset"]): x["reason"].partition(":")[0] for x in letters} == published
    assert {letter["topic"] for letter in letters} == {"telemetry.gpu"}
    good_ticks = loop.owner.tick + 1
    good_sums = house.sent_hall_power_w(leave_out=set(published))
    assert len(good_sums) == good_ticks
    assert house.twin_hall_power_w() == good_sums
    assert house.store.stored("rack", loop.owner.run) == good_ticks * 64


async def test_a_foreign_run_goes_to_history_alone(house: House) -> None:
    for kind in ("rows", "site", "history"):
        await house.hire(kind)
    house.begin(lock_step=True)
    await house.run(3)
    own = house.twin_hall_power_w()
    foreign = "20200101T000000Z-beef"
    for record in house.of("telemetry.gpu")[:8]:
        whole = orjson.loads(record.value or b"")
        whole["head"]["run"] = foreign
        whole["data"]["server"]["power_w"] = [99_000] * 64
        house.bus.publish("telemetry.gpu", orjson.dumps(whole), key=record.key, partition=record.partition)
    await house.run(2)
    assert house.store.stored("rack", foreign) == 64
    now = house.twin_hall_power_w()
    assert {key: now[key] for key in own} == own
    assert max(max(halls) for halls in now.values()) < 2e6
    assert all(run != foreign for run, _, _ in now)
