"""The keeper of rows: frames of ``telemetry.gpu`` in, live rows and ``twin.rack`` out (the app ``rows``)."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from twin.bus.base import Record
from twin.errors import MessageInvalid
from twin.events.derived import TWIN_RACK
from twin.events.frames import Frame, decode_frame, encode_frame
from twin.events.gpu import TELEMETRY_GPU
from twin.events.head import Head, split
from twin.events.layout import FrameLayout
from twin.events.topics import array_partition
from twin.run import HOLD_S, RunView, ts_at
from twin.state.arrays import ArrayState
from twin.state.counts import Intake
from twin.state.outputs import Dead, Done, Output, Send, check_schema
from twin.state.partition import CLOSE_AFTER_S, Lineage, OpenTick, Partition
from twin.state.rollup import Roller

TOPIC = "telemetry.gpu"
CDU_EVERY_TICKS = 10


@dataclass(slots=True)
class _Held:
    """A frame of a run or epoch that is not known yet."""

    until_ms: int
    record: Record
    head: Head
    array: int
    frame: Frame
    token: Any


class RowKeeper:
    """Keeps the rows of the partitions that this worker owns.

    Parameters
    ----------
    layout
        Keys and sizes of the frames of the site.
    view
        The run that holds, fed from ``run.control``.
    """

    def __init__(self, layout: FrameLayout, view: RunView) -> None:
        self._layout = layout
        self._site = layout.site
        self._view = view
        self._roller = Roller(layout.site)
        self._array = {array_id: i for i, array_id in enumerate(layout.keys(TOPIC))}
        self._partitions: dict[int, Partition] = {}
        self._held: deque[_Held] = deque()
        self.state = ArrayState(layout.site)
        self.intake = Intake()
        self.watched: frozenset[int] = frozenset()

    def assign(self, partitions: Iterable[int]) -> None:
        """Begin with new partitions; rows heal from the next frames."""
        for number in partitions:
            if number not in self._partitions:
                arrays = tuple(i for i in self._array.values() if array_partition(i) == number)
                self._partitions[number] = Partition(number, arrays)

    def revoke(self, partitions: Iterable[int]) -> None:
        """Give partitions up: their rows are cleared and do not count here any more.

        What is open is forgotten without an acknowledgement: the next owner reads it again.
        """
        for number in partitions:
            partition = self._partitions.pop(number, None)
            for array in partition.arrays if partition else ():
                self.state.clear(array)
            self._held = deque(held for held in self._held if held.record.partition != number)

    def waiting(self) -> int:
        """Return how many messages are held back: of open ticks, and of runs not known yet."""
        return len(self._held) + sum(len(t.tokens) for p in self._partitions.values() for t in p.open.values())

    def age_max_s(self) -> float:
        """Return the age of the oldest array against the newest, in the run's time [s]; 0 before the first."""
        control = self._view.control
        ticks = [self.state.tick[a] for p in self._partitions.values() for a in p.arrays if self.state.tick[a] >= 0]
        return float(max(ticks) - min(ticks)) * control.dt_s if ticks and control else 0.0

    def take(self, record: Record, token: Any, now_ms: int) -> list[Output]:
        """Take one message.

        Parameters
        ----------
        record
            As it came from the topic.
        token
            Whatever acknowledges it.
        now_ms
            The wall clock [ms].

        Returns
        -------
        list of Output
            To be carried out in order.
        """
        self.intake.frames += 1
        if record.partition not in self._partitions:
            return []  # revoked meanwhile: its new owner reads it
        try:
            head, array, frame = self._decode(record)
        except MessageInvalid as exc:
            self.intake.dead += 1
            return [Dead(record, str(exc), (token,))]
        self.intake.lags_s.append((now_ms - head.ts) / 1000)
        self.intake.suspects += sum(len(places) for places in frame.suspect.values())
        held = _Held(now_ms + int(1000 * HOLD_S), record, head, array, frame, token)
        out = self._release(now_ms)
        if any(other.record.partition == record.partition for other in self._held):
            self._held.append(held)  # order within the partition
            return out
        return out + self._admit(held, now_ms)

    def _decode(self, record: Record) -> tuple[Head, int, Frame]:
        head, data = split(record.value)
        check_schema(head, TELEMETRY_GPU.schema_id)
        array = self._array.get(head.key)
        if array is None:
            raise MessageInvalid(f"unknown-key: {head.key} is no array of {self._site.id}")
        if record.partition != array_partition(array):
            raise MessageInvalid(
                f"wrong-partition: {head.key} belongs to {array_partition(array)}, came on {record.partition}"
            )
        sizes = self._layout.sizes(TOPIC, head.key)
        return head, array, decode_frame(TELEMETRY_GPU, data, sizes or {})

    def _admit(self, held: _Held, now_ms: int) -> list[Output]:
        partition = self._partitions[held.record.partition]
        lineage = (held.head.run, held.head.epoch)
        out: list[Output] = []
        if lineage != partition.lineage:
            standing = self._view.standing(held.head)
            if standing == "newer" and now_ms < held.until_ms:
                self._held.append(held)
                return []
            if standing not in ("current", "earlier") or self._behind(partition, lineage):
                if standing in ("other", "newer"):
                    self.intake.other_run += 1
                else:
                    self.intake.late += 1
                return [self._late(held)]
            out += self._close_all(partition)
            self._begin(partition, lineage)
        return out + self._in_order(partition, held, now_ms)

    def _behind(self, partition: Partition, lineage: Lineage) -> bool:
        """Tell whether a partition has gone on to a later run or epoch already."""
        if partition.lineage is None:
            return False
        there, here = self._view.order(*partition.lineage), self._view.order(*lineage)
        return there is not None and here is not None and here < there

    def _begin(self, partition: Partition, lineage: Lineage) -> None:
        control = self._view.control
        continues = (
            control is not None
            and (control.run, control.epoch) == lineage
            and control.continues
            and partition.lineage is not None
            and partition.lineage[0] == lineage[0]
        )
        if not continues:
            for array in partition.arrays:
                self.state.clear(array)
        partition.begin(lineage, continues=continues)

    def _in_order(self, partition: Partition, held: _Held, now_ms: int) -> list[Output]:
        sequence = partition.sequence(held.array)
        before = sequence.missing
        verdict = sequence.take(held.head.seq)
        self.intake.gaps += max(0, sequence.missing - before)
        if verdict == "duplicate":
            self.intake.duplicates += 1
            if held.head.tick in partition.open:
                # Read again after a rebalance: only this token still counts, and only when the tick is out.
                partition.open[held.head.tick].tokens.append(held.token)
                return []
            return [Done((held.token,))]
        self.state.write(held.array, held.head, held.frame, held.record.offset)
        if held.head.tick <= partition.closed_tick:
            self.intake.late += 1
            return [self._late(held)]
        partition.put(held.array, held.head, held.frame, held.token, now_ms)
        return self._close_due(partition, now_ms, queue_empty=False)

    def tick(self, now_ms: int, *, queue_empty: bool) -> list[Output]:
        """Do what time asks for: held frames, and ticks that wait for an array that does not report.

        Parameters
        ----------
        queue_empty
            Whether all that was published for this worker has been taken.
        """
        out = self._release(now_ms)
        for partition in self._partitions.values():
            out += self._close_due(partition, now_ms, queue_empty=queue_empty)
            out += self._close_silent(partition, now_ms, queue_empty=queue_empty)
        return out

    def _release(self, now_ms: int) -> list[Output]:
        out: list[Output] = []
        waiting, self._held = self._held, deque()
        for held in waiting:
            out += self._admit(held, now_ms)
        return out

    def _passed(self, partition: Partition, *, queue_empty: bool) -> int:
        control = self._view.control
        if control is None or not (control.lock_step and queue_empty):
            return -1
        return control.settled_tick if partition.lineage == (control.run, control.epoch) else 2**53

    def _close_due(self, partition: Partition, now_ms: int, *, queue_empty: bool) -> list[Output]:
        passed = self._passed(partition, queue_empty=queue_empty)
        return [self._close(partition, tick) for _, tick in partition.pop_due(now_ms, passed_tick=passed)]

    def _close_all(self, partition: Partition) -> list[Output]:
        return [self._close(partition, tick) for _, tick in partition.pop_due(2**60, passed_tick=2**53)]

    def _close_silent(self, partition: Partition, now_ms: int, *, queue_empty: bool) -> list[Output]:
        """Close, with no rows, the tick of a partition whose arrays are all silent."""
        control = self._view.control
        if control is None or not partition.arrays or partition.open or not queue_empty:
            return []
        if not control.lock_step and now_ms < self._view.heard_ms + 1000 * CLOSE_AFTER_S:
            return []
        tick = control.settled_tick
        if partition.lineage != (control.run, control.epoch):
            self._begin(partition, (control.run, control.epoch))
        if tick <= partition.closed_tick or tick < control.line.tick0:
            return []
        partition.closed_tick = tick
        head = Head(
            schema_id=TWIN_RACK.schema_id,
            run=control.run,
            epoch=control.epoch,
            tick=tick,
            seq=tick,
            ts=ts_at(control.line, tick),
            dt_s=control.dt_s,
            key=str(partition.number),
        )
        return [self._send(partition, head, Frame(), late=False, tokens=())]

    def _close(self, partition: Partition, tick: OpenTick) -> Send:
        arrays = sorted(tick.frames)
        frames = [tick.frames[array] for array in arrays]
        return self._rack_message(partition, tick.head, arrays, frames, late=False, tokens=tuple(tick.tokens))

    def _late(self, held: _Held) -> Send:
        partition = self._partitions[held.record.partition]
        return self._rack_message(partition, held.head, [held.array], [held.frame], late=True, tokens=(held.token,))

    def _rack_message(
        self,
        partition: Partition,
        head: Head,
        arrays: list[int],
        frames: list[Frame],
        *,
        late: bool,
        tokens: tuple[Any, ...],
    ) -> Send:
        rolled = self._roller.roll_up(arrays, frames)
        self._add_details(rolled, arrays, frames, head.tick)
        head = head.model_copy(
            update={"schema_id": TWIN_RACK.schema_id, "seq": head.tick, "key": str(partition.number)}
        )
        return self._send(partition, head, rolled, late=late, tokens=tokens)

    def _add_details(self, rolled: Frame, arrays: list[int], frames: list[Frame], tick: int) -> None:
        """Add the CDUs each tenth tick, and CDUs and GPUs of racks under watch each tick."""
        racks = rolled.dense["rack"]["rack_i"]
        wanted = np.isin(racks, list(self.watched)) if self.watched else np.zeros(len(racks), dtype=bool)
        cdus = np.ones(len(racks), dtype=bool) if tick % CDU_EVERY_TICKS == 0 else wanted
        if cdus.any():
            rolled.dense["cdu"] = {"rack_i": racks[cdus]}
            for name in frames[0].dense["cdu"]:
                rolled.dense["cdu"][name] = np.concatenate([f.dense["cdu"][name] for f in frames])[cdus]
        if wanted.any():
            rolled.dense["gpu"] = self._roller.gpu_rows(arrays, frames, racks[wanted])

    def _send(self, partition: Partition, head: Head, rolled: Frame, *, late: bool, tokens: tuple[Any, ...]) -> Send:
        rolled.dense["close"] = {
            "partition": np.array([partition.number]),
            "late": np.array([int(late)]),
            "watermark": np.array([partition.closed_tick]),
        }
        return Send("twin.rack", head, encode_frame(TWIN_RACK, rolled), partition.number, tokens)
