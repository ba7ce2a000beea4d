"""The epochs of a replay: which of them shows which epoch of the recording, and when a new one begins."""

import contextlib
from collections.abc import Callable
from dataclasses import replace

from twin.errors import MessageInvalid, RunError
from twin.events.control import Line, RunControl, RunState
from twin.events.head import decode_model
from twin.events.topics import BY_NAME
from twin.recording.item import Item
from twin.recording.retelling import KEPT_LINEAGES, Lineage, Retelling, Told, told_of
from twin.run import AHEAD_MS, Clock, ReplayOwner, recorded_step_ms, ts_at

CONTROL = "run.control"
GAP_MAX_TICKS = 2  # where more are missing, the line begins with the first frame that is there
LOOK_AHEAD_NS = 3_000_000_000  # how far behind its first frames a recorded epoch is told of
MARGIN_MS = 100  # an epoch that is opened now begins a little later than what was shown last


class Epochs:
    """Opens the epochs of a replay.

    Parameters
    ----------
    owner
        Of the run.
    clock
        The wall clock.
    original_time
        Leave display time as it was recorded.

    Attributes
    ----------
    tell
        Called when an epoch has been opened, and before anything of it is sent: who reads frames must know of it.
    """

    def __init__(self, owner: ReplayOwner, clock: Clock, *, original_time: bool) -> None:
        self.owner = owner
        self._clock = clock
        self._original_time = original_time
        self._retelling = Retelling(owner, keeps_ts=original_time)
        self._heard: dict[Lineage, RunControl] = {}
        self.stepping = False
        self.tell: Callable[[], None] = lambda: None

    @property
    def current(self) -> Lineage | None:
        """The recorded epoch that is shown."""
        return self._retelling.current

    def begins(self, one: Told) -> bool:
        """Tell whether with a message another recorded epoch begins."""
        return self._retelling.is_new(one)

    def retell(self, one: Told) -> tuple[bytes, int] | None:
        """Return a message of ours as the replay sends it, and its display time [ms]; ``None``: it is left out."""
        return self._retelling.retell(one)

    def hear(self, item: Item) -> RunControl | None:
        """Take in what the recording says of its run; ``None`` if that cannot be read."""
        control = control_in(item)
        if control is None:
            return None
        lineage = (control.run, control.epoch)
        while len(self._heard) >= KEPT_LINEAGES and lineage not in self._heard:
            del self._heard[next(iter(self._heard))]
        self._heard[lineage] = control
        return control

    def heard(self, lineage: Lineage) -> RunControl | None:
        """Return what was said last of a recorded epoch."""
        return self._heard.get(lineage)

    @property
    def knows_of_any(self) -> bool:
        """Whether the recording has said anything of its runs."""
        return bool(self._heard)

    def mirror(self, one: Told, *, playing: bool) -> bool:
        """Let the run stand where the recorded one stood; return whether that is new.

        Parameters
        ----------
        one
            A word of ``run.control`` whose time has come.
        playing
            Whether the player plays.
        """
        if one.lineage is None or one.lineage != self.current:
            return False
        control = self._retelling.control = self._heard.get(one.lineage)
        if control is not None:
            self.owner.settle(control.settled_tick)
        return self.stand(playing=playing)

    def stand(self, *, playing: bool) -> bool:
        """Let the run stand, or go on if it did so in the recording; return whether that is new."""
        state = self.state(playing=playing)
        if self.owner.state in ("ended", state):
            return False
        self.owner.state = state
        return True

    def state(self, *, playing: bool) -> RunState:
        """Return how the run is: as it was recorded, while the player plays."""
        control = self._retelling.control
        if not playing:
            return "paused"
        return "running" if control is None or control.state == "ended" else control.state

    def told_again(self, item: Item, tick: int) -> bytes | None:
        """Return a message from before a jump as one of the first tick after it; ``None``: it is of another run."""
        one = told_of(item)
        if one.lineage is None or self.current is None or one.lineage[0] != self.current[0] or one.tick >= tick:
            return None
        told = self.retell(one._replace(frame=False, tick=tick, head=one.head | {"tick": tick}))
        return None if told is None else told[0]

    def forget(self) -> None:
        """Begin anew after a jump."""
        self._retelling.forget()

    def open(
        self,
        lineage: Lineage,
        control: RunControl | None,
        tick: int,
        *,
        speed: float,
        playing: bool,
        continues: bool,
        stepping: bool = False,
    ) -> None:
        """Open an epoch that shows a recorded one from a tick on.

        Parameters
        ----------
        control
            What was recorded of it.
        speed
            Seconds of the recording per second; 0 is as fast as possible.
        stepping
            Its ticks are 1 ms apart on the screen.
        """
        plan = self.owner.plan
        step_ms = max(1, round(1000 * plan.dt_s))
        if control is not None:
            step_ms = recorded_step_ms(control)
            with contextlib.suppress(RunError):  # a control that says the impossible changes nothing
                plan = replace(
                    plan, site=control.site, site_crc=control.site_crc, seed=control.seed, dt_s=control.dt_s,
                    weather_at=control.weather_at, automatic_operator=control.automatic_operator,
                )  # fmt: skip
        self._retelling.control = control
        self.stepping = stepping
        self.owner.open_at(
            tick,
            1 if stepping or speed <= 0 else max(1, int(step_ms / speed)),
            self._clock.now_ms(),
            state=self.state(playing=playing),
            continues=continues,
            plan=replace(plan, speed=speed),
            line=_line_from(control.line, tick) if control is not None and self._original_time else None,
        )
        self._retelling.show(lineage, control)
        self.tell()

    def reopen(self, *, speed: float, playing: bool, stepping: bool = False) -> None:
        """Open an epoch that continues, from the next tick on."""
        if self.current is not None:
            self.open(
                self.current, self._retelling.control, self.owner.tick + 1,
                speed=speed, playing=playing, continues=True, stepping=stepping,
            )  # fmt: skip

    @property
    def may_open(self) -> bool:
        """Whether an epoch can begin now: not while the wall clock, set back, is behind what was shown last."""
        return self.owner.last_ts < self._clock.now_ms() + AHEAD_MS

    def ahead(self, one: Told) -> bool:
        """Tell whether a frame would be shown before its time: display time keeps to the wall clock."""
        if not one.frame or self._original_time or one.lineage != self.current:
            return False
        line = self.owner.line
        return line.ts0 + (one.tick - line.tick0) * line.ms_per_tick > self._clock.now_ms() + AHEAD_MS - MARGIN_MS


def _line_from(line: Line, tick: int) -> Line:
    """Return the part of a recorded line from a tick on."""
    return Line(ts0=ts_at(line, tick), tick0=tick, ms_per_tick=line.ms_per_tick)


def control_in(item: Item) -> RunControl | None:
    """Read a word of ``run.control``; ``None`` if it cannot be read."""
    try:
        return decode_model(item.value, BY_NAME[CONTROL].schema_id, RunControl)[1]
    except MessageInvalid:
        return None


def tells_of(item: Item, lineage: Lineage) -> bool:
    """Tell whether a message says how a recorded epoch stands."""
    return item.topic == CONTROL and told_of(item).lineage == lineage


def first_tick(one: Told, control: RunControl | None) -> int:
    """Return where the line of an epoch begins whose first frame is this one: it may come before others of its tick."""
    begins = one.tick if control is None else control.line.tick0
    return begins if 0 <= one.tick - begins <= GAP_MAX_TICKS else one.tick
