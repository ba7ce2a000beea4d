"""Puts messages of the plant side on the bus, each with its head: run, epoch, tick, seq and display time."""

import logging
from collections.abc import Iterable

from pydantic import BaseModel

from producers.family import Producer
from twin.bus.base import Bus, Record
from twin.errors import BusError
from twin.events.alarm import dead_letter
from twin.events.head import encode, encode_model
from twin.events.topics import full_name
from twin.plant import Plant
from twin.run import Heads, RunOwner

logger = logging.getLogger(__name__)


class Publisher:
    """Puts heads on what is said.

    Parameters
    ----------
    bus, namespace
        Where to.
    owner
        The run: its identity and display time.
    heads
        Numbers the messages.
    """

    def __init__(self, bus: Bus, namespace: str, owner: RunOwner, heads: Heads) -> None:
        self._bus = bus
        self._namespace = namespace
        self._owner = owner
        self._heads = heads
        self._telemetry_epoch = -1

    def telemetry(self, producers: Iterable[Producer], plant: Plant, *, tick: int, ts: int) -> int:
        """Publish what the sensors show of a tick; return the number of messages."""
        first = self._owner.epoch != self._telemetry_epoch
        self._telemetry_epoch = self._owner.epoch
        sent = 0
        for producer in producers:
            topic = full_name(producer.topic, self._namespace)
            for reading in producer.readings(plant, first_of_epoch=first):
                head = self._heads.next(producer.topic, reading.key, tick=tick, ts=ts)
                value = encode(head, reading.data)
                # Stamped by the bus with the time of its coming: a bus forgets by that, and a run may be of the past.
                self._bus.publish(topic, value, key=reading.key.encode(), partition=reading.partition)
                sent += 1
        return sent

    def message(self, topic: str, key: str, data: BaseModel, *, tick: int, ts: int) -> None:
        """Publish one message that is no frame."""
        head = self._heads.next(topic, key, tick=tick, ts=ts)
        self._bus.publish(full_name(topic, self._namespace), encode_model(head, data), key=key.encode())

    def dead_letter(self, topic: str, record: Record, reason: str) -> None:
        """Keep bytes aside that are no message of their topic; where that fails they stay where they are."""
        owner = self._owner
        letter = dead_letter(topic, record.partition, record.offset, record.value or b"", reason)
        ts = max(owner.last_ts, owner.line.ts0)
        try:
            self.message("dead.letter", f"producers/{topic}", letter, tick=owner.tick, ts=ts)
        except BusError as exc:
            logger.warning("letter=unsent topic=%s offset=%d reason=%s", topic, record.offset, exc)
