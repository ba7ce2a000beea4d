"""Incidents that come with the twin: runs of ``mini`` from a seed, recorded on a clock of their own.

The same seed and versions give the same bytes. To add an incident: its row in ``INCIDENTS``.
"""

import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from producers.families import PRODUCERS
from producers.loop import Loop
from twin.bus.base import Record
from twin.bus.memory import MemoryBus
from twin.errors import RecordingError, RecordingUnwritable
from twin.events.control import Command, RunRequest
from twin.events.head import Head, decode_model, encode_model
from twin.events.instructor import Inject, SnapshotReference
from twin.events.layout import FrameLayout
from twin.events.topics import BY_NAME, TOPICS
from twin.recording.item import NS_PER_MS, Item
from twin.recording.snapshot_files import SnapshotFiles, attachment_name
from twin.recording.writer import RecordingWriter
from twin.run import RunPlan, new_run_id, utc_text
from twin.site import Site, load_site

SITE, SEED = "mini", 7
START_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z
RUN = new_run_id(utc_text(START_MS), 1)
TURN_MS = 1000
Order = Command | Inject | RunRequest
SNAPSHOTS = "instructor.snapshots"
RECORDED = (
    *dict.fromkeys(topic.name for topic in TOPICS if topic.name.startswith("telemetry.")),
    "commands", "command_results", "run.requests", "run.control",
    "instructor.injects", "instructor.truth", SNAPSHOTS,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Incident:
    """What is recorded.

    Attributes
    ----------
    title
        Does not tell what breaks.
    weather_at
        Begin in the typical year.
    ticks
        Length, at one second a tick.
    injects
        What breaks, by the tick before which it is put in.
    """

    title: str
    weather_at: str
    ticks: int
    injects: Mapping[int, tuple[Inject, ...]]


def _inject(kind: str, target: str, *, severity: float = 1.0, ramp_s: float = 0.0) -> Inject:
    return Inject(id=f"{kind}-{target}", run=RUN, kind=kind, target=target, severity=severity, ramp_s=ramp_s)


INCIDENTS: dict[str, Incident] = {
    "chiller-trip": Incident(
        "A hot afternoon", "08-21T14:00", 900, {120: (_inject("chiller_trip", "cooling-2", ramp_s=60.0),)}
    ),
    "turbine-trip": Incident("A warm evening", "07-15T19:00", 600, {120: (_inject("turbine_trip", "gas-skid-1"),)}),
    "pump-degraded": Incident(
        "One rack of many",
        "07-15T14:00",
        600,
        {120: (_inject("pump_degraded", "cdu-R0007", severity=0.9, ramp_s=60.0),)},
    ),
}


def make_incident(name: str, folder: Path) -> tuple[Path, str]:
    """Make a recording of an incident; one of its name in the folder is replaced.

    Parameters
    ----------
    name
        A key of ``INCIDENTS``.
    folder
        Made if it is missing.

    Returns
    -------
    tuple
        Its path, and its SHA-256.

    Raises
    ------
    RecordingError
        There is no such incident.
    RecordingUnwritable
        The folder is full or closed.
    """
    incident = INCIDENTS.get(name)
    if incident is None:
        raise RecordingError(f"no incident {name!r}: there are {', '.join(INCIDENTS)}")
    site = load_site(SITE)
    plan = RunPlan(site.id, site.crc, SEED, 1.0, incident.weather_at, automatic_operator=False)
    path = folder / f"{name}.mcap"
    partial = path.with_suffix(".part")
    facts = {"title": incident.title, "incident": name}
    try:
        partial.unlink(missing_ok=True)
        record_run(partial, site, plan, incident.injects, turns=incident.ticks, facts=facts)
        partial.replace(path)
        with path.open("rb") as file:
            return path, hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as exc:
        raise RecordingUnwritable(f"{path} cannot be made ({exc.strerror}): choose another folder (--folder)") from exc


def record_run(
    path: Path,
    site: Site,
    plan: RunPlan,
    orders: Mapping[int, Sequence[Order]],
    *,
    turns: int,
    facts: Mapping[str, str],
) -> None:
    """Record a run of the plant side with all that it publishes and hears, a turn of its loop each second of its clock.

    Parameters
    ----------
    path
        Must not exist.
    site, plan
        What runs, as run ``RUN``.
    orders
        What is sent to it, by the turn before which it is sent; the first turn is 0.
    turns
        How many; each does one tick, unless the run stands.
    facts
        What is to be said of the recording beside what is said of every one.
    """
    always = {
        "run": RUN,
        "site": site.id,
        "site_crc": site.crc,
        "seed": str(plan.seed),
        "dt_s": str(plan.dt_s),
        "weather_at": plan.weather_at,
        "level": "full",
        "instructor": "yes",
        "topics": json.dumps({name: BY_NAME[name].partitions for name in RECORDED}),
        "versions": json.dumps({name: version(name) for name in ("colossus-twin", "numpy")}),
        "clock": "made: a second a tick",
        "started_ms": str(START_MS),
    }
    with tempfile.TemporaryDirectory() as folder, RecordingWriter(path, {**always, **facts}) as writer:
        stage = _Stage(site, plan, Path(folder), writer)
        try:
            stage.play(orders, turns)
        finally:
            stage.close()


class _Clock:
    """Stands still within a turn; each message is stamped a millisecond later than the one before it."""

    def __init__(self) -> None:
        self.ms = START_MS
        self._sent_n = 0

    def now_ms(self) -> int:
        return self.ms

    def stamp_ms(self) -> int:
        self._sent_n += 1
        return self.ms + min(self._sent_n, TURN_MS) - 1

    def next_turn(self) -> None:
        self.ms += TURN_MS
        self._sent_n = 0


class _Stage:
    """A run on a bus of its own, and what it publishes on the way into a file."""

    def __init__(self, site: Site, plan: RunPlan, folder: Path, writer: RecordingWriter) -> None:
        self._clock = _Clock()
        self._writer = writer
        self._snapshots = SnapshotFiles(folder, writer)
        layout = FrameLayout(site)
        self._bus = MemoryBus(f"incident-{id(self)}", wall_ms=self._clock.stamp_ms)
        self._bus.create_topics(TOPICS)
        self._reader = self._bus.read(RECORDED, start="beginning")
        self._loop = Loop(
            self._bus,
            "",
            site,
            plan,
            owner="incident",
            producers=[make(layout) for make in PRODUCERS.values()],
            clock=self._clock,
            snapshot_dir=folder,
            may_go_on=lambda _: True,
        )

    def play(self, orders: Mapping[int, Sequence[Order]], turns: int) -> None:
        self._loop.start(RUN)
        for turn in range(turns):
            for order in orders.get(turn, ()):
                self._send(order)
            self._loop.turn()
            self._write()
            self._clock.next_turn()
        self._loop.close()
        self._write()

    def close(self) -> None:
        self._bus.close()

    def _send(self, order: Order) -> None:
        topic, key = _address(order)
        owner = self._loop.owner
        head = Head(
            schema_id=BY_NAME[topic].schema_id,
            run=owner.run,
            epoch=owner.epoch,
            tick=max(owner.tick, 0),
            seq=self._clock.ms - START_MS,
            ts=self._clock.ms,
            dt_s=owner.plan.dt_s,
            key=key,
        )
        self._bus.publish(topic, encode_model(head, order), key=key.encode())

    def _write(self) -> None:
        records: list[Record] = []
        while came := self._reader.poll(0.0):
            records += came
        for record in sorted(records, key=lambda record: record.timestamp_ms):
            self._writer.add(self._item(record))

    def _item(self, record: Record) -> Item:
        item = Item(
            record.timestamp_ms * NS_PER_MS, record.topic, record.partition, record.offset, record.timestamp_ms,
            record.timestamp_ms, record.key, record.value, record.headers,
        )  # fmt: skip
        if record.topic != SNAPSHOTS:
            return item
        self._snapshots.attach(item)
        # Where it lay on this machine is nobody's business, and another place each time.
        head, reference = decode_model(record.value, BY_NAME[SNAPSHOTS].schema_id, SnapshotReference)
        told = reference.model_copy(update={"path": attachment_name(head.run, reference.tick)})
        return item._replace(value=encode_model(head, told))


def _address(order: Order) -> tuple[str, str]:
    """Return the topic and the key of an order."""
    match order:
        case Command():
            return "commands", order.unit
        case Inject():
            return "instructor.injects", order.target
        case RunRequest():
            return "run.requests", "run"
