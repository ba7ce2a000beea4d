"""Compares what the sensors of a plant show with the frames that were recorded of the same tick."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from producers.family import Producer
from twin.errors import MessageInvalid, TakeoverRefused
from twin.events.columns import Column, Family, Group
from twin.events.frames import Frame, decode_frame
from twin.events.layout import FrameLayout
from twin.events.topics import TOPICS
from twin.plant import Plant

JOBS = "telemetry.jobs"
_FAMILIES = {topic.name: topic.data for topic in TOPICS if isinstance(topic.data, Family)}
ALLOWED = 1.0 + 1e-6  # resolutions: two values that were rounded to neighbouring steps, and what decimals add
# The table of jobs is no frame: the steps to which ``jobs.py`` rounds it, where they are not those of a ratio.
_JOB_STEP = {"step_s": 0.001, "lost_gpu_h": 0.001, "failures_expected_n": 0.001, "usd_h": 0.001}
_JOB_STEP |= {"power_w": 1.0, "power_low_w": 1.0, "power_high_w": 1.0}
_RATIO_STEP = 0.0001
Frames = Mapping[tuple[str, str], bytes]  # topic and key -> data
Value = float | str | None


@dataclass(frozen=True, slots=True)
class Difference:
    """The largest difference between recorded and rebuilt frames, and how many were compared.

    Attributes
    ----------
    resolutions
        In steps of the column's sensor; infinite where a text, a code, a flag or a count is not the same.
    topic, key, column, index
        Where; empty if there is none. ``column`` has its group: ``loop.supply_c``.
    recorded, rebuilt
        The two values, ``None`` where one has none.
    compared_n
        Frames that were recorded and rebuilt.
    equal_n
        Those of them whose bytes are the same.
    missing_n
        Frames of the tick that the recording does not hold.
    """

    resolutions: float = 0.0
    topic: str = ""
    key: str = ""
    column: str = ""
    index: int = -1
    recorded: Value = None
    rebuilt: Value = None
    compared_n: int = 0
    equal_n: int = 0
    missing_n: int = 0

    @property
    def within(self) -> bool:
        """Whether all that was compared is the same within the resolution of its sensor."""
        return self.resolutions <= ALLOWED

    def text(self) -> str:
        """Say it in one line."""
        told = f"{self.compared_n} frames compared, {self.equal_n} equal in every byte"
        if self.missing_n:
            told += f", {self.missing_n} not in the recording"
        if self.resolutions == 0.0:
            return f"no difference: {told}"
        size = "not the same" if math.isinf(self.resolutions) else f"{self.resolutions:.3g} resolutions"
        where = f"{self.topic} {self.key} {self.column}".rstrip()
        place = f"[{self.index}]" if self.index >= 0 else ""
        values = f"recorded {_shown(self.recorded)}, rebuilt {_shown(self.rebuilt)}"
        return f"largest difference {size}: {where}{place}, {values}: {told}"


def differences(plant: Plant, producers: Iterable[Producer], recorded: Frames) -> Difference:
    """Compare what a plant's sensors show with the recorded frames of its last tick.

    Parameters
    ----------
    plant
        As after that tick.
    producers
        The families of its telemetry.
    recorded
        The data of the frames of that tick, byte for byte.

    Returns
    -------
    Difference
        The largest one.
    """
    table = next((data for (topic, _), data in recorded.items() if topic == JOBS), b"")
    rebuilt = {
        (producer.topic, reading.key): reading.data
        for producer in producers
        # The table of jobs comes in full in the first tick of an epoch: it is made as the recorded one is.
        for reading in producer.readings(plant, first_of_epoch=_is_full(table))
    }
    layout = FrameLayout(plant.site)
    worst = Difference()
    equal_n = compared_n = 0
    for (topic, key), data in recorded.items():
        ours = rebuilt.get((topic, key))
        if ours is None:
            worst = max(worst, Difference(math.inf, topic, key, recorded="a frame"), key=_size)
            continue
        compared_n += 1
        if ours == data:
            equal_n += 1
            continue
        for found in _compared(topic, key, data, ours, layout):
            worst = max(worst, replace(found, topic=topic, key=key), key=_size)
    missing_n = len(rebuilt.keys() - recorded.keys())
    return replace(worst, compared_n=compared_n, equal_n=equal_n, missing_n=missing_n)


def _size(difference: Difference) -> float:
    return difference.resolutions


def _is_full(table: bytes) -> bool:
    try:
        return bool(orjson.loads(table or b"{}").get("full"))
    except (orjson.JSONDecodeError, AttributeError):
        return False


def _compared(topic: str, key: str, recorded: bytes, rebuilt: bytes, layout: FrameLayout) -> Iterator[Difference]:
    family = _FAMILIES.get(topic)
    if family is None:
        yield from _job_table(recorded, rebuilt)
        return
    sizes = layout.sizes(topic, key) or {}
    try:
        theirs, ours = (decode_frame(family, data, sizes) for data in (recorded, rebuilt))
    except MessageInvalid as exc:
        raise TakeoverRefused("unreadable", f"the recorded frame {topic} {key} cannot be read: {exc}") from exc
    for group in family.groups:
        yield from _group(group, theirs, ours)


def _group(group: Group, theirs: Frame, ours: Frame) -> Iterator[Difference]:
    size = max(theirs.size(group.name), ours.size(group.name))
    for column in group.columns:
        name = f"{group.name}.{column.name}"
        if column.kind == "text":
            pairs = (frame.text.get(group.name, {}).get(column.name, []) for frame in (theirs, ours))
            yield from _texts(name, *pairs)
            continue
        a, b = (_numbers(frame, group.name, column, size) for frame in (theirs, ours))
        yield from _columns(name, column, a, b)


def _numbers(frame: Frame, group: str, column: Column, size: int) -> NDArray[np.float64]:
    if column.kind == "dense":
        return np.asarray(frame.dense.get(group, {}).get(column.name, []), dtype=np.float64)
    values = np.zeros(size)
    sparse = frame.sparse.get(group, {}).get(column.name)
    if sparse is not None:
        values[sparse.places] = sparse.values
    return values


def _columns(name: str, column: Column, recorded: NDArray[Any], rebuilt: NDArray[Any]) -> Iterator[Difference]:
    if len(recorded) != len(rebuilt):
        yield Difference(math.inf, column=name, recorded=f"{len(recorded)} values", rebuilt=f"{len(rebuilt)} values")
        return
    same = (recorded == rebuilt) | (np.isnan(recorded) & np.isnan(rebuilt))
    if same.all():
        return
    if _must_be_equal(column):
        steps = np.where(same, 0.0, np.inf)
    else:
        steps = np.where(same, 0.0, np.abs(recorded - rebuilt) / column.resolution)
        steps[np.isnan(steps)] = np.inf  # one of the two was not measured
    at = int(np.argmax(steps))
    a, b = (None if np.isnan(values[at]) else float(values[at]) for values in (recorded, rebuilt))
    yield Difference(float(steps[at]), column=name, index=at, recorded=a, rebuilt=b)


def _must_be_equal(column: Column) -> bool:
    """Tell whether a value is no measurement but a code, a flag or a count: near is as wrong as far."""
    return column.resolution == 0 or (column.resolution == 1 and not column.unit.symbol)


def _texts(name: str, recorded: list[str], rebuilt: list[str]) -> Iterator[Difference]:
    if len(recorded) != len(rebuilt):
        yield Difference(math.inf, column=name, recorded=f"{len(recorded)} ids", rebuilt=f"{len(rebuilt)} ids")
        return
    for at, (a, b) in enumerate(zip(recorded, rebuilt, strict=True)):
        if a != b:
            yield Difference(math.inf, column=name, index=at, recorded=a, rebuilt=b)
            return


def _job_table(recorded: bytes, rebuilt: bytes) -> Iterator[Difference]:
    try:
        theirs, ours = (dict(_leaves("", orjson.loads(data))) for data in (recorded, rebuilt))
    except orjson.JSONDecodeError as exc:
        raise TakeoverRefused("unreadable", f"the recorded table of jobs cannot be read: {exc}") from exc
    for place in theirs.keys() | ours.keys():
        a, b = theirs.get(place), ours.get(place)
        if a == b:
            continue
        path, _, index = place.rpartition("#")
        steps = math.inf
        if isinstance(a, float) and isinstance(b, float):
            steps = abs(a - b) / _JOB_STEP.get(path.rpartition(".")[2], _RATIO_STEP)
        yield Difference(steps, column=path, index=int(index), recorded=_plain(a), rebuilt=_plain(b))


def _leaves(path: str, node: Any, index: int = -1) -> Iterator[tuple[str, Any]]:
    """Walk through a table: path, ``#`` and the innermost index -> value."""
    if isinstance(node, dict):
        for name, child in node.items():
            yield from _leaves(f"{path}.{name}".lstrip("."), child, index)
    elif isinstance(node, list):
        for at, child in enumerate(node):
            yield from _leaves(f"{path}[{index}]" if index >= 0 else path, child, at)
    else:
        yield f"{path}#{index}", node


def _plain(value: Any) -> Value:
    return value if isinstance(value, float | str | None) else str(value)


def _shown(value: Value) -> str:
    return "nothing" if value is None else f"{value:.10g}" if isinstance(value, float) else value
