"""Live values of every GPU, server and CDU of a site, with tick, time, quality and offset of each array's frame."""

import itertools
from collections.abc import Iterable

import numpy as np

from twin.events.columns import Group
from twin.events.frames import Frame
from twin.events.gpu import CDU, GPU, SERVER
from twin.events.head import Head
from twin.site import Site


class ArrayState:
    """Structure of arrays in site order; NaN, and tick -1, where nothing is known.

    Attributes
    ----------
    gpu, server, cdu
        Column -> values of the whole site.
    gpu_sparse
        Column -> values of the whole site, zero where the frame says nothing.
    tick, ts, offset, suspect_n
        Of the last frame of each array.
    """

    def __init__(self, site: Site) -> None:
        layout = site.layout

        def blank(group: Group, size: int) -> dict[str, np.ndarray]:
            return {c.name: np.full(size, np.nan, dtype=np.float32) for c in group.columns if c.kind == "dense"}

        self.gpu = blank(GPU, layout.gpu_count)
        self.gpu_sparse = {
            c.name: np.zeros(layout.gpu_count, dtype=np.int64) for c in GPU.columns if c.kind == "sparse"
        }
        self.server = blank(SERVER, layout.server_count)
        self.cdu = blank(CDU, layout.rack_count)
        self.tick = np.full(layout.array_count, -1, dtype=np.int64)
        self.ts = np.full(layout.array_count, -1, dtype=np.int64)
        self.offset = np.full(layout.array_count, -1, dtype=np.int64)
        self.suspect_n = np.zeros(layout.array_count, dtype=np.int32)
        racks = layout.array_first_rack
        self._gpus = _slices(layout.rack_first_gpu[racks])
        self._parts = (
            (self.gpu, "gpu", self._gpus),
            (self.server, "server", _slices(layout.rack_first_server[racks])),
            (self.cdu, "cdu", _slices(racks)),
        )

    def write(self, array: int, head: Head, frame: Frame, offset: int) -> None:
        """Put a frame into the rows of its array; one that is not newer than the last is left out."""
        if head.tick <= self.tick[array]:
            return
        for rows, group, places in self._parts:
            of_array = places[array]
            for name, values in frame.dense[group].items():
                rows[name][of_array] = values
        self._clear_sparse(array)
        gpus = self._gpus[array]
        for name, (at, values) in frame.sparse.get("gpu", {}).items():
            self.gpu_sparse[name][gpus][at] = values
        self.tick[array], self.ts[array], self.offset[array] = head.tick, head.ts, offset
        self.suspect_n[array] = sum(map(len, frame.suspect.values()))

    def clear(self, array: int) -> None:
        """Forget an array: its partition is another worker's now, or another run begins."""
        for rows, _, places in self._parts:
            for column in rows.values():
                column[places[array]] = np.nan
        self._clear_sparse(array)
        self.tick[array] = self.ts[array] = self.offset[array] = -1
        self.suspect_n[array] = 0

    def turn_back(self, array: int, tick: int) -> None:
        """Keep the values of an array, and take what comes of ``tick`` and later as newer."""
        self.tick[array] = min(int(self.tick[array]), tick - 1)

    def _clear_sparse(self, array: int) -> None:
        gpus = self._gpus[array]
        for column in self.gpu_sparse.values():
            column[gpus] = 0


def _slices(first: Iterable[int]) -> tuple[slice, ...]:
    """Return what lies between each two neighbours."""
    bounds = [int(place) for place in first]
    return tuple(slice(a, b) for a, b in itertools.pairwise(bounds))
