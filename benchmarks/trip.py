"""``colossus bench trip``: all chillers of a hall stop on a hot afternoon; a timeline, the cure, and a refusal.

Headless, through the topics: the malfunction on ``instructor.injects``, the cure on ``commands``.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from producers.families import PRODUCERS
from producers.loop import Loop
from twin.bus.memory import MemoryBus
from twin.events.control import Command, CommandResult
from twin.events.head import Head, encode_model, split
from twin.events.instructor import Inject
from twin.events.layout import FrameLayout
from twin.events.topics import TOPICS
from twin.run import RunPlan, new_run_id, utc_text
from twin.site import load_site

START_MS = 1_795_504_800_000
TRIP_TICK = 120
HALL, PLANT = 1, "cooling-2"  # H2
# Seconds after the trip -> verb, unit, params. The first start is refused: a tripped unit must be reset first.
CURE: dict[int, tuple[str, str, dict[str, float | str | bool]]] = {
    600: ("chiller.start", "chiller-13", {}),
    620: ("chiller.reset", PLANT, {}),
    640: ("chiller.start", PLANT, {"n": 12}),
}
END_S = 1800
PRINT_EVERY_S = 60


@dataclass(slots=True)
class _HandClock:
    ms: int = START_MS

    def now_ms(self) -> int:
        """Return the time of day [ms]."""
        return self.ms


def run_trip(site_name: str, *, seed: int) -> Iterator[str]:
    """Run the trip and yield the lines of its timeline."""
    with tempfile.TemporaryDirectory() as folder:
        yield from _Trip(site_name, seed, Path(folder)).lines()


class _Trip:
    def __init__(self, site_name: str, seed: int, folder: Path) -> None:
        site, self._clock = load_site(site_name), _HandClock()
        layout = FrameLayout(site)
        self._bus = MemoryBus("trip")
        self._bus.create_topics(TOPICS)
        plan = RunPlan(site.id, site.crc, seed, 1.0, "08-21T14:00", automatic_operator=False)
        self._loop = Loop(
            self._bus,
            "",
            site,
            plan,
            owner="trip",
            producers=[PRODUCERS[family](layout) for family in ("chillers", "gpus", "grid", "turbines")],
            clock=self._clock,
            snapshot_dir=folder,
            may_go_on=lambda _: True,
        )
        self._array = {array: int(site.layout.array_hall[i]) for i, array in enumerate(site.layout.array_ids)}
        self._reader = self._bus.read(
            [
                "telemetry.chillers",
                "telemetry.gpu",
                "telemetry.grid",
                "telemetry.turbines",
                "command_results",
                "instructor.truth",
            ]
        )

    def lines(self) -> Iterator[str]:
        self._loop.start(new_run_id(utc_text(START_MS), 1))
        yield "   T+ s  supply C  GPU mean C  GPU max C  throttled  facility MW  chillers"
        for tick in range(TRIP_TICK + END_S + 1):
            since_s = tick - TRIP_TICK
            if since_s == 0:
                self._inject()
            if since_s in CURE:
                self._command(since_s, *CURE[since_s])
            self._loop.turn()
            self._clock.ms += 1000
            yield from self._seen(since_s)
        self._loop.close()

    def _seen(self, since_s: int) -> Iterator[str]:
        temps: list[float] = []
        throttled, supply_c, facility_w, running = 0, 0.0, 0.0, 0
        for record in self._reader.poll(0.0, limit=10_000):
            head, data = split(record.value)
            if record.topic == "command_results":
                result = CommandResult.model_validate_json(data)
                outcome = "accepted" if result.accepted else f"rejected: {result.reason}"
                yield f"{since_s:7d}  {result.verb} {result.unit}: {outcome}"
                continue
            loaded: dict[str, Any] = orjson.loads(data)
            if record.topic == "instructor.truth":
                yield f"{since_s:7d}  {loaded['kind']} {loaded['target']}: {loaded['reason']}"
            elif record.topic == "telemetry.gpu" and self._array[head.key] == HALL:
                temps += loaded["gpu"]["gpu_temp_c"]
                throttled += len(loaded["gpu"].get("clocks_event_reasons", ()))
            elif record.topic == "telemetry.chillers" and head.key == PLANT:
                supply_c = loaded["loop"]["supply_c"][0]
                running = loaded["chiller"]["state_code"].count(3)
            elif record.topic == "telemetry.grid":
                facility_w += sum(loaded["feed"]["power_w"]) + sum(loaded["battery"]["power_w"])
            elif record.topic == "telemetry.turbines":
                facility_w += sum(loaded["turbine"]["power_w"])
        if since_s % PRINT_EVERY_S == 0 and temps:
            yield (
                f"{since_s:7d}  {supply_c:8.1f}  {sum(temps) / len(temps):10.1f}  {max(temps):9.1f}  {throttled:9d}  "
                f"{facility_w / 1e6:11.3f}  {running:8d}"
            )

    def _head(self, schema: str, key: str) -> Head:
        owner = self._loop.owner
        return Head(
            schema_id=schema,
            run=owner.run,
            epoch=owner.epoch,
            tick=max(owner.tick, 0),
            seq=max(owner.tick, 0),
            ts=self._clock.ms,
            dt_s=1.0,
            key=key,
        )

    def _inject(self) -> None:
        inject = Inject(id="i1", run=self._loop.owner.run, kind="chiller_trip", target=PLANT, ramp_s=60)
        self._bus.publish(
            "instructor.injects", encode_model(self._head("instructor.injects/1", PLANT), inject), key=PLANT.encode()
        )

    def _command(self, since_s: int, verb: str, unit: str, params: dict[str, float | str | bool]) -> None:
        command = Command(
            id=f"c{since_s}",
            run=self._loop.owner.run,
            verb=verb,
            unit=unit,
            params=params,
            by="bench",
            expires_ms=self._clock.ms + 60_000,
        )
        self._bus.publish("commands", encode_model(self._head("commands/1", unit), command), key=unit.encode())
