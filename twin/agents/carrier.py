"""Carries out what a keeper says: sends, keeps broken bytes aside, acknowledges what is out."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

import faust
from faust.types import TP

from twin.agents.context import Context
from twin.events.alarm import dead_letter
from twin.events.head import Head, encode, encode_model
from twin.state.outputs import Dead, Done, Output, Send

NO_RUN = "00000000T000000Z-0000"


def first_seq(now_ms: int) -> int:
    """Return where a process begins to number what it says of itself, so that a restart repeats no number.

    Parameters
    ----------
    now_ms
        When it began [ms]; it may say 1,024 things a millisecond until it ends.
    """
    return now_ms << 10


class Carrier:
    """Sends through Faust and acknowledges when the message is out; after a crash of the app it does neither.

    Parameters
    ----------
    app
        Whose producer it is.
    context
        Names and clock.
    """

    def __init__(self, app: faust.App, context: Context) -> None:
        self._app = app
        self._context = context
        self._topics: dict[str, Any] = {}
        self._dead_seq = first_seq(context.clock.now_ms())
        self._generation = -1
        self._open: dict[TP, OrderedDict[int, Any]] = {}  # offset -> its event, once it is dealt with

    def topic(self, name: str) -> Any:
        """Return the channel of a topic, raw bytes on both sides."""
        if name not in self._topics:
            self._topics[name] = self._app.topic(
                self._context.topic(name),
                key_type=bytes,
                value_type=bytes,
                key_serializer="raw",
                value_serializer="raw",
            )
        return self._topics[name]

    async def carry(self, outputs: Iterable[Output]) -> None:
        """Do what a keeper said, in order."""
        for output in outputs:
            if self._app.crashed:
                return
            if isinstance(output, Done):
                self.acknowledge(output.done)
            elif isinstance(output, Send):
                key, value = output.head.key.encode(), encode(output.head, output.data)
                await self._send(output.topic, key, value, output.partition, output.done)
            else:
                await self._keep_aside(output)

    async def publish(self, topic: str, key: str, value: bytes) -> None:
        """Send a message that acknowledges nothing."""
        await self._send(topic, key.encode(), value, None, ())

    def expect(self, event: Any) -> None:
        """Note a message in the order of its place: it is acknowledged after those before it.

        A keeper is done with a broken message at once and with a frame when its tick is out, and Faust commits past a
        single hole: the frame would not be read again by the worker that follows one that died.
        """
        message = event.message
        if message.generation_id > self._generation:
            self._generation, self._open = message.generation_id, {}
        if message.generation_id == self._generation:
            self._open.setdefault(message.tp, OrderedDict())[message.offset] = None

    def acknowledge(self, tokens: Iterable[Any]) -> None:
        """Acknowledge events of a stream; what another worker owns by now is left to it.

        What a crashed app has dealt with may rest on what it lost: the next worker reads it again.
        """
        if self._app.crashed:
            return
        for event in tokens:
            message = event.message
            unfinished = self._open.get(message.tp)
            if unfinished is not None and message.generation_id < self._generation:
                continue  # it is read again, after those before it
            if unfinished is None or message.offset not in unfinished:
                event.ack()
                continue
            unfinished[message.offset] = event
            while unfinished and (first := next(iter(unfinished.values()))) is not None:
                unfinished.popitem(last=False)
                first.ack()

    async def _send(self, topic: str, key: bytes, value: bytes, partition: int | None, done: tuple[Any, ...]) -> None:
        sent: Any = await self.topic(topic).send(key=key, value=value, partition=partition)
        if isinstance(sent, asyncio.Future):
            if not sent.done():
                self._app.add_future(self._when_out(sent, done))
                return
            sent.result()  # raises what kept it from going out
        self.acknowledge(done)

    async def _when_out(self, sent: asyncio.Future[Any], done: tuple[Any, ...]) -> None:
        await sent
        self.acknowledge(done)

    async def _keep_aside(self, dead: Dead) -> None:
        control, record = self._context.view.control, dead.record
        letter = dead_letter(record.topic, record.partition, record.offset, record.value or b"", dead.reason)
        head = Head(
            schema_id="dead.letter/1",
            run=control.run if control else NO_RUN,
            epoch=control.epoch if control else 0,
            tick=max(control.settled_tick, 0) if control else 0,
            seq=self._dead_seq,
            ts=self._context.clock.now_ms(),
            dt_s=control.dt_s if control else 1.0,
            key=f"{self._context.worker}/{record.topic}",
        )
        self._dead_seq += 1
        await self._send("dead.letter", head.key.encode(), encode_model(head, letter), None, dead.done)
