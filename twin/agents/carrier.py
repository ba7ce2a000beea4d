"""Carries out what a keeper says: sends, keeps broken bytes aside, acknowledges what is out."""

import asyncio
import base64
from collections.abc import Iterable
from typing import Any

import faust

from twin.agents.context import Context
from twin.events.alarm import DeadLetter
from twin.events.head import Head, encode, encode_model
from twin.state.outputs import Dead, Done, Output, Send

MAX_RAW_BYTES = 16_384
NO_RUN = "00000000T000000Z-0000"


class Carrier:
    """Sends through Faust and acknowledges when the message is out.

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
        self._dead_n = 0

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
            if isinstance(output, Done):
                acknowledge(output.done)
            elif isinstance(output, Send):
                key, value = output.head.key.encode(), encode(output.head, output.data)
                await self._send(output.topic, key, value, output.partition, output.done)
            else:
                await self._keep_aside(output)

    async def publish(self, topic: str, key: str, value: bytes) -> None:
        """Send a message that acknowledges nothing."""
        await self._send(topic, key.encode(), value, None, ())

    async def _send(self, topic: str, key: bytes, value: bytes, partition: int | None, done: tuple[Any, ...]) -> None:
        sent: Any = await self.topic(topic).send(key=key, value=value, partition=partition)
        if not done:
            return
        if isinstance(sent, asyncio.Future):
            if not sent.done():
                self._app.add_future(_when_out(sent, done))
                return
            sent.result()  # raises what kept it from going out
        acknowledge(done)

    async def _keep_aside(self, dead: Dead) -> None:
        control = self._context.view.control
        raw = dead.record.value or b""
        source = dead.record.topic
        letter = DeadLetter(
            topic=source,
            partition=dead.record.partition,
            offset=dead.record.offset,
            reason=dead.reason[:1000],
            raw=base64.b64encode(raw[:MAX_RAW_BYTES]).decode(),
            cut=len(raw) > MAX_RAW_BYTES,
        )
        head = Head(
            schema_id="dead.letter/1",
            run=control.run if control else NO_RUN,
            epoch=control.epoch if control else 0,
            tick=max(control.settled_tick, 0) if control else 0,
            seq=self._dead_n,
            ts=self._context.clock.now_ms(),
            dt_s=control.dt_s if control else 1.0,
            key=source,
        )
        self._dead_n += 1
        await self._send("dead.letter", source.encode(), encode_model(head, letter), None, dead.done)


def acknowledge(tokens: Iterable[Any]) -> None:
    """Acknowledge events of a stream; what another worker owns by now is left to it."""
    for event in tokens:
        event.ack()


async def _when_out(sent: asyncio.Future[Any], done: tuple[Any, ...]) -> None:
    await sent
    acknowledge(done)
