"""The picture of one tick: parts of the halls and the frames of the plants in, ``twin.site`` out."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin import kpi
from twin.events.derived import POWER_BIN_W, TEMP_BIN_K
from twin.events.frames import Frame
from twin.events.layout import FrameLayout
from twin.events.measurements import BY_NAME, POWER_EDGES_W, TEMP_EDGES_C
from twin.site import Site
from twin.state.parts import HallTotals

Units = Mapping[tuple[str, str], Frame]
Row = dict[str, float]
_W_PER_MMBTU_H = 293_071.07  # 1 MMBtu = 1.05505585 GJ
_KG_PER_LB = 0.45359237


def hall_rows(totals: HallTotals, units: Units, layout: FrameLayout, stale_n: NDArray[np.int64]) -> dict[str, Any]:
    """Make the columns of group ``hall``, a place per hall.

    Parameters
    ----------
    totals
        The tick's parts, added up.
    units
        (topic, key) -> frame of the same tick.
    layout
        Keys and ids of the site.
    stale_n
        Arrays without fresh frames, by hall.
    """
    counts, halls = totals.counts, layout.site.layout.hall_ids
    dew_c = _first(units, "telemetry.chillers", "weather", "dew_point_c")
    with np.errstate(invalid="ignore", divide="ignore"):
        throttle_ratio = counts["throttle_thermal_n"] / counts["measured_n"]
    return {
        "hall_i": np.arange(len(halls)),
        "power_w": totals.sums["power_w"],
        "gpu_power_w": totals.sums["gpu_power_w"],
        "meter_power_w": _column(units, "telemetry.grid", "meter", "power_w", len(halls)),
        "gpu_temp_mean_c": np.round(totals.means["gpu_temp_mean_c"], 3),
        "gpu_temp_p99_c": np.array([quantile_c(hist, 0.99) for hist in totals.temp_hist]),
        "gpu_temp_max_c": totals.maxima["gpu_temp_max_c"],
        "mem_temp_max_c": totals.maxima["mem_temp_max_c"],
        "sm_clock_mean_mhz": np.round(totals.means["sm_clock_mean_mhz"], 2),
        "sm_active_mean": np.round(totals.means["sm_active_mean"], 5),
        "tensor_active_mean": np.round(totals.means["tensor_active_mean"], 5),
        "fb_used_mean_mib": np.round(totals.means["fb_used_mean_mib"], 1),
        "coolant_supply_c": np.round(totals.means["coolant_supply_c"], 3),
        "coolant_supply_max_c": totals.maxima["coolant_supply_c"],
        "coolant_return_c": np.round(totals.means["coolant_return_c"], 3),
        "coolant_flow_l_min": totals.sums["coolant_flow_l_min"],
        "dew_margin_k": np.round(totals.minima["coolant_supply_c"] - dew_c, 3),
        "hot_n": counts["hot_n"],
        "throttle_thermal_ratio": np.round(throttle_ratio, 5),
        "down_n": counts["down_n"],
        "low_flow_n": counts["low_flow_n"],
        "leak_n": counts["leak_n"],
        "stale_n": stale_n,
        "measured_n": counts["measured_n"],
    }


def quantile_c(hist: NDArray[np.int64], share: float) -> float:
    """Read a quantile off a histogram of GPU temperatures, to half a bin [C]; NaN of an empty one.

    Examples
    --------
    >>> quantile_c(np.array([0, 3, 1]), 0.5)
    0.75
    """
    n = np.cumsum(hist)
    if n[-1] == 0:
        return float("nan")
    return float((np.searchsorted(n, share * n[-1]) + 0.5) * TEMP_BIN_K)


def histogram_rows(totals: HallTotals) -> dict[str, Any]:
    """Make the columns of group ``gpu_hist``: the site first, then the halls."""
    temp = np.vstack([totals.temp_hist.sum(axis=0), totals.temp_hist])
    power = np.vstack([totals.power_hist.sum(axis=0), totals.power_hist])
    rows: dict[str, Any] = {"scope_i": np.arange(len(temp))}
    _coarse(rows, "t", temp, [round(edge / TEMP_BIN_K) for edge in TEMP_EDGES_C], TEMP_EDGES_C)
    _coarse(rows, "p", power, [round(edge / POWER_BIN_W) for edge in POWER_EDGES_W], POWER_EDGES_W)
    return rows


def _coarse(
    rows: dict[str, Any], letter: str, fine: NDArray[np.int64], places: list[int], edges: tuple[int, ...]
) -> None:
    below = 0
    for place, edge in zip(places, edges, strict=True):
        rows[f"{letter}_lt_{edge}"] = fine[:, below:place].sum(axis=1)
        below = place
    rows[f"{letter}_ge_{edges[-1]}"] = fine[:, below:].sum(axis=1)


def site_row(totals: HallTotals, units: Units, layout: FrameLayout) -> Row:
    """Make the fields of measurement ``site`` that one tick alone decides.

    Parameters
    ----------
    totals, units, layout
        As in :func:`hall_rows`.
    """
    site, counts = layout.site, {name: int(values.sum()) for name, values in totals.counts.items()}
    grid = ("telemetry.grid",)
    feed = _sum(units, *grid, "feed", "power_w")
    limit = _sum(units, *grid, "feed", "limit_w")
    battery = _sum(units, *grid, "battery", "power_w")
    battery_available = _sum(units, *grid, "battery", "available_w")
    soc = _first(units, *grid, "battery", "soc")
    turbine = _sum(units, "telemetry.turbines", "turbine", "power_w")
    running = _column(units, "telemetry.turbines", "turbine", "running", 0)
    available = _column(units, "telemetry.turbines", "turbine", "available_w", 0)
    turbine_available = float(np.nansum(available * (running > 0))) if len(running) else float("nan")
    facility = feed + turbine + battery
    it = _sum(units, *grid, "meter", "power_w")
    water = _sum(units, "telemetry.chillers", "loop", "makeup_l_min")
    fuel_mmbtu_h = (
        _sum(units, "telemetry.turbines", "turbine", "fuel_power_w") * site.turbine.hhv_per_lhv_ratio / _W_PER_MMBTU_H
    )
    co2_kg_h = fuel_mmbtu_h * site.turbine.emissions.co2_lb_per_mmbtu * _KG_PER_LB
    row: Row = {
        "facility_power_w": facility,
        "it_power_w": it,
        "feed_power_w": feed,
        "turbine_power_w": turbine,
        "turbine_available_w": turbine_available,
        "battery_power_w": battery,
        "spare_power_w": max(limit - feed, 0.0) + turbine_available - turbine + battery_available - max(battery, 0.0),
        "feed_load": _ratio(feed, limit),
        "turbine_load": _ratio(turbine, turbine_available),
        "battery_load": _ratio(abs(battery), battery_available),
        "battery_soc": soc,
        "battery_autonomy_s": _autonomy_s(site, soc, facility),
        "pue": kpi.pue(facility, it) or float("nan"),
        "wue_l_kwh": kpi.wue_l_kwh(water, it) if it > 0 else float("nan"),
        "cue_kg_kwh": kpi.cue_kg_kwh(co2_kg_h, it) if it > 0 else float("nan"),
        "cost_usd_h": kpi.cost_usd_h(
            feed_w=feed,
            fuel_mmbtu_h=fuel_mmbtu_h,
            water_l_min=water,
            feed_usd_per_mwh=site.prices.feed_usd_per_mwh,
            gas_usd_per_mmbtu=site.prices.gas_usd_per_mmbtu,
            water_usd_per_l=site.prices.water_usd_per_l,
        ),
        "gpu_n": site.layout.gpu_count,
        "gpu_measured_n": counts["measured_n"],
        "gpu_busy_n": counts["busy_n"],
        "gpu_down_n": counts["down_n"],
        "power_balance_ratio": _ratio(float(totals.sums["power_w"].sum()) + site.electrical.other_it_w, it),
        "heat_balance_ratio": _ratio(_sum(units, "telemetry.chillers", "loop", "heat_in_w"), it),
    }
    for name in ("throttle_power_n", "throttle_sw_thermal_n", "throttle_hw_thermal_n", "throttle_brake_n"):
        row[name] = counts[name]
    for name in ("ecc_dbe_n", "row_remap_failed_n", "nvlink_error_n"):
        row[name] = counts[name]
    # What the plant's own meters say of the site as a whole.
    for column in ("frequency_hz", "frequency_min_hz", "frequency_max_hz", "rocof_min_hz_s", "rocof_max_hz_s"):
        row[column] = _first(units, *grid, "site", column)
    for column in ("islanded", "shed_power_w", "shed_stage_code", "loss_power_w", "aux_power_w", "cooling_power_w"):
        row[column] = _first(units, *grid, "site", column)
    return row


def permit_row(units: Units, site: Site) -> Row:
    """Make the fields of measurement ``permit``: rolling twelve months against the caps."""
    used = {name: _first(units, "telemetry.turbines", "permit", f"{name}_ston") for name in _POLLUTANTS}
    caps = {name: float(getattr(site.permit, f"{name}_cap_ston")) for name in _POLLUTANTS}
    row = {f"{name}_cap_ratio": _ratio(used[name], caps[name]) for name in _POLLUTANTS}
    row["nox_ston"] = used["nox"]
    return row


_POLLUTANTS = ("nox", "co", "voc", "pm", "hcho")


def loop_rows(units: Units, layout: FrameLayout) -> tuple[list[str], NDArray[np.float64]]:
    """Return the loops and how far each supply is above its set-point [K]."""
    ids: list[str] = []
    error: list[float] = []
    for (topic, key), frame in units.items():
        if topic == "telemetry.chillers":
            loop = frame.dense["loop"]
            ids += layout.ids(topic, key, "loop")
            error += np.round(loop["supply_c"] - loop["supply_set_c"], 3).tolist()
    return ids, np.array(error)


def as_columns(measurement: str, row: Row) -> dict[str, Any]:
    """Turn one row into the columns of a group, unknown fields as not measured."""
    return {
        field.name: np.array([round(row.get(field.name, float("nan")), 5)]) for field in BY_NAME[measurement].fields
    }


def _autonomy_s(site: Site, soc: float, facility_w: float) -> float:
    """Return how long the battery alone would carry the site, as far as its power allows [s]."""
    if not facility_w > 0:
        return float("nan")
    usable_wh = max(soc - site.battery.soc_min, 0.0) * site.battery.energy_wh * site.battery.discharge_efficiency
    return 3600 * usable_wh / facility_w


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")


def _frames(units: Units, topic: str) -> list[Frame]:
    return [frame for (name, _), frame in units.items() if name == topic]


def _column(units: Units, topic: str, group: str, column: str, size: int) -> NDArray[np.float64]:
    parts = [frame.dense[group][column] for frame in _frames(units, topic)]
    return np.concatenate(parts) if parts else np.full(size, np.nan)


def _sum(units: Units, topic: str, group: str, column: str) -> float:
    """Add a column over all units of a topic; NaN when nothing of it has come, or nothing was measured."""
    values = _column(units, topic, group, column, 0)
    known = values[~np.isnan(values)]
    return float(known.sum()) if len(known) else float("nan")


def _first(units: Units, topic: str, group: str, column: str) -> float:
    values = _column(units, topic, group, column, 0)
    return float(values[0]) if len(values) else float("nan")
