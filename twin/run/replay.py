"""The owner of a run whose ticks come from a recording."""

from twin.events.control import Line, RunControl, RunState
from twin.run.line import ms_per_tick
from twin.run.owner import RunOwner, RunPlan, last_ts_possible


def recorded_step_ms(control: RunControl) -> int:
    """Return how far apart two ticks of a recorded epoch came on the wall clock [ms].

    A run that filled the past shows its ticks further apart than they came, single steps closer together.
    """
    return min(control.line.ms_per_tick, ms_per_tick(control.dt_s, control.speed))


class ReplayOwner(RunOwner):
    """Holds one replay of a namespace: its epochs begin where the player stands, not where the last one ended."""

    def begin_replay(self, run: str, *, seen: RunControl | None, now_ms: int) -> None:
        """Take the lease, if it is free; the first epoch is opened by :meth:`open_at`.

        Raises
        ------
        RunActive
            Another run is there, alive.
        """
        self._refuse_if_held(seen, now_ms)
        self.run, self.epoch, self.tick = run, -1, -1
        self._begun = -1
        self.last_ts = last_ts_possible(seen, now_ms)

    def open_at(
        self,
        tick: int,
        step_ms: int,
        now_ms: int,
        *,
        state: RunState,
        continues: bool,
        plan: RunPlan,
        line: Line | None = None,
    ) -> None:
        """Open an epoch.

        Parameters
        ----------
        tick
            Its first tick.
        step_ms
            Display time per tick [ms].
        plan
            What the recording says of the run.
        line
            The recorded line of display time, for a replay at original time.

        Raises
        ------
        RunError
            The clock of this machine was set back.
        """
        self._open(tick, state, now_ms, continues=continues, step_ms=step_ms, plan=plan)
        self.tick = self._begun = tick - 1
        if line is not None:
            self.line = line

    def passed(self, tick: int, ts: int) -> None:
        """Note that something of a tick was sent, with its display time [ms]."""
        self._begun = max(self._begun, tick)
        self.last_ts = max(self.last_ts, ts)

    def settle(self, upto: int | None = None) -> None:
        """Note that the tick which was begun last has been sent whole, if it is none after ``upto``."""
        self.tick = max(self.tick, self._begun if upto is None else min(self._begun, upto))
