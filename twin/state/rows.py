"""The keeper of rows: frames of ``telemetry.gpu`` in, live rows and ``twin.rack`` out (the app ``rows``)."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from twin.bus.base import Record
from twin.errors import MessageInvalid
from twin.events.derived import TWIN_RACK
from twin.events.frames import Frame, decode_frame, encode_frame
from twin.events.gpu import TELEMETRY_GPU
from twin.events.head import Head, check_schema, split
from twin.events.layout import FrameLayout
from twin.events.topics import array_partition
from twin.run import RunView, ts_at
from twin.state.arrays import ArrayState
from twin.state.checks import check_tick
from twin.state.counts import Intake
from twin.state.hold import Arrival, Hold
from twin.state.outputs import Dead, Done, Output, Send
from twin.state.partition import CLOSE_AFTER_S, UNREAD_LATE_S, Lineage, OpenTick, Partition
from twin.state.rollup import Roller
from twin.state.suspects import without_suspects

TOPIC = "telemetry.gpu"
CDU_EVERY_TICKS = 10
_ALL_TICKS = 2**53


class RowKeeper:
    """Keeps the rows of the partitions that this worker owns.

    Parameters
    ----------
    layout
        Keys and sizes of the frames of the site.
    view
        The run that holds, fed from ``run.control``.

    Attributes
    ----------
    state
        The live rows.
    intake
        What came, counted.
    watched
        Indexes of the racks whose GPUs and CDU are sent with each tick.
    """

    def __init__(self, layout: FrameLayout, view: RunView) -> None:
        self._layout = layout
        self._site = layout.site
        self._view = view
        self._roller = Roller(layout.site)
        self._array = {array_id: i for i, array_id in enumerate(layout.keys(TOPIC))}
        self._partitions: dict[int, Partition] = {}
        self._hold = Hold(view)
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
            self._hold.drop(number)

    def age_max_s(self) -> float:
        """Return the age of the oldest array against the newest, in the run's time [s]; 0 before the first.

        An array that is absent is as old as this worker's knowledge of its partition.
        """
        control = self._view.control
        ticks = [p.reported(array) for p in self._partitions.values() if p.first_tick >= 0 for array in p.arrays]
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
            head, frame = self._decode(record)
        except MessageInvalid as exc:
            self.intake.dead += 1
            return [Dead(record, str(exc), (token,))]
        self.intake.suspects += sum(map(len, frame.suspect.values()))
        # What waits of the same partition came before it.
        return self._release(now_ms) + self._admit(Arrival.at(now_ms, record, head, frame, token), now_ms)

    def _decode(self, record: Record) -> tuple[Head, Frame]:
        head, data = split(record.value)
        check_schema(head, TELEMETRY_GPU.schema_id)
        array = self._array.get(head.key)
        sizes = self._layout.sizes(TOPIC, head.key)
        if array is None or sizes is None:
            raise MessageInvalid(f"unknown-key: {head.key} is no array of {self._site.id}")
        if record.partition != array_partition(array):
            raise MessageInvalid(
                f"wrong-partition: {head.key} belongs to {array_partition(array)}, came on {record.partition}"
            )
        return head, decode_frame(TELEMETRY_GPU, data, sizes)

    def _admit(self, arrival: Arrival, now_ms: int) -> list[Output]:
        head = arrival.head
        partition = self._partitions[arrival.record.partition]
        lineage = (head.run, head.epoch)
        try:
            check_tick(head, self._view.control, now_ms)
        except MessageInvalid as exc:
            self.intake.dead += 1
            return [Dead(arrival.record, str(exc), (arrival.token,))]
        out: list[Output] = []
        if lineage != partition.lineage:
            standing = self._view.standing(head)
            if standing == "newer" and now_ms < arrival.until_ms:
                self._hold.keep(arrival)
                return []
            if standing in ("other", "newer"):
                self.intake.other_run += 1
                return [self._late(partition, arrival)]
            if self._behind(partition, lineage):
                self.intake.late += 1
                return [self._late(partition, arrival)]
            out += self._close_all(partition)
            self._begin(partition, lineage)
        return out + self._in_order(partition, arrival, now_ms)

    def _behind(self, partition: Partition, lineage: Lineage) -> bool:
        """Tell whether a partition has gone on to a later run or epoch already."""
        if partition.lineage is None:
            return False
        there, here = self._view.order(*partition.lineage), self._view.order(*lineage)
        return there is not None and here is not None and here < there

    def _begin(self, partition: Partition, lineage: Lineage) -> None:
        self.intake.gaps += sum(sequence.open_gaps() for sequence in partition.sequences.values())
        run, epoch = lineage
        goes_on = self._view.continues_from(run, epoch, lambda before: partition.lineage == (run, before))
        if goes_on is not None:
            _, continues_at = goes_on
            for array in partition.arrays:
                self.state.turn_back(array, continues_at)
            partition.begin(lineage, continues_at=continues_at)
            return
        for array in partition.arrays:
            self.state.clear(array)
        partition.begin(lineage, continues_at=None)

    def _in_order(self, partition: Partition, arrival: Arrival, now_ms: int) -> list[Output]:
        head, frame, array = arrival.head, arrival.frame, self._array[arrival.head.key]
        self.intake.lags_s.append((now_ms - head.ts) / 1000)
        if self.intake.number(partition.sequence(array), head.seq) == "duplicate":
            if head.tick in partition.open:
                # Read again after a rebalance: only this token still counts, and only when the tick is out.
                partition.open[head.tick].tokens.append(arrival.token)
                return []
            return [Done((arrival.token,))]
        self.state.write(array, head, frame, arrival.record.offset)
        if head.tick <= partition.closed_tick:
            self.intake.late += 1
            partition.heard(array, head.tick)
            return [self._late(partition, arrival)]
        partition.put(array, head, frame, arrival.token, now_ms)
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
        return [told for arrival in self._hold.release(now_ms) for told in self._admit(arrival, now_ms)]

    def _close_due(self, partition: Partition, now_ms: int, *, queue_empty: bool) -> list[Output]:
        if not partition.open:
            return []
        control = self._view.control
        opened_by_ms, passed_tick = -1, -1
        if control is not None and control.lock_step:  # how long this machine takes says nothing there
            if queue_empty:
                holds = partition.lineage == (control.run, control.epoch)
                passed_tick = control.settled_tick if holds else _ALL_TICKS
        else:
            # What is missing may lie unread, and would become a message for each frame that was not waited for.
            opened_by_ms = now_ms - int(1000 * (CLOSE_AFTER_S if queue_empty else UNREAD_LATE_S))
        due = partition.pop_due(opened_by_ms=opened_by_ms, passed_tick=passed_tick)
        return [self._close(partition, tick) for tick in due]

    def _close_all(self, partition: Partition) -> list[Output]:
        return [self._close(partition, tick) for tick in partition.pop_due(opened_by_ms=-1, passed_tick=_ALL_TICKS)]

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
        head = tick.head.model_copy(update={"seq": tick.head.tick, "key": str(partition.number)})
        return self._rack_message(partition, head, arrays, frames, late=False, tokens=tuple(tick.tokens))

    def _late(self, partition: Partition, arrival: Arrival) -> Send:
        """Send a frame that its tick has not waited for: a message of its own, numbered as the frame is."""
        head = arrival.head.model_copy(update={"key": f"{partition.number}-late-{arrival.head.key}"})
        array = self._array[arrival.head.key]
        return self._rack_message(partition, head, [array], [arrival.frame], late=True, tokens=(arrival.token,))

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
        head = head.model_copy(update={"schema_id": TWIN_RACK.schema_id})
        return self._send(partition, head, rolled, late=late, tokens=tokens)

    def _add_details(self, rolled: Frame, arrays: list[int], frames: list[Frame], tick: int) -> None:
        """Add the CDUs each tenth tick, those of racks under watch each tick, and GPUs that somebody looks at."""
        racks = rolled.dense["rack"]["rack_i"]
        watched = np.array(sorted(self.watched), dtype=np.int64)
        cdus = np.isin(racks, watched) if tick % CDU_EVERY_TICKS else np.ones(len(racks), dtype=bool)
        if cdus.any():
            known = [without_suspects(frame).dense["cdu"] for frame in frames]
            columns = {name: np.concatenate([cdu[name] for cdu in known])[cdus] for name in known[0]}
            rolled.dense["cdu"] = {"rack_i": racks[cdus], **columns}
        if gpus := self._roller.gpu_rows(arrays, frames, watched):
            rolled.dense["gpu"] = gpus

    def _send(self, partition: Partition, head: Head, rolled: Frame, *, late: bool, tokens: tuple[Any, ...]) -> Send:
        known = partition.lineage == (head.run, head.epoch)
        rolled.dense["close"] = {
            "partition": np.array([partition.number]),
            "late": np.array([int(late)]),
            "watermark": np.array([partition.closed_tick if known else -1]),
        }
        return Send("twin.rack", head, encode_frame(TWIN_RACK, rolled), partition.number, tokens)
