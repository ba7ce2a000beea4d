"""Messages of a run or epoch that is not known yet: they wait for their ``run.control`` and are not dropped."""

from collections import deque
from dataclasses import dataclass
from typing import Any

from twin.bus.base import Record
from twin.events.frames import Frame
from twin.events.head import Head
from twin.run import HOLD_S, RunView


@dataclass(slots=True)
class Arrival:
    """A message that has been read, on its way into the state.

    Attributes
    ----------
    token
        Whatever acknowledges it.
    until_ms
        How long it may wait to be known [ms of the wall clock].
    """

    record: Record
    head: Head
    frame: Frame
    token: Any
    until_ms: int

    @classmethod
    def at(cls, now_ms: int, record: Record, head: Head, frame: Frame, token: Any) -> "Arrival":
        """Take note of a message that came now."""
        return cls(record, head, frame, token, now_ms + int(1000 * HOLD_S))


class Hold:
    """Keeps arrivals in order until something has changed for them.

    Parameters
    ----------
    view
        The run that holds.
    """

    def __init__(self, view: RunView) -> None:
        self._view = view
        self._waiting: deque[Arrival] = deque()
        self._looked_at: tuple[str, int] | None = None

    def keep(self, arrival: Arrival) -> None:
        """Let one wait."""
        self._waiting.append(arrival)

    def release(self, now_ms: int) -> list[Arrival]:
        """Hand all over, oldest first, if another run or epoch holds by now or the time of one is up.

        Those that are still not known must be kept again.
        """
        control = self._view.control
        holds = None if control is None else (control.run, control.epoch)
        if not self._waiting or (holds == self._looked_at and now_ms < self._waiting[0].until_ms):
            return []
        self._looked_at = holds
        released = list(self._waiting)
        self._waiting.clear()
        return released

    def drop(self, partition: int) -> None:
        """Forget what came from a partition that another worker has by now."""
        self._waiting = deque(arrival for arrival in self._waiting if arrival.record.partition != partition)
