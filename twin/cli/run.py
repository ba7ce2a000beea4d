"""Verbs that act on a running twin, through its console: ``command``, ``inject``, ``run …``."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from twin.settings import load_settings

if TYPE_CHECKING:
    from twin.console.client import ConsoleClient

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
    """End the run."""
    _client().request("end")
