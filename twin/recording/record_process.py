"""The recorder as a process on a Kafka: this twin's, or anybody's."""

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from twin.bus.access import kafka_access
from twin.bus.kafka import KafkaBus
from twin.errors import TwinError, explain
from twin.process import Health, HealthDoor, stop_on_signal, watching
from twin.recording.facts import ask_for_snapshot, facts_of
from twin.recording.levels import select
from twin.recording.recorder import Recorder
from twin.recording.size import Expected, expect
from twin.recording.writer import RecordingWriter
from twin.run import Clock
from twin.settings import Settings

TURN_S = 0.2
PROGRESS_EVERY_MS = 1000


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be recorded.

    Attributes
    ----------
    path
        The file; it must not exist.
    topics
        Names or shell patterns; none: those of the level.
    full, instructor
        With every GPU; with what a trainee must never read.
    seconds
        How long [s]; ``None``: until a signal.
    """

    path: Path
    topics: tuple[str, ...] = ()
    full: bool = False
    instructor: bool = False
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a recording is.

    Attributes
    ----------
    counts, lost
        Messages in the file, and those that the bus had forgotten before they were read, by topic.
    bytes_n
        Size of the file [B].
    seconds
        How long it has been recording [s].
    snapshots_missing_n, black_box_dropped_n
        Snapshots that could not be read; messages of the black box for which there was no room.
    """

    counts: Mapping[str, int]
    lost: Mapping[str, int]
    bytes_n: int
    seconds: float
    snapshots_missing_n: int
    black_box_dropped_n: int


def run_recorder(
    settings: Settings,
    wanted: Wanted,
    *,
    name: str,
    clock: Clock,
    on_expected: Callable[[Expected], None],
    on_started: Callable[[str], None],
    on_progress: Callable[[Progress], None],
) -> Progress:
    """Record until a signal or the end of the time; SIGUSR1 writes what the black box holds.

    Parameters
    ----------
    settings
        Where things are.
    wanted
        What is recorded.
    name
        Of this process.
    clock
        The wall clock.
    on_expected
        Told how large it will be, before it begins.
    on_started
        Told where the process says how it does, once it records.
    on_progress
        Told every second how far it is.

    Raises
    ------
    TwinError
        It cannot start, or what ended it; the file is closed, or holds what was flushed.
    """
    stop, dump = threading.Event(), threading.Event()
    health = Health(name, clock.now_ms)
    with ExitStack() as stack:
        stack.enter_context(stop_on_signal(stop.set))
        stack.enter_context(_on_dump_signal(dump.set))
        door = stack.enter_context(HealthDoor(health, settings.health_host, settings.health_port))
        bus = stack.enter_context(closing(KafkaBus(kafka_access(settings), name=name)))
        selection = select(
            bus.topics(), settings.namespace, patterns=wanted.topics, full=wanted.full, instructor=wanted.instructor
        )
        on_expected(expect(bus, selection, clock.now_ms()))
        began_ms = clock.now_ms()
        writer = stack.enter_context(
            RecordingWriter(wanted.path, facts_of(bus, settings.namespace, selection, began_ms))
        )
        recorder = Recorder(bus, selection, writer, clock, snapshot_dir=settings.data_dir / "snapshots")

        def progress() -> Progress:
            return Progress(
                dict(writer.counts),
                dict(recorder.lost_n),
                writer.bytes_written,
                (clock.now_ms() - began_ms) / 1000,
                recorder.snapshots_missing_n,
                recorder.black_box.dropped_n,
            )

        if wanted.instructor:
            ask_for_snapshot(bus, settings.namespace, began_ms)
        health.fact("file", lambda: str(wanted.path))
        health.fact("bytes", lambda: writer.bytes_written)
        health.fact("messages", writer.counts.total)
        health.fact("lost_n", lambda: dict(recorder.lost_n))
        stack.enter_context(watching(health, {"kafka": bus.check}))
        health.enter("ok")
        on_started(door.url)
        try:
            reason = _record(recorder, wanted, clock, began_ms, stop, dump, lambda: on_progress(progress()))
        except TwinError as exc:
            recorder.close(explain(exc))
            raise
        health.enter("stopping")
        recorder.close(reason)
        return progress()


def _record(
    recorder: Recorder,
    wanted: Wanted,
    clock: Clock,
    began_ms: int,
    stop: threading.Event,
    dump: threading.Event,
    tell: Callable[[], None],
) -> str:
    """Record; return why it ends."""
    told_ms = began_ms
    while not stop.is_set():
        now_ms = clock.now_ms()
        if wanted.seconds is not None and now_ms - began_ms >= 1000 * wanted.seconds:
            return f"its {wanted.seconds:g} s are over"
        if dump.is_set():
            dump.clear()
            recorder.write_black_box()
        recorder.turn(TURN_S)
        if now_ms - told_ms >= PROGRESS_EVERY_MS:
            told_ms = now_ms
            tell()
    return "stopped by a signal"


@contextmanager
def _on_dump_signal(dump: Callable[[], object]) -> Iterator[None]:
    def told(_number: int, _frame: FrameType | None) -> None:
        dump()

    before = signal.signal(signal.SIGUSR1, told)
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)
