"""The pictures of the state channels as plain data: the run, and the site with its halls and cooling plants."""

import math
from typing import Any

import numpy as np

from twin.console.live import Live
from twin.console.seats import Seat, shown_error
from twin.events.control import RunControl
from twin.events.frames import Frame
from twin.run import ts_at
from twin.site import Site

_HALL_FIELDS = (
    "power_w",
    "gpu_temp_mean_c",
    "gpu_temp_p99_c",
    "gpu_temp_max_c",
    "coolant_supply_c",
    "coolant_return_c",
    "coolant_flow_l_min",
    "throttle_thermal_ratio",
    "hot_n",
    "down_n",
    "stale_n",
    "measured_n",
)
_LOOP_FIELDS = ("supply_c", "supply_set_c", "return_c", "flow_l_min", "makeup_l_min")
_WEATHER_FIELDS = ("dry_bulb_c", "wet_bulb_c")


def shown(value: float) -> float | int | None:
    """Round a number to what a screen can show, ``None`` if it was not measured.

    Examples
    --------
    >>> shown(250_234_567.8), shown(47.8123), shown(0.123456), shown(float("nan"))
    (250234568, 47.81, 0.1235, None)
    """
    if not math.isfinite(value):
        return None
    size = abs(value)
    if value == round(value) or size >= 10_000:
        return round(value)
    return round(value, 1 if size >= 1000 else 2 if size >= 10 else 4)


def run_picture(live: Live, control: RunControl, seat: Seat | None = None) -> dict[str, Any]:
    """Say where the run stands, to a seat or to all of them."""
    measured = control.state == "running" and control.speed_reached > 0
    return {
        "id": control.run,
        "epoch": control.epoch,
        "continues": control.continues,
        "kind": control.kind,
        "state": control.state,
        "site": control.site,
        "seed": control.seed,
        "dt_s": control.dt_s,
        "speed": control.speed,
        "reached": round(control.speed_reached, 2) if measured else None,
        "tick": control.settled_tick,
        "ts": ts_at(control.line, control.settled_tick),
        "clock": control.site_time,
        "weather_at": control.weather_at,
        "automatic_operator": control.automatic_operator,
        "age_s": round(live.run_age_s(), 1),
        "answers": control.answers,
        "error": shown_error(control.error, seat),
        "takeover": live.takeover_of(control.run),
    }


def site_picture(live: Live, site: Site) -> dict[str, Any] | None:
    """Show the site as the twin believes it to be; ``None`` before the first ``twin.site``."""
    found = live.frame("twin.site", site.id)
    if found is None:
        return None
    held, frame = found
    age_s = live.age_s(held.head.tick)
    return {
        "ts": held.head.ts,
        "tick": held.head.tick,
        "age_s": round(age_s, 1),
        "stale": age_s > live.stale_after_s(),
        "site": _row(frame, "site", 0),
        "temp": _site_temp(frame),
        "halls": [_hall(site, frame, row) for row in range(frame.size("hall"))],
        "plants": [plant for key in site.unit_ids("cooling_plant") if (plant := _cooling_plant(live, site, key))],
        "twin": twin_health(live, site),
    }


def twin_health(live: Live, site: Site) -> dict[str, Any]:
    """Say how well the twin itself does."""
    totals = live.totals()
    found = live.frame("twin.site", site.id)
    close: dict[str, Any] = {} if found is None else _row(found[1], "close", 0)
    row: dict[str, Any] = {} if found is None else _row(found[1], "site", 0)
    return {
        "lag_s": None if totals.lag_s is None else round(totals.lag_s, 3),
        "arrays_stale": close.get("stale_n"),
        "arrays": close.get("array_n"),
        "energy_residual": _off_balance(row.get("power_balance_ratio")),
        "mass_residual": _off_balance(row.get("water_balance_ratio")),
        "dead_letters": totals.dead_n,
        "gaps": totals.gap_n,
        "duplicates": totals.duplicate_n,
    }


def _row(frame: Frame, group: str, row: int, names: tuple[str, ...] | None = None) -> dict[str, Any]:
    columns = frame.dense.get(group, {})
    wanted = columns if names is None else [name for name in names if name in columns]
    return {name: shown(float(columns[name][row])) for name in wanted if row < len(columns[name])}


def _hall(site: Site, frame: Frame, row: int) -> dict[str, Any]:
    hall_i = int(frame.dense["hall"]["hall_i"][row])
    return {"id": site.layout.hall_ids[hall_i], **_row(frame, "hall", row, _HALL_FIELDS)}


def _site_temp(frame: Frame) -> dict[str, Any]:
    """Sum the halls up: mean by measured GPUs, the largest of the halls' 99th percentiles, the largest of all [C]."""
    halls = frame.dense.get("hall")
    if not halls:
        return {}
    means, weights = halls["gpu_temp_mean_c"], np.nan_to_num(halls["measured_n"])
    known = np.isfinite(means) & (weights > 0)
    mean_c = float(np.average(means[known], weights=weights[known])) if known.any() else math.nan
    return {
        "mean_c": shown(mean_c),
        "p99_c": shown(float(np.fmax.reduce(halls["gpu_temp_p99_c"], initial=np.nan))),
        "max_c": shown(float(np.fmax.reduce(halls["gpu_temp_max_c"], initial=np.nan))),
    }


def _cooling_plant(live: Live, site: Site, key: str) -> dict[str, Any] | None:
    found = live.frame("telemetry.chillers", key)
    if found is None:
        return None
    held, frame = found
    codes = frame.dense.get("chiller", {}).get("state_code", np.empty(0))
    return {
        "id": key,
        "hall": site.unit(key).hall,
        "age_s": round(live.age_s(held.head.tick), 1),
        **_row(frame, "loop", 0, _LOOP_FIELDS),
        **_row(frame, "weather", 0, _WEATHER_FIELDS),
        "chillers": [shown(float(code)) for code in codes],
    }


def _off_balance(ratio: float | None) -> float | None:
    """Return the share of what goes in that is found nowhere, 0 where all is."""
    return None if ratio is None else round(abs(ratio), 4)
