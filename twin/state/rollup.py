"""From the frames of some arrays at one tick to the rows of their racks, their counts and histograms."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin.events.derived import HALL_COUNTS, POWER_BIN_W, POWER_BINS, TEMP_BIN_K, TEMP_BINS
from twin.events.frames import Frame, Sparse
from twin.events.gpu import GPU
from twin.site import Site
from twin.state.suspects import without_suspects

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Bits of CLOCKS_EVENT_REASONS (dcgm_fields.h; the same as NVML's).
SW_POWER_CAP, HW_SLOWDOWN, SW_THERMAL, HW_THERMAL, HW_BRAKE = 0x4, 0x8, 0x20, 0x40, 0x80
THERMAL = SW_THERMAL | HW_THERMAL | HW_SLOWDOWN
THROTTLED = SW_POWER_CAP | THERMAL | HW_BRAKE  # the other bits say idle, or a clock that somebody has set
LOW_FLOW_L_MIN_PER_KW = 1.25  # OCP OAI guideline: 1.25..2.0 L/min per kW
DOWN_BELOW_W = 20.0  # a GPU that draws less has no power, or has fallen off the bus
BUSY_ABOVE = 0.05  # of SM activity
EXCEPTIONS = ("xid", "ecc_dbe", "row_remap_failed")  # a GPU that shows one has a row of its own

_DENSE = tuple(column.name for column in GPU.columns if column.kind == "dense")
_SPARSE = tuple(column.name for column in GPU.columns if column.kind == "sparse")


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
            One frame of ``telemetry.gpu`` each, of the same tick; what the gateway doubts counts as not measured.

        Returns
        -------
        Frame
            Groups ``rack``, ``hall``, ``temp_hist``, ``power_hist``, ``xid``; without ``close``.
        """
        known = [without_suspects(frame) for frame in frames]
        racks = self.racks_of(arrays)
        per_rack = np.diff(self._layout.rack_first_gpu)[racks]
        starts = _starts(per_rack)
        gpu_rack = np.repeat(np.arange(len(racks)), per_rack)
        halls = self._layout.rack_hall[racks]
        values = np.array([_join(known, "gpu", name) for name in _DENSE])
        gpu = dict(zip(_DENSE, values, strict=True))
        sums, counts = _sums(values, starts)
        with np.errstate(invalid="ignore"):
            means = dict(zip(_DENSE, sums / counts, strict=True))  # 0/0: nothing measured is NaN
        sparse = {name: _join_sparse(frames, name) for name in _SPARSE}
        cdu = {name: _join(known, "cdu", name) for name in frames[0].dense["cdu"]}
        reasons = sparse["clocks_event_reasons"]
        throttled = reasons.places[(reasons.values.astype(np.int64) & THROTTLED) > 0]

        rack: dict[str, Any] = {
            "rack_i": racks,
            "power_w": np.round(self._server_power(racks, known), 1),
            "gpu_temp_mean_c": np.round(means["gpu_temp_c"], 3),
            "gpu_temp_max_c": np.fmax.reduceat(gpu["gpu_temp_c"], starts),
            "mem_temp_max_c": np.fmax.reduceat(gpu["mem_temp_c"], starts),
            "sm_clock_mean_mhz": np.round(means["sm_clock_mhz"], 2),
            "sm_active_mean": np.round(means["sm_active"], 5),
            "tensor_active_mean": np.round(means["tensor_active"], 5),
            "fb_used_mean_mib": np.round(means["fb_used_mib"], 1),
            "coolant_supply_c": cdu["supply_c"],
            "coolant_return_c": cdu["return_c"],
            "coolant_flow_l_min": cdu["flow_l_min"],
            "facility_supply_c": cdu["facility_supply_c"],
            "facility_flow_l_min": cdu["facility_flow_l_min"],
            "throttled_n": np.bincount(gpu_rack[throttled], minlength=len(racks)),
            "measured_n": counts[_DENSE.index("power_w")],
            "gpu_power_w": sums[_DENSE.index("power_w")],
        }
        rack["residual_k"] = self._residual_k(halls, rack)
        out = Frame(dense={"rack": rack})
        out.dense["hall"] = self._counts(arrays, frames, gpu_rack, gpu, sparse, cdu, rack)
        out.dense["temp_hist"] = _histogram(halls[gpu_rack], gpu["gpu_temp_c"], TEMP_BIN_K, TEMP_BINS)
        out.dense["power_hist"] = _histogram(halls[gpu_rack], gpu["power_w"], POWER_BIN_W, POWER_BINS)
        if xid := _xids(sparse):
            places = xid.pop("place")
            out.dense["xid"] = {"rack_i": racks[gpu_rack[places]], "gpu": places - starts[gpu_rack[places]], **xid}
        return out

    def gpu_rows(self, arrays: Sequence[int], frames: Sequence[Frame], watched: Ints) -> dict[str, Any]:
        """Make rows of every GPU of the racks under watch, and of each GPU that shows an exception, for the store.

        Parameters
        ----------
        arrays, frames
            As in :meth:`roll_up`.
        watched
            Racks of the site, in ``arrays`` or not.

        Returns
        -------
        dict
            Columns of group ``gpu``; empty if there is no such GPU.
        """
        racks = self.racks_of(arrays)
        watched = watched[np.isin(watched, racks)]
        shown = {name for frame in frames for name in frame.sparse.get("gpu", {})}
        if not len(watched) and shown.isdisjoint(EXCEPTIONS):
            return {}
        known = [without_suspects(frame) for frame in frames]
        per_rack = np.diff(self._layout.rack_first_gpu)[racks]
        rack = np.repeat(racks, per_rack)
        sparse = {name: _join_sparse(frames, name) for name in _SPARSE if name != "xid_n"}
        wanted = np.isin(rack, watched)
        for name in EXCEPTIONS:
            wanted[sparse[name].places[sparse[name].values > 0]] = True
        places = np.flatnonzero(wanted)
        if not len(places):
            return {}
        gpu = np.arange(len(rack)) - np.repeat(_starts(per_rack), per_rack)
        rows: dict[str, Any] = {"rack_i": rack[places], "gpu": gpu[places]}
        rows.update({name: _join(known, "gpu", name)[places] for name in _DENSE})
        for name, (at, values) in sparse.items():
            spread = np.zeros(len(rack))
            spread[at] = values
            rows[name] = spread[places]
        return rows

    def _residual_k(self, halls: NDArray[Any], rack: dict[str, Any]) -> Floats:
        """Return how much hotter the GPUs of each rack are than nameplate physics says of their power and coolant."""
        with np.errstate(invalid="ignore", divide="ignore"):
            flow_ratio = np.maximum(rack["coolant_flow_l_min"] / self._coolant_flow_l_min, 0.01)
            resistance = self._resistance_k_per_w[halls] * flow_ratio ** self._flow_exponent[halls]
            expected_c = rack["coolant_supply_c"] + resistance * rack["gpu_power_w"] / rack["measured_n"]
            return np.asarray(np.round(rack["gpu_temp_mean_c"] - expected_c, 3))

    def _server_power(self, racks: Ints, frames: Sequence[Frame]) -> Floats:
        starts = _starts(np.diff(self._layout.rack_first_server)[racks])
        sums, _ = _sums(_join(frames, "server", "power_w")[np.newaxis], starts)
        return np.asarray(sums[0])

    def _suspects(self, arrays: Sequence[int], frames: Sequence[Frame]) -> Ints:
        """Count the doubted values of each hall, (halls,)."""
        doubted = [sum(map(len, frame.suspect.values())) for frame in frames]
        hall = self._layout.array_hall[list(arrays)]
        return np.bincount(hall, weights=doubted, minlength=self._layout.hall_count).astype(np.int64)

    def _counts(
        self,
        arrays: Sequence[int],
        frames: Sequence[Frame],
        gpu_rack: Ints,
        gpu: dict[str, Floats],
        sparse: dict[str, Sparse],
        cdu: dict[str, Floats],
        rack: dict[str, Any],
    ) -> dict[str, Any]:
        size = self._layout.hall_count
        halls = self._layout.rack_hall[rack["rack_i"]]
        gpu_hall = halls[gpu_rack]
        places, values = sparse["clocks_event_reasons"]
        bits = values.astype(np.int64)

        def gpus(which: NDArray[Any], weights: NDArray[Any] | None = None) -> NDArray[Any]:
            return np.bincount(gpu_hall[which], weights=weights, minlength=size)

        def racks(which: NDArray[Any]) -> NDArray[Any]:
            return np.bincount(halls[which], minlength=size)

        counts: dict[str, NDArray[Any]] = {
            "rack_n": np.bincount(halls, minlength=size),
            "measured_n": np.bincount(halls, weights=rack["measured_n"], minlength=size),
            "hot_n": gpus(gpu["gpu_temp_c"] >= self._hot_c[gpu_hall]),
            "down_n": gpus(gpu["power_w"] < DOWN_BELOW_W),
            "low_flow_n": racks(cdu["flow_l_min"] < LOW_FLOW_L_MIN_PER_KW * rack["power_w"] / 1000),
            "leak_n": racks(cdu["leak"] > 0),
            "throttle_power_n": gpus(places[(bits & SW_POWER_CAP) > 0]),
            "throttle_sw_thermal_n": gpus(places[(bits & SW_THERMAL) > 0]),
            "throttle_hw_thermal_n": gpus(places[(bits & (HW_THERMAL | HW_SLOWDOWN)) > 0]),
            "throttle_thermal_n": gpus(places[(bits & THERMAL) > 0]),
            "throttle_brake_n": gpus(places[(bits & HW_BRAKE) > 0]),
            "ecc_dbe_n": gpus(*sparse["ecc_dbe"]),
            "row_remap_failed_n": gpus(*sparse["row_remap_failed"]),
            "nvlink_error_n": gpus(*sparse["nvlink_errors"]),
            "suspect_n": self._suspects(arrays, frames),
            "busy_n": gpus(gpu["sm_active"] > BUSY_ABOVE),
        }
        present = np.flatnonzero(counts["rack_n"])
        return {"hall_i": present, **{name: counts[name][present].astype(np.int64) for name in HALL_COUNTS}}


def _starts(sizes: NDArray[Any]) -> Ints:
    """Return where each of some neighbours begins."""
    return np.concatenate(([0], np.cumsum(sizes)[:-1])).astype(np.int64)


def _join(frames: Sequence[Frame], group: str, name: str) -> Floats:
    return np.concatenate([frame.dense[group][name] for frame in frames])


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


def _sums(values: Floats, starts: Ints) -> tuple[Floats, Ints]:
    """Add up what was measured between the starts, by row; NaN where nothing was. And count it."""
    missing = np.isnan(values)
    counts = np.add.reduceat(~missing, starts, axis=1, dtype=np.int64)
    if not missing.any():
        return np.add.reduceat(values, starts, axis=1), counts
    sums = np.add.reduceat(np.where(missing, 0.0, values), starts, axis=1)
    sums[counts == 0] = np.nan
    return sums, counts


def _xids(sparse: dict[str, Sparse]) -> dict[str, Any]:
    """Return place, number and count of each XID; the gateway may leave the count out where it is one."""
    raised = sparse["xid"].values > 0
    if not raised.any():
        return {}
    places, numbers = sparse["xid"].places[raised], sparse["xid"].values[raised]
    counted = dict(zip(sparse["xid_n"].places.tolist(), sparse["xid_n"].values.tolist(), strict=True))
    n = np.array([int(counted.get(place, 1)) for place in places.tolist()])
    return {"place": places, "xid": numbers.astype(np.int64), "n": n}


def _histogram(hall: NDArray[Any], values: Floats, width: float, bins: int) -> dict[str, Any]:
    known = ~np.isnan(values)
    if not known.all():
        hall, values = hall[known], values[known]
    place = np.clip((values / width).astype(np.int64), 0, bins - 1) + hall.astype(np.int64) * bins
    n = np.bincount(place)
    filled = np.flatnonzero(n)
    return {"hall_i": filled // bins, "bin": filled % bins, "n": n[filled]}
