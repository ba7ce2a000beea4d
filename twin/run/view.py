"""A reader's view of the runs of a namespace: which run and epoch hold, and where a message stands."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Literal

from twin.errors import MessageInvalid
from twin.events.control import RunControl
from twin.events.head import Head
from twin.run.line import ts_at

HOLD_S = 2.0  # frames of a newer run or epoch wait this long for their run.control

CLOCKS_APART_MS = 60_000  # clocks of machines differ, but not by more: what claims to be later is of no run

REMEMBERED = 64  # lineages whose order of holding is known

Standing = Literal["current", "earlier", "newer", "other"]


def newer(one: RunControl, other: RunControl) -> bool:
    """Tell whether ``one`` wins over ``other``: the newest run, then the newest epoch, then the owner's name.

    Run ids begin with their start, so they sort by it. The order does not depend on who reads when.
    """
    return (one.run, one.epoch, one.owner) > (other.run, other.epoch, other.owner)


def check_control(control: RunControl, now_ms: int) -> None:
    """Refuse a run that claims to have done a tick whose time has not come: all that follows would look old.

    It is for readers. An owner must not: where the clock was set back, a run of the future holds the namespace still.

    Raises
    ------
    MessageInvalid
        With the display time of that tick.
    """
    ts = ts_at(control.line, control.settled_tick)
    if abs(ts) > now_ms + CLOCKS_APART_MS:
        raise MessageInvalid(f"out-of-range: settled_tick: {control.settled_tick} is of {ts} ms, it is {now_ms} ms")


class RunView:
    """What a reader of ``run.control`` knows. One per process, fed from ``bus.follow``."""

    def __init__(self) -> None:
        self.control: RunControl | None = None
        self.heard_ms = -1
        self.refused = 0
        self._held: OrderedDict[tuple[str, int], tuple[int, RunControl]] = OrderedDict()
        self._held_n = 0

    def accept(self, control: RunControl, *, now_ms: int) -> bool:
        """Take a control message; return whether run or epoch changed.

        An older run or epoch is taken only when the present one has ended or its lease ran out before.
        """
        known = self.control
        if known is not None and newer(known, control):
            held = known.state != "ended" and known.lease_expires_ms > control.sent_ms
            echo = known.run == control.run and known.owner == control.owner
            if held or echo:
                self.refused += 1
                return False
        self.control = control
        self.heard_ms = now_ms
        if (control.run, control.epoch) not in self._held:
            self._held_n += 1
            self._held[control.run, control.epoch] = (self._held_n, control)
            while len(self._held) > REMEMBERED:
                self._held.popitem(last=False)
        return known is None or (known.run, known.epoch) != (control.run, control.epoch)

    def standing(self, head: Head) -> Standing:
        """Say where a message stands against the run and epoch that hold.

        Returns
        -------
        str
            ``current``; ``earlier``: a run or epoch that held before, whose last messages may still come;
            ``newer``: a run or epoch not known yet, to be held for up to ``HOLD_S``; ``other``: of another run.
        """
        known = self.control
        if known is None:
            return "newer"
        if (head.run, head.epoch) == (known.run, known.epoch):
            return "current"
        if self.order(head.run, head.epoch) is not None:
            return "earlier"
        return "newer" if (head.run, head.epoch) > (known.run, known.epoch) else "other"

    def order(self, run: str, epoch: int) -> int | None:
        """Return a number that says which of two lineages held earlier, None for one that never held.

        Of the run that holds, every earlier epoch is known to have held, even to a reader that joined late.
        """
        held = self._held.get((run, epoch))
        if held is not None:
            return held[0]
        if self.control is not None and run == self.control.run and epoch < self.control.epoch:
            return epoch - self.control.epoch
        return None

    def continues_from(self, run: str, epoch: int, known: Callable[[int], bool]) -> tuple[int, int] | None:
        """Return the known epoch that an epoch goes on from, and the tick from which on.

        Between them there may be epochs without a frame, as of a change of speed in a pause; each must continue the one
        before it. None where there was a jump, or one never held here. All of them may have ended by now: who reads a
        long way behind meets frames later than the next epoch's ``run.control``.
        """
        tick: int | None = None
        while True:
            _, control = self._held.get((run, epoch), (0, None))
            if control is None or not control.continues:
                return None
            tick = control.line.tick0 if tick is None else min(tick, control.line.tick0)
            epoch -= 1
            if known(epoch):
                return epoch, tick

    def age_s(self, now_ms: int) -> float:
        """Return how long ago the last control message came [s]; infinite before the first."""
        return (now_ms - self.heard_ms) / 1000 if self.heard_ms >= 0 else float("inf")
