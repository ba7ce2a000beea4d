"""One partition of ``telemetry.gpu``: its run and epoch, its sequence numbers, and the closing of its ticks."""

from dataclasses import dataclass, field
from typing import Any

from twin.events.frames import Frame
from twin.events.head import Head
from twin.state.sequence import Sequence

# A tick that some array does not report is closed this long after its first frame, once nothing lies unread.
CLOSE_AFTER_S = 0.5
UNREAD_LATE_S = 30.0  # whatever lies unread: who never reads everything must speak all the same
STALE_AFTER_S = 10.0  # an array whose last frame is this much older, in the run's time, is not waited for

Lineage = tuple[str, int]


@dataclass(slots=True)
class OpenTick:
    """A tick that waits for its arrays."""

    first_ms: int
    head: Head
    frames: dict[int, Frame] = field(default_factory=dict)
    tokens: list[Any] = field(default_factory=list)


class Partition:
    """Orders the frames of one partition into ticks.

    Parameters
    ----------
    number
        Of the partition.
    arrays
        Indexes of the arrays that the site file puts there.
    """

    def __init__(self, number: int, arrays: tuple[int, ...]) -> None:
        self.number = number
        self.arrays = arrays
        self.lineage: Lineage | None = None
        self.closed_tick = -1
        self.first_tick = -1  # where this worker began to listen
        self.open: dict[int, OpenTick] = {}
        self.last_tick: dict[int, int] = {}
        self.sequences: dict[int, Sequence] = {}

    def begin(self, lineage: Lineage, *, continues_at: int | None) -> None:
        """Go over to another run or epoch; ticks that are still open must be closed before.

        Parameters
        ----------
        continues_at
            The first tick of an epoch that continues the one before, else ``None``. It may lie before the last
            tick: a plant that is rebuilt after a crash does some ticks again.
        """
        self.lineage = lineage
        self.closed_tick = -1
        self.sequences.clear()
        if continues_at is None:
            self.first_tick = -1
            self.last_tick.clear()
        else:
            self.first_tick = min(self.first_tick, continues_at)
            self.last_tick = {array: min(tick, continues_at - 1) for array, tick in self.last_tick.items()}

    def sequence(self, array: int) -> Sequence:
        """Return what has come of an array in this epoch."""
        return self.sequences.setdefault(array, Sequence())

    def reported(self, array: int) -> int:
        """Return the last tick of an array; of one that is absent, the last that it can have missed unseen."""
        return self.last_tick.get(array, self.first_tick - 1)

    def put(self, array: int, head: Head, frame: Frame, token: Any, now_ms: int) -> None:
        """Add a frame to its open tick."""
        tick = self.open.get(head.tick)
        if tick is None:
            tick = self.open[head.tick] = OpenTick(now_ms, head)
        if self.first_tick < 0:
            self.first_tick = head.tick
        tick.frames[array] = frame
        tick.tokens.append(token)
        self.heard(array, head.tick)

    def heard(self, array: int, tick: int) -> None:
        """Note that an array has reported a tick, in time or late: from now on it is waited for again."""
        self.last_tick[array] = max(tick, self.last_tick.get(array, -1))

    def complete(self, tick: int) -> bool:
        """Tell whether each array that is not stale has reported a tick, or a later one."""
        waiting = self.open[tick]
        if len(waiting.frames) == len(self.arrays):
            return True
        stale_ticks = STALE_AFTER_S / waiting.head.dt_s
        newest = max(self.open)  # of what has piled up, no more ticks stay open than an array needs to be stale
        # An array that is past the tick has lost its frame of it, or sends it late.
        return not any(
            self.reported(array) <= tick and newest - self.reported(array) <= stale_ticks
            for array in self.arrays
            if array not in waiting.frames
        )

    def pop_due(self, *, opened_by_ms: int, passed_tick: int) -> list[OpenTick]:
        """Take out, oldest first, the ticks that may be closed.

        Parameters
        ----------
        opened_by_ms
            Ticks whose first frame came then or earlier wait no longer [ms of the wall clock].
        passed_tick
            The last tick whose frames have certainly all been read, -1 for none.
        """
        due = []
        for tick in sorted(self.open):
            if not (tick <= passed_tick or self.open[tick].first_ms <= opened_by_ms or self.complete(tick)):
                break
            due.append(self.open.pop(tick))
            self.closed_tick = max(self.closed_tick, tick)
        return due
