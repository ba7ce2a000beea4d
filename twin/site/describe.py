"""A site in plain text: counts, units by kind, jobs, and every number with its source and how sure it is."""

from collections.abc import Iterable, Iterator, Sequence

from twin.site.fields import numbers
from twin.site.models import Site
from twin.site.units import UNIT_KINDS


def describe(site: Site) -> str:
    """Write a site down for a person: counts, units by kind, jobs, numbers with their sources."""
    return "\n\n".join(
        (
            _head(site),
            _table(("hall", "GPU", "arrays", "racks", "GPUs"), _halls(site)),
            _table(("units", "n", "first", "last"), _units(site)),
            _table(("job", "kind", "GPUs", "first server", "spare GPUs"), _jobs(site)),
            _table(("number", "value", "how sure", "source"), _numbers(site)),
        )
    )


def _head(site: Site) -> str:
    layout = site.layout
    return (
        f"{site.id}: {site.title}\n"
        f"{layout.gpu_count:,} GPUs, {layout.server_count:,} servers, {layout.rack_count:,} racks, "
        f"{layout.array_count:,} arrays, {layout.hall_count:,} halls\n"
        f"scale {site.scale:.5g}, {site.timezone}, weather {site.weather}, crc {site.crc}"
    )


def _halls(site: Site) -> Iterator[Sequence[str]]:
    layout = site.layout
    for i, hall in enumerate(site.halls):
        first_rack, end_rack = layout.hall_first_rack[i : i + 2]
        arrays_n = layout.hall_first_array[i + 1] - layout.hall_first_array[i]
        gpus_n = layout.rack_first_gpu[end_rack] - layout.rack_first_gpu[first_rack]
        yield hall.id, site.gpus[hall.gpu].name, f"{arrays_n:,}", f"{hall.racks_n:,}", f"{gpus_n:,}"


def _units(site: Site) -> Iterator[Sequence[str]]:
    for kind in UNIT_KINDS:
        ids = site.unit_ids(kind)
        if ids:
            yield kind, f"{len(ids):,}", ids[0], ids[-1]


def _jobs(site: Site) -> Iterator[Sequence[str]]:
    for name, job in site.jobs.items():
        spares_n = sum(block.gpus_n for block in job.spares)
        yield name, job.kind, f"{job.gpus_n:,}", job.blocks[0].start, f"{spares_n:,}"


def _numbers(site: Site) -> Iterator[Sequence[str]]:
    for path, value, _ in numbers(site):
        values = value if isinstance(value, tuple) else (value,)
        source = site.sources[path]
        yield path, " ".join(f"{v:.10g}" for v in values), source.sure, source.source


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
