"""Live values of every GPU, server and CDU of a site, with tick, time, quality and offset of each array's frame."""

from collections.abc import Iterable

import numpy as np

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
    tick, ts, offset, suspect_n
        Of the last frame of each array.
    """

    def __init__(self, site: Site) -> None:
        layout = site.layout
        self._layout = layout

        def blank(columns: Iterable[str], size: int) -> dict[str, np.ndarray]:
            return {name: np.full(size, np.nan, dtype=np.float32) for name in columns}

        self.gpu = blank((c.name for c in GPU.columns if c.kind == "dense"), layout.gpu_count)
        # Sparse columns are zero where the frame says nothing.
        self.gpu_sparse = {
            c.name: np.zeros(layout.gpu_count, dtype=np.int32) for c in GPU.columns if c.kind == "sparse"
        }
        self.server = blank((c.name for c in SERVER.columns), layout.server_count)
        self.cdu = blank((c.name for c in CDU.columns), layout.rack_count)
        self.tick = np.full(layout.array_count, -1, dtype=np.int64)
        self.ts = np.full(layout.array_count, -1, dtype=np.int64)
        self.offset = np.full(layout.array_count, -1, dtype=np.int64)
        self.suspect_n = np.zeros(layout.array_count, dtype=np.int32)

    def write(self, array: int, head: Head, frame: Frame, offset: int) -> None:
        """Put a frame into the rows of its array; an older one than the last is left out."""
        if head.tick <= self.tick[array]:
            return
        for rows, group, (first, end) in self._parts(array):
            for name, values in frame.dense[group].items():
                rows[name][first:end] = values
        first, end = self._parts(array)[0][2]
        sparse = frame.sparse.get("gpu", {})
        for name, column in self.gpu_sparse.items():
            column[first:end] = 0
            if name in sparse:
                column[first + sparse[name].places] = sparse[name].values
        self.tick[array], self.ts[array], self.offset[array] = head.tick, head.ts, offset
        self.suspect_n[array] = sum(len(places) for places in frame.suspect.values())

    def clear(self, array: int) -> None:
        """Forget an array: its partition is another worker's now, or another run begins."""
        for rows, _, (first, end) in self._parts(array):
            for column in rows.values():
                column[first:end] = np.nan
        first, end = self._parts(array)[0][2]
        for column in self.gpu_sparse.values():
            column[first:end] = 0
        self.tick[array] = self.ts[array] = self.offset[array] = -1
        self.suspect_n[array] = 0

    def _parts(self, array: int) -> tuple[tuple[dict[str, np.ndarray], str, tuple[int, int]], ...]:
        layout = self._layout
        first, end = int(layout.array_first_rack[array]), int(layout.array_first_rack[array + 1])
        gpus = int(layout.rack_first_gpu[first]), int(layout.rack_first_gpu[end])
        servers = int(layout.rack_first_server[first]), int(layout.rack_first_server[end])
        return (self.gpu, "gpu", gpus), (self.server, "server", servers), (self.cdu, "cdu", (first, end))
