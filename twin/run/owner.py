"""The owner of a run: takes the lease, opens epochs, says where the run stands (``run.control``)."""

from dataclasses import dataclass, replace

from twin.errors import LeaseLost, RunActive, RunError
from twin.events.control import DT_MAX_S, TEXT_MAX, Line, RunControl, RunKind, RunState
from twin.run.line import AHEAD_MS, line_from, ms_per_tick, site_time_s, site_time_text, tick_due, ts_at
from twin.run.view import newer

SPEED_MIN, SPEED_MAX = 0.01, 10_000.0
FILL_SPEED = 60.0  # of a run that begins in the past, unless it is told another
LEASE_MS = 5000  # a crashed owner's lease ends after this


@dataclass(frozen=True, slots=True)
class RunPlan:
    """What a run is, before it runs.

    Attributes
    ----------
    speed
        Simulated seconds per second; 0 is as fast as possible.
    start_ms
        Display time of the first tick [ms] of a run that starts in the past: it fills history at ``speed``
        with display time as in the site, and catches up.
    """

    site: str
    site_crc: str
    seed: int
    dt_s: float
    weather_at: str
    kind: RunKind = "live"
    speed: float = 1.0
    start_ms: int | None = None
    automatic_operator: bool = True
    lock_step: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot run, before anything starts.

        Raises
        ------
        RunError
            A seed, a step, a speed or a time of the year that does not exist, or a run from the past that would never
            catch up.
        """
        if self.seed < 0:
            raise RunError(f"seed {self.seed} is not allowed: 0 or more")
        if not 0 < self.dt_s <= DT_MAX_S:
            raise RunError(f"dt_s {self.dt_s:g} is not allowed: above 0, up to {DT_MAX_S:g} s")
        _check_speed(self.speed)
        site_time_s(self.weather_at, 0, self.dt_s)
        if self.start_ms is not None:
            _check_catches_up(self.speed)


def new_run_id(utc: str, nonce: int) -> str:
    """Return the id of a new run; ids sort by their start.

    Parameters
    ----------
    utc
        Start as ``YYYYMMDDTHHMMSSZ``.
    nonce
        16 random bits, to tell two runs of one second apart.

    Examples
    --------
    >>> new_run_id("20261124T072000Z", 0xA7F3)
    '20261124T072000Z-a7f3'
    """
    return f"{utc}-{nonce & 0xFFFF:04x}"


class RunOwner:
    """Holds one run of a namespace; all time comes in as arguments [ms of the wall clock].

    Parameters
    ----------
    plan
        What is to run.
    owner
        Name of this process.
    """

    def __init__(self, plan: RunPlan, owner: str) -> None:
        self.plan = plan
        self.owner = owner
        self.run = ""
        self.epoch = -1
        self.tick = -1  # last tick done
        self.state: RunState = "ended"
        self.continues = False
        self.line = Line(ts0=0, tick0=0, ms_per_tick=1000)
        self.last_ts = -1
        self.speed_reached = 0.0  # measured by the loop
        self._filling = plan.start_ms is not None

    def begin(self, run: str, *, seen: RunControl | None, now_ms: int) -> None:
        """Begin a new run, if the lease of the namespace is free.

        Raises
        ------
        RunActive
            Another run is there, alive.
        """
        self._refuse_if_held(seen, now_ms)
        self.run, self.epoch, self.tick = run, -1, -1
        self.last_ts = last_ts_possible(seen, now_ms)
        self._open(0, "running", now_ms, continues=False)

    def resume_crashed(self, seen: RunControl, *, tick: int, now_ms: int) -> None:
        """Go on with the run of a crashed owner: the same run, a new epoch that continues; one that stood stands.

        Parameters
        ----------
        seen
            Its last ``run.control``.
        tick
            The last tick that the restored plant has done.

        Raises
        ------
        RunActive
            It is alive, or was taken over by somebody else.
        """
        self._refuse_if_held(seen, now_ms)
        self.run, self.epoch, self.tick = seen.run, seen.epoch, tick
        self.last_ts = last_ts_possible(seen, now_ms)
        self._filling = False
        self._open(tick + 1, seen.state, now_ms, continues=True)

    def check(self, seen: RunControl, *, now_ms: int) -> None:
        """Compare with what stands on ``run.control``.

        Raises
        ------
        LeaseLost
            A newer run or epoch of another owner is there: this one must stop at once.
        """
        mine = self.control(now_ms)
        if seen.owner != self.owner and seen.state != "ended" and newer(seen, mine):
            raise LeaseLost(f"run {self.run} was taken over by {seen.owner} as {seen.run} epoch {seen.epoch}")

    def pause(self, *, frozen: bool = False) -> None:
        """Stand still; the lease goes on being renewed. A run that is paused can be frozen.

        Raises
        ------
        RunError
            It stands already, or has ended.
        """
        self._need("pause", "running", *(("paused",) if frozen else ()))
        self.state = "frozen" if frozen else "paused"

    def resume(self, now_ms: int) -> None:
        """Go on after a pause: a new epoch that continues.

        Raises
        ------
        RunError
            It is not paused.
        """
        self._need("resume", "paused", "frozen")
        self._open(self.tick + 1, "running", now_ms, continues=True)

    def set_speed(self, speed: float, now_ms: int) -> None:
        """Change the speed: a new epoch that continues.

        Parameters
        ----------
        speed
            Simulated seconds per second; 0 is as fast as possible.

        Raises
        ------
        RunError
            The speed is out of range, or the run has ended.
        """
        self._need("speed", "running", "paused", "frozen")
        _check_speed(speed)
        if self._filling:
            _check_catches_up(speed)
        self._open(self.tick + 1, self.state, now_ms, continues=True, plan=replace(self.plan, speed=speed))

    def jump(self, tick: int, now_ms: int) -> None:
        """Go on from another tick (seek, loop, backtrack): a new epoch that does not continue.

        A run that fills the past gives that up: from here it is shown now, at real time.

        Parameters
        ----------
        tick
            The last tick that the restored plant has done.

        Raises
        ------
        RunError
            The tick has not been yet, or the run has ended.
        """
        self._need("jump", "running", "paused", "frozen")
        if not -1 <= tick <= self.tick:
            raise RunError(f"tick {tick} cannot be reached: the run has ticks 0..{self.tick}")
        self._open(tick + 1, self.state, now_ms, continues=False, leaves_past=True)
        self.tick = tick

    def end(self) -> None:
        """End the run: the lease is free."""
        self.state = "ended"

    def due(self, now_ms: int) -> bool:
        """Tell whether the next tick may be done now.

        A run that fills the past is bound by its speed alone (the caller's), others by their line.
        """
        return self.state == "running" and tick_due(self.line, now_ms) > self.tick

    @property
    def filling(self) -> bool:
        """Whether the run fills the past and has not caught up."""
        return self._filling

    @property
    def hurries(self) -> bool:
        """Whether the run goes faster than the wall clock."""
        return self._filling or not 0 < self.plan.speed <= 1.0

    def did_tick(self) -> int:
        """Count one tick as done; return its display time [ms]."""
        self.tick += 1
        self.last_ts = ts_at(self.line, self.tick)
        return self.last_ts

    def catch_up(self, now_ms: int) -> bool:
        """Turn a run that filled the past, and has caught up, into one at real time; return whether it did."""
        set_back = now_ms + AHEAD_MS < self.last_ts  # the clock: nothing is due, and nothing is caught up
        if not self._filling or self.state != "running" or self.due(now_ms) or set_back:
            return False
        self._open(self.tick + 1, self.state, now_ms, continues=True, leaves_past=True)
        return True

    def step(self, now_ms: int) -> None:
        """Open an epoch for single steps of a run that stands still: its ticks are 1 ms apart on the screen.

        Raises
        ------
        RunError
            It runs.
        """
        self._need("step", "paused", "frozen")
        self._open(self.tick + 1, self.state, now_ms, continues=True, step_ms=1)

    def control(self, now_ms: int, *, answers: str | None = None, error: str | None = None) -> RunControl:
        """Say where the run stands, and renew the lease."""
        plan = self.plan
        return RunControl(
            run=self.run,
            epoch=max(self.epoch, 0),
            line=self.line,
            kind=plan.kind,
            continues=self.continues,
            automatic_operator=plan.automatic_operator,
            lock_step=plan.lock_step,
            site=plan.site,
            site_crc=plan.site_crc,
            seed=plan.seed,
            dt_s=plan.dt_s,
            weather_at=plan.weather_at,
            site_time=site_time_text(site_time_s(plan.weather_at, self.tick + 1, plan.dt_s)),
            state=self.state,
            speed=plan.speed,
            speed_reached=self.speed_reached,
            settled_tick=self.tick,
            owner=self.owner,
            sent_ms=now_ms,
            lease_expires_ms=now_ms + (0 if self.state == "ended" else LEASE_MS),
            answers=answers,
            error=error and error[:TEXT_MAX],
        )

    def _open(
        self,
        tick: int,
        state: RunState,
        now_ms: int,
        *,
        continues: bool,
        step_ms: int | None = None,
        plan: RunPlan | None = None,
        leaves_past: bool = False,
    ) -> None:
        """Open an epoch; whatever forbids it, the run stays as it was."""
        plan = plan or self.plan
        # A run that fills the past keeps the site's own pace of display time while it hurries.
        step_ms = step_ms or ms_per_tick(plan.dt_s, 1.0 if self._filling else plan.speed)
        start_ms = None
        if self._filling and not leaves_past:
            # It goes on in the past, with no hole.
            start_ms = plan.start_ms if self.tick < 0 else self.last_ts + step_ms
        self.line = line_from(tick, step_ms, now_ms=now_ms, last_ts=self.last_ts, start_ms=start_ms)
        if self._filling and leaves_past:
            plan = replace(plan, speed=1.0, start_ms=None)
            self._filling = False
        self.plan = plan
        self.epoch += 1
        self.state = state
        self.continues = continues

    def _need(self, verb: str, *states: RunState) -> None:
        if self.state not in states:
            raise RunError(f"{verb} is not possible: the run is {self.state}, not {' or '.join(states)}")

    def _refuse_if_held(self, seen: RunControl | None, now_ms: int) -> None:
        if seen is None or seen.state == "ended" or seen.owner == self.owner or seen.lease_expires_ms <= now_ms:
            return
        wait_s = (seen.lease_expires_ms - now_ms) / 1000
        raise RunActive(
            f"run {seen.run} of {seen.owner} is {seen.state} in this namespace: end it (colossus run end), "
            f"choose another namespace (COLOSSUS_NAMESPACE), or, if its process has died, wait {wait_s:.0f} s"
        )


def _check_catches_up(speed: float) -> None:
    if 0 < speed <= 1:
        raise RunError(
            f"speed {speed:g} never catches up from the past: choose one above 1, or 0 (as fast as possible)"
        )


def last_ts_possible(seen: RunControl | None, now_ms: int) -> int:
    """Return the last display time that may have been given out: a crashed owner may have said more than we heard.

    None is ahead of the wall clock, for a tick is done when its time has come.
    """
    if seen is None or seen.state == "ended":
        return last_ts_of(seen)
    return max(last_ts_of(seen), now_ms - 1)


def _check_speed(speed: float) -> None:
    if speed != 0 and not SPEED_MIN <= speed <= SPEED_MAX:
        raise RunError(f"speed {speed:g} is not allowed: 0 (as fast as possible) or {SPEED_MIN:g}..{SPEED_MAX:g}")


def last_ts_of(control: RunControl | None) -> int:
    """Return the display time of the last settled tick of a control message [ms], -1 for none."""
    if control is None:
        return -1
    if control.settled_tick < control.line.tick0:
        return control.line.ts0 - 1
    return ts_at(control.line, control.settled_tick)
