"""``telemetry.jobs``: the job table in full every ten seconds, and job events as they happen."""

from collections.abc import Iterator

import numpy as np

from producers.family import Reading
from twin.events.jobs import Job, JobEvent, JobTable, Overflow
from twin.events.layout import FrameLayout
from twin.plant import Plant
from twin.plant.failures import CAUSES
from twin.plant.jobs import EVENT_KINDS
from twin.plant.states import RUNNING, STANDBY

FULL_EVERY_S = 10.0
_FATAL_PER_GPU_H = sum(cause.per_million_gpu_h for cause in CAUSES if cause.stops_job) / 1e6


class JobProducer:
    """The scheduler: a message when there is something to say."""

    topic = "telemetry.jobs"

    def __init__(self, layout: FrameLayout) -> None:
        (self._key,) = layout.site.unit_ids("scheduler")

    def readings(self, plant: Plant, *, first_of_epoch: bool) -> Iterator[Reading]:
        """Read the scheduler's table."""
        jobs = plant.jobs
        ids = jobs.id.tolist()
        events = tuple(
            JobEvent(job=ids[row], kind=EVENT_KINDS[kind], text=f"{EVENT_KINDS[kind]} of {ids[row]}")
            for row, kind in jobs.events[: int(jobs.events_n)].tolist()
        )
        full = first_of_epoch or plant.tick % max(1, round(FULL_EVERY_S / plant.dt_s)) == 0
        if not (full or events):
            return
        yield Reading(self._key, self._table(plant, ids, events, full=full).model_dump_json().encode())

    def _table(self, plant: Plant, ids: list[str], events: tuple[JobEvent, ...], *, full: bool) -> JobTable:
        jobs = plant.jobs
        weight = float(jobs.gpu_n.sum()) or 1.0
        return JobTable(
            full=full,
            jobs=tuple(self._job(plant, row, id_) for row, id_ in enumerate(ids)) if full else (),
            events=events,
            overflow=Overflow(gpu_n=0, usd_h=0.0),
            running_n=int((jobs.state_code == RUNNING).sum()),
            queued_n=int((jobs.state_code == STANDBY).sum()),
            goodput=round(float((jobs.rate * jobs.gpu_n).sum()) / weight, 4),
            lost_gpu_h=round(float(jobs.lost_gpu_h.sum()), 3),
            failures_24h_n=int(jobs.failures_n.sum()),
            failures_expected_n=round(_FATAL_PER_GPU_H * 24 * weight, 3),
        )

    @staticmethod
    def _job(plant: Plant, row: int, id_: str) -> Job:
        jobs = plant.jobs
        return Job(
            id=id_,
            state_code=int(jobs.state_code[row]),
            gpu_n=int(jobs.gpu_n[row]),
            servers=tuple(ranges(np.flatnonzero(jobs.server_job == row))),
            step_s=round(float(jobs.step_s[row]), 3),
            step_ratio=round(float(jobs.step_ratio[row]), 4),
            mfu=round(float(jobs.mfu[row]), 4),
            ettr=round(float(jobs.ettr[row]), 4),
            bw_factor=round(float(jobs.bw_factor[row]), 4),
            tensor_active=round(float(jobs.activity[row]), 4),
            power_w=round(float(jobs.power_w[row])),
            power_low_w=round(float(jobs.power_low_w[row])),
            power_high_w=round(float(jobs.power_high_w[row])),
            progress_h=round(float(jobs.progress_h[row]), 4),
        )


def ranges(places: np.ndarray) -> Iterator[tuple[int, int]]:
    """Write sorted places as ranges [first, end).

    Examples
    --------
    >>> list(ranges(np.array([2, 3, 4, 8])))
    [(2, 5), (8, 9)]
    """
    if len(places):
        breaks = np.flatnonzero(np.diff(places) > 1) + 1
        for part in np.split(places, breaks):
            yield int(part[0]), int(part[-1]) + 1
