"""``colossus …``: thin verbs. What they do is in the modules that they call."""

import asyncio
import contextlib
import os
import re
import socket
import sys
import threading
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from twin.errors import SettingInvalid, StartError, TwinError, explain
from twin.process import set_up_log
from twin.settings import load_settings

if TYPE_CHECKING:
    from twin.console.client import ConsoleClient
    from twin.run import Clock, RunPlan
    from twin.settings import Settings
    from twin.site import Site
    from twin.stack import Entrance, Process

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
site_app = typer.Typer(no_args_is_help=True, help="Sites: what exists.")
topics_app = typer.Typer(no_args_is_help=True, help="Topics of the bus.")
bench_app = typer.Typer(no_args_is_help=True, help="Benchmarks: print figures.")
run_app = typer.Typer(no_args_is_help=True, help="The run of a running twin.")
up_app = typer.Typer(no_args_is_help=True, help="One process of the stack, on a Kafka and an InfluxDB.")
store_app = typer.Typer(no_args_is_help=True, help="The history of the stack.")
app.add_typer(site_app, name="site")
app.add_typer(topics_app, name="topics")
app.add_typer(bench_app, name="bench")
app.add_typer(run_app, name="run")
app.add_typer(up_app, name="up")
app.add_typer(store_app, name="store")

EXIT_USAGE = 2
_PAST = re.compile(r"^-(\d+(?:\.\d+)?)([smhd])$")
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

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


def main() -> None:
    """Run the command line; what goes wrong is one line on standard error, and exit code 2."""
    set_up_log()
    try:
        app()
    except TwinError as exc:
        _fail(exc)


def _fail(error: BaseException) -> NoReturn:
    typer.echo(f"colossus: {explain(error)}", err=True)
    raise SystemExit(EXIT_USAGE)


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
    return int(now_ms - 1000 * float(match[1]) * _UNIT_S[match[2]])


@app.command()
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
    plan = _plan(found, clock, seed=seed, speed=speed, start=start, weather_at=weather_at, operator=operator)
    twin = Embedded(settings, found, plan, clock=clock)
    with contextlib.ExitStack() as doors:

        def greet(entrance: "Entrance") -> None:
            doors.enter_context(open_door(settings, entrance.url, entrance.tokens["instructor"]))
            _greet(entrance, browser=browser)

        asyncio.run(twin.run(greet))


def _plan(
    site: "Site",
    clock: "Clock",
    *,
    seed: int,
    speed: float | None,
    start: str | None,
    weather_at: str,
    operator: bool,
) -> "RunPlan":
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


def _greet(entrance: "Entrance", *, browser: bool) -> None:
    for role, token in entrance.tokens.items():
        typer.echo(f"{role:<10} {entrance.url}/enter?token={token}")
    typer.echo("stop with Ctrl-C")
    sys.stdout.flush()
    if browser:
        # In a thread of its own: it may take its time, and the twin runs in this one.
        address = f"{entrance.url}/enter?token={entrance.one_time_token}"
        threading.Thread(target=webbrowser.open, args=(address,), name="browser", daemon=True).start()


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
    plan = _plan(found, clock, seed=seed, speed=speed, start=start, weather_at=weather_at, operator=operator)

    def started(begun: Begun) -> None:
        how = "begun"
        if begun.tick >= 0:
            how = f"gone on with from tick {begun.tick}, as epoch {begun.epoch}, by its own seed, speed and weather"
        typer.echo(f"run {begun.run} {how}; {begun.health_url}")

    run_process(
        settings, found, plan, name=name or _process_name("producers"), clock=clock, anew=anew, on_started=started
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
            _greet(entrance, browser=False)

        asyncio.run(_process("console", settings, site, name).run_console(started))


def _up_worker(kind: str, site: str, name: str | None) -> None:
    process = _process(kind, load_settings(), site, name)
    asyncio.run(process.run_worker(kind, lambda url: typer.echo(f"{process.name} works; {url}")))


def _process(kind: str, settings: "Settings", site: str, name: str | None) -> "Process":
    from twin.run import SystemClock
    from twin.site import load_site
    from twin.stack import Process

    return Process(settings, load_site(site), name or _process_name(kind), SystemClock())


def _process_name(kind: str) -> str:
    return f"{kind}-{socket.gethostname()}-{os.getpid()}"


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


@app.command()
def schemas(
    folder: Annotated[Path, typer.Option(help="Where to write.")] = Path("twin/events/schemas"),
) -> None:
    """Write the JSON Schema of every topic."""
    from twin.events.schemas import write_schemas

    for path in write_schemas(folder):
        typer.echo(path)


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


def _client() -> "ConsoleClient":
    from twin.console.client import ConsoleClient

    return ConsoleClient(load_settings())


@app.command()
def command(
    verb: Annotated[str, typer.Argument(help="Such as turbine.start.")],
    unit: Annotated[str, typer.Argument(help="Such as turbine-9.")],
    params: Annotated[list[str] | None, typer.Argument(help="name=value …")] = None,
) -> None:
    """Give the plant a command, and wait for its answer."""
    _tell(f"{verb} {unit}", _client().command(verb, unit, params or []))


@app.command()
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
