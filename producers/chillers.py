"""``telemetry.chillers``: one frame per cooling plant and tick."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from producers.family import Reading, shown
from producers.weather import weather_columns
from twin.events.chillers import CHILLER, LOOP, PUMP, ROOM, TELEMETRY_CHILLERS, TOWER, WATER
from twin.events.columns import Group
from twin.events.frames import Frame, encode_frame
from twin.events.layout import FrameLayout
from twin.plant import Plant
from twin.plant.states import TRIPPED


class ChillerProducer:
    """Chillers, tower cells, pumps, loop, room, weather and water meter of each hall's cooling plant."""

    topic = "telemetry.chillers"

    def __init__(self, layout: FrameLayout) -> None:
        self._keys = layout.keys(self.topic)
        self._sizes = [layout.sizes(self.topic, key) or {} for key in self._keys]

    def readings(self, plant: Plant, *, first_of_epoch: bool) -> Iterator[Reading]:
        """Read every cooling plant."""
        cooling = plant.cooling
        loops = cooling.loops
        loop = {column.name: getattr(loops, column.name) for column in LOOP.columns}
        loop["supply_c"] = loops.supply_c + plant.asbuilt.loop_supply_bias_k
        loop["return_c"] = loops.return_c + plant.asbuilt.loop_return_bias_k
        loop["flow_l_min"] = loops.flow_l_min * plant.asbuilt.loop_flow_gain_ratio
        values: list[tuple[Group, dict[str, Any]]] = [
            (CHILLER, _with_tripped(CHILLER, cooling.chillers)),
            (TOWER, _with_tripped(TOWER, cooling.towers)),
            (PUMP, _with_tripped(PUMP, cooling.pumps)),
            (LOOP, loop),
            (ROOM, {"room_c": loops.room_c}),
            (WATER, {"makeup_total_l": loops.makeup_total_l}),
        ]
        rounded = [(group.name, shown(group, columns)) for group, columns in values]
        weather = weather_columns(plant)
        for i, key in enumerate(self._keys):
            dense = {"weather": weather}
            for name, columns in rounded:
                size = self._sizes[i][name]
                dense[name] = {
                    column: column_values[i * size : (i + 1) * size] for column, column_values in columns.items()
                }
            yield Reading(key, encode_frame(TELEMETRY_CHILLERS, Frame(dense=dense)))


def _with_tripped(group: Group, units: Any) -> dict[str, Any]:
    columns = {column.name: getattr(units, column.name) for column in group.columns if column.name != "tripped"}
    columns["tripped"] = (np.asarray(units.state_code) == TRIPPED).astype(np.int64)
    return columns
