"""``colossus bench …``: print figures."""

from typing import Annotated

import typer

from twin.cli.options import JsonOption, SeedOption, SiteOption
from twin.settings import load_settings

bench_app = typer.Typer(no_args_is_help=True, help="Benchmarks: print figures.")


@bench_app.command("plant")
def bench_plant(
    site: SiteOption = "colossus1",
    hours: Annotated[float, typer.Option(min=0.001, help="Simulated hours.")] = 1.0,
    seed: SeedOption = 7,
    restore: Annotated[bool, typer.Option(help="Snapshot and restore in the middle.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Run the plant alone: speed, memory, and the hash of its state at the end."""
    from benchmarks.plant import run_plant
    from benchmarks.printing import show

    show(run_plant(site, hours=hours, seed=seed, restore_midway=restore), as_json=as_json)


@bench_app.command("stream")
def bench_stream(
    site: SiteOption = "colossus1",
    seconds: Annotated[int, typer.Option(min=5, help="How long.")] = 60,
    embedded: Annotated[bool, typer.Option("--embedded", help="All in one process, over the memory bus.")] = False,
    rows: Annotated[int, typer.Option(min=1, help="How many workers of the app rows, each a process.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Run plant, bus, apps, history and console: what is sent and stored, how late, CPU and memory.

    On the Kafka and InfluxDB of the settings, every process apart.
    """
    from benchmarks.printing import show

    if embedded:
        from benchmarks.stream import run_embedded

        show(run_embedded(site, seconds=seconds), as_json=as_json)
    else:
        from benchmarks.stack import run_stack

        show(run_stack(load_settings(), site, seconds=seconds, rows=rows), as_json=as_json)


@bench_app.command("trip")
def bench_trip(site: SiteOption = "mini", seed: SeedOption = 7) -> None:
    """Trip all chillers of hall 2 on a hot afternoon: a timeline, the cure, a rejected command."""
    from benchmarks.trip import run_trip

    for line in run_trip(site, seed=seed):
        typer.echo(line)


@bench_app.command("replay")
def bench_replay(
    site: SiteOption = "colossus1",
    seconds: Annotated[int, typer.Option(min=10, help="How long it is recorded, at each level, and played.")] = 60,
    minutes: Annotated[int, typer.Option(min=1, help="Of the recording in which seeks are made.")] = 60,
    as_json: JsonOption = False,
) -> None:
    """Record a live run on the Kafka of the settings, and play it: speed, timing, seeks, CPU, memory, bytes."""
    from benchmarks.printing import show
    from benchmarks.replay import run_replay

    show(run_replay(load_settings(), site, seconds=seconds, minutes=minutes), as_json=as_json)
