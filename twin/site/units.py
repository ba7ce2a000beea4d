"""Every unit of a site by id, kind, plant and hall; a hall ``k`` has its own ``cooling-k`` plant."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from twin.site.layout import Layout

UnitKind = Literal[
    "cooling_plant",
    "loop",
    "pump",
    "tower",
    "tower_cell",
    "chiller",
    "branch",
    "cdu",
    "power_plant",
    "gas",
    "gas_skid",
    "turbine",
    "scr",
    "battery",
    "feed",
    "ups",
    "meter",
    "switch",
    "scheduler",
]
UNIT_KINDS: tuple[UnitKind, ...] = get_args(UnitKind)

POWER_PLANT = "power-1"
SCHEDULER = "scheduler-1"


@dataclass(frozen=True, slots=True)
class Unit:
    """A device that stands alone, or a plant of several.

    Attributes
    ----------
    id
        Unique in the site, such as ``chiller-3``.
    kind
        One of ``UNIT_KINDS``.
    plant
        The plant that reports it: ``cooling-k``, ``power-1``, ``scheduler-1``; of a switch the hall, of a
        CDU the array whose frame it is in.
    hall
        The hall that it serves, or None if it serves the whole site.
    """

    id: str
    kind: UnitKind
    plant: str
    hall: str | None


def build_units(
    layout: Layout,
    *,
    pumps_per_hall: int,
    cells_per_tower: int,
    chillers_per_hall: int,
    turbines: int,
    turbines_per_skid: int,
    turbines_per_scr: int,
    rails: int,
) -> tuple[Unit, ...]:
    """List every unit of a site, plant by plant."""
    units: list[Unit] = []
    for k, hall in enumerate(layout.hall_ids, start=1):
        units += _cooling_units(layout, k, hall, pumps_per_hall, cells_per_tower, chillers_per_hall)
    units += _power_units(layout, turbines, turbines_per_skid, turbines_per_scr)
    units.append(Unit(SCHEDULER, "scheduler", SCHEDULER, None))
    for array, array_id in enumerate(layout.array_ids):
        hall = layout.hall_ids[layout.array_hall[array]]
        units += [Unit(f"leaf-{array_id}-{rail}", "switch", hall, hall) for rail in range(rails)]
    for rack, rack_id in enumerate(layout.rack_ids):
        array_id = layout.array_ids[layout.rack_array[rack]]
        units.append(Unit(f"cdu-{rack_id}", "cdu", array_id, layout.hall_ids[layout.rack_hall[rack]]))
    return tuple(units)


def members(count: int, group_size: int, group: int) -> range:
    """Give the numbers of the units in a group, when units 1..``count`` are grouped in order.

    Examples
    --------
    >>> list(members(15, 4, 4))
    [13, 14, 15]
    """
    return range((group - 1) * group_size + 1, min(group * group_size, count) + 1)


def groups(count: int, group_size: int) -> range:
    """Give the numbers of the groups that units 1..``count`` make."""
    return range(1, -(-count // group_size) + 1)


def _cooling_units(layout: Layout, k: int, hall: str, pumps: int, cells: int, chillers: int) -> Iterator[Unit]:
    plant = f"cooling-{k}"
    yield Unit(plant, "cooling_plant", plant, hall)
    yield Unit(f"loop-{k}", "loop", plant, hall)
    for branch, branch_id in enumerate(layout.branch_ids):
        if layout.branch_hall[branch] == k - 1:
            yield Unit(branch_id, "branch", plant, hall)
    for i in range((k - 1) * pumps + 1, k * pumps + 1):
        yield Unit(f"pump-{i}", "pump", plant, hall)
    if cells:
        yield Unit(f"tower-{k}", "tower", plant, hall)
    for i in range(1, cells + 1):
        yield Unit(f"tower-{k}-c{i}", "tower_cell", plant, hall)
    for i in range((k - 1) * chillers + 1, k * chillers + 1):
        yield Unit(f"chiller-{i}", "chiller", plant, hall)


def _power_units(layout: Layout, turbines: int, per_skid: int, per_scr: int) -> Iterator[Unit]:
    plant = POWER_PLANT
    yield Unit(plant, "power_plant", plant, None)
    yield Unit("gas-1", "gas", plant, None)
    for i in groups(turbines, per_skid):
        yield Unit(f"gas-skid-{i}", "gas_skid", plant, None)
    for i in range(1, turbines + 1):
        yield Unit(f"turbine-{i}", "turbine", plant, None)
    for i in groups(turbines, per_scr):
        yield Unit(f"scr-{i}", "scr", plant, None)
    yield Unit("battery-1", "battery", plant, None)
    yield Unit("feed-1", "feed", plant, None)
    for k, hall in enumerate(layout.hall_ids, start=1):
        yield Unit(f"ups-{k}", "ups", plant, hall)
        yield Unit(f"meter-{hall}", "meter", plant, hall)
