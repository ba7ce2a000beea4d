"""Batches that the store's tests write."""

from collections.abc import Mapping, Sequence

import numpy as np

from twin.store import Points
from twin.store.base import Numbers

RUN = "20261124T072000Z-a7f3"
OTHER_RUN = "20261124T081500Z-09bc"
T0 = 1_795_500_000_000  # 2026-11-24 06:00 UTC: a window and a file begin here
HOUR_MS = 3_600_000


def racks(ts: int, n: int, *, run: str = RUN, **fields: Numbers) -> Points:
    """Rows of the first ``n`` racks at one time; eight an array, two arrays a hall."""
    tags = {
        "hall": [f"H{1 + i // 16}" for i in range(n)],
        "array": [f"A{1 + i // 8:03d}" for i in range(n)],
        "rack": [f"R{1 + i:04d}" for i in range(n)],
        "row": [str(1 + i // 16) for i in range(n)],
        "pos": [str(1 + i % 16) for i in range(n)],
    }
    return Points("rack", run, ts, tags, fields, {})


def site(ts: int | Sequence[int], *, run: str = RUN, **fields: Numbers) -> Points:
    """Rows of the site at one time or several."""
    return Points("site", run, ts if isinstance(ts, int) else np.asarray(ts, np.int64), {}, fields, {})


def turbines(ts: int, names: Sequence[str], *, run: str = RUN, **fields: Numbers) -> Points:
    """Rows of turbines of one power plant at one time."""
    return Points("turbine", run, ts, {"plant": "power-1", "unit": names}, fields, {})


def event(ts: int, kind: str = "command", *, run: str = RUN, priority: str = "p3", **texts: str) -> Points:
    """One event."""
    return Points("event", run, ts, {"kind": kind, "priority": priority}, {}, texts)


def by_tag(tags: Mapping[str, Sequence[str]], values: Sequence[float], tag: str) -> dict[str, float]:
    """Return values by one of their tags."""
    return dict(zip(tags[tag], np.asarray(values).tolist(), strict=True))
