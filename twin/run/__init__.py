"""Runs: the lease of a namespace, epochs, and the two clocks (tick and display time). Pure: no bus; time is given.

To add a way to jump: one method of ``RunOwner`` that opens an epoch, and its verb in ``producers/requests.py``.
"""

from twin.run.clock import Clock, SystemClock, utc_text
from twin.run.heads import Heads
from twin.run.line import AHEAD_MS, line_from, ms_per_tick, site_time_s, site_time_text, tick_due, ts_at
from twin.run.owner import FILL_SPEED, LEASE_MS, RunOwner, RunPlan, new_run_id
from twin.run.replay import ReplayOwner, recorded_step_ms
from twin.run.tenure import Tenure, hear, last_control
from twin.run.view import CLOCKS_APART_MS, HOLD_S, RunView, Standing, check_control

__all__ = [
    "AHEAD_MS",
    "CLOCKS_APART_MS",
    "FILL_SPEED",
    "HOLD_S",
    "LEASE_MS",
    "Clock",
    "Heads",
    "ReplayOwner",
    "RunOwner",
    "RunPlan",
    "RunView",
    "Standing",
    "SystemClock",
    "Tenure",
    "check_control",
    "hear",
    "last_control",
    "line_from",
    "ms_per_tick",
    "new_run_id",
    "recorded_step_ms",
    "site_time_s",
    "site_time_text",
    "tick_due",
    "ts_at",
    "utc_text",
]
