"""A recorded run, a bus to play it into, and clocks that the test moves."""

from collections.abc import Iterable
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.recording.files import T0_MS, item, write
from twin.bus.base import Record
from twin.bus.memory import MemoryBus
from twin.errors import RunError
from twin.events.control import Line, RunControl
from twin.events.head import Head, encode, encode_model, split
from twin.events.topics import BY_NAME, TOPICS, full_name
from twin.recording.choice import Choice
from twin.recording.item import NS_PER_MS, Item
from twin.recording.outlet import BusOutlet
from twin.recording.player import Player
from twin.recording.reader import Recording
from twin.recording.replay import Replay, plan_from, recorded_partitions
from twin.recording.span import Range
from twin.run import ReplayOwner

RUN = "20261124T072000Z-a7f3"
REPLAY = "20261128T120000Z-0001"
FACTS = {
    "site": "mini",
    "site_crc": "0",
    "seed": "7",
    "dt_s": "1.0",
    "weather_at": "07-15T14:00",
}
NOW_MS = T0_MS + 86_400_000
_NUMBERS = count()


def own(topic: str, tick: int, ms: float, *, epoch: int = 0, run: str = RUN, key: str = "k", seq: int = 0) -> Item:
    """Return a message of the recorded run."""
    schema_id, ts = BY_NAME[topic].schema_id, int(T0_MS + ms)
    head = Head(schema_id=schema_id, run=run, epoch=epoch, tick=tick, seq=seq, ts=ts, dt_s=1.0, key=key)
    data = b'{"tick":%d, "of":"%s"}' % (tick, key.encode())
    return item(topic, ms, key=key.encode(), value=encode(head, data))


def control(tick: int, ms: float, *, epoch: int = 0, run: str = RUN, **fields: object) -> Item:
    """Return a word of ``run.control``."""
    told = RunControl.model_validate(
        {
            "run": run,
            "epoch": epoch,
            "line": Line(ts0=T0_MS, tick0=0, ms_per_tick=1000),
            "kind": "live",
            "continues": False,
            "automatic_operator": True,
            "lock_step": False,
            **FACTS,
            "seed": 7,
            "dt_s": 1.0,
            "site_time": "07-15T14:00:00",
            "state": "running",
            "speed": 1.0,
            "speed_reached": 1.0,
            "settled_tick": tick,
            "owner": "somebody",
            "sent_ms": int(T0_MS + ms),
            "lease_expires_ms": int(T0_MS + ms + 5000),
            **fields,
        }
    )
    one = own("run.control", max(tick, 0), ms, epoch=epoch, run=run, key="run.control")
    assert one.value is not None
    return one._replace(value=encode_model(split(one.value)[0], told))


def seconds(first: int, last: int, *, keys: Iterable[str] = ("a", "b"), epoch: int = 0, ms0: float = 0) -> list[Item]:
    """Return ticks of a run at 1 Hz: run.control, then two frames, 100 ms apart."""
    items = []
    for tick in range(first, last + 1):
        ms = ms0 + 1000 * tick
        items.append(control(tick - 1, ms, epoch=epoch))
        items += [
            own("telemetry.grid", tick, ms + 100 * (n + 1), epoch=epoch, key=key, seq=tick)
            for n, key in enumerate(keys)
        ]
    return items


class Clocks:
    """A wall clock, and one that never goes back: one hand for both."""

    def __init__(self) -> None:
        self.ms = float(NOW_MS)
        self.wall_behind_ms = 0  # the wall clock was set back

    def now_ms(self) -> int:
        return int(self.ms) - self.wall_behind_ms

    def now_s(self) -> float:
        return self.ms / 1000


class Handlers:
    """Notes what a host would be asked."""

    def __init__(self) -> None:
        self.asked: list[object] = []
        self.refusal: RunError | None = None

    def start(self, params: dict[str, Any]) -> None:
        self._note(params)

    def take_over(self, time_ns: int | None) -> None:
        self._note(time_ns)

    def _note(self, what: object) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.asked.append(what)


class Stage:
    """A replay of some messages into a memory bus; the clock stands unless the test moves it."""

    def __init__(self, folder: Path, items: Iterable[Item], **options: Any) -> None:
        self.clocks = Clocks()
        self.bus = MemoryBus(f"replay-{next(_NUMBERS)}", clock=self.clocks.now_s, wall_ms=self.clocks.now_ms)
        self.namespace = options.pop("namespace", "")
        self.bus.create_topics(TOPICS, self.namespace)
        facts = {} if options.pop("foreign", False) else FACTS
        self.recording = Recording(write(folder / "r.mcap", items, **facts))
        choice = Choice(
            topics=tuple(options.pop("topics", ())),
            keys=tuple(options.pop("keys", ())),
            instructor=options.pop("instructor", False),
        )
        self.open = True
        stays = options.pop("stays", True)
        original = options.get("original_time", False)
        plan = plan_from(self.recording, choice, options.get("speed", 1.0))
        outlet = BusOutlet(self.bus, self.namespace, recorded_partitions(self.recording), original_time=original)
        self.player = Player(
            self.recording,
            choice,
            Range(self.recording.start_ns, self.recording.end_ns),
            outlet,
            None if plan is None else ReplayOwner(plan, "player"),
            clock=self.clocks,
            now_s=self.clocks.now_s,
            may_go_on=lambda: self.open,
            **options,
        )
        self.handlers = Handlers()
        self.replay = Replay(self.bus, self.namespace, self.player, self.clocks, self.handlers, stays=stays)
        self._reader = self.bus.read([full_name(topic, self.namespace) for topic in BY_NAME], start="beginning")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.replay.close()
        self.recording.close()
        self.bus.close()

    def start(self, at_ms: float | None = None, *, paused: bool = False) -> None:
        self.replay.start(REPLAY, None if at_ms is None else self.ns(at_ms), paused=paused)
        self.arrive()

    def ns(self, ms: float) -> int:
        return round((T0_MS + ms) * NS_PER_MS)

    def arrive(self) -> None:
        """Turn until the player is where it was sent to."""
        for _ in range(1000):
            self.replay.turn()
            if self.player.phase != "seeking":
                return
            self.player._feed.wait(0.5)
        raise AssertionError("it never arrived")

    def pass_s(self, duration_s: float, step_s: float = 0.01) -> None:
        """Let time pass, and everything happen that is due."""
        until = self.clocks.ms + 1000 * duration_s
        while self.clocks.ms < until:
            for _ in range(1000):
                before = (self.player.sent_n, self.player.phase)
                self.replay.turn()
                if self.player.phase == "seeking":
                    self.player._feed.wait(0.5)
                elif (self.player.sent_n, self.player.phase) == before:
                    break
            self.clocks.ms += 1000 * step_s

    def finish(self) -> None:
        """Let time pass until it has all been played."""
        for _ in range(3000):
            if self.player.phase == "ended":
                return
            self.player._feed.wait(0.1)
            self.replay.turn()
            self.clocks.ms += 10
        raise AssertionError("it never ended")

    def came(self) -> list[Record]:
        """Return what has come since the last call."""
        records = []
        while more := self._reader.poll(0.0):
            records += more
        return records

    def frames(self) -> list[tuple[int, int, str]]:
        """Return (epoch, tick, key) of the telemetry that has come since the last call."""
        heads = [split(record.value)[0] for record in self.came() if "telemetry." in record.topic]
        return [(head.epoch, head.tick, head.key) for head in heads]

    def controls(self) -> list[RunControl]:
        """Return what has come on run.control since the last call."""
        from twin.events.head import decode_model

        return [
            decode_model(record.value, "run.control/1", RunControl)[1]
            for record in self.came()
            if record.topic.endswith("run.control")
        ]
