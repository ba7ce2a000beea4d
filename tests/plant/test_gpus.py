import numpy as np
import pytest

from twin.plant import gpus as fleet
from twin.plant import step
from twin.plant.commands import apply

HALL_3 = slice(2048, 3072)


def stop_facility_water(plant, hall=2):
    per_hall = plant.site.pump.duty_n + plant.site.pump.standby_n
    pumps = slice(hall * per_hall, (hall + 1) * per_hall)
    plant.cooling.pumps.state_code[pumps] = 5
    plant.cooling.pumps.speed_ratio[pumps] = 0.0


def test_chunks_cover_all_gpus_and_cross_no_hall(mini):
    cut = fleet.chunks(mini)
    assert [c.gpus.start for c in cut[1:]] == [c.gpus.stop for c in cut[:-1]]
    assert cut[-1].gpus.stop == mini.layout.gpu_count
    for chunk in cut:
        assert len(set(mini.layout.rack_hall[chunk.racks])) == 1


def test_size_of_chunks_does_not_matter(mini, hot, run, monkeypatch):
    from twin.plant import build

    run(hot, 30)
    monkeypatch.setattr(fleet, "CHUNK_RACKS", 5)
    small = build(mini, 7, "08-21T14:00", automatic_operator=False)
    run(small, 30)
    np.testing.assert_array_equal(small.gpus.temp_c, hot.gpus.temp_c)
    np.testing.assert_array_equal(small.gpus.rack_power_w, hot.gpus.rack_power_w)


def test_state_is_single_precision(hot):
    for name in ("power_w", "temp_c", "mem_temp_c", "sm_clock_ratio", "sm_active", "tensor_active", "fb_used_mib"):
        assert getattr(hot.gpus, name).dtype == np.float32


def test_ratios_are_ratios(hot, run):
    run(hot, 7)
    for name in ("sm_clock_ratio", "sm_active", "tensor_active"):
        values = getattr(hot.gpus, name)
        assert values.min() >= 0.0
        assert values.max() <= 1.0
    assert not hot.gpus.throttle_bits.any()
    assert hot.gpus.fb_used_mib.max() < 143_771
    assert hot.gpus.power_w.max() < 700.0


def test_power_cap_lowers_power_and_clock_and_comes_off_again(hot, run):
    apply(hot, "gpu.power_cap", "job-hero", {"power_w": 500.0})
    run(hot, 3)
    hero = slice(0, 2560)
    assert hot.gpus.power_w[hero].max() <= 500.0
    assert (hot.gpus.throttle_bits[hero] == 0x4).all()
    assert not hot.gpus.throttle_bits[2560:].any()
    clock = hot.gpus.sm_clock_ratio[hero]
    assert 0.79 < float(clock.min()) < float(clock.max()) < 0.87
    run(hot, 2)
    assert hot.jobs.step_ratio[0] > 1.1
    apply(hot, "gpu.power_cap", "job-hero", {"power_w": 700.0})
    run(hot, 3)
    assert not hot.gpus.throttle_bits.any()
    assert (hot.gpus.sm_clock_ratio[hero] == 1.0).all()
    assert hot.jobs.step_ratio[0] == pytest.approx(1.0)


def test_clock_b_facility_water_stops(mild, run):
    """Throttle after 115-127 s, shutdown after 275 s; the job of the hall stops (drills 3.0)."""
    run(mild, 60, dt_s=5.0)
    stop_facility_water(mild)
    hot_at = {}
    for second in range(1, 330):
        step(mild, 1.0)
        hottest = float(mild.gpus.temp_c[HALL_3].max())
        for limit_c in (87.0, 95.0):
            if hottest >= limit_c:
                hot_at.setdefault(limit_c, second)
    assert hot_at[87.0] == pytest.approx(121, rel=0.15)
    assert hot_at[95.0] == pytest.approx(275, rel=0.15)
    assert (mild.gpus.off_left_s[HALL_3] > 0.0).all()
    assert mild.gpus.power_w[HALL_3].max() == 0.0
    assert mild.jobs.state_code[0] == 5
    assert mild.jobs.rate[0] == 0.0
    assert mild.gpus.temp_c.max() < 105.0


def test_shutdown_is_reported_once_and_ends(mild, run):
    stop_facility_water(mild)
    mild.gpus.temp_c[HALL_3] = 96.0
    mild.gpus.chunk_hot[:] = True
    step(mild, 1.0)
    assert int(mild.failures.n) == 1024
    assert set(mild.failures.xid[:1024]) == {79}
    mild.cooling.pumps.speed_ratio[:] = 1.0
    run(mild, 3)
    assert int(mild.failures.n) == 0
    assert (mild.gpus.off_left_s[HALL_3] > 0.0).all()
    mild.gpus.off_left_s[HALL_3] = 5.0
    run(mild, 8)
    assert not mild.gpus.off_left_s.any()
    assert mild.jobs.state_code[0] == 2


def test_throttled_gpu_holds_the_whole_job(mild, run):
    mild.gpus.temp_c[100] = 88.0
    mild.gpus.thermal_clock_ratio[100] = 0.7
    mild.gpus.chunk_hot[:] = True
    step(mild, 1.0)
    assert mild.gpus.throttle_bits[100] == 0x20
    assert mild.jobs.clock_ratio[0] == pytest.approx(0.68, abs=0.001)
    assert mild.jobs.rate[0] == pytest.approx(1.0 / (0.85 / 0.68 + 0.15), rel=0.01)
    run(mild, 30)
    assert mild.jobs.clock_ratio[0] == 1.0
    assert not mild.gpus.throttle_bits.any()
