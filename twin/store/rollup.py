"""The rule of the 5-minute bucket: which windows there are, and which are due.

How a field becomes one value of its window is said by its ``roll_up`` in the table of measurements; each adapter
does that in its own language.

A window is *dirty* from the moment a point falls into it until it has been made from all of its points. A point
that comes late makes it dirty again. Stores keep the dirty windows beside the points, so a restart forgets none.
"""

from collections.abc import Collection
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from twin.events.measurements import Measurement

WINDOW_MS = 300_000
GRACE_MS = 10_000  # after its end a window waits this long for points on their way
LONG_RUN_MS = 6 * 3_600_000
# Measurements of so many series that short runs would fill the bucket: taken from runs longer than 6 hours.
LONG_RUNS_ONLY = frozenset({"rack"})


class Window(NamedTuple):
    """Five minutes of one measurement of one run."""

    start_ms: int
    run: str
    measurement: str


def windows_of(spec: Measurement, run: str, ts: NDArray[np.int64]) -> set[Window]:
    """Return the windows that points touch.

    Parameters
    ----------
    spec, run
        Measurement and run of the points.
    ts
        Their times [ms], (n,).

    Examples
    --------
    >>> from twin.events.measurements import BY_NAME
    >>> sorted(window.start_ms for window in windows_of(BY_NAME["site"], "r", np.array([299_999, 300_000])))
    [0, 300000]
    """
    if not spec.rolled_up:
        return set()
    return {Window(int(start), run, spec.name) for start in np.unique(ts // WINDOW_MS) * WINDOW_MS}


def due(dirty: Collection[Window], now_ms: int, long_runs: Collection[str] = ()) -> list[Window]:
    """Return the dirty windows that must be made by now, oldest first.

    Parameters
    ----------
    dirty
        All dirty windows of all runs.
    now_ms
        The wall clock [ms]; display time is never more than 2 s ahead of it.
    long_runs
        Runs that are known to be longer than 6 hours.
    """
    many = [window for window in dirty if window.measurement in LONG_RUNS_ONLY]
    starts: dict[str, list[int]] = {}
    for window in many:
        starts.setdefault(window.run, []).append(window.start_ms)
    grown = {run for run, times in starts.items() if max(times) - min(times) >= LONG_RUN_MS} | set(long_runs)
    return sorted(
        window
        for window in dirty
        if window.start_ms + WINDOW_MS + GRACE_MS <= now_ms
        and (window.measurement not in LONG_RUNS_ONLY or window.run in grown)
    )
