"""The keeper of rows on the small site: partition 0 and its three gateways."""

from typing import Any

import numpy as np

from tests.state.scene import (
    Gateways,
    Run,
    at,
)
from twin.events.gpu import TELEMETRY_GPU
from twin.state.outputs import Output
from twin.state.rows import RowKeeper

ARRAYS = (0, 24, 48)  # of partition 0: A001, A025, A049, one rack each


class Desk:
    """A keeper of partition 0, its gateways and its run; tokens are (array, tick, seq)."""

    def __init__(self, gateways: Gateways, run: Run, partitions: tuple[int, ...] = (0,)) -> None:
        self.gateways, self.run = gateways, run
        self.keeper = RowKeeper(gateways.layout, run.view)
        self.keeper.assign(partitions)

    def send(self, array: int, tick: int, now: float, *, mark: Any = None, **head: Any) -> list[Output]:
        made = (head.pop("by", None) or self.run).head(TELEMETRY_GPU, self.gateways.keys[array], tick, **head)
        return self.keeper.take(
            self.gateways.record(array, made), (array, tick, made.seq) if mark is None else mark, at(now)
        )

    def send_all(self, tick: int, now: float, **head: Any) -> list[Output]:
        return [output for array in ARRAYS for output in self.send(array, tick, now, **head)]

    def tick(self, now: float, *, queue_empty: bool = True) -> list[Output]:
        return self.keeper.tick(at(now), queue_empty=queue_empty)

    def rows(self) -> dict[str, np.ndarray]:
        """Return a copy of all live arrays."""
        state = self.keeper.state
        groups = {"gpu": state.gpu, "sparse": state.gpu_sparse, "server": state.server, "cdu": state.cdu}
        rows = {
            f"{group}.{name}": values.copy() for group, columns in groups.items() for name, values in columns.items()
        }
        return rows | {name: getattr(state, name).copy() for name in ("tick", "ts", "offset", "suspect_n")}

    def power_w(self, array: int) -> np.ndarray:
        first = self.gateways.layout.site.layout.rack_first_gpu
        return self.keeper.state.gpu["power_w"][first[array] : first[array + 1]]


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return all(one[name].tobytes() == other[name].tobytes() for name in one)


def control(run: Run, now: float, settled: int | None = None) -> None:
    run.say(at(now), settled)


def next_epoch(desk: Desk, *, continues: bool) -> None:
    desk.send_all(0, 0.0)
    desk.send_all(1, 1.0)
    control(desk.run, 1.0, settled=1)
    if continues:
        desk.run.owner.pause()
        desk.run.owner.resume(at(1.5))
    else:
        desk.run.owner.jump(0, at(1.5))
    control(desk.run, 1.5)
