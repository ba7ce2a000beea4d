"""Jobs: who runs where, how active its GPUs are, how far it has come.

A job's step swings faster than a tick. The table carries its envelope; GPUs see the mean activity of the tick,
and the fast channel of :mod:`twin.plant.power` the same envelope in twentieths of its last second.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin.physics import workload
from twin.plant.states import RUNNING, STARTING, TRIPPED
from twin.site import Site

Floats = NDArray[np.float64]

KINDS = ("training", "inference", "small", "fill")
EVENT_KINDS = ("start", "end", "checkpoint", "failure", "restart", "stall", "replace")
EVENTS_MAX = 64
FAST_PER_S = 20
IDLE = -1  # in server_job: no job here

RESTART_ACTIVITY = 0.05  # GPUs wait for the job to load (assumption)
DRIFT_SHARE, DRIFT_S = 0.004, 900.0  # a job's activity wanders a little with its data (assumption)
MFU_PER_ACTIVITY = 0.47  # 40 % model FLOPs at a mean activity of 0.86 (Llama 3: 38-43 %)
FB_USED_RATIO = {"training": 0.92, "inference": 0.85, "small": 0.60, "fill": 0.60}  # assumption


@dataclass(frozen=True)
class Jobs:
    """The table of jobs (n,), where they run, and what happened to them in the last tick.

    ``server_job`` has the row of the job on each server, ``server_spare_of`` that of the job that may take it.
    ``events`` rows are (job, index in ``EVENT_KINDS``), the first ``events_n`` of them valid.
    """

    id: NDArray[np.str_]
    kind_code: NDArray[np.uint8]
    gpu_n: NDArray[np.int64]
    spare_n: NDArray[np.int64]
    activity_high: Floats
    activity_low: Floats
    checkpoint_activity: Floats
    duty_ratio: Floats
    step_best_s: Floats
    checkpoint_interval_s: Floats
    checkpoint_length_s: Floats
    partial_restart_s: Floats
    full_restart_s: Floats
    state_code: NDArray[np.uint8]
    cycles: Floats
    since_checkpoint_s: Floats
    restart_left_s: Floats
    clock_ratio: Floats
    bw_factor: Floats
    lost_n: NDArray[np.int64]
    spare_lost_n: NDArray[np.int64]
    step_s: Floats
    step_ratio: Floats
    activity: Floats
    fast_activity: Floats
    sm_active: Floats
    rate: Floats
    progress_h: Floats
    saved_h: Floats
    run_h: Floats
    lost_gpu_h: Floats
    failures_n: NDArray[np.int64]
    mfu: Floats
    ettr: Floats
    power_w: Floats
    power_low_w: Floats
    power_high_w: Floats
    slope_w: Floats
    server_job: NDArray[np.int16]
    server_spare_of: NDArray[np.int16]
    events: NDArray[np.int16]
    events_n: NDArray[np.int64]


def new(site: Site) -> Jobs:
    """Lay the jobs of a site out on its servers."""
    plans = list(site.jobs.items())
    n = len(plans)
    server_job = np.full(site.layout.server_count, IDLE, dtype=np.int16)
    server_spare_of = server_job.copy()
    for row, (_, plan) in enumerate(plans):
        for places, blocks in ((server_job, plan.blocks), (server_spare_of, plan.spares)):
            for block in blocks:
                first = site.layout.server_index(block.start)
                places[first : first + -(-block.gpus_n // site.layout.gpus_per_server)] = row

    def each(name: str) -> Floats:
        return np.array([getattr(plan, name) for _, plan in plans], dtype=float)

    def zeros() -> Floats:
        return np.zeros(n)

    return Jobs(
        id=np.array([id_ for id_, _ in plans], dtype="U48"),
        kind_code=np.array([KINDS.index(plan.kind) for _, plan in plans], dtype=np.uint8),
        gpu_n=np.array([plan.gpus_n for _, plan in plans], dtype=np.int64),
        spare_n=np.array([sum(block.gpus_n for block in plan.spares) for _, plan in plans], dtype=np.int64),
        activity_high=each("activity_high"),
        activity_low=each("activity_low"),
        checkpoint_activity=each("checkpoint_activity"),
        duty_ratio=each("duty_ratio"),
        step_best_s=each("step_s"),
        checkpoint_interval_s=each("checkpoint_interval_s"),
        checkpoint_length_s=each("checkpoint_s"),
        partial_restart_s=each("partial_restart_s"),
        full_restart_s=each("full_restart_s"),
        state_code=np.full(n, RUNNING, dtype=np.uint8),
        cycles=zeros(),
        since_checkpoint_s=zeros(),
        restart_left_s=zeros(),
        clock_ratio=np.ones(n),
        bw_factor=np.full(n, site.network.throughput_ratio),
        lost_n=np.zeros(n, dtype=np.int64),
        spare_lost_n=np.zeros(n, dtype=np.int64),
        step_s=each("step_s"),
        step_ratio=np.ones(n),
        activity=zeros(),
        fast_activity=np.zeros((n, FAST_PER_S)),
        sm_active=zeros(),
        rate=np.ones(n),
        progress_h=zeros(),
        saved_h=zeros(),
        run_h=zeros(),
        lost_gpu_h=zeros(),
        failures_n=np.zeros(n, dtype=np.int64),
        mfu=zeros(),
        ettr=np.ones(n),
        power_w=zeros(),
        power_low_w=zeros(),
        power_high_w=zeros(),
        slope_w=zeros(),
        server_job=server_job,
        server_spare_of=server_spare_of,
        events=np.zeros((EVENTS_MAX, 2), dtype=np.int16),
        events_n=np.zeros((), dtype=np.int64),
    )


def segments(server_job: NDArray[np.int16]) -> tuple[tuple[int, int, int], ...]:
    """List who runs where: first server, end, row of the job (or ``IDLE``), in site order."""
    changes = np.flatnonzero(np.diff(server_job)) + 1
    bounds = [0, *changes.tolist(), len(server_job)]
    return tuple((a, b, int(server_job[a])) for a, b in itertools.pairwise(bounds))


def mean_activity(jobs: Jobs, edges_s: Sequence[float] | Floats, elapsed_s: float) -> Floats:
    """Compute the mean activity of each job between edges in time, from the state before the tick.

    Parameters
    ----------
    jobs
        The table.
    edges_s
        Ascending from 0, the begin of the tick, shape (m,). [s]
    elapsed_s
        Time of the plant at the begin of the tick. [s]

    Returns
    -------
    ndarray
        Shape (n, m - 1).
    """
    edges = np.asarray(edges_s, dtype=float)
    active = _active_s(jobs, edges)
    writing = _writing_s(jobs, active)
    cycles = jobs.cycles[:, None] + (active - writing) / jobs.step_s[:, None]
    high = workload.high_share(cycles[:, :-1], cycles[:, 1:], jobs.duty_ratio[:, None])
    active, writing = np.diff(active), np.diff(writing)
    working = workload.mean_activity(
        high,
        writing / np.maximum(active, 1e-12),
        activity_high=jobs.activity_high[:, None],
        activity_low=jobs.activity_low[:, None],
        checkpoint_activity=jobs.checkpoint_activity[:, None],
    )
    stalled = 1.0 - active / np.diff(edges)
    phase = elapsed_s / DRIFT_S + 0.37 * np.arange(len(jobs.id))
    drift = (1.0 + DRIFT_SHARE * np.sin(2.0 * np.pi * phase))[:, None]
    activity: Floats = np.asarray((working + (RESTART_ACTIVITY - working) * stalled) * drift)
    return np.where(jobs.state_code[:, None] == TRIPPED, 0.0, activity)


def _active_s(jobs: Jobs, edges: Floats) -> Floats:
    """Integrate the time that is not spent on a restart from the begin of the tick to each edge."""
    active: Floats = np.maximum(edges - jobs.restart_left_s[:, None], 0.0)
    return active


def _writing_s(jobs: Jobs, active: Floats) -> Floats:
    """Integrate the time spent on checkpoints from the begin of the tick to each active time."""
    saves = (jobs.checkpoint_interval_s > 0.0)[:, None]
    interval = np.where(saves, jobs.checkpoint_interval_s[:, None], 1.0)
    work = 1.0 - jobs.checkpoint_length_s[:, None] / interval
    since = jobs.since_checkpoint_s[:, None]
    computing = workload.high_cycles((since + active) / interval, work) - workload.high_cycles(since / interval, work)
    writing: Floats = np.where(saves, active - computing * interval, 0.0)
    return writing


def fast_edges_s(dt_s: float) -> Floats:
    """Cut the last second of a tick, or the whole of a shorter one, into the spans of the fast channel. [s]."""
    span_s = min(dt_s, 1.0)
    return np.linspace(dt_s - span_s, dt_s, FAST_PER_S + 1)


def step(jobs: Jobs, dt_s: float, elapsed_s: float) -> None:
    """Set what the jobs ask of their GPUs in this tick.

    Parameters
    ----------
    jobs
        Changed in place: ``activity``, ``sm_active`` of the tick, ``fast_activity`` of its last second.
    dt_s
        Length of the tick. [s]
    elapsed_s
        Time of the plant at the begin of the tick. [s]
    """
    jobs.events_n[...] = 0
    before_s = [0.0] if dt_s > 1.0 else []
    edges_s: Floats = np.array([*before_s, *fast_edges_s(dt_s)])
    profile = mean_activity(jobs, edges_s, elapsed_s)
    jobs.fast_activity[:] = profile[:, -FAST_PER_S:]
    jobs.activity[:] = profile @ (np.diff(edges_s) / dt_s)
    # Pipes of a busy SM overlap: it counts as active long before its tensor pipes are full (assumption).
    jobs.sm_active[:] = 1.0 - np.square(1.0 - np.minimum(jobs.activity, 1.0))


def advance(jobs: Jobs, site: Site, dt_s: float) -> None:
    """Let the jobs make their progress of the tick, once clocks, links and losses are known.

    Parameters
    ----------
    jobs
        Changed in place.
    site
        Nameplate.
    dt_s
        Length of the tick. [s]
    """
    _lose(jobs)
    stopped = jobs.state_code == TRIPPED
    active_s = _active_s(jobs, np.array([dt_s]))
    writing_s = _writing_s(jobs, active_s)[:, 0]
    active_s = np.where(stopped, 0.0, active_s[:, 0])
    computing_s = np.where(stopped, 0.0, active_s - writing_s)
    jobs.cycles[:] += computing_s / jobs.step_s
    training = jobs.kind_code == KINDS.index("training")
    jobs.step_ratio[:] = workload.step_ratio(
        np.where(training, jobs.duty_ratio, 1.0),
        jobs.clock_ratio,
        jobs.bw_factor / site.network.throughput_ratio,
    )
    jobs.step_s[:] = jobs.step_best_s * jobs.step_ratio
    jobs.rate[:] = active_s / dt_s / jobs.step_ratio
    jobs.progress_h[:] += computing_s / jobs.step_ratio / 3600.0
    jobs.run_h[:] += dt_s / 3600.0
    jobs.lost_gpu_h[:] += jobs.gpu_n * (1.0 - jobs.rate) * dt_s / 3600.0
    jobs.ettr[:] = np.minimum(jobs.progress_h / jobs.run_h, 1.0)
    jobs.mfu[:] = np.where(training, MFU_PER_ACTIVITY * jobs.activity, 0.0)
    _save(jobs, active_s)
    back = (jobs.restart_left_s > 0.0) & (jobs.restart_left_s <= dt_s) & ~stopped
    jobs.restart_left_s[:] = np.maximum(jobs.restart_left_s - dt_s, 0.0)
    jobs.state_code[back] = RUNNING
    _note(jobs, back, "start")


def _lose(jobs: Jobs) -> None:
    """Stop jobs that lost more GPUs than they have spares; bring them back when the GPUs are back."""
    short = jobs.lost_n > jobs.spare_n - jobs.spare_lost_n
    stop = short & (jobs.state_code != TRIPPED)
    jobs.state_code[stop] = TRIPPED
    jobs.restart_left_s[stop] = 0.0
    _note(jobs, stop, "failure")
    again = ~short & (jobs.state_code == TRIPPED)
    _restart(jobs, again, jobs.full_restart_s)


def _save(jobs: Jobs, active_s: Floats) -> None:
    saves = jobs.checkpoint_interval_s > 0.0
    jobs.since_checkpoint_s[saves] += active_s[saves]
    done = saves & (jobs.since_checkpoint_s >= jobs.checkpoint_interval_s)
    if done.any():
        jobs.since_checkpoint_s[done] %= jobs.checkpoint_interval_s[done]
        jobs.saved_h[done] = jobs.progress_h[done]
        _note(jobs, done, "checkpoint")


def fail(jobs: Jobs, row: int) -> None:
    """Restart a job that lost a GPU, on a spare if it has one.

    Parameters
    ----------
    jobs
        Changed in place.
    row
        Of the job that fails; ``IDLE`` changes nothing.
    """
    if row == IDLE or jobs.state_code[row] == TRIPPED:
        return
    which = np.zeros(len(jobs.id), dtype=bool)
    which[row] = True
    jobs.failures_n[row] += 1
    _note(jobs, which, "failure")
    _restart(jobs, which, jobs.partial_restart_s if jobs.spare_n[row] else jobs.full_restart_s)


def _restart(jobs: Jobs, which: NDArray[np.bool_], length_s: Floats) -> None:
    """Go back to the last checkpoint."""
    if not which.any():
        return
    again_h = jobs.progress_h[which] - jobs.saved_h[which]
    saves = jobs.checkpoint_interval_s[which] > 0.0
    jobs.lost_gpu_h[which] += np.where(saves, again_h, 0.0) * jobs.gpu_n[which]
    jobs.progress_h[which] -= np.where(saves, again_h, 0.0)
    jobs.since_checkpoint_s[which] = 0.0
    jobs.restart_left_s[which] = length_s[which]
    jobs.state_code[which] = STARTING
    _note(jobs, which, "restart")


def _note(jobs: Jobs, which: NDArray[np.bool_], kind: str) -> None:
    code = EVENT_KINDS.index(kind)
    for row in np.flatnonzero(which)[: EVENTS_MAX - int(jobs.events_n)]:
        jobs.events[int(jobs.events_n)] = (row, code)
        jobs.events_n[...] += 1


def account(jobs: Jobs, site: Site, parts: Sequence[tuple[int, int, int]], server_power_w: NDArray[Any]) -> None:
    """Set the power of each job, and how it would change with its activity.

    Parameters
    ----------
    jobs
        Changed in place: ``power_w``, ``power_low_w``, ``power_high_w``, ``slope_w``.
    site
        Nameplate.
    parts
        See :func:`segments`.
    server_power_w
        Input of each server, shape (servers,). [W]
    """
    jobs.power_w[:] = 0.0
    for first, end, row in parts:
        if row != IDLE:
            jobs.power_w[row] += float(server_power_w[first:end].sum())
    idle_w = min(model.power_idle_w for model in site.gpus.values())
    servers_n = jobs.gpu_n / site.layout.gpus_per_server
    base_w = servers_n * server_base_w(site, jobs.activity)
    swinging_w = np.maximum(jobs.power_w - (jobs.gpu_n * idle_w + base_w) / site.server.psu_efficiency, 0.0)
    # GPUs swing with the step; the rest of a server follows its mean.
    jobs.slope_w[:] = swinging_w / np.maximum(jobs.activity, 0.05)
    jobs.power_low_w[:] = jobs.power_w + jobs.slope_w * (jobs.activity_low - jobs.activity)
    jobs.power_high_w[:] = jobs.power_w + jobs.slope_w * (jobs.activity_high - jobs.activity)


def server_base_w(site: Site, activity: Any) -> Any:
    """Compute what a server takes beside its GPUs, before its power supplies.

    Parameters
    ----------
    site
        Nameplate.
    activity
        Mean of its GPUs; at the reference plant's mean of 0.86 the rest of the server is loaded in full.

    Returns
    -------
    float or ndarray
        Of one server. [W]
    """
    loaded = np.minimum(np.divide(activity, 0.86), 1.0)
    return site.server.base_idle_w + (site.server.base_loaded_w - site.server.base_idle_w) * loaded
