"""The encoding of frames: columns as JSON lists, rounded as the sensor would; read back with vector checks."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from twin.errors import MessageInvalid
from twin.events.columns import Column, Family, Group

Values = NDArray[Any]


class Sparse(NamedTuple):
    """A column that is nearly always zero: the places where it is not, and its values there."""

    places: NDArray[np.int64]
    values: NDArray[np.float64]


@dataclass(slots=True)
class Frame:
    """The data of one frame, by group and column.

    Attributes
    ----------
    dense
        Group -> column -> values in site order, NaN where not measured.
    sparse
        Group -> column -> places and values.
    text
        Group -> column -> ids.
    suspect
        ``group.column`` -> places that the gateway itself doubts.
    """

    dense: dict[str, dict[str, Values]] = field(default_factory=dict)
    sparse: dict[str, dict[str, Sparse]] = field(default_factory=dict)
    text: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    suspect: dict[str, NDArray[np.int64]] = field(default_factory=dict)

    def size(self, group: str) -> int:
        """Return how many places the group has, 0 if it is absent."""
        if dense := self.dense.get(group):
            return len(next(iter(dense.values())))
        text = self.text.get(group)
        return len(next(iter(text.values()))) if text else 0


def quantise(column: Column, values: Values) -> Values:
    """Round values to what the sensor shows, whole steps as whole numbers.

    Parameters
    ----------
    column
        Gives the resolution.
    values
        Any shape [unit of the column].

    Returns
    -------
    ndarray
        Integers where the resolution is 1 and all are measured, else floats that print short.

    Examples
    --------
    >>> from twin.events.gpu import GPU
    >>> quantise(GPU.column("gpu_temp_c"), np.array([47.83, 47.87], dtype=np.float32)).tolist() == [
    ...     float(np.float32(47.8)), float(np.float32(47.9))]
    True
    >>> quantise(GPU.column("power_w"), np.array([616.6])).tolist()
    [617]
    """
    if column.resolution == 0:
        return values
    if column.resolution == 1:
        whole = np.rint(values)
        if whole.dtype.kind in "iub" or np.isfinite(whole).all():
            return whole.astype(np.int64 if whole.dtype.itemsize > 4 else np.int32)
        return whole
    if column.resolution > 1:
        return np.asarray(np.rint(values / column.resolution) * column.resolution)
    # Dividing by a whole number gives the nearest float to the decimal, which prints short.
    steps = round(1 / column.resolution)
    out = np.multiply(values, steps)
    np.rint(out, out=out)
    out /= steps
    return np.asarray(out)


def encode_frame(family: Family, frame: Frame) -> bytes:
    """Encode a frame whose columns are already quantised.

    Parameters
    ----------
    family
        Its table of columns; only groups that the frame has are written.
    frame
        The values.

    Returns
    -------
    bytes
        A JSON object.
    """
    data: dict[str, Any] = {}
    for group in family.groups:
        columns: dict[str, Any] = dict(frame.dense.get(group.name, {}))
        columns.update(frame.text.get(group.name, {}))
        for name, (places, values) in frame.sparse.get(group.name, {}).items():
            columns[name] = {
                str(i): int(v) if v.is_integer() else v
                for i, v in zip(places.tolist(), np.asarray(values, dtype=np.float64).tolist(), strict=True)
            }
        if columns:
            data[group.name] = columns
    if frame.suspect:
        data["suspect"] = {name: index.tolist() for name, index in frame.suspect.items() if len(index)}
    return orjson.dumps(data, option=orjson.OPT_SERIALIZE_NUMPY)


def decode_frame(family: Family, data: bytes, sizes: Mapping[str, int]) -> Frame:
    """Read a frame and check every value against its column.

    Parameters
    ----------
    family
        The table of columns. A column that it does not know is passed over: adding a field is safe.
    data
        The data of a message.
    sizes
        Places of each group that the frame must hold; a group that is not named may have any length.

    Returns
    -------
    Frame
        Float columns with NaN where nothing was measured.

    Raises
    ------
    MessageInvalid
        With the first thing that is wrong: not-json, missing group, wrong length, type, or range.
    """
    try:
        loaded = orjson.loads(data)
    except orjson.JSONDecodeError as exc:
        raise MessageInvalid(f"not-json: {exc}") from exc
    if not isinstance(loaded, dict):
        raise MessageInvalid("bad-data: expected an object of groups")
    frame = Frame()
    for group in family.groups:
        columns = loaded.get(group.name)
        if columns is None:
            if group.name in sizes:
                raise MessageInvalid(f"missing-group: {group.name}")
            continue
        if not isinstance(columns, dict):
            raise MessageInvalid(f"bad-data: {group.name}: expected an object of columns")
        _read_group(group, columns, sizes.get(group.name), frame)
    frame.suspect = _suspects(family, loaded.get("suspect"), frame)
    return frame


def _read_group(group: Group, columns: dict[str, Any], size: int | None, frame: Frame) -> None:
    numbers: list[tuple[Column, list[Any]]] = []
    sparse: dict[str, Sparse] = {}
    text: dict[str, list[str]] = {}
    for column in group.columns:
        given = columns.get(column.name)
        where = f"{group.name}.{column.name}"
        if column.kind == "sparse":
            # Absent means all zero; places are checked once the size is known.
            if given:
                sparse[column.name] = _read_sparse(group.name, column, given)
            continue
        if given is None:
            if size is not None:
                raise MessageInvalid(f"missing-column: {where}")
            continue
        if not isinstance(given, list):
            raise MessageInvalid(f"bad-type: {where}: expected a list")
        if size is None:
            size = len(given)
        if len(given) != size:
            raise MessageInvalid(f"wrong-length: {where}: {len(given)} values, expected {size}")
        if column.kind == "text":
            if not all(isinstance(value, str) and len(value) <= 200 for value in given):
                raise MessageInvalid(f"bad-type: {where}: expected ids")
            text[column.name] = given
        else:
            numbers.append((column, given))
    for name, (places, _) in sparse.items():
        if size is not None and len(places) and places.max() >= size:
            raise MessageInvalid(f"bad-index: {group.name}.{name}: beyond {size} places")
    frame.dense[group.name] = _read_dense(group.name, numbers, size or 0)
    if sparse:
        frame.sparse[group.name] = sparse
    if text:
        frame.text[group.name] = text


def _read_dense(group: str, columns: list[tuple[Column, list[Any]]], size: int) -> dict[str, Values]:
    """Read columns of one length: one array for all, so that they are checked together."""
    values = np.empty((len(columns), size))
    for row, (column, given) in zip(values, columns, strict=True):
        if not _read_numbers(row, given):
            raise MessageInvalid(f"bad-type: {group}.{column.name}: expected numbers or null")
    if size:
        lows, highs = np.fmin.reduce(values, axis=1).tolist(), np.fmax.reduce(values, axis=1).tolist()
        # A truth value reads as 0 or 1: only where there is one the slow look at what was given is needed.
        truths = ((values == 0) | (values == 1)).any()
        for (column, given), low, high in zip(columns, lows, highs, strict=True):
            if truths and low <= 1 and bool in map(type, given):
                raise MessageInvalid(f"bad-type: {group}.{column.name}: expected numbers or null")
            if low < column.low or high > column.high:
                bad = low if low < column.low else high
                raise MessageInvalid(
                    f"out-of-range: {group}.{column.name}: {bad} is not in {column.low:g}..{column.high:g}"
                )
    return {column.name: row for row, (column, _) in zip(values, columns, strict=True)}


def _read_numbers(row: NDArray[np.float64], given: list[Any]) -> bool:
    """Write numbers and nulls into a row; tell whether all were such."""
    # Packing a list of one kind of number is three times as fast as letting NumPy find out what is in it.
    try:
        if given and type(given[0]) is int:
            row[:] = np.frombuffer(struct.pack(f"{len(given)}q", *given), np.int64)
        else:
            struct.pack_into(f"{len(given)}d", row.data, 0, *given)
    except struct.error:
        if not _NUMBER_OR_NULL.issuperset(map(type, given)):
            return False
        row[:] = given
    return True


_NUMBER_OR_NULL = {int, float, type(None)}


def _read_sparse(group: str, column: Column, given: Any) -> Sparse:
    where = f"{group}.{column.name}"
    if not isinstance(given, dict):
        raise MessageInvalid(f"bad-type: {where}: expected {{index: value}}")
    if not all(key.isdecimal() and len(key) < 10 for key in given):
        raise MessageInvalid(f"bad-index: {where}: expected whole numbers")
    values = _read_dense(group, [(column, list(given.values()))], len(given))[column.name]
    if np.isnan(values).any():
        raise MessageInvalid(f"bad-type: {where}: expected numbers")
    return Sparse(np.array([int(key) for key in given], dtype=np.int64), values)


def _suspects(family: Family, given: Any, frame: Frame) -> dict[str, NDArray[np.int64]]:
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise MessageInvalid("bad-type: suspect: expected {column: [index]}")
    suspects: dict[str, NDArray[np.int64]] = {}
    for name, places in given.items():
        group, _, column = name.partition(".")
        if group not in family.by_name or column not in {c.name for c in family.by_name[group].columns}:
            continue
        if not isinstance(places, list) or not all(type(place) is int for place in places):
            raise MessageInvalid(f"bad-type: suspect.{name}: expected a list of places")
        if places and (min(places) < 0 or max(places) >= frame.size(group)):
            raise MessageInvalid(f"bad-index: suspect.{name}: beyond {frame.size(group)} places")
        suspects[name] = np.array(places, dtype=np.int64)
    return suspects
