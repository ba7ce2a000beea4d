"""The plant as one thing: its state, what was built, and what follows from both."""

import re
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from twin.plant.asbuilt import AsBuilt
from twin.plant.cooling import Cooling, CoolingWork
from twin.plant.counters import Counters
from twin.plant.failures import Failures
from twin.plant.gpus import Gpus, GpuWork
from twin.plant.jobs import Jobs
from twin.plant.network import Network, NetworkWork
from twin.plant.power import Power
from twin.plant.weather import Weather
from twin.site import Site
from twin.site.units import UnitKind, members

Value = float | str | bool
_IDS = {"hall": r"H\d+", "array": r"A\d+", "rack": r"R\d+", "server": r"R\d+-s\d+", "gpu": r"R\d+-g\d+"}
INDEXED: tuple[UnitKind, ...] = ("pump", "chiller", "turbine", "loop")


@dataclass
class ActiveMalfunction:
    """A malfunction that an instructor has put in.

    Attributes
    ----------
    from_s
        Time of the plant at which it begins. [s]
    done_n
        How many units of its target it has tripped already.
    """

    kind: str
    target: str
    severity: float
    ramp_s: float
    hold_s: float | None
    params: dict[str, Value]
    from_s: float
    done_n: int = 0


@dataclass(frozen=True)
class OperatorCommand:
    """What the automatic operator has ordered in the last tick, and was not refused."""

    verb: str
    unit: str
    params: dict[str, Value]


@dataclass
class Work:
    """What follows from site, seed and state; worked out again after a restore."""

    gpus: GpuWork
    cooling: CoolingWork
    network: NetworkWork
    year: NDArray[np.float64]
    index: dict[str, dict[str, int]]


@dataclass
class Plant:
    """One simulated site. Its arrays are changed in place; see the classes of its parts.

    Attributes
    ----------
    tick
        Steps made.
    dt_s
        Length of the last step. [s]
    elapsed_s
        Time since the plant began. [s]
    site_time_s
        Seconds of the typical year, local standard time. [s]
    """

    site: Site
    seed: int
    automatic_operator: bool
    site_time_s: float
    asbuilt: AsBuilt
    weather: Weather
    jobs: Jobs
    gpus: Gpus
    cooling: Cooling
    power: Power
    network: Network
    failures: Failures
    counters: Counters
    streams: dict[str, np.random.Generator]
    work: Work
    tick: int = 0
    dt_s: float = 1.0
    elapsed_s: float = 0.0
    malfunctions: list[ActiveMalfunction] = field(default_factory=list)
    operator_commands: list[OperatorCommand] = field(default_factory=list)


def unit_index(site: Site) -> dict[str, dict[str, int]]:
    """Give each unit its place among those of its kind, in site order."""
    return {kind: {id_: i for i, id_ in enumerate(site.unit_ids(kind))} for kind in INDEXED}


def kind_of(plant: Plant, asset: str) -> str:
    """Name the kind of an asset: a kind of unit, or job, hall, array, rack, server, gpu.

    Raises
    ------
    SiteInvalid
        No such asset.
    """
    layout = plant.site.layout
    if asset in plant.jobs.id:
        return "job"
    for kind, pattern in _IDS.items():
        if re.fullmatch(pattern, asset):
            find = {"server": layout.server_index, "gpu": layout.gpu_index, "rack": layout.rack_index}
            find |= {"array": layout.array_index, "hall": layout.hall_index}
            find[kind](asset)
            return kind
    return plant.site.unit(asset).kind


def units_of(plant: Plant, asset: str, kind: UnitKind) -> list[int]:
    """List the units of a kind that an asset is or holds, by their place in the plant's arrays.

    Parameters
    ----------
    plant
        Read only.
    asset
        A unit of that kind, the cooling plant of a hall, or a gas skid.
    kind
        One of ``INDEXED``, or cdu.
    """
    site = plant.site
    unit = site.unit(asset)
    if unit.kind == kind:
        return [cdu_rack(plant, asset)] if kind == "cdu" else [plant.work.index[kind][asset]]
    if unit.kind == "gas_skid":
        number = int(asset.rsplit("-", 1)[1])
        per_skid = site.gas.turbines_per_skid_n
        return [turbine - 1 for turbine in members(site.turbine.units_n, per_skid, number)]
    return [plant.work.index[kind][id_] for id_ in site.unit_ids(kind, unit.plant)]


def cdu_rack(plant: Plant, cdu: str) -> int:
    """Find the rack of a CDU."""
    return plant.site.layout.rack_index(cdu.removeprefix("cdu-"))


def gpu_slices(plant: Plant, asset: str) -> list[slice]:
    """List the GPUs of a job, hall, array, rack, server or GPU as slices of the plant's arrays."""
    layout, kind = plant.site.layout, kind_of(plant, asset)
    per_server = layout.gpus_per_server
    match kind:
        case "job":
            row = int(np.flatnonzero(plant.jobs.id == asset)[0])
            return [slice(a * per_server, b * per_server) for a, b, job in plant.work.gpus.parts if job == row]
        case "gpu":
            gpu = layout.gpu_index(asset)
            return [slice(gpu, gpu + 1)]
        case "server":
            server = layout.server_index(asset)
            return [slice(server * per_server, (server + 1) * per_server)]
        case "rack":
            first = layout.rack_index(asset)
            end = first + 1
        case "array":
            array = layout.array_index(asset)
            first, end = (int(rack) for rack in layout.array_first_rack[array : array + 2])
        case _:
            hall = layout.hall_index(asset)
            first, end = (int(rack) for rack in layout.hall_first_rack[hall : hall + 2])
    return [slice(int(layout.rack_first_gpu[first]), int(layout.rack_first_gpu[end]))]
