"""The lease of an owner on the bus: it says where its run stands, and hears whether the run is still its own."""

import logging
from collections.abc import Iterable

from twin.bus.base import Bus, Record
from twin.errors import MessageInvalid
from twin.events.control import PlayerState, RunControl, RunState
from twin.events.head import decode_model, encode_model
from twin.events.topics import BY_NAME, full_name
from twin.run.heads import Heads
from twin.run.owner import RunOwner
from twin.run.view import RunView, newer

logger = logging.getLogger(__name__)

CONTROL_EVERY_MS = 1000
Answer = tuple[str | None, str | None]  # (request, error)
NO_ANSWER: Answer = (None, None)


def hear(view: RunView, records: Iterable[Record], now_ms: int) -> None:
    """Take what has come on ``run.control`` into a view; what is broken is told of, and passed over."""
    for record in records:
        try:
            _, control = decode_model(record.value, BY_NAME["run.control"].schema_id, RunControl)
        except MessageInvalid as exc:
            logger.warning("control=invalid offset=%d reason=%s", record.offset, exc)
            continue
        view.accept(control, now_ms=now_ms)


def last_control(bus: Bus, namespace: str, now_ms: int) -> RunControl | None:
    """Return the last word of a namespace's run.

    Raises
    ------
    BusError
        The bus does not answer.
    """
    view = RunView()
    reader = bus.follow(full_name("run.control", namespace))
    try:
        hear(view, reader.read_up(), now_ms)
    finally:
        reader.close()
    return view.control


class Tenure:
    """Speaks for a run on ``run.control``, and listens there.

    Parameters
    ----------
    bus, namespace
        Where.
    owner
        The run.
    heads
        Numbers what is said.

    Attributes
    ----------
    due_ms
        When the lease must be renewed [ms].
    said
        The last state that was said; ``None`` before anything was.
    """

    def __init__(self, bus: Bus, namespace: str, owner: RunOwner, heads: Heads) -> None:
        self._bus = bus
        self._topic = full_name("run.control", namespace)
        self._owner = owner
        self._heads = heads
        self._reader = bus.follow(self._topic)
        self._view = RunView()
        self.due_ms = 0
        self.said: RunState | None = None

    def read_up(self, now_ms: int) -> RunControl | None:
        """Return what was said last by whoever has, or had, the lease."""
        hear(self._view, [*self._reader.read_up(), *self._reader.poll(0.0)], now_ms)
        return self._view.control

    def say(self, now_ms: int, answers: list[Answer], player: PlayerState | None = None) -> None:
        """Send ``run.control``, once for each answer that is owed, and so renew the lease.

        Parameters
        ----------
        answers
            Each is taken off once it is sent.

        Raises
        ------
        LeaseLost
            Another owner has the run.
        """
        owner = self._owner
        for request_id, error in tuple(answers) or (NO_ANSWER,):
            control = owner.control(now_ms, answers=request_id, error=error).model_copy(update={"player": player})
            head = self._heads.next(
                "run.control", "run.control", tick=owner.tick, ts=max(owner.last_ts, owner.line.ts0)
            )
            self._bus.publish(self._topic, encode_model(head, control), key=b"run.control")
            del answers[:1]
        self.said = owner.state
        self.due_ms = now_ms + CONTROL_EVERY_MS
        self.check(now_ms)

    def check(self, now_ms: int) -> None:
        """Look whether the run is still ours.

        Raises
        ------
        LeaseLost
            Another owner has it: stop at once.
        """
        while records := self._reader.poll(0.0):
            hear(self._view, records, now_ms)
        if self._view.control is not None:
            self._owner.check(self._view.control, now_ms=now_ms)

    def is_ours(self, now_ms: int) -> bool:
        """Look whether we have spoken for the run, and nobody else has since."""
        if self.said is None:
            return False
        hear(self._view, self._reader.read_rest(), now_ms)
        last = self._view.control
        if last is None or last.owner == self._owner.owner or not newer(last, self._owner.control(now_ms)):
            return True
        logger.warning("lease=lost run=%s to=%s", self._owner.run, last.owner)
        return False

    def close(self) -> None:
        """Stop listening, and speak no longer."""
        self.said = None
        self._reader.close()
