"""A bus, a hand clock and loops of the plant side on it."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from producers.families import PRODUCERS
from producers.loop import Loop
from twin.bus.memory import MemoryBus
from twin.events.control import Command, CommandResult, RunControl, RunRequest
from twin.events.head import Head, encode_model, split
from twin.events.layout import FrameLayout
from twin.events.topics import TOPICS
from twin.run import RunOwner, RunPlan, new_run_id, utc_text
from twin.site import load_site

START_MS = 1_795_504_800_000
_NAMES = itertools.count()


class HandClock:
    ms = START_MS

    def now_ms(self) -> int:
        return self.ms


class Stage:
    """A bus, a clock, and loops on it."""

    def __init__(self, folder: Path) -> None:
        self.clock = HandClock()
        self.site = load_site("mini")
        self.bus = MemoryBus(f"stage-{next(_NAMES)}")
        self.bus.create_topics(TOPICS)
        self.folder = folder
        self.taps = {topic.name: self.bus.read([topic.name], start="beginning") for topic in TOPICS}
        self.plan = RunPlan(self.site.id, self.site.crc, 7, 1.0, "07-15T14:00", automatic_operator=False)
        self._orders = itertools.count()

    def loop(
        self,
        owner: str = "one",
        *,
        families: tuple[str, ...] = ("grid",),
        gate: Callable[[RunOwner], bool] = lambda _: True,
        **changes: Any,
    ) -> Loop:
        layout = FrameLayout(self.site)
        return Loop(
            self.bus,
            "",
            self.site,
            replace(self.plan, **changes),
            owner=owner,
            producers=[PRODUCERS[name](layout) for name in families],
            clock=self.clock,
            snapshot_dir=self.folder,
            may_go_on=gate,
        )

    def started(self, owner: str = "one", nonce: int = 1, **changes: Any) -> Loop:
        loop = self.loop(owner, **changes)
        loop.start(new_run_id(utc_text(self.clock.ms), nonce))
        return loop

    def ticks(self, loop: Loop, n: int) -> None:
        for _ in range(n):
            before = loop.owner.tick
            while loop.owner.tick == before:
                loop.turn()
                self.clock.ms += 50

    def stands(self, loop: Loop) -> None:
        """Fail if a tick comes within ten seconds."""
        tick = loop.owner.tick
        for _ in range(100):
            loop.turn()
            self.clock.ms += 100
        assert loop.owner.tick == tick

    def read(self, topic: str, model: Any) -> list[Any]:
        return [model.model_validate_json(split(record.value)[1]) for record in self.taps[topic].poll(0.0)]

    def send(self, loop: Loop, topic: str, data: Any, key: str) -> None:
        head = Head(
            schema_id=f"{topic}/1", run=loop.owner.run, epoch=0, tick=0, seq=0, ts=self.clock.ms, dt_s=1.0, key=key
        )
        self.bus.publish(topic, encode_model(head, data), key=key.encode())

    def command(self, loop: Loop, verb: str, unit: str, **more: Any) -> CommandResult | None:
        fields = {
            "id": f"c{next(self._orders)}",
            "run": loop.owner.run,
            "verb": verb,
            "unit": unit,
            "by": "test",
            "expires_ms": self.clock.ms + 10_000,
        } | more
        self.send(loop, "commands", Command(**fields), unit)
        self.ticks(loop, 1)
        results = self.read("command_results", CommandResult)
        assert len(results) <= 1
        return results[0] if results else None

    def ask(self, loop: Loop, verb: str, **params: Any) -> RunControl:
        request = RunRequest(id=f"r{next(self._orders)}", verb=verb, by="test", params=params)  # type: ignore[arg-type]
        self.send(loop, "run.requests", request, "r")
        loop.turn()
        answer: RunControl = next(c for c in self.read("run.control", RunControl) if c.answers == request.id)
        return answer
