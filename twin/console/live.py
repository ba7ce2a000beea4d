"""What the console knows now: the newest message of each sender, undecoded, and where the run stands.

Messages are kept as bytes and decoded when somebody looks; a message of a run or epoch that ``run.control`` has
not named yet waits in its sender's place, and is taken or replaced.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from pydantic import ValidationError

from twin.bus.base import Place, Record
from twin.console.journal import Journal
from twin.errors import MessageInvalid
from twin.events.alarm import Mark
from twin.events.columns import Family
from twin.events.control import CommandResult, Message, RunControl
from twin.events.derived import Health
from twin.events.frames import Frame, decode_frame
from twin.events.head import Head, split
from twin.events.topics import BY_NAME, full_name
from twin.run import RunView

FRAME_TOPICS = (
    "twin.rack",
    "twin.site",
    "telemetry.chillers",
    "telemetry.turbines",
    "telemetry.grid",
    "telemetry.network",
    "telemetry.jobs",
)
TOPICS = (*FRAME_TOPICS, "twin.health", "command_results")
FOLLOWED = ("run.control", "twin.marks")

STALE_S = 3.0
STALE_SCANS = 3
RESULTS_KEPT_N = 1000

M = TypeVar("M", bound=Message)


class Held(NamedTuple):
    """The newest message of one sender."""

    head: Head
    data: bytes
    place: Place
    offset: int


class Totals(NamedTuple):
    """What the processes of the twin have counted since this one started, and their lag now [s]."""

    lag_s: float | None
    dead_n: int
    gap_n: int
    duplicate_n: int


class Live:
    """The live picture; one thread takes records, any thread reads.

    Parameters
    ----------
    namespace
        Prefix of the topics.
    now_ms
        The wall clock [ms].
    """

    def __init__(self, namespace: str, *, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._lock = threading.Lock()
        self._names = {full_name(topic, namespace): topic for topic in (*TOPICS, *FOLLOWED)}
        self._view = RunView()
        self._held: dict[tuple[str, str], Held] = {}
        self._waiting: dict[tuple[str, str], Held] = {}
        self._decoded: dict[tuple[str, str], tuple[Held, Frame | None]] = {}
        self._results: OrderedDict[str, CommandResult] = OrderedDict()
        self._marks: dict[bytes, Mark] = {}
        self._health: dict[str, Health] = {}
        self._dead_n = self._gap_n = self._duplicate_n = 0
        self.journal = Journal()
        self.refused_n = 0
        self.resets_n = 0

    def take(self, records: Sequence[Record]) -> None:
        """Take records of the topics of this module; bytes that are no message are counted and passed over."""
        with self._lock:
            for record in records:
                try:
                    self._take(self._names[record.topic], record)
                except (MessageInvalid, ValidationError):
                    self.refused_n += 1

    @property
    def control(self) -> RunControl | None:
        """The run, as its owner said it last."""
        return self._view.control

    def run_age_s(self) -> float:
        """Return how long the owner of the run has been silent [s], 0 after its end."""
        control = self._view.control
        if control is not None and control.state == "ended":
            return 0.0
        return max(0.0, self._view.age_s(self._now_ms()) - 1.0)

    def age_s(self, tick: int) -> float:
        """Return how old a frame of that tick is [s of display time]; it does not grow while the run stands."""
        control = self._view.control
        if control is None:
            return float("inf")
        return max(0, control.settled_tick - tick) * control.line.ms_per_tick / 1000 + self.run_age_s()

    def stale_after_s(self) -> float:
        """Return from which age on a value is stale [s]: three scans, at least 3 s."""
        control = self._view.control
        return STALE_S if control is None else max(STALE_S, STALE_SCANS * control.line.ms_per_tick / 1000)

    def held(self, topic: str, key: str) -> Held | None:
        """Return the newest message of one sender."""
        return self._held.get((topic, key))

    def only_key(self, topic: str) -> str:
        """Return the key of the newest message of a topic that has one sender, empty if none has come."""
        newest = max(self.senders(topic), key=lambda held: _order(held.head), default=None)
        return "" if newest is None else newest.head.key

    def senders(self, topic: str) -> list[Held]:
        """Return the newest message of each sender of a topic."""
        with self._lock:
            return [held for (name, _), held in self._held.items() if name == topic]

    def frame(self, topic: str, key: str) -> tuple[Held, Frame] | None:
        """Decode the newest frame of one sender, once; ``None`` if there is none, or it is broken."""
        held = self._held.get((topic, key))
        family = BY_NAME[topic].data
        if held is None or not isinstance(family, Family):
            return None
        known = self._decoded.get((topic, key))
        if known is None or known[0] is not held:
            known = held, self.decode(held, family)
            self._decoded[topic, key] = known
        return None if known[1] is None else (held, known[1])

    def decode(self, held: Held, family: Family) -> Frame | None:
        """Decode a message by a family, or by a part of one; a broken one is counted and gives ``None``."""
        try:
            return decode_frame(family, held.data, {})
        except MessageInvalid:
            self.refused_n += 1
            return None

    def result(self, command_id: str) -> CommandResult | None:
        """Return what became of a command, if the answer has come."""
        return self._results.get(command_id)

    def watched(self) -> frozenset[str]:
        """Return the racks under watch."""
        with self._lock:
            return frozenset(mark.asset for mark in self._marks.values() if mark.kind == "watch")

    def totals(self) -> Totals:
        """Return lag and counts of the twin's processes."""
        with self._lock:
            lags = [topic.lag_p99_s for health in self._health.values() for topic in health.ingest]
        return Totals(max(lags, default=None), self._dead_n, self._gap_n, self._duplicate_n)

    def _take(self, topic: str, record: Record) -> None:
        if topic == "twin.marks":
            self._take_mark(record)
            return
        head, data = split(record.value)
        if topic == "run.control":
            self._take_control(RunControl.model_validate_json(data))
        elif topic == "twin.health":
            self._take_health(Health.model_validate_json(data))
        elif topic == "command_results":
            self._take_result(head, CommandResult.model_validate_json(data))
        else:
            held = Held(head, data, Place(topic, record.partition), record.offset)
            standing = self._view.standing(head)
            if standing == "current":
                self._keep(self._held, held)
            elif standing == "newer":
                self._keep(self._waiting, held)

    @staticmethod
    def _keep(places: dict[tuple[str, str], Held], held: Held) -> None:
        # Late frames are of ticks that their sender has passed: they are for the history alone.
        slot = held.place.topic, held.head.key
        known = places.get(slot)
        if known is None or _order(held.head) > _order(known.head):
            places[slot] = held

    def _take_control(self, control: RunControl) -> None:
        before = self._view.control
        changed = self._view.accept(control, now_ms=self._now_ms())
        if self._view.control is not control:
            return
        if changed:
            if before is None or before.run != control.run or not control.continues:
                self._held, self._decoded = {}, {}
                self.resets_n += 1
            for held in self._waiting.values():
                if self._view.standing(held.head) == "current":
                    self._keep(self._held, held)
            self._waiting = {slot: h for slot, h in self._waiting.items() if self._view.standing(h.head) == "newer"}
        self.journal.note_run(before, control)

    def _take_mark(self, record: Record) -> None:
        if record.key is None:
            raise MessageInvalid("no-key: a mark has a key")
        if record.value is None:
            self._marks.pop(record.key, None)
        else:
            self._marks[record.key] = Mark.model_validate_json(split(record.value)[1])

    def _take_health(self, health: Health) -> None:
        self._health[health.process] = health
        for topic in health.ingest:
            self._dead_n += topic.dead_n
            self._gap_n += topic.gap_n
            self._duplicate_n += topic.duplicate_n

    def _take_result(self, head: Head, result: CommandResult) -> None:
        if self._view.standing(head) not in ("current", "newer"):
            return
        self._results[result.command_id] = result
        if len(self._results) > RESULTS_KEPT_N:
            self._results.popitem(last=False)
        self.journal.note_result(result, head.ts)


def read_model(model: type[M], held: Held) -> M | None:
    """Read data that is a model, ``None`` if it is broken."""
    try:
        return model.model_validate_json(held.data)
    except ValidationError:
        return None


def _order(head: Head) -> tuple[str, int, int]:
    return head.run, head.epoch, head.tick
