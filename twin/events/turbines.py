"""``telemetry.turbines``: the gas turbines of a power plant, the gas header, the stacks, the permit's counters."""

from twin.events.chillers import STATE_CODE
from twin.events.columns import Column, Family, Group, count, flag, power, ratio, temp

TURBINE = Group(
    "turbine",
    (
        STATE_CODE,
        flag("running"),
        flag("tripped"),
        Column("start_elapsed_s", 1, 0, 1e6),
        power("power_w"),
        power("available_w"),
        ratio("load", 2),
        Column("heat_rate_kj_kwh", 1, 0, 1e6, "mean"),
        power("fuel_power_w"),
        Column("nox_ppm", 0.01, 0, 1e4, "mean"),
        Column("co_ppm", 0.01, 0, 1e4, "mean"),
        temp("scr_temp_c"),
        count("starts_year_n"),
        count("stops_year_n"),
        Column("start_stop_year_h", 0.01, 0, 9000),
        Column("run_h", 0.01, 0, 1e6),
    ),
    measurement="turbine",
)
GAS = Group("gas", (ratio("pressure_ratio", 2, "sample"),), measurement="gas")
# Short tons of the rolling twelve months, as the permit counts.
PERMIT = Group(
    "permit",
    tuple(Column(f"{name}_ston", 0.0001, 0, 1e6) for name in ("nox", "co", "voc", "pm", "hcho")),
    measurement="permit",
)
TELEMETRY_TURBINES = Family(
    "telemetry.turbines/1", "Gas turbines, gas header, stacks and permit counters", (TURBINE, GAS, PERMIT)
)
