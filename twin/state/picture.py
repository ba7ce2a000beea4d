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
_FOREVER_S = 86_400.0  # a battery that is not discharged


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
    halls = layout.site.layout.hall_ids
    counts = _known_counts(totals)
    dew_c = _first(units, layout, "telemetry.chillers", "weather", "dew_point_c")
    with np.errstate(invalid="ignore", divide="ignore"):
        throttle_ratio = counts["throttle_thermal_n"] / counts["measured_n"]
    return {
        "hall_i": np.arange(len(halls)),
        "power_w": totals.sums["power_w"],
        "gpu_power_w": totals.sums["gpu_power_w"],
        "meter_power_w": _column(units, layout, "telemetry.grid", "meter", "power_w", len(halls)),
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
        "measured_n": totals.counts["measured_n"],
    }


def _known_counts(totals: HallTotals) -> dict[str, NDArray[np.float64]]:
    """Return the counts by hall, NaN where no rack has reported."""
    silent = totals.counts["rack_n"] == 0
    return {name: np.where(silent, np.nan, values) for name, values in totals.counts.items()}


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
    site = layout.site
    counts = {name: _added(values) for name, values in _known_counts(totals).items()}

    def summed(topic: str, group: str, column: str) -> float:
        return _added(_column(units, layout, f"telemetry.{topic}", group, column, 1))

    feed = summed("grid", "feed", "power_w")
    limit = summed("grid", "feed", "limit_w")
    battery = summed("grid", "battery", "power_w")
    battery_available = summed("grid", "battery", "available_w")
    soc = _first(units, layout, "telemetry.grid", "battery", "soc")
    turbine = summed("turbines", "turbine", "power_w")
    running = _column(units, layout, "telemetry.turbines", "turbine", "running", 1)
    available = _column(units, layout, "telemetry.turbines", "turbine", "available_w", 1)
    turbine_available = _added(available * (running > 0))
    facility = feed + turbine + battery
    it = summed("grid", "meter", "power_w")
    racks = _added(totals.sums["power_w"]) + site.electrical.other_it_w
    water = summed("chillers", "loop", "makeup_l_min")
    fuel_mmbtu_h = summed("turbines", "turbine", "fuel_power_w") * site.turbine.hhv_per_lhv_ratio / _W_PER_MMBTU_H
    co2_kg_h = fuel_mmbtu_h * site.turbine.emissions.co2_lb_per_mmbtu * _KG_PER_LB
    row: Row = {
        "facility_power_w": facility,
        "it_power_w": it,
        "feed_power_w": feed,
        "turbine_power_w": turbine,
        "turbine_available_w": turbine_available,
        "battery_power_w": battery,
        # Batteries last minutes: they are no spare.
        "spare_power_w": max(limit - feed, 0.0) + turbine_available - turbine,
        "feed_load": _ratio(feed, limit),
        "turbine_load": _ratio(turbine, turbine_available),
        "battery_load": _ratio(abs(battery), battery_available),
        "battery_soc": soc,
        "battery_autonomy_s": _autonomy_s(site, soc, battery),
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
        "power_swing_w": _swing_w(units, layout),
        "gpu_measured_n": float(totals.counts["measured_n"].sum()),
        "gpu_busy_n": counts["busy_n"],
        "gpu_down_n": counts["down_n"],
        # (in - out) / in: not zero means that a sensor lies, or that racks do not report.
        "power_balance_ratio": _ratio(it - racks, it),
    }
    for name in ("throttle_power_n", "throttle_sw_thermal_n", "throttle_hw_thermal_n", "throttle_brake_n"):
        row[name] = counts[name]
    for name in ("ecc_dbe_n", "row_remap_failed_n", "nvlink_error_n"):
        row[name] = counts[name]
    # What the plant's own meters say of the site as a whole.
    for column in ("frequency_hz", "frequency_min_hz", "frequency_max_hz", "rocof_min_hz_s", "rocof_max_hz_s"):
        row[column] = _first(units, layout, "telemetry.grid", "site", column)
    for column in ("islanded", "shed_power_w", "shed_stage_code", "loss_power_w", "aux_power_w", "cooling_power_w"):
        row[column] = _first(units, layout, "telemetry.grid", "site", column)
    return row


def permit_row(units: Units, layout: FrameLayout) -> Row:
    """Make the fields of measurement ``permit``: rolling twelve months against the caps."""
    site = layout.site
    used = {name: _first(units, layout, "telemetry.turbines", "permit", f"{name}_ston") for name in _POLLUTANTS}
    caps = {name: float(getattr(site.permit, f"{name}_cap_ston")) for name in _POLLUTANTS}
    row = {f"{name}_cap_ratio": _ratio(used[name], caps[name]) for name in _POLLUTANTS}
    row["nox_ston"] = used["nox"]
    return row


_POLLUTANTS = ("nox", "co", "voc", "pm", "hcho")


def loop_rows(units: Units, layout: FrameLayout) -> tuple[list[str], NDArray[np.float64]]:
    """Return the loops and how far each supply is above its set-point [K]."""
    ids: list[str] = []
    error: list[float] = []
    for key in layout.keys("telemetry.chillers"):
        if frame := units.get(("telemetry.chillers", key)):
            loop = frame.dense["loop"]
            ids += layout.ids("telemetry.chillers", key, "loop")
            error += np.round(loop["supply_c"] - loop["supply_set_c"], 3).tolist()
    return ids, np.array(error)


def as_columns(measurement: str, row: Row) -> dict[str, Any]:
    """Turn one row into the columns of a group, unknown fields as not measured."""
    return {
        field.name: np.array([round(row.get(field.name, float("nan")), 5)]) for field in BY_NAME[measurement].fields
    }


def _autonomy_s(site: Site, soc: float, battery_w: float) -> float:
    """Return the time to empty at the present discharge, a day if there is none [s]."""
    if not battery_w > 0:
        return _FOREVER_S if battery_w <= 0 else float("nan")
    usable_wh = max(soc - site.battery.soc_min, 0.0) * site.battery.energy_wh * site.battery.discharge_efficiency
    return min(3600 * usable_wh / battery_w, _FOREVER_S)


def _swing_w(units: Units, layout: FrameLayout) -> float:
    """Return the swing of the load within the second, from the fast channel [W]."""
    grids = frames_of(units, layout, "telemetry.grid")
    if not grids:
        return float("nan")
    load_w = np.sum([frame.dense["fast"]["load_w"] for frame in grids], axis=0)
    return float(np.fmax.reduce(load_w) - np.fmin.reduce(load_w))


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")


def frames_of(units: Units, layout: FrameLayout, topic: str) -> list[Frame]:
    """Return the frames of all keys of a topic in site order; none if one is missing, for a sum would be too small."""
    keys = layout.keys(topic)
    return [units[topic, key] for key in keys] if all((topic, key) in units for key in keys) else []


def _column(units: Units, layout: FrameLayout, topic: str, group: str, column: str, size: int) -> NDArray[np.float64]:
    """Join a column of all keys of a topic; ``size`` NaN if one is missing."""
    parts = [frame.dense[group][column] for frame in frames_of(units, layout, topic)]
    return np.concatenate(parts) if parts else np.full(size, np.nan)


def _added(values: NDArray[np.float64]) -> float:
    """Add up what was measured; NaN if nothing was."""
    known = values[~np.isnan(values)]
    return float(known.sum()) if len(known) else float("nan")


def _first(units: Units, layout: FrameLayout, topic: str, group: str, column: str) -> float:
    """Return the value of the first key of a topic that has come, for what all of them tell alike."""
    for key in layout.keys(topic):
        if (topic, key) in units:
            return float(units[topic, key].dense[group][column][0])
    return float("nan")
