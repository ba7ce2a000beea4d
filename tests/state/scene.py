"""What the keepers' tests share: a site whose partitions hold several small arrays, frames of it, and a run."""

from pathlib import Path
from typing import Any

import numpy as np

from twin.bus.base import Record
from twin.events.columns import Family
from twin.events.derived import TWIN_RACK
from twin.events.frames import Frame, Sparse, decode_frame, encode_frame, quantise
from twin.events.gpu import CDU, GPU, SERVER, TELEMETRY_GPU
from twin.events.head import Head, encode
from twin.events.layout import FrameLayout
from twin.events.topics import array_partition
from twin.run import RunOwner, RunPlan, RunView, ts_at
from twin.site import Site, load_site
from twin.state.outputs import Dead, Output, Send

T0 = 1_800_000_000_000
OLD, RUN, NEW = "20270115T070000Z-0001", "20270115T080000Z-0001", "20270115T090000Z-0001"
SMALL = """\
like: mini
id: small
title: mini with a gateway on each rack
rack:
  racks_per_array_n: {value: 1, source: tests, sure: assumption}
loop:
  arrays_per_branch_n: {value: 8, source: tests, sure: assumption}
"""


def small_site(folder: Path) -> Site:
    """Return a site of 64 arrays of one rack: partition 0 holds A001 (H1), A025 (H2) and A049 (H4)."""
    file = folder / "small.yaml"
    file.write_text(SMALL)
    return load_site(file)


class Run:
    """A run, and the view of a reader that hears of it; ``at(tick)`` is the wall clock of a tick at real time."""

    def __init__(self, run: str = RUN, *, lock_step: bool = False, view: RunView | None = None) -> None:
        plan = RunPlan(site="small", site_crc="0", seed=7, dt_s=1.0, weather_at="07-15T14:00", lock_step=lock_step)
        self.owner = RunOwner(plan, "one")
        self.owner.begin(run, seen=None, now_ms=T0)
        self.view = view or RunView()

    def say(self, now_ms: int, settled: int | None = None) -> None:
        """Send a ``run.control`` that says that all frames up to a tick were sent."""
        while settled is not None and self.owner.tick < settled:
            self.owner.did_tick()
        self.view.accept(self.owner.control(now_ms), now_ms=now_ms)

    def head(self, family: Family, key: str, tick: int, seq: int | None = None, **other: Any) -> Head:
        line = self.owner.line
        known = {"run": self.owner.run, "epoch": self.owner.epoch, "ts": max(ts_at(line, tick), 0), **other}
        return Head(schema_id=family.schema_id, tick=tick, seq=tick if seq is None else seq, dt_s=1.0, key=key, **known)


def at(tick: float) -> int:
    """Return the wall clock at a tick of a run that began at ``T0`` at real time."""
    return T0 + round(1000 * tick)


def gpu_frame(sizes: Any, rng: np.random.Generator, *, missing: float = 0.0, sparse: float = 0.0) -> Frame:
    """Make a frame of an array with random values as sensors show them.

    ``missing``: the share of values that were not measured; ``sparse``: of GPUs with a value in each sparse column.
    """
    ranges = {
        "power_w": (0, 800), "gpu_temp_c": (-5, 125), "mem_temp_c": (20, 110), "sm_clock_mhz": (300, 1980),
        "sm_active": (0, 1), "tensor_active": (0, 1), "fb_used_mib": (0, 80_000), "supply_c": (15, 45),
        "return_c": (25, 60), "flow_l_min": (0, 160), "facility_supply_c": (10, 40), "facility_return_c": (15, 50),
        "facility_flow_l_min": (0, 160), "pump_speed_ratio": (0, 1), "pump_power_w": (0, 3000), "valve": (0, 1),
        "leak": (0, 1),
    }  # fmt: skip
    frame = Frame()
    for group in (GPU, SERVER, CDU):
        size = sizes[group.name]
        columns = {}
        for column in (column for column in group.columns if column.kind == "dense"):
            low, high = (0, 12_000) if group is SERVER else ranges[column.name]
            values = quantise(column, rng.uniform(low, high, size)).astype(np.float64)
            values[rng.random(size) < missing] = np.nan
            columns[column.name] = values
        frame.dense[group.name] = columns
    of_gpu = {}
    for column in (column for column in GPU.columns if column.kind == "sparse"):
        places = np.flatnonzero(rng.random(sizes["gpu"]) < sparse)
        if len(places):
            high = {"clocks_event_reasons": 0x200, "xid": 120}.get(column.name, 4)
            of_gpu[column.name] = Sparse(places, rng.integers(0, high, len(places)).astype(np.float64))
    if of_gpu:
        frame.sparse["gpu"] = of_gpu
    return frame


class Gateways:
    """The gateways of a site: a frame of each array, the same data each time, with the head of a run."""

    def __init__(self, layout: FrameLayout, seed: int = 1) -> None:
        rng = np.random.default_rng(seed)
        self.layout = layout
        self.keys = layout.keys("telemetry.gpu")
        self.frames = [gpu_frame(layout.sizes("telemetry.gpu", key), rng) for key in self.keys]
        self.data = [encode_frame(TELEMETRY_GPU, frame) for frame in self.frames]
        self.offset = 0

    def record(self, array: int, head: Head, data: bytes | None = None) -> Record:
        return self.raw(array_partition(array), encode(head, self.data[array] if data is None else data))

    def raw(self, partition: int, value: bytes | None) -> Record:
        self.offset += 1
        return Record("telemetry.gpu", partition, self.offset, T0, b"", value)


def rack_data(output: Output) -> Frame:
    """Read a ``twin.rack`` that a keeper wants to send."""
    assert isinstance(output, Send), output
    assert output.topic == "twin.rack"
    return decode_frame(TWIN_RACK, output.data, {"close": 1})


def racks_of(output: Output) -> list[int]:
    frame = rack_data(output)
    return frame.dense["rack"]["rack_i"].astype(int).tolist() if "rack" in frame.dense else []


def close_of(output: Output) -> dict[str, int]:
    return {name: int(values[0]) for name, values in rack_data(output).dense["close"].items()}


def reason_of(outputs: list[Output]) -> str:
    """Return the reason of the one dead letter that ``outputs`` must be."""
    (dead,) = outputs
    assert isinstance(dead, Dead), dead
    return dead.reason


def tokens_of(outputs: list[Output]) -> list[Any]:
    return [token for output in outputs for token in output.done]
