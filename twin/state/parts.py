"""What partitions say of one tick, added up by hall: a re-sent or late part is never counted twice."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from twin.events.derived import HALL_COUNTS, POWER_BINS, TEMP_BINS
from twin.events.frames import Frame
from twin.site import Site

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Columns of racks that are added up; a rack counts where it was measured.
_SUMS = ("power_w", "gpu_power_w", "coolant_flow_l_min", "facility_flow_l_min")
_GPU_MEANS = ("gpu_temp_mean_c", "sm_clock_mean_mhz", "sm_active_mean", "tensor_active_mean", "fb_used_mean_mib")
_RACK_MEANS = ("coolant_supply_c", "coolant_return_c")
_ADDED = (*_SUMS, *_GPU_MEANS, *_RACK_MEANS)
_BY_GPU = slice(len(_SUMS), len(_SUMS) + len(_GPU_MEANS))
_MAXIMA = ("gpu_temp_max_c", "mem_temp_max_c", "coolant_supply_c")
_MINIMA = ("coolant_supply_c",)


class _Bins(NamedTuple):
    """Filled bins of a histogram: hall, bin, and GPUs there."""

    hall: Ints
    place: Ints
    n: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One message of one partition and tick.

    Attributes
    ----------
    racks
        Bit i: rack i of the site is in it.
    sums, weights, maxima, minima, counts
        By name (rows) and hall (columns).
    temp_hist, power_hist
        Hall, bin, and GPUs there.
    """

    racks: int
    sums: Floats
    weights: Floats
    maxima: Floats
    minima: Floats
    counts: Ints
    temp_hist: _Bins
    power_hist: _Bins


@dataclass(slots=True)
class HallTotals:
    """All parts of a tick added up, by hall; NaN where nothing was measured."""

    sums: dict[str, Floats]
    means: dict[str, Floats]
    maxima: dict[str, Floats]
    minima: dict[str, Floats]
    counts: dict[str, Ints]
    temp_hist: Ints
    power_hist: Ints


def part_of(frame: Frame, site: Site) -> Part:
    """Add one ``twin.rack`` message up by hall.

    Parameters
    ----------
    frame
        Its data, checked.
    site
        What exists.
    """
    halls = site.layout.hall_count
    sums, weights, maxima, minima = _nothing(halls)
    mask = 0
    if frame.size("rack"):
        rack = frame.dense["rack"]
        racks = rack["rack_i"].astype(np.int64)
        mask = _mask(racks, site.layout.rack_count)
        # Racks stand in site order, so that those of a hall are neighbours.
        order = np.argsort(racks, kind="stable")
        of_hall = site.layout.rack_hall[racks[order]]
        starts = np.flatnonzero(np.concatenate(([True], of_hall[1:] != of_hall[:-1])))
        present = of_hall[starts]

        values = np.array([rack[name] for name in _ADDED])[:, order]
        weight = (~np.isnan(values)).astype(np.float64)
        weight[_BY_GPU] *= np.nan_to_num(rack["measured_n"])[order]
        values[np.isnan(values)] = 0.0
        values[_BY_GPU] *= weight[_BY_GPU]
        sums[:, present] = np.add.reduceat(values, starts, axis=1)
        weights[:, present] = np.add.reduceat(weight, starts, axis=1)
        high = np.array([rack[name] for name in _MAXIMA])[:, order]
        low = np.array([rack[name] for name in _MINIMA])[:, order]
        maxima[:, present] = np.fmax.reduceat(high, starts, axis=1)
        minima[:, present] = np.fmin.reduceat(low, starts, axis=1)
    counts = np.zeros((len(HALL_COUNTS), halls), dtype=np.int64)
    given = frame.dense.get("hall")
    if given:
        counts[:, given["hall_i"].astype(np.int64)] = [given[name] for name in HALL_COUNTS]
    return Part(mask, sums, weights, maxima, minima, counts, _bins(frame, "temp_hist"), _bins(frame, "power_hist"))


def _nothing(halls: int) -> tuple[Floats, Floats, Floats, Floats]:
    return (
        np.zeros((len(_ADDED), halls)),
        np.zeros((len(_ADDED), halls)),
        np.full((len(_MAXIMA), halls), np.nan),
        np.full((len(_MINIMA), halls), np.nan),
    )


def _mask(racks: Ints, rack_count: int) -> int:
    bits = np.zeros(rack_count, dtype=np.uint8)
    bits[racks] = 1
    return int.from_bytes(np.packbits(bits, bitorder="little").tobytes(), "little")


def _bins(frame: Frame, group: str) -> _Bins:
    columns = frame.dense.get(group) or {}
    empty = np.empty(0)
    return _Bins(*(columns.get(name, empty).astype(np.int64) for name in ("hall_i", "bin", "n")))


def add_part(parts: list[Part], part: Part) -> bool:
    """Take a part in, if more racks are known with it than without; return whether anything changed.

    After a hand-over the new owner sends again what the old one sent, sometimes only the end of it: of two parts
    that overlap only one can hold.
    """
    overlapping = [known for known in parts if known.racks & part.racks]
    if part.racks.bit_count() <= sum(known.racks.bit_count() for known in overlapping):
        return False
    parts[:] = [known for known in parts if not known.racks & part.racks]
    parts.append(part)
    return True


def racks_in(parts: list[Part], rack_count: int) -> Ints:
    """Return the racks that are in any of some parts."""
    union = 0
    for part in parts:
        union |= part.racks
    raw = np.frombuffer(union.to_bytes(rack_count // 8 + 1, "little"), dtype=np.uint8)
    return np.flatnonzero(np.unpackbits(raw, bitorder="little")[:rack_count])


def total(parts: list[Part], halls: int) -> HallTotals:
    """Add parts up.

    Parameters
    ----------
    parts
        With no rack in two of them.
    halls
        How many halls the site has.
    """
    sums, weights, maxima, minima = _nothing(halls)
    counts = np.zeros((len(HALL_COUNTS), halls), dtype=np.int64)
    temp_hist = np.zeros((halls, TEMP_BINS), dtype=np.int64)
    power_hist = np.zeros((halls, POWER_BINS), dtype=np.int64)
    for part in parts:
        sums += part.sums
        weights += part.weights
        np.fmax(maxima, part.maxima, out=maxima)
        np.fmin(minima, part.minima, out=minima)
        counts += part.counts
        for hist, (hall, place, n) in ((temp_hist, part.temp_hist), (power_hist, part.power_hist)):
            np.add.at(hist, (hall, place), n)
    sums[weights == 0] = np.nan
    with np.errstate(invalid="ignore", divide="ignore"):
        means = sums / weights
    first_mean = len(_SUMS)
    return HallTotals(
        sums=dict(zip(_SUMS, sums, strict=False)),
        means=dict(zip(_ADDED[first_mean:], means[first_mean:], strict=True)),
        maxima=dict(zip(_MAXIMA, maxima, strict=True)),
        minima=dict(zip(_MINIMA, minima, strict=True)),
        counts=dict(zip(HALL_COUNTS, counts, strict=True)),
        temp_hist=temp_hist,
        power_hist=power_hist,
    )
