"""What verbs share: flags, the plan of a run, and how a process greets."""

import os
import re
import socket
import sys
import threading
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twin.errors import SettingInvalid

if TYPE_CHECKING:
    from producers.comparison import Comparison
    from twin.run import Clock, RunPlan
    from twin.site import Site
    from twin.stack import Entrance

_PAST = re.compile(r"^-(\d+(?:\.\d+)?)([smhd])$")
UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

SiteOption = Annotated[str, typer.Option("--site", help="A site of `colossus site list`, or a path to a site file.")]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="As-built values and chance follow from it.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
SpeedOption = Annotated[
    float | None, typer.Option(help="Simulated seconds per second; 0: as fast as possible. Default 1, with --from 60.")
]
FromOption = Annotated[str | None, typer.Option("--from", help="Begin in the past (-6h) and catch up.")]
WeatherOption = Annotated[str, typer.Option(help="Begin in the typical year, MM-DDTHH:MM.")]
OperatorOption = Annotated[bool, typer.Option(help="Let the automatic operator run the plant.")]
PortOption = Annotated[int | None, typer.Option(help="Of the console.")]
NameOption = Annotated[str | None, typer.Option(help="Of this process; two of a namespace must differ.")]
WEATHER_AT = "07-15T14:00"


def past_ms(text: str | None, now_ms: int) -> int | None:
    """Read ``-6h`` as a time of day [ms].

    Raises
    ------
    SettingInvalid
        It is no such text.

    Examples
    --------
    >>> past_ms("-6h", 100_000_000)
    78400000
    """
    if text is None:
        return None
    match = _PAST.fullmatch(text)
    if match is None:
        raise SettingInvalid(f"--from {text!r} is not allowed: write how long ago, such as -90s, -30m, -6h or -2d")
    return int(now_ms - 1000 * float(match[1]) * UNIT_S[match[2]])


def plan_of_flags(
    site: "Site",
    clock: "Clock",
    *,
    seed: int,
    speed: float | None,
    start: str | None,
    weather_at: str,
    operator: bool,
) -> "RunPlan":
    """Return the plan of a run as flags ask for it."""
    from twin.run import FILL_SPEED, RunPlan

    return RunPlan(
        site=site.id,
        site_crc=site.crc,
        seed=seed,
        dt_s=1.0,
        weather_at=weather_at,
        speed=speed if speed is not None else (1.0 if start is None else FILL_SPEED),
        start_ms=past_ms(start, clock.now_ms()),
        automatic_operator=operator,
    )


def greet(entrance: "Entrance", *, browser: bool) -> None:
    """Print how to get in, and open the browser."""
    for role, token in entrance.tokens.items():
        typer.echo(f"{role:<10} {entrance.url}/enter?token={token}")
    typer.echo("stop with Ctrl-C")
    sys.stdout.flush()
    if browser:
        # In a thread of its own: it may take its time, and the twin runs in this one.
        address = f"{entrance.url}/enter?token={entrance.one_time_token}"
        threading.Thread(target=webbrowser.open, args=(address,), name="browser", daemon=True).start()


def process_name(kind: str) -> str:
    """Return a name that no other process has."""
    return f"{kind}-{socket.gethostname()}-{os.getpid()}"


def instant_ms(player: dict[str, Any], text: str) -> int:
    """Read an instant of what a player plays [ms].

    Raises
    ------
    RecordingError
        It is no such text, or lies outside.
    """
    from twin.recording.instants import instant_ns

    return instant_ns(text, player["from_ms"] * 1_000_000, player["to_ms"] * 1_000_000) // 1_000_000


def print_comparison(comparison: "Comparison", path: Path) -> None:
    """Print what was made of a takeover."""
    for line in comparison.lines():
        typer.echo(line)
    typer.echo(f"kept in {path}" if path.is_file() else f"it could not be kept in {path}")
