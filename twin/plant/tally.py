"""What a stretch of a run has cost, counted tick by tick, so that two stretches can be compared.

To add a figure: a row of ``FIGURES``, and its value in :meth:`Tally.figures`.
"""

from dataclasses import fields
from typing import NamedTuple

import numpy as np

from twin.plant.counters import Counters
from twin.plant.model import Plant
from twin.plant.states import RUNNING

KG_PER_LB = 0.45359237
_S_PER_H = 3600.0


class Figure(NamedTuple):
    """How a figure is shown.

    Attributes
    ----------
    name
        Carries the unit of its value.
    label
        With the unit in which it is shown.
    scale
        From the value to what is shown.
    digits
        Behind the point.
    """

    name: str
    label: str
    scale: float = 1.0
    digits: int = 0


FIGURES: tuple[Figure, ...] = (
    Figure("racks_throttled_n", "racks throttled by heat, most at one time"),
    Figure("racks_throttled_ever_n", "racks throttled by heat, ever"),
    Figure("racks_off_n", "racks with GPUs shut down by heat, most at one time"),
    Figure("racks_off_ever_n", "racks with GPUs shut down by heat, ever"),
    Figure("gpus_off_n", "GPUs shut down by heat, most at one time"),
    Figure("lost_gpu_h", "GPU-hours lost", digits=1),
    Figure("largest_job_stopped_s", "largest job stopped, min", 1 / 60, 1),
    Figure("gpu_temp_max_c", "hottest GPU, C", digits=1),
    Figure("supply_max_c", "warmest loop supply, C", digits=1),
    Figure("room_max_c", "warmest hall, C", digits=1),
    Figure("rooms_over_h", "halls above their limit, hall-minutes", 60.0, 1),
    Figure("shed_max_w", "MW shed, most at one time", 1e-6, 3),
    Figure("shed_wh", "MWh shed", 1e-6, 3),
    Figure("feed_max_w", "MW from the utility, most at one time", 1e-6, 3),
    Figure("feed_over_wh", "MWh above the limit of the feed", 1e-6, 3),
    Figure("facility_wh", "MWh used by the site", 1e-6, 3),
    Figure("it_wh", "MWh used by IT", 1e-6, 3),
    Figure("cooling_wh", "MWh used by cooling", 1e-6, 3),
    Figure("water_l", "water, m3", 1e-3, 2),
    Figure("gas_mmbtu", "gas, MMBtu", digits=2),
    Figure("nox_kg", "NOx, kg", digits=3),
    Figure("co2_kg", "CO2 of the turbines, t", 1e-3, 3),
    Figure("turbine_starts_n", "starts of turbines"),
    Figure("chiller_starts_n", "starts of chillers"),
    Figure("cost_usd", "energy, gas and water, USD", digits=2),
)


class Tally:
    """Counts what happens to a plant from now on.

    Parameters
    ----------
    plant
        As the stretch begins, before any order of its first tick.

    Notes
    -----
    *GPU-hours lost* are the plant's own: for each job and tick, GPUs of the job x (1 - rate) x dt, where the rate is
    the share of the tick in which it ran, over how much longer its step took than at best (slowest clock, links); a job
    that stands has rate 0, and one that restarts loses what it had done since its last checkpoint as well. A GPU that
    is off, and for which a spare stands in, costs no job anything. *Throttled by heat* is a rack with a GPU whose
    clock a thermal guard holds down; a power cap is no heat, and shows in the GPU-hours. Halls are above their limit
    when their air is warmer than the site's ``room.air_max_c``.
    """

    def __init__(self, plant: Plant) -> None:
        racks_n = plant.site.layout.rack_count
        self._racks_throttled_ever = np.zeros(racks_n, dtype=bool)
        self._racks_off_ever = np.zeros(racks_n, dtype=bool)
        self._racks_throttled_n = self._racks_off_n = self._gpus_off_n = 0
        self._largest_job = int(np.argmax(plant.jobs.gpu_n)) if len(plant.jobs.gpu_n) else None
        self._stopped_s = self._rooms_over_s = 0.0
        self._gpu_temp_c = self._supply_c = self._room_c = -np.inf
        self._shed_w = self._feed_w = 0.0
        self._shed_wh = self._feed_over_wh = 0.0
        self._begin = _totals(plant)
        self._end = self._begin
        self._turbine_starts = int(plant.power.turbines.starts_year_n.sum())
        self._turbine_starts_n = self._chiller_starts_n = 0
        self._chiller_started_s = plant.cooling.chillers.starts_at_s.max(axis=1)

    def observe(self, plant: Plant) -> None:
        """Count the tick that the plant has just done.

        Parameters
        ----------
        plant
            Read only.
        """
        dt_s, hours = plant.dt_s, plant.dt_s / _S_PER_H
        self._observe_heat(plant)
        if self._largest_job is not None and plant.jobs.state_code[self._largest_job] != RUNNING:
            self._stopped_s += dt_s
        room_c = plant.cooling.loops.room_c
        self._rooms_over_s += dt_s * int(np.count_nonzero(room_c > plant.site.room.air_max_c))
        self._room_c = max(self._room_c, float(room_c.max()))
        self._supply_c = max(self._supply_c, float(plant.cooling.loops.supply_c.max()))
        shed_w, feed_w = float(plant.power.shed_power_w), float(plant.power.feed.power_w.sum())
        self._shed_w = max(self._shed_w, shed_w)
        self._shed_wh += shed_w * hours
        self._feed_w = max(self._feed_w, feed_w)
        self._feed_over_wh += max(feed_w - float(plant.power.feed.limit_w.sum()), 0.0) * hours
        started_s = plant.cooling.chillers.starts_at_s.max(axis=1)
        self._chiller_starts_n += int(np.count_nonzero(started_s > self._chiller_started_s))
        self._chiller_started_s = started_s
        self._turbine_starts_n = int(plant.power.turbines.starts_year_n.sum()) - self._turbine_starts
        self._end = _totals(plant)

    def _observe_heat(self, plant: Plant) -> None:
        gpus = plant.gpus
        self._gpu_temp_c = max(self._gpu_temp_c, float(gpus.temp_c.max()))
        throttled_n = racks_off_n = gpus_off_n = 0
        # Where no chunk is hot nothing is throttled by heat, and nothing is off.
        for number in np.flatnonzero(gpus.chunk_hot).tolist():
            chunk = plant.work.gpus.chunks[number]
            by_rack = (chunk.racks_n, -1)
            slow = (gpus.thermal_clock_ratio[chunk.gpus] < 1.0).reshape(by_rack).any(axis=1)
            off = (gpus.off_left_s[chunk.gpus] > 0.0).reshape(by_rack)
            with_off = off.any(axis=1)
            throttled_n += int(np.count_nonzero(slow))
            racks_off_n += int(np.count_nonzero(with_off))
            gpus_off_n += int(np.count_nonzero(off))
            self._racks_throttled_ever[chunk.racks] |= slow
            self._racks_off_ever[chunk.racks] |= with_off
        self._racks_throttled_n = max(self._racks_throttled_n, throttled_n)
        self._racks_off_n = max(self._racks_off_n, racks_off_n)
        self._gpus_off_n = max(self._gpus_off_n, gpus_off_n)

    def figures(self) -> dict[str, float]:
        """Return what was counted, a value for each of ``FIGURES``; a maximum of no tick is 0."""
        used = {name: self._end[name] - self._begin[name] for name in self._begin}
        figures = {
            "racks_throttled_n": self._racks_throttled_n,
            "racks_throttled_ever_n": int(np.count_nonzero(self._racks_throttled_ever)),
            "racks_off_n": self._racks_off_n,
            "racks_off_ever_n": int(np.count_nonzero(self._racks_off_ever)),
            "gpus_off_n": self._gpus_off_n,
            "lost_gpu_h": used["lost_gpu_h"],
            "largest_job_stopped_s": self._stopped_s,
            "gpu_temp_max_c": self._gpu_temp_c,
            "supply_max_c": self._supply_c,
            "room_max_c": self._room_c,
            "rooms_over_h": self._rooms_over_s / _S_PER_H,
            "shed_max_w": self._shed_w,
            "shed_wh": self._shed_wh,
            "feed_max_w": self._feed_w,
            "feed_over_wh": self._feed_over_wh,
            "facility_wh": used["facility_wh"],
            "it_wh": used["it_wh"],
            "cooling_wh": used["cooling_wh"],
            "water_l": used["water_l"],
            "gas_mmbtu": used["gas_mmbtu"],
            "nox_kg": used["nox_lb"] * KG_PER_LB,
            "co2_kg": used["co2_lb"] * KG_PER_LB,
            "turbine_starts_n": self._turbine_starts_n,
            "chiller_starts_n": self._chiller_starts_n,
            "cost_usd": used["cost_usd"],
        }
        return {name: float(value) if np.isfinite(value) else 0.0 for name, value in figures.items()}


def _totals(plant: Plant) -> dict[str, float]:
    return {item.name: float(getattr(plant.counters, item.name)) for item in fields(Counters)}
