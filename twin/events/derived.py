"""What the observer makes: ``twin.rack``, ``twin.site``, ``twin.health``."""

from pydantic import Field

from twin.events.columns import Column, Family, Group, count
from twin.events.control import Message
from twin.events.gpu import CDU, GPU
from twin.events.measurements import BY_NAME

_WIDE = 1e15
TEMP_BIN_K = 0.5
TEMP_BINS = 240  # 0..120 C; the ends hold what lies beyond
POWER_BIN_W = 10.0
POWER_BINS = 150  # 0..1,500 W


def _number(name: str) -> Column:
    return Column(name, 0, -_WIDE, _WIDE)


def _measured(measurement: str, *leading: Column) -> Group:
    fields = BY_NAME[measurement].fields
    return Group(measurement, (*leading, *(_number(field.name) for field in fields)), measurement)


RACK_I = count("rack_i")
HALL_I = count("hall_i")
# Sums, not means, so that parts of a hall add up.
HALL_COUNTS = (
    "rack_n", "measured_n", "hot_n", "down_n", "low_flow_n", "leak_n", "throttle_power_n",
    "throttle_sw_thermal_n", "throttle_hw_thermal_n", "throttle_thermal_n", "throttle_brake_n", "ecc_dbe_n",
    "row_remap_failed_n", "nvlink_error_n", "suspect_n", "busy_n",
)  # fmt: skip

TWIN_RACK = Family(
    "twin.rack/1",
    "One partition and tick: rows of racks, counts and histograms by hall, XIDs, CDUs and GPUs under watch",
    (
        Group("close", (count("partition"), count("late"), Column("watermark", 1, -1, 2**53))),
        Group(
            "rack",
            (
                RACK_I,
                *(_number(field.name) for field in BY_NAME["rack"].fields),
                _number("gpu_power_w"),
                _number("facility_supply_c"),
                _number("facility_flow_l_min"),
            ),
            "rack",
        ),
        Group("hall", (HALL_I, *(count(name) for name in HALL_COUNTS))),
        Group("temp_hist", (HALL_I, count("bin"), count("n"))),
        Group("power_hist", (HALL_I, count("bin"), count("n"))),
        Group("xid", (RACK_I, count("gpu"), count("xid"), count("n"))),
        Group("cdu", (RACK_I, *(_number(column.name) for column in CDU.columns)), "cdu"),
        Group("gpu", (RACK_I, count("gpu"), *(_number(c.name) for c in GPU.columns if c.name != "xid_n")), "gpu"),
    ),
)
TWIN_SITE = Family(
    "twin.site/1",
    "All that the app site works out of one tick for the store",
    (
        Group(
            "close",
            (
                Column("watermark", 1, -1, 2**53),
                count("stale_n"),
                count("array_n"),
                Column("site_time_s", 0, 0, 366 * 86_400),
            ),
        ),
        _measured("site"),
        _measured("hall", HALL_I),
        # scope 0 is the site, then the halls.
        _measured("gpu_hist", count("scope_i")),
        _measured("permit"),
        Group("loop", (Column("unit", 0, 0, 0, kind="text"), _number("supply_error_k")), "loop"),
        Group("run", (_number("age_max_s"),)),
        _measured("alarm_kpi"),
    ),
)


class IngestHealth(Message):
    """What one topic gave since the last message (counts) and how late it was."""

    topic: str
    frames_hz: float = Field(ge=0)
    lag_p50_s: float
    lag_p99_s: float
    age_max_s: float
    control_age_s: float
    kafka_lag_n: int = Field(ge=0)
    suspect_n: int = Field(ge=0)
    dead_n: int = Field(ge=0)
    gap_n: int = Field(ge=0)
    duplicate_n: int = Field(ge=0)
    late_n: int = Field(ge=0)
    other_run_n: int = Field(ge=0)


class SinkHealth(Message):
    """How the writes into one store go."""

    sink: str
    points_hz: float = Field(ge=0)
    write_p99_s: float = Field(ge=0)
    retry_n: int = Field(ge=0)
    buffered_n: int = Field(ge=0)


class Health(Message):
    """How one process of the twin does: ``twin.health``, at the wall clock."""

    process: str
    at_ms: int = Field(ge=0)
    cpu: float = Field(ge=0)
    rss_mb: float = Field(ge=0)
    buffer_fill: float = Field(ge=0)
    ingest: tuple[IngestHealth, ...] = ()
    sinks: tuple[SinkHealth, ...] = ()
