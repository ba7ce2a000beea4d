"""What was really built: each unit's own values, drawn from the seed around the nameplate.

The observer side knows the nameplate alone; the difference is what residuals and calibration must find.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from twin.site import Site


class Spread(NamedTuple):
    """How far built values lie from the nameplate."""

    law: str
    size: float
    why: str


# The one table of spreads; sizes of "lognormal" are sigma of the logarithm, of "normal" in the unit of the name.
SPREADS: dict[str, Spread] = {
    "gpu_resistance": Spread("lognormal", 0.08, "unit to unit, reference plant"),
    "gpu_position": Spread("ramp", 0.01, "first to last cold plate of a server, assumption"),
    "gpu_activity": Spread("lognormal", 0.004, "silicon and shards differ, assumption"),
    "gpu_memory": Spread("lognormal", 0.005, "shards differ, assumption"),
    "cdu_fouling": Spread("fouling", 0.02, "deposits only ever lower the conductance, assumption"),
    "cdu_pump": Spread("lognormal", 0.01, "pump curves, assumption"),
    "pump_curve": Spread("lognormal", 0.01, "pump curves, assumption"),
    "tower_ua": Spread("lognormal", 0.02, "fill and spray, assumption"),
    "chiller_capacity": Spread("lognormal", 0.02, "charge and compressor, assumption"),
    "chiller_cop": Spread("lognormal", 0.03, "condenser and compressor, assumption"),
    "turbine_power": Spread("lognormal", 0.01, "compressor wear, assumption"),
    "turbine_heat_rate": Spread("lognormal", 0.01, "compressor wear, assumption"),
    "turbine_stack": Spread("lognormal", 0.04, "catalyst; 0.85 of the permit's limit when new, assumption"),
    "battery_pack": Spread("lognormal", 0.01, "cells of a pack, assumption"),
    "sensor_temp_k": Spread("normal", 0.1, "class A resistance thermometer"),
    "sensor_flow": Spread("lognormal", 0.005, "magnetic flow meter"),
    "sensor_power": Spread("lognormal", 0.003, "class 0.5 meter"),
    "server_frailty": Spread("gamma", 0.3, "shape: one GPU made 99 % of one error class (arXiv 2503.11901)"),
    "server_lemons": Spread("lemons", 1.2e-4, "share of servers that fail 200 times as often, assumption"),
}
STACK_OF_LIMIT_RATIO = 0.85
LEMON_FACTOR = 200.0


@dataclass(frozen=True)
class AsBuilt:
    """As-built values; ``*_ratio`` are over the nameplate."""

    gpu_resistance_k_per_w: NDArray[np.float32]
    gpu_activity_ratio: NDArray[np.float32]
    gpu_memory_ratio: NDArray[np.float32]
    cdu_ua_ratio: NDArray[np.float64]
    cdu_pump_ratio: NDArray[np.float64]
    pump_ratio: NDArray[np.float64]
    tower_ua_ratio: NDArray[np.float64]
    chiller_capacity_ratio: NDArray[np.float64]
    chiller_cop_ratio: NDArray[np.float64]
    turbine_power_ratio: NDArray[np.float64]
    turbine_heat_rate_ratio: NDArray[np.float64]
    turbine_stack_ratio: NDArray[np.float64]
    pack_energy_wh: NDArray[np.float64]
    server_frailty_cum: NDArray[np.float64]
    loop_supply_bias_k: NDArray[np.float64]
    loop_return_bias_k: NDArray[np.float64]
    loop_flow_gain_ratio: NDArray[np.float64]
    cdu_supply_bias_k: NDArray[np.float64]
    cdu_return_bias_k: NDArray[np.float64]
    cdu_flow_gain_ratio: NDArray[np.float64]
    meter_gain_ratio: NDArray[np.float64]


def spawn_streams(seed: int, purpose: int, names: tuple[str, ...]) -> dict[str, np.random.Generator]:
    """Give each name a stream of random numbers of its own.

    Parameters
    ----------
    seed
        Of the plant.
    purpose
        0 for what was built, 1 for chance while it runs: neither shifts the other.
    names
        In an order that never changes: a new name goes to the end, so that the others keep their stream.

    Examples
    --------
    >>> one, both = spawn_streams(7, 0, ("a",)), spawn_streams(7, 0, ("a", "b"))
    >>> float(one["a"].random()) == float(both["a"].random())
    True
    """
    children = np.random.SeedSequence([seed, purpose]).spawn(len(names))
    return {name: np.random.default_rng(child) for name, child in zip(names, children, strict=True)}


def draw(site: Site, seed: int) -> AsBuilt:
    """Draw the as-built values of a site.

    Parameters
    ----------
    site
        Nameplate and layout.
    seed
        The same seed gives the same plant.
    """
    streams = spawn_streams(seed, 0, tuple(SPREADS))

    def spread(name: str, *shape: int) -> NDArray[np.float64]:
        law, size, _ = SPREADS[name]
        stream = streams[name]
        match law:
            case "lognormal":
                return np.exp(size * stream.standard_normal(shape))
            case "fouling":
                return np.exp(-size * np.abs(stream.standard_normal(shape)))
            case "gamma":
                return stream.gamma(size, 1.0 / size, shape)
            case _:
                return size * stream.standard_normal(shape)

    layout = site.layout
    gpus, servers, racks, halls = layout.gpu_count, layout.server_count, layout.rack_count, layout.hall_count
    per_server = layout.gpus_per_server
    chillers, turbines = len(site.unit_ids("chiller")), site.turbine.units_n
    pumps = len(site.unit_ids("pump"))

    nameplate = np.concatenate(
        [
            np.full(int(count) * site.rack.servers_n * per_server, site.gpu_model(hall).resistance_k_per_w)
            for hall, count in zip(layout.hall_ids, np.diff(layout.hall_first_rack), strict=True)
        ]
    )
    along = np.arange(gpus) % per_server / max(per_server - 1, 1) - 0.5
    position = 1.0 + SPREADS["gpu_position"].size * along

    frailty = spread("server_frailty", servers)
    lemons_n = round(SPREADS["server_lemons"].size * servers)
    frailty[streams["server_lemons"].choice(servers, lemons_n, replace=False)] *= LEMON_FACTOR

    sensors = {name: spread("sensor_temp_k", halls) for name in ("supply", "return")}
    cdu_sensors = {name: spread("sensor_temp_k", racks) for name in ("supply", "return")}
    return AsBuilt(
        gpu_resistance_k_per_w=_single(nameplate * position * _accepted(spread("gpu_resistance", gpus), 0.24)),
        gpu_activity_ratio=_single(_accepted(spread("gpu_activity", gpus), 0.008)),
        gpu_memory_ratio=_single(_accepted(spread("gpu_memory", gpus), 0.015)),
        cdu_ua_ratio=spread("cdu_fouling", racks),
        cdu_pump_ratio=spread("cdu_pump", racks, site.cdu.pumps_n),
        pump_ratio=spread("pump_curve", pumps),
        tower_ua_ratio=spread("tower_ua", halls),
        chiller_capacity_ratio=spread("chiller_capacity", chillers),
        chiller_cop_ratio=spread("chiller_cop", chillers),
        turbine_power_ratio=spread("turbine_power", turbines),
        turbine_heat_rate_ratio=spread("turbine_heat_rate", turbines),
        turbine_stack_ratio=STACK_OF_LIMIT_RATIO * spread("turbine_stack", turbines),
        pack_energy_wh=site.battery.energy_wh / site.battery.packs_n * spread("battery_pack", site.battery.packs_n),
        server_frailty_cum=np.cumsum(frailty),
        loop_supply_bias_k=sensors["supply"],
        loop_return_bias_k=sensors["return"],
        loop_flow_gain_ratio=spread("sensor_flow", halls),
        cdu_supply_bias_k=cdu_sensors["supply"],
        cdu_return_bias_k=cdu_sensors["return"],
        cdu_flow_gain_ratio=spread("sensor_flow", racks),
        meter_gain_ratio=spread("sensor_power", halls),
    )


def _accepted(ratios: NDArray[np.float64], log_limit: float) -> NDArray[np.float64]:
    """Bring what acceptance tests would have thrown out to their limit, two or three sigma."""
    return np.clip(ratios, np.exp(-log_limit), np.exp(log_limit))


def _single(values: NDArray[Any]) -> NDArray[np.float32]:
    return values.astype(np.float32)
