"""A namespace of its own on the real servers: processes, what they are asked, and what the topics say of it all."""

import os
import secrets
import signal
import subprocess
import sys
import threading
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import orjson

from benchmarks.fleet import Fleet, Member
from tests.stack.servers.influx import Influx
from tests.stack.servers.kafka import Kafka
from twin.bus.access import KafkaAccess
from twin.bus.base import Record
from twin.bus.kafka import KafkaBus
from twin.events.control import RunControl, RunRequest
from twin.events.head import Head, encode_model, split
from twin.events.topics import BY_NAME, TOPICS, full_name
from twin.run import SystemClock
from twin.site import load_site
from twin.store.influx import InfluxStore, open_influx
from twin.store.influx_setup import init

LOOK_EVERY_S = 0.2
FOREIGN = b"foreign"  # key of what tests put between the messages of the twin
Tick = tuple[str, int, int]  # run, epoch, tick
STOP_S = 60.0


class Verb:
    """A command line ``colossus …``, as a user starts it; it ends by itself, or is ended."""

    def __init__(self, words: tuple[str, ...], environment: dict[str, str], log: Path) -> None:
        self._log = log
        self._last_line = ""
        with log.open("wb") as errors:
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", "twin", *words],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=os.environ | {"COLOSSUS_HEALTH_PORT": "0"} | environment,
                start_new_session=True,
            )

    def read_line(self) -> str:
        """Return the next line that it printed."""
        assert self._process.stdout is not None
        self._last_line = self._process.stdout.readline()
        assert self._last_line, self.log()
        return self._last_line

    def health(self) -> dict[str, object]:
        """Ask how it does; the last line that was read ends with its address."""
        with urllib.request.urlopen(self._last_line.split()[-1], timeout=5) as answer:  # noqa: S310
            told: dict[str, object] = orjson.loads(answer.read())
        return told

    def runs(self) -> bool:
        return self._process.poll() is None

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def end(self, number: signal.Signals = signal.SIGINT) -> tuple[int, str]:
        """End it; return its exit code, and what it printed that nobody has read."""
        self._process.send_signal(number)
        return self.wait()

    def wait(self, seconds: float = STOP_S) -> tuple[int, str]:
        """Wait for its own end; return the same."""
        try:
            said, _ = self._process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
            raise
        return self._process.returncode, said


class Theatre:
    """One namespace."""

    def __init__(self, kafka: Kafka, influx: Influx, folder: Path, site: str = "mini") -> None:
        self.kafka, self.influx, self.folder = kafka, influx, folder
        self.site = load_site(site)
        self.namespace = f"t{secrets.token_hex(4)}"
        self.bus = KafkaBus(KafkaAccess(kafka.address), name="test")
        self.bus.create_topics(TOPICS, self.namespace)
        self.tokens = init(influx.url, influx.org, influx.admin_token, self.namespace)
        self.store: InfluxStore = open_influx(influx.url, influx.org, self.tokens.writer, self.namespace)
        self.environment = {
            "COLOSSUS_NAMESPACE": self.namespace,
            "COLOSSUS_KAFKA": kafka.address,
            "COLOSSUS_INFLUX_URL": influx.url,
            "COLOSSUS_INFLUX_ORG": influx.org,
            "COLOSSUS_INFLUX_TOKEN": self.tokens.writer,
            "COLOSSUS_DATA_DIR": str(folder / "data"),
        }
        self.fleet = Fleet(self.environment, folder)
        self._follower = self.bus.follow(self.name("run.control"))
        self.controls: list[RunControl] = []
        self._verbs: list[Verb] = []

    def name(self, topic: str) -> str:
        return full_name(topic, self.namespace)

    def start(self, kind: str, name: str, *arguments: str) -> Member:
        return self.fleet.start(kind, name, "--site", self.site.id, *arguments)

    def begin(self, *workers: tuple[str, str]) -> None:
        """Start several processes at once, and wait until all of them work."""
        members = [self.fleet.begin(kind, name, "--site", self.site.id) for kind, name in workers]
        for member in members:
            member.wait_started()

    def verb(self, *words: str, **environment: str) -> Verb:
        """Start a command line that is none of the processes which must go on."""
        log = self.folder / f"{words[0]}-{len(self._verbs)}.log"
        self._verbs.append(Verb(words, self.environment | environment, log))
        return self._verbs[-1]

    def until(self, so: Callable[[], bool], seconds: float, what: str) -> None:
        """Wait for something; every process that is not ended on purpose must go on."""
        wait = threading.Event()
        for _ in range(round(seconds / LOOK_EVERY_S)):
            self.listen()
            if so():
                return
            ended = [name for name, member in self.fleet.members.items() if not member.runs()]
            assert not ended, f"{ended} ended: {self.log(ended[0])}"
            wait.wait(LOOK_EVERY_S)
        raise AssertionError(f"{what}: not within {seconds:g} s")

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")[-3000:]

    # -- the run

    @staticmethod
    def now_ms() -> int:
        return SystemClock().now_ms()

    def listen(self) -> None:
        for record in self._follower.poll(0.0):
            if record.key == FOREIGN:
                continue
            self.controls.append(RunControl.model_validate_json(split(record.value)[1]))

    @property
    def control(self) -> RunControl:
        return self.controls[-1]

    def run_ticks(self, n: int, seconds: float = 120.0) -> None:
        """Let the run do so many ticks more."""
        self.listen()
        goal = self.control.settled_tick + n
        self.until(lambda: self.control.settled_tick >= goal, seconds, f"tick {goal} of {self.control.run}")

    def ask(self, verb: str, **params: object) -> RunControl:
        """Ask the owner of the run for something, and return its answer."""
        self.listen()
        control = self.control
        request = RunRequest(id=secrets.token_hex(8), verb=verb, by="test", params=params)  # type: ignore[arg-type]
        self.send("run.requests", control.run, request)
        self.until(lambda: any(c.answers == request.id for c in self.controls), 30.0, f"the answer to {verb}")
        return next(c for c in self.controls if c.answers == request.id)

    def send(self, topic: str, key: str, data: object) -> None:
        control = self.control
        head = Head(
            schema_id=BY_NAME[topic].schema_id,
            run=control.run,
            epoch=control.epoch,
            tick=max(control.settled_tick, 0),
            seq=0,
            ts=self.now_ms(),
            dt_s=1.0,
            key=key,
        )
        self.bus.publish(self.name(topic), encode_model(head, data), key=key.encode())  # type: ignore[arg-type]
        self.bus.flush()

    # -- what the topics hold

    def records(self, topic: str) -> Iterator[Record]:
        """Read a topic from its beginning to its end of now."""
        reader = self.bus.read([self.name(topic)], start="beginning")
        while not reader.caught_up():
            yield from reader.poll(0.2, limit=500)
        reader.close()

    def sent(self) -> tuple[dict[Tick, list[float]], dict[str, int]]:
        """Add the frames up as they were sent: power of each hall by tick; rows of racks by run."""
        layout = self.site.layout
        racks = np.diff(layout.array_first_rack)
        power_w: dict[Tick, list[float]] = defaultdict(lambda: [0.0] * layout.hall_count)
        rows: dict[str, int] = defaultdict(int)
        for record in self.records("telemetry.gpu"):
            if record.key == FOREIGN:
                continue
            head, data = split(record.value)
            array = layout.array_index(head.key)
            power_w[head.run, head.epoch, head.tick][int(layout.array_hall[array])] += sum(
                orjson.loads(data)["server"]["power_w"]
            )
            rows[head.run] += int(racks[array])
        return dict(power_w), dict(rows)

    def sent_of(self, run: str) -> tuple[dict[Tick, list[float]], int]:
        """Return the same of one run."""
        power_w, rows = self.sent()
        return {tick: halls for tick, halls in power_w.items() if tick[0] == run}, rows.get(run, 0)

    def ticks_sent(self, run: str) -> dict[int, list[int]]:
        """Return the ticks of a run that were sent, by epoch, in their order."""
        ticks: dict[int, list[int]] = defaultdict(list)
        for record in self.records("telemetry.grid"):
            head, _ = split(record.value)
            if head.run == run:
                ticks[head.epoch].append(head.tick)
        return ticks

    def last_tick_sent(self, run: str) -> int:
        ticks = self.ticks_sent(run)
        return ticks[max(ticks)][-1]

    def pictures(self, *fields: str) -> dict[Tick, tuple[list[float], ...]]:
        """Return what the last ``twin.site`` of each tick says of the halls."""
        last = {}
        for record in self.records("twin.site"):
            if record.key == FOREIGN:
                continue
            head, data = split(record.value)
            hall = orjson.loads(data)["hall"]
            last[head.run, head.epoch, head.tick] = tuple(hall[field] for field in fields)
        return last

    def wait_settled(self, seconds: float) -> None:
        """Wait until all that was sent has been dealt with by every app."""
        reads = (
            ("rows", "telemetry.gpu"),
            ("site", "twin.rack"),
            *(("history", topic) for topic in ("twin.rack", "twin.site", "twin.health")),
        )
        if self.control.state == "ended":  # of a run that goes on there is always one more
            reads += (("history", "run.control"),)
        lags: dict[tuple[str, str], int | None] = {}

        def settled() -> bool:
            lags.update((read, self.bus.lag(self.name(read[0]), self.name(read[1]))) for read in reads)
            return set(lags.values()) == {0}

        try:
            self.until(settled, seconds, "all is read")
        except AssertionError as exc:
            raise AssertionError(f"{exc}; still unread: {lags}") from exc

    def end_verbs(self) -> None:
        """End the command lines that still run."""
        for verb in self._verbs:
            if verb.runs():
                verb.end()

    def close(self) -> None:
        self.end_verbs()
        self.fleet.end_all()
        self.store.close()
        # A broker that is started again loads every partition that there is.
        self.bus.delete_topics(TOPICS, self.namespace)
        self.bus.close()
