"""The floor by rack: the newest row of each rack, and the binary message that draws it (console.md section 3)."""

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twin.console.live import Held, Live
from twin.events.control import RunControl
from twin.events.frames import Frame
from twin.site import Site

MAGIC = b"CFLR"
VERSION = 1
LEVEL_RACK = 1
HEADER = struct.Struct("<4sBBBBIIdffIIfHH16s")

VALUES_N = 250  # q = 0..249 are values, the rest is reserved
STALE, NOT_MEASURED, NEVER_SEEN = 253, 254, 255

CLOCK_STANDS, LEFT_OUT = 1, 2


@dataclass(frozen=True, slots=True)
class Layer:
    """A quantity of racks as bytes: ``value = offset + scale * q``."""

    id: int
    name: str
    unit: str
    scale: float
    offset: float


def layers_of(site: Site) -> tuple[Layer, ...]:
    """List the layers; the scale of power follows from the rating of a rack."""
    power_scale = next(step for step in (400.0, 800.0, 1600.0) if step * (VALUES_N - 1) >= site.rack.rated_power_w)
    return (
        Layer(1, "gpu_temp_max_c", "C", 0.5, 0.0),
        Layer(10, "gpu_temp_mean_c", "C", 0.5, 0.0),
        Layer(11, "power_w", "W", power_scale, 0.0),
    )


def quantise(values: NDArray[np.float64], layer: Layer) -> NDArray[np.uint8]:
    """Turn values into bytes, clipped to what a byte can say.

    Parameters
    ----------
    values
        (n,) [unit of the layer], NaN where not measured.

    Examples
    --------
    >>> layer = Layer(1, "gpu_temp_max_c", "C", 0.5, 0.0)
    >>> quantise(np.array([-3.0, 47.8, 500.0, np.nan]), layer).tolist()
    [0, 96, 249, 254]
    """
    steps = np.rint((values - layer.offset) / layer.scale)
    return np.where(np.isnan(steps), NOT_MEASURED, np.clip(steps, 0, VALUES_N - 1)).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class FloorPicture:
    """The floor of one instant, one byte a rack, the same for all clients."""

    layer: Layer
    body: bytes
    crc: int
    ts: int
    run: str
    epoch: int
    dt_s: float
    flags: int
    arrays_stale_n: int
    arrays_never_n: int

    def message(self, seq: int, *, left_out: bool) -> bytes:
        """Give the message for one client: its own ``seq``, and whether it has missed pictures."""
        header = HEADER.pack(
            MAGIC,
            VERSION,
            LEVEL_RACK,
            self.layer.id,
            self.flags | (LEFT_OUT if left_out else 0),
            len(self.body),
            self.crc,
            float(self.ts),
            self.layer.offset,
            self.layer.scale,
            seq,
            self.epoch,
            self.dt_s,
            self.arrays_stale_n,
            self.arrays_never_n,
            self.run.encode()[:16],
        )
        return header + self.body


class Floor:
    """The last value of each rack, and the tick of its row.

    Parameters
    ----------
    site
        Gives the racks.
    live
        Gives the rollups.
    """

    def __init__(self, site: Site, live: Live) -> None:
        self.layers = {layer.name: layer for layer in layers_of(site)}
        self._live = live
        self._crc = int(site.crc, 16)
        self._rack_array = site.layout.rack_array
        self._array_n = site.layout.array_count
        self._clear(live.resets_n)

    def update(self) -> None:
        """Read what has come since the last call."""
        if self._resets_n != self._live.resets_n:
            self._clear(self._live.resets_n)
        for held in self._live.senders("twin.rack"):
            if self._done.get(held.head.key) is not held:
                self._done[held.head.key] = held
                self._read(held)

    def picture(self, layer: Layer) -> FloorPicture | None:
        """Draw a layer; ``None`` as long as there is no run."""
        control = self._live.control
        if control is None:
            return None
        body = quantise(self._values[layer.name], layer)
        never = self._tick < 0
        stale = ~never & self._stale(control)
        body[stale] = STALE
        body[never] = NEVER_SEEN
        return FloorPicture(
            layer=layer,
            body=body.tobytes(),
            crc=self._crc,
            ts=control.line.ts0
            + (max(control.settled_tick, control.line.tick0) - control.line.tick0) * control.line.ms_per_tick,
            run=control.run,
            epoch=control.epoch,
            dt_s=control.dt_s,
            flags=0 if control.state == "running" else CLOCK_STANDS,
            arrays_stale_n=self._arrays_with(stale),
            arrays_never_n=self._arrays_with(never),
        )

    def never_n(self) -> int:
        """Count the arrays with a rack that was never seen."""
        return self._arrays_with(self._tick < 0)

    def _stale(self, control: RunControl) -> NDArray[np.bool_]:
        """Tell which racks are too old; ages as in :meth:`Live.age_s`."""
        silent_s = self._live.run_age_s()
        ages_s = np.maximum(0, control.settled_tick - self._tick) * (control.line.ms_per_tick / 1000) + silent_s
        return np.asarray(ages_s > self._live.stale_after_s())

    def _arrays_with(self, racks: NDArray[np.bool_]) -> int:
        return int(np.count_nonzero(np.bincount(self._rack_array[racks], minlength=self._array_n)))

    def _clear(self, resets_n: int) -> None:
        racks_n = len(self._rack_array)
        self._resets_n = resets_n
        self._done: dict[str, Held] = {}
        self._tick = np.full(racks_n, -1, dtype=np.int64)
        self._values = {name: np.full(racks_n, np.nan) for name in self.layers}

    def _read(self, held: Held) -> None:
        rows = held.content.dense.get("rack") if isinstance(held.content, Frame) else None
        if not rows:
            return
        racks = rows["rack_i"].astype(np.int64)
        self._tick[racks] = held.head.tick
        for name, values in self._values.items():
            values[racks] = rows[name]
