"""What a site file may not say although each of its values is possible: contradictions between values."""

import itertools
import zoneinfo
from collections.abc import Iterator
from importlib import resources

from twin.site.compute import Block, GpuModel
from twin.site.models import SiteFile

GPUS_MAX_N = 10_000_000


def contradictions(site: SiteFile, file_name: str) -> Iterator[str]:
    """Find every contradiction of a site file whose values are possible one by one.

    Parameters
    ----------
    site
        The content of the file.
    file_name
        Its name, without folder: a site is found by it, so the id must be the same.

    Yields
    ------
    str
        ``path: value: what is allowed``.
    """
    if site.id != file_name.removesuffix(".yaml"):
        yield f"id: {site.id!r}: allowed is the name of the file, {file_name.removesuffix('.yaml')!r}"
    if not _is_timezone(site.timezone):
        yield f"timezone: {site.timezone!r}: allowed is a name of the IANA table, like America/Chicago"
    if not (resources.files("twin.site") / "weather" / f"{site.weather}.csv").is_file():
        yield f"weather: {site.weather!r}: allowed is the name of a file of twin/site/weather without .csv"
    yield from _halls(site)
    for name, gpu in site.gpus.items():
        yield from _gpu(f"gpus.{name}", gpu)
    yield from _ordered("battery", soc_min=site.battery.soc_min, soc_max=site.battery.soc_max)
    yield from _ordered("chiller", leaving_min_c=site.chiller.leaving_min_c, leaving_max_c=site.chiller.leaving_max_c)
    yield from _ordered("loop", supply_set_c=site.loop.supply_set_c, supply_max_c=site.loop.supply_max_c)
    if site.tower.fragile_cells_n > site.tower.cells_n:
        yield f"tower.fragile_cells_n: {site.tower.fragile_cells_n}: at most cells_n, {site.tower.cells_n}"
    stages = [stage.below_hz for stage in site.electrical.shed_stages]
    if stages != sorted(set(stages), reverse=True):
        yield f"electrical.shed_stages: {stages}: each stage lies below the one before"
    yield from _jobs(site)


def _is_timezone(name: str) -> bool:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        return False
    return True


def _halls(site: SiteFile) -> Iterator[str]:
    if site.gpus_n > GPUS_MAX_N:
        yield f"halls: {site.gpus_n} GPUs in all racks: allowed are at most {GPUS_MAX_N}"
    for i, hall in enumerate(site.halls):
        if hall.id != f"H{i + 1}":
            yield f"halls.{i}.id: {hall.id!r}: allowed is H{i + 1} (numbered in order, none twice)"
        if hall.gpu not in site.gpus:
            yield f"halls.{i}.gpu: {hall.gpu!r}: allowed are the keys of gpus: {', '.join(site.gpus)}"
    if site.electrical.shed_hall not in [hall.id for hall in site.halls]:
        allowed = ", ".join(hall.id for hall in site.halls)
        yield f"electrical.shed_hall: {site.electrical.shed_hall!r}: allowed are {allowed}"


def _gpu(path: str, gpu: GpuModel) -> Iterator[str]:
    yield from _ordered(
        path,
        throttle_release_c=gpu.throttle_release_c,
        max_operating_c=gpu.max_operating_c,
        slowdown_c=gpu.slowdown_c,
        shutdown_c=gpu.shutdown_c,
    )
    yield from _ordered(path, power_idle_w=gpu.power_idle_w, power_min_w=gpu.power_min_w, power_max_w=gpu.power_max_w)
    yield from _ordered(path, sm_clock_idle_mhz=gpu.sm_clock_idle_mhz, sm_clock_max_mhz=gpu.sm_clock_max_mhz)


def _ordered(path: str, **values: float) -> Iterator[str]:
    for lower, upper in itertools.pairwise(values):
        if not values[lower] < values[upper]:
            yield f"{path}.{upper}: {values[upper]}: must be above {lower}, {values[lower]}"


def _jobs(site: SiteFile) -> Iterator[str]:
    """Jobs hold whole servers of the site, none twice; a spare may be lent to a preemptible job."""
    taken: dict[int, str] = {}
    for name, job in site.jobs.items():
        yield from _place(site, f"jobs.{name}.blocks", job.blocks, name, taken)
    fixed = {server: name for server, name in taken.items() if not site.jobs[name].preemptible}
    for name, job in site.jobs.items():
        yield from _place(site, f"jobs.{name}.spares", job.spares, name, fixed)


def _place(site: SiteFile, path: str, blocks: tuple[Block, ...], job: str, taken: dict[int, str]) -> Iterator[str]:
    per_server, per_rack = site.rack.gpus_per_server_n, site.rack.servers_n
    servers_n = sum(hall.racks_n for hall in site.halls) * per_rack
    for i, block in enumerate(blocks):
        told = f"{path}.{i}: {block.start} and {block.gpus_n} GPUs"
        rack, server = map(int, block.start[1:].split("-s"))
        first = (rack - 1) * per_rack + server
        servers = range(first, first + block.gpus_n // per_server)
        if block.gpus_n % per_server:
            yield f"{told}: allowed are whole servers of {per_server} GPUs"
        if rack < 1 or server >= per_rack or servers.stop > servers_n:
            yield f"{told}: allowed is what the {servers_n} servers of the site hold"
        owner = next((taken[s] for s in servers if s in taken), None)
        if owner is not None:
            yield f"{told}: allowed are GPUs that {owner} does not hold"
        taken.update(dict.fromkeys(servers, job))
