"""One partition of ``telemetry.gpu``: its run and epoch, its sequence numbers, and the closing of its ticks."""

from dataclasses import dataclass, field
from typing import Any

from twin.events.frames import Frame
from twin.events.head import Head
from twin.state.sequence import Sequence

CLOSE_AFTER_S = 0.5  # a tick that some array does not report is closed this long after its first frame
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

    def begin(self, lineage: Lineage, *, continues: bool) -> None:
        """Go over to another run or epoch; ticks that are still open must be closed before."""
        self.lineage = lineage
        self.closed_tick = -1
        self.sequences.clear()
        if not continues:
            self.first_tick = -1
            self.last_tick.clear()

    def sequence(self, array: int) -> Sequence:
        """Return what has come of an array in this epoch."""
        return self.sequences.setdefault(array, Sequence())

    def put(self, array: int, head: Head, frame: Frame, token: Any, now_ms: int) -> None:
        """Add a frame to its open tick."""
        tick = self.open.get(head.tick)
        if tick is None:
            tick = self.open[head.tick] = OpenTick(now_ms, head)
        if self.first_tick < 0:
            self.first_tick = head.tick
        tick.frames[array] = frame
        tick.tokens.append(token)
        self.last_tick[array] = max(head.tick, self.last_tick.get(array, -1))

    def complete(self, tick: int) -> bool:
        """Tell whether each array that is not stale has reported a tick, or a later one."""
        frames = self.open[tick].frames
        if len(frames) == len(self.arrays):
            return True
        stale_ticks = STALE_AFTER_S / self.open[tick].head.dt_s
        for array in self.arrays:
            if array in frames:
                continue
            last = self.last_tick.get(array, self.first_tick - 1)
            if last > tick:
                continue  # its frame of this tick is lost, or comes late
            if tick - last <= stale_ticks:
                return False
        return True

    def pop_due(self, now_ms: int, *, passed_tick: int) -> list[tuple[int, OpenTick]]:
        """Take out, oldest first, the ticks that may be closed.

        Parameters
        ----------
        now_ms
            The wall clock [ms].
        passed_tick
            In lock step: the last tick whose frames have all been read, else -1.
        """
        due = []
        for tick in sorted(self.open):
            waiting = self.open[tick]
            late = now_ms - waiting.first_ms >= 1000 * CLOSE_AFTER_S
            if not (late or tick <= passed_tick or self.complete(tick)):
                break
            due.append((tick, self.open.pop(tick)))
            self.closed_tick = max(self.closed_tick, tick)
        return due
