"""The contract of the store: every measurement with its tags and fields, said once (boards.md section 2).

A field's *roll-up* says how five minutes of it become one value.
"""

from dataclasses import dataclass
from typing import Literal

from twin.events.units import Unit, unit_of

RollUp = Literal["mean", "max", "min", "last", "sum"]
Clock = Literal["event", "wall"]
_MARKS: dict[str, RollUp] = {"^": "max", "v": "min", ">": "last", "+": "sum"}


@dataclass(frozen=True, slots=True)
class Field:
    """A number of a measurement, and how it is rolled up."""

    name: str
    roll_up: RollUp = "mean"

    @property
    def unit(self) -> Unit:
        """The unit, from the name's suffix."""
        return unit_of(self.name)


@dataclass(frozen=True, slots=True)
class Measurement:
    """A table of the store.

    Attributes
    ----------
    tags
        What charts group by, beside ``run``, which every measurement has.
    fields, texts
        Numbers, and strings.
    clock
        ``event``: time is ``ts``; ``wall``: it must speak when the run's clock stands.
    rolled_up
        Whether the 5-minute bucket takes it.
    """

    name: str
    tags: tuple[str, ...]
    fields: tuple[Field, ...]
    texts: tuple[str, ...] = ()
    clock: Clock = "event"
    rolled_up: bool = True

    @property
    def keys(self) -> tuple[str, ...]:
        """All tags, ``run`` first: with the time they are the primary key."""
        return ("run", *self.tags)

    def has(self, name: str) -> bool:
        """Tell whether it has a numeric field of that name."""
        return any(field.name == name for field in self.fields)


def _fields(text: str) -> tuple[Field, ...]:
    """Read names; a mark behind a colon says the roll-up (``name:^`` max, ``:v`` min, ``:>`` last, ``:+`` sum)."""
    out = []
    for word in text.split():
        name, _, mark = word.partition(":")
        out.append(Field(name, _MARKS[mark] if mark else "mean"))
    return tuple(out)


TEMP_EDGES_C = (30, 35, 40, 45, 50, 55, 60, 70, 80, 87, 89, 95)
POWER_EDGES_W = (100, 200, 300, 400, 500, 600, 700)
_HISTOGRAM = " ".join(
    [f"t_lt_{edge}" for edge in TEMP_EDGES_C]
    + [f"t_ge_{TEMP_EDGES_C[-1]}"]
    + [f"p_lt_{edge}" for edge in POWER_EDGES_W]
    + [f"p_ge_{POWER_EDGES_W[-1]}"]
)

MEASUREMENTS: tuple[Measurement, ...] = (
    Measurement(
        "site",
        (),
        _fields(
            "facility_power_w it_power_w feed_power_w turbine_power_w turbine_available_w battery_power_w "
            "spare_power_w:v shed_power_w:^ shed_stage_code:^ loss_power_w cooling_power_w aux_power_w feed_load:^ "
            "turbine_load:^ battery_load:^ battery_soc battery_autonomy_s:v frequency_hz frequency_min_hz:v "
            "frequency_max_hz:^ rocof_min_hz_s:v rocof_max_hz_s:^ islanded:^ power_swing_w:^ ramp_max_w_s:^ "
            "ramp_min_w_s:v pue wue_l_kwh cue_kg_kwh cost_usd_h water_today_l:> water_plan_l:> gpu_n:> "
            "gpu_measured_n:v gpu_busy_n gpu_down_n:^ throttle_power_n:^ throttle_sw_thermal_n:^ "
            "throttle_hw_thermal_n:^ throttle_brake_n:^ ecc_dbe_n:+ row_remap_failed_n:+ nvlink_error_n:+ "
            "power_balance_ratio heat_balance_ratio water_balance_ratio"
        ),
    ),
    Measurement(
        "hall",
        ("hall",),
        _fields(
            "power_w gpu_power_w meter_power_w gpu_temp_mean_c gpu_temp_p99_c:^ gpu_temp_max_c:^ mem_temp_max_c:^ "
            "sm_clock_mean_mhz sm_active_mean tensor_active_mean fb_used_mean_mib coolant_supply_c "
            "coolant_supply_max_c:^ coolant_return_c coolant_flow_l_min dew_margin_k:v hot_n:^ "
            "throttle_thermal_ratio down_n:^ low_flow_n:^ leak_n:^ stale_n:^ measured_n:v"
        ),
    ),
    Measurement(
        "rack",
        ("hall", "array", "rack", "row", "pos"),
        _fields(
            "power_w gpu_temp_mean_c gpu_temp_max_c:^ mem_temp_max_c:^ sm_clock_mean_mhz sm_active_mean "
            "tensor_active_mean fb_used_mean_mib coolant_supply_c coolant_return_c coolant_flow_l_min throttled_n:^ "
            "measured_n:v residual_k"
        ),
    ),
    Measurement(
        "gpu",
        ("hall", "rack", "gpu"),
        _fields(
            "power_w gpu_temp_c mem_temp_c sm_clock_mhz sm_active tensor_active fb_used_mib clocks_event_reasons "
            "xid ecc_dbe row_remap_failed nvlink_errors"
        ),
        rolled_up=False,
    ),
    Measurement("gpu_hist", ("scope",), _fields(_HISTOGRAM)),
    Measurement("xid", ("hall", "xid", "fatal"), _fields("raised:+"), ("gpu", "rack", "text")),
    Measurement(
        "cdu",
        ("hall", "rack", "unit"),
        _fields(
            "supply_c return_c flow_l_min facility_supply_c facility_return_c facility_flow_l_min "
            "pump_speed_ratio pump_power_w valve leak:^ residual_k"
        ),
    ),
    Measurement(
        "loop",
        ("plant", "unit"),
        _fields(
            "supply_c supply_set_c supply_error_k return_c flow_l_min dp_pa heat_in_w heat_out_w chiller_power_w "
            "free_cooling makeup_l_min evaporation_l_min blowdown_l_min level"
        ),
    ),
    Measurement(
        "chiller",
        ("plant", "unit"),
        _fields("state_code:> tripped:^ plr power_w cooling_w supply_c cop cop_residual"),
    ),
    Measurement(
        "tower",
        ("plant", "unit"),
        _fields("state_code:> tripped:^ fan_speed_ratio fan_power_w water_out_c approach_k residual_k"),
    ),
    Measurement("pump", ("plant", "unit"), _fields("state_code:> tripped:^ speed_ratio power_w flow_l_min")),
    Measurement("weather", (), _fields("dry_bulb_c wet_bulb_c dew_point_c")),
    Measurement(
        "turbine",
        ("plant", "unit"),
        _fields(
            "state_code:> running:v tripped:^ start_elapsed_s:^ power_w available_w load heat_rate_kj_kwh nox_ppm "
            "co_ppm scr_temp_c starts_year_n:> stops_year_n:> start_stop_year_h:> run_h:>"
        ),
    ),
    Measurement("gas", ("plant",), _fields("pressure_ratio:v")),
    Measurement(
        "permit",
        ("plant",),
        _fields(
            "nox_ston:> nox_forecast_ston:> nox_cap_ratio:> nox_forecast_cap_ratio:> co_cap_ratio:> voc_cap_ratio:> "
            "pm_cap_ratio:> hcho_cap_ratio:>"
        ),
    ),
    Measurement("battery", ("plant", "unit"), _fields("state_code:> tripped:^ power_w available_w soc cell_max_c:^")),
    Measurement("ups", ("plant", "unit"), _fields("state_code:> latched:^ charge")),
    Measurement("feed", ("plant", "unit"), _fields("closed:v power_w limit_w voltage_pu voltage_min_pu:v")),
    Measurement(
        "network",
        ("hall",),
        _fields("links_n:> links_down_n:^ flaps_n:+ switch_down_n:^ utilisation_max:^ ecn_mean"),
    ),
    Measurement("switch", ("hall", "unit"), _fields("state_code:> links_down_n:^ utilisation")),
    Measurement(
        "job",
        ("unit",),
        _fields(
            "state_code:> gpu_n:> step_s step_ratio mfu ettr bw_factor:v tensor_active power_w power_low_w:v "
            "power_high_w:^ progress_h:>"
        ),
    ),
    Measurement(
        "jobs",
        (),
        _fields(
            "running_n queued_n goodput lost_gpu_h:> failures_24h_n:> failures_expected_n:> overflow_gpu_n "
            "overflow_usd_h"
        ),
    ),
    Measurement(
        "ingest",
        ("topic",),
        _fields(
            "frames_hz lag_p50_s:^ lag_p99_s:^ age_max_s:^ control_age_s:^ kafka_lag_n:^ suspect_n:^ dead_n:+ gap_n:+ "
            "duplicate_n:+ late_n:+ other_run_n:+"
        ),
        clock="wall",
    ),
    Measurement("worker", ("worker",), _fields("cpu:^ buffer_fill:^"), clock="wall"),
    Measurement("sink", ("sink",), _fields("points_hz write_p99_s:^ retry_n:+ buffered_n:^"), clock="wall"),
    Measurement("residual", ("family",), _fields("nmbe cv_rmse out_n:^ units_n:>"), ("worst",)),
    Measurement(
        "alarm",
        ("priority", "rule", "unit"),
        _fields("active:> acked:> shelved:> suppressed:> raised:+ value:> limit:> ack_s:^"),
        ("text", "cause"),
    ),
    Measurement(
        "alarm_kpi",
        (),
        _fields(
            "p1_n:^ p2_n:^ p3_n:^ standing_n:^ unacked_n:^ shelved_n:^ suppressed_n:^ chatter_n:^ rate_10min_n:^ "
            "flood_ratio:>"
        ),
    ),
    Measurement("event", ("kind", "priority"), (), ("text", "unit", "by", "result"), rolled_up=False),
    Measurement("run", ("kind",), _fields("state_code:> speed:> dt_s:> age_max_s:^")),
)
BY_NAME: dict[str, Measurement] = {measurement.name: measurement for measurement in MEASUREMENTS}
