"""What a keeper of state gives back: messages to send, bytes to keep aside, and what may be acknowledged."""

from dataclasses import dataclass
from typing import Any

from twin.bus.base import Record
from twin.events.head import Head


@dataclass(frozen=True, slots=True)
class Send:
    """A message to publish; when it is out, ``done`` may be acknowledged.

    ``done`` holds the tokens (events of the stream) of all that went into it.
    """

    topic: str
    head: Head
    data: bytes
    partition: int | None = None
    done: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Dead:
    """A message that did not decode, and that no other app reads: to ``dead.letter`` with its reason."""

    record: Record
    reason: str
    done: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Done:
    """Nothing to send: acknowledge."""

    done: tuple[Any, ...]


Output = Send | Dead | Done
