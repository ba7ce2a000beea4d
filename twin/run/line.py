"""Display time: within an epoch a straight line over the ticks (DESIGN.md section 4)."""

from datetime import UTC, datetime, timedelta

from twin.errors import RunError, SiteInvalid
from twin.events.control import Line
from twin.site.weather import YEAR_S, seconds_of_year

_TYPICAL_YEAR = datetime(2023, 1, 1, tzinfo=UTC)  # any year of 365 days; local standard time, so no zone applies
AHEAD_MS = 2000  # display time is never further ahead of the wall clock


def ms_per_tick(dt_s: float, speed: float) -> int:
    """Return the step of display time per tick [ms], at least 1.

    Parameters
    ----------
    dt_s
        The simulated step [s].
    speed
        Simulated seconds per second of the wall clock; 0 is as fast as possible.

    Examples
    --------
    >>> ms_per_tick(1.0, 1.0), ms_per_tick(1.0, 10.0), ms_per_tick(1.0, 0.1), ms_per_tick(1.0, 0.0)
    (1000, 100, 10000, 1)
    """
    return max(1, round(1000 * dt_s / speed)) if speed > 0 else 1


def line_from(tick: int, step_ms: int, *, now_ms: int, last_ts: int, start_ms: int | None = None) -> Line:
    """Begin a line of display time at a tick.

    Parameters
    ----------
    tick
        The first tick of the epoch.
    step_ms
        Display time per tick [ms].
    now_ms
        The wall clock [ms].
    last_ts
        The last display time given out in this namespace [ms], -1 for none: the line begins after it.
    start_ms
        Where it should begin [ms], for a run that starts in the past.

    Raises
    ------
    RunError
        The line would begin more than 2 s ahead of the wall clock: time went backwards on this machine.

    Examples
    --------
    >>> line_from(5, 1000, now_ms=10_000, last_ts=10_400)
    Line(ts0=10401, tick0=5, ms_per_tick=1000)
    """
    ts0 = max(now_ms if start_ms is None else min(start_ms, now_ms), last_ts + 1)
    if ts0 > now_ms + AHEAD_MS:
        raise RunError(
            f"display time stands at {last_ts} ms, {last_ts - now_ms} ms ahead of the wall clock: "
            "the clock of this machine was set back; wait, or choose another namespace (COLOSSUS_NAMESPACE)"
        )
    return Line(ts0=ts0, tick0=tick, ms_per_tick=step_ms)


def ts_at(line: Line, tick: int) -> int:
    """Return the display time of a tick [ms].

    Examples
    --------
    >>> ts_at(Line(ts0=1000, tick0=5, ms_per_tick=100), 8)
    1300
    """
    return line.ts0 + (tick - line.tick0) * line.ms_per_tick


def tick_due(line: Line, now_ms: int) -> int:
    """Return the last tick whose display time has come, ``tick0 - 1`` before the first.

    Examples
    --------
    >>> line = Line(ts0=1000, tick0=5, ms_per_tick=100)
    >>> tick_due(line, 999), tick_due(line, 1000), tick_due(line, 1299)
    (4, 5, 7)
    """
    return line.tick0 + (now_ms - line.ts0) // line.ms_per_tick


def site_time_s(weather_at: str, steps: int, dt_s: float) -> float:
    """Return the local standard time after so many steps as seconds of the typical year [s].

    Parameters
    ----------
    weather_at
        ``MM-DDTHH:MM`` before the first step.
    steps
        How many; after tick ``n`` there were ``n + 1``.
    dt_s
        The simulated step [s].

    Raises
    ------
    RunError
        ``weather_at`` is no such time.

    Examples
    --------
    >>> site_time_s("01-02T00:30", 10, 1.0)
    88210.0
    """
    try:
        start_s = seconds_of_year(weather_at)
    except SiteInvalid as exc:
        raise RunError(str(exc)) from exc
    return (start_s + max(steps, 0) * dt_s) % YEAR_S


def site_time_text(seconds: float) -> str:
    """Write seconds of the typical year as ``MM-DDTHH:MM:SS``.

    Examples
    --------
    >>> site_time_text(88210.0)
    '01-02T00:30:10'
    """
    return (_TYPICAL_YEAR + timedelta(seconds=int(seconds))).strftime("%m-%dT%H:%M:%S")
