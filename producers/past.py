"""What topics, or a recording, hold of one run: its messages, and the orders that were dealt with."""

from collections.abc import Iterable
from typing import Protocol, TypeVar

from pydantic import BaseModel

from producers.orders import AUTOMATIC_OPERATOR, timed_inject
from twin.errors import MessageInvalid
from twin.events.control import CommandResult
from twin.events.head import Head, decode_model, split
from twin.events.instructor import Inject, Truth
from twin.events.topics import BY_NAME
from twin.plant import TimedCommand, TimedInject

WITNESS = "telemetry.grid"  # a topic of each tick, of one partition: its last message tells how far the run came
Action = TimedCommand | TimedInject
M = TypeVar("M", bound=BaseModel)


class Held(Protocol):
    """A message, wherever it is kept."""

    @property
    def value(self) -> bytes | None:
        """Its bytes."""
        ...

    @property
    def timestamp_ms(self) -> int:
        """When it was sent [ms]."""
        ...


class Source(Protocol):
    """Where messages of a run are kept."""

    def records(self, topic: str) -> Iterable[Held]:
        """Return all messages of a topic, without namespace, oldest first."""
        ...


class Past:
    """What a source still holds of one run; what is broken is passed over, for it was kept aside when it came."""

    def __init__(self, source: Source, run: str) -> None:
        self._source = source
        self.run = run

    def of(self, topic: str, model: type[M]) -> list[tuple[Head, M]]:
        """Return the run's messages of a topic, oldest first."""
        return [(head, data) for head, data, _ in self.timed(topic, model)]

    def timed(self, topic: str, model: type[M]) -> list[tuple[Head, M, int]]:
        """Return the run's messages of a topic, oldest first, each with the time at which it was sent [ms]."""
        found = []
        for record in self._source.records(topic):
            try:
                head, data = decode_model(record.value, BY_NAME[topic].schema_id, model)
            except MessageInvalid:
                continue
            if head.run == self.run:
                found.append((head, data, record.timestamp_ms))
        return found

    def last_published(self, branch: int) -> tuple[int, int]:
        """Return the last epoch and tick of the run that were published in the epochs of a branch, -1 for none."""
        heads = (head_of(record, self.run) for record in self._source.records(WITNESS))
        return max(((head.epoch, head.tick) for head in heads if head and head.epoch >= branch), default=(-1, -1))


def head_of(record: Held, run: str) -> Head | None:
    """Return the head of a message, ``None`` if it is broken or of another run."""
    try:
        head, _ = split(record.value)
    except MessageInvalid:
        return None
    return head if head.run == run else None


class PastOrders:
    """The orders of one run that were dealt with.

    Attributes
    ----------
    answered
        Their ids.
    applied
        What the plant took, in its order, each with the epoch of its answer; the automatic operator's own is not
        among it.
    lost
        Injects that were applied, and are not there themselves: what they were is not known.
    """

    def __init__(self, past: Past) -> None:
        results, truths = past.timed("command_results", CommandResult), past.timed("instructor.truth", Truth)
        by_people = [told for told in results if told[1].by != AUTOMATIC_OPERATOR]
        self.answered = frozenset(
            [result.command_id for _, result, _ in by_people] + [truth.inject_id for _, truth, _ in truths]
        )
        injects = {inject.id: inject for _, inject in past.of("instructor.injects", Inject)}
        applied: list[tuple[int, Action, int]] = [
            (head.epoch, TimedCommand(result.applied_tick, result.verb, result.unit, dict(result.params)), sent_ms)
            for head, result, sent_ms in by_people
            if result.accepted
        ]
        self.lost: list[tuple[int, Truth]] = []
        for head, truth, sent_ms in truths:
            inject = injects.get(truth.inject_id)
            if not truth.applied:
                continue
            if inject is None:
                self.lost.append((head.epoch, truth))
            else:
                applied.append((head.epoch, timed_inject(inject, truth.applied_tick), sent_ms))
        # Within a tick a command and an inject have their order, too, as far as two topics tell it.
        applied.sort(key=lambda told: (told[0], told[1].tick, told[2]))
        self.applied = [(epoch, action) for epoch, action, _ in applied]
