"""What a crashed owner left on the topics and on disk: its plant, rebuilt, and the orders that it has not answered."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from producers.past import Action, Past, PastOrders
from producers.snapshots import Snapshots
from producers.to_come import kept
from twin.bus.base import Bus, Record
from twin.errors import MessageInvalid, RunError, StartError
from twin.events.control import Command, RunControl
from twin.events.head import decode_model
from twin.events.instructor import Inject, SnapshotReference
from twin.events.topics import BY_NAME, full_name
from twin.plant import Plant
from twin.run import RunPlan, ms_per_tick
from twin.site import Site

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Left:
    """A run without an owner.

    Attributes
    ----------
    control
        Its last ``run.control``.
    plant
        As it was after the last tick that was published.
    snapshots
        Those that can still be used.
    epoch
        The last one of which something was published.
    branch
        The epoch of the last jump that left what was before.
    log
        What was applied since the first of the snapshots.
    answered
        Ids of the orders that have been dealt with.
    waiting
        Orders without an answer, in their order.
    to_come
        What will happen in its tick, whoever sits at the desk.
    reference
        The snapshot of ``plant``, if one has been saved.
    """

    control: RunControl
    plant: Plant
    snapshots: Snapshots
    epoch: int
    branch: int
    log: list[Action]
    answered: frozenset[str]
    waiting: list[Record]
    to_come: list[Action] = field(default_factory=list)
    reference: SnapshotReference | None = None


def plan_of(control: RunControl) -> RunPlan:
    """Return the plan of a run that is under way; one that was filling the past goes on at real time."""
    steady_ms = ms_per_tick(control.dt_s, 1.0)
    filling = control.line.ms_per_tick == steady_ms != ms_per_tick(control.dt_s, control.speed)
    return RunPlan(
        site=control.site,
        site_crc=control.site_crc,
        seed=control.seed,
        dt_s=control.dt_s,
        weather_at=control.weather_at,
        kind=control.kind,
        speed=1.0 if filling else control.speed,
        automatic_operator=control.automatic_operator,
        lock_step=control.lock_step,
    )


def find_left(
    bus: Bus, namespace: str, site: Site, control: RunControl, folder: Path, *, meanwhile: Callable[[], None]
) -> Left:
    """Rebuild what the owner of a run left.

    Parameters
    ----------
    bus, namespace
        Where it published.
    site
        Of the run.
    control
        Its last ``run.control``.
    folder
        Where the snapshots of all runs lie.
    meanwhile
        Called now and then on a long way.

    Raises
    ------
    StartError
        Its snapshots lie in another folder.
    RunError
        No snapshot of the run can be used.
    """
    topics = _Topics(bus, namespace)
    past = Past(topics, control.run)
    # A replay that was taken over has told of the recorded run's snapshots, too: they lie with that run.
    told = [
        (head, reference)
        for head, reference in past.of("instructor.snapshots", SnapshotReference)
        if Path(reference.path).parent.name == control.run
    ]
    # Each branch of a run begins with a snapshot: what has been saved, published and applied in its epochs is of it.
    branch = max((reference.branch for _, reference in told), default=0)
    saved = [(head.epoch, reference) for head, reference in told if reference.branch == branch]
    references = [reference for _, reference in saved]
    if references and not any((folder / control.run / Path(one.path).name).exists() for one in references):
        raise StartError(
            f"run {control.run} was left by {control.owner}, which has died, but its snapshots are not in {folder}: "
            "mend COLOSSUS_DATA_DIR, or begin a new run (--new)"
        )
    orders = PastOrders(past)
    waiting = [
        record
        for topic, model in (("commands", Command), ("instructor.injects", Inject))
        for record in topics.records(topic)
        if _waits(record, topic, model, control.run, orders.answered)
    ]
    epoch, last_tick = past.last_published(branch)
    if control.epoch >= branch:
        last_tick = max(last_tick, control.settled_tick)
    why = RunError(f"no snapshot of run {control.run} is known")
    for n in range(len(references), 0, -1):
        snapshots = Snapshots(folder / control.run, site)
        for epoch_of, reference in saved[:n]:
            # Who resumed in the middle of a tick has saved what an owner before had applied in it.
            before = [action for of, action in orders.applied if branch <= of < epoch_of]
            snapshots.adopt(reference, held_n=sum(action.tick == reference.tick for action in before))
        log = [action for of, action in orders.applied if of >= branch and action.tick >= references[0].tick]
        tick = max(last_tick + 1, references[n - 1].tick, *(action.tick for action in log), 0)
        try:
            plant = snapshots.back_to(tick, log, meanwhile=meanwhile, with_last=True)
        except RunError as exc:
            why = exc  # one before it may do
            continue
        logger.warning("run=%s rebuilt tick=%d actions=%d", control.run, tick, len(log))
        last, to_come = max(epoch, control.epoch), kept(folder / control.run)
        return Left(control, plant, snapshots, last, branch, log, orders.answered, waiting, to_come)
    raise why


class _Topics:
    """The topics of a namespace."""

    def __init__(self, bus: Bus, namespace: str) -> None:
        self._bus = bus
        self._namespace = namespace

    def records(self, topic: str) -> list[Record]:
        reader = self._bus.read([full_name(topic, self._namespace)], start="beginning")
        try:
            return reader.read_up()
        finally:
            reader.close()


def _waits(record: Record, topic: str, model: type[Command] | type[Inject], run: str, answered: frozenset[str]) -> bool:
    try:
        _, order = decode_model(record.value, BY_NAME[topic].schema_id, model)
    except MessageInvalid:
        return False
    return order.run == run and order.id not in answered
