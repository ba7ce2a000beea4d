"""Malfunctions: what an instructor breaks, as one table.

To add a kind: a row of ``MALFUNCTIONS`` with what it may hit and its effect at a level of 0..1. Effects that
last are set anew each tick from what is active, so that an end needs no undoing.
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from twin.errors import InjectRejected, SiteInvalid
from twin.plant import protection
from twin.plant.cdus import PUMP_NAMES
from twin.plant.model import ActiveMalfunction, Plant, Value, cdu_rack, kind_of, units_of
from twin.plant.states import RUNNING, STARTING, STOPPING, TRIPPED
from twin.site.units import UnitKind


class MalfunctionKind(NamedTuple):
    """One row of the table.

    Attributes
    ----------
    targets
        Kinds of asset that it may hit.
    full_scale
        What severity 1 means.
    lasts
        Whether it goes on; else it is over once its ramp is, and its units stay as they are.
    params
        Values that each parameter may take.
    effect
        Called each tick with the level reached, 0..1.
    """

    kind: str
    targets: tuple[str, ...]
    full_scale: str
    lasts: bool
    params: Mapping[str, tuple[str, ...]]
    effect: Callable[[Plant, ActiveMalfunction, float], None]


def inject(
    plant: Plant,
    kind: str,
    target: str,
    *,
    severity: float = 1.0,
    ramp_s: float = 0.0,
    delay_s: float = 0.0,
    hold_s: float | None = None,
    params: Mapping[str, Value] | None = None,
) -> None:
    """Put a malfunction into the plant; it acts from the next step on.

    Parameters
    ----------
    plant
        Changed in place.
    kind
        A key of ``MALFUNCTIONS``.
    target
        The asset that breaks.
    severity
        Share of the kind's full scale, 0..1.
    ramp_s, delay_s
        Linear growth, and the wait before it. [s]
    hold_s
        Removed after so long; None stays until something repairs it, or for good. [s]
    params
        What only that kind needs.

    Raises
    ------
    InjectRejected
        Unknown kind, wrong target, a number outside its range; the text says what is allowed.
    """
    row = MALFUNCTIONS.get(kind)
    if row is None:
        raise InjectRejected(f"no malfunction {kind!r}: allowed are {', '.join(sorted(MALFUNCTIONS))}")
    try:
        found = kind_of(plant, target)
    except SiteInvalid as error:
        raise InjectRejected(str(error)) from error
    if found not in row.targets:
        raise InjectRejected(f"{kind} cannot hit {target}, a {found}: allowed are {', '.join(row.targets)}")
    if not 0.0 <= severity <= 1.0:
        raise InjectRejected(f"severity {severity}: allowed is 0..1")
    for name, length_s in (("ramp_s", ramp_s), ("delay_s", delay_s), ("hold_s", hold_s)):
        if length_s is not None and not (math.isfinite(length_s) and length_s >= 0.0):
            raise InjectRejected(f"{name} {length_s}: allowed is 0 or more")
    if hold_s is not None and hold_s < ramp_s:
        raise InjectRejected(f"hold_s {hold_s}: must not be shorter than ramp_s {ramp_s}")
    given = dict(params or {})
    for name, value in given.items():
        if value not in row.params.get(name, ()):
            told = ", ".join(f"{key} {'|'.join(choices)}" for key, choices in row.params.items()) or "none"
            raise InjectRejected(f"{kind} does not know {name} = {value!r}: allowed are {told}")
    if found == "cdu":
        rack = cdu_rack(plant, target)
        given.setdefault("pump", PUMP_NAMES[int(plant.cooling.cdus.selected_pump[rack])])
    plant.malfunctions.append(
        ActiveMalfunction(kind, target, severity, ramp_s, hold_s, given, plant.elapsed_s + delay_s)
    )


def step(plant: Plant, until_s: float) -> None:
    """Let all active malfunctions act.

    Parameters
    ----------
    plant
        Changed in place.
    until_s
        Time of the plant at the end of the tick. [s]
    """
    if not plant.malfunctions:
        return
    plant.cooling.pumps.health_ratio[:] = 1.0
    plant.cooling.cdus.pump_health_ratio[:] = 1.0
    plant.malfunctions[:] = [active for active in plant.malfunctions if not _is_over(active, until_s)]
    for active in tuple(plant.malfunctions):
        level = level_at(active, until_s)
        if level > 0.0:
            MALFUNCTIONS[active.kind].effect(plant, active, level)
            if not MALFUNCTIONS[active.kind].lasts and level >= active.severity:
                plant.malfunctions.remove(active)


def level_at(active: ActiveMalfunction, at_s: float) -> float:
    """Give the share of full scale that a malfunction has reached at an instant."""
    since_s = at_s - active.from_s
    if since_s <= 0.0:
        return 0.0
    return active.severity * (min(since_s / active.ramp_s, 1.0) if active.ramp_s > 0.0 else 1.0)


def end(plant: Plant, kind: str, units: list[int], unit_kind: UnitKind) -> None:
    """End the malfunctions of a kind that hit any of these units: a command has repaired them."""
    plant.malfunctions[:] = [
        active
        for active in plant.malfunctions
        if active.kind != kind or not set(units) & set(units_of(plant, active.target, unit_kind))
    ]


def _is_over(active: ActiveMalfunction, at_s: float) -> bool:
    return active.hold_s is not None and at_s - active.from_s >= active.hold_s


def _newly_hit(active: ActiveMalfunction, units: list[int], level: float) -> list[int]:
    """List the units that the level has newly reached: a share of a group is so many of its units."""
    reached = math.ceil(level * len(units) - 1e-9)
    hit = units[active.done_n : reached]
    active.done_n = max(active.done_n, reached)
    return hit


def _trip_chillers(plant: Plant, active: ActiveMalfunction, level: float) -> None:
    chillers = plant.cooling.chillers
    for chiller in _newly_hit(active, units_of(plant, active.target, "chiller"), level):
        if chillers.state_code[chiller] in (STARTING, RUNNING):
            chillers.state_code[chiller] = TRIPPED


def _trip_turbines(plant: Plant, active: ActiveMalfunction, level: float) -> None:
    turbines = plant.power.turbines
    for turbine in _newly_hit(active, units_of(plant, active.target, "turbine"), level):
        if turbines.state_code[turbine] in (STARTING, RUNNING, STOPPING):
            turbines.state_code[turbine] = TRIPPED
            turbines.start_elapsed_s[turbine] = turbines.stop_elapsed_s[turbine] = 0.0


def _degrade_pump(plant: Plant, active: ActiveMalfunction, level: float) -> None:
    if kind_of(plant, active.target) == "cdu":
        which = PUMP_NAMES.index(str(active.params["pump"]))
        plant.cooling.cdus.pump_health_ratio[cdu_rack(plant, active.target), which] *= 1.0 - level
        return
    for pump in units_of(plant, active.target, "pump"):
        plant.cooling.pumps.health_ratio[pump] *= 1.0 - level
        if level >= 1.0 and plant.cooling.pumps.state_code[pump] in (STARTING, RUNNING):
            protection.trip_pump(plant.cooling, pump)


MALFUNCTIONS: dict[str, MalfunctionKind] = {
    row.kind: row
    for row in (
        MalfunctionKind(
            "chiller_trip",
            ("chiller", "cooling_plant"),
            "all chillers of the target trip; they can be reset at once",
            False,
            {},
            _trip_chillers,
        ),
        MalfunctionKind(
            "pump_degraded",
            ("pump", "cdu"),
            "the pump's flow falls to nothing; a facility pump trips at full scale",
            True,
            {"pump": PUMP_NAMES},
            _degrade_pump,
        ),
        MalfunctionKind(
            "turbine_trip",
            ("turbine", "gas_skid"),
            "all turbines of the target trip; they can be reset at once",
            False,
            {},
            _trip_turbines,
        ),
    )
}
