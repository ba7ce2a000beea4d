"""``colossus record``: topics of a Kafka into a file."""

import re
import signal
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from twin.cli.options import UNIT_S, process_name
from twin.errors import RecordingError, SettingInvalid
from twin.process import stop_on_signal
from twin.settings import load_settings

if TYPE_CHECKING:
    from twin.recording.record_process import Progress
    from twin.recording.size import Expected

_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_GB, _MB = 1e9, 1e6
LOOK_EVERY_S = 0.5


def record(
    topics: Annotated[
        list[str] | None,
        typer.Option("--topics", help="Name or shell pattern of topics, of the twin or any other; can be repeated."),
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Every GPU all the time, not only around alarms.")] = False,
    instructor: Annotated[bool, typer.Option("--instructor", help="With what a trainee must never read.")] = False,
    lasts: Annotated[str | None, typer.Option("--for", help="How long: 90s, 30m, 6h. Default: until Ctrl-C.")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="The file (.mcap).")] = None,
) -> None:
    """Record a run, or any topics, from Kafka; SIGUSR1 writes what the black box holds of the GPUs.

    Without COLOSSUS_KAFKA the run of a demo is recorded, by its console, into the console's folder.
    """
    from twin.recording.record_process import Wanted, run_recorder
    from twin.run import SystemClock, utc_text

    settings, clock = load_settings(), SystemClock()
    if topics and full:
        raise SettingInvalid("--topics and --full exclude each other: --topics 'telemetry.*' names the GPUs, too")
    if settings.kafka is None:
        _record_there(output, topics or [], full=full, instructor=instructor, lasts=lasts)
        return
    path = output or settings.data_dir / "recordings" / f"{utc_text(clock.now_ms())}.mcap"
    wanted = Wanted(path, tuple(topics or ()), full, instructor, None if lasts is None else duration_s(lasts))
    watched = sys.stderr.isatty()

    def started(health_url: str) -> None:
        typer.echo(f"records into {path}; stop with Ctrl-C; {health_url}")

    def moved(progress: "Progress") -> None:
        if watched:
            typer.echo(f"\r{_summary(progress)}\x1b[K", err=True, nl=False)

    done = run_recorder(
        settings,
        wanted,
        name=process_name("recorder"),
        clock=clock,
        on_expected=_tell_size,
        on_started=started,
        on_progress=moved,
    )
    if watched:
        typer.echo("", err=True)
    for topic, count in sorted(done.counts.items()):
        typer.echo(f"{topic:<28}{count:>12,}" + (f"{done.lost[topic]:>12,} lost" if topic in done.lost else ""))
    typer.echo(f"{path}: {_summary(done)}")


def _record_there(output: Path | None, topics: list[str], *, full: bool, instructor: bool, lasts: str | None) -> None:
    """Let the console of a demo record; it stops when this verb does."""
    from twin.console.client import ConsoleClient
    from twin.recording.size import Expected

    if output is not None and output.name != str(output):
        raise SettingInvalid(f"-o {output}: a demo records into its own folder: give a name without a path")
    client = ConsoleClient(load_settings())
    seconds = None if lasts is None else duration_s(lasts)
    level = {"topics": topics, "full": full, "instructor": instructor}
    stop, dump = threading.Event(), threading.Event()
    with stop_on_signal(stop.set), ExitStack() as restore:
        restore.callback(signal.signal, signal.SIGUSR1, signal.signal(signal.SIGUSR1, lambda *_: dump.set()))
        _tell_size(Expected(**client.expected_size(**level)))
        begun = client.record(name=None if output is None else output.name, seconds=seconds, **level)
        typer.echo(f"records into {begun['path']}; stop with Ctrl-C")
        ends = False
        while not ends:
            ends = stop.wait(LOOK_EVERY_S)
            if client.recording()["state"] != "recording":
                break
            if dump.is_set():
                dump.clear()
                client.write_black_box()
            if ends:
                client.stop_recording()
    told = client.recording()
    typer.echo(f"{told['path']}: {told['messages']:,} messages, {told['lost']:,} lost, {told['bytes'] / _MB:,.1f} MB")
    if told["problem"]:
        raise RecordingError(told["problem"])


def duration_s(text: str) -> float:
    """Read ``30m`` as seconds.

    Raises
    ------
    SettingInvalid
        It is no such text.

    Examples
    --------
    >>> duration_s("30m"), duration_s("1.5h")
    (1800.0, 5400.0)
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise SettingInvalid(f"--for {text!r} is not allowed: write how long, such as 90s, 30m, 6h or 2d")
    return float(match[1]) * UNIT_S[match[2]]


def _tell_size(expected: "Expected") -> None:
    if expected.bytes_per_h is None:
        typer.echo(f"expected size: unknown ({expected.how})")
        return
    box = f", and {expected.black_box_bytes / _MB:.0f} MB around an alarm" if expected.black_box_bytes else ""
    typer.echo(f"expected size: {expected.bytes_per_h / _GB:.2f} GB per hour{box} ({expected.how})")


def _summary(progress: "Progress") -> str:
    told = (
        f"{sum(progress.counts.values()):,} messages, {sum(progress.lost.values()):,} lost, "
        f"{progress.bytes_n / _MB:,.1f} MB in {progress.seconds:.0f} s"
    )
    if progress.snapshots_missing_n:
        told += f"; {progress.snapshots_missing_n} snapshots could not be read"
    if progress.black_box_dropped_n:
        told += f"; {progress.black_box_dropped_n:,} messages found no room in the black box"
    return told
