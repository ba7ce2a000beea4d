"""The plant of a recording, as it was at an instant: for whoever takes a run over there.

The last snapshot before, and what was ordered and injected since; then its sensors must show what was recorded.
"""

import hashlib
import logging
import math
from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice

from producers.differences import Difference, differences
from producers.families import PRODUCERS
from producers.past import WITNESS, Action, Past, PastOrders, head_of
from twin.errors import CommandRejected, InjectRejected, PlantError, TakeoverRefused
from twin.events.control import RunControl
from twin.events.head import Head, split
from twin.events.instructor import SnapshotReference
from twin.events.layout import FrameLayout
from twin.plant import Plant, TimedInject, carry_out, restore, snapshot, step
from twin.plant.snapshot import SCHEMA
from twin.recording.carried import with_carried
from twin.recording.item import Item
from twin.recording.reader import Recording
from twin.recording.snapshot_files import attachment_name
from twin.site import Site

logger = logging.getLogger(__name__)

TOLD = ("run.control", "command_results", "instructor.injects", "instructor.truth", "instructor.snapshots")
MEANWHILE_EVERY_N = 5000  # messages read
MEANWHILE_EVERY_TICKS = 50


@dataclass(frozen=True, slots=True)
class Moment:
    """One recorded tick of a run, and between which instants its frames came [ns]."""

    run: str
    epoch: int
    tick: int
    from_ns: int
    to_ns: int


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A recorded run at an instant.

    Attributes
    ----------
    control
        The last ``run.control`` before.
    plant
        As it was after the last tick of which something was published by then.
    moment
        That tick.
    start
        A snapshot of that plant.
    line
        The recorded ticks from that one on, as far as the run came without a jump back.
    branch
        The epoch of the last jump back before.
    log
        What was applied up to that tick, since the first of the snapshots.
    future
        What was applied after it, on the same line.
    to_come
        The part of that which comes whoever sits at the desk: injects, and commands that were accepted before.
    answered
        Ids of the orders that had been dealt with.
    snapshots
        Those before that instant; :func:`saved` reads them.
    """

    control: RunControl
    plant: Plant
    start: bytes
    moment: Moment
    line: dict[int, Moment]
    branch: int
    log: list[Action]
    future: list[Action]
    to_come: list[Action]
    answered: frozenset[str]
    snapshots: tuple[SnapshotReference, ...]


def rebuild(
    recording: Recording, run: str, upto_ns: int, site: Site, *, meanwhile: Callable[[], None] = lambda: None
) -> Rebuilt:
    """Rebuild the plant of a recorded run as it was at an instant.

    Parameters
    ----------
    recording
        Made with an instructor's seat.
    run
        Which of the recorded runs.
    upto_ns
        The instant, on the recording's clock [ns].
    site
        What the run is of.
    meanwhile
        Called now and then on a long way.

    Raises
    ------
    TakeoverRefused
        It cannot be: ``no-snapshot``, ``no-frames``, ``too-early``, ``no-control``, ``other-site``, ``other-schema``,
        ``no-injects``, ``damaged``, ``not-repeatable``.
    RecordingInvalid
        A part of the file cannot be read.
    """
    _check_seat(recording)
    told = _Told(recording, run, meanwhile)
    moment, branch, left_in = told.at(upto_ns)
    control = told.control_at(upto_ns)
    if control.site_crc != site.crc:
        raise TakeoverRefused(
            "other-site",
            f"the recording is of site file {control.site} ({control.site_crc}), this is {site.id} ({site.crc})",
        )
    past, before = Past(told, run), Past(_Before(told, upto_ns), run)
    orders, known = PastOrders(past), PastOrders(before)
    tick = moment.tick + 1
    held = {index.name for index in recording.attachments()}
    snapshots = [
        (head.epoch, reference)
        for head, reference in past.of("instructor.snapshots", SnapshotReference)
        if reference.branch == branch and reference.tick <= tick and attachment_name(run, reference.tick) in held
    ]
    if not snapshots:
        raise TakeoverRefused("too-early", f"no snapshot lies before tick {moment.tick} of run {run}: choose a later T")
    begin = min(reference.tick for _, reference in snapshots)
    applied = [(epoch, action) for epoch, action in orders.applied if branch <= epoch < left_in]
    lost = [truth for epoch, truth in orders.lost if branch <= epoch < left_in and begin <= truth.applied_tick < tick]
    if lost:
        raise TakeoverRefused(
            "no-injects",
            f"{lost[0].kind} of {lost[0].target} was applied in tick {lost[0].applied_tick}, and the recording does "
            "not hold the inject",
        )
    plant = _restored(recording, run, snapshots, applied, tick, site, control.dt_s, meanwhile)
    future = [action for _, action in applied if action.tick >= tick]
    accepted = [action for _, action in known.applied]
    return Rebuilt(
        control=control,
        plant=plant,
        start=snapshot(plant),
        moment=moment,
        line=told.line_of(branch, left_in, moment.tick),
        branch=branch,
        log=[action for _, action in applied if begin <= action.tick < tick],
        future=future,
        to_come=[action for action in future if isinstance(action, TimedInject) or action in accepted],
        answered=known.answered,
        snapshots=tuple(reference for _, reference in snapshots),
    )


def check(plant: Plant, recording: Recording, moment: Moment) -> Difference:
    """Look whether a rebuilt plant gives the frames that were recorded; return the largest difference.

    Raises
    ------
    TakeoverRefused
        ``differs``: by more than the resolution of a sensor. ``no-frames``: nothing was recorded of that tick.
    """
    found = compared(plant, recording, moment)
    if not found.compared_n:
        raise TakeoverRefused("no-frames", f"the recording holds no frame of tick {moment.tick}")
    if not found.within:
        raise TakeoverRefused("differs", f"tick {moment.tick}: {found.text()}")
    return found


def compared(plant: Plant, recording: Recording, moment: Moment) -> Difference:
    """Compare the sensors of a plant with all frames that were recorded of a tick."""
    layout = FrameLayout(plant.site)
    producers = [make(layout) for make in PRODUCERS.values()]
    frames: dict[tuple[str, str], bytes] = {}
    for item in recording.items(moment.from_ns, moment.to_ns, {producer.topic for producer in producers}):
        head = head_of(item, moment.run)
        if head is not None and (head.epoch, head.tick) == (moment.epoch, moment.tick):
            frames[item.topic, head.key] = split(item.value)[1]
    return differences(plant, producers, frames)


def run_on(
    plant: Plant,
    orders: Iterable[Action],
    to_tick: int,
    dt_s: float,
    each: Callable[[Plant], None],
    *,
    refused: Callable[[Action], None] | None = None,
) -> None:
    """Let a plant run on with what is ordered and injected; what is due after the last step is left.

    Parameters
    ----------
    plant
        Changed in place.
    orders
        Those before its tick are left, too.
    to_tick
        Steps done in the end.
    dt_s
        Length of a tick [s].
    each
        Called after each step.
    refused
        Called with what the plant refuses; ``None``: it once accepted all of this, and must do so again.

    Raises
    ------
    CommandRejected, InjectRejected
        The plant refuses what it once accepted.
    """
    due = sorted((order for order in orders if order.tick >= plant.tick), key=lambda order: order.tick)
    at = 0
    while plant.tick < to_tick:
        while at < len(due) and due[at].tick <= plant.tick:
            try:
                carry_out(plant, due[at])
            except (CommandRejected, InjectRejected):
                if refused is None:
                    raise
                refused(due[at])
            at += 1
        step(plant, dt_s)
        each(plant)


def saved(recording: Recording, run: str, reference: SnapshotReference) -> bytes | None:
    """Return the bytes of a snapshot, ``None`` if the recording does not hold them as they were saved.

    Raises
    ------
    RecordingInvalid
        It is there, and cannot be read.
    """
    name = attachment_name(run, reference.tick)
    # A tick that came again after a way back has two of one name.
    found = (recording.attached(index) for index in recording.attachments() if index.name == name)
    return next((data for data in found if hashlib.sha256(data).hexdigest() == reference.sha256), None)


def _check_seat(recording: Recording) -> None:
    counts = recording.counts
    silent = not any(topic.startswith("instructor.") for topic in counts)
    attached = any(index.name.startswith("snapshots/") for index in recording.attachments())
    if recording.facts.get("instructor") != "yes" or (silent and not attached):
        raise TakeoverRefused(
            "no-snapshot",
            f"{recording.path.name} holds no snapshot of a plant and no injects: it is of a real site, or was made "
            "without an instructor's seat (`colossus record --instructor`); it can be replayed, not taken over",
        )
    if not attached:
        raise TakeoverRefused("no-snapshot", f"{recording.path.name} holds no snapshot of a plant")
    if WITNESS not in counts:
        raise TakeoverRefused("no-frames", f"{recording.path.name} holds no {WITNESS}: its ticks are not known")


def _restored(
    recording: Recording,
    run: str,
    snapshots: list[tuple[int, SnapshotReference]],
    applied: list[tuple[int, Action]],
    tick: int,
    site: Site,
    dt_s: float,
    meanwhile: Callable[[], None],
) -> Plant:
    """Return the plant after so many steps, by the newest snapshot that leads there."""
    why = TakeoverRefused("damaged", f"no snapshot before tick {tick} is in the recording as it was saved")

    def each(plant: Plant) -> None:
        if plant.tick % MEANWHILE_EVERY_TICKS == 0:
            meanwhile()

    for epoch, reference in sorted(snapshots, key=lambda one: (one[1].tick, one[0]), reverse=True):
        if reference.schema_id != SCHEMA:
            why = TakeoverRefused(
                "other-schema",
                f"the snapshot of tick {reference.tick} is of schema {reference.schema_id}, this version of the twin "
                f"reads {SCHEMA}",
            )
            continue
        data = saved(recording, run, reference)
        if data is None:
            continue
        # Who resumes after a crash saves what was ordered in the tick that was cut off, too: it is in the snapshot.
        since = [a for of, a in applied if a.tick > reference.tick or (a.tick == reference.tick and of >= epoch)]
        try:
            plant = restore(data, site=site)
            run_on(plant, since, tick, dt_s, each)
        except PlantError as exc:
            why = TakeoverRefused("not-repeatable", f"from the snapshot of tick {reference.tick}: {exc}")
            why.__cause__ = exc
            continue
        logger.info("run=%s rebuilt tick=%d from=%d", run, tick, reference.tick)
        return plant
    raise why


class _Told:
    """What a recording says of its runs, read in one pass."""

    def __init__(self, recording: Recording, run: str, meanwhile: Callable[[], None]) -> None:
        self._run = run
        self.items: dict[str, list[Item]] = {topic: [] for topic in TOLD}
        self._witnesses: list[tuple[int, Head]] = []
        items = with_carried(recording, (*TOLD, WITNESS))
        while part := list(islice(items, MEANWHILE_EVERY_N)):
            meanwhile()
            for item in part:
                if item.topic != WITNESS:
                    self.items[item.topic].append(item)
                elif (head := head_of(item, run)) is not None:
                    self._witnesses.append((item.time_ns, head))
        self._branches = sorted(
            {reference.branch for _, reference in Past(self, run).of("instructor.snapshots", SnapshotReference)}
        )

    def records(self, topic: str) -> list[Item]:
        return self.items[topic]

    def at(self, upto_ns: int) -> tuple[Moment, int, float]:
        """Return the last tick before an instant, the epoch in which its branch began, and that of the next branch."""
        place = bisect_right(self._witnesses, upto_ns, key=lambda one: one[0]) - 1
        if place < 0:
            raise TakeoverRefused(
                "too-early", f"no tick of run {self._run} had been recorded by then: choose a later T"
            )
        epoch = self._witnesses[place][1].epoch
        branch = max((branch for branch in self._branches if branch <= epoch), default=0)
        left_in = min((branch for branch in self._branches if branch > epoch), default=math.inf)
        return self._moment(place), branch, left_in

    def line_of(self, branch: int, left_in: float, tick: int) -> dict[int, Moment]:
        """Return the ticks of a branch from one on."""
        return {
            head.tick: self._moment(place)
            for place, (_, head) in enumerate(self._witnesses)
            if branch <= head.epoch < left_in and head.tick >= tick
        }

    def _moment(self, place: int) -> Moment:
        _, head = self._witnesses[place]
        before = self._witnesses[place - 1][0] if place else 0
        after = self._witnesses[place + 1][0] if place + 1 < len(self._witnesses) else 1 << 62
        return Moment(self._run, head.epoch, head.tick, before, after)

    def control_at(self, upto_ns: int) -> RunControl:
        """Return what the run's owner had said last."""
        told = Past(_Before(self, upto_ns), self._run).of("run.control", RunControl)
        if not told:
            raise TakeoverRefused("no-control", f"nothing had been said of run {self._run} by then: choose a later T")
        return told[-1][1]


class _Before:
    """The part of what was told that an instant knows."""

    def __init__(self, told: _Told, upto_ns: int) -> None:
        self._told = told
        self._upto_ns = upto_ns

    def records(self, topic: str) -> list[Item]:
        return [item for item in self._told.items[topic] if item.time_ns <= self._upto_ns]
