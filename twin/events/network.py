"""``telemetry.network``: the links and switches of one hall."""

from twin.events.chillers import STATE_CODE
from twin.events.columns import Column, Family, Group, count, ratio

HALL = Group(
    "hall",
    (
        count("links_n"),
        count("links_down_n"),
        count("flaps_n", "sum"),
        count("switch_down_n"),
        ratio("utilisation_max", 2, "max"),
        ratio("ecn_mean"),
    ),
    measurement="network",
)
SWITCH = Group("switch", (STATE_CODE, count("links_down_n"), ratio("utilisation", 2)), measurement="switch")
JOB = Group("job", (Column("unit", 0, 0, 0, kind="text"), ratio("bw_factor")))
TELEMETRY_NETWORK = Family(
    "telemetry.network/1",
    "Link and switch health of one hall, and the bandwidth factor of each job there",
    (HALL, SWITCH, JOB),
)
