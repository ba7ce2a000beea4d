"""From a message of any topic to the points of the store: one function per topic, from the tables of ``events``."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

from twin.bus.base import Record
from twin.errors import MessageInvalid, SiteInvalid
from twin.events.alarm import DeadLetter, Mark
from twin.events.chillers import TELEMETRY_CHILLERS
from twin.events.columns import Family
from twin.events.control import RUN_STATE_CODES, CommandResult, Message, RunControl
from twin.events.derived import TWIN_RACK, TWIN_SITE, Health
from twin.events.frames import decode_frame
from twin.events.grid import TELEMETRY_GRID
from twin.events.head import Head, check_schema, decode_data, split
from twin.events.jobs import Job, JobTable
from twin.events.layout import FrameLayout
from twin.events.measurements import BY_NAME
from twin.events.network import TELEMETRY_NETWORK
from twin.events.topics import BY_NAME as TOPIC_BY_NAME
from twin.events.turbines import TELEMETRY_TURBINES
from twin.run import Clock, RunView, check_control
from twin.site import Site
from twin.state.checks import check_groups, check_tick, places_of
from twin.state.suspects import without_suspects
from twin.store import Points

M = TypeVar("M", bound=Message)

JOB_ROW_GPUS = 512  # a job of at least so many GPUs (at 200,000) has rows of its own; the rest is unit ``small``
SWITCH_EVERY_TICKS = 10
MARKS = "twin.marks"
_FIELDS = {name: frozenset(field.name for field in measurement.fields) for name, measurement in BY_NAME.items()}
FATAL_XIDS = frozenset({48, 64, 79, 94, 95, 119, 120, 122, 123, 140, 143})


class PointMaker:
    """Turns messages into points.

    Parameters
    ----------
    layout
        Keys and ids of the frames of the site.
    view
        The run that holds: its kind is a tag of what is told of a run.
    clock
        The wall clock: a tick that cannot have been yet is refused.
    """

    def __init__(self, layout: FrameLayout, view: RunView, clock: Clock) -> None:
        self._layout = layout
        self._view = view
        self._clock = clock
        self._site = layout.site
        self._makers: dict[str, Callable[[Head, bytes, Record], list[Points]]] = {
            "twin.rack": self._rack,
            "twin.site": self._site_picture,
            "twin.health": self._health,
            "run.control": self._run,
            "command_results": self._command,
            MARKS: self._mark,
            "dead.letter": self._dead_letter,
            "telemetry.jobs": self._jobs,
            "telemetry.chillers": self._units(TELEMETRY_CHILLERS),
            "telemetry.turbines": self._units(TELEMETRY_TURBINES),
            "telemetry.grid": self._units(TELEMETRY_GRID),
            "telemetry.network": self._units(TELEMETRY_NETWORK),
        }
        self._racks = _rack_tags(layout.site)
        self._places = places_of(layout.site)
        self._seen_run: tuple[str, int, str, float] | None = None

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics that history takes."""
        return tuple(self._makers)

    def points_of(self, record: Record) -> list[Points]:
        """Make the points of one message of any run and epoch.

        Parameters
        ----------
        record
            Its topic without namespace.

        Raises
        ------
        MessageInvalid
            The bytes are no message of that topic.
        """
        topic = TOPIC_BY_NAME[record.topic]
        if record.value is None and record.topic == MARKS:
            return []  # it ends a mark
        head, data = split(record.value)
        check_schema(head, topic.schema_id)
        if isinstance(topic.data, Family):
            check_tick(head, self._view.control, self._clock.now_ms())
        return self._makers[record.topic](head, data, record)

    def _units(self, family: Family) -> Callable[[Head, bytes, Record], list[Points]]:
        topic = family.schema_id.partition("/")[0]

        def make(head: Head, data: bytes, _: Record) -> list[Points]:
            sizes = self._layout.sizes(topic, head.key)
            if sizes is None:
                raise MessageInvalid(f"unknown-key: {head.key} is no key of {topic} at {self._site.id}")
            frame = without_suspects(decode_frame(family, data, sizes))
            points = []
            for group in family.groups:
                measurement = BY_NAME.get(group.measurement)
                if measurement is None or (group.name == "switch" and head.tick % SWITCH_EVERY_TICKS):
                    continue
                if group.name == "weather" and head.key != self._layout.keys(topic)[0]:
                    continue  # every cooling plant tells the same weather
                values = _known(measurement.name, frame.dense[group.name])
                tags: dict[str, Any] = {}
                if "plant" in measurement.tags:
                    tags["plant"] = head.key
                if "hall" in measurement.tags:
                    tags["hall"] = head.key
                if "unit" in measurement.tags:
                    tags["unit"] = self._layout.ids(topic, head.key, group.name)
                if values and frame.size(group.name):
                    points.append(Points(measurement.name, head.run, head.ts, tags, values, {}))
            return points

        return make

    def _rack(self, head: Head, data: bytes, _: Record) -> list[Points]:
        frame = decode_frame(TWIN_RACK, data, {"close": 1})
        check_groups(TWIN_RACK, frame, self._places)
        points = []
        for group in ("rack", "cdu", "gpu"):
            columns = frame.dense.get(group)
            if not columns or not frame.size(group):
                continue
            racks = columns["rack_i"].astype(np.int64)
            tags: dict[str, Any] = {"hall": self._racks["hall"][racks], "rack": self._racks["rack"][racks]}
            if group == "rack":
                tags |= {name: self._racks[name][racks] for name in ("array", "row", "pos")}
            elif group == "cdu":
                tags["unit"] = self._racks["cdu"][racks]
            else:
                tags["gpu"] = columns["gpu"].astype(np.int64).astype(str)
            points.append(Points(group, head.run, head.ts, _listed(tags), _known(group, columns), {}))
        xid = frame.dense.get("xid")
        if xid and frame.size("xid"):
            points.append(self._xids(head, xid))
        return points

    def _xids(self, head: Head, xid: Mapping[str, Any]) -> Points:
        """Add the XIDs of one message up by hall and number; text names the first GPU."""
        racks = xid["rack_i"].astype(np.int64)
        rows: dict[tuple[str, int], list[Any]] = {}
        for rack, gpu, number, n in zip(racks, xid["gpu"], xid["xid"], xid["n"], strict=True):
            key = (str(self._racks["hall"][rack]), int(number))
            row = rows.setdefault(key, [0.0, f"{self._racks['rack'][rack]}-g{int(gpu)}", self._racks["rack"][rack]])
            row[0] += n
        return Points(
            "xid",
            head.run,
            head.ts,
            {
                "hall": [hall for hall, _ in rows],
                "xid": [str(number) for _, number in rows],
                "fatal": ["yes" if number in FATAL_XIDS else "no" for _, number in rows],
            },
            {"raised": [row[0] for row in rows.values()]},
            {
                "gpu": [row[1] for row in rows.values()],
                "rack": [str(row[2]) for row in rows.values()],
                "text": [f"XID {number} on {row[1]}" for (_, number), row in rows.items()],
            },
        )

    def _site_picture(self, head: Head, data: bytes, _: Record) -> list[Points]:
        frame = decode_frame(TWIN_SITE, data, {"close": 1, "site": 1})
        check_groups(TWIN_SITE, frame, self._places)
        halls = self._site.layout.hall_ids
        points = [Points("site", head.run, head.ts, {}, _known("site", frame.dense["site"]), {})]
        for group, tag, names in (("hall", "hall", halls), ("gpu_hist", "scope", ("site", *halls))):
            columns = frame.dense.get(group)
            if columns:
                places = columns["hall_i" if group == "hall" else "scope_i"].astype(np.int64)
                tags = {tag: [names[place] for place in places]}
                points.append(Points(group, head.run, head.ts, tags, _known(group, columns), {}))
        plant = self._layout.keys("telemetry.turbines")
        if plant and "permit" in frame.dense:
            permit = _known("permit", frame.dense["permit"])
            points.append(Points("permit", head.run, head.ts, {"plant": plant[0]}, permit, {}))
        loops = frame.text.get("loop", {}).get("unit")
        if loops:
            tags = {"plant": [self._plant_of(loop) for loop in loops], "unit": loops}
            points.append(Points("loop", head.run, head.ts, tags, _known("loop", frame.dense["loop"]), {}))
        control = self._view.control
        if control is not None and control.run == head.run and frame.size("run"):
            points.append(
                Points("run", head.run, head.ts, {"kind": control.kind}, _known("run", frame.dense["run"]), {})
            )
        return points

    def _plant_of(self, unit: str) -> str:
        try:
            return self._site.unit(unit).plant
        except SiteInvalid as exc:
            raise MessageInvalid(f"unknown-unit: {exc}") from exc

    def _run(self, head: Head, data: bytes, record: Record) -> list[Points]:
        control = decode_data(RunControl, data)
        check_control(control, self._clock.now_ms())
        kind = {"kind": control.kind}
        fields = {"state_code": float(RUN_STATE_CODES[control.state]), "speed": control.speed, "dt_s": control.dt_s}
        # A paused run is still a row a second: wall time, as it must speak when the run's clock stands.
        points = [Points("run", head.run, control.sent_ms, kind, fields, {})]
        now = (control.run, control.epoch, control.state, control.speed)
        if now != self._seen_run:
            self._seen_run = now
            text = f"{control.state}, epoch {control.epoch}, x{control.speed:g}"
            points.append(_event(head, record, "run", text=text, unit=control.run, by=control.owner, result=""))
        return points

    def _command(self, head: Head, data: bytes, record: Record) -> list[Points]:
        result = decode_data(CommandResult, data)
        outcome = "accepted" if result.accepted else f"rejected: {result.reason}"
        text = f"{result.verb} {result.unit}: {outcome}"
        return [_event(head, record, "command", text=text, unit=result.unit, by=result.by, result=outcome)]

    def _mark(self, _: Head, data: bytes, __: Record) -> list[Points]:
        """Make no points: what people set is no history, but what is broken in it must not go unsaid."""
        mark = decode_data(Mark, data)
        if mark.kind == "watch":
            try:
                self._site.layout.rack_index(mark.asset)
            except SiteInvalid as exc:
                raise MessageInvalid(f"unknown-rack: {exc}") from exc
        return []

    def _dead_letter(self, head: Head, data: bytes, record: Record) -> list[Points]:
        letter = decode_data(DeadLetter, data)
        unit = f"{letter.topic}/{letter.partition}/{letter.offset}"
        return [_event(head, record, "dead_letter", text=letter.reason, unit=unit, by="", result="")]

    def _jobs(self, head: Head, data: bytes, _: Record) -> list[Points]:
        table = decode_data(JobTable, data)
        fields = {
            **_floats(table, "full", "jobs", "events", "overflow"),
            "overflow_gpu_n": float(table.overflow.gpu_n),
            "overflow_usd_h": table.overflow.usd_h,
        }
        points = [Points("jobs", head.run, head.ts, {}, fields, {})]
        if table.full and table.jobs:
            least = JOB_ROW_GPUS * self._site.scale
            rows = [(job.id, _floats(job, "id", "servers")) for job in table.jobs if job.gpu_n >= least]
            small = [job for job in table.jobs if job.gpu_n < least]
            if small:
                rows.append(("small", _small_fields(small)))
            columns = {name: [row[name] for _, row in rows] for name in rows[0][1]}
            points.append(Points("job", head.run, head.ts, {"unit": [unit for unit, _ in rows]}, columns, {}))
        return points

    def _health(self, head: Head, data: bytes, _: Record) -> list[Points]:
        health = decode_data(Health, data)
        tags = {"worker": health.process}
        cpu = {"cpu": health.cpu, "buffer_fill": health.buffer_fill}
        points = [Points("worker", head.run, health.at_ms, tags, cpu, {})]
        for part in health.ingest:
            points.append(Points("ingest", head.run, health.at_ms, {"topic": part.topic}, _floats(part, "topic"), {}))
        for sink in health.sinks:
            points.append(Points("sink", head.run, health.at_ms, {"sink": sink.sink}, _floats(sink, "sink"), {}))
        return points


def _rack_tags(site: Site) -> dict[str, np.ndarray]:
    layout = site.layout
    return {
        "hall": np.array(layout.hall_ids)[layout.rack_hall],
        "array": np.array(layout.array_ids)[layout.rack_array],
        "rack": np.array(layout.rack_ids),
        "row": layout.rack_row.astype(str),
        "pos": layout.rack_pos.astype(str),
        "cdu": np.array([f"cdu-{rack}" for rack in layout.rack_ids]),
    }


def _listed(tags: Mapping[str, np.ndarray]) -> dict[str, list[str]]:
    return {name: column.tolist() for name, column in tags.items()}


def _known(measurement: str, columns: Mapping[str, Any]) -> dict[str, Any]:
    return {name: values for name, values in columns.items() if name in _FIELDS[measurement]}


def _event(head: Head, record: Record, kind: str, *, text: str, unit: str, by: str, result: str) -> Points:
    # Several may happen in one tick: the offset keeps their times apart, and is the same when read again.
    ts = head.ts + record.offset % 1000
    texts = {"text": text, "unit": unit, "by": by, "result": result}
    return Points("event", head.run, ts, {"kind": kind, "priority": "none"}, {}, texts)


def _floats(message: Message, *but: str) -> dict[str, float]:
    return {name: float(value) for name, value in message.model_dump(exclude=set(but)).items()}


def _small_fields(jobs: list[Job]) -> dict[str, float]:
    rows = [_floats(job, "id", "servers") for job in jobs]
    weight = sum(row["gpu_n"] for row in rows) or 1.0
    added = ("gpu_n", "power_w", "power_low_w", "power_high_w")
    return {
        name: sum(row[name] for row in rows)
        if name in added
        else sum(row[name] * row["gpu_n"] for row in rows) / weight
        for name in rows[0]
    }
