"""GPU errors: rare events from one stream of chance per cause, and the job that each may stop.

The next event of each cause is drawn ahead for the whole fleet; the victim is picked by frailty: a tick without
an event costs one comparison.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from twin.plant import jobs as job_table
from twin.plant.asbuilt import AsBuilt
from twin.plant.jobs import Jobs
from twin.site import Site

EVENTS_MAX = 4096  # a hall that shuts down reports no more than this in one tick
THERMAL_XID = 79  # a GPU that has shut itself down has fallen off the bus


class Cause(NamedTuple):
    """One cause of GPU errors.

    Attributes
    ----------
    per_million_gpu_h
        Rate over the fleet. [1/1e6 h]
    stops_job
        Whether the job that runs there must restart.
    ecc_dbe, row_remap_failed, nvlink_errors
        What else is counted with the XID.
    """

    name: str
    xid: int
    per_million_gpu_h: float
    stops_job: bool
    ecc_dbe: int = 0
    row_remap_failed: int = 0
    nvlink_errors: int = 0


# Rates: counts of the Llama 3 paper, table 5, over its GPU hours; 63 and 92 from Delta (arXiv 2503.11901).
CAUSES = (
    Cause("gpu_fault", 79, 6.970, stops_job=True),
    Cause("hbm_uncontained", 95, 3.391, stops_job=True, ecc_dbe=1),
    Cause("sram_contained", 94, 0.895, stops_job=True, ecc_dbe=1),
    Cause("system_processor", 119, 0.801, stops_job=True),
    Cause("remap_failure", 64, 0.330, stops_job=True, row_remap_failed=1),
    Cause("nvlink", 74, 0.283, stops_job=True, nvlink_errors=12),
    Cause("software", 31, 2.543, stops_job=True),
    Cause("remap_recorded", 63, 7.5, stops_job=False),
    Cause("single_bit_rate", 92, 2.0, stops_job=False),
)
STREAMS = tuple(f"xid_{cause.name}" for cause in CAUSES)


@dataclass(frozen=True)
class Failures:
    """Errors of the last tick, the first ``n`` places valid, and when each cause strikes next."""

    n: NDArray[np.int64]
    gpu: NDArray[np.int64]
    xid: NDArray[np.int64]
    ecc_dbe: NDArray[np.int64]
    row_remap_failed: NDArray[np.int64]
    nvlink_errors: NDArray[np.int64]
    next_at_s: NDArray[np.float64]
    total_n: NDArray[np.int64]


def new(site: Site, streams: dict[str, np.random.Generator]) -> Failures:
    """Draw when each cause strikes first."""
    next_at_s = np.array([streams[STREAMS[i]].exponential(_mean_s(site, cause)) for i, cause in enumerate(CAUSES)])
    places = {
        name: np.zeros(EVENTS_MAX, dtype=np.int64)
        for name in ("gpu", "xid", "ecc_dbe", "row_remap_failed", "nvlink_errors")
    }
    return Failures(
        n=np.zeros((), dtype=np.int64),
        next_at_s=next_at_s,
        total_n=np.zeros(len(CAUSES), dtype=np.int64),
        **places,
    )


def _mean_s(site: Site, cause: Cause) -> float:
    return 3600.0 * 1e6 / (cause.per_million_gpu_h * site.layout.gpu_count)


def step(
    failures: Failures,
    site: Site,
    asbuilt: AsBuilt,
    jobs: Jobs,
    streams: dict[str, np.random.Generator],
    newly_off: Sequence[int],
    until_s: float,
) -> None:
    """Let GPUs fail up to an instant.

    Parameters
    ----------
    failures, jobs
        Changed in place; a job that loses a GPU begins its restart.
    site, asbuilt
        Nameplate and as-built frailty.
    streams
        One stream of random numbers per cause.
    newly_off
        GPUs that have shut themselves down in this tick.
    until_s
        Time of the plant at the end of the tick. [s]
    """
    failures.n[...] = 0
    for gpu in newly_off:
        _note(failures, gpu, THERMAL_XID)
    if float(failures.next_at_s.min()) > until_s:
        return
    for number, cause in enumerate(CAUSES):
        stream = streams[STREAMS[number]]
        while failures.next_at_s[number] <= until_s:
            place = stream.random() * asbuilt.server_frailty_cum[-1]
            server = int(np.searchsorted(asbuilt.server_frailty_cum, place))
            gpu = server * site.layout.gpus_per_server + int(stream.integers(site.layout.gpus_per_server))
            failures.next_at_s[number] += stream.exponential(_mean_s(site, cause))
            failures.total_n[number] += 1
            _note(failures, gpu, cause.xid, cause)
            if cause.stops_job:
                job_table.fail(jobs, int(jobs.server_job[server]))


def _note(failures: Failures, gpu: int, xid: int, cause: Cause | None = None) -> None:
    place = int(failures.n)
    if place == EVENTS_MAX:
        return
    failures.gpu[place], failures.xid[place] = gpu, xid
    failures.ecc_dbe[place] = cause.ecc_dbe if cause else 0
    failures.row_remap_failed[place] = cause.row_remap_failed if cause else 0
    failures.nvlink_errors[place] = cause.nvlink_errors if cause else 0
    failures.n[...] += 1
