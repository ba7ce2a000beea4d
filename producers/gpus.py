"""``telemetry.gpu``: the gateway of each array scans its eight racks."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from producers.family import Reading, shown
from twin.events.frames import Frame, Sparse, encode_frame
from twin.events.gpu import CDU, GPU, SERVER, TELEMETRY_GPU
from twin.events.layout import FrameLayout
from twin.events.topics import array_partition
from twin.plant import Plant


class GpuProducer:
    """One frame per array and tick.

    The whole site is rounded in one go; an array's columns are slices of it.
    """

    topic = "telemetry.gpu"

    def __init__(self, layout: FrameLayout) -> None:
        where = layout.site.layout
        self._keys = layout.keys(self.topic)
        first = where.array_first_rack
        self._racks = first
        self._gpus = where.rack_first_gpu[first]
        self._servers = where.rack_first_server[first]
        clock_mhz = [layout.site.gpu_model(hall).sm_clock_max_mhz for hall in where.hall_ids]
        per_rack = np.diff(where.rack_first_gpu)
        self._clock_mhz = np.repeat(np.array(clock_mhz, dtype=np.float32)[where.rack_hall], per_rack)

    def readings(self, plant: Plant, *, first_of_epoch: bool) -> Iterator[Reading]:
        """Read every GPU, server and CDU."""
        gpus, cdus = plant.gpus, plant.cooling.cdus
        values: dict[str, Any] = {
            "power_w": gpus.power_w,
            "gpu_temp_c": gpus.temp_c,
            "mem_temp_c": gpus.mem_temp_c,
            "sm_clock_mhz": gpus.sm_clock_ratio * self._clock_mhz,
            "sm_active": gpus.sm_active,
            "tensor_active": gpus.tensor_active,
            "fb_used_mib": gpus.fb_used_mib,
        }
        gpu = shown(GPU, values)
        server = shown(SERVER, {"power_w": gpus.server_power_w})
        asbuilt = plant.asbuilt
        readings = {column.name: getattr(cdus, column.name) for column in CDU.columns}
        readings["supply_c"] = cdus.supply_c + asbuilt.cdu_supply_bias_k
        readings["return_c"] = cdus.return_c + asbuilt.cdu_return_bias_k
        readings["flow_l_min"] = cdus.flow_l_min * asbuilt.cdu_flow_gain_ratio
        cdu = shown(CDU, readings)
        sparse = self._sparse(plant)
        for array, key in enumerate(self._keys):
            g, s, c = (slice(first[array], first[array + 1]) for first in (self._gpus, self._servers, self._racks))
            frame = Frame(
                dense={
                    "gpu": {name: column[g] for name, column in gpu.items()},
                    "server": {name: column[s] for name, column in server.items()},
                    "cdu": {name: column[c] for name, column in cdu.items()},
                },
                sparse={"gpu": {name: cut for name, column in sparse.items() if (cut := _cut(column, g)) is not None}},
            )
            yield Reading(key, encode_frame(TELEMETRY_GPU, frame), array_partition(array))

    @staticmethod
    def _sparse(plant: Plant) -> dict[str, Sparse]:
        bits = plant.gpus.throttle_bits
        places = np.flatnonzero(bits)
        columns = {"clocks_event_reasons": Sparse(places, bits[places].astype(np.float64))}
        n = int(plant.failures.n)
        if n:
            events = plant.failures
            places, back = np.unique(events.gpu[:n], return_inverse=True)
            for name, numbers in (
                ("ecc_dbe", events.ecc_dbe),
                ("row_remap_failed", events.row_remap_failed),
                ("nvlink_errors", events.nvlink_errors),
            ):
                columns[name] = Sparse(places, np.bincount(back, weights=numbers[:n]).astype(np.float64, copy=False))
            last = np.zeros(len(places))
            last[back] = events.xid[:n]
            with_xid = last > 0
            columns["xid"] = Sparse(places[with_xid], last[with_xid])
            columns["xid_n"] = Sparse(places[with_xid], np.bincount(back)[with_xid].astype(np.float64))
        return columns


def _cut(column: Sparse, gpus: slice) -> Sparse | None:
    """Return the part of a sparse column that lies in one array."""
    a, b = np.searchsorted(column.places, (gpus.start, gpus.stop))
    return Sparse(column.places[a:b] - gpus.start, column.values[a:b]) if a < b else None
