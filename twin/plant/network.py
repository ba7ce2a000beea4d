"""The network between the GPUs: leaf switches by array and rail, their links, what a job has of them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twin.plant.jobs import IDLE, Jobs
from twin.plant.states import RUNNING, TRIPPED
from twin.site import Site

Floats = NDArray[np.float64]

MONTH_S = 30.44 * 86_400.0
FLAPS_PER_LINK_MONTH = 0.5  # 0.1-1 (Alibaba HPN: 5,000-60,000 a day in the whole cluster)
REPAIR_S = 8.0 * 3600.0  # median of a swap, lognormal (assumption)
REPAIR_SIGMA = 0.5
REPAIRS_MAX = 256
CAUSES = ("link_flap", "link_failure", "switch_failure")
STREAMS = tuple(f"network_{cause}" for cause in CAUSES)


@dataclass(frozen=True)
class Network:
    """Leaf switches (n,) in site order, and halls; repairs under way, ``inf`` where the place is free."""

    state_code: NDArray[np.uint8]
    links_down_n: NDArray[np.int32]
    utilisation: Floats
    hall_links_n: NDArray[np.int64]
    hall_links_down_n: NDArray[np.int64]
    hall_flaps_n: NDArray[np.int64]
    hall_switch_down_n: NDArray[np.int64]
    hall_utilisation_max: Floats
    hall_ecn_mean: Floats
    next_at_s: Floats
    repair_at_s: Floats
    repair_switch: NDArray[np.int32]


@dataclass
class NetworkWork:
    """What follows from the layout: links, hall, array and job of each switch."""

    links_n: NDArray[np.int32]
    hall: NDArray[np.intp]
    array: NDArray[np.intp]
    array_server: NDArray[np.intp]
    jobs_of: tuple[NDArray[np.intp], ...]


def new(site: Site, work: NetworkWork, streams: dict[str, np.random.Generator]) -> Network:
    """Make a network in which everything works, and draw the first events."""
    n, halls = len(work.links_n), site.layout.hall_count
    hall_links = np.bincount(work.hall, weights=work.links_n, minlength=halls).astype(np.int64)
    network = Network(
        state_code=np.full(n, RUNNING, dtype=np.uint8),
        links_down_n=np.zeros(n, dtype=np.int32),
        utilisation=np.zeros(n),
        hall_links_n=hall_links,
        hall_links_down_n=np.zeros(halls, dtype=np.int64),
        hall_flaps_n=np.zeros(halls, dtype=np.int64),
        hall_switch_down_n=np.zeros(halls, dtype=np.int64),
        hall_utilisation_max=np.zeros(halls),
        hall_ecn_mean=np.zeros(halls),
        next_at_s=np.zeros(len(CAUSES)),
        repair_at_s=np.full(REPAIRS_MAX, np.inf),
        repair_switch=np.zeros(REPAIRS_MAX, dtype=np.int32),
    )
    for number, rate_hz in enumerate(_rates_hz(site, int(hall_links.sum()), n)):
        network.next_at_s[number] = streams[STREAMS[number]].exponential(1.0 / rate_hz)
    return network


def new_work(site: Site, jobs: Jobs) -> NetworkWork:
    """Work out which switch serves which array, hall and job."""
    layout, rails = site.layout, site.network.rails_n
    first_server = layout.rack_first_server[layout.array_first_rack]
    servers = np.diff(first_server)
    array = np.repeat(np.arange(layout.array_count), rails)
    jobs_of: list[NDArray[np.intp]] = []
    for row in range(len(jobs.id)):
        arrays = np.unique(np.searchsorted(first_server, np.flatnonzero(jobs.server_job == row), side="right") - 1)
        jobs_of.append((arrays[:, None] * rails + np.arange(rails)).ravel())
    return NetworkWork(
        links_n=servers[array].astype(np.int32),
        hall=layout.array_hall[array].astype(np.intp),
        array=array,
        array_server=first_server[:-1].astype(np.intp),
        jobs_of=tuple(jobs_of),
    )


def _rates_hz(site: Site, links_n: int, switches_n: int) -> tuple[float, ...]:
    return (
        links_n * FLAPS_PER_LINK_MONTH / MONTH_S,
        links_n * site.network.link_failures_per_month / MONTH_S,
        switches_n * site.network.switch_failures_per_month / MONTH_S,
    )


def step(
    network: Network,
    work: NetworkWork,
    site: Site,
    jobs: Jobs,
    streams: dict[str, np.random.Generator],
    until_s: float,
) -> None:
    """Let links and switches fail and come back up to an instant, and give the jobs their bandwidth.

    Parameters
    ----------
    network, jobs
        Changed in place; of the jobs ``bw_factor``.
    work, site
        Layout and nameplate.
    streams
        One stream of random numbers per cause.
    until_s
        Time of the plant at the end of the tick. [s]
    """
    network.hall_flaps_n[:] = 0
    changed = False
    if float(network.next_at_s.min()) <= until_s:
        changed = _fail(network, work, site, streams, until_s)
    back = np.flatnonzero(network.repair_at_s <= until_s)
    for place in back:
        _repair(network, work, int(place))
    if changed or len(back):
        _count(network, work, site, jobs)

    row = jobs.server_job[work.array_server[work.array]]
    talking = np.where(row == IDLE, 0.0, _talk_ratio(jobs)[row])
    np.multiply(talking, network.state_code == RUNNING, out=network.utilisation)
    firsts = np.searchsorted(work.hall, np.arange(site.layout.hall_count))
    np.maximum.reduceat(network.utilisation, firsts, out=network.hall_utilisation_max)
    marked = np.clip((network.utilisation - 0.8) / 0.2, 0.0, 1.0)
    network.hall_ecn_mean[:] = np.add.reduceat(marked, firsts) / np.bincount(work.hall)


def _talk_ratio(jobs: Jobs) -> Floats:
    """Give the share of a job's time in which its links are full."""
    span = np.maximum(jobs.activity_high - jobs.activity_low, 1e-9)
    steps = np.clip((jobs.activity_high - jobs.activity) / span, 0.0, 1.0)
    talking: Floats = np.where(jobs.duty_ratio < 1.0, steps, 0.3) * jobs.bw_factor
    return talking


def _fail(
    network: Network,
    work: NetworkWork,
    site: Site,
    streams: dict[str, np.random.Generator],
    until_s: float,
) -> bool:
    rates_hz = _rates_hz(site, int(network.hall_links_n.sum()), len(work.links_n))
    broken = False
    for number, cause in enumerate(CAUSES):
        stream = streams[STREAMS[number]]
        while network.next_at_s[number] <= until_s:
            switch = int(stream.integers(len(work.links_n)))
            network.next_at_s[number] += stream.exponential(1.0 / rates_hz[number])
            if cause == "link_flap":
                network.hall_flaps_n[work.hall[switch]] += 1
                continue
            repair_s = REPAIR_S * float(np.exp(REPAIR_SIGMA * stream.standard_normal()))
            broken |= _break(network, work, switch, until_s + repair_s, whole=cause == "switch_failure")
    return broken


def _break(network: Network, work: NetworkWork, switch: int, until_s: float, *, whole: bool) -> bool:
    """Take one link, or the whole switch, out of service until its repair."""
    place = int(np.argmax(network.repair_at_s))
    if np.isfinite(network.repair_at_s[place]) or network.state_code[switch] == TRIPPED:
        return False
    network.repair_at_s[place], network.repair_switch[place] = until_s, switch
    if whole:
        network.state_code[switch] = TRIPPED
        network.links_down_n[switch] = work.links_n[switch]
    else:
        network.links_down_n[switch] = min(network.links_down_n[switch] + 1, work.links_n[switch])
    return True


def _repair(network: Network, work: NetworkWork, place: int) -> None:
    switch = int(network.repair_switch[place])
    network.repair_at_s[place] = np.inf
    if network.state_code[switch] == TRIPPED:
        network.state_code[switch], network.links_down_n[switch] = RUNNING, 0
    else:
        network.links_down_n[switch] = max(network.links_down_n[switch] - 1, 0)


def _count(network: Network, work: NetworkWork, site: Site, jobs: Jobs) -> None:
    """Count what is down by hall; a job has the bandwidth of its worst rail."""
    halls = site.layout.hall_count
    network.hall_links_down_n[:] = np.bincount(work.hall, weights=network.links_down_n, minlength=halls)
    network.hall_switch_down_n[:] = np.bincount(work.hall, weights=network.state_code == TRIPPED, minlength=halls)
    good = 1.0 - network.links_down_n / work.links_n
    for row, switches in enumerate(work.jobs_of):
        worst = float(good[switches].min()) if len(switches) else 1.0
        jobs.bw_factor[row] = site.network.throughput_ratio * worst
