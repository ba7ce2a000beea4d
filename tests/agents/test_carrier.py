"""The carrier: dead letters say what, where and why; nothing is acknowledged before it is out."""

import asyncio
import base64
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from tests.agents.messages import LAYOUT, RUN, control
from tests.whole.house import HandClock
from twin.agents.carrier import NO_RUN, Carrier, first_seq
from twin.agents.context import Context
from twin.bus.base import Record
from twin.bus.memory import MemoryBus
from twin.errors import MessageTooLarge
from twin.events.alarm import MAX_RAW_BYTES, DeadLetter
from twin.events.control import RunControl
from twin.events.head import Head, split
from twin.events.topics import MAX_MESSAGE_BYTES
from twin.state.outputs import Dead, Done, Send


class Event:
    """A message of a stream that remembers whether it was acknowledged."""

    def __init__(self, offset: int = 0, *, partition: int = 3, generation: int = 1) -> None:
        self.acked = 0
        self.message = SimpleNamespace(tp=TP("telemetry.gpu", partition), offset=offset, generation_id=generation)

    def ack(self) -> None:
        self.acked += 1


class App:
    """As much of a Faust app as a carrier touches: channels, and futures that it is told to wait for."""

    def __init__(self) -> None:
        self.crashed = False
        self.sent: list[tuple[str, bytes, bytes, int | None]] = []
        self.answer: Any = None
        self.futures: list[Any] = []

    def topic(self, name: str, **_: Any) -> Any:
        outer = self

        class Channel:
            async def send(self, *, key: bytes, value: bytes, partition: int | None) -> Any:
                outer.sent.append((name, key, value, partition))
                return outer.answer

        return Channel()

    def add_future(self, waiting: Any) -> None:
        self.futures.append(asyncio.ensure_future(waiting))


@pytest.fixture
def app() -> App:
    return App()


def carrier_of(app: App, namespace: str = "") -> tuple[Carrier, Context]:
    context = Context("rows-1", namespace, "memory://none", MemoryBus.__new__(MemoryBus), LAYOUT, HandClock())
    return Carrier(app, context), context  # type: ignore[arg-type]


def dead(raw: bytes | None, event: Event, reason: str = "not-json: no") -> Dead:
    return Dead(Record("telemetry.gpu", 3, 41, 0, b"A001", raw), reason, (event,))


def letter_of(app: App) -> tuple[Head, DeadLetter]:
    head, data = split(app.sent[-1][2])
    return head, DeadLetter.model_validate_json(data)


@pytest.mark.parametrize(
    ("size", "cut"), [(0, False), (5, False), (MAX_RAW_BYTES, False), (MAX_RAW_BYTES + 1, True), (1_000_000, True)]
)
async def test_long_bytes_are_cut_and_the_letter_says_so(app: App, size: int, cut: bool) -> None:
    raw, event = bytes(i % 251 for i in range(size)), Event()
    await carrier_of(app)[0].carry([dead(raw, event)])
    _, letter = letter_of(app)
    assert letter.cut == cut
    assert base64.b64decode(letter.raw) == raw[:MAX_RAW_BYTES]
    assert (letter.topic, letter.partition, letter.offset) == ("telemetry.gpu", 3, 41)
    assert event.acked == 1


async def test_a_tombstone_is_an_empty_letter(app: App) -> None:
    await carrier_of(app)[0].carry([dead(None, Event())])
    _, letter = letter_of(app)
    assert (letter.raw, letter.cut) == ("", False)


async def test_a_long_reason_is_cut_and_the_letter_fits(app: App) -> None:
    await carrier_of(app)[0].carry([dead(b"\xff" * 1_000_000, Event(), "x" * 5000)])
    _, letter = letter_of(app)
    assert letter.reason == "x" * 1000
    assert len(app.sent[-1][2]) < MAX_MESSAGE_BYTES


async def test_letters_are_numbered_and_of_the_run_that_holds(app: App) -> None:
    carrier, context = carrier_of(app)
    await carrier.carry([dead(b"a", Event())])
    said = RunControl.model_validate_json(split(control(epoch=2, settled_tick=7).value)[1])
    context.view.accept(said, now_ms=said.sent_ms)
    await carrier.carry([dead(b"b", Event())])
    heads = [split(value)[0] for _, _, value, _ in app.sent]
    assert [(head.run, head.epoch, head.tick, head.seq) for head in heads] == [
        (NO_RUN, 0, 0, first_seq(context.clock.now_ms())),
        (RUN, 2, 7, first_seq(context.clock.now_ms()) + 1),
    ]
    assert {head.ts for head in heads} == {context.clock.now_ms()}


@pytest.mark.parametrize("namespace", ["", "ci", "telemetry"])
async def test_a_letter_names_the_topic_without_the_namespace(app: App, namespace: str) -> None:
    await carrier_of(app, namespace)[0].carry([dead(b"a", Event())])
    topic, key, _, _ = app.sent[0]
    assert topic == (f"{namespace}.dead.letter" if namespace else "dead.letter")
    assert key == b"rows-1/telemetry.gpu"
    assert letter_of(app)[1].topic == "telemetry.gpu"


async def test_what_is_sent_has_its_head_key_and_partition(app: App) -> None:
    head, data = split(control().value)
    event = Event()
    await carrier_of(app)[0].carry([Send("twin.rack", head, data, 5, (event,))])
    ((topic, key, value, partition),) = app.sent
    assert (topic, key, partition) == ("twin.rack", b"run.control", 5)
    assert split(value) == (head, data)
    assert event.acked == 1


async def test_nothing_is_acknowledged_before_it_is_out(app: App) -> None:
    app.answer = asyncio.get_running_loop().create_future()
    events = [Event(), Event(), Event()]
    head, data = split(control().value)
    await carrier_of(app)[0].carry(
        [Done((events[0],)), Send("twin.rack", head, data, None, (events[1],)), dead(b"a", events[2])]
    )
    await asyncio.sleep(0)
    assert [event.acked for event in events] == [1, 0, 0]
    app.answer.set_result(None)
    await asyncio.gather(*app.futures)
    assert [event.acked for event in events] == [1, 1, 1]


async def test_what_could_not_be_sent_is_not_acknowledged(app: App) -> None:
    app.answer = asyncio.get_running_loop().create_future()
    app.answer.set_exception(MessageTooLarge("2 MiB"))
    event = Event()
    with pytest.raises(MessageTooLarge):
        await carrier_of(app)[0].carry([Send("twin.rack", *split(control().value), None, (event,))])
    assert event.acked == 0


async def test_what_is_dealt_with_early_is_acknowledged_after_those_before_it(app: App) -> None:
    carrier, _ = carrier_of(app)
    held, broken, later, elsewhere = Event(2), Event(3), Event(4), Event(3, partition=4)
    for event in (held, broken, later, elsewhere):
        carrier.expect(event)
    await carrier.carry([dead(b"a", broken), Done((elsewhere,))])
    assert [event.acked for event in (held, broken, later, elsewhere)] == [0, 0, 0, 1]
    carrier.acknowledge([held])
    assert [event.acked for event in (held, broken, later)] == [1, 1, 0]
    carrier.acknowledge([later])
    assert [event.acked for event in (held, broken, later)] == [1, 1, 1]


async def test_what_came_before_a_rebalance_holds_nothing_up(app: App) -> None:
    carrier, _ = carrier_of(app)
    never, old, new = Event(2), Event(3), Event(3, generation=2)
    for event in (never, old, new):
        carrier.expect(event)
    carrier.acknowledge([old])  # it has come again as ``new``
    assert [event.acked for event in (never, old, new)] == [0, 0, 0]
    carrier.acknowledge([new])
    assert [event.acked for event in (never, old, new)] == [0, 0, 1]
