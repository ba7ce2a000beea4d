"""``colossus demo`` and ``colossus schemas``: verbs that need nothing that runs."""

import asyncio
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from twin.cli.options import (
    WEATHER_AT,
    FromOption,
    OperatorOption,
    PortOption,
    SeedOption,
    SiteOption,
    SpeedOption,
    WeatherOption,
    greet,
    plan_of_flags,
    print_comparison,
)
from twin.settings import load_settings

if TYPE_CHECKING:
    from twin.stack import Entrance


def demo(
    site: SiteOption = "colossus1",
    seed: SeedOption = 7,
    speed: SpeedOption = None,
    start: FromOption = None,
    weather_at: WeatherOption = WEATHER_AT,
    port: PortOption = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder of history and snapshots.")] = None,
    operator: OperatorOption = True,
    browser: Annotated[bool, typer.Option(help="Open the browser.")] = True,
) -> None:
    """Run the whole twin in this process and show it."""
    from twin.console.client import open_door
    from twin.embedded import Embedded
    from twin.run import SystemClock
    from twin.site import load_site

    settings = load_settings(console_port=port, data_dir=data_dir)
    found, clock = load_site(site), SystemClock()
    plan = plan_of_flags(found, clock, seed=seed, speed=speed, start=start, weather_at=weather_at, operator=operator)
    twin = Embedded(settings, found, plan, on_comparison=print_comparison, clock=clock)
    with contextlib.ExitStack() as doors:

        def started(entrance: "Entrance") -> None:
            doors.enter_context(open_door(settings, entrance.url, entrance.tokens["instructor"]))
            greet(entrance, browser=browser)

        asyncio.run(twin.run(started))


def schemas(
    folder: Annotated[Path, typer.Option(help="Where to write.")] = Path("twin/events/schemas"),
) -> None:
    """Write the JSON Schema of every topic."""
    from twin.events.schemas import write_schemas

    for path in write_schemas(folder):
        typer.echo(path)
