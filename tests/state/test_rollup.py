"""Rows, counts and histograms against a reckoning that takes one rack, and one GPU, at a time."""

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest

from tests.state.scene import gpu_frame
from twin.events.derived import HALL_COUNTS, TWIN_RACK
from twin.events.frames import Frame, Sparse, decode_frame, encode_frame
from twin.events.layout import FrameLayout
from twin.events.topics import array_partition
from twin.state.rollup import Roller

NAN = float("nan")
# Rows are rounded: half a step of each, and a little.
TOLERANCE = {
    "power_w": 0.0501, "gpu_temp_mean_c": 0.000501, "sm_clock_mean_mhz": 0.00501, "sm_active_mean": 0.00000501,
    "tensor_active_mean": 0.00000501, "fb_used_mean_mib": 0.0501, "residual_k": 0.00101,
}  # fmt: skip
# Of partition 1, over the border of two halls: A098 and A122; of partition 6, with the array of five racks: A391.
MIXES = {"two halls": ("A098", "A122"), "four halls": ("A007", "A127", "A223", "A391"), "the short array": ("A391",)}


def frames_of(layout: FrameLayout, ids: tuple[str, ...], seed: int, **shares: float) -> tuple[list[int], list[Frame]]:
    rng = np.random.default_rng(seed)
    arrays = [layout.site.layout.array_index(array_id) for array_id in ids]
    return arrays, [gpu_frame(layout.sizes("telemetry.gpu", array_id), rng, **shares) for array_id in ids]


def doubt(frames: list[Frame], seed: int) -> None:
    """Let the gateways doubt some values of several columns."""
    rng = np.random.default_rng(seed)
    for frame in frames:
        for name in ("gpu.power_w", "gpu.gpu_temp_c", "cdu.supply_c", "server.power_w"):
            size = frame.size(name.partition(".")[0])
            frame.suspect[name] = np.flatnonzero(rng.random(size) < 0.1)


def known(values: Any) -> list[float]:
    return [float(value) for value in values if not math.isnan(value)]


def mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else NAN


class Oracle:
    """The same as the roller, GPU by GPU."""

    def __init__(self, layout: FrameLayout, arrays: list[int], frames: list[Frame]) -> None:
        site, where = layout.site, layout.site.layout
        self.rack: dict[int, dict[str, float]] = {}
        self.hall: dict[int, Counter[str]] = {}
        self.temp_hist: Counter[tuple[int, int]] = Counter()
        self.power_hist: Counter[tuple[int, int]] = Counter()
        self.xid: list[tuple[int, int, int, int]] = []
        for array, frame in zip(arrays, frames, strict=True):
            hall = int(where.array_hall[array])
            model = site.gpu_model(where.hall_ids[hall])
            counts = self.hall.setdefault(hall, Counter())
            counts["suspect_n"] += sum(len(places) for places in frame.suspect.values())
            doubted = {name: set(places.tolist()) for name, places in frame.suspect.items()}
            sparse = {name: dict(zip(*map(np.ndarray.tolist, column), strict=True))
                      for name, column in frame.sparse.get("gpu", {}).items()}  # fmt: skip

            def value(group: str, name: str, place: int, frame=frame, doubted=doubted) -> float:
                return NAN if place in doubted.get(f"{group}.{name}", ()) else float(frame.dense[group][name][place])

            first = int(where.array_first_rack[array])
            for rack in range(first, int(where.array_first_rack[array + 1])):
                local = rack - first
                gpus = range(64 * local, 64 * local + 64)
                of = {name: known(value("gpu", name, gpu) for gpu in gpus) for name in frame.dense["gpu"]}
                cdu = {name: value("cdu", name, local) for name in frame.dense["cdu"]}
                servers = known(value("server", "power_w", server) for server in range(8 * local, 8 * local + 8))
                throttled = 0
                for gpu in gpus:
                    bits = int(sparse.get("clocks_event_reasons", {}).get(gpu, 0))
                    throttled += bool(bits & 0xEC)
                    counts["throttle_power_n"] += bool(bits & 0x4)
                    counts["throttle_sw_thermal_n"] += bool(bits & 0x20)
                    counts["throttle_hw_thermal_n"] += bool(bits & 0x48)
                    counts["throttle_thermal_n"] += bool(bits & 0x68)
                    counts["throttle_brake_n"] += bool(bits & 0x80)
                    counts["ecc_dbe_n"] += int(sparse.get("ecc_dbe", {}).get(gpu, 0))
                    counts["row_remap_failed_n"] += int(sparse.get("row_remap_failed", {}).get(gpu, 0))
                    counts["nvlink_error_n"] += int(sparse.get("nvlink_errors", {}).get(gpu, 0))
                    temp, power = value("gpu", "gpu_temp_c", gpu), value("gpu", "power_w", gpu)
                    counts["hot_n"] += temp >= model.max_operating_c
                    counts["down_n"] += power < 20
                    counts["busy_n"] += value("gpu", "sm_active", gpu) > 0.05
                    if not math.isnan(temp):
                        self.temp_hist[hall, min(max(math.floor(temp * 2), 0), 239)] += 1
                    if not math.isnan(power):
                        self.power_hist[hall, min(int(power // 10), 149)] += 1
                    if xid := int(sparse.get("xid", {}).get(gpu, 0)):
                        n = int(sparse.get("xid_n", {}).get(gpu, 1))
                        self.xid.append((rack, gpu - 64 * local, xid, n))
                power_w = sum(servers) if servers else NAN
                gpu_power_w = sum(of["power_w"]) if of["power_w"] else NAN
                measured = len(of["power_w"])
                ratio = max(cdu["flow_l_min"] / site.cdu.coolant_flow_l_min, 0.01)
                ratio = NAN if math.isnan(cdu["flow_l_min"]) else ratio
                expected = cdu["supply_c"] + model.resistance_k_per_w * ratio**model.flow_exponent * (
                    gpu_power_w / measured if measured else NAN
                )
                counts["rack_n"] += 1
                counts["measured_n"] += measured
                counts["leak_n"] += cdu["leak"] > 0
                counts["low_flow_n"] += cdu["flow_l_min"] < 1.25 * power_w / 1000
                self.rack[rack] = {
                    "power_w": power_w,
                    "gpu_temp_mean_c": mean(of["gpu_temp_c"]),
                    "gpu_temp_max_c": max(of["gpu_temp_c"], default=NAN),
                    "mem_temp_max_c": max(of["mem_temp_c"], default=NAN),
                    "sm_clock_mean_mhz": mean(of["sm_clock_mhz"]),
                    "sm_active_mean": mean(of["sm_active"]),
                    "tensor_active_mean": mean(of["tensor_active"]),
                    "fb_used_mean_mib": mean(of["fb_used_mib"]),
                    "coolant_supply_c": cdu["supply_c"],
                    "coolant_return_c": cdu["return_c"],
                    "coolant_flow_l_min": cdu["flow_l_min"],
                    "facility_supply_c": cdu["facility_supply_c"],
                    "facility_flow_l_min": cdu["facility_flow_l_min"],
                    "throttled_n": throttled,
                    "measured_n": measured,
                    "gpu_power_w": gpu_power_w,
                    "residual_k": mean(of["gpu_temp_c"]) - expected,
                }


def check(layout: FrameLayout, arrays: list[int], frames: list[Frame]) -> None:
    rolled, oracle = Roller(layout.site).roll_up(arrays, frames), Oracle(layout, arrays, frames)
    rack = rolled.dense["rack"]
    assert rack["rack_i"].tolist() == list(oracle.rack)
    columns = {column.name for column in TWIN_RACK.by_name["rack"].columns} - {"rack_i"}
    assert columns == set(next(iter(oracle.rack.values())))
    for name in columns:
        expected = [row[name] for row in oracle.rack.values()]
        np.testing.assert_allclose(rack[name], expected, atol=TOLERANCE.get(name, 1e-9), err_msg=name)
    halls = sorted(oracle.hall)
    assert rolled.dense["hall"]["hall_i"].tolist() == halls
    for name in HALL_COUNTS:
        assert rolled.dense["hall"][name].tolist() == [oracle.hall[hall][name] for hall in halls], name
    for group, hist in (("temp_hist", oracle.temp_hist), ("power_hist", oracle.power_hist)):
        columns_ = (rolled.dense[group][name].tolist() for name in ("hall_i", "bin", "n"))
        assert {(hall, place): n for hall, place, n in zip(*columns_, strict=True)} == hist
    xid = rolled.dense.get("xid", {name: np.empty(0, int) for name in ("rack_i", "gpu", "xid", "n")})
    assert list(zip(*(xid[name].tolist() for name in ("rack_i", "gpu", "xid", "n")), strict=True)) == oracle.xid
    rolled.dense["close"] = {"partition": [0], "late": [0], "watermark": [0]}
    decode_frame(TWIN_RACK, encode_frame(TWIN_RACK, rolled), {"close": 1})  # what is sent can be read


def test_the_mixes_are_of_one_partition_each(colossus1):
    where = colossus1.site.layout
    for ids in MIXES.values():
        assert len({array_partition(where.array_index(array_id)) for array_id in ids}) == 1
    assert np.diff(where.array_first_rack)[where.array_index("A391")] == 5
    assert len({int(where.array_hall[where.array_index(array_id)]) for array_id in MIXES["four halls"]}) == 4


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("seed", range(3))
def test_random_frames(colossus1, mix, seed):
    arrays, frames = frames_of(colossus1, MIXES[mix], seed, missing=0.1, sparse=0.1)
    doubt(frames, seed)
    check(colossus1, arrays, frames)


def test_frames_in_which_nothing_is_missing(colossus1):
    check(colossus1, *frames_of(colossus1, MIXES["four halls"], 9))


def test_a_rack_of_which_nothing_was_measured(colossus1):
    arrays, frames = frames_of(colossus1, MIXES["two halls"], 5)
    for group, per_rack in (("gpu", 64), ("server", 8), ("cdu", 1)):
        for values in frames[1].dense[group].values():
            values[3 * per_rack : 4 * per_rack] = np.nan
    check(colossus1, arrays, frames)
    row = {name: values[11] for name, values in Roller(colossus1.site).roll_up(arrays, frames).dense["rack"].items()}
    assert row["measured_n"] == 0
    assert math.isnan(row["power_w"])
    assert math.isnan(row["residual_k"])


def test_a_frame_in_which_nothing_was_measured(colossus1):
    check(colossus1, *frames_of(colossus1, MIXES["two halls"], 6, missing=1.0))


@pytest.mark.parametrize("ratio", [0.5, 1.0, 1.2])
def test_a_rack_that_obeys_the_nameplate_has_no_residual(colossus1, ratio):
    site = colossus1.site
    arrays, frames = frames_of(colossus1, MIXES["four halls"], 7)
    for array, frame in zip(arrays, frames, strict=True):
        model = site.gpu_model(site.layout.hall_ids[site.layout.array_hall[array]])
        cdu, gpu = frame.dense["cdu"], frame.dense["gpu"]
        cdu["flow_l_min"][:] = ratio * site.cdu.coolant_flow_l_min
        resistance = model.resistance_k_per_w * ratio**model.flow_exponent
        gpu["gpu_temp_c"] = np.repeat(cdu["supply_c"], 64) + resistance * gpu["power_w"]
    rolled = Roller(site).roll_up(arrays, frames)
    np.testing.assert_allclose(rolled.dense["rack"]["residual_k"], 0.0, atol=0.001)
    frames[0].dense["gpu"]["gpu_temp_c"][:64] += 3.0
    assert Roller(site).roll_up(arrays, frames).dense["rack"]["residual_k"][0] == pytest.approx(3.0, abs=0.001)


def test_the_given_frames_are_left_as_they_are(colossus1):
    arrays, frames = frames_of(colossus1, MIXES["two halls"], 8)
    doubt(frames, 8)
    before = [frame.dense["gpu"]["power_w"].tobytes() for frame in frames]
    Roller(colossus1.site).roll_up(arrays, frames)
    assert [frame.dense["gpu"]["power_w"].tobytes() for frame in frames] == before


# --- rows of GPUs


def test_gpu_rows_of_watched_racks(colossus1):
    arrays, frames = frames_of(colossus1, MIXES["two halls"], 3, missing=0.1)
    frames[1].suspect["gpu.power_w"] = np.array([5 * 64 + 1])
    frames[1].sparse["gpu"] = {"nvlink_errors": Sparse(np.array([5 * 64 + 2]), np.array([4.0]))}
    first = int(colossus1.site.layout.array_first_rack[arrays[1]])
    rows = Roller(colossus1.site).gpu_rows(arrays, frames, np.array([0, first + 5]))  # rack 0 is elsewhere
    assert rows["rack_i"].tolist() == [first + 5] * 64
    assert rows["gpu"].tolist() == list(range(64))
    given = frames[1].dense["gpu"]
    np.testing.assert_array_equal(rows["gpu_temp_c"], given["gpu_temp_c"][320:384])
    assert math.isnan(rows["power_w"][1])
    np.testing.assert_array_equal(np.delete(rows["power_w"], 1), np.delete(given["power_w"][320:384], 1))
    assert rows["nvlink_errors"].tolist() == [0, 0, 4] + [0] * 61
    assert set(rows) == {column.name for column in TWIN_RACK.by_name["gpu"].columns}


@pytest.mark.parametrize(
    ("column", "shown"), [("xid", 1), ("ecc_dbe", 1), ("row_remap_failed", 1), ("nvlink_errors", 0)]
)
def test_a_gpu_that_shows_an_exception_has_a_row(colossus1, column, shown):
    arrays, frames = frames_of(colossus1, MIXES["two halls"], 3)
    frames[1].sparse["gpu"] = {column: Sparse(np.array([7, 130]), np.array([0.0, 2.0]))}
    rows = Roller(colossus1.site).gpu_rows(arrays, frames, np.empty(0, np.int64))
    if not shown:
        assert rows == {}
        return
    assert rows["rack_i"].tolist() == [int(colossus1.site.layout.array_first_rack[arrays[1]]) + 2]
    assert (rows["gpu"].tolist(), rows[column].tolist()) == ([2], [2])


def test_no_rows_when_nobody_looks(colossus1):
    arrays, frames = frames_of(colossus1, MIXES["two halls"], 3)
    assert Roller(colossus1.site).gpu_rows(arrays, frames, np.array([3])) == {}
