"""What the stack is made of: ``up …``, ``topics …``, ``store …``, ``site …``."""

import asyncio
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from twin.cli.options import (
    WEATHER_AT,
    FromOption,
    NameOption,
    OperatorOption,
    PortOption,
    SeedOption,
    SiteOption,
    SpeedOption,
    WeatherOption,
    greet,
    plan_of_flags,
    process_name,
)
from twin.errors import SettingInvalid, StartError
from twin.settings import load_settings

if TYPE_CHECKING:
    from twin.settings import Settings
    from twin.stack import Entrance, Process

site_app = typer.Typer(no_args_is_help=True, help="Sites: what exists.")
topics_app = typer.Typer(no_args_is_help=True, help="Topics of the bus.")
up_app = typer.Typer(no_args_is_help=True, help="One process of the stack, on a Kafka and an InfluxDB.")
store_app = typer.Typer(no_args_is_help=True, help="The history of the stack.")


@up_app.command("producers")
def up_producers(
    site: SiteOption = "colossus1",
    seed: SeedOption = 7,
    speed: SpeedOption = None,
    start: FromOption = None,
    weather_at: WeatherOption = WEATHER_AT,
    operator: OperatorOption = True,
    anew: Annotated[bool, typer.Option("--new", help="Leave a run alone whose owner died.")] = False,
    name: NameOption = None,
) -> None:
    """Run the plant: a new run, or the one that a process which died has left, from where it came to."""
    from producers.process import Begun, run_process
    from twin.run import SystemClock
    from twin.site import load_site

    settings, found, clock = load_settings(), load_site(site), SystemClock()
    plan = plan_of_flags(found, clock, seed=seed, speed=speed, start=start, weather_at=weather_at, operator=operator)

    def started(begun: Begun) -> None:
        how = "begun"
        if begun.tick >= 0:
            how = f"gone on with from tick {begun.tick}, as epoch {begun.epoch}, by its own seed, speed and weather"
        typer.echo(f"run {begun.run} {how}; {begun.health_url}")

    run_process(
        settings, found, plan, name=name or process_name("producers"), clock=clock, anew=anew, on_started=started
    )


@up_app.command("rows")
def up_rows(site: SiteOption = "colossus1", name: NameOption = None) -> None:
    """Keep the rows of arrays; start as many as you like."""
    _up_worker("rows", site, name)


@up_app.command("site")
def up_site(site: SiteOption = "colossus1", name: NameOption = None) -> None:
    """Keep the state of the site; one in a namespace."""
    _up_worker("site", site, name)


@up_app.command("history")
def up_history(site: SiteOption = "colossus1", name: NameOption = None) -> None:
    """Write the history into InfluxDB; start as many as you like."""
    _up_worker("history", site, name)


@up_app.command("console")
def up_console(site: SiteOption = "colossus1", port: PortOption = None, name: NameOption = None) -> None:
    """Serve the console."""
    from twin.console.client import open_door

    settings = load_settings(console_port=port)
    with contextlib.ExitStack() as doors:

        def started(health_url: str, entrance: "Entrance") -> None:
            doors.enter_context(open_door(settings, entrance.url, entrance.tokens["instructor"]))
            typer.echo(f"console: {health_url}")
            greet(entrance, browser=False)

        asyncio.run(_process("console", settings, site, name).run_console(started))


def _up_worker(kind: str, site: str, name: str | None) -> None:
    process = _process(kind, load_settings(), site, name)
    asyncio.run(process.run_worker(kind, lambda url: typer.echo(f"{process.name} works; {url}")))


def _process(kind: str, settings: "Settings", site: str, name: str | None) -> "Process":
    from twin.run import SystemClock
    from twin.site import load_site
    from twin.stack import Process

    return Process(settings, load_site(site), name or process_name(kind), SystemClock())


@topics_app.command("create")
def topics_create() -> None:
    """Create all topics on the Kafka of COLOSSUS_KAFKA; those that are there stay as they are."""
    from twin.bus.access import kafka_access
    from twin.bus.base import check_topics
    from twin.bus.kafka import KafkaBus
    from twin.events.topics import TOPICS

    settings = load_settings()
    with contextlib.closing(KafkaBus(kafka_access(settings), name="colossus")) as bus:
        bus.create_topics(TOPICS, settings.namespace)
        check_topics(bus, settings.namespace)
    typer.echo(f"{len(TOPICS)} topics are there")


@store_app.command("init")
def store_init(
    tokens: Annotated[Path, typer.Option(help="Folder for the tokens of the writer and the reader.")] = Path("data"),
) -> None:
    """Prepare the InfluxDB of COLOSSUS_INFLUX_URL: buckets, retention, mappings, two tokens; can be run again."""
    from twin.store.influx_setup import init

    url, org, admin_token = _influx()
    made = init(url, org, admin_token, load_settings().namespace)
    for role, token in made._asdict().items():
        file = tokens / f"influx-token-{role}"
        try:
            tokens.mkdir(parents=True, exist_ok=True)
            file.unlink(missing_ok=True)
            file.touch(mode=0o600)
            file.write_text(token)
        except OSError as exc:
            raise StartError(f"the token of the {role} cannot be written to {file}: {exc.strerror}") from exc
        typer.echo(f"{role}: COLOSSUS_INFLUX_TOKEN_FILE={file}")


@store_app.command("prune")
def store_prune() -> None:
    """Delete what is older than its bucket keeps."""
    from twin.run import SystemClock
    from twin.store.influx import open_influx

    url, org, admin_token = _influx()
    with contextlib.closing(open_influx(url, org, admin_token, load_settings().namespace)) as store:
        pruned = store.prune(SystemClock().now_ms())
    typer.echo(f"{pruned} buckets held something that is older than they keep: it is deleted")


def _influx() -> tuple[str, str, str]:
    settings = load_settings()
    if settings.influx_url is None or settings.influx_admin_token is None:
        raise SettingInvalid(
            "COLOSSUS_INFLUX_URL and COLOSSUS_INFLUX_ADMIN_TOKEN (or _FILE) are needed: one that may do everything; "
            "a new server takes the one that you choose"
        )
    return settings.influx_url, settings.influx_org, settings.influx_admin_token.get_secret_value()


@site_app.command("list")
def site_list() -> None:
    """List the sites that come with the twin."""
    from twin.site import load_site, site_names

    for name in site_names():
        typer.echo(f"{name:<16} {load_site(name).title}")


@site_app.command("show")
def site_show(name: Annotated[str, typer.Argument(help="A site, or a path to a site file.")]) -> None:
    """Show a site: counts, units, and every number with its source and how sure it is."""
    from twin.site import load_site
    from twin.site.describe import describe

    typer.echo(describe(load_site(name)))


@topics_app.command("list")
def topics_list() -> None:
    """List all topics: partitions, key, rate, retention, schema."""
    from twin.events.topics import TOPICS

    typer.echo(f"{'topic':<22}{'partitions':>10}  {'key':<18}{'rate':<12}{'keeps':<16}{'schema':<24}")
    for topic in TOPICS:
        keeps = "latest per key" if topic.compacted else f"{topic.retention_bytes >> 20} MiB, {topic.retention_s} s"
        line = f"{topic.name:<22}{topic.partitions:>10}  {topic.key:<18}{topic.rate:<12}{keeps:<16}"
        line += f"{topic.schema_id:<24}"
        typer.echo((line + ("instructor" if topic.instructor else "")).rstrip())
