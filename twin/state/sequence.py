"""Duplicates, gaps and late frames by the sequence number of a key: the last seq and a 64-bit window."""

from typing import Literal

Verdict = Literal["next", "late", "duplicate"]
WINDOW = 64
_FULL = (1 << WINDOW) - 1


class Sequence:
    """What has come of one key and epoch.

    Frames that come late or out of order within the window are neither duplicates nor gaps. A frame from before
    the window is taken as late: history replaces on write, so taking one twice does no harm.
    """

    __slots__ = ("_seen", "last", "missing")

    def __init__(self) -> None:
        self.last = -1
        self._seen = 0  # bit i: last - i has come
        self.missing = 0

    def take(self, seq: int) -> Verdict:
        """Count a sequence number in.

        Examples
        --------
        >>> sequence = Sequence()
        >>> [sequence.take(seq) for seq in (0, 1, 4, 2, 2, 5)], sequence.missing
        (['next', 'next', 'next', 'late', 'duplicate', 'next'], 1)
        """
        step = seq - self.last
        if step > 0:
            if self.last >= 0:
                self.missing += step - 1
            self._seen = ((self._seen << min(step, WINDOW)) | 1) & _FULL
            self.last = seq
            return "next"
        bit = 1 << -step
        if -step >= WINDOW:
            return "late"
        if self._seen & bit:
            return "duplicate"
        self._seen |= bit
        self.missing = max(0, self.missing - 1)
        return "late"
