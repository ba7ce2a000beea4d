"""Duplicates, gaps and late frames by the sequence number of a key: the last seq and a 64-bit window."""

from typing import Literal

Verdict = Literal["next", "late", "duplicate"]
WINDOW = 64
_FULL = (1 << WINDOW) - 1


class Sequence:
    """What has come of one key and epoch.

    A number that is passed over is a gap only when the window has gone past it: until then its frame may come late
    or out of order. A frame from before the window is taken as late: history replaces on write, so taking one twice
    does no harm.

    Attributes
    ----------
    last
        The highest number that has come, -1 before the first.
    missing
        How many numbers after the first have left the window without having come.
    """

    __slots__ = ("_seen", "_skipped", "last", "missing")

    def __init__(self) -> None:
        self.last = -1
        self.missing = 0
        self._seen = 0  # bit i: last - i has come
        self._skipped = 0  # bit i: last - i was passed over and has not come

    def take(self, seq: int) -> Verdict:
        """Count a sequence number in.

        Examples
        --------
        >>> sequence = Sequence()
        >>> [sequence.take(seq) for seq in (0, 1, 4, 2, 2, 70)], sequence.missing
        (['next', 'next', 'next', 'late', 'duplicate', 'next'], 3)
        """
        if self.last < 0:
            self.last, self._seen = seq, 1
            return "next"
        step = seq - self.last
        if step > 0:
            self._move(step)
            self.last = seq
            return "next"
        if -step >= WINDOW:
            return "late"
        bit = 1 << -step
        if self._seen & bit:
            return "duplicate"
        self._seen |= bit
        self._skipped &= ~bit
        return "late"

    def open_gaps(self) -> int:
        """Return how many numbers within the window have not come: gaps, if the epoch ends now."""
        return self._skipped.bit_count()

    def _move(self, step: int) -> None:
        shift = min(step, 2 * WINDOW)  # a number from far away must not make integers of that many bits
        skipped = (self._skipped << shift) | ((1 << shift) - 2)
        self.missing += (skipped >> WINDOW).bit_count() + step - shift
        self._skipped = skipped & _FULL
        self._seen = ((self._seen << shift) | 1) & _FULL
