"""What needs more than one tick: the ramp of the load, what loops and tanks store, the water of the day."""

from collections import deque
from typing import NamedTuple

import numpy as np

from twin.events.layout import FrameLayout
from twin.state.picture import Row, Units, frames_of

WINDOW_S = 60.0  # over which a balance is struck: in one second the resolution of a thermometer hides what is stored
DAY_S = 86_400.0


class _Cooling(NamedTuple):
    """Heat and water of all loops at one tick: rates, and what is stored."""

    tick: int
    heat_in_w: float
    heat_out_w: float
    heat_j: float
    water_in_l_min: float
    water_out_l_min: float
    water_l: float


class Trends:
    """Follows one epoch tick by tick.

    Parameters
    ----------
    layout
        Keys and ids of the site.
    """

    def __init__(self, layout: FrameLayout) -> None:
        self._layout = layout
        self._site = layout.site
        self._last_tick = -1
        self._load: tuple[int, float] | None = None
        self._cooling: deque[_Cooling] = deque()
        self._midnight: tuple[int, float] | None = None  # the day, and what the meters said when it began

    def continued(self, first_tick: int) -> "Trends":
        """Return the trends of an epoch that goes on from here; ticks that it does again are forgotten."""
        trends = Trends(self._layout)
        trends._load = self._load if self._load is not None and self._load[0] < first_tick else None
        trends._cooling = deque(one for one in self._cooling if one.tick < first_tick)
        trends._midnight = self._midnight
        return trends

    def follow(self, tick: int, units: Units, *, dt_s: float, site_time_s: float) -> Row:
        """Take in a tick, and return the fields of ``site`` that it decides together with those before.

        Parameters
        ----------
        tick
            Its number; one that is older than the last is not taken in.
        units
            (topic, key) -> frame of that tick.
        dt_s
            Length of a tick [s].
        site_time_s
            Second of the typical year at that tick [s]; NaN if it is not known.
        """
        if tick < self._last_tick:
            return {}
        self._last_tick = tick
        return self._ramp(tick, units, dt_s) | self._balances(tick, units, dt_s) | self._water(units, site_time_s)

    def _ramp(self, tick: int, units: Units, dt_s: float) -> Row:
        grids = frames_of(units, self._layout, "telemetry.grid")
        if not grids or (self._load is not None and tick <= self._load[0]):
            return {}
        load_w = float(sum(np.mean(frame.dense["fast"]["load_w"]) for frame in grids))
        before, self._load = self._load, (tick, load_w)
        if before is None:
            return {}
        ramp_w_s = (load_w - before[1]) / ((tick - before[0]) * dt_s)
        return {"ramp_max_w_s": ramp_w_s, "ramp_min_w_s": ramp_w_s}

    def _balances(self, tick: int, units: Units, dt_s: float) -> Row:
        """Strike (in - out - stored) / in of heat and water over the window."""
        plants = frames_of(units, self._layout, "telemetry.chillers")
        if not plants or (self._cooling and tick <= self._cooling[-1].tick):
            return {}
        loops = {name: np.concatenate([plant.dense["loop"][name] for plant in plants]) for name in _LOOP}
        self._cooling.append(self._cooling_at(tick, loops))
        while (tick - self._cooling[0].tick) * dt_s > WINDOW_S:
            self._cooling.popleft()
        first, past_s = self._cooling[0], (tick - self._cooling[0].tick) * dt_s
        if past_s < WINDOW_S - dt_s / 2:
            return {}
        heat_in, heat_out, _, water_in, water_out, _ = np.mean([one[1:] for one in list(self._cooling)[1:]], axis=0)
        last = self._cooling[-1]
        stored_w = (last.heat_j - first.heat_j) / past_s
        stored_l_min = (last.water_l - first.water_l) / past_s * 60
        return {
            "heat_balance_ratio": (heat_in - heat_out - stored_w) / heat_in if heat_in > 0 else float("nan"),
            "water_balance_ratio": (water_in - water_out - stored_l_min) / water_in if water_in > 0 else float("nan"),
        }

    def _cooling_at(self, tick: int, loops: dict[str, np.ndarray]) -> _Cooling:
        site = self._site
        # Half of a loop's heat capacity lies before its tower, half behind it.
        heat_j = site.loop.heat_capacity_j_per_k / 2 * float((loops["supply_c"] + loops["return_c"]).sum())
        drift_l_min = site.tower.drift_ratio * loops["flow_l_min"]
        return _Cooling(
            tick,
            float(loops["heat_in_w"].sum()),
            float(loops["heat_out_w"].sum()),
            heat_j,
            float(loops["makeup_l_min"].sum()),
            float((loops["evaporation_l_min"] + loops["blowdown_l_min"] + drift_l_min).sum()),
            1000 * site.loop.tank_volume_m3 * float(loops["level"].sum()),
        )

    def _water(self, units: Units, site_time_s: float) -> Row:
        """Read today's water off the meters: since midnight, or since this worker began."""
        plants = frames_of(units, self._layout, "telemetry.chillers")
        if not plants or np.isnan(site_time_s):
            return {}
        total_l = float(sum(plant.dense["water"]["makeup_total_l"].sum() for plant in plants))
        today, second = int(site_time_s // DAY_S), site_time_s % DAY_S
        if self._midnight is None or self._midnight[0] != today:
            self._midnight = today, total_l
        return {
            "water_today_l": total_l - self._midnight[1],
            "water_plan_l": self._site.water.plan_l_per_day * second / DAY_S,
        }


_LOOP = (
    "supply_c",
    "return_c",
    "flow_l_min",
    "heat_in_w",
    "heat_out_w",
    "makeup_l_min",
    "evaporation_l_min",
    "blowdown_l_min",
    "level",
)
