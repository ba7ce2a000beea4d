"""The plant's process: one run on a Kafka, begun anew, or gone on with where an owner that died has left it."""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from producers.host import Host
from producers.pace import Pace
from producers.resume import Left, find_left, plan_of
from twin.bus.base import Bus
from twin.bus.kafka import connected
from twin.errors import RunActive, RunError, SettingInvalid
from twin.events.control import RunControl
from twin.events.layout import FrameLayout
from twin.events.topics import full_name
from twin.process import Health, HealthDoor, stop_on_signal, watching
from twin.run import CLOCKS_APART_MS, LEASE_MS, Clock, RunPlan, RunView, hear
from twin.settings import Settings
from twin.site import Site

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 0.2


@dataclass(frozen=True, slots=True)
class Begun:
    """What a process of the plant has begun.

    Attributes
    ----------
    run, epoch
        Its run.
    tick
        The last tick done before; -1 for a new run.
    health_url
        Where the process tells how it does.
    """

    run: str
    epoch: int
    tick: int
    health_url: str


def run_process(
    settings: Settings,
    site: Site,
    plan: RunPlan,
    *,
    name: str,
    clock: Clock,
    anew: bool,
    on_started: Callable[[Begun], None],
) -> None:
    """Run the plant until a signal or the end of the run; then the lease is free and all is sent.

    Parameters
    ----------
    settings
        Where things are.
    site, plan
        What runs.
    name
        Of this process.
    anew
        Begin a new run even where one was left by an owner that died.
    on_started
        Told what has begun.

    Raises
    ------
    TwinError
        It cannot start, or what ended it.
    """
    stop = threading.Event()
    health = Health(name, clock.now_ms)
    with ExitStack() as stack:
        stack.enter_context(stop_on_signal(stop.set))
        door = stack.enter_context(HealthDoor(health, settings.health_host, settings.health_port))
        bus = stack.enter_context(connected(settings, name))
        health.fact("lost_n", lambda: dict(bus.lost_n))
        control = wait_for_lease(bus, settings.namespace, clock, stop)
        if stop.is_set():
            return
        if anew or (control is not None and control.kind == "replay"):  # a player that died has left no plant
            control = None
        pace = Pace(bus, settings.namespace, FrameLayout(site), clock.now_ms)
        host = Host(
            bus,
            settings.namespace,
            folder=settings.data_dir,
            name=name,
            clock=clock,
            now_s=time.monotonic,
            gate=pace.open_for,
            site=site,
        )
        # The loop listens from here on: what comes while the plant is rebuilt is not lost.
        loop = host.loop(plan if control is None else plan_of(control), site)
        left = None if control is None else what_is_left(bus, settings, site, control)
        if left is None:
            loop.start(host.new_run())
        else:
            loop.resume(left)
        owner = loop.owner
        health.fact("run", host.facts)
        health.fact("held_back", lambda: pace.held_back)
        stack.enter_context(watching(health, {"kafka": bus.check}))
        health.enter("ok")
        on_started(Begun(owner.run, owner.epoch, owner.tick, door.url))
        host.run(loop, stop)


def wait_for_lease(bus: Bus, namespace: str, clock: Clock, stop: threading.Event) -> RunControl | None:
    """Wait until the lease of the namespace is free; return the last word of its owner, if it did not end its run.

    An owner speaks every second: it is alive when it is heard, whatever the clocks of two machines say, and its lease
    is free when it has been silent for as long as the lease lasts.

    Raises
    ------
    RunActive
        The owner lives.
    """
    view = RunView()
    reader = bus.follow(full_name("run.control", namespace))
    try:
        hear(view, reader.read_up(), clock.now_ms())
        seen = view.control
        if seen is None or seen.state == "ended":
            return None
        silent_s = (clock.now_ms() - seen.sent_ms - CLOCKS_APART_MS) / 1000
        while silent_s < LEASE_MS / 1000 and not stop.is_set():
            silent_s = max(silent_s, 0.0) + LOOK_EVERY_S
            hear(view, reader.poll(LOOK_EVERY_S), clock.now_ms())
            now = view.control
            if now is None or now.state == "ended":
                return None
            if now.sent_ms != seen.sent_ms:
                raise RunActive(
                    f"run {now.run} of {now.owner} is {now.state} in this namespace: end it (colossus run end), or "
                    "choose another namespace (COLOSSUS_NAMESPACE)"
                )
        return seen
    finally:
        reader.close()


def what_is_left(bus: Bus, settings: Settings, site: Site, control: RunControl) -> Left | None:
    """Return what a dead owner left of its run, ``None`` if nothing leads there any more.

    Raises
    ------
    SettingInvalid
        The run is of another site.
    StartError
        Its snapshots lie elsewhere.
    """
    if control.site_crc != site.crc:
        raise SettingInvalid(
            f"run {control.run} of site {control.site} was left by {control.owner}, which has died: go on with it "
            f"(--site {control.site}), or begin a new run (--new)"
        )
    try:
        return find_left(
            bus, settings.namespace, site, control, settings.data_dir / "snapshots", meanwhile=lambda: None
        )
    except RunError as exc:
        logger.warning("run=%s given_up reason=%s", control.run, exc)
        return None
