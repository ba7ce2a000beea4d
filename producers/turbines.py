"""``telemetry.turbines``: turbines, gas header, stacks and permit counters of the power plant."""

from collections.abc import Iterator

import numpy as np

from producers.family import Reading, shown
from twin.events.frames import Frame, encode_frame
from twin.events.layout import FrameLayout
from twin.events.turbines import GAS, PERMIT, TELEMETRY_TURBINES, TURBINE
from twin.plant import Plant
from twin.plant.states import RUNNING, TRIPPED


class TurbineProducer:
    """One frame per tick."""

    topic = "telemetry.turbines"

    def __init__(self, layout: FrameLayout) -> None:
        (self._key,) = layout.keys(self.topic)

    def readings(self, plant: Plant, *, first_of_epoch: bool) -> Iterator[Reading]:
        """Read every turbine."""
        power = plant.power
        turbines = power.turbines
        values = {c.name: getattr(turbines, c.name) for c in TURBINE.columns if c.name not in ("running", "tripped")}
        values["running"] = (turbines.state_code == RUNNING).astype(np.int64)
        values["tripped"] = (turbines.state_code == TRIPPED).astype(np.int64)
        dense = {
            "turbine": shown(TURBINE, values),
            "gas": shown(GAS, {"pressure_ratio": power.gas.pressure_ratio}),
            "permit": shown(PERMIT, {column.name: getattr(power.permit, column.name) for column in PERMIT.columns}),
        }
        yield Reading(self._key, encode_frame(TELEMETRY_TURBINES, Frame(dense=dense)))
