"""Batches as InfluxDB's line protocol: pure functions, columns at a time (one string operation for each line).

All numbers are floats, so no type conflict can arise; what was not measured is left out.
"""

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import numpy as np
import orjson

from twin.errors import StoreRejected
from twin.events.measurements import BY_NAME
from twin.store.columns import Column, Columns, measured
from twin.store.rollup import Window

# What the windows of the 5-minute bucket were made from, kept beside the points (docs/decisions/influxdb-history.md).
MARKS = "rollup_window"
# Within a tag nothing escapes a line's end, and a backslash before these would be read as their escape; no string of
# InfluxQL holds a carriage return or a NUL, so nobody could ask for such a tag.
_NOT_A_TAG = re.compile(r"[\n\r\0]|\\(?=[,= ]|\Z)")
_TO_ESCAPE = re.compile(r"([,= ])")
_ESCAPED = r"\\\1"


class Prefixes:
    """The beginnings of lines (measurement and tags), each made once; bounded, for several threads.

    Parameters
    ----------
    limit
        How many it keeps; beyond it those of the measurement and run that came first are forgotten.

    Attributes
    ----------
    size
        How many there are.
    """

    def __init__(self, limit: int = 100_000) -> None:
        self._limit = limit
        self.size = 0
        self._known: dict[tuple[str, str], dict[tuple[str, ...], bytes]] = {}
        self._lock = threading.Lock()

    def of(self, measurement: str, run: str, keys: Sequence[tuple[str, ...]]) -> list[bytes]:
        """Return the beginning of the line of each row's tags.

        Raises
        ------
        StoreRejected
            A tag that line protocol cannot carry; names it.
        """
        with self._lock:
            known = self._known.setdefault((measurement, run), {})
            fresh = {key: prefix(measurement, run, key) for key in dict.fromkeys(keys) if key not in known}
            known |= fresh
            self.size += len(fresh)
            out = [known[key] for key in keys]
            while self.size > self._limit:
                self.size -= len(self._known.pop(next(iter(self._known))))
        return out


def storable(tag: str) -> bool:
    """Tell whether line protocol can carry a value of a tag."""
    return not _NOT_A_TAG.search(tag)


def prefix(measurement: str, run: str, key: Sequence[str]) -> bytes:
    r"""Return the beginning of a line: measurement and tags in order of their names, up to the fields.

    An empty value means that the tag is absent.

    Parameters
    ----------
    measurement, run
        Of the row.
    key
        The other tags, in the measurement's order.

    Raises
    ------
    StoreRejected
        A tag that line protocol cannot carry; names it.

    Examples
    --------
    >>> prefix("ups", "r", ("power 1", ""))
    b'ups,plant=power\\ 1,run=r '
    """
    tags = sorted({"run": run, **dict(zip(BY_NAME[measurement].tags, key, strict=True))}.items())
    return _begin(measurement, tags)


def _begin(measurement: str, tags: Sequence[tuple[str, str]]) -> bytes:
    """Return the beginning of a line, from tags that are in order."""
    parts = [measurement]
    for name, value in tags:
        if not storable(value):
            raise StoreRejected(
                f"{measurement}.{name} = {value!r}: a tag can hold no line break, no NUL, and no backslash at its end "
                "or before a comma, an equals sign or a space"
            )
        if value:
            parts.append(f"{name}={_TO_ESCAPE.sub(_ESCAPED, value)}")
    return (",".join(parts) + " ").encode()


def mark_line(window: Window, field: Literal["written", "made"], token: float) -> bytes:
    """Return the line that marks a window.

    Examples
    --------
    >>> mark_line(Window(300_000, "r", "site"), "written", 5.0)
    b'rollup_window,measurement=site,run=r written=5.0 300000'
    """
    begin = _begin(MARKS, [("measurement", window.measurement), ("run", window.run)])
    return begin + f"{field}={float(token)!r} {window.start_ms}".encode()


def lines(columns: Columns, measurement: str, run: str, prefixes: Prefixes) -> list[bytes]:
    """Return one line for each row, in their order; each row has a value (see ``gather``).

    Parameters
    ----------
    columns
        The rows.
    measurement, run
        Of all of them.
    prefixes
        Where beginnings of lines are kept.

    Raises
    ------
    StoreRejected
        A tag that line protocol cannot carry; names it.
    """
    if not columns.keys:
        return []
    begins = prefixes.of(measurement, run, columns.keys)
    ends = orjson.dumps(np.ascontiguousarray(columns.ts, np.int64), option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].split(b",")
    values = {name: _written(column) for name, column in columns.values.items()}
    out: list[bytes] = [b""] * len(begins)
    for names, rows in _patterns(columns.values):
        form = b"%b" + b",".join(name.encode() + b"=%b" for name in names) + b" %b"
        parts = [begins, *(values[name] for name in names), ends]
        if len(rows) == len(begins):
            return [form % row for row in zip(*parts, strict=True)]
        for i in rows:
            out[i] = form % tuple([part[i] for part in parts])
    return out


def _written(column: Column) -> list[bytes]:
    """Return the values of a column as line protocol writes them (what was not measured: anything)."""
    if column.dtype == object:
        return [b"" if text is None else quoted(text) for text in column]
    return orjson.dumps(np.ascontiguousarray(column, np.float64), option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].split(b",")


def quoted(text: str) -> bytes:
    r"""Return a text as a field's value.

    Examples
    --------
    >>> quoted('a "b"')
    b'"a \\"b\\""'
    """
    return b'"' + text.encode().replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def _patterns(values: Mapping[str, Column]) -> Iterator[tuple[list[str], list[int]]]:
    """Return, for each set of fields that occurs together, its names and its rows."""
    names = list(values)
    there = np.stack([measured(values[name]) for name in names])
    if there.all():
        yield names, list(range(there.shape[1]))
        return
    bits = np.packbits(there, axis=0).T
    kinds, kind_of = np.unique(bits, axis=0, return_inverse=True)
    order = np.argsort(kind_of, kind="stable")
    for rows in np.split(order, np.cumsum(np.bincount(kind_of, minlength=len(kinds)))[:-1]):
        yield [name for name, has in zip(names, there[:, rows[0]], strict=True) if has], rows.tolist()
