"""A replay's process: one recording, played onto a Kafka as the run of a namespace, and what is made of it."""

import threading
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

from producers.comparison import Comparison
from producers.host import Host, Source, Watcher, Wish
from producers.pace import Pace
from producers.takeover import Takeover
from twin.bus.access import kafka_access
from twin.bus.kafka import UNSENT_MAX_BYTES, KafkaBus, connected
from twin.errors import BusError, RecordingError, RunActive, UnknownTopic
from twin.events.layout import FrameLayout
from twin.events.topics import full_name
from twin.process import Health, HealthDoor, be_punctual, stop_on_signal, watching
from twin.recording.choice import OBSERVED, RACK
from twin.recording.reader import Recording
from twin.recording.replay import Replay, plan_from
from twin.run import Clock, RunPlan, last_control
from twin.settings import Settings
from twin.site import load_site

UNSENT_MAX_RATIO = 0.5
FLUSH_S = 30.0  # how long what has been played may take to go out
LEAVE_S = 3.0  # the same of a process that is told to end


def run_replay(
    settings: Settings,
    wish: Wish,
    *,
    name: str,
    clock: Clock,
    now_s: Callable[[], float],
    on_started: Callable[[str, str], None],
    watcher: Watcher,
    takeover: Callable[[Takeover], None] | None = None,
    on_comparison: Callable[[Comparison, Path], None] = lambda *_: None,
    on_unsent: Callable[[str], object] = lambda _: None,
) -> dict[str, int]:
    """Play a recording until its end, a signal, or somebody ends its run; then all is sent and the lease is free.

    Parameters
    ----------
    settings
        Where to.
    wish
        What.
    name
        Of this process.
    clock, now_s
        The wall clock, and a clock that never goes back [s].
    on_started
        Told the run (empty if there is none) and the address of the health endpoint.
    watcher
        Looks on.
    takeover
        Take the recorded run over where the player comes to its end, and tell of it.
    on_comparison
        Told what was made of a takeover.
    on_unsent
        Told how much had not gone out when it could not be waited for any longer.

    Returns
    -------
    dict
        By topic, how many messages the bus did not take.

    Raises
    ------
    TwinError
        It cannot start, or what ended it.
    """
    stop = threading.Event()
    health = Health(name, clock.now_ms)
    with ExitStack() as stack:
        with Recording(wish.path) as recording:
            plan = plan_from(recording, wish.choice, wish.speed)
            topics = wish.choice.topics_of(recording)
        stack.enter_context(stop_on_signal(stop.set))
        door = stack.enter_context(HealthDoor(health, settings.health_host, settings.health_port))
        if plan is None:
            bus = stack.enter_context(closing(KafkaBus(kafka_access(settings), name=name)))
            _refuse_beside_a_run(bus, settings.namespace, clock)
        else:
            bus = stack.enter_context(connected(settings, name))
        _refuse_beside_observers(bus, settings.namespace, topics)
        host = _host(bus, settings, plan, name, clock, now_s, on_comparison)
        health.fact("lost_n", lambda: dict(bus.lost_n))
        health.fact("run", host.facts)
        stack.enter_context(watching(health, {"kafka": bus.check}))
        first = host.replay(wish)
        be_punctual()
        health.enter("ok")
        on_started("" if first.owner is None else first.owner.run, door.url)
        host.run(first, stop, watcher if takeover is None else _AtItsEnd(host, watcher, takeover))
        try:
            bus.flush(LEAVE_S if stop.is_set() else FLUSH_S)
        except BusError as exc:
            on_unsent(f"the last {round(bus.unsent_ratio() * UNSENT_MAX_BYTES)} bytes have not gone out: {exc}")
        return dict(bus.lost_n)


class _AtItsEnd:
    """Takes a recorded run over where what is played of it ends."""

    def __init__(self, host: Host, watcher: Watcher, tell: Callable[[Takeover], None]) -> None:
        self._host = host
        self._watcher = watcher
        self._tell = tell

    def look(self, source: Source) -> None:
        """Look on, and take over when the time has come."""
        self._watcher.look(source)
        if isinstance(source, Replay) and source.player.phase == "ended" and not source.done:
            self._tell(self._host.take_over(source, None))

    def ended(self, source: Source) -> None:
        """Note that something has come to its end."""
        self._watcher.ended(source)


def _host(
    bus: KafkaBus,
    settings: Settings,
    plan: RunPlan | None,
    name: str,
    clock: Clock,
    now_s: Callable[[], float],
    on_comparison: Callable[[Comparison, Path], None],
) -> Host:
    def open_bus() -> bool:
        return bus.unsent_ratio() <= UNSENT_MAX_RATIO

    pace = None
    if plan is not None:
        pace = Pace(bus, settings.namespace, FrameLayout(load_site(plan.site)), clock.now_ms)
    return Host(
        bus,
        settings.namespace,
        folder=settings.data_dir,
        name=name,
        clock=clock,
        now_s=now_s,
        gate=(lambda _: open_bus()) if pace is None else pace.open_for,
        open_bus=open_bus,
        on_comparison=on_comparison,
    )


def _refuse_beside_a_run(bus: KafkaBus, namespace: str, clock: Clock) -> None:
    """Refuse to play foreign messages into a namespace where a run is active.

    Raises
    ------
    RunActive
        One is.
    """
    try:
        bus.partitions(full_name("run.control", namespace))
    except UnknownTopic:
        return  # a Kafka without a twin
    seen = last_control(bus, namespace, clock.now_ms())
    if seen is not None and seen.state != "ended" and seen.lease_expires_ms > clock.now_ms():
        raise RunActive(
            f"run {seen.run} of {seen.owner} is {seen.state} in this namespace: end it (colossus run end), or play "
            "into another (--into)"
        )


def _refuse_beside_observers(bus: KafkaBus, namespace: str, topics: frozenset[str]) -> None:
    """Refuse to play what the observer makes where an observer works: each would be there twice.

    Raises
    ------
    RecordingError
        One works.
    """
    named = sorted(topics & (OBSERVED - {RACK}))
    if named and (bus.members(full_name("site", namespace)) or bus.members(full_name("rows", namespace))):
        raise RecordingError(
            f"{', '.join(named)} is made by the apps that work in this namespace: leave it out, end them, or play into "
            "another namespace (--into)"
        )
