import pytest
import zstandard

from twin.errors import CommandRejected, SnapshotInvalid
from twin.plant import TimedCommand, TimedInject, apply, build, inject, restore, snapshot, state_hash, step
from twin.plant.snapshot import state_arrays

ORDERS = [
    TimedInject(5, "chiller_trip", "cooling-2", ramp_s=20.0),
    TimedCommand(40, "chiller.reset", "cooling-2"),
    TimedCommand(40, "chiller.start", "cooling-2", {"n": 3.0}),
    TimedInject(50, "pump_degraded", "cdu-R0003", severity=0.5, ramp_s=30.0, hold_s=60.0),
    TimedCommand(60, "gpu.power_cap", "job-hero", {"power_w": 600.0}),
]


def run_with_orders(plant, to_tick):
    while plant.tick < to_tick:
        for order in ORDERS:
            if order.tick == plant.tick and isinstance(order, TimedCommand):
                apply(plant, order.verb, order.unit, order.params)
            elif order.tick == plant.tick:
                inject(
                    plant, order.kind, order.target, severity=order.severity, ramp_s=order.ramp_s, hold_s=order.hold_s
                )
        step(plant, 1.0)


def test_same_seed_same_hash_other_seed_other_hash(mini):
    hashes = []
    for seed in (7, 7, 8):
        plant = build(mini, seed, "08-21T14:00", automatic_operator=False)
        run_with_orders(plant, 90)
        hashes.append(state_hash(plant))
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.parametrize("at_tick", [0, 30, 70])
def test_restore_and_run_on_equals_straight_through(mini, at_tick):
    straight = build(mini, 7, "08-21T14:00", automatic_operator=False)
    run_with_orders(straight, at_tick)
    kept = snapshot(straight)
    run_with_orders(straight, 120)
    again = restore(kept, [order for order in ORDERS if order.tick >= at_tick], 120)
    assert again.tick == 120
    assert state_hash(again) == state_hash(straight)
    for (path, one), (_, other) in zip(state_arrays(again), state_arrays(straight), strict=True):
        assert one.tobytes() == other.tobytes(), path


def test_automatic_operator_does_the_same_after_a_restore(mini, run):
    straight = build(mini, 7, "08-21T14:00")
    inject(straight, "turbine_trip", "gas-skid-2")
    run(straight, 15)
    kept = snapshot(straight)
    run(straight, 50)
    again = restore(kept, to_tick=65)
    assert again.power.battery.setpoint_w[0] > 0.0
    assert state_hash(again) == state_hash(straight)


def test_restore_alone_is_the_snapshot(hot, run):
    run(hot, 7)
    again = restore(snapshot(hot))
    assert state_hash(again) == state_hash(hot)
    assert snapshot(again) == snapshot(hot)
    assert again.automatic_operator is False


def test_step_length_is_kept(hot, run):
    run(hot, 20, dt_s=5.0)
    kept = snapshot(hot)
    run(hot, 20, dt_s=5.0)
    assert state_hash(restore(kept, to_tick=8)) == state_hash(hot)


def test_hash_sees_every_array(hot):
    plain = state_hash(hot)
    for path, array in state_arrays(hot):
        if array.dtype.kind == "U":
            continue
        kept, first = array.copy(), array.reshape(-1)[:1]
        first[...] = 0 if first[0] else 1
        assert state_hash(hot) != plain, path
        array[...] = kept
    assert state_hash(hot) == plain


def test_chance_is_part_of_the_hash(hot):
    plain = state_hash(hot)
    hot.streams["xid_gpu_fault"].random()
    assert state_hash(hot) != plain


def test_a_command_shifts_no_chance(mini):
    plants = [build(mini, 7, "05-20T10:00", automatic_operator=False) for _ in range(2)]
    for plant in plants:
        plant.failures.next_at_s[:3] = [10.0, 12.0, 14.0]
    apply(plants[0], "turbine.start", "turbine-9", {})
    seen = []
    for plant in plants:
        victims = []
        for _ in range(20):
            step(plant, 1.0)
            victims += plant.failures.gpu[: int(plant.failures.n)].tolist()
        seen.append(victims)
    assert seen[0] == seen[1]
    assert len(seen[0]) >= 3


def test_a_command_that_is_refused_now_is_an_error(hot):
    with pytest.raises(CommandRejected, match="has not tripped"):
        restore(snapshot(hot), [TimedCommand(0, "turbine.reset", "turbine-1")], 1)


def broken(content, replace, by):
    raw = zstandard.ZstdDecompressor().decompress(content)
    return zstandard.ZstdCompressor().compress(raw.replace(replace, by, 1))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda content: b"nonsense", "no snapshot"),
        (lambda content: zstandard.ZstdCompressor().compress(b"no json\n"), "no snapshot"),
        (lambda content: broken(content, b'"plant/1"', b'"plant/2"'), "schema 'plant/2': allowed is plant/1"),
        (lambda content: broken(content, b'"mini"', b'"maxi"'), "snapshot of site 'maxi'"),
        (lambda content: broken(content, b'"site_crc": "', b'"site_crc": "0'), "another site file"),
        (lambda content: broken(content, b'"weather.dry_bulb_c"', b'"weather.wet_bulb_c"'), "arrays of this snapshot"),
        (
            lambda content: zstandard.ZstdCompressor().compress(
                zstandard.ZstdDecompressor().decompress(content)[:-100]
            ),
            "cut off",
        ),
    ],
)
def test_what_is_no_snapshot_is_refused(hot, change, reason):
    with pytest.raises(SnapshotInvalid, match=reason):
        restore(change(snapshot(hot)))
