"""``alarm.candidates``, ``alarms``, ``alarms.external``, ``twin.marks``: alarms and what people set on them."""

import base64
from typing import Literal

from pydantic import Field

from twin.events.control import Message, Text
from twin.events.head import RUN_PATTERN


class AlarmCandidate(Message):
    """One per rule, array or unit, and tick, with the places that meet the rule."""

    rule: str = Field(max_length=60)
    asset: str = Field(max_length=100)
    index: tuple[int, ...]
    value: float
    limit: float


class Alarm(Message):
    """A state of the ISA-18.2 life cycle of one alarm."""

    rule: str = Field(max_length=60)
    asset: str = Field(max_length=100)
    priority: int = Field(ge=1, le=3)
    state: Literal["raised", "acknowledged", "cleared", "shelved"]
    raised_tick: int = Field(ge=0)
    value: float
    limit: float
    cause_path: tuple[str, ...]
    suppressed_n: int = Field(ge=0)
    text: Text


class ExternalAlarm(Message):
    """An alert of Grafana or Alertmanager, to be scored like ours."""

    source: str = Field(max_length=100)
    rule: str = Field(max_length=200)
    asset: str = Field(max_length=200)
    state: Literal["firing", "resolved"]
    starts_ms: int = Field(ge=0)
    text: Text


class Mark(Message):
    """What a person set on the observer side; a tombstone ends it."""

    kind: Literal["ack", "shelve", "suspect", "watch"]
    asset: str = Field(max_length=200)
    run: str = Field(pattern=RUN_PATTERN)
    by: str = Field(max_length=200)
    until_tick: int | None = None
    text: Text = ""


class DrillLog(Message):
    """One entry of the hash-chained log of an exercise; ``previous`` is the hash of the entry before."""

    drill: str
    kind: str
    elapsed_s: float = Field(ge=0)
    text: Text
    previous: str
    sha256: str


class DeadLetter(Message):
    """Bytes that did not decode (base64), and why."""

    topic: str
    partition: int = Field(ge=0)
    offset: int = Field(ge=0)
    reason: Text
    raw: str
    cut: bool = Field(description="raw is only the beginning")


MAX_RAW_BYTES = 16_384


def dead_letter(topic: str, partition: int, offset: int, raw: bytes, reason: str) -> DeadLetter:
    """Write a dead letter; of long bytes only the beginning is kept."""
    return DeadLetter(
        topic=topic,
        partition=partition,
        offset=offset,
        reason=reason[:1000],
        raw=base64.b64encode(raw[:MAX_RAW_BYTES]).decode(),
        cut=len(raw) > MAX_RAW_BYTES,
    )
