"""Messages of every topic that the history takes: real telemetry of a plant, and one of each of the others."""

import functools
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson
from pydantic import BaseModel

from producers.families import PRODUCERS
from twin.bus.base import Record
from twin.events.alarm import DeadLetter, Mark
from twin.events.columns import Family, Group
from twin.events.control import CommandResult, Line, RunControl
from twin.events.derived import TWIN_RACK, TWIN_SITE, Health, IngestHealth, SinkHealth
from twin.events.frames import Frame, encode_frame
from twin.events.head import Head, encode
from twin.events.jobs import Job, JobTable, Overflow
from twin.events.layout import FrameLayout
from twin.events.topics import BY_NAME
from twin.plant import build, step
from twin.site import load_site

RUN = "20261124T072000Z-a7f3"
TS = 1_795_504_800_000
WALL_MS = TS + 12_345
LAYOUT = FrameLayout(load_site("mini"))


def message(topic: str, key: str, data: bytes | BaseModel, *, tick: int = 10, offset: int = 0, **head: Any) -> Record:
    """Make a record as the bus would give it."""
    names = {"schema_id": BY_NAME[topic].schema_id, "run": RUN, "epoch": 0, "seq": 0, "ts": TS, "dt_s": 1.0} | head
    raw = data if isinstance(data, bytes) else data.model_dump_json().encode()
    return Record(topic, 0, offset, TS, key.encode(), encode(Head(tick=tick, key=key, **names), raw))


def data_of(record: Record) -> dict[str, Any]:
    """Read the data of a message with nothing but a JSON parser."""
    return orjson.loads(record.value or b"")["data"]


def with_data(record: Record, data: Any) -> Record:
    """Put other data into a message."""
    whole = orjson.loads(record.value or b"")
    return record._replace(value=orjson.dumps({"head": whole["head"], "data": data}))


@functools.cache
def telemetry(topic: str) -> tuple[Record, ...]:
    """What the gateways of a plant send on a topic in one tick that a row of each group is stored of."""
    plant = build(LAYOUT.site, seed=7, weather_at="07-15T14:00")
    for _ in range(3):
        step(plant, 1.0)
    (producer,) = (p for make in PRODUCERS.values() if (p := make(LAYOUT)).topic == topic)
    return tuple(message(topic, reading.key, reading.data) for reading in producer.readings(plant, first_of_epoch=True))


def group_of(group: Group, numbers: Iterator[int], **places: list[Any]) -> dict[str, Any]:
    """Fill a group: no two values are the same, but for ``places``, which name what a row is of."""
    n = len(next(iter(places.values())))
    return {c.name: places.get(c.name) or [float(next(numbers)) for _ in range(n)] for c in group.columns}


def _family(family: Family, topic: str, key: str, data: dict[str, Any]) -> Record:
    frame = Frame(
        dense={g: {c: np.array(v) for c, v in cs.items() if c != "unit"} for g, cs in data.items()},
        text={g: {"unit": cs["unit"]} for g, cs in data.items() if "unit" in cs},
    )
    return message(topic, key, encode_frame(family, frame))


def twin_rack() -> Record:
    """Make a message of ``twin.rack`` with racks of two halls, a watched rack, and XIDs."""
    numbers, groups = itertools.count(1000), TWIN_RACK.by_name
    data = {
        "close": {"partition": [3], "late": [0], "watermark": [10]},
        "rack": group_of(groups["rack"], numbers, rack_i=[0, 17, 63]),
        "hall": group_of(groups["hall"], numbers, hall_i=[0]),
        "cdu": group_of(groups["cdu"], numbers, rack_i=[17, 63]),
        "gpu": group_of(groups["gpu"], numbers, rack_i=[17, 17], gpu=[0, 63]),
        "xid": {"rack_i": [0, 1, 0, 63], "gpu": [5, 9, 6, 7], "xid": [79, 79, 31, 79], "n": [1, 2, 4, 8]},
    }
    return _family(TWIN_RACK, "twin.rack", "3", data)


def twin_site() -> Record:
    """Make a message of ``twin.site`` with every group."""
    numbers, groups = itertools.count(1000), TWIN_SITE.by_name
    data = {
        "close": {"watermark": [10], "stale_n": [0], "array_n": [8], "site_time_s": [5.0]},
        "site": group_of(groups["site"], numbers, feed_power_w=[7.0]),
        "hall": group_of(groups["hall"], numbers, hall_i=[0, 1, 2, 3]),
        "gpu_hist": group_of(groups["gpu_hist"], numbers, scope_i=[0, 1, 4]),
        "permit": group_of(groups["permit"], numbers, nox_ston=[1.5]),
        "loop": group_of(groups["loop"], numbers, unit=list(LAYOUT.site.unit_ids("loop"))),
        "run": {"age_max_s": [3.0]},
    }
    return _family(TWIN_SITE, "twin.site", "mini", data)


def health(worker: str = "rows-1") -> Record:
    """Make a message of ``twin.health`` of a worker that reads two topics and writes into a store."""
    numbers = itertools.count(1)

    def ingest(topic: str) -> IngestHealth:
        return IngestHealth(topic=topic, **{n: next(numbers) for n in IngestHealth.model_fields if n != "topic"})

    sink = SinkHealth(sink="duck", points_hz=100.5, write_p99_s=0.25, retry_n=3, buffered_n=4)
    return message(
        "twin.health",
        worker,
        Health(
            process=worker,
            at_ms=WALL_MS,
            cpu=0.5,
            rss_mb=300,
            buffer_fill=0.25,
            ingest=(ingest("telemetry.gpu"), ingest("twin.rack")),
            sinks=(sink,),
        ),
    )


def control(offset: int = 0, **changes: Any) -> Record:
    """Make a message of ``run.control``."""
    said = RunControl(
        run=RUN,
        epoch=0,
        line=Line(ts0=TS, tick0=0, ms_per_tick=1000),
        kind="drill",
        continues=False,
        automatic_operator=True,
        lock_step=False,
        site="mini",
        site_crc="0",
        seed=7,
        dt_s=1.0,
        weather_at="07-15T14:00",
        site_time="07-15T14:00:00",
        state="running",
        speed=1.0,
        speed_reached=1.0,
        settled_tick=10,
        owner="owner-1",
        sent_ms=WALL_MS,
        lease_expires_ms=WALL_MS + 5000,
    ).model_copy(update=changes)
    return message("run.control", "run.control", said, offset=offset)


def result(offset: int = 0, *, accepted: bool = True, unit: str = "chiller-1", **head: Any) -> Record:
    """Make a message of ``command_results``."""
    reason = "" if accepted else "it is locked out"
    said = CommandResult(
        command_id="c1",
        verb="chiller.start",
        unit=unit,
        by="anna",
        accepted=accepted,
        reason=reason,
        applied_tick=10,
    )
    return message("command_results", unit, said, offset=offset, **head)


def dead_letter(offset: int = 0) -> Record:
    """Make a message of ``dead.letter``."""
    reason = "other-major: telemetry.gpu/2, expected telemetry.gpu/1"
    said = DeadLetter(topic="telemetry.gpu", partition=3, offset=41, reason=reason, raw="", cut=False)
    return message("dead.letter", "telemetry.gpu", said, offset=offset)


def mark(kind: str, asset: str) -> Record:
    """Make a message of ``twin.marks``."""
    said = Mark(kind=kind, asset=asset, run=RUN, by="anna")  # type: ignore[arg-type]
    return message("twin.marks", f"{kind}@{asset}", said)


def jobs(*gpu_n: int, full: bool = True) -> Record:
    """Make a job table; jobs are named by their place."""
    numbers = itertools.count(1)

    def ratios(*names: str) -> dict[str, float]:
        return {name: next(numbers) / 1000 for name in names}

    table = JobTable(
        full=full,
        jobs=tuple(
            Job(
                id=f"job-{i}",
                state_code=3,
                gpu_n=n,
                servers=((0, 1),),
                step_s=next(numbers),
                power_w=100.0 * n,
                power_low_w=90.0 * n,
                power_high_w=110.0 * n,
                progress_h=next(numbers),
                **ratios("step_ratio", "mfu", "ettr", "bw_factor", "tensor_active"),
            )
            for i, n in enumerate(gpu_n)
        ),
        events=(),
        overflow=Overflow(gpu_n=64, usd_h=128.5),
        running_n=len(gpu_n),
        queued_n=2,
        goodput=0.9,
        lost_gpu_h=12.5,
        failures_24h_n=3,
        failures_expected_n=2.5,
    )
    return message("telemetry.jobs", "scheduler-1", table)


def one_of_each() -> dict[str, tuple[Record, ...]]:
    """Return good messages of every topic that the history takes."""
    frames = ("telemetry.chillers", "telemetry.turbines", "telemetry.grid", "telemetry.network")
    return {topic: telemetry(topic) for topic in frames} | {
        "telemetry.jobs": (*telemetry("telemetry.jobs"), jobs(512, 1)),
        "twin.rack": (twin_rack(),),
        "twin.site": (twin_site(),),
        "twin.health": (health(),),
        "run.control": (control(),),
        "command_results": (result(),),
        "twin.marks": (mark("watch", "R0010"), mark("shelve", "rule@R0011")),
        "dead.letter": (dead_letter(),),
    }
