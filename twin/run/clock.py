"""The wall clock, as an argument: what needs the time of day is given one of these."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """The wall clock."""

    def now_ms(self) -> int:
        """Return the time of day [ms since 1970]."""
        ...


class SystemClock:
    """The clock of this machine; for entry points only."""

    def now_ms(self) -> int:
        """Return the time of day [ms since 1970]."""
        return time.time_ns() // 1_000_000


def utc_text(now_ms: int) -> str:
    """Write a time of day as the beginning of a run's id.

    Examples
    --------
    >>> utc_text(1_795_504_800_000)
    '20261124T072000Z'
    """
    return datetime.fromtimestamp(now_ms / 1000, UTC).strftime("%Y%m%dT%H%M%SZ")
