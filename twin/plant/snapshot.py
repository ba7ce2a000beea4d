"""Snapshots: the whole state of a plant as bytes, back again, and its hash.

One function, :func:`restore`, serves takeover, backtrack, resume, warm-up and futures.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import zstandard
from numpy.typing import NDArray

from twin.errors import SiteInvalid, SnapshotInvalid
from twin.plant import commands as orders
from twin.plant import malfunctions
from twin.plant.model import ActiveMalfunction, Plant, Value
from twin.plant.plant import blank, step
from twin.site import Site, load_site

SCHEMA = "plant/1"
PARTS = ("weather", "jobs", "gpus", "cooling", "power", "network", "failures", "counters")
_LEVEL = 3


@dataclass(frozen=True)
class TimedCommand:
    """A command that the plant accepted at a tick."""

    tick: int
    verb: str
    unit: str
    params: dict[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class TimedInject:
    """A malfunction that was put in at a tick."""

    tick: int
    kind: str
    target: str
    severity: float = 1.0
    ramp_s: float = 0.0
    delay_s: float = 0.0
    hold_s: float | None = None
    params: dict[str, Value] = field(default_factory=dict)


def state_arrays(plant: Plant) -> Iterator[tuple[str, NDArray[Any]]]:
    """Walk through every array of a plant's state, with its path.

    Parameters
    ----------
    plant
        As-built values and what follows from the state are not part of it.
    """
    for part in PARTS:
        yield from _arrays(part, getattr(plant, part))


def _arrays(path: str, node: Any) -> Iterator[tuple[str, NDArray[Any]]]:
    if isinstance(node, np.ndarray):
        yield path, node
        return
    for item in dataclasses.fields(node):
        yield from _arrays(f"{path}.{item.name}", getattr(node, item.name))


def _header(plant: Plant) -> dict[str, Any]:
    """Collect what is no array."""
    return {
        "schema": SCHEMA,
        "site": plant.site.id,
        "site_crc": plant.site.crc,
        "seed": plant.seed,
        "tick": plant.tick,
        "dt_s": plant.dt_s,
        "elapsed_s": plant.elapsed_s,
        "site_time_s": plant.site_time_s,
        "automatic_operator": plant.automatic_operator,
        "malfunctions": [dataclasses.asdict(active) for active in plant.malfunctions],
        "streams": {name: stream.bit_generator.state for name, stream in plant.streams.items()},
    }


def state_hash(plant: Plant) -> str:
    """Hash the whole state: the same site, seed and commands give the same hash on the same machine.

    Parameters
    ----------
    plant
        Read only.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    digest = hashlib.sha256(json.dumps(_header(plant), sort_keys=True).encode())
    for path, array in state_arrays(plant):
        digest.update(path.encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def snapshot(plant: Plant) -> bytes:
    """Pack the whole state.

    Parameters
    ----------
    plant
        Read only.

    Returns
    -------
    bytes
        zstd of a line of JSON and the arrays behind it, about 5 MB for 200,000 GPUs.
    """
    arrays = list(state_arrays(plant))
    header = _header(plant)
    header["arrays"] = [(path, array.dtype.str, array.shape) for path, array in arrays]
    body = [json.dumps(header).encode(), b"\n", *(np.ascontiguousarray(array).tobytes() for _, array in arrays)]
    return zstandard.ZstdCompressor(level=_LEVEL).compress(b"".join(body))


def restore(
    snapshot: bytes,
    commands: Iterable[TimedCommand | TimedInject] = (),
    to_tick: int | None = None,
    *,
    site: Site | None = None,
) -> Plant:
    """Rebuild a plant, and run it on with what was ordered and injected at the time.

    Parameters
    ----------
    snapshot
        Of :func:`snapshot`.
    commands
        Those from the snapshot's tick on, in the order in which they were applied; the automatic operator's
        own are not among them.
    to_tick
        Run on to this tick; None stays at the snapshot's.
    site
        The site, if it does not come with the package.

    Raises
    ------
    SnapshotInvalid
        No snapshot of ours, or of another site file.
    CommandRejected, InjectRejected
        The plant refuses what it once accepted: it is not the same plant.
    """
    header, body = _open(snapshot)
    plant = _fill(header, body, _site(header, site))
    due = sorted(commands, key=lambda item: item.tick)
    end = plant.tick if to_tick is None else to_tick
    while True:
        while due and due[0].tick <= plant.tick:
            carry_out(plant, due.pop(0))
        if plant.tick >= end:
            return plant
        step(plant, plant.dt_s)


def carry_out(plant: Plant, item: TimedCommand | TimedInject) -> None:
    """Do in a plant what was said, now; its tick is not looked at.

    Raises
    ------
    CommandRejected, InjectRejected
        The plant does not allow it.
    """
    if isinstance(item, TimedCommand):
        orders.apply(plant, item.verb, item.unit, item.params)
        return
    malfunctions.inject(
        plant,
        item.kind,
        item.target,
        severity=item.severity,
        ramp_s=item.ramp_s,
        delay_s=item.delay_s,
        hold_s=item.hold_s,
        params=item.params,
    )


def _open(snapshot: bytes) -> tuple[dict[str, Any], memoryview]:
    try:
        content = zstandard.ZstdDecompressor().decompress(snapshot)
        line, _, _ = content.partition(b"\n")
        header = json.loads(line)
        schema = header["schema"]
    except (zstandard.ZstdError, ValueError, TypeError, KeyError) as error:
        raise SnapshotInvalid(f"these {len(snapshot)} bytes are no snapshot: {error}") from error
    if schema != SCHEMA:
        raise SnapshotInvalid(f"snapshot of schema {schema!r}: allowed is {SCHEMA}")
    return header, memoryview(content)[len(line) + 1 :]


def _site(header: dict[str, Any], site: Site | None) -> Site:
    try:
        found = load_site(header["site"]) if site is None else site
    except SiteInvalid as error:
        raise SnapshotInvalid(f"snapshot of site {header['site']!r}: {error}") from error
    if found.crc != header["site_crc"]:
        raise SnapshotInvalid(
            f"snapshot of another site file {header['site']!r}: {header['site_crc']}, not {found.crc}"
        )
    return found


def _fill(header: dict[str, Any], body: memoryview, site: Site) -> Plant:
    plant = blank(site, header["seed"], header["site_time_s"], automatic_operator=header["automatic_operator"])
    plant.tick, plant.dt_s, plant.elapsed_s = header["tick"], header["dt_s"], header["elapsed_s"]
    plant.malfunctions[:] = [ActiveMalfunction(**active) for active in header["malfunctions"]]
    for name, state in header["streams"].items():
        plant.streams[name].bit_generator.state = state
    own = dict(state_arrays(plant))
    told = {path: (dtype, tuple(shape)) for path, dtype, shape in header["arrays"]}
    if told != {path: (array.dtype.str, array.shape) for path, array in own.items()}:
        raise SnapshotInvalid(f"the arrays of this snapshot are not those of a plant of site {site.id}")
    if len(body) != sum(array.nbytes for array in own.values()):
        raise SnapshotInvalid(f"snapshot is cut off: {len(body)} bytes of arrays")
    at = 0
    for path in told:
        array = own[path]
        array[...] = np.frombuffer(body[at : at + array.nbytes], dtype=array.dtype).reshape(array.shape)
        at += array.nbytes
    return plant
