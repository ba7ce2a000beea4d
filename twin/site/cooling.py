"""What carries heat away: CDUs, loops, pumps, towers, chillers, rooms, water."""

from pydantic import Field

from twin.site.fields import (
    Count,
    CountOrNone,
    Extensive,
    Nameplate,
    NotNegative,
    Number,
    Positive,
    Ratio,
    Sextet,
    Triplet,
)


class Cdu(Nameplate):
    """Nameplate of the coolant distribution unit of one rack."""

    rated_heat_w: Positive
    ua_w_per_k: Positive = Field(description="heat exchanger at nominal flow of both sides [W/K]")
    ua_flow_exponent: Positive
    coolant_flow_l_min: Positive
    coolant_volume_l: Positive
    coolant_density_kg_m3: Positive
    coolant_cp_j_per_kg_k: Positive
    facility_flow_l_min: Positive
    valve_min_ratio: Ratio
    supply_set_c: Number
    dew_margin_k: NotNegative = Field(description="the coolant stays so far above the dew point [K]")
    pumps_n: Count
    pump_power_w: Positive
    flow_low_l_min_per_kw: Positive


class Loop(Nameplate):
    """Nameplate of the facility water loop of one hall."""

    flow_l_min: Extensive
    volume_m3: Extensive
    heat_capacity_j_per_k: Extensive = Field(description="water and metal of the loop [J/K]")
    dp_pa: Positive
    water_density_kg_m3: Positive
    water_cp_j_per_kg_k: Positive
    supply_set_c: Number
    supply_max_c: Number
    exchanger_approach_k: Positive = Field(description="plate exchanger between tower and loop [K]")
    tank_volume_m3: Extensive
    makeup_max_l_min: Extensive
    makeup_level_ratio: Ratio
    low_suction_level_ratio: Ratio
    arrays_per_branch_n: Count


class Pump(Nameplate):
    """Nameplate of one facility pump: head = shut-off - slope x (flow ratio)^2, ratios to the rated head."""

    duty_n: Count
    standby_n: CountOrNone
    flow_l_min: Extensive
    power_w: Extensive
    head_pa: Positive
    head_shutoff_ratio: Positive
    head_slope_ratio: Positive
    speed_min_ratio: Ratio
    fixed_loss_ratio: Ratio = Field(description="share of the rated power that does not fall with speed")
    runout_ratio: Positive
    runout_trip_s: Positive
    start_s: Positive


class Tower(Nameplate):
    """Nameplate of the cooling tower of one hall, and of its cells."""

    cells_n: CountOrNone
    rated_heat_w: Extensive = Field(description="all cells [W]")
    water_flow_l_min: Extensive = Field(description="all cells [L/min]")
    air_flow_m3_s: Extensive = Field(description="all cells, full fan speed [m3/s]")
    cell_fan_power_w: Extensive
    design_wet_bulb_c: Number
    design_range_k: Positive
    design_approach_k: Positive
    fan_speed_min_ratio: Ratio
    still_cell_ratio: Ratio = Field(description="capacity of a cell whose fan stands")
    cycles_of_concentration: Positive
    drift_ratio: Ratio = Field(description="of the water flow")
    latent_winter_ratio: Ratio
    latent_summer_ratio: Ratio
    fragile_cells_n: CountOrNone = Field(description="cells whose drives trip on a voltage sag")


class Chiller(Nameplate):
    """Nameplate of one trim chiller; capacity and power by the DOE-2 fits."""

    per_hall_n: CountOrNone
    rated_heat_w: Extensive
    rated_cop: Positive
    reference_leaving_c: Number
    reference_outdoor_c: Number
    leaving_min_c: Number
    leaving_max_c: Number
    outdoor_min_c: Number
    capacity_fit: Sextet
    input_ratio_fit: Sextet
    part_load_fit: Triplet
    part_load_min_ratio: Ratio
    start_s: Positive
    start_to_full_s: Positive
    starts_per_hour_max_n: Count
    voltage_trip_pu: Ratio


class Room(Nameplate):
    """The air of a hall, cooled by the rear doors of its racks."""

    air_rise_k: Positive = Field(description="above the loop's supply at full load [K]")
    rear_door_effectiveness: Ratio
    air_max_c: Number
    lost_supply_c: Number
    lost_after_s: Positive


class Water(Nameplate):
    """The site's plan of water use."""

    plan_l_per_day: Extensive
