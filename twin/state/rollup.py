"""From the frames of some arrays at one tick to the rows of their racks, their counts and histograms."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin.events.derived import HALL_COUNTS, POWER_BIN_W, POWER_BINS, TEMP_BIN_K, TEMP_BINS
from twin.events.frames import Frame, Sparse
from twin.events.gpu import GPU
from twin.site import Site

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Bits of CLOCKS_EVENT_REASONS (dcgm_fields.h; the same as NVML's).
SW_POWER_CAP, HW_SLOWDOWN, SW_THERMAL, HW_THERMAL, HW_BRAKE = 0x4, 0x8, 0x20, 0x40, 0x80
LOW_FLOW_L_MIN_PER_KW = 1.25  # OCP OAI guideline: 1.25..2.0 L/min per kW
DOWN_BELOW_W = 20.0  # a GPU that draws less has no power, or has fallen off the bus


class Roller:
    """Rolls frames of a site up; holds only what the site file says.

    Parameters
    ----------
    site
        What exists.
    """

    def __init__(self, site: Site) -> None:
        self._layout = site.layout
        models = [site.gpu_model(hall) for hall in site.layout.hall_ids]
        self._hot_c = np.array([model.max_operating_c for model in models])
        self._resistance_k_per_w = np.array([model.resistance_k_per_w for model in models])
        self._flow_exponent = np.array([model.flow_exponent for model in models])
        self._coolant_flow_l_min = site.cdu.coolant_flow_l_min

    def racks_of(self, arrays: Sequence[int]) -> Ints:
        """Return the racks of some arrays, in the order given."""
        first = self._layout.array_first_rack
        return np.concatenate([np.arange(first[array], first[array + 1]) for array in arrays]).astype(np.int64)

    def roll_up(self, arrays: Sequence[int], frames: Sequence[Frame]) -> Frame:
        """Make the groups of ``twin.rack`` of some arrays at one tick.

        Parameters
        ----------
        arrays
            Their indexes in the site.
        frames
            One frame of ``telemetry.gpu`` each, of the same tick.

        Returns
        -------
        Frame
            Groups ``rack``, ``hall``, ``temp_hist``, ``power_hist``, ``xid``; without ``close``.
        """
        racks = self.racks_of(arrays)
        per_rack = np.diff(self._layout.rack_first_gpu)[racks]
        starts = np.concatenate(([0], np.cumsum(per_rack)[:-1]))
        gpu_rack = np.repeat(np.arange(len(racks)), per_rack)
        values = {name: _join(frames, "gpu", name) for name in frames[0].dense["gpu"]}
        doubted = _drop_suspects(frames, values)
        sparse = {name: _join_sparse(frames, name) for name in _SPARSE}
        cdu = {name: _join(frames, "cdu", name) for name in frames[0].dense["cdu"]}
        halls = self._layout.rack_hall[racks]

        out = Frame()
        power, temp = values["power_w"], values["gpu_temp_c"]
        gpu_power = _rack_sum(power, starts)
        measured = _rack_count(~np.isnan(power), starts)
        throttled = np.bincount(gpu_rack[sparse["clocks_event_reasons"].places], minlength=len(racks))
        out.dense["rack"] = {
            "rack_i": racks,
            "power_w": np.round(self._server_power(racks, frames), 1),
            "gpu_temp_mean_c": np.round(_rack_mean(temp, starts, per_rack), 3),
            "gpu_temp_max_c": _rack_max(temp, starts),
            "mem_temp_max_c": _rack_max(values["mem_temp_c"], starts),
            "sm_clock_mean_mhz": np.round(_rack_mean(values["sm_clock_mhz"], starts, per_rack), 2),
            "sm_active_mean": np.round(_rack_mean(values["sm_active"], starts, per_rack), 5),
            "tensor_active_mean": np.round(_rack_mean(values["tensor_active"], starts, per_rack), 5),
            "fb_used_mean_mib": np.round(_rack_mean(values["fb_used_mib"], starts, per_rack), 1),
            "coolant_supply_c": cdu["supply_c"],
            "coolant_return_c": cdu["return_c"],
            "coolant_flow_l_min": cdu["flow_l_min"],
            "facility_supply_c": cdu["facility_supply_c"],
            "facility_flow_l_min": cdu["facility_flow_l_min"],
            "throttled_n": throttled,
            "measured_n": measured,
            "gpu_power_w": gpu_power,
        }
        out.dense["rack"]["residual_k"] = self._residual_k(halls, out.dense["rack"])
        out.dense["hall"] = self._counts(halls, gpu_rack, values, sparse, cdu, out.dense["rack"], doubted)
        out.dense["temp_hist"] = _histogram(halls[gpu_rack], temp, TEMP_BIN_K, TEMP_BINS)
        out.dense["power_hist"] = _histogram(halls[gpu_rack], power, POWER_BIN_W, POWER_BINS)
        places = sparse["xid"].places
        if len(places):
            numbers = dict(zip(sparse["xid_n"].places.tolist(), sparse["xid_n"].values.tolist(), strict=True))
            out.dense["xid"] = {
                "rack_i": racks[gpu_rack[places]],
                "gpu": places - starts[gpu_rack[places]],
                "xid": sparse["xid"].values.astype(np.int64),
                "n": np.array([int(numbers.get(place, 1)) for place in places.tolist()]),
            }
        return out

    def gpu_rows(self, arrays: Sequence[int], frames: Sequence[Frame], racks: Ints) -> dict[str, Any]:
        """Make the rows of every GPU of some racks, for the store.

        Parameters
        ----------
        arrays, frames
            As in :meth:`roll_up`.
        racks
            Which racks; all must be in ``arrays``.
        """
        layout = self._layout
        of_array = self.racks_of(arrays)
        per_rack = np.diff(layout.rack_first_gpu)[of_array]
        rack = np.repeat(of_array, per_rack)
        gpu = np.arange(len(rack)) - np.repeat(np.concatenate(([0], np.cumsum(per_rack)[:-1])), per_rack)
        places = np.flatnonzero(np.isin(rack, racks))
        rows: dict[str, Any] = {"rack_i": rack[places], "gpu": gpu[places]}
        for column in GPU.columns:
            if column.kind == "dense":
                rows[column.name] = _join(frames, "gpu", column.name)[places]
            elif column.name != "xid_n":
                spread = np.zeros(len(rack))
                at, values = _join_sparse(frames, column.name)
                spread[at] = values
                rows[column.name] = spread[places]
        return rows

    def _residual_k(self, halls: NDArray[Any], rack: dict[str, Any]) -> Floats:
        """Return how much hotter the GPUs of each rack are than nameplate physics says of their power and coolant."""
        with np.errstate(invalid="ignore", divide="ignore"):
            flow_ratio = np.maximum(rack["coolant_flow_l_min"] / self._coolant_flow_l_min, 0.01)
            resistance = self._resistance_k_per_w[halls] * flow_ratio ** self._flow_exponent[halls]
            expected_c = rack["coolant_supply_c"] + resistance * rack["gpu_power_w"] / rack["measured_n"]
            return np.asarray(np.round(rack["gpu_temp_mean_c"] - expected_c, 3))

    def _server_power(self, racks: Ints, frames: Sequence[Frame]) -> Floats:
        per_rack = np.diff(self._layout.rack_first_server)[racks]
        starts = np.concatenate(([0], np.cumsum(per_rack)[:-1]))
        return _rack_sum(_join(frames, "server", "power_w"), starts)

    def _counts(
        self,
        halls: NDArray[Any],
        gpu_rack: Ints,
        values: dict[str, Floats],
        sparse: dict[str, Sparse],
        cdu: dict[str, Floats],
        rack: dict[str, Any],
        doubted: Ints,
    ) -> dict[str, Any]:
        gpu_hall = halls[gpu_rack]
        present = np.unique(halls)
        size = int(present[-1]) + 1
        reasons = sparse["clocks_event_reasons"]
        bits = reasons.values.astype(np.int64)

        def at(places: Ints, weights: NDArray[Any] | None = None) -> NDArray[Any]:
            return np.bincount(gpu_hall[places], weights=weights, minlength=size)

        with np.errstate(invalid="ignore"):
            hot = np.flatnonzero(values["gpu_temp_c"] >= self._hot_c[gpu_hall])
            down = np.flatnonzero(values["power_w"] < DOWN_BELOW_W)
            busy = np.flatnonzero(values["sm_active"] > 0.05)
            needed = LOW_FLOW_L_MIN_PER_KW * rack["power_w"] / 1000
            low_flow = cdu["flow_l_min"] < needed
        counts: dict[str, NDArray[Any]] = {
            "rack_n": np.bincount(halls, minlength=size),
            "measured_n": np.bincount(halls, weights=rack["measured_n"], minlength=size),
            "hot_n": at(hot),
            "down_n": at(down),
            "low_flow_n": np.bincount(halls[low_flow], minlength=size),
            "leak_n": np.bincount(halls[cdu["leak"] > 0], minlength=size),
            "throttle_power_n": at(reasons.places[(bits & SW_POWER_CAP) > 0]),
            "throttle_sw_thermal_n": at(reasons.places[(bits & SW_THERMAL) > 0]),
            "throttle_hw_thermal_n": at(reasons.places[(bits & (HW_THERMAL | HW_SLOWDOWN)) > 0]),
            "throttle_brake_n": at(reasons.places[(bits & HW_BRAKE) > 0]),
            "ecc_dbe_n": at(*sparse["ecc_dbe"]),
            "row_remap_failed_n": at(*sparse["row_remap_failed"]),
            "nvlink_error_n": at(*sparse["nvlink_errors"]),
            "suspect_n": at(doubted),
            "busy_n": at(busy),
        }
        rows: dict[str, Any] = {"hall_i": present.astype(np.int64)}
        rows.update({name: counts[name][present].astype(np.int64) for name in HALL_COUNTS})
        return rows


_SPARSE = ("clocks_event_reasons", "xid", "xid_n", "ecc_dbe", "row_remap_failed", "nvlink_errors")


def _join(frames: Sequence[Frame], group: str, name: str) -> Floats:
    if len(frames) == 1:
        return frames[0].dense[group][name].astype(np.float64, copy=True)
    return np.concatenate([frame.dense[group][name] for frame in frames]).astype(np.float64, copy=False)


def _join_sparse(frames: Sequence[Frame], name: str) -> Sparse:
    places, values, offset = [], [], 0
    for frame in frames:
        given = frame.sparse.get("gpu", {}).get(name)
        if given is not None:
            places.append(given.places + offset)
            values.append(given.values)
        offset += frame.size("gpu")
    if not places:
        return Sparse(np.empty(0, np.int64), np.empty(0))
    return Sparse(np.concatenate(places), np.concatenate(values))


def _drop_suspects(frames: Sequence[Frame], values: dict[str, Floats]) -> Ints:
    """Turn values that the gateway doubts into not measured; return the places of all of them."""
    doubted, offset = [], 0
    for frame in frames:
        for name, places in frame.suspect.items():
            group, _, column = name.partition(".")
            if group == "gpu" and column in values:
                values[column][places + offset] = np.nan
                doubted.append(places + offset)
        offset += frame.size("gpu")
    return np.concatenate(doubted) if doubted else np.empty(0, np.int64)


def _rack_sum(values: Floats, starts: Ints) -> Floats:
    total = np.add.reduceat(values, starts)
    if not np.isnan(total).any():
        return total
    return np.add.reduceat(np.nan_to_num(values), starts)


def _rack_count(flags: NDArray[np.bool_], starts: Ints) -> Ints:
    return np.add.reduceat(flags.astype(np.int64), starts)


def _rack_mean(values: Floats, starts: Ints, per_rack: NDArray[Any]) -> Floats:
    total = np.add.reduceat(values, starts)
    if not np.isnan(total).any():
        return np.asarray(total / per_rack)
    known = ~np.isnan(values)
    count = _rack_count(known, starts)
    with np.errstate(invalid="ignore"):
        return np.asarray(_rack_sum(values, starts) / count)  # 0/0: nothing measured is NaN


def _rack_max(values: Floats, starts: Ints) -> Floats:
    return np.fmax.reduceat(values, starts)


def _histogram(hall: NDArray[Any], values: Floats, width: float, bins: int) -> dict[str, Any]:
    known = ~np.isnan(values)
    place = np.clip((values[known] / width).astype(np.int64), 0, bins - 1) + hall[known].astype(np.int64) * bins
    n = np.bincount(place)
    filled = np.flatnonzero(n)
    return {"hall_i": filled // bins, "bin": filled % bins, "n": n[filled]}
