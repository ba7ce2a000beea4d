"""Every family of telemetry: what it sends decodes, fits the site, and reads the plant as its sensors would."""

from collections import defaultdict

import numpy as np
import pytest

from producers.families import PRODUCERS
from producers.jobs import ranges
from twin.errors import MessageInvalid
from twin.events.chillers import TELEMETRY_CHILLERS
from twin.events.columns import Family
from twin.events.frames import Frame, decode_frame
from twin.events.gpu import TELEMETRY_GPU
from twin.events.grid import TELEMETRY_GRID
from twin.events.jobs import JobTable
from twin.events.layout import FrameLayout
from twin.events.network import TELEMETRY_NETWORK
from twin.events.topics import BY_NAME, array_partition
from twin.events.turbines import TELEMETRY_TURBINES
from twin.plant import Plant, build, inject, step
from twin.site import load_site

FAMILIES: dict[str, Family] = {
    "gpus": TELEMETRY_GPU,
    "chillers": TELEMETRY_CHILLERS,
    "turbines": TELEMETRY_TURBINES,
    "grid": TELEMETRY_GRID,
    "network": TELEMETRY_NETWORK,
}


@pytest.fixture(scope="module")
def layout() -> FrameLayout:
    return FrameLayout(load_site("mini"))


@pytest.fixture(scope="module")
def plant(layout: FrameLayout) -> Plant:
    plant = build(layout.site, seed=7, weather_at="07-15T14:00")
    for _ in range(3):
        step(plant, 1.0)
    return plant


def frames_of(name: str, layout: FrameLayout, plant: Plant) -> dict[str, Frame]:
    producer = PRODUCERS[name](layout)
    return {
        reading.key: decode_frame(FAMILIES[name], reading.data, layout.sizes(producer.topic, reading.key) or {})
        for reading in producer.readings(plant, first_of_epoch=True)
    }


def test_every_family_is_tested_here() -> None:
    assert set(PRODUCERS) == set(FAMILIES) | {"jobs"}


@pytest.mark.parametrize("name", FAMILIES)
def test_every_key_of_the_site_is_sent_with_every_column(name: str, layout: FrameLayout, plant: Plant) -> None:
    producer = PRODUCERS[name](layout)
    assert BY_NAME[producer.topic].data is FAMILIES[name]
    frames = frames_of(name, layout, plant)
    assert tuple(frames) == layout.keys(producer.topic)
    for key, frame in frames.items():
        for group in FAMILIES[name].groups:
            for column in group.columns:
                if column.kind == "dense":
                    values = frame.dense[group.name][column.name]
                    assert np.isfinite(values).all(), f"{key} {group.name}.{column.name}"


def test_gpu_frames_show_the_plant_to_sensor_resolution(layout: FrameLayout, plant: Plant) -> None:
    frames = frames_of("gpus", layout, plant)
    together = {
        name: np.concatenate([frame.dense["gpu"][name] for frame in frames.values()])
        for name in ("power_w", "gpu_temp_c", "sm_active")
    }
    np.testing.assert_allclose(together["power_w"], plant.gpus.power_w, atol=0.5001)
    np.testing.assert_allclose(together["gpu_temp_c"], plant.gpus.temp_c, atol=0.0501)
    np.testing.assert_allclose(together["sm_active"], plant.gpus.sm_active, atol=0.000501)
    servers = np.concatenate([frame.dense["server"]["power_w"] for frame in frames.values()])
    np.testing.assert_allclose(servers, plant.gpus.server_power_w, atol=0.5001)


def test_each_array_goes_to_its_own_partition(layout: FrameLayout, plant: Plant) -> None:
    partitions = [r.partition for r in PRODUCERS["gpus"](layout).readings(plant, first_of_epoch=False)]
    assert partitions == [array_partition(i) for i in range(8)]


def test_sensors_are_a_little_wrong_and_always_in_the_same_way(layout: FrameLayout, plant: Plant) -> None:
    frames = frames_of("chillers", layout, plant)
    off = np.array([frame.dense["loop"]["supply_c"][0] for frame in frames.values()]) - plant.cooling.loops.supply_c
    np.testing.assert_allclose(off, plant.asbuilt.loop_supply_bias_k, atol=0.0501)
    meters = frames_of("grid", layout, plant)["power-1"].dense["meter"]["power_w"]
    np.testing.assert_allclose(meters / plant.power.meter_power_w, plant.asbuilt.meter_gain_ratio, atol=1e-4)
    assert np.abs(plant.asbuilt.meter_gain_ratio - 1).max() > 1e-4


def test_sparse_columns_are_cut_to_their_array(layout: FrameLayout) -> None:
    plant = build(layout.site, seed=7, weather_at="07-15T14:00")
    inject(plant, "pump_degraded", "cdu-R0010", severity=1.0, ramp_s=0.0, delay_s=0.0, hold_s=None, params={})
    hot: dict[str, set[int]] = defaultdict(set)
    for _ in range(60):
        step(plant, 1.0)
        for key, frame in frames_of("gpus", layout, plant).items():
            reasons = frame.sparse.get("gpu", {}).get("clocks_event_reasons")
            if reasons is not None:
                hot[key] |= {int(place) // 64 for place, bits in zip(*reasons, strict=True) if int(bits) & 0x68}
    assert dict(hot) == {"A002": {1}}


def test_the_job_table_comes_in_full_every_ten_seconds(layout: FrameLayout) -> None:
    plant = build(layout.site, seed=7)
    producer = PRODUCERS["jobs"](layout)
    full = []
    for _ in range(25):
        step(plant, 1.0)
        for reading in producer.readings(plant, first_of_epoch=plant.tick == 3):
            if JobTable.model_validate_json(reading.data).full:
                full.append(plant.tick)
    assert full == [3, 10, 20]


def test_the_job_table_says_who_runs_where(layout: FrameLayout, plant: Plant) -> None:
    (reading,) = PRODUCERS["jobs"](layout).readings(plant, first_of_epoch=True)
    table = JobTable.model_validate_json(reading.data)
    placed = [server for job in table.jobs for first, end in job.servers for server in range(first, end)]
    assert len(placed) == len(set(placed))
    assert {job.id: job.gpu_n for job in table.jobs}["job-hero"] == 2560
    for job in table.jobs:
        assert sum(end - first for first, end in job.servers) * 8 == job.gpu_n


def test_ranges() -> None:
    assert list(ranges(np.array([], dtype=np.int64))) == []
    assert list(ranges(np.array([5]))) == [(5, 6)]
    assert list(ranges(np.array([0, 1, 5, 6, 9]))) == [(0, 2), (5, 7), (9, 10)]


def test_a_frame_of_another_site_is_refused(layout: FrameLayout, plant: Plant) -> None:
    reading = next(iter(PRODUCERS["gpus"](layout).readings(plant, first_of_epoch=False)))
    with pytest.raises(MessageInvalid, match="wrong-length"):
        decode_frame(TELEMETRY_GPU, reading.data, {"gpu": 576, "server": 72, "cdu": 8})
