"""What of a recording is played: from where to where, and whether over and over."""

from dataclasses import dataclass, replace
from typing import Self

from twin.errors import RecordingError

LOOP_MIN_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Range:
    """What of a recording is played [ns].

    Attributes
    ----------
    loop_ns
        From B back to A, for as long as it plays.
    """

    start_ns: int
    end_ns: int
    loop_ns: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """Refuse what nobody can play.

        Raises
        ------
        RecordingError
            It ends before it begins, or its loop is none.
        """
        if self.end_ns < self.start_ns:
            raise RecordingError("what is to be played ends before it begins")
        if self.loop_ns is not None:
            a, b = self.loop_ns
            if not self.start_ns <= a <= b - LOOP_MIN_NS <= b <= self.end_ns:
                raise RecordingError("a loop is at least a second long, from A to B, within what is played")

    @property
    def length_s(self) -> float:
        """How long it is [s]."""
        return (self.end_ns - self.start_ns) / 1e9

    def with_loop(self, loop_ns: tuple[int, int] | None) -> Self:
        """Return the same range with another loop.

        Raises
        ------
        RecordingError
            A is not at least a second before B, or they are not in the range.
        """
        return replace(self, loop_ns=loop_ns)

    def check(self, time_ns: int) -> None:
        """Refuse an instant that is not in it.

        Raises
        ------
        RecordingError
            How far outside it lies.
        """
        if time_ns < self.start_ns:
            where = f"{(self.start_ns - time_ns) / 1e9:.3f} s before"
        elif time_ns > self.end_ns:
            where = f"{(time_ns - self.end_ns) / 1e9:.3f} s after"
        else:
            return
        raise RecordingError(f"the instant lies {where} what is played, which is {self.length_s:.3f} s long")
