"""What powers: turbines, gas, stacks, battery, feed, UPS, losses, permit, prices."""

from typing import Annotated

from pydantic import Field

from twin.site.fields import (
    Count,
    Extensive,
    Name,
    Nameplate,
    NotNegative,
    Number,
    Positive,
    Ratio,
)


class Governor(Nameplate):
    """Settings of the speed governor (GGOV1) for an islanded plant."""

    droop_pu: Positive
    proportional_gain: Positive
    integral_gain_per_s: Positive
    actuator_s: Positive
    combustor_s: Positive
    turbine_gain: Positive
    valve_rate_pu_s: Positive
    valve_min_pu: Ratio
    power_transducer_s: Positive


class Emissions(Nameplate):
    """Emission factors of natural gas in a turbine, of the fuel's higher heating value."""

    nox_uncontrolled_lb_per_mmbtu: Positive
    nox_lean_lb_per_mmbtu: Positive
    nox_scr_lb_per_mmbtu: Positive
    co_uncontrolled_lb_per_mmbtu: Positive
    co_lean_lb_per_mmbtu: Positive
    co_catalyst_lb_per_mmbtu: Positive
    voc_lb_per_mmbtu: Positive
    pm_lb_per_mmbtu: Positive
    hcho_lb_per_mmbtu: Positive
    co2_lb_per_mmbtu: Positive
    low_load_ratio: Ratio = Field(description="below this load lean premix is lost")
    low_load_nox_factor: Positive
    low_load_co_factor: Positive


class Turbine(Nameplate):
    """Nameplate of one gas turbine."""

    name: Name
    units_n: Count
    rated_power_w: Extensive = Field(description="ISO, 15 C and 101,325 Pa [W]")
    rated_power_va: Extensive
    permit_power_w: Extensive
    derate_per_k: NotNegative
    cold_limit_ratio: Positive
    heat_rate_lhv_kj_per_kwh: Positive
    heat_rate_rise_per_k: NotNegative
    hhv_per_lhv_ratio: Positive
    no_load_fuel_ratio: Ratio
    exhaust_flow_kg_s: Extensive
    exhaust_temp_c: Number
    inertia_s: Positive
    block_step_ratio: Ratio
    load_rate_per_min: Positive = Field(description="of the rating [1/min]")
    aux_power_w: Extensive = Field(description="of one running unit [W]")
    prelube_s: Positive
    purge_s: Positive
    light_off_s: Positive
    acceleration_s: Positive
    sync_s: Positive
    loading_s: Positive = Field(description="breaker closed to full load [s]")
    cooldown_s: Positive
    governor: Governor
    emissions: Emissions

    @property
    def start_to_breaker_s(self) -> float:
        """Sum the start sequence up to the closed breaker [s]."""
        return self.prelube_s + self.purge_s + self.light_off_s + self.acceleration_s + self.sync_s


class Gas(Nameplate):
    """Nameplate of the gas header and of its skids."""

    turbines_per_skid_n: Count
    pressure_pa: Positive
    trip_ratio: Ratio
    start_min_ratio: Ratio
    line_pack_pa_per_min: Positive = Field(description="fall for each 100 % of demand above supply [Pa/min]")


class Scr(Nameplate):
    """Nameplate of one catalyst house."""

    turbines_per_unit_n: Count
    catalyst_min_c: Number
    warm_up_s: Positive


class Battery(Nameplate):
    """Nameplate of the battery plant: one unit of many packs."""

    packs_n: Count
    power_w: Extensive
    energy_wh: Extensive
    charge_efficiency: Ratio
    discharge_efficiency: Ratio
    soc_min: Ratio
    soc_max: Ratio
    aux_ratio: Ratio
    droop_gain_pu: Positive = Field(description="power per frequency, base of the online turbines [pu/pu]")
    response_s: Positive
    smoothing_s: Positive
    soc_set: Ratio


class Feed(Nameplate):
    """Nameplate of the utility's feed and what the utility allows."""

    limit_w: Extensive
    voltage_v: Positive
    relay_ratio: Positive
    relay_s: Positive
    loss_seen_s: Positive
    ramp_max_w_per_min: Extensive
    swing_max_w: Extensive = Field(description="peak to peak over 60 s [W]")
    swing_open_s: Positive
    sync_max_hz: Positive
    sync_max_deg: Positive


class Ups(Nameplate):
    """Nameplate of the UPS of one hall: storage, CPU servers and switches, no GPU."""

    rated_power_w: Extensive
    runtime_s: Positive
    efficiency: Ratio
    transfer_below_pu: Ratio
    latch_sags_n: Count
    latch_window_s: Positive
    return_quiet_s: Positive


class ShedStage(Nameplate):
    """One stage of under-frequency load shedding."""

    below_hz: Positive
    load_ratio: Ratio


class Electrical(Nameplate):
    """Loads that are neither GPU servers nor cooling, losses, and the last line of protection."""

    frequency_hz: Positive
    other_it_w: Extensive
    building_w: Extensive
    loss_reference_w: Extensive
    loss_no_load_w: Extensive
    loss_at_reference_w: Extensive = Field(description="without the no-load part, grows with power^2 [W]")
    shed_stages: Annotated[tuple[ShedStage, ...], Field(min_length=1)]
    shed_delay_s: Positive
    shed_hall: Name
    gpu_ride_through_pu: Ratio
    gpu_ride_through_s: Positive


class Permit(Nameplate):
    """Limits of the air permit, and the rolling 12 months when a plant begins."""

    name: Name
    nox_cap_ston: Extensive
    co_cap_ston: Extensive
    voc_cap_ston: Extensive
    pm_cap_ston: Extensive
    hcho_cap_ston: Extensive
    nox_opening_ston: Extensive
    co_opening_ston: Extensive
    voc_opening_ston: Extensive
    pm_opening_ston: Extensive
    hcho_opening_ston: Extensive
    nox_max_ppm: Positive
    co_max_ppm: Positive
    starts_per_year_max_n: Count
    stops_per_year_max_n: Count
    start_stop_max_h: Positive = Field(description="of one unit and year [h]")
    start_max_h: Positive


class Prices(Nameplate):
    """What things cost."""

    gpu_h_usd: Positive
    feed_usd_per_mwh: Positive
    gas_usd_per_mmbtu: Positive
    water_usd_per_l: Positive
    cloud_gpu_h_usd: Positive
    permit_day_usd: Positive = Field(description="a day above a cap or a stack limit [USD]")
