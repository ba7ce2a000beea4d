"""How often a seat may do what: token buckets with the clock as an argument."""

from collections.abc import Callable
from typing import NamedTuple


class Rate(NamedTuple):
    """So many a second in the long run, and so many at once."""

    per_s: float
    burst: float


# console.md section 7.4; a key is a seat, or an address for ``enter``.
RATES: dict[str, Rate] = {
    "enter": Rate(10 / 60, 10),
    "commands": Rate(5, 10),
    "run": Rate(10, 10),
    "player": Rate(10, 20),
    "injects": Rate(5, 5),
    "history": Rate(20, 20),
    "find": Rate(10, 10),
    "marks": Rate(2, 10),
    "socket": Rate(10, 10),
}
_KEEP_N = 4096


class Rates:
    """Buckets of all seats and addresses.

    Parameters
    ----------
    now_ms
        The wall clock [ms].
    """

    def __init__(self, *, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._buckets: dict[tuple[str, str], tuple[float, int]] = {}

    def take(self, what: str, key: str) -> float:
        """Take one; return 0, or how long to wait [s] when there is none left."""
        rate = RATES[what]
        now_ms = self._now_ms()
        left, then_ms = self._buckets.pop((what, key), (rate.burst, now_ms))
        left = min(rate.burst, left + max(0, now_ms - then_ms) / 1000 * rate.per_s)
        wait_s = 0.0 if left >= 1 else (1 - left) / rate.per_s
        self._buckets[what, key] = (left - 1 if left >= 1 else left, now_ms)
        if len(self._buckets) > _KEEP_N:
            # The oldest is the one that was used longest ago: its bucket is the fullest.
            del self._buckets[next(iter(self._buckets))]
        return wait_s
