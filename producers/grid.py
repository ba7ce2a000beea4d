"""``telemetry.grid``: feeds, batteries, UPS, hall meters, frequency and the fast channel."""

from collections.abc import Iterator

import numpy as np

from producers.family import Reading, shown
from twin.events.frames import Frame, encode_frame
from twin.events.grid import BATTERY, FAST, FEED, METER, PACK, SITE_METER, TELEMETRY_GRID, UPS
from twin.events.layout import FrameLayout
from twin.plant import Plant
from twin.plant.states import TRIPPED


class GridProducer:
    """One frame per tick."""

    topic = "telemetry.grid"

    def __init__(self, layout: FrameLayout) -> None:
        (self._key,) = layout.keys(self.topic)

    def readings(self, plant: Plant, *, first_of_epoch: bool) -> Iterator[Reading]:
        """Read feeds, batteries, UPS and meters."""
        power = plant.power
        battery = {c.name: getattr(power.battery, c.name) for c in BATTERY.columns if c.name != "tripped"}
        battery["tripped"] = (power.battery.state_code == TRIPPED).astype(np.int64)
        meters = {c.name: getattr(power, c.name) for c in SITE_METER.columns if c.name != "energy_wh"}
        meters["energy_wh"] = plant.counters.facility_wh
        dense = {
            "feed": shown(FEED, {column.name: getattr(power.feed, column.name) for column in FEED.columns}),
            "battery": shown(BATTERY, battery),
            "pack": shown(PACK, {"soc": power.battery.pack_soc}),
            "ups": shown(UPS, {column.name: getattr(power.ups, column.name) for column in UPS.columns}),
            "meter": shown(METER, {"power_w": power.meter_power_w * plant.asbuilt.meter_gain_ratio}),
            "site": shown(SITE_METER, meters),
            "fast": shown(FAST, {"load_w": power.fast_load_w, "feed_w": power.fast_feed_w}),
        }
        yield Reading(self._key, encode_frame(TELEMETRY_GRID, Frame(dense=dense)))
