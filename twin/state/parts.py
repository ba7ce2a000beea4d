"""What partitions say of one tick, added up by hall: a re-sent or late part is never counted twice."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin.events.derived import HALL_COUNTS, POWER_BINS, TEMP_BINS
from twin.events.frames import Frame
from twin.site import Site

Floats = NDArray[np.float64]

# Name of the sum, rack column, and the column whose value weighs it ("" = each rack once, plain sum).
_SUMS = (("power_w", ""), ("gpu_power_w", ""), ("coolant_flow_l_min", ""), ("facility_flow_l_min", ""))
_MEANS = (
    ("gpu_temp_mean_c", "measured_n"),
    ("sm_clock_mean_mhz", "measured_n"),
    ("sm_active_mean", "measured_n"),
    ("tensor_active_mean", "measured_n"),
    ("fb_used_mean_mib", "measured_n"),
    ("coolant_supply_c", ""),
    ("coolant_return_c", ""),
)
_MAXIMA = ("gpu_temp_max_c", "mem_temp_max_c", "coolant_supply_c")
_MINIMA = ("coolant_supply_c",)


@dataclass(frozen=True, slots=True)
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
    counts: NDArray[np.int64]
    temp_hist: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
    power_hist: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


@dataclass(slots=True)
class HallTotals:
    """All parts of a tick added up, by hall."""

    sums: dict[str, Floats]
    means: dict[str, Floats]
    maxima: dict[str, Floats]
    minima: dict[str, Floats]
    counts: dict[str, NDArray[np.int64]]
    temp_hist: NDArray[np.int64]
    power_hist: NDArray[np.int64]


def part_of(frame: Frame, site: Site) -> Part:
    """Add one ``twin.rack`` message up by hall.

    Parameters
    ----------
    frame
        Its data.
    site
        What exists.
    """
    halls = site.layout.hall_count
    rack: dict[str, Any] = frame.dense.get("rack") or {}
    racks = rack["rack_i"].astype(np.int64) if rack else np.empty(0, np.int64)
    hall = site.layout.rack_hall[racks]
    mask = 0
    if len(racks):
        bits = np.zeros(site.layout.rack_count, dtype=np.uint8)
        bits[racks] = 1
        mask = int.from_bytes(np.packbits(bits, bitorder="little").tobytes(), "little")

    def by_hall(values: Floats) -> Floats:
        return np.bincount(hall, weights=values, minlength=halls).astype(np.float64, copy=False)

    sums = np.zeros((len(_SUMS) + len(_MEANS), halls))
    weights = np.zeros((len(_MEANS), halls))
    maxima = np.full((len(_MAXIMA), halls), -np.inf)
    minima = np.full((len(_MINIMA), halls), np.inf)
    if len(racks):
        for i, (name, _) in enumerate(_SUMS):
            sums[i] = by_hall(np.nan_to_num(rack[name]))
        for i, (name, weigh) in enumerate(_MEANS):
            values = rack[name]
            weight = np.where(np.isnan(values), 0.0, rack[weigh] if weigh else 1.0)
            sums[len(_SUMS) + i] = by_hall(np.nan_to_num(values) * weight)
            weights[i] = by_hall(weight)
        for i, name in enumerate(_MAXIMA):
            np.fmax.at(maxima[i], hall, rack[name])
        for i, name in enumerate(_MINIMA):
            np.fmin.at(minima[i], hall, rack[name])
    counts = np.zeros((len(HALL_COUNTS), halls), dtype=np.int64)
    given = frame.dense.get("hall")
    if given:
        for i, name in enumerate(HALL_COUNTS):
            counts[i, given["hall_i"].astype(np.int64)] = given[name]
    return Part(mask, sums, weights, maxima, minima, counts, _hist(frame, "temp_hist"), _hist(frame, "power_hist"))


def _hist(frame: Frame, group: str) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    columns = frame.dense.get(group) or {}
    empty = np.empty(0, np.int64)
    hall, place, n = (columns.get(name, empty).astype(np.int64) for name in ("hall_i", "bin", "n"))
    return hall, place, n


def add_part(parts: list[Part], part: Part) -> bool:
    """Take a part in, unless its racks are known already; return whether anything changed.

    Of two parts that overlap, the one with more racks holds: after a hand-over the new owner sends again what the
    old one sent, sometimes only the end of it.
    """
    for known in parts:
        if part.racks | known.racks == known.racks:
            return False
    overlapping = [known for known in parts if known.racks & part.racks]
    if any(known.racks.bit_count() > part.racks.bit_count() for known in overlapping):
        return False
    for known in overlapping:
        parts.remove(known)
    parts.append(part)
    return True


def racks_in(parts: list[Part], rack_count: int) -> NDArray[np.int64]:
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
    sums = np.zeros((len(_SUMS) + len(_MEANS), halls))
    weights = np.zeros((len(_MEANS), halls))
    maxima = np.full((len(_MAXIMA), halls), -np.inf)
    minima = np.full((len(_MINIMA), halls), np.inf)
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
            hist[hall, place] += n
    with np.errstate(invalid="ignore", divide="ignore"):
        means = sums[len(_SUMS) :] / weights
    maxima[~np.isfinite(maxima)] = np.nan
    minima[~np.isfinite(minima)] = np.nan
    return HallTotals(
        sums={name: sums[i] for i, (name, _) in enumerate(_SUMS)},
        means={name: means[i] for i, (name, _) in enumerate(_MEANS)},
        maxima={name: maxima[i] for i, name in enumerate(_MAXIMA)},
        minima={name: minima[i] for i, name in enumerate(_MINIMA)},
        counts={name: counts[i] for i, name in enumerate(HALL_COUNTS)},
        temp_hist=temp_hist,
        power_hist=power_hist,
    )
