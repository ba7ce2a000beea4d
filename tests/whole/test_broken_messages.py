"""Ten thousand broken messages of every kind, mixed into a live run, and some on every topic that somebody reads."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import orjson
import pytest

from tests.agents.messages import message, one_of_each
from tests.whole.house import House
from twin.bus.base import Record
from twin.errors import MessageInvalid
from twin.events.control import Command, RunRequest
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


# What can be wrong with any message, and in what word its letter says so.
NESTED = b"[" * 300 + b"]" * 300
OF_ANY: tuple[tuple[str | tuple[str, ...], Breaker], ...] = (
    ("not-json", BROKEN["not-json"]),
    ("empty", BROKEN["empty"]),
    ("no-head", BROKEN["no-head"]),
    ("bad-head", BROKEN["bad-head"]),
    ("unknown-schema", _swap("head.schema", "telemetry.other/1")),
    ("other-major", lambda whole: _swap("head.schema", whole["head"]["schema"].replace("/1", "/2"))(whole)),
    ("bad-data", _swap("data", [])),
    (
        ("not-json", "bad-data"),
        lambda whole: b'{"head":' + orjson.dumps(whole["head"]) + b',"data":' + NESTED + b"}",
    ),
)
TOPICS = (*one_of_each(), "commands", "run.requests")
NO_LETTERS = ("dead.letter",)  # a letter about a letter could go on for ever


def good_messages(house: House) -> dict[str, Record]:
    """Return a good message of each topic: of this run where it has said one."""
    head = {"run": house.loop.owner.run} if house.loop else {}
    command = Command(
        id="c", run=head["run"], unit="chiller-3", verb="chiller.stop", by="test", expires_ms=house.clock.ms + 30_000
    )
    request = RunRequest(id="r", verb="pause", by="test", params={})
    made = {topic: records[0] for topic, records in one_of_each().items()} | {
        "commands": message("commands", "chiller-3", command, **head),
        "run.requests": message("run.requests", "r", request, **head),
    }
    return {topic: (house.of(topic) or [record])[-1] for topic, record in made.items()}


async def watched_run(house: House, *, broken: bool) -> dict[tuple[str, int], str | tuple[str, ...]]:
    """Run eight ticks, with broken messages of every topic from the third on; return where they are, and why."""
    for kind in ("rows", "site", "history"):
        await house.hire(kind)
    house.begin(lock_step=True)
    await house.run(3)
    placed: list[tuple[str, int, bytes, str | tuple[str, ...]]] = []
    for topic, record in good_messages(house).items() if broken else ():
        for reason, breaker in OF_ANY:
            made = breaker(orjson.loads(record.value or b""))
            raw = made if isinstance(made, bytes) else orjson.dumps(made)
            house.bus.publish(topic, raw, key=record.key, partition=record.partition)
            placed.append((topic, record.partition, raw, reason))
    house.loop.turn()  # the plant reads its own orders between two ticks
    await house.run(5)
    offsets = {(record.topic, record.partition, record.value): record.offset for record in house.records}
    return {(f"{topic}/{part}", offsets[topic, part, raw]): reason for topic, part, raw, reason in placed}


async def test_broken_messages_of_any_topic_have_one_letter_each_and_change_nothing(
    house: House, tmp_path_factory: pytest.TempPathFactory
) -> None:
    expected = await watched_run(house, broken=True)
    letters = [json.loads(split(record.value)[1]) for record in house.of("dead.letter") if _is_letter(record)]
    found = Counter((f"{letter['topic']}/{letter['partition']}", letter["offset"]) for letter in letters)
    assert found == Counter(place for place in expected if not place[0].startswith(NO_LETTERS))
    for letter in letters:
        assert letter["reason"].startswith(expected[f"{letter['topic']}/{letter['partition']}", letter["offset"]])

    clean = House(Path(tmp_path_factory.mktemp("clean")))
    try:
        assert not await watched_run(clean, broken=False)
        assert not clean.of("dead.letter")
        assert house.loop.owner.tick == clean.loop.owner.tick == 7
        assert pictures_of(house) == pictures_of(clean)
        for measurement in ("rack", "site", "hall", "chiller", "turbine", "job"):
            stored = [one.store.stored(measurement, one.loop.owner.run) for one in (house, clean)]
            assert stored[0] == stored[1], measurement
    finally:
        await clean.close()


def _is_letter(record: Record) -> bool:
    """Tell the letters of the twin, whose key names who wrote them, from what is put on their topic here."""
    return b"/" in (record.key or b"")


def pictures_of(house: House) -> dict[int, bytes]:
    """tick -> what ``twin.site`` said of it last, as it came."""
    pictures = {}
    for record in house.of("twin.site"):
        try:
            head, data = split(record.value)
        except MessageInvalid:
            continue
        if head.schema_id == "twin.site/1" and head.run == house.loop.owner.run and not data.startswith(b"["):
            pictures[head.tick] = data
    return pictures
