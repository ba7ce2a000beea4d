"""Commands: the one table of what an operator may do to the plant, and when it refuses.

To add a command: a row of ``COMMANDS``: the kinds of unit, the parameters with their limits, why it would be
refused, and what it does.
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from twin.errors import CommandRejected, SiteInvalid
from twin.plant import malfunctions, protection
from twin.plant.cdus import PUMP_NAMES
from twin.plant.model import Plant, Value, cdu_rack, gpu_slices, kind_of, units_of
from twin.plant.states import NAMES, OFF, RUNNING, STANDBY, STARTING, STOPPING, TRIPPED

Params = Mapping[str, Value]
HOUR_S = 3600.0


class Param(NamedTuple):
    """A parameter of a command: a number within limits, or one of some words; ``default`` None: required."""

    name: str
    low: float = 0.0
    high: float = 0.0
    choices: tuple[str, ...] = ()
    default: float | None = None


class Command(NamedTuple):
    """One row of the table.

    Attributes
    ----------
    kinds
        Kinds of asset that it may go to.
    refuse
        Gives the reason for which the plant refuses it now, or None.
    effect
        Carries it out.
    """

    verb: str
    kinds: tuple[str, ...]
    params: tuple[Param, ...]
    refuse: Callable[[Plant, str, Params], str | None]
    effect: Callable[[Plant, str, Params], None]


def apply(plant: Plant, verb: str, unit: str, params: Params) -> None:
    """Carry out an operator's command.

    Parameters
    ----------
    plant
        Changed in place, if it accepts.
    verb
        A key of ``COMMANDS``.
    unit
        The asset that it goes to.
    params
        By name, numbers in the unit of the name.

    Raises
    ------
    CommandRejected
        The plant refuses; the text is the reason, as an operator reads it. Nothing has changed.
    """
    row = COMMANDS.get(verb)
    if row is None:
        raise CommandRejected(f"no command {verb!r}: allowed are {', '.join(sorted(COMMANDS))}")
    try:
        kind = kind_of(plant, unit)
    except SiteInvalid as error:
        raise CommandRejected(str(error)) from error
    if kind not in row.kinds:
        raise CommandRejected(f"{verb} cannot go to {unit}, a {kind}: allowed are {', '.join(row.kinds)}")
    checked = _checked(row, params)
    reason = row.refuse(plant, unit, checked)
    if reason is not None:
        raise CommandRejected(reason)
    row.effect(plant, unit, checked)


def _checked(row: Command, params: Params) -> Params:
    known = {param.name for param in row.params}
    for name in params:
        if name not in known:
            raise CommandRejected(f"{row.verb} has no parameter {name!r}: allowed are {', '.join(known) or 'none'}")
    return {param.name: _value(row.verb, param, params) for param in row.params}


def _value(verb: str, param: Param, params: Params) -> Value:
    value = params.get(param.name, param.default)
    if value is None:
        raise CommandRejected(f"{verb} needs {param.name}")
    if param.choices:
        if value not in param.choices:
            raise CommandRejected(f"{param.name} {value!r}: allowed are {', '.join(param.choices)}")
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise CommandRejected(f"{param.name} {value!r}: must be a number")
    if not param.low <= value <= param.high:
        raise CommandRejected(f"{param.name} {value:g}: allowed is {param.low:g}..{param.high:g}")
    return float(value)


def _state(unit: str, code: int) -> str:
    told = f"{unit} is {NAMES[code]}"
    return f"{told}: reset it first" if code == TRIPPED else told


# Chillers ----------------------------------------------------------------------------------------


def _chiller_refusal(plant: Plant, unit: str, chiller: int) -> str | None:
    chillers, plate = plant.cooling.chillers, plant.site.chiller
    code = int(chillers.state_code[chiller])
    if code not in (OFF, STANDBY):
        return _state(unit, code)
    first_s = float(chillers.starts_at_s[chiller].min())
    wait_s = first_s + HOUR_S - plant.elapsed_s
    if wait_s > 0.0:
        return (
            f"{unit} has started {plate.starts_per_hour_max_n} times within an hour: "
            f"the next start is allowed in {math.ceil(wait_s / 60.0)} min"
        )
    return None


def _chiller_ids(plant: Plant, unit: str) -> dict[int, str]:
    """List, by place, the ids of the chillers that a unit is or holds."""
    ids = plant.site.unit_ids("chiller")
    return {chiller: ids[chiller] for chiller in units_of(plant, unit, "chiller")}


def _refuse_chiller_start(plant: Plant, unit: str, params: Params) -> str | None:
    reasons = [_chiller_refusal(plant, id_, chiller) for chiller, id_ in _chiller_ids(plant, unit).items()]
    return None if None in reasons else f"no chiller can start: {reasons[0]}" if len(reasons) > 1 else reasons[0]


def _start_chillers(plant: Plant, unit: str, params: Params) -> None:
    chillers = plant.cooling.chillers
    ids = _chiller_ids(plant, unit)
    able = [chiller for chiller, id_ in ids.items() if _chiller_refusal(plant, id_, chiller) is None]
    for chiller in able[: int(float(params["n"]))]:
        chillers.state_code[chiller] = STARTING
        chillers.start_elapsed_s[chiller] = 0.0
        chillers.starts_at_s[chiller, int(np.argmin(chillers.starts_at_s[chiller]))] = plant.elapsed_s


def _refuse_chiller_stop(plant: Plant, unit: str, params: Params) -> str | None:
    codes = plant.cooling.chillers.state_code[units_of(plant, unit, "chiller")]
    if np.isin(codes, (STARTING, RUNNING)).any():
        return None
    return _state(unit, int(codes[0])) if len(codes) == 1 else f"no chiller of {unit} runs"


def _stop_chillers(plant: Plant, unit: str, params: Params) -> None:
    chillers = plant.cooling.chillers
    going = [i for i in units_of(plant, unit, "chiller") if chillers.state_code[i] in (STARTING, RUNNING)]
    for chiller in going[::-1][: int(float(params["n"]))]:
        chillers.state_code[chiller] = STANDBY
        chillers.start_elapsed_s[chiller] = 0.0


def _refuse_chiller_reset(plant: Plant, unit: str, params: Params) -> str | None:
    codes = plant.cooling.chillers.state_code[units_of(plant, unit, "chiller")]
    if (codes == TRIPPED).any():
        return None
    return f"{unit} has not tripped" if len(codes) == 1 else f"no chiller of {unit} has tripped"


def _reset_chillers(plant: Plant, unit: str, params: Params) -> None:
    chillers, reset = plant.cooling.chillers, units_of(plant, unit, "chiller")
    for chiller in reset:
        if chillers.state_code[chiller] == TRIPPED:
            chillers.state_code[chiller] = STANDBY
            chillers.start_elapsed_s[chiller] = 0.0
    malfunctions.end(plant, "chiller_trip", reset, "chiller")


# Turbines ----------------------------------------------------------------------------------------


def _turbine(plant: Plant, unit: str) -> int:
    return plant.work.index["turbine"][unit]


def _refuse_turbine_start(plant: Plant, unit: str, params: Params) -> str | None:
    turbines, site, turbine = plant.power.turbines, plant.site, _turbine(plant, unit)
    code = int(turbines.state_code[turbine])
    if code not in (OFF, STANDBY):
        return _state(unit, code)
    used, most = int(turbines.starts_year_n[turbine]), site.permit.starts_per_year_max_n
    if used >= most:
        return f"{unit} has used {used} of {most} starts of its permit year"
    pressure = float(plant.power.gas.pressure_ratio[0])
    if pressure < site.gas.start_min_ratio:
        return f"gas pressure is {pressure:.2f} of nominal: a start needs {site.gas.start_min_ratio:.2f}"
    return None


def _start_turbine(plant: Plant, unit: str, params: Params) -> None:
    turbines, turbine = plant.power.turbines, _turbine(plant, unit)
    turbines.state_code[turbine] = STARTING
    turbines.start_elapsed_s[turbine] = 0.0
    turbines.starts_year_n[turbine] += 1


def _refuse_turbine_stop(plant: Plant, unit: str, params: Params) -> str | None:
    code = int(plant.power.turbines.state_code[_turbine(plant, unit)])
    return None if code in (STARTING, RUNNING) else f"{unit} is {NAMES[code]}"


def _stop_turbine(plant: Plant, unit: str, params: Params) -> None:
    turbines, turbine = plant.power.turbines, _turbine(plant, unit)
    turbines.state_code[turbine] = STOPPING
    turbines.start_elapsed_s[turbine] = turbines.stop_elapsed_s[turbine] = 0.0
    turbines.stops_year_n[turbine] += 1


def _refuse_turbine_load(plant: Plant, unit: str, params: Params) -> str | None:
    turbines, turbine = plant.power.turbines, _turbine(plant, unit)
    code = int(turbines.state_code[turbine])
    if code not in (STARTING, RUNNING):
        return _state(unit, code)
    available_w = float(turbines.available_w[turbine])
    if float(params["power_w"]) > available_w:
        return f"{unit} can give {available_w / 1e6:.2f} MW in this air"
    return None


def _load_turbine(plant: Plant, unit: str, params: Params) -> None:
    plant.power.turbines.set_w[_turbine(plant, unit)] = float(params["power_w"])


def _refuse_turbine_reset(plant: Plant, unit: str, params: Params) -> str | None:
    tripped = plant.power.turbines.state_code[_turbine(plant, unit)] == TRIPPED
    return None if tripped else f"{unit} has not tripped"


def _reset_turbine(plant: Plant, unit: str, params: Params) -> None:
    turbine = _turbine(plant, unit)
    plant.power.turbines.state_code[turbine] = STANDBY
    malfunctions.end(plant, "turbine_trip", [turbine], "turbine")


# Pumps, loops, CDUs ------------------------------------------------------------------------------


def _pump(plant: Plant, unit: str) -> int:
    return plant.work.index["pump"][unit]


def _refuse_pump_start(plant: Plant, unit: str, params: Params) -> str | None:
    code = int(plant.cooling.pumps.state_code[_pump(plant, unit)])
    if code == TRIPPED:
        return f"{unit} is tripped: it must be repaired first"
    return None if code in (OFF, STANDBY) else f"{unit} is {NAMES[code]}"


def _refuse_pump_stop(plant: Plant, unit: str, params: Params) -> str | None:
    code = int(plant.cooling.pumps.state_code[_pump(plant, unit)])
    return None if code in (STARTING, RUNNING) else f"{unit} is {NAMES[code]}"


def _refuse_set_temp(plant: Plant, unit: str, params: Params) -> str | None:
    dew_c, margin_k = float(plant.weather.dew_point_c), plant.site.cdu.dew_margin_k
    wanted_c, most_c = float(params["temp_c"]), plant.site.loop.supply_max_c
    if wanted_c > most_c:
        return f"{wanted_c:.1f} C is above the {most_c:.1f} C that the racks take"
    if wanted_c < dew_c + margin_k:
        return f"{wanted_c:.1f} C is below the dew point of {dew_c:.1f} C + {margin_k:.0f} K: pipes would sweat"
    return None


def _set_temp(plant: Plant, unit: str, params: Params) -> None:
    plant.cooling.loops.supply_set_c[plant.work.index["loop"][unit]] = float(params["temp_c"])


def _pump_choice(params: Params) -> int:
    return PUMP_NAMES.index(str(params["pump"]))


def _refuse_select_pump(plant: Plant, unit: str, params: Params) -> str | None:
    selected = int(plant.cooling.cdus.selected_pump[cdu_rack(plant, unit)])
    return f"{unit} runs on pump {PUMP_NAMES[selected]} already" if selected == _pump_choice(params) else None


def _select_pump(plant: Plant, unit: str, params: Params) -> None:
    plant.cooling.cdus.selected_pump[cdu_rack(plant, unit)] = _pump_choice(params)


# Battery, GPUs -----------------------------------------------------------------------------------


def _refuse_setpoint(plant: Plant, unit: str, params: Params) -> str | None:
    units, plate = plant.power.battery, plant.site.battery
    code, wanted_w = int(units.state_code[0]), float(params["power_w"])
    if code != RUNNING:
        return _state(unit, code)
    if wanted_w > 0.0 and float(units.soc[0]) <= plate.soc_min:
        return f"{unit} is empty: charge is at {float(units.soc[0]):.2f}"
    if wanted_w < 0.0 and float(units.soc[0]) >= plate.soc_max:
        return f"{unit} is full: charge is at {float(units.soc[0]):.2f}"
    available_w = float(units.available_w[0]) if wanted_w > 0.0 else plate.power_w
    if abs(wanted_w) > available_w:
        return f"{unit} has {available_w / 1e6:.1f} MW available"
    return None


def _set_battery(plant: Plant, unit: str, params: Params) -> None:
    plant.power.battery.setpoint_w[0] = float(params["power_w"])


def _refuse_power_cap(plant: Plant, unit: str, params: Params) -> str | None:
    models = plant.site.gpus.values()
    least_w, most_w = max(m.power_min_w for m in models), min(m.power_max_w for m in models)
    if not least_w <= float(params["power_w"]) <= most_w:
        return f"a GPU takes caps of {least_w:.0f}..{most_w:.0f} W"
    return None


def _cap_power(plant: Plant, unit: str, params: Params) -> None:
    for gpus in gpu_slices(plant, unit):
        plant.gpus.cap_w[gpus] = float(params["power_w"])


_CHILLERS = ("chiller", "cooling_plant")
_GPUS = ("job", "hall", "array", "rack", "server", "gpu")
_POWER_W = Param("power_w", low=-1e12, high=1e12)

COMMANDS: dict[str, Command] = {
    row.verb: row
    for row in (
        Command("chiller.start", _CHILLERS, (Param("n", 1, 1000, default=1),), _refuse_chiller_start, _start_chillers),
        Command("chiller.stop", _CHILLERS, (Param("n", 1, 1000, default=1),), _refuse_chiller_stop, _stop_chillers),
        Command("chiller.reset", _CHILLERS, (), _refuse_chiller_reset, _reset_chillers),
        Command("turbine.start", ("turbine",), (), _refuse_turbine_start, _start_turbine),
        Command("turbine.stop", ("turbine",), (), _refuse_turbine_stop, _stop_turbine),
        Command("turbine.load", ("turbine",), (Param("power_w", 0, 1e12),), _refuse_turbine_load, _load_turbine),
        Command("turbine.reset", ("turbine",), (), _refuse_turbine_reset, _reset_turbine),
        Command(
            "pump.start",
            ("pump",),
            (),
            _refuse_pump_start,
            lambda plant, unit, _: protection.start_pump(plant.cooling, _pump(plant, unit)),
        ),
        Command(
            "pump.stop",
            ("pump",),
            (),
            _refuse_pump_stop,
            lambda plant, unit, _: protection.stop_pump(plant.cooling, _pump(plant, unit)),
        ),
        Command("cdu.select_pump", ("cdu",), (Param("pump", choices=PUMP_NAMES),), _refuse_select_pump, _select_pump),
        Command("loop.set_temp", ("loop",), (Param("temp_c", -50, 100),), _refuse_set_temp, _set_temp),
        Command("battery.setpoint", ("battery",), (_POWER_W,), _refuse_setpoint, _set_battery),
        Command("gpu.power_cap", _GPUS, (_POWER_W,), _refuse_power_cap, _cap_power),
    )
}
