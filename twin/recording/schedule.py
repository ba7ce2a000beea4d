"""The one clock of a player: which instant of the recording it is now, and how true the sending was to it."""

import math
from collections import deque

import numpy as np

from twin.errors import RecordingError

SPEED_MIN, SPEED_MAX = 0.01, 10_000.0
SLIP_S = 0.5  # what is later than this is not made up for: the clock stands back
MEASURED_N = 4096
REACHED_OVER_S = 5.0


class Schedule:
    """Maps the recording's clock to a clock that never goes back; all times of the latter come in as arguments [s].

    Attributes
    ----------
    speed
        Seconds of the recording per second; 0 is as fast as possible.
    slowed_s
        How much the clock has stood back because something was late [s].
    """

    def __init__(self, speed: float) -> None:
        self.speed = speed
        self.slowed_s = 0.0
        self.stalled_s = 0.0  # the longest time that it stood back at once since it was set
        self._anchor_ns = 0
        self._anchor_s = 0.0
        self._last_due_s = -math.inf
        self._position_ns = 0
        self._late_s = np.zeros(MEASURED_N)
        self._late_n = 0
        self._reached: deque[tuple[float, int]] = deque()

    def set(self, position_ns: int, now_s: float) -> None:
        """Let the clock show an instant now; what was measured before is forgotten."""
        self._anchor(position_ns, now_s)
        self._late_n = 0
        self.stalled_s = 0.0
        self._reached.clear()

    def _anchor(self, position_ns: int, now_s: float) -> None:
        self._anchor_ns, self._anchor_s = position_ns, now_s
        self._last_due_s = -math.inf  # nothing is due before what was sent before it
        self._position_ns = position_ns

    def due_s(self, time_ns: int, tick_ns: int | None = None) -> float:
        """Return when a message is due [s].

        Parameters
        ----------
        time_ns
            Its instant.
        tick_ns
            When its tick began, if it has one: in slow motion the ticks come apart, and not the messages of one,
            for whoever reads them takes a tick as it would come from the site.
        """
        return max(self._due_s(time_ns, tick_ns), self._last_due_s)

    def _due_s(self, time_ns: int, tick_ns: int | None) -> float:
        if self.speed <= 0:
            return self._anchor_s
        if tick_ns is not None and self.speed < 1:
            return self._anchor_s + (tick_ns - self._anchor_ns) / (1e9 * self.speed) + (time_ns - tick_ns) / 1e9
        return self._anchor_s + (time_ns - self._anchor_ns) / (1e9 * self.speed)

    def position_ns(self, now_s: float, *, moves: bool) -> int:
        """Return which instant it is [ns]; never beyond what has been sent when it goes as fast as possible."""
        if not moves or self.speed <= 0:
            return self._position_ns
        return max(self._position_ns, self._anchor_ns + int((now_s - self._anchor_s) * self.speed * 1e9))

    def sent(self, time_ns: int, due_s: float, now_s: float, tick_ns: int | None = None) -> None:
        """Note that a message went out; one that was much too late sets the clock back."""
        self._position_ns = max(self._position_ns, time_ns)
        if self.speed <= 0:
            return
        self._last_due_s = due_s
        late_s = now_s - due_s
        if late_s > SLIP_S:
            self.slowed_s += late_s
            self.stalled_s = max(self.stalled_s, late_s)
            into_tick_s = 0.0 if tick_ns is None or self.speed >= 1 else (time_ns - tick_ns) / 1e9
            self._anchor(time_ns if into_tick_s == 0.0 else tick_ns or time_ns, now_s - into_tick_s)
            return
        self._late_s[self._late_n % MEASURED_N] = max(0.0, late_s)
        self._late_n += 1

    def late_s(self, quantile: float) -> float:
        """Return how late the last messages went out [s]."""
        n = min(self._late_n, MEASURED_N)
        return float(np.quantile(self._late_s[:n], quantile)) if n else 0.0

    def reached(self, now_s: float) -> float:
        """Return the speed over the last seconds; asked about once a second."""
        position_ns = self.position_ns(now_s, moves=True)
        self._reached.append((now_s, position_ns))
        while len(self._reached) > 2 and now_s - self._reached[1][0] >= REACHED_OVER_S:
            self._reached.popleft()
        began_s, began_ns = self._reached[0]
        # A clock that was set back because something was late has reached nothing.
        return max(0.0, (position_ns - began_ns) / 1e9 / (now_s - began_s)) if now_s > began_s else 0.0


def check_speed(speed: float) -> None:
    """Refuse a speed that does not exist.

    Raises
    ------
    RecordingError
        With what is allowed.
    """
    if speed != 0 and not SPEED_MIN <= speed <= SPEED_MAX:
        raise RecordingError(f"speed {speed:g} is not allowed: 0 (as fast as possible) or {SPEED_MIN:g}..{SPEED_MAX:g}")
