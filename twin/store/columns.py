"""Batches into columns, before they meet a query language: pure functions on arrays."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin.events.measurements import BY_NAME
from twin.store.base import Points

Column = NDArray[Any]  # float64, or object (str, or None where there is no text)


@dataclass(frozen=True, slots=True)
class Columns:
    """Rows of one measurement and run.

    Attributes
    ----------
    keys
        Tags of each row, in the measurement's order.
    ts
        (n,) [ms].
    values
        (n,) by name.
    """

    keys: Sequence[tuple[str, ...]]
    ts: NDArray[np.int64]
    values: Mapping[str, Column]

    def between(self, from_ms: int, to_ms: int) -> "Columns":
        """Return the rows within ``[from_ms, to_ms)``."""
        inside = (self.ts >= from_ms) & (self.ts < to_ms)
        if inside.all():
            return self
        keys = list(itertools.compress(self.keys, inside))
        return Columns(keys, self.ts[inside], {name: column[inside] for name, column in self.values.items()})


def joined(batch: Sequence[Points]) -> dict[tuple[str, str], Columns]:
    """Join a batch by measurement and run; points without rows are left out."""
    groups: dict[tuple[str, str], list[Points]] = {}
    for points in batch:
        if points.size:
            groups.setdefault((points.measurement, points.run), []).append(points)
    return {kind: gather(parts) for kind, parts in groups.items()}


def gather(parts: Sequence[Points]) -> Columns:
    """Join batches of one measurement and run, in their order; rows in which nothing was measured are left out."""
    tags = BY_NAME[parts[0].measurement].tags
    keys: list[tuple[str, ...]] = []
    for part in parts:
        repeated = (
            itertools.repeat(column, part.size) if isinstance(column, str) or len(column) != part.size else column
            for column in (part.tags[tag] for tag in tags)
        )
        keys.extend(zip(*repeated, strict=True) if tags else itertools.repeat((), part.size))
    ts = np.concatenate([np.broadcast_to(np.asarray(part.ts, np.int64), part.size) for part in parts])
    values: dict[str, Column] = {}
    for name in dict.fromkeys(name for part in parts for name in part.fields):
        values[name] = np.concatenate(
            [np.broadcast_to(np.asarray(part.fields.get(name, np.nan), np.float64), part.size) for part in parts]
        )
    for name in dict.fromkeys(name for part in parts for name in part.texts):
        values[name] = np.concatenate([np.broadcast_to(_texts(part.texts.get(name)), part.size) for part in parts])
    there = np.zeros(len(ts), np.bool_)
    for column in values.values():
        there |= measured(column)
    if there.all():
        return Columns(keys, ts, values)
    return Columns(list(itertools.compress(keys, there)), ts[there], {n: c[there] for n, c in values.items()})


def _texts(column: Sequence[str] | str | None) -> Column:
    out = np.empty(1 if column is None or isinstance(column, str) else len(column), object)
    out[:] = column
    return out


def measured(column: Column) -> NDArray[np.bool_]:
    """Tell where a column has a value."""
    if column.dtype == object:
        return np.fromiter((value is not None for value in column), np.bool_, len(column))
    return ~np.isnan(column)


def merged(series: NDArray[np.int32], ts: NDArray[np.int64], values: Mapping[str, Column]) -> dict[str, Column]:
    """Return columns ``series``, ``ts`` and the values in order of time, each (series, ts) once.

    Of rows with the same identity the later one gives what it has, the earlier ones the rest.
    """
    order = np.lexsort((series, ts))
    series, ts = series[order], ts[order]
    first = np.ones(len(ts), np.bool_)
    first[1:] = (series[1:] != series[:-1]) | (ts[1:] != ts[:-1])
    if first.all():
        return {"series": series, "ts": ts, **{name: column[order] for name, column in values.items()}}
    starts = np.flatnonzero(first)
    out: dict[str, Column] = {"series": series[starts], "ts": ts[starts]}
    for name, unsorted in values.items():
        column = unsorted[order]
        # The last measured place of each group; a group without one keeps its first, unmeasured.
        place = np.where(measured(column), np.arange(len(column)), -1)
        out[name] = column[np.maximum(np.maximum.reduceat(place, starts), starts)]
    return out
