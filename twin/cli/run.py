"""Verbs that act on a running twin, through its console: ``command``, ``inject``, ``run …``."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twin.cli.options import instant_ms
from twin.errors import SettingInvalid
from twin.settings import load_settings

if TYPE_CHECKING:
    from twin.console.client import ConsoleClient

player_app = typer.Typer(no_args_is_help=True, help="The player of a replay.")
run_app = typer.Typer(no_args_is_help=True, help="The run of a running twin.")


def _client() -> "ConsoleClient":
    from twin.console.client import ConsoleClient

    return ConsoleClient(load_settings())


def command(
    verb: Annotated[str, typer.Argument(help="Such as turbine.start.")],
    unit: Annotated[str, typer.Argument(help="Such as turbine-9.")],
    params: Annotated[list[str] | None, typer.Argument(help="name=value …")] = None,
) -> None:
    """Give the plant a command, and wait for its answer."""
    _tell(f"{verb} {unit}", _client().command(verb, unit, params or []))


def inject(
    kind: Annotated[str, typer.Argument(help="Such as chiller_trip.")],
    target: Annotated[str, typer.Argument(help="Such as cooling-2.")],
    severity: Annotated[float, typer.Option(min=0.0, max=1.0)] = 1.0,
    ramp_s: Annotated[float, typer.Option(min=0.0)] = 0.0,
    delay_s: Annotated[float, typer.Option(min=0.0)] = 0.0,
    hold_s: Annotated[float | None, typer.Option(min=0.0)] = None,
) -> None:
    """Break something (instructor)."""
    more = {"severity": severity, "ramp_s": ramp_s, "delay_s": delay_s, "hold_s": hold_s}
    _tell(f"{kind} {target}", _client().inject(kind, target, **more))


def _tell(order: str, answer: dict[str, Any]) -> None:
    """Print the plant's answer; a rejected order ends with exit code 1."""
    rejected = answer["state"] == "rejected"
    typer.echo(f"{order}: {answer['state']}{': ' + answer['reason'] if rejected else ''}")
    if rejected:
        raise typer.Exit(1)


@run_app.command("show")
def run_show() -> None:
    """Show the run: state, speed, site time."""
    for name, value in _client().run().items():
        typer.echo(f"{name:<12} {value}")


@run_app.command("pause")
def run_pause() -> None:
    """Let the run stand still."""
    _client().request("pause")


@run_app.command("resume")
def run_resume() -> None:
    """Let the run go on."""
    _client().request("resume")


@run_app.command("speed")
def run_speed(speed: Annotated[float, typer.Argument(min=0.0)]) -> None:
    """Change the speed of the run."""
    _client().set_speed(speed)


@run_app.command("seek")
def run_seek(tick: Annotated[int, typer.Argument(min=0)]) -> None:
    """Go back to a tick."""
    _client().request("seek", tick=tick)


@run_app.command("end")
def run_end() -> None:
    """End the run; of one that was taken over, print what that was worth."""
    client = _client()
    told = client.run()
    if told["takeover"] is not None:
        typer.echo("the run ends; its plant is run again to compare it with what was recorded ...", err=True)
    client.end()
    kept = load_settings().data_dir / "takeovers" / f"{told['id']}.json"
    if kept.exists():  # what was made of a takeover, where the console runs on this machine
        for line in json.loads(kept.read_text(encoding="utf-8"))["lines"]:
            typer.echo(line)
    elif told["takeover"] is not None:
        typer.echo(f"there is no comparison in {kept}: look into the data folder of the twin", err=True)


@player_app.command("show")
def player_show() -> None:
    """Show where the player stands."""
    for name, value in _client().player().items():
        typer.echo(f"{name:<16} {value}")


@player_app.command("pause")
def player_pause() -> None:
    """Let it stand, at the end of the tick."""
    _client().steer("pause")


@player_app.command("play")
def player_play() -> None:
    """Let it go on, or play again from the beginning."""
    _client().steer("play")


@player_app.command("speed")
def player_speed(speed: Annotated[float, typer.Argument(min=0.0, help="0: as fast as possible.")]) -> None:
    """Change the speed."""
    _client().steer("speed", speed=speed)


@player_app.command("seek", context_settings={"ignore_unknown_options": True})
def player_seek(to: Annotated[str, typer.Argument(help="Instant: +90s, -1m, 12:34:56, or a date.")]) -> None:
    """Go to an instant of the recording."""
    client = _client()
    client.steer("seek", ts=instant_ms(client.player(), to))


@player_app.command("step")
def player_step(
    seconds: Annotated[float | None, typer.Option(help="So many seconds; default 1.")] = None,
    messages: Annotated[int | None, typer.Option(help="So many messages instead.")] = None,
) -> None:
    """Send what comes next, while it stands."""
    if messages is not None:
        _client().steer("step", messages=messages)
    else:
        _client().steer("step", seconds=seconds or 1.0)


@player_app.command("loop", context_settings={"ignore_unknown_options": True})
def player_loop(
    a: Annotated[str | None, typer.Argument(help="Instant A.")] = None,
    b: Annotated[str | None, typer.Argument(help="Instant B.")] = None,
) -> None:
    """Let it go from B back to A over and over; without instants no longer."""
    client = _client()
    if a is None:
        client.steer("loop", on=False)
        return
    if b is None:
        raise SettingInvalid("a loop goes from A to B: name both, or none to end it")
    player = client.player()
    client.steer("loop", a=instant_ms(player, a), b=instant_ms(player, b))
