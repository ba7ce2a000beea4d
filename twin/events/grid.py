"""``telemetry.grid``: feeds, batteries, UPS, hall meters, frequency, and the fast channel of a power plant."""

from twin.events.chillers import STATE_CODE
from twin.events.columns import Column, Family, Group, count, flag, power, ratio, temp

FAST_PER_S = 20  # samples of the fast channel in each second

FEED = Group(
    "feed",
    (
        flag("closed"),
        power("power_w"),
        power("limit_w", "sample"),
        ratio("voltage_pu", 2, "sample"),
        ratio("voltage_min_pu", 2, "sample"),
    ),
    measurement="feed",
)
BATTERY = Group(
    "battery",
    (
        STATE_CODE,
        flag("tripped"),
        power("power_w"),
        power("available_w", "sample"),
        ratio("soc", 1, "sample"),
        temp("cell_max_c"),
    ),
    measurement="battery",
)
PACK = Group("pack", (ratio("soc", 1, "sample"),))
UPS = Group("ups", (STATE_CODE, flag("latched"), ratio("charge", 1, "sample")), measurement="ups")
METER = Group("meter", (power("power_w"),))
SITE_METER = Group(
    "site",
    (
        Column("frequency_hz", 0.001, 0, 100),
        Column("frequency_min_hz", 0.001, 0, 100),
        Column("frequency_max_hz", 0.001, 0, 100),
        Column("rocof_min_hz_s", 0.001, -1000, 1000),
        Column("rocof_max_hz_s", 0.001, -1000, 1000),
        flag("islanded"),
        power("shed_power_w"),
        count("shed_stage_code"),
        power("loss_power_w"),
        power("aux_power_w"),
        power("cooling_power_w"),
        Column("energy_wh", 1, 0, 1e15),
    ),
)
FAST = Group("fast", (power("load_w", "sample"), power("feed_w", "sample")))
TELEMETRY_GRID = Family(
    "telemetry.grid/1",
    "Feeds, batteries with their packs, UPS, hall meters, frequency, 20 Hz load and feed power",
    (FEED, BATTERY, PACK, UPS, METER, SITE_METER, FAST),
)
