"""Every packaged site balances, and colossus1 gives the published sums of the reference plant."""

import math

import pytest

from twin.site import Site, load_site, site_names
from twin.site.describe import describe


@pytest.fixture(scope="module", params=site_names())
def site(request: pytest.FixtureRequest) -> Site:
    return load_site(request.param)


@pytest.fixture(scope="module")
def colossus1() -> Site:
    return load_site("colossus1")


def server_power_w(site: Site, gpu_power_w: float) -> float:
    per_server = site.rack.gpus_per_server_n
    return (per_server * gpu_power_w + site.server.base_loaded_w) / site.server.psu_efficiency


def test_water_flows_balance(site: Site) -> None:
    racks_per_hall = max(hall.racks_n for hall in site.halls)
    assert site.loop.flow_l_min == pytest.approx(racks_per_hall * site.cdu.facility_flow_l_min, rel=0.01)
    assert site.pump.duty_n * site.pump.flow_l_min == pytest.approx(site.loop.flow_l_min)
    assert site.tower.water_flow_l_min == pytest.approx(site.loop.flow_l_min)
    assert site.pump.head_pa == site.loop.dp_pa


def test_heat_is_rejected_at_the_design_point(site: Site) -> None:
    c_w_per_k = site.loop.flow_l_min / 60_000 * site.loop.water_density_kg_m3 * site.loop.water_cp_j_per_kg_k
    assert site.tower.rated_heat_w == pytest.approx(c_w_per_k * site.tower.design_range_k, rel=0.01)
    hall_w = max(hall.racks_n for hall in site.halls) * 8 * server_power_w(site, 617.0)
    assert site.tower.rated_heat_w > 0.9 * hall_w


def test_power_can_be_supplied(site: Site) -> None:
    servers_w = site.layout.server_count * server_power_w(site, 617.0)
    turbines_w = site.turbine.units_n * site.turbine.rated_power_w
    assert site.feed.limit_w + turbines_w > servers_w + site.electrical.other_it_w
    assert 4 * site.ups.rated_power_w == pytest.approx(site.electrical.other_it_w)


def test_jobs_fit_and_leave_little_idle(site: Site) -> None:
    busy = sum(job.gpus_n for job in site.jobs.values())
    assert 0.9 < busy / site.layout.gpu_count <= 1.0


def test_every_site_can_be_described(site: Site) -> None:
    text = describe(site)
    assert text.startswith(f"{site.id}: {site.title}\n{site.layout.gpu_count:,} GPUs")
    assert max(map(len, text.splitlines())) < 260
    for unit_id in ("turbine-15", "chiller-48", "scr-4", "job-hero", "pump.flow_l_min"):
        assert unit_id in text
    for path, source in site.sources.items():
        assert path in text
        assert source.source in text


def test_description_shows_counts_and_sources(colossus1: Site) -> None:
    text = describe(colossus1)
    assert "200,000 GPUs, 25,000 servers, 3,125 racks, 391 arrays, 4 halls" in text
    rows = [line.split() for line in text.splitlines()]
    assert ["H4", "H200", "SXM5", "141GB", "97", "773", "49,472"] in rows
    assert ["switch", "3,128", "leaf-A001-0", "leaf-A391-7"] in rows
    assert ["job-hero", "training", "150,000", "R0001-s0", "528"] in rows
    assert ["battery.packs_n", "168", "reported", "Techhappened:", "168", "Megapacks"] in rows


def test_gpus_and_jobs_are_those_of_the_reference_plant(colossus1: Site) -> None:
    by_model = dict.fromkeys(colossus1.gpus, 0)
    for hall in colossus1.halls:
        by_model[hall.gpu] += hall.racks_n * 64
    assert by_model == {"h100": 150_528, "h200": 49_472}
    sizes = {name: job.gpus_n for name, job in colossus1.jobs.items()}
    assert sizes == {"job-hero": 150_000, "job-r1": 16_384, "job-inference": 20_000, "job-small": 12_000}


def racks_of(site: Site, job: str) -> set[str]:
    layout = site.layout
    found: set[str] = set()
    for block in site.jobs[job].blocks:
        first = layout.server_index(block.start)
        found |= {
            layout.server_id(server).split("-")[0]
            for server in range(first, first + block.gpus_n // site.rack.gpus_per_server_n)
        }
    return found


def test_jobs_run_where_the_drills_need_them(colossus1: Site) -> None:
    assert {"R0001", "R2050", "R1121"} <= racks_of(colossus1, "job-hero")
    assert {"R2435", "R2566", "R2665"} <= racks_of(colossus1, "job-r1")
    layout = colossus1.layout
    first_of_h4 = layout.hall_first_rack[3]
    for job in ("job-r1", "job-inference", "job-small"):
        assert min(map(layout.rack_index, racks_of(colossus1, job))) >= first_of_h4
    spares = colossus1.jobs["job-hero"].spares[0]
    assert layout.server_index(spares.start) * 8 == 150_000
    assert 150_000 + spares.gpus_n == layout.rack_first_gpu[first_of_h4]


def test_mini_runs_the_same_jobs_on_the_arrays_told() -> None:
    mini = load_site("mini")
    layout = mini.layout
    arrays = {
        job: {layout.array_ids[layout.rack_array[layout.rack_index(rack)]] for rack in racks_of(mini, job)}
        for job in mini.jobs
    }
    assert arrays["job-hero"] == {"A001", "A002", "A003", "A004", "A005"}
    assert arrays["job-fill"] == {"A006"}
    assert mini.jobs["job-fill"].preemptible
    assert arrays["job-r1"] | arrays["job-inference"] | arrays["job-small"] == {"A007", "A008"}
    assert mini.jobs["job-hero"].spares == mini.jobs["job-fill"].blocks
    for job, whole in (("job-r1", 16_384), ("job-inference", 20_000), ("job-small", 12_000)):
        assert abs(mini.jobs[job].gpus_n - whole * mini.scale) < 8


def test_published_sums_of_the_reference_plant(colossus1: Site) -> None:
    site = colossus1
    assert server_power_w(site, 617.0) == pytest.approx(7_270, abs=10)
    assert 25_000 * server_power_w(site, 617.0) == pytest.approx(181.8e6, rel=1e-3)
    assert 8 * server_power_w(site, 617.0) * site.server.liquid_capture_ratio == pytest.approx(46.5e3, rel=2e-3)
    # The exchanger of a rack: NTU 2.35, capacity ratio 0.80, effectiveness 0.749.
    cdu, loop = site.cdu, site.loop
    c_hot = cdu.coolant_flow_l_min / 60_000 * cdu.coolant_density_kg_m3 * cdu.coolant_cp_j_per_kg_k
    c_cold = cdu.facility_flow_l_min / 60_000 * loop.water_density_kg_m3 * loop.water_cp_j_per_kg_k
    ntu, ratio = cdu.ua_w_per_k / c_hot, c_hot / c_cold
    assert (ntu, ratio) == pytest.approx((2.35, 0.80), abs=0.005)
    e = math.exp(-ntu * (1 - ratio))
    assert (1 - e) / (1 - ratio * e) == pytest.approx(0.749, abs=0.001)
    # Thermal mass: 161 kJ/K of coolant and 64 x 167 J/K of GPUs; 1,800 MJ/K of a loop in two halves of 138 s.
    coolant_j_per_k = cdu.coolant_volume_l / 1_000 * cdu.coolant_density_kg_m3 * cdu.coolant_cp_j_per_kg_k
    assert coolant_j_per_k == pytest.approx(161e3, rel=0.01)
    gpu = site.gpu_model("H1")
    assert 64 * gpu.tau_s / gpu.resistance_k_per_w == pytest.approx(10.7e3, rel=0.01)
    c_loop = loop.flow_l_min / 60_000 * loop.water_density_kg_m3 * loop.water_cp_j_per_kg_k
    assert loop.heat_capacity_j_per_k / 2 / c_loop == pytest.approx(138, abs=1)
    assert loop.volume_m3 == 400
    assert loop.flow_l_min / 60 == 1_568


def test_chillers_of_a_hall_make_26_6_mw(colossus1: Site) -> None:
    chiller = colossus1.chiller
    a, b, c, d, e, f = chiller.capacity_fit
    te, tc = chiller.leaving_max_c, 35.0
    factor = a + b * te + c * te**2 + d * tc + e * tc**2 + f * te * tc
    assert chiller.per_hall_n * chiller.rated_heat_w * factor == pytest.approx(26.6e6, rel=2e-3)


def test_turbines_battery_and_permit(colossus1: Site) -> None:
    turbine, battery, permit = colossus1.turbine, colossus1.battery, colossus1.permit
    assert turbine.start_to_breaker_s == 540
    assert turbine.loading_s == 300
    at_35_c = turbine.rated_power_w * (1 - turbine.derate_per_k * 20) * 100_680 / 101_325
    assert at_35_c == pytest.approx(14.31e6, rel=1e-3)
    assert turbine.units_n * turbine.permit_power_w == pytest.approx(247e6, rel=2e-3)
    fuel_mmbtu_h = at_35_c / 1e3 * turbine.heat_rate_lhv_kj_per_kwh * turbine.hhv_per_lhv_ratio / 1.05506e6
    assert fuel_mmbtu_h * (1 + 20 * turbine.heat_rate_rise_per_k) == pytest.approx(154.8, rel=2e-3)
    assert battery.packs_n * 3.854e6 == pytest.approx(battery.energy_wh, rel=1e-3)
    assert battery.charge_efficiency * battery.discharge_efficiency == pytest.approx(0.92, abs=0.001)
    caps = (permit.nox_cap_ston, permit.co_cap_ston, permit.voc_cap_ston, permit.pm_cap_ston, permit.hcho_cap_ston)
    assert caps == (87, 94, 85, 73, 9.8)


def test_auxiliaries_are_those_of_the_reference_plant(colossus1: Site) -> None:
    halls = len(colossus1.halls)
    pumps_fans_w = (
        halls * colossus1.pump.duty_n * colossus1.pump.power_w
        + halls * colossus1.tower.cells_n * colossus1.tower.cell_fan_power_w
        + colossus1.layout.rack_count * colossus1.cdu.pump_power_w
    )
    assert pumps_fans_w == pytest.approx(5.4e6, rel=0.02)
    assert 8 * colossus1.turbine.aux_power_w == pytest.approx(4.6e6)
    electrical = colossus1.electrical
    assert electrical.loss_no_load_w + electrical.loss_at_reference_w == 6e6
    hydraulic_w = colossus1.pump.flow_l_min / 60_000 * colossus1.pump.head_pa
    assert hydraulic_w / colossus1.pump.power_w == pytest.approx(0.75, abs=0.005)
