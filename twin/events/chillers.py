"""``telemetry.chillers``: one cooling plant: chillers, tower cells, pumps, loop, weather, rooms, water meter."""

from twin.events.columns import Column, Family, Group, flag, flow, power, ratio, temp

STATE_CODE = Column("state_code", 1, 0, 7)  # 0 off 1 standby 2 starting 3 running 4 stopping 5 tripped 6 lockout

CHILLER = Group(
    "chiller",
    (
        STATE_CODE,
        flag("tripped"),
        ratio("plr", 1.5),
        power("power_w"),
        power("cooling_w"),
        temp("supply_c"),
        Column("cop", 0.01, 0, 50, "mean"),
    ),
    measurement="chiller",
)
TOWER = Group(
    "tower",
    (
        STATE_CODE,
        flag("tripped"),
        ratio("fan_speed_ratio", 1.5),
        power("fan_power_w"),
        temp("water_out_c"),
        Column("approach_k", 0.1, -100, 100),
    ),
    measurement="tower",
)
PUMP = Group(
    "pump",
    (STATE_CODE, flag("tripped"), ratio("speed_ratio", 1.5), power("power_w"), flow("flow_l_min")),
    measurement="pump",
)
LOOP = Group(
    "loop",
    (
        temp("supply_c"),
        temp("supply_set_c"),
        temp("return_c"),
        flow("flow_l_min"),
        Column("dp_pa", 100, 0, 1e7),
        power("heat_in_w"),
        power("heat_out_w"),
        power("chiller_power_w"),
        ratio("free_cooling"),
        flow("makeup_l_min"),
        flow("evaporation_l_min"),
        flow("blowdown_l_min"),
        ratio("level", 1.5, "sample"),
    ),
    measurement="loop",
)
WEATHER = Group(
    "weather",
    (temp("dry_bulb_c"), temp("wet_bulb_c"), temp("dew_point_c"), Column("pressure_pa", 10, 5e4, 1.2e5)),
    measurement="weather",
)
ROOM = Group("room", (temp("room_c"),))
WATER = Group("water", (Column("makeup_total_l", 1, 0, 1e12),))
TELEMETRY_CHILLERS = Family(
    "telemetry.chillers/1",
    "One cooling plant: chillers, tower cells, pumps, loop, rooms, weather, water meter",
    (CHILLER, TOWER, PUMP, LOOP, ROOM, WEATHER, WATER),
)
