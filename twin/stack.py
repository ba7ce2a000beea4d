"""The observer's processes, each put together: a worker of an app, or the console, on a Kafka and an InfluxDB.

The plant's process is ``producers/process.py``; ``embedded`` puts both sides into one.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version

from pydantic import SecretStr

from twin.agents.apps import APPS, SESSION_TIMEOUT_S, make_app
from twin.agents.context import Context
from twin.agents.worker import Worker
from twin.bus.base import Bus
from twin.bus.faust_kafka import faust_options
from twin.bus.kafka import KafkaBus, connected
from twin.console.app import make_console
from twin.console.context import ConsoleContext, Param, Verb
from twin.console.seats import Role, Seats, tokens_from
from twin.console.server import listen, serve, url_of
from twin.errors import SettingInvalid, StartError, explain
from twin.events.layout import FrameLayout
from twin.events.topics import full_name
from twin.process import Health, HealthDoor, leave_at_once, stop_on_signal, watching
from twin.run import Clock
from twin.settings import Settings
from twin.site import Site
from twin.store import Store
from twin.store.influx import InfluxStore, open_influx

LOOK_EVERY_S = 0.5
EXIT_FAILED = 2
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Entrance:
    """How to get into a console.

    Attributes
    ----------
    url
        Its address.
    tokens
        One per role.
    one_time_token
        Lets one browser in as instructor, once.
    """

    url: str
    tokens: dict[Role, str]
    one_time_token: str


async def serve_console(
    settings: Settings,
    site: Site,
    bus: Bus,
    store: Store,
    *,
    clock: Clock,
    stop: asyncio.Event,
    on_started: Callable[[Entrance], None],
    takeover_of: Callable[[str], str | None] = lambda _run: None,
) -> None:
    """Serve the console until ``stop`` is set.

    Parameters
    ----------
    takeover_of
        See :class:`ConsoleContext`; a takeover in another process is told of there.

    Raises
    ------
    StartError
        The port is in use.
    """
    given: dict[Role, SecretStr | None] = {
        "instructor": settings.console_token_instructor,
        "trainee": settings.console_token_trainee,
        "observer": settings.console_token_observer,
    }
    tokens = tokens_from({role: token.get_secret_value() if token else None for role, token in given.items()})
    seats = Seats(tokens, now_ms=clock.now_ms)
    listening = listen(settings.console_host, settings.console_port)
    url = url_of(settings.console_host, listening)
    app = make_console(
        ConsoleContext(
            site=site,
            bus=bus,
            store=store,
            data_dir=settings.data_dir,
            seats=seats,
            now_ms=clock.now_ms,
            version=version("colossus-twin"),
            port=listening.getsockname()[1],
            hosts=settings.console_hosts,
            namespace=settings.namespace,
            catalogue=tuple(catalogue()),
            takeover_of=takeover_of,
        )
    )
    await serve(
        app,
        listening,
        stop=stop,
        on_started=lambda: on_started(Entrance(url, tokens, seats.one_time_token("instructor"))),
    )


def catalogue() -> Iterable[Verb]:
    """List the plant's commands as the console shows them."""
    from twin.plant import COMMANDS  # data; none but the console has a use for it

    for command in COMMANDS.values():
        params = tuple(
            Param(param.name, "", choices=param.choices)
            if param.choices
            else Param(param.name, param.name.rpartition("_")[2] if "_" in param.name else "", param.low, param.high)
            for param in command.params
        )
        for kind in command.kinds:
            yield Verb(command.verb, kind, params)


@dataclass(slots=True)
class Process:
    """One process of the observer side.

    Parameters
    ----------
    settings
        Where things are.
    site
        What exists.
    name
        Of this process; two in a namespace differ.
    clock
        The wall clock.
    """

    settings: Settings
    site: Site
    name: str
    clock: Clock

    async def run_worker(self, kind: str, on_started: Callable[[str], None]) -> None:
        """Run one worker of an app until a signal or its failure.

        Parameters
        ----------
        kind
            One of ``APPS``.
        on_started
            Told the address of the health endpoint, once it works.

        Raises
        ------
        TwinError
            It cannot start, or has failed.
        """
        async with self._surroundings(store=kind == "history") as (bus, store, health, url, ends):
            context = Context(
                worker=self.name,
                namespace=self.settings.namespace,
                faust=faust_options(bus.access),
                bus=bus,
                layout=FrameLayout(self.site),
                clock=self.clock,
                store=store,
            )
            if APPS[kind].alone:
                await self._wait_until_alone(bus, kind, ends)
            worker = Worker(*make_app(kind, context), context)
            try:
                await worker.start()
                health.enter("ok")
                on_started(url)
                while not ends.is_set():
                    _check(worker)
                    health.waits_for("site", _other_site(context, self.site))
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(ends.wait(), LOOK_EVERY_S)
            finally:
                health.enter("stopping")
                if not await worker.stop():
                    leave_at_once(0 if ends.is_set() else EXIT_FAILED)

    async def _wait_until_alone(self, bus: KafkaBus, kind: str, ends: asyncio.Event) -> None:
        """Wait until a worker that died has been expelled.

        Raises
        ------
        StartError
            One that lives has the place.
        """
        group = full_name(kind, self.settings.namespace)
        looks_left = round((SESSION_TIMEOUT_S + LOOK_EVERY_S) / LOOK_EVERY_S) + 1
        while not ends.is_set() and bus.members(group):
            looks_left -= 1
            if looks_left < 0:
                raise StartError(
                    f"an app {kind} works in this namespace already, and there can be one: end it, or choose another "
                    "namespace (COLOSSUS_NAMESPACE)"
                )
            await asyncio.sleep(LOOK_EVERY_S)

    async def run_console(self, on_started: Callable[[str, Entrance], None]) -> None:
        """Serve the console until a signal or its failure.

        Parameters
        ----------
        on_started
            Told the address of the health endpoint, and how to get in.

        Raises
        ------
        TwinError
            It cannot start, or has failed.
        """
        async with self._surroundings(store=True, reads_only=True) as (bus, store, health, url, ends):
            assert store is not None  # noqa: S101  (asked for)

            def started(entrance: Entrance) -> None:
                health.enter("ok")
                on_started(url, entrance)

            await serve_console(self.settings, self.site, bus, store, clock=self.clock, stop=ends, on_started=started)

    @contextlib.asynccontextmanager
    async def _surroundings(
        self, *, store: bool, reads_only: bool = False
    ) -> AsyncIterator[tuple[KafkaBus, InfluxStore | None, Health, str, asyncio.Event]]:
        """Open the health endpoint, the bus and, if asked for, the history; close them at the end."""
        loop, ends = asyncio.get_running_loop(), asyncio.Event()
        health = Health(self.name, self.clock.now_ms)
        with contextlib.ExitStack() as stack:
            stack.enter_context(stop_on_signal(partial(loop.call_soon_threadsafe, ends.set)))
            door = stack.enter_context(HealthDoor(health, self.settings.health_host, self.settings.health_port))
            checks = {}
            history = None
            if store:
                history = stack.enter_context(contextlib.closing(open_history(self.settings, reads_only=reads_only)))
                checks["influxdb"] = history.check
            bus = stack.enter_context(connected(self.settings, self.name))
            health.fact("lost_n", lambda: dict(bus.lost_n))
            checks["kafka"] = bus.check
            stack.enter_context(watching(health, checks))
            yield bus, history, health, door.url, ends


def open_history(settings: Settings, *, reads_only: bool) -> InfluxStore:
    """Open the InfluxDB of the settings; who reads only needs the reader's token only.

    Raises
    ------
    SettingInvalid, StartError
        What is missing, and what to do.
    """
    if settings.influx_url is None or settings.influx_token is None:
        raise SettingInvalid(
            "COLOSSUS_INFLUX_URL and COLOSSUS_INFLUX_TOKEN are needed: name the InfluxDB, and the token that "
            "`colossus store init` made"
        )
    return open_influx(
        settings.influx_url,
        settings.influx_org,
        settings.influx_token.get_secret_value(),
        settings.namespace,
        reads_only=reads_only,
    )


def _check(worker: Worker) -> None:
    """Raise what ended the app; told here, too, for what waits for the bus may keep the process from telling it."""
    try:
        worker.check()
    except StartError as exc:
        logger.error("worker=%s failed reason=%s", worker.context.worker, explain(exc))  # noqa: TRY400
        raise


def _other_site(context: Context, site: Site) -> str | None:
    control = context.view.control
    if control is None or control.state == "ended" or control.site_crc == site.crc:
        return None
    return f"run {control.run} is of site {control.site}, this process knows {site.id}: start it with --site"
