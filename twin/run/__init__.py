"""Runs: the lease of a namespace, epochs, and the two clocks (tick and display time). Pure: no bus, no clock.

To add a way to jump: one method of ``RunOwner`` that opens an epoch, and its verb in ``producers/requests.py``.
"""

from twin.run.line import line_from, ms_per_tick, tick_due, ts_at
from twin.run.owner import LEASE_MS, RunOwner, RunPlan, new_run_id
from twin.run.view import HOLD_S, RunView, Standing

__all__ = [
    "HOLD_S",
    "LEASE_MS",
    "RunOwner",
    "RunPlan",
    "RunView",
    "Standing",
    "line_from",
    "ms_per_tick",
    "new_run_id",
    "tick_due",
    "ts_at",
]
