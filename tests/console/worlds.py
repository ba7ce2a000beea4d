"""One console over a memory bus, with a clock that stands until a test moves it."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio
import numpy as np
import orjson
from fastapi import FastAPI
from pydantic import BaseModel
from starlette.testclient import TestClient

from twin.bus.base import Record
from twin.bus.memory import MemoryBus
from twin.console.context import Param, Verb
from twin.console.parts import Parts
from twin.console.seats import Role, Seats
from twin.events.columns import Family
from twin.events.control import Line, RunControl
from twin.events.derived import TWIN_RACK, TWIN_SITE
from twin.events.frames import Frame, encode_frame
from twin.events.head import Head, encode, encode_model, split
from twin.events.layout import FrameLayout
from twin.events.topics import BY_NAME
from twin.site import Site
from twin.store.duck import DuckStore

RUN = "20261124T072000Z-a7f3"
START_MS = 1_795_500_000_000
TOKENS: dict[Role, str] = {"instructor": "i" * 40, "trainee": "t" * 40, "observer": "o" * 40}
ORIGIN = "http://localhost:8765"
CATALOGUE = (
    Verb("chiller.start", "chiller"),
    Verb("turbine.load", "turbine", (Param("power_w", "W", 0.0, 16.5e6),)),
    Verb("cdu.select_pump", "cdu", (Param("pump", "", choices=("A", "B")),)),
    Verb("job.pause", "job"),
)


@dataclass
class Clock:
    """The wall clock of a test."""

    ms: int = START_MS

    def __call__(self) -> int:
        return self.ms

    def move(self, seconds: float) -> None:
        self.ms += round(seconds * 1000)


async def never(_seconds: float) -> None:
    """Sleep for ever: pictures are made only when a test says so."""
    await asyncio.Event().wait()


@dataclass
class World:
    """All that a test looks at."""

    site: Site
    bus: MemoryBus
    store: DuckStore
    clock: Clock
    seats: Seats
    app: FastAPI
    client: TestClient = field(init=False)

    @property
    def parts(self) -> Parts:
        return self.app.state.parts

    def beat(self) -> None:
        self.client.portal.call(self.parts.hub.beat)

    def bearer(self, role: Role) -> dict[str, str]:
        return {"Authorization": f"Bearer {TOKENS[role]}"}

    def get(self, path: str, role: Role = "observer", **options: Any) -> Any:
        return self.client.get(path, headers=self.bearer(role) | options.pop("headers", {}), **options)

    def post(self, path: str, body: Any = None, role: Role = "instructor", method: str = "POST") -> Any:
        return self.client.request(method, path, json={} if body is None else body, headers=self.bearer(role))

    def enter(self, role: Role) -> None:
        answer = self.client.get(f"/enter?token={TOKENS[role]}", follow_redirects=False)
        assert answer.status_code == 303

    def socket(self, role: Role | None = None, headers: Mapping[str, str] | None = None) -> Any:
        """Open ``/ws`` as a program, or with the cookie and the headers given; what never comes fails the test."""
        sent = dict(headers or {}) if role is None else self.bearer(role)
        session = self.client.websocket_connect("ws://localhost:8765/ws", headers=sent)

        async def receive() -> Any:
            with anyio.fail_after(10):
                return await session._send_rx.receive()

        session.receive = lambda: session.portal.call(receive)
        return session

    def take(self, *records: Record) -> None:
        self.parts.live.take(records)

    def sent(self, topic: str) -> list[tuple[Head, dict[str, Any]]]:
        """Return all that stands on a topic of the bus."""
        reader = self.bus.read([topic], start="beginning")
        messages = [split(record.value) for record in reader.poll() if record.value is not None]
        reader.close()
        return [(head, orjson.loads(data)) for head, data in messages]


def head(topic: str, key: str, tick: int = 0, *, run: str = RUN, epoch: int = 0) -> Head:
    return Head(
        schema_id=BY_NAME[topic].schema_id, run=run, epoch=epoch, tick=tick, seq=tick, ts=START_MS + 1000 * tick,
        dt_s=1.0, key=key,
    )  # fmt: skip


def record(topic: str, one: Head, data: bytes, partition: int = 0) -> Record:
    return Record(topic, partition, 7, START_MS, one.key.encode(), encode(one, data))


def model_record(topic: str, key: str, data: BaseModel, **of_head: Any) -> Record:
    return Record(topic, 0, 7, START_MS, key.encode(), encode_model(head(topic, key, **of_head), data))


def control(tick: int = 0, *, sent_ms: int = START_MS, **changed: Any) -> Record:
    """Make a ``run.control``."""
    values: dict[str, Any] = {
        "run": RUN, "epoch": 0, "line": Line(ts0=START_MS, tick0=0, ms_per_tick=1000), "kind": "live",
        "continues": False, "automatic_operator": True, "lock_step": False, "site": "mini", "site_crc": "0",
        "seed": 7, "dt_s": 1.0, "weather_at": "08-21T14:00", "site_time": "08-21T14:00:05", "state": "running",
        "speed": 1.0, "speed_reached": 0.99, "settled_tick": tick, "owner": "plant", "sent_ms": sent_ms,
        "lease_expires_ms": sent_ms + 5000,
    }  # fmt: skip
    data = RunControl(**(values | changed))
    return model_record("run.control", "run.control", data, tick=max(tick, 0), run=data.run, epoch=data.epoch)


def full_frame(family: Family, groups: Mapping[str, Mapping[str, Any]]) -> bytes:
    """Encode a frame; columns that are not given were not measured."""
    frame = Frame()
    for name, given in groups.items():
        size = len(next(iter(given.values())))
        frame.dense[name] = {
            column.name: np.asarray(given.get(column.name, np.full(size, np.nan)))
            for column in family.by_name[name].columns
            if column.kind == "dense"
        }
    return encode_frame(family, frame)


def units(site: Site, topic: str, key: str, tick: int, groups: Mapping[str, Mapping[str, Any]]) -> Record:
    """Make a frame of a gateway: all its groups; what is not given was not measured."""
    family = BY_NAME[topic].data
    assert isinstance(family, Family)
    frame = Frame()
    for name, size in (FrameLayout(site).sizes(topic, key) or {}).items():
        given, columns = groups.get(name, {}), family.by_name[name].columns
        frame.dense[name] = {
            column.name: np.asarray(given.get(column.name, np.full(size, np.nan)))
            for column in columns
            if column.kind == "dense"
        }
    return record(topic, head(topic, key, tick), encode_frame(family, frame))


def racks(
    site: Site, partition: int, tick: int, columns: Mapping[str, Any], *, late: int = 0, **of_head: Any
) -> Record:
    """Make the rollup of a partition: all its racks, or those of ``rack_i``."""
    rack_i = np.flatnonzero(site.layout.rack_array % 24 == partition)
    data = full_frame(
        TWIN_RACK,
        {
            "close": {"partition": [partition], "late": [late], "watermark": [tick]},
            "rack": {"rack_i": rack_i} | columns,
        },
    )
    key = of_head.pop("key", str(partition))
    return record("twin.rack", head("twin.rack", key, tick, **of_head), data, partition)


def picture(site: Site, tick: int, *, of_site: Mapping[str, Any] | None = None, **of_head: Any) -> Record:
    """Make a ``twin.site``."""
    hall_n = site.layout.hall_count
    halls = {
        "hall_i": np.arange(hall_n),
        "power_w": np.full(hall_n, 50e6),
        "gpu_temp_mean_c": np.array([40.0, 50.0, np.nan, 50.0]),
        "gpu_temp_p99_c": np.full(hall_n, 53.0),
        "gpu_temp_max_c": np.array([55.0, 58.5, np.nan, 57.0]),
        "measured_n": np.array([1024.0, 1024.0, 0.0, 2048.0]),
    }
    values = {"facility_power_w": 250e6, "pue": 1.1412, "power_balance_ratio": 0.002} | dict(of_site or {})
    data = full_frame(
        TWIN_SITE,
        {
            "close": {"watermark": [tick], "stale_n": [1], "array_n": [8]},
            "site": {name: [value] for name, value in values.items()},
            "hall": halls,
        },
    )
    return record("twin.site", head("twin.site", site.id, tick, **of_head), data)
