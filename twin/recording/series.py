"""Where in the messages of a site a quantity of an asset stands: ``power_w@R0001-g17``, ``supply_c@chiller-3``.

Of telemetry the site file says it; what the observer makes of it is found by its columns of indexes.
"""

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from twin.errors import RecordingError, SiteInvalid
from twin.events.columns import Column, Family, Group
from twin.events.derived import TWIN_RACK, TWIN_SITE
from twin.events.frames import Frame
from twin.events.layout import FrameLayout
from twin.events.topics import BY_NAME, array_partition

_NUMBERED = ("gpu", "server")  # groups whose assets go by number
_INDEXES = ("rack_i", "hall_i", "scope_i")
_ALLOWED = "write QUANTITY@ASSET, such as power_w@R0001-g17 or supply_c@chiller-3"


@dataclass(frozen=True, slots=True)
class Place:
    """Where the values of one asset are in the messages of a topic.

    Attributes
    ----------
    key
        Of the messages; empty: all.
    partition
        The only one that has them; below 0: any.
    at
        Place in the columns; below 0: the one where ``where`` holds.
    where
        Column -> value, of numbers or of ids.
    """

    topic: str
    group: Group
    key: str = ""
    partition: int = -1
    at: int = -1
    where: Mapping[str, float | str] = field(default_factory=dict)

    def find(self, frame: Frame) -> int | None:
        """Return the place in a frame, ``None`` if it has none."""
        size = frame.size(self.group.name)
        if self.at >= 0:
            return self.at if self.at < size else None
        here = np.ones(size, dtype=bool)
        for name, value in self.where.items():
            columns = frame.text if isinstance(value, str) else frame.dense
            found = columns.get(self.group.name, {}).get(name)
            if found is None:
                return None
            here &= np.asarray(found) == value
        places = np.flatnonzero(here)
        return int(places[0]) if len(places) else None


@dataclass(frozen=True, slots=True)
class Series:
    """A quantity of an asset, and where it stands.

    Attributes
    ----------
    name
        ``topic.group.column``.
    """

    place: Place
    column: Column

    @property
    def name(self) -> str:
        """``topic.group.column``."""
        return f"{self.place.topic}.{self.place.group.name}.{self.column.name}"

    def value(self, frame: Frame) -> float | None:
        """Read the value out of a frame, NaN where it was not measured; ``None``: it is not about the asset."""
        at, group = self.place.find(frame), self.place.group.name
        if at is None:
            return None
        if self.column.kind == "sparse":
            if self.column.name not in frame.sparse.get(group, {}):
                return 0.0
            places, values = frame.sparse[group][self.column.name]
            here = np.flatnonzero(places == at)
            return float(values[here[0]]) if len(here) else 0.0
        measured = frame.dense[group].get(self.column.name)
        return float("nan") if measured is None else float(measured[at])


def series_of(layout: FrameLayout, text: str) -> list[Series]:
    """Find all that is meant by a text, what was measured first.

    Parameters
    ----------
    layout
        Of the site that was recorded.
    text
        ``QUANTITY@ASSET``; of two quantities of one name, group and topic in front of it say which
        (``twin.rack.cdu.supply_c``).

    Raises
    ------
    RecordingError
        There is no such asset or quantity; says which there are.
    """
    quantity, at, asset = text.partition("@")
    if not (quantity and at and asset):
        raise RecordingError(f"{text!r} is no series: {_ALLOWED}")
    all_of_it = [
        Series(place, column)
        for place in _places(layout, asset)
        for column in place.group.columns
        if column.kind != "text" and column.name not in _INDEXES
    ]
    if not all_of_it:
        near = difflib.get_close_matches(asset, _assets(layout), n=3)
        hint = f"; near: {', '.join(near)}" if near else ", such as R0001-g17, cdu-R0001, R0001, H1 or chiller-1"
        raise RecordingError(f"there is no {asset!r} at {layout.site.id} whose values are recorded{hint}")
    found = [series for series in all_of_it if f".{series.name}".endswith(f".{quantity}")]
    if not found:
        there = sorted({series.column.name for series in all_of_it})
        raise RecordingError(f"there is no {quantity!r} of {asset}: there are {', '.join(there)}")
    return found


def _places(layout: FrameLayout, asset: str) -> Iterator[Place]:
    yield from _numbered(layout, asset)
    for topic in layout.topics():
        for key in layout.keys(topic):
            for group in layout.sizes(topic, key) or ():
                if group not in _NUMBERED and asset in (ids := layout.ids(topic, key, group)):
                    yield Place(topic, _family(topic).by_name[group], key=key, at=ids.index(asset))
    yield from _derived_of_rack(layout, asset)
    yield from _derived_of_site(layout, asset)


def _numbered(layout: FrameLayout, asset: str) -> Iterator[Place]:
    """Yield where a GPU or a server is in the frame of its array."""
    floor = layout.site.layout
    for group, index, first in (
        ("gpu", floor.gpu_index, floor.rack_first_gpu),
        ("server", floor.server_index, floor.rack_first_server),
    ):
        number = _number(index, asset)
        if number is None:
            continue
        array = int(np.searchsorted(first[floor.array_first_rack], number, side="right")) - 1
        yield Place(
            "telemetry.gpu",
            _family("telemetry.gpu").by_name[group],
            key=floor.array_ids[array],
            at=number - int(first[floor.array_first_rack[array]]),
        )


def _derived_of_rack(layout: FrameLayout, asset: str) -> Iterator[Place]:
    """Yield where a rack, its CDU or one of its GPUs is in ``twin.rack``."""
    floor = layout.site.layout
    where: dict[str, float | str] = {}
    name = "cdu" if asset.startswith("cdu-") else "rack"
    rack = _number(floor.rack_index, asset.removeprefix("cdu-"))
    gpu = _number(floor.gpu_index, asset)
    if gpu is not None:
        name = "gpu"
        rack = int(np.searchsorted(floor.rack_first_gpu, gpu, side="right")) - 1
        where["gpu"] = gpu - int(floor.rack_first_gpu[rack])
    if rack is not None:
        where["rack_i"] = rack
        partition = array_partition(int(floor.rack_array[rack]))
        yield Place("twin.rack", TWIN_RACK.by_name[name], partition=partition, where=where)


def _derived_of_site(layout: FrameLayout, asset: str) -> Iterator[Place]:
    """Yield where the site, a hall or a unit is in ``twin.site``."""
    halls = layout.site.layout.hall_ids
    whole = asset == layout.site.id
    for group in TWIN_SITE.groups:
        names = {column.name for column in group.columns}
        if "unit" in names:
            if any(unit.id == asset and unit.kind == group.name for unit in layout.site.units):
                yield Place("twin.site", group, where={"unit": asset})
        elif "hall_i" in names and asset in halls:
            yield Place("twin.site", group, where={"hall_i": halls.index(asset)})
        elif "scope_i" in names and (whole or asset in halls):
            yield Place("twin.site", group, where={"scope_i": 0 if whole else 1 + halls.index(asset)})
        elif names.isdisjoint(_INDEXES) and whole:
            yield Place("twin.site", group, at=0)


def _number(index: Callable[[str], int], asset: str) -> int | None:
    """Return the number of an asset in the site, ``None`` if it is none of that kind."""
    try:
        return index(asset)
    except SiteInvalid:
        return None


def _family(topic: str) -> Family:
    family = BY_NAME[topic].data
    assert isinstance(family, Family)  # noqa: S101  (a topic of the layout)
    return family


def _assets(layout: FrameLayout) -> list[str]:
    site = layout.site
    return [*(unit.id for unit in site.units), *site.layout.rack_ids, *site.layout.hall_ids, site.id]
