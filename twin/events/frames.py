"""The encoding of frames: columns as JSON lists, rounded as the sensor would; read back with vector checks."""

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
    dense: dict[str, Values] = {}
    sparse: dict[str, Sparse] = {}
    text: dict[str, list[str]] = {}
    for column in group.columns:
        given = columns.get(column.name)
        where = f"{group.name}.{column.name}"
        if column.kind == "sparse":
            # Absent means all zero; places are checked once the size is known.
            if given:
                sparse[column.name] = _read_sparse(where, column, given)
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
            dense[column.name] = _read_dense(where, column, given)
    for name, (places, _) in sparse.items():
        if size is not None and len(places) and places.max() >= size:
            raise MessageInvalid(f"bad-index: {group.name}.{name}: beyond {size} places")
    frame.dense[group.name] = dense
    if sparse:
        frame.sparse[group.name] = sparse
    if text:
        frame.text[group.name] = text


def _read_dense(where: str, column: Column, given: list[Any]) -> Values:
    try:
        values = np.array(given)
    except (ValueError, OverflowError) as exc:
        raise MessageInvalid(f"bad-type: {where}: {exc}") from exc
    if values.dtype.kind == "O" and values.ndim == 1:
        if not all(value is None or type(value) in (int, float) for value in given):
            raise MessageInvalid(f"bad-type: {where}: expected numbers or null")
        values = values.astype(np.float64)
    if values.ndim != 1 or (values.dtype.kind not in "iuf" and len(given)):
        raise MessageInvalid(f"bad-type: {where}: expected numbers or null")
    if len(given):
        low, high = np.fmin.reduce(values), np.fmax.reduce(values)
        if low < column.low or high > column.high:
            bad = low if low < column.low else high
            raise MessageInvalid(f"out-of-range: {where}: {bad} is not in {column.low:g}..{column.high:g}")
    return values.astype(np.float64, copy=False)


def _read_sparse(where: str, column: Column, given: Any) -> Sparse:
    if not isinstance(given, dict):
        raise MessageInvalid(f"bad-type: {where}: expected {{index: value}}")
    if not all(key.isdecimal() and len(key) < 10 for key in given):
        raise MessageInvalid(f"bad-index: {where}: expected whole numbers")
    value = _read_dense(where, column, list(given.values()))
    return Sparse(np.array([int(key) for key in given], dtype=np.int64), value)


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
        index = np.array(places, dtype=np.int64)
        if len(index) and (index.min() < 0 or index.max() >= frame.size(group)):
            raise MessageInvalid(f"bad-index: suspect.{name}: beyond {frame.size(group)} places")
        suspects[name] = index
    return suspects
