"""What the console knows now: the newest good message of each sender, and where the run stands.

A message of a run or epoch that ``run.control`` has not named yet waits in its sender's place, and is taken or
replaced.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from twin.bus.base import Place, Record
from twin.console.intake import Intake
from twin.console.journal import Journal
from twin.errors import MessageInvalid
from twin.events.alarm import Mark
from twin.events.control import CommandResult, RunControl
from twin.events.derived import Health
from twin.events.frames import Frame
from twin.events.head import Head, check_schema, decode_data, decode_model, split
from twin.events.instructor import Truth
from twin.events.jobs import JobTable
from twin.events.topics import BY_NAME, full_name
from twin.run import RunView, check_control
from twin.site import Site
from twin.state.checks import check_tick

FRAME_TOPICS = (
    "twin.rack",
    "twin.site",
    "telemetry.chillers",
    "telemetry.turbines",
    "telemetry.grid",
    "telemetry.network",
    "telemetry.jobs",
)
TOPICS = (*FRAME_TOPICS, "twin.health", "command_results", "instructor.truth")
FOLLOWED = ("run.control", "twin.marks")

STALE_S = 3.0
STALE_SCANS = 3
ANSWERS_KEPT_N = 1000

A = TypeVar("A")


class Held(NamedTuple):
    """The newest message of one sender."""

    head: Head
    content: Frame | JobTable
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
    site
        What there is to know about.
    now_ms
        The wall clock [ms].
    takeover_of
        See :class:`~twin.console.context.ConsoleContext`.
    """

    def __init__(
        self,
        namespace: str,
        site: Site,
        *,
        now_ms: Callable[[], int],
        takeover_of: Callable[[str], str | None] = lambda _run: None,
    ) -> None:
        self._now_ms = now_ms
        self.takeover_of = takeover_of
        self._intake = Intake(site)
        self._lock = threading.Lock()
        self._names = {full_name(topic, namespace): topic for topic in (*TOPICS, *FOLLOWED)}
        self._view = RunView()
        self._held: dict[tuple[str, str], Held] = {}
        self._waiting: dict[tuple[str, str], Held] = {}
        self._results: OrderedDict[str, CommandResult] = OrderedDict()
        self._truths: OrderedDict[str, Truth] = OrderedDict()
        self._requests: OrderedDict[str, str | None] = OrderedDict()  # answered, with the error of those refused
        self._marks: dict[bytes, Mark] = {}
        self._health: dict[str, Health] = {}
        self._dead_n = self._gap_n = self._duplicate_n = 0
        self.journal = Journal()
        self.refused_n = 0
        self.resets_n = 0

    def take(self, records: Sequence[Record]) -> None:
        """Take records of the topics of this module; a broken message is counted and passed over."""
        for record in records:
            with self._lock:  # one by one: who looks need not wait for them all
                try:
                    self._take(self._names[record.topic], record)
                except MessageInvalid:
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

    def senders(self, topic: str) -> list[Held]:
        """Return the newest message of each sender of a topic."""
        with self._lock:
            return [held for (name, _), held in self._held.items() if name == topic]

    def frame(self, topic: str, key: str) -> tuple[Held, Frame] | None:
        """Return the newest frame of one sender."""
        held = self._held.get((topic, key))
        return (held, held.content) if held is not None and isinstance(held.content, Frame) else None

    def result(self, command_id: str) -> CommandResult | None:
        """Return what became of a command, if the answer has come."""
        return self._results.get(command_id)

    def truth(self, inject_id: str) -> Truth | None:
        """Return what became of an inject, if the answer has come: hidden from all who may not inject."""
        return self._truths.get(inject_id)

    def request(self, request_id: str) -> tuple[bool, str | None]:
        """Return whether the owner of the run has answered a request, and why it refused it, if it did."""
        with self._lock:
            return request_id in self._requests, self._requests.get(request_id)

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
        check_schema(head, BY_NAME[topic].schema_id)
        if topic == "run.control":
            self._take_control(decode_data(RunControl, data))
        elif topic == "twin.health":
            self._take_health(decode_data(Health, data))
        elif topic == "command_results":
            self._take_result(head, decode_data(CommandResult, data))
        elif topic == "instructor.truth":
            self._take_truth(head, decode_data(Truth, data))
        else:
            self._take_frame(topic, head, data, record)

    def _take_frame(self, topic: str, head: Head, data: bytes, record: Record) -> None:
        check_tick(head, self._view.control, self._now_ms())
        standing = self._view.standing(head)
        if standing not in ("current", "newer"):
            return
        places = self._held if standing == "current" else self._waiting
        if _is_newer(head, places.get((topic, head.key))):
            content = self._intake.content(topic, head, data)
            if content is None:
                return  # of a tick that its sender has passed: it is for the history alone
            places[topic, head.key] = Held(head, content, Place(topic, record.partition), record.offset)

    def _take_control(self, control: RunControl) -> None:
        check_control(control, self._now_ms())
        if control.answers is not None:
            _remember(self._requests, control.answers, control.error)
        before = self._view.control
        changed = self._view.accept(control, now_ms=self._now_ms())
        if self._view.control is not control:
            return
        if changed:
            if before is None or before.run != control.run or not control.continues:
                self._held = {}
                self.resets_n += 1
            self._take_waiting()
        self.journal.note_run(before, control)

    def _take_waiting(self) -> None:
        """Take what waited for the run and epoch that hold now."""
        waiting, self._waiting = self._waiting, {}
        for slot, held in waiting.items():
            standing = self._view.standing(held.head)
            if standing == "newer":
                self._waiting[slot] = held
            elif standing == "current":
                try:
                    check_tick(held.head, self._view.control, self._now_ms())
                except MessageInvalid:
                    self.refused_n += 1
                    continue
                if _is_newer(held.head, self._held.get(slot)):
                    self._held[slot] = held

    def _take_mark(self, record: Record) -> None:
        if record.key is None:
            raise MessageInvalid("no-key: a mark has a key")
        if record.value is None:
            self._marks.pop(record.key, None)
        else:
            _, self._marks[record.key] = decode_model(record.value, BY_NAME["twin.marks"].schema_id, Mark)

    def _take_health(self, health: Health) -> None:
        self._health[health.process] = health
        for topic in health.ingest:
            self._dead_n += topic.dead_n
            self._gap_n += topic.gap_n
            self._duplicate_n += topic.duplicate_n

    def _take_result(self, head: Head, result: CommandResult) -> None:
        if self._view.standing(head) in ("current", "newer"):
            _remember(self._results, result.command_id, result)
            self.journal.note_result(result, head.ts)

    def _take_truth(self, head: Head, truth: Truth) -> None:
        if self._view.standing(head) in ("current", "newer"):
            _remember(self._truths, truth.inject_id, truth)
            self.journal.note_truth(truth, head.ts)


def _remember(answers: OrderedDict[str, A], order_id: str, answer: A) -> None:
    answers[order_id] = answer
    if len(answers) > ANSWERS_KEPT_N:
        answers.popitem(last=False)


def _is_newer(head: Head, known: Held | None) -> bool:
    return known is None or (head.run, head.epoch, head.tick) > (known.head.run, known.head.epoch, known.head.tick)
