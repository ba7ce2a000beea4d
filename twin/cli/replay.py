"""``colossus replay``: play a recording onto a Kafka, with keys and a bar while it plays."""

import shutil
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from twin.cli.keys import Keys
from twin.cli.options import instant_ms, print_comparison, process_name
from twin.errors import RecordingError, SettingInvalid, TwinError
from twin.settings import load_settings

if TYPE_CHECKING:
    from producers.host import Source
    from producers.takeover import Takeover
    from twin.console.client import ConsoleClient
    from twin.events.control import PlayerState
    from twin.recording.choice import Choice
    from twin.recording.player import Player
    from twin.recording.reader import Recording
    from twin.recording.span import Range

SPEEDS = (0.01, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 60.0, 100.0, 300.0, 1000.0, 0.0)
BAR_CHARACTERS = 30
SHOW_EVERY_S = 0.5
KEYS = "space pause/play   . step 1 s   m step 1 message   arrows 10 s (shift 60 s)   [ ] \\ speed   a b x loop   q end"
NS = 1_000_000_000

TopicsOption = Annotated[list[str] | None, typer.Option("--topics", help="Only these; shell patterns.")]
InstructorOption = Annotated[bool, typer.Option("--instructor", help="With what a trainee must never read.")]


def replay(
    file: Annotated[Path, typer.Argument(help="An MCAP file.")],
    speed: Annotated[float, typer.Option(min=0.0, help="0: as fast as possible; 0.01 to 10000.")] = 1.0,
    start: Annotated[str | None, typer.Option("--from", help="Instant: +90s, -1m, 12:34:56, or a date.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="The same.")] = None,
    loop: Annotated[tuple[str, str] | None, typer.Option(help="From B back to A, until it is ended.")] = None,
    shift: Annotated[str, typer.Option(help="now, or original: all times as they were, with --into.")] = "now",
    topics: TopicsOption = None,
    keys: Annotated[list[str] | None, typer.Option("--keys", help="Only messages of these keys; patterns.")] = None,
    instructor: InstructorOption = False,
    into: Annotated[str | None, typer.Option(help="Another namespace than COLOSSUS_NAMESPACE.")] = None,
    paused: Annotated[bool, typer.Option("--paused", help="Begin standing.")] = False,
    stay: Annotated[bool, typer.Option("--stay", help="Wait at the end for what people ask.")] = False,
    end_run: Annotated[bool, typer.Option("--end-run", help="Of a demo: end the run that is active there.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be played, and play nothing.")] = False,
) -> None:
    """Play a recording as a run: its telemetry goes onto the Kafka of COLOSSUS_KAFKA, and the twin follows.

    Without COLOSSUS_KAFKA it is played by a running demo, from the demo's folder of recordings, and so is a dry run.
    """
    from producers.host import Wish
    from producers.replay_process import run_replay
    from twin.recording.choice import Choice
    from twin.recording.reader import Recording
    from twin.run import SystemClock

    if shift not in ("now", "original"):
        raise SettingInvalid(f"--shift {shift!r} is not allowed: now or original")
    if shift == "original" and into is None:
        raise SettingInvalid(
            "--shift original puts old times among those of now: name a namespace to throw away (--into scratch)"
        )
    settings = load_settings(namespace=into)
    if settings.kafka is None and not dry_run:
        given = {"--from": start, "--to": end, "--loop": loop, "--topics": topics, "--keys": keys, "--into": into}
        _play_there(file, [name for name, value in given.items() if value], speed=speed, paused=paused, end_run=end_run)
        return
    choice = Choice(tuple(topics or ()), tuple(keys or ()), instructor)
    with Recording(_in_its_folder(file) if settings.kafka is None else file) as recording:
        span = _span(recording, start, end, loop)
        if dry_run:
            for line in rehearsal(recording, choice, span, speed):
                typer.echo(line)
            return
    wish = Wish(
        file, choice, span, speed, original_time=shift == "original", paused=paused, stays=stay or loop is not None
    )

    def started(run: str, health_url: str) -> None:
        what = f"run {run}" if run else "foreign topics"
        typer.echo(f"{what}: {file.name}, {span.length_s:.1f} s; {health_url}")

    unsent: list[str] = []
    with Keys() as pressed:
        bar = Bar(pressed, time.monotonic)
        lost = run_replay(
            settings, wish, name=process_name("player"), clock=SystemClock(), now_s=time.monotonic,
            on_started=started, watcher=bar, on_unsent=unsent.append,
        )  # fmt: skip
        bar.clear()
    for line in [*bar.last_words(lost), *unsent]:
        typer.echo(line)
    if lost or unsent:
        raise typer.Exit(1)


def _play_there(file: Path, flags: list[str], *, speed: float, paused: bool, end_run: bool) -> None:
    """Let a demo play a recording of its folder."""
    if flags:
        raise SettingInvalid(f"{', '.join(flags)}: not in a demo; steer its player (colossus player), or use a Kafka")
    _need_name(file)
    client = _client()
    player = client.play(file.name, speed=speed, paused=paused, end_active=end_run)
    typer.echo(f"the demo plays {player['recording']}: {player['phase']}; steer it with colossus player")


def _take_over_there(file: Path, at: str, lead_s: float) -> None:
    """Let a demo take over the recording that it plays."""
    _need_name(file)
    client = _client()
    player = client.player()
    if player["recording"] != file.name:
        raise SettingInvalid(f"the demo plays {player['recording']}: let it play {file.name} (colossus replay)")
    run = client.take_over(instant_ms(player, at), lead_s=lead_s)
    if run["takeover"] is not None:  # else another process has done it, and tells of it there
        typer.echo(run["takeover"])
    typer.echo("you have the plant: colossus command ...; `colossus run end` compares what became of it")


def _need_name(file: Path) -> None:
    if file.name != str(file):
        raise SettingInvalid(
            f"{file}: a demo plays what lies in its own folder of recordings: give a name without a path"
        )


def _in_its_folder(file: Path) -> Path:
    """Return where a demo finds a recording.

    Raises
    ------
    SettingInvalid
        It is not there.
    """
    _need_name(file)
    folder = load_settings().data_dir / "recordings"
    if not (folder / file).is_file():
        raise SettingInvalid(
            f"there is no recording {file} in {folder}: put it there, or name another data folder (COLOSSUS_DATA_DIR)"
        )
    return folder / file


def _client() -> "ConsoleClient":
    from twin.console.client import ConsoleClient

    return ConsoleClient(load_settings())


def takeover(
    file: Annotated[Path, typer.Argument(help="A recording that was made with --instructor.")],
    at: Annotated[str, typer.Option("--at", help="Instant where it turns live: +90s, -1m, 12:34:56, or a date.")],
    lead: Annotated[float, typer.Option(min=0.0, help="Show so many seconds before it first.")] = 60.0,
) -> None:
    """Take a recorded run over: its plant is rebuilt at that instant, and goes on live, under your commands.

    Without COLOSSUS_KAFKA a running demo does it, with a recording of its folder that it plays.
    """
    from producers.host import Wish
    from producers.replay_process import run_replay
    from twin.recording.choice import Choice
    from twin.recording.reader import Recording
    from twin.recording.span import Range
    from twin.run import SystemClock

    if load_settings().kafka is None:
        _take_over_there(file, at, lead)
        return
    with Recording(file) as recording:
        at_ns = _span(recording, at, None, None).start_ns
        span = Range(max(recording.start_ns, at_ns - round(lead * NS)), at_ns)
    wish = Wish(file, Choice(instructor=True), span, speed=0.0, stays=True)

    def taken_over(made: "Takeover") -> None:
        typer.echo(made.text())
        typer.echo(f"you have the plant of run {made.run} since tick {made.rebuilt.moment.tick}; end it with Ctrl-C")

    unsent: list[str] = []
    with Keys() as pressed:
        bar = Bar(pressed, time.monotonic)
        lost = run_replay(
            load_settings(), wish, name=process_name("player"), clock=SystemClock(), now_s=time.monotonic,
            on_started=lambda run, url: typer.echo(f"run {run}: {file.name} up to {at}; {url}"), watcher=bar,
            takeover=taken_over, on_comparison=print_comparison, on_unsent=unsent.append,
        )  # fmt: skip
        bar.clear()
    for line in ([f"{sum(lost.values())} messages were lost"] if lost else []) + unsent:
        typer.echo(line)
    if lost or unsent:
        raise typer.Exit(1)


def _span(recording: "Recording", start: str | None, end: str | None, loop: tuple[str, str] | None) -> "Range":
    from twin.recording.instants import instant_ns
    from twin.recording.span import Range

    if not recording.counts:
        raise RecordingError(f"{recording.path} holds no messages")

    def instant(text: str) -> int:
        return instant_ns(text, recording.start_ns, recording.end_ns)

    first = recording.start_ns if start is None else instant(start)
    last = recording.end_ns if end is None else instant(end)
    if last < first:
        raise RecordingError(f"--to {end} lies before --from {start}")
    return Range(first, last, None if loop is None else (instant(loop[0]), instant(loop[1])))


def rehearsal(recording: "Recording", choice: "Choice", span: "Range", speed: float) -> list[str]:
    """Say what would be played: messages and bytes by topic, and how long it takes."""
    from twin.recording.replay import rehearse

    topics = choice.topics_of(recording)
    counts, sizes = rehearse(recording, choice, span)
    lines = [f"{'topic':<26}{'messages':>10}{'MB':>10}"]
    lines += [f"{topic:<26}{counts[topic]:>10}{sizes[topic] / 1e6:>10.2f}" for topic in sorted(topics)]
    left_out = sorted(set(recording.counts) - topics)
    if left_out:
        lines.append(f"left out: {', '.join(left_out)}")
    how_long = f"{span.length_s / speed:.1f} s at speed {speed:g}" if speed > 0 else "as fast as possible"
    return [*lines, f"{span.length_s:.1f} s of the recording, {how_long}; nothing was played"]


class Bar:
    """Shows where the player stands, and obeys keys.

    Parameters
    ----------
    keys
        What is pressed.
    now_s
        A clock that never goes back [s].
    """

    def __init__(self, keys: Keys, now_s: Callable[[], float]) -> None:
        self._keys = keys
        self._now_s = now_s
        self._began_s = now_s()
        self._last: PlayerState | None = None
        self._shown_s = -SHOW_EVERY_S
        self._a_ns: int | None = None
        self._said = KEYS  # and not shown yet

    def look(self, source: "Source") -> None:
        """Obey what was pressed, and draw the bar now and then."""
        player = getattr(source, "player", None)
        if player is not None:
            self._look(player)

    def ended(self, source: "Source") -> None:
        """Remember where the player stood."""
        player = getattr(source, "player", None)
        if player is not None:
            self._last = player.state()

    def last_words(self, lost: dict[str, int]) -> list[str]:
        """Say what was played, and what was not."""
        state = self._last
        if state is None:
            return []
        played_s, length_s = (state.clock_ms - state.from_ms) / 1000, (state.to_ms - state.from_ms) / 1000
        duration_s = self._now_s() - self._began_s
        lines = [
            f"sent {state.sent_n} messages, {sum(lost.values())} lost, in {duration_s:.1f} s",
            f"speed {_speed(state.speed)}, late p99 {state.timing_p99_ms:g} ms, clock slowed by {state.slowed_s:g} s",
        ]
        if state.note:
            lines.append(state.note)
        if state.phase != "ended":
            lines.append(f"ended at +{played_s:.1f} s of {length_s:.1f} s: the rest was not played")
        return lines

    def _look(self, player: "Player") -> None:
        for key in self._keys.pressed():
            try:
                self._said = self._obey(player, key)
            except TwinError as exc:
                self._said = str(exc)
            if not self._said:
                player.moved_by = "keyboard"
            self._shown_s = -SHOW_EVERY_S
        now_s = self._now_s()
        if sys.stderr.isatty() and now_s - self._shown_s >= SHOW_EVERY_S:
            self._shown_s = now_s
            # What is said stands above; the bar must fit into its line, else it could not be drawn over.
            said = f"{self._said}\n" if self._said else ""
            sys.stderr.write(f"\r\x1b[K{said}{bar_text(player)[: shutil.get_terminal_size().columns - 1]}")
            sys.stderr.flush()
            self._said = ""

    def clear(self) -> None:
        """Take the bar away."""
        if sys.stderr.isatty():
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def _obey(self, player: "Player", key: str) -> str:
        state = player.state()
        at_ns = state.clock_ms * 1_000_000
        speed_at = min(range(len(SPEEDS)), key=lambda n: abs((SPEEDS[n] or 1e9) - (state.speed or 1e9)))
        if key == " ":
            player.pause() if state.phase in ("playing", "seeking") else player.play()
        elif key == ".":
            player.step(seconds=1)
        elif key == "m":
            player.step(messages=1)
        elif key in ("[", "]", "\\"):
            at = SPEEDS.index(1.0) if key == "\\" else speed_at + (1 if key == "]" else -1)
            player.set_speed(SPEEDS[min(max(at, 0), len(SPEEDS) - 1)])
        elif key in _JUMPS_S:
            player.seek(min(max(at_ns + _JUMPS_S[key] * NS, player.span.start_ns), player.span.end_ns))
        elif key in ("home", "end"):
            player.seek(player.span.start_ns if key == "home" else player.span.end_ns)
        elif key == "a":
            self._a_ns = at_ns
            return "A is set; b sets B"
        elif key == "b":
            if self._a_ns is None:
                return "set A first"
            player.set_loop((self._a_ns, at_ns))
        elif key == "x":
            player.set_loop(None)
        elif key == "q":
            player.end()
        else:
            return KEYS
        return ""


_JUMPS_S = {"left": -10, "right": 10, "shift-left": -60, "shift-right": 60}


def bar_text(player: "Player") -> str:
    """Draw one line: how far, the recording's clock, speed asked and reached, how late."""
    state = player.state()
    length_ms = max(1, state.to_ms - state.from_ms)
    played_ms = max(0, state.clock_ms - state.from_ms)  # it begins with a whole tick, that may be from before
    filled = round(BAR_CHARACTERS * played_ms / length_ms)
    clock = datetime.fromtimestamp(state.clock_ms / 1000, UTC).strftime("%H:%M:%S")
    parts = [
        f"[{'=' * filled}{' ' * (BAR_CHARACTERS - filled)}]",
        clock,
        f"+{played_ms / 1000:.0f}/{length_ms / 1000:.0f} s",
        state.phase,
        f"{_speed(state.speed)} reached {state.reached:g}",
    ]
    if state.slowed_s:
        parts.append(f"slowed by {state.slowed_s:.1f} s")
    if state.note:
        parts.append(state.note)
    return "  ".join(parts)


def _speed(speed: float) -> str:
    return f"x{speed:g}" if speed else "as fast as possible"
