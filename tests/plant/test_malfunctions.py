"""Every malfunction on mini, what stops it, and what is refused."""

import numpy as np
import pytest

from twin.errors import InjectRejected
from twin.plant import MALFUNCTIONS, apply, inject, step
from twin.plant.malfunctions import level_at


def tripped(codes):
    return int((codes == 5).sum())


def test_every_malfunction_is_injected_here():
    assert set(MALFUNCTIONS) == {"chiller_trip", "pump_degraded", "turbine_trip"}


def test_chiller_trip_of_a_whole_plant_grows_with_its_ramp(hot, run):
    inject(hot, "chiller_trip", "cooling-2", ramp_s=60.0)
    codes = hot.cooling.chillers.state_code
    running = int((codes[12:24] == 3).sum())
    run(hot, 30)
    assert tripped(codes[12:24]) == 6
    run(hot, 31)
    assert tripped(codes[12:24]) == running
    assert tripped(codes) == running
    assert hot.malfunctions == []


def test_chiller_trip_by_severity(hot, run):
    inject(hot, "chiller_trip", "cooling-1", severity=0.25)
    run(hot, 2)
    assert tripped(hot.cooling.chillers.state_code) == 3


def test_nobody_acts_on_the_chiller_trip_of_drill_1(hot, run):
    """Supply reaches 28 C at T+75 s, 30 C at T+235 s, 31 C at T+435 s; site load falls by 5.8 MW."""
    run(hot, 120, dt_s=5.0)
    chillers_w = hot.cooling.loops.chiller_power_w[1]
    inject(hot, "chiller_trip", "cooling-2", ramp_s=60.0)
    reached = {}
    for second in range(5, 901, 5):
        step(hot, 5.0)
        for limit_c in (28.0, 30.0, 31.0):
            if hot.cooling.loops.supply_c[1] >= limit_c:
                reached.setdefault(limit_c, second)
    assert reached[28.0] == pytest.approx(75, rel=0.15)
    assert reached[30.0] == pytest.approx(235, rel=0.15)
    assert reached[31.0] == pytest.approx(435, rel=0.15)
    assert hot.cooling.loops.supply_c[1] == pytest.approx(31.76, abs=0.3)
    assert chillers_w / hot.site.scale == pytest.approx(5.8e6, rel=0.15)
    assert hot.cooling.loops.chiller_power_w[1] == 0.0
    assert hot.gpus.temp_c[1024:2048].mean() == pytest.approx(52.4, abs=0.8)
    assert not hot.gpus.throttle_bits.any()
    np.testing.assert_allclose(hot.cooling.loops.supply_c[[0, 2, 3]], 27.0, atol=0.2)


def test_the_book_ends_the_chiller_trip(hot, run):
    inject(hot, "chiller_trip", "cooling-2")
    run(hot, 45, dt_s=5.0)
    apply(hot, "chiller.reset", "cooling-2", {})
    for at_s in (60, 120, 180, 240):
        run(hot, at_s - hot.elapsed_s, dt_s=5.0)
        apply(hot, "chiller.start", "cooling-2", {"n": 3})
    peak = 0.0
    while hot.elapsed_s < 1100:
        step(hot, 5.0)
        peak = max(peak, float(hot.cooling.loops.supply_c[1]))
    assert peak == pytest.approx(30.9, abs=0.4)
    assert hot.cooling.loops.supply_c[1] < 28.0


def test_a_reset_ends_the_ramp_too(hot, run):
    inject(hot, "chiller_trip", "cooling-2", ramp_s=60.0)
    run(hot, 20)
    apply(hot, "chiller.reset", "cooling-2", {})
    run(hot, 60)
    assert tripped(hot.cooling.chillers.state_code) == 0
    assert hot.malfunctions == []


def test_cdu_pump_of_drill_2(mild, run):
    """Flow 0.85 at T+212 s, 0.70 at T+424 s; 60 C at T+583 s, 87 C at T+1,103 s; pump B restores it."""
    run(mild, 30)
    inject(mild, "pump_degraded", "cdu-R0010", severity=0.85, ramp_s=1200.0)
    racks, hottest = slice(9 * 64, 10 * 64), {}
    for second in range(4, 1301, 4):
        step(mild, 4.0)
        if second in (212, 424):
            built = float(mild.asbuilt.cdu_pump_ratio[9, 0])
            assert mild.cooling.cdus.flow_ratio[9] / built == pytest.approx({212: 0.85, 424: 0.70}[second], abs=0.003)
        for limit_c in (60.0, 87.0):
            if float(mild.gpus.temp_c[racks].max()) >= limit_c:
                hottest.setdefault(limit_c, second)
    assert hottest[60.0] == pytest.approx(583, rel=0.15)
    assert hottest[87.0] == pytest.approx(1103, rel=0.15)
    assert mild.jobs.rate[0] < 0.95
    assert mild.cooling.cdus.pump_speed_ratio[9] == 1.0
    apply(mild, "cdu.select_pump", "cdu-R0010", {"pump": "B"})
    run(mild, 90, dt_s=5.0)
    assert mild.gpus.temp_c[racks].max() < 60.0
    assert mild.jobs.rate[0] == pytest.approx(1.0)


def test_facility_pump_trips_at_full_scale_and_standby_takes_over(mild, run):
    inject(mild, "pump_degraded", "pump-9")
    run(mild, 40)
    assert mild.cooling.pumps.state_code[8:12].tolist() == [5, 3, 3, 3]
    assert mild.cooling.loops.flow_l_min[2] / mild.site.loop.flow_l_min == pytest.approx(1.0, abs=0.01)


def test_hold_ends_by_itself(mild, run):
    inject(mild, "pump_degraded", "cdu-R0001", severity=0.5, delay_s=5.0, hold_s=10.0)
    flow = []
    for _ in range(20):
        step(mild, 1.0)
        flow.append(float(mild.cooling.cdus.flow_ratio[0] / mild.asbuilt.cdu_pump_ratio[0, 0]))
    assert flow[:5] == [1.0] * 5
    assert flow[5:14] == pytest.approx([0.5] * 9)
    assert flow[14:] == [1.0] * 6


@pytest.mark.parametrize(("target", "count"), [("turbine-2", 1), ("gas-skid-2", 3)])
def test_turbine_trip_falls_on_the_feed(hot, run, target, count):
    run(hot, 10)
    turbines_w = float(hot.power.turbines.power_w.sum())
    inject(hot, "turbine_trip", target)
    run(hot, 5)
    assert tripped(hot.power.turbines.state_code) == count
    lost_w = turbines_w - float(hot.power.turbines.power_w.sum())
    assert lost_w == pytest.approx(count * 12.5e6 * hot.site.scale, rel=0.01)
    assert hot.power.feed.power_w[0] == pytest.approx(
        float(hot.power.facility_power_w - hot.power.battery.power_w[0]) - (turbines_w - lost_w)
    )


REFUSED = [
    ("feed_flood", "cooling-1", {}, "no malfunction 'feed_flood': allowed are chiller_trip"),
    ("chiller_trip", "pump-1", {}, "chiller_trip cannot hit pump-1, a pump"),
    ("chiller_trip", "chiller-77", {}, "no unit 'chiller-77'"),
    ("chiller_trip", "cooling-1", {"severity": 1.5}, "severity 1.5: allowed is 0..1"),
    ("chiller_trip", "cooling-1", {"ramp_s": -1.0}, "ramp_s -1.0: allowed is 0 or more"),
    ("chiller_trip", "cooling-1", {"delay_s": float("nan")}, "delay_s nan: allowed is 0 or more"),
    ("chiller_trip", "cooling-1", {"ramp_s": 60.0, "hold_s": 30.0}, "must not be shorter than ramp_s"),
    ("chiller_trip", "cooling-1", {"params": {"xid": 79.0}}, "does not know xid = 79.0: allowed are none"),
    ("pump_degraded", "cdu-R0001", {"params": {"pump": "C"}}, "does not know pump = 'C': allowed are pump A|B"),
]


@pytest.mark.parametrize(("kind", "target", "more", "reason"), REFUSED)
def test_refused(mild, kind, target, more, reason):
    with pytest.raises(InjectRejected, match=reason.replace("|", r"\|")):
        inject(mild, kind, target, **more)
    assert mild.malfunctions == []


def test_level_grows_linearly(mild):
    inject(mild, "chiller_trip", "cooling-1", severity=0.8, ramp_s=100.0, delay_s=50.0)
    active = mild.malfunctions[0]
    assert [level_at(active, at_s) for at_s in (0.0, 50.0, 100.0, 150.0, 900.0)] == pytest.approx(
        [0.0, 0.0, 0.4, 0.8, 0.8]
    )
