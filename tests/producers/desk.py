"""Someone who replays recordings, takes them over, and gives commands; the clock moves when something waits for it."""

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from producers.comparison import Comparison
from producers.host import Host, Source, Watcher
from tests.producers.recorded import PLAN, SITE
from tests.recording.stage import NOW_MS, RUN, Clocks
from twin.bus.base import Record
from twin.bus.memory import MemoryBus
from twin.errors import TwinError
from twin.events.control import Command, RunControl, RunRequest
from twin.events.head import Head, decode_model, encode_model, split
from twin.events.topics import BY_NAME, TOPICS
from twin.recording.item import NS_PER_MS
from twin.recording.reader import Recording
from twin.recording.replay import Replay
from twin.site import Site

_NUMBERS = count()


class Desk:
    """A host on a bus of its own, and all that came on the bus."""

    def __init__(self, folder: Path, site: Site | None = None) -> None:
        self.folder = folder
        self.clocks = Clocks()
        self.bus = MemoryBus(f"desk-{next(_NUMBERS)}", wall_ms=self.clocks.now_ms)
        self.bus.create_topics(TOPICS)
        self.comparisons: list[tuple[Comparison, Path]] = []
        self.host = Host(
            self.bus,
            "",
            folder=folder,
            name="desk",
            clock=self.clocks,
            now_s=self.clocks.now_s,
            gate=lambda _: True,
            site=site,
            on_comparison=lambda *told: self.comparisons.append(told),
        )
        self._reader = self.bus.read([topic.name for topic in TOPICS], start="beginning")
        self.came: list[Record] = []
        self._asked = 0

    def ask(self, verb: str, **params: Any) -> str:
        self._asked += 1
        request = RunRequest(id=f"ask-{self._asked}", verb=verb, by="trainee", params=params)  # type: ignore[arg-type]
        self._send("run.requests", request)
        return request.id

    def command(self, verb: str, unit: str, **params: Any) -> None:
        self._asked += 1
        run = self.controls()[-1].run
        name, never_ms = f"c-{self._asked}", 1 << 50
        command = Command(id=name, run=run, verb=verb, unit=unit, params=params, by="trainee", expires_ms=never_ms)
        self._send("commands", command)

    def _send(self, topic: str, data: Any) -> None:
        schema_id = BY_NAME[topic].schema_id
        head = Head(schema_id=schema_id, run=RUN, epoch=0, tick=0, seq=self._asked, ts=NOW_MS, dt_s=1.0, key="k")
        self.bus.publish(topic, encode_model(head, data), key=b"k")

    def hear(self, timeout_s: float = 0.0) -> list[Record]:
        heard = []
        while records := self._reader.poll(timeout_s if not heard else 0.0):
            heard += records
        self.came += heard
        return heard

    def turn(self, source: Source) -> None:
        wait_s = source.turn()
        self.hear()
        if wait_s > 0:
            if isinstance(source, Replay):
                source.player._feed.wait(0.05)
            self.clocks.ms += 1000 * wait_s

    def turn_until(self, source: Source, reached: Callable[[], bool]) -> None:
        for _ in range(100_000):
            if reached():
                return
            self.turn(source)
        raise AssertionError("it never came to that")

    def controls(self) -> list[RunControl]:
        return [decode_model(r.value, "run.control/1", RunControl)[1] for r in self.came if r.topic == "run.control"]

    def answer(self, request: str) -> str | None:
        return next(control.error for control in self.controls() if control.answers == request)

    def go_on(self, source: Source) -> Source:
        """Do what the host does once something has come to its end; return what follows."""
        assert source.done
        source.close()
        if isinstance(source, Replay):
            source.player.recording.close()
        self.host._conclude(source)
        following, self.host._next = self.host._next, None
        assert following is not None
        return following()


class _Hand(threading.Event):
    """Tells when to stop; while somebody waits for it, the clock of the desk goes on."""

    def __init__(self, clocks: Clocks) -> None:
        super().__init__()
        self._clocks = clocks

    def wait(self, timeout: float | None = None) -> bool:
        self._clocks.ms += 1000 * (timeout or 0.0)
        return super().wait(0.0005)


class Running:
    """The host of a desk, running in a thread of its own as in a process; what it says is read here."""

    def __init__(self, desk: Desk, first: Source, watcher: Watcher | None = None) -> None:
        self.desk = desk
        self.stop = _Hand(desk.clocks)
        self.error: TwinError | None = None
        self.said: list[RunControl] = []
        self._thread = threading.Thread(target=self._run, args=(first, watcher), name="host", daemon=True)
        self._thread.start()

    def _run(self, first: Source, watcher: Watcher | None) -> None:
        try:
            self.desk.host.run(first, self.stop, watcher)
        except TwinError as exc:
            self.error = exc

    def hear(self, timeout_s: float = 0.0) -> None:
        for record in self.desk.hear(timeout_s):
            if record.topic == "run.control":
                self.said.append(decode_model(record.value, "run.control/1", RunControl)[1])

    def until(self, reached: Callable[[RunControl], bool], *, since: int | None = None) -> RunControl:
        """Wait for such a word on run.control, from now on or from that word on; return it."""
        at, give_up_s = len(self.said) if since is None else since, self.desk.bus.clock() + 30
        while self.desk.bus.clock() < give_up_s:
            runs = self._thread.is_alive()
            self.hear(0.02 if runs else 0.0)
            found = next((control for control in self.said[at:] if reached(control)), None)
            if found is not None:
                return found
            assert runs, f"it ended: {self.error}"
        raise AssertionError(f"it never came to that; the last word: {self.said[-1:]}")

    def ask(self, verb: str, **params: Any) -> str | None:
        """Ask for something; return the answer: what is wrong."""
        since, request = len(self.said), self.desk.ask(verb, **params)
        return self.until(lambda control: control.answers == request, since=since).error

    def ends(self) -> None:
        """Wait until it has ended; nothing of it may be left but what it said."""
        self._thread.join(20)
        assert not self._thread.is_alive(), "it hangs"
        self.hear()
        assert not [thread for thread in threading.enumerate() if thread.name == "recording"], "a file is read on"
        assert len(self.desk.bus._cables) == 1, "somebody reads on who has gone"

    def lives(self) -> list[tuple[str, str, str]]:
        """Return each run that was there: its id, its kind, and its last word, in their order."""
        last: dict[tuple[str, str], str] = {}
        for control in self.said:
            last[control.run, control.kind] = control.state
        return [(run, kind, state) for (run, kind), state in last.items()]


@contextmanager
def desk_with(recorded: Path, folder: Path) -> Iterator[Desk]:
    """Have a desk of a site, and ``run.mcap`` in its folder of recordings."""
    desk = Desk(folder, SITE)
    (folder / "recordings").mkdir()
    shutil.copy(recorded, folder / "recordings" / "run.mcap")
    yield desk
    desk.bus.close()


@contextmanager
def plant_running(desk: Desk) -> Iterator[Running]:
    """Let the host of a desk run a plant, and whatever is asked to follow it; in the end all must be well."""
    running = Running(desk, desk.host.begin(PLAN, SITE))
    running.until(lambda control: control.settled_tick >= 2)
    yield running
    running.stop.set()
    running.ends()
    assert running.error is None


def at_ms(path: Path, seconds: float) -> int:
    with Recording(path) as recording:
        return int(recording.start_ns // NS_PER_MS + 1000 * seconds)


def frames_of(records: list[Record]) -> dict[tuple[str, str, int], bytes]:
    found = {}
    for record in records:
        if record.topic.startswith("telemetry.") and record.value is not None:
            head, data = split(record.value)
            found[record.topic, head.key, head.tick] = data
    return found
