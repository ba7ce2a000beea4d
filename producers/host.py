"""What runs in a namespace, one after the other: a plant, a replay, or a plant that goes on where a replay stood."""

import json
import logging
import secrets
import tempfile
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from producers.comparison import Comparison
from producers.families import PRODUCERS
from producers.loop import Loop
from producers.takeover import Takeover, take_over
from twin.bus.base import Bus
from twin.errors import BusError, PlantError, RecordingError, RunError, SiteInvalid, TwinError
from twin.events.layout import FrameLayout
from twin.recording.choice import Choice
from twin.recording.outlet import BusOutlet
from twin.recording.player import Player
from twin.recording.reader import Recording
from twin.recording.replay import Replay, plan_from, recorded_partitions
from twin.recording.span import Range
from twin.run import Clock, ReplayOwner, RunOwner, RunPlan, line_from, new_run_id, utc_text
from twin.site import Site, load_site

logger = logging.getLogger(__name__)

WEATHER_AT = "07-15T14:00"
TURN_MAX_S = 0.05
ROOM_BYTES = 8 << 20  # two snapshots of 200,000 GPUs
RECORDINGS, SNAPSHOTS, TAKEOVERS = "recordings", "snapshots", "takeovers"


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be played, and how.

    Attributes
    ----------
    span
        From where to where; ``None``: all of it.
    speed
        Seconds of the recording per second; 0 is as fast as possible.
    original_time
        Leave all times as they were recorded.
    stays
        Wait at the end, or at the beginning, for what people ask, instead of ending.
    """

    path: Path
    choice: Choice = field(default_factory=Choice)
    span: Range | None = None
    speed: float = 1.0
    original_time: bool = False
    paused: bool = False
    stays: bool = False


Source = Loop | Replay


class Watcher(Protocol):
    """Looks on while something runs, and may steer a player; in the thread of what runs."""

    def look(self, source: Source) -> None:
        """Look, and do what a person has asked for."""
        ...

    def ended(self, source: Source) -> None:
        """Note that something has come to its end; it is closed next."""
        ...


class Host:
    """Runs one thing after the other.

    Parameters
    ----------
    bus, namespace
        Where.
    folder
        Snapshots and recordings lie in it.
    name
        Of this process.
    clock, now_s
        The wall clock, and a clock that never goes back [s].
    gate
        Asked before each tick or message of a run: whether the bus, and who reads from it, keeps up.
    open_bus
        The same for foreign messages, which have no run.
    site
        What the observer knows; ``None``: whatever a recording is of.
    families
        Which telemetry a plant publishes.
    on_takeover
        Told of a run that was taken over.
    on_comparison
        Told what was made of a takeover, and where that is kept.
    """

    def __init__(
        self,
        bus: Bus,
        namespace: str,
        *,
        folder: Path,
        name: str,
        clock: Clock,
        now_s: Callable[[], float],
        gate: Callable[[RunOwner], bool],
        open_bus: Callable[[], bool] = lambda: True,
        site: Site | None = None,
        families: tuple[str, ...] = tuple(PRODUCERS),
        on_takeover: Callable[[Takeover], None] = lambda _: None,
        on_comparison: Callable[[Comparison, Path], None] = lambda *_: None,
    ) -> None:
        self._bus = bus
        self._namespace = namespace
        self._folder = folder
        self._owner_name = f"{name}-{secrets.token_hex(4)}"
        self._clock = clock
        self._now_s = now_s
        self._gate = gate
        self._open_bus = open_bus
        self._site = site
        self._families = families
        self._next: Callable[[], Source] | None = None
        self._source: Source | None = None
        self._plan: RunPlan | None = None
        self._made: tuple[Takeover, Loop] | None = None
        self._on_takeover = on_takeover
        self._on_comparison = on_comparison

    def loop(self, plan: RunPlan, site: Site) -> Loop:
        """Build the loop of a plant; nothing runs yet."""
        self._plan = plan
        layout = FrameLayout(site)
        return Loop(
            self._bus,
            self._namespace,
            site,
            plan,
            owner=self._owner_name,
            producers=[PRODUCERS[family](layout) for family in self._families],
            clock=self._clock,
            snapshot_dir=self._folder / SNAPSHOTS,
            may_go_on=self._gate,
            on_start=self._make_ready,
        )

    def begin(self, plan: RunPlan, site: Site) -> Loop:
        """Begin a run of a plant.

        Raises
        ------
        RunActive
            Another run holds the namespace.
        RunError
            The wall clock was set back, or no snapshot can be written.
        """
        loop = self.loop(plan, site)
        return _begun(loop, lambda: loop.start(self.new_run()))

    def replay(self, wish: Wish) -> Replay:
        """Begin a replay; its recording is closed at its end.

        Raises
        ------
        RunActive
            Another run holds the namespace.
        RecordingError
            There is nothing to play, no topic to play it into, or no recording.
        """
        with ExitStack() as undo:
            recording = undo.enter_context(Recording(wish.path))
            player = self._player(recording, wish)
            handlers = _Handlers(self, lambda: replay)
            replay = Replay(self._bus, self._namespace, player, self._clock, handlers, stays=wish.stays)
            undo.callback(replay.close)
            replay.start("" if player.owner is None else self.new_run(), paused=wish.paused)
            undo.pop_all()
        return replay

    def run(self, first: Source, stop: threading.Event, watcher: Watcher | None = None) -> None:
        """Run something, and what is asked to follow it, until nothing does or ``stop`` is set.

        Raises
        ------
        TwinError
            What ended it, if it did not end well.
        """
        source: Source | None = first
        while source is not None:
            self._source = source
            broken = False
            try:
                self._turn(source, stop, watcher)
            except RecordingError as exc:
                if self._site is None:
                    raise
                logger.error("replay=broken reason=%s", exc)  # noqa: TRY400  (told in one line)
                broken = True
            except TwinError:
                self._take_back(source)
                raise
            finally:
                with ExitStack() as parts:
                    if isinstance(source, Replay):
                        parts.callback(source.player.recording.close)
                    source.close()
            self._conclude(source)
            source = self._following(stop, broken=broken)

    @staticmethod
    def _turn(source: Source, stop: threading.Event, watcher: Watcher | None) -> None:
        while not (stop.is_set() or source.done):
            wait_s = source.turn()
            if watcher is not None:
                watcher.look(source)
            if wait_s > 0:
                stop.wait(min(wait_s, TURN_MAX_S))
        if watcher is not None:
            watcher.ended(source)

    def _take_back(self, source: Source) -> None:
        """Let a replay that broke off after it was taken over end by itself."""
        if self._made is not None and isinstance(source, Replay):
            source.take_back()
            self._made[1].close()
            self._made = self._next = None

    def _following(self, stop: threading.Event, *, broken: bool) -> Source | None:
        """Begin what was asked to follow; where that is not possible any more, the plant that ran last."""
        following, self._next = self._next, None
        if stop.is_set() and self._made is None:
            return None
        if following is None and not broken:
            return None
        try:
            if following is not None:
                return following()  # one that was taken over must end as well: its run has no other owner
        except (RecordingError, RunError) as exc:
            if self._site is None:
                raise
            logger.error("run=not_begun reason=%s", exc)  # noqa: TRY400
        return None if self._site is None or self._plan is None else self.begin(self._plan, self._site)

    def facts(self) -> dict[str, Any]:
        """Return what runs now, for who asks how the process does."""
        source = self._source
        owner = None if source is None else source.owner
        if owner is None:
            return {}
        told: dict[str, Any] = {"run": owner.run, "epoch": owner.epoch, "tick": owner.tick, "state": owner.state}
        if isinstance(source, Replay):
            told["recording"] = source.player.recording.path.name
        return told

    def new_run(self) -> str:
        """Draw the id of a run."""
        return new_run_id(utc_text(self._clock.now_ms()), secrets.randbits(16))

    def _player(self, recording: Recording, wish: Wish) -> Player:
        plan, outlet = self._playable(recording, wish)
        owner = None if plan is None else ReplayOwner(plan, self._owner_name)
        return Player(
            recording,
            wish.choice,
            wish.span or Range(recording.start_ns, recording.end_ns),
            outlet,
            owner,
            clock=self._clock,
            now_s=self._now_s,
            may_go_on=self._open_bus if owner is None else lambda: self._gate(owner),
            speed=wish.speed,
            original_time=wish.original_time,
        )

    def _playable(self, recording: Recording, wish: Wish) -> tuple[RunPlan | None, BusOutlet]:
        """Return the plan of a replay, and where it sends to.

        Raises
        ------
        RecordingError
            There is nothing to play, no topic to play it into, or it is of another site.
        """
        plan = plan_from(recording, wish.choice, wish.speed)
        if plan is not None:
            self._check_site(plan)
        topics = wish.choice.topics_of(recording)
        if not topics:
            held = ", ".join(sorted(recording.counts)) or "nothing"
            raise RecordingError(f"{recording.path} holds nothing of what was chosen, but {held}")
        partitions = recorded_partitions(recording)
        outlet = BusOutlet(self._bus, self._namespace, partitions, original_time=wish.original_time)
        outlet.check(topics)
        return plan, outlet

    def _check_site(self, plan: RunPlan) -> None:
        if self._site is not None and plan.site_crc != self._site.crc:
            raise RecordingError(
                f"the recording is of site {plan.site} ({plan.site_crc}), the twin here shows {self._site.id} "
                f"({self._site.crc}): start one with --site {plan.site}, of the version of the recording"
            )

    def _make_ready(self, params: dict[str, Any]) -> None:
        """Make ready what a request ``start`` asks for; what could not begin is refused while the active run is there.

        Raises
        ------
        RunError
            That is not possible.
        """
        self._check_clock(None if self._source is None else self._source.owner)
        kind = params.get("kind")
        if kind == "replay":
            wish = self._wish(params)
            try:
                with Recording(wish.path) as recording:
                    if plan_from(recording, wish.choice, wish.speed) is None:
                        raise RunError(f"{wish.path.name} holds no run: it can be played by `colossus replay` alone")
                    self._playable(recording, wish)
            except (RecordingError, BusError) as exc:
                raise RunError(str(exc)) from exc
            self._next = lambda: self.replay(wish)
        elif kind == "live" and self._site is not None:
            site = self._site
            live = RunPlan(
                site=site.id,
                site_crc=site.crc,
                seed=_of(params, "seed", int, 7),
                dt_s=1.0,
                weather_at=_of(params, "weather_at", str, WEATHER_AT),
                speed=_of(params, "speed", float, 1.0),
                automatic_operator=_of(params, "automatic_operator", bool, True),
            )
            self._check_room()
            self._next = lambda: self.begin(live, site)
        else:
            raise RunError(f"kind {kind!r} is not allowed: live or replay")

    def _wish(self, params: dict[str, Any]) -> Wish:
        name = _of(params, "recording", str, "")
        if not name or Path(name).name != name:
            raise RunError(f"recording {name!r} is no name of a file in the folder of recordings")
        path = self._folder / RECORDINGS / name
        try:
            is_there = path.is_file()
        except OSError as exc:
            raise RunError(f"the recording cannot be looked for ({exc.strerror}): {name}") from exc
        if not is_there:
            raise RunError(f"there is no recording {name} in {self._folder / RECORDINGS}")
        return Wish(
            path,
            Choice(instructor=True),
            speed=_of(params, "speed", float, 1.0),
            paused=_of(params, "paused", bool, False),
            stays=True,
        )

    def _check_clock(self, owner: RunOwner | None) -> None:
        """Refuse to begin anything while the wall clock, set back, is behind what a run has shown last."""
        if owner is not None:
            line_from(0, 1, now_ms=self._clock.now_ms(), last_ts=owner.last_ts)

    def _check_room(self) -> None:
        """Refuse a plant whose first snapshot would find no room."""
        folder = self._folder / SNAPSHOTS
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(bytes(ROOM_BYTES))
        except OSError as exc:
            raise RunError(
                f"{folder} cannot be written into ({exc.strerror}): free space, mend the rights of the data folder, or "
                "choose another (COLOSSUS_DATA_DIR)"
            ) from exc

    def take_over(self, replay: Replay, time_ns: int | None) -> Takeover:
        """Rebuild the plant of a recording; it runs after the replay, as the same run.

        Parameters
        ----------
        replay
            Which runs here.
        time_ns
            The instant [ns]; ``None``: where it stands.

        Raises
        ------
        RecordingError
            That is not possible; the replay stands there.
        RunError
            The wall clock was set back; the replay goes on.
        """
        self._check_clock(replay.owner)
        plan = replay.player.owner.plan if replay.player.owner is not None else None
        if plan is None:
            raise RecordingError("foreign messages have no plant: nothing can be taken over")
        site = self._site or _site_of(plan)
        made = take_over(replay, time_ns, site, self._folder / SNAPSHOTS, self._clock)
        loop = self.loop(made.plan, site)

        # What is asked while the plant is rebuilt is read by the replay, and what comes from now on by the loop, too.
        self._next = lambda: _go_on(made, loop, replay)
        self._made = (made, loop)
        replay.hand_over()
        self._on_takeover(made)
        return made

    def _conclude(self, source: Source) -> None:
        """Compare what was made of a takeover with what was recorded, and keep that."""
        made, loop = self._made or (None, None)
        if made is None or source is not loop:
            return
        self._made = None
        try:
            comparison = made.compare(loop.applied, loop.owner.tick)
        except (PlantError, RecordingError) as exc:
            logger.warning("takeover=uncompared run=%s reason=%s", made.run, exc)
            return
        if comparison is None:
            return
        path = self._folder / TAKEOVERS / f"{made.run}.json"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            told = comparison.as_dict() | {"lines": comparison.lines()}
            partial = path.with_suffix(".part")
            partial.write_text(json.dumps(told, indent=1), encoding="utf-8")
            partial.replace(path)
        except OSError as exc:
            logger.warning("takeover=unsaved path=%s reason=%s", path, exc)
        self._on_comparison(comparison, path)


class _Handlers:
    """Lets a replay reach its host."""

    def __init__(self, host: Host, replay: Callable[[], Replay]) -> None:
        self._host = host
        self._replay = replay

    def start(self, params: dict[str, Any]) -> None:
        """Make ready what is to run next."""
        self._host._make_ready(params)  # noqa: SLF001  (a part of it)

    def take_over(self, time_ns: int | None) -> None:
        """Rebuild the recorded plant; it runs next."""
        self._host.take_over(self._replay(), time_ns)


def _begun(loop: Loop, begin: Callable[[], None]) -> Loop:
    """Begin with a loop; one that cannot begin listens no longer."""
    with ExitStack() as undo:
        undo.callback(loop.close)
        begin()
        undo.pop_all()
    return loop


def _go_on(made: Takeover, loop: Loop, replay: Replay) -> Loop:
    try:
        return _begun(loop, lambda: loop.resume(made.left, replay.unanswered))
    except (BusError, RunError):
        logger.warning("takeover=not_begun run=%s handed_over_n=%d", made.run, len(replay.unanswered))
        raise


def _site_of(plan: RunPlan) -> Site:
    try:
        return load_site(plan.site)
    except SiteInvalid as exc:
        raise RecordingError(f"the site of the recording is not known here: {exc}") from exc


def _of(params: dict[str, Any], name: str, kind: type, otherwise: Any) -> Any:
    value = params.get(name, otherwise)
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        raise RunError(f"{name} must be {kind.__name__}, not {value!r}")
    return value
