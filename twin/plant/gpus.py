"""GPUs and their servers: power, temperature, clocks, throttling, in halls' chunks that fit the cache."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twin.physics import gpu, lag
from twin.plant import jobs as job_table
from twin.plant.asbuilt import AsBuilt
from twin.plant.jobs import IDLE, Jobs
from twin.site import Site
from twin.site.compute import GpuModel

Singles = NDArray[np.float32]
Floats = NDArray[np.float64]

CHUNK_RACKS = 392
REBOOT_S = 1800.0  # a GPU that shut itself down comes back after so long in the cool (assumption)
IDLE_FB_MIB = 4.0


@dataclass(frozen=True)
class Gpus:
    """All GPUs (n,), servers (n/8,), racks and halls, in site order."""

    power_w: Singles
    temp_c: Singles
    mem_temp_c: Singles
    sm_clock_ratio: Singles
    sm_active: Singles
    tensor_active: Singles
    fb_used_mib: Singles
    throttle_bits: NDArray[np.uint16]
    cap_w: Singles
    thermal_clock_ratio: Singles
    thermal_power_ratio: Singles
    slowing: NDArray[np.bool_]
    off_left_s: Singles
    chunk_hot: NDArray[np.bool_]
    chunk_capped: NDArray[np.bool_]
    server_power_w: Floats
    rack_power_w: Floats
    hall_power_w: Floats
    hall_gpu_power_w: Floats


@dataclass(frozen=True)
class Chunk:
    """A run of racks of one hall that is worked on in one go."""

    gpus: slice
    servers: slice
    racks: slice
    racks_n: int
    model: GpuModel


@dataclass
class GpuWork:
    """What follows from state and nameplate, and room for what is between."""

    chunks: tuple[Chunk, ...]
    parts: tuple[tuple[int, int, int], ...]
    spares: tuple[tuple[int, int, int], ...]
    newly_off: list[int]
    resistance_k_per_w: Singles
    settled_ratio: Singles
    scratch: Singles
    sums: Floats
    ones: Floats
    flow_ratio: Floats
    dt_s: float


def new(site: Site) -> Gpus:
    """Make room for all GPUs, at rest."""
    n, servers = site.layout.gpu_count, site.layout.server_count
    racks, halls = site.layout.rack_count, site.layout.hall_count

    def singles(value: float = 0.0) -> Singles:
        return np.full(n, value, dtype=np.float32)

    cap_w = singles()
    for chunk in chunks(site):
        cap_w[chunk.gpus] = chunk.model.power_max_w
    return Gpus(
        power_w=singles(),
        temp_c=singles(30.0),
        mem_temp_c=singles(38.0),
        sm_clock_ratio=singles(1.0),
        sm_active=singles(),
        tensor_active=singles(),
        fb_used_mib=singles(),
        throttle_bits=np.zeros(n, dtype=np.uint16),
        cap_w=cap_w,
        thermal_clock_ratio=singles(1.0),
        thermal_power_ratio=singles(1.0),
        slowing=np.zeros(n, dtype=bool),
        off_left_s=singles(),
        chunk_hot=np.zeros(len(chunks(site)), dtype=bool),
        chunk_capped=np.zeros(len(chunks(site)), dtype=bool),
        server_power_w=np.zeros(servers),
        rack_power_w=np.zeros(racks),
        hall_power_w=np.zeros(halls),
        hall_gpu_power_w=np.zeros(halls),
    )


def chunks(site: Site) -> tuple[Chunk, ...]:
    """Cut each hall into runs of racks."""
    layout, found = site.layout, []
    for hall, hall_id in enumerate(layout.hall_ids):
        first, end = int(layout.hall_first_rack[hall]), int(layout.hall_first_rack[hall + 1])
        for a in range(first, end, CHUNK_RACKS):
            b = min(a + CHUNK_RACKS, end)
            found.append(
                Chunk(
                    slice(int(layout.rack_first_gpu[a]), int(layout.rack_first_gpu[b])),
                    slice(int(layout.rack_first_server[a]), int(layout.rack_first_server[b])),
                    slice(a, b),
                    b - a,
                    site.gpu_model(hall_id),
                )
            )
    return tuple(found)


def new_work(site: Site, jobs: Jobs) -> GpuWork:
    """Work out what follows from the site and the layout of the jobs."""
    n, cut = site.layout.gpu_count, chunks(site)
    longest = max(chunk.gpus.stop - chunk.gpus.start for chunk in cut)
    return GpuWork(
        chunks=cut,
        parts=job_table.segments(jobs.server_job),
        spares=job_table.segments(jobs.server_spare_of),
        newly_off=[],
        resistance_k_per_w=np.zeros(n, dtype=np.float32),
        settled_ratio=np.zeros(n, dtype=np.float32),
        scratch=np.zeros(longest, dtype=np.float32),
        sums=np.zeros(longest),
        ones=np.ones(site.layout.gpus_per_server),
        flow_ratio=np.full(site.layout.rack_count, np.nan),
        dt_s=0.0,
    )


def place(gpus: Gpus, site: Site, asbuilt: AsBuilt, jobs: Jobs, parts: Sequence[tuple[int, int, int]]) -> None:
    """Set what changes only when a job comes or goes: memory in use, clocks of idle GPUs.

    Parameters
    ----------
    gpus
        Changed in place.
    site, asbuilt, jobs
        Nameplate, as-built values and the table of jobs.
    parts
        See :func:`twin.plant.jobs.segments`.
    """
    per_server = site.layout.gpus_per_server
    for first, end, row in parts:
        here = slice(first * per_server, end * per_server)
        if row == IDLE:
            gpus.tensor_active[here] = 0.0
            gpus.sm_active[here] = 0.0
            gpus.fb_used_mib[here] = IDLE_FB_MIB
            gpus.sm_clock_ratio[here] = idle_clock_ratio(next(iter(site.gpus.values())))
        else:
            share = job_table.FB_USED_RATIO[job_table.KINDS[int(jobs.kind_code[row])]]
            gpus.fb_used_mib[here] = share * asbuilt.gpu_memory_ratio[here]
            gpus.sm_clock_ratio[here] = 1.0
    for chunk in chunks(site):
        used = gpus.fb_used_mib[chunk.gpus]
        np.multiply(used, chunk.model.fb_total_mib, out=used, where=used < 2.0)


def idle_clock_ratio(model: GpuModel) -> float:
    """Give the SM clock of a GPU without work, over its maximum."""
    return model.sm_clock_idle_mhz / model.sm_clock_max_mhz


def step(
    gpus: Gpus,
    work: GpuWork,
    site: Site,
    asbuilt: AsBuilt,
    jobs: Jobs,
    coolant_c: Floats,
    flow_ratio: Floats,
    dt_s: float,
) -> None:
    """Advance power and heat of all GPUs by one tick.

    Parameters
    ----------
    gpus, work
        Changed in place.
    site, asbuilt, jobs
        Nameplate, as-built values and the table of jobs.
    coolant_c, flow_ratio
        Coolant at the inlet of each rack's cold plates, and its flow over nominal, shape (racks,). [C, 1]
    dt_s
        Length of the tick. [s]
    """
    per_server, per_rack = site.layout.gpus_per_server, site.layout.gpus_per_server * site.rack.servers_n
    for first, end, row in work.parts:
        if row != IDLE:
            here = slice(first * per_server, end * per_server)
            built = asbuilt.gpu_activity_ratio[here]
            np.multiply(built, np.float32(jobs.activity[row]), out=gpus.tensor_active[here])
            np.multiply(built, np.float32(min(jobs.sm_active[row], 0.97)), out=gpus.sm_active[here])
    work.newly_off.clear()
    _refresh(work, site, asbuilt, flow_ratio, dt_s)
    coolant = coolant_c.astype(np.float32)
    for number, chunk in enumerate(work.chunks):
        here, model = chunk.gpus, chunk.model
        temp, power = gpus.temp_c[here], gpus.power_w[here]
        scratch = work.scratch[: len(temp)]
        if gpus.chunk_hot[number]:
            _guard(gpus, work, chunk, dt_s)
        gpu.power_w(
            gpus.tensor_active[here],
            gpus.thermal_power_ratio[here],
            temp,
            idle_w=model.power_idle_w,
            max_w=model.power_max_w,
            leak_per_k=model.leak_per_k,
            leak_reference_c=model.leak_reference_c,
            out=power,
        )
        if gpus.chunk_hot[number]:
            power[gpus.off_left_s[here] > 0.0] = 0.0
        _set_clocks(gpus, chunk, number, scratch)
        by_rack = (chunk.racks_n, per_rack)
        gpu.temp_c(
            temp.reshape(by_rack),
            power.reshape(by_rack),
            coolant[chunk.racks, None],
            work.resistance_k_per_w[here].reshape(by_rack),
            work.settled_ratio[here].reshape(by_rack),
            out=temp.reshape(by_rack),
            scratch=scratch.reshape(by_rack),
        )
        gpu.mem_temp_c(
            temp,
            gpus.tensor_active[here],
            rise_idle_k=model.hbm_rise_idle_k,
            rise_loaded_k=model.hbm_rise_loaded_k,
            out=gpus.mem_temp_c[here],
        )
        gpus.chunk_hot[number] = _is_hot(gpus, chunk, number)
        wide = work.sums[: len(power)]
        np.copyto(wide, power)
        # Eight single-precision values add up exactly in double precision, in any order.
        np.dot(wide.reshape(-1, per_server), work.ones, out=gpus.server_power_w[chunk.servers])
    _sum_up(gpus, site, jobs)


def _set_clocks(gpus: Gpus, chunk: Chunk, number: int, scratch: Singles) -> None:
    """Hold power to the caps; set clocks and the reasons for them where anything holds the clock down."""
    here, model = chunk.gpus, chunk.model
    power, cap = gpus.power_w[here], gpus.cap_w[here]
    capped = float(power.max()) > float(cap.min()) and bool((power > cap).any())
    hot, was_capped = bool(gpus.chunk_hot[number]), bool(gpus.chunk_capped[number])
    gpus.chunk_capped[number] = capped
    if not (capped or hot or was_capped):
        return
    ratio = gpu.cap_ratio(power, cap, model.power_idle_w, out=scratch)
    bits = gpu.event_reasons(gpus.slowing[here], ratio < 1.0, gpus.temp_c[here], slowdown_c=model.slowdown_c)
    np.minimum(power, cap, out=power)
    np.multiply(ratio, gpus.thermal_power_ratio[here], out=ratio)
    busy = gpus.tensor_active[here] > 0.0
    clock = gpu.clock_ratio(ratio, model.clock_exponent)
    gpus.sm_clock_ratio[here] = np.where(busy, clock, idle_clock_ratio(model))
    gpus.throttle_bits[here] = bits
    if hot:
        off = gpus.off_left_s[here] > 0.0
        gpus.sm_clock_ratio[here][off] = 0.0


def _refresh(work: GpuWork, site: Site, asbuilt: AsBuilt, flow_ratio: Floats, dt_s: float) -> None:
    """Work resistance and settling out again where the coolant's flow has changed."""
    if dt_s == work.dt_s and np.array_equal(flow_ratio, work.flow_ratio):
        return
    per_rack = site.layout.gpus_per_server * site.rack.servers_n
    for chunk in work.chunks:
        flow = flow_ratio[chunk.racks]
        if dt_s == work.dt_s and np.array_equal(flow, work.flow_ratio[chunk.racks]):
            continue
        ratio = np.asarray(gpu.resistance_ratio(flow, chunk.model.flow_exponent), dtype=np.float32)
        resistance = work.resistance_k_per_w[chunk.gpus]
        by_rack = (chunk.racks_n, per_rack)
        np.multiply(
            asbuilt.gpu_resistance_k_per_w[chunk.gpus].reshape(by_rack),
            ratio[:, None],
            out=resistance.reshape(by_rack),
        )
        capacity_j_per_k = chunk.model.tau_s / chunk.model.resistance_k_per_w
        work.settled_ratio[chunk.gpus] = lag.settled_ratio(dt_s, resistance * np.float32(capacity_j_per_k))
        work.flow_ratio[chunk.racks] = flow
    work.dt_s = dt_s


def _guard(gpus: Gpus, work: GpuWork, chunk: Chunk, dt_s: float) -> None:
    """Let the thermal guards of a hot chunk act, down to shutdown: off the usual path."""
    here, model = chunk.gpus, chunk.model
    temp, left = gpus.temp_c[here], gpus.off_left_s[here]
    gpus.thermal_clock_ratio[here], gpus.slowing[here] = gpu.thermal_clock(
        gpus.thermal_clock_ratio[here],
        gpus.slowing[here],
        temp,
        gpus.mem_temp_c[here],
        dt_s=dt_s,
        step_per_s=model.throttle_step_per_s,
        throttle_c=model.max_operating_c,
        release_c=model.throttle_release_c,
        slowdown_c=model.slowdown_c,
        slowdown_clock_ratio=model.slowdown_clock_ratio,
        hbm_max_c=model.hbm_max_c,
        clock_min_ratio=idle_clock_ratio(model),
    )
    gpus.thermal_power_ratio[here] = gpu.clock_power_ratio(gpus.thermal_clock_ratio[here], model.clock_exponent)
    cool = temp < model.throttle_release_c
    left[cool] = np.maximum(left[cool] - np.float32(dt_s), 0.0)
    melting = temp >= model.shutdown_c
    work.newly_off.extend((np.flatnonzero(melting & (left <= 0.0)) + here.start).tolist())
    left[melting] = REBOOT_S
    off = left > 0.0
    gpus.tensor_active[here][off] = 0.0
    gpus.sm_active[here][off] = 0.0


def _is_hot(gpus: Gpus, chunk: Chunk, number: int) -> bool:
    """Tell whether a chunk needs its thermal guards in the next tick."""
    here, model = chunk.gpus, chunk.model
    watch_c = min(model.max_operating_c, model.hbm_max_c - model.hbm_rise_idle_k)
    if float(gpus.temp_c[here].max()) >= watch_c:
        return True
    if not gpus.chunk_hot[number]:
        return False
    held = gpus.slowing[here].any() or gpus.off_left_s[here].any()
    return bool(held or float(gpus.thermal_clock_ratio[here].min()) < 1.0)


def _sum_up(gpus: Gpus, site: Site, jobs: Jobs) -> None:
    """Add GPUs up to servers, racks and halls; sums are double precision."""
    layout = site.layout
    for hall in range(layout.hall_count):
        racks = layout.hall_first_rack[hall], layout.hall_first_rack[hall + 1]
        servers = slice(int(layout.rack_first_server[racks[0]]), int(layout.rack_first_server[racks[1]]))
        gpus.hall_gpu_power_w[hall] = gpus.server_power_w[servers].sum()
    base_w = job_table.server_base_w(site, np.append(jobs.activity, 0.0))
    gpus.server_power_w[:] += base_w[jobs.server_job] * _servers_on(gpus, layout.gpus_per_server)
    gpus.server_power_w[:] /= site.server.psu_efficiency
    np.add.reduceat(gpus.server_power_w, layout.rack_first_server[:-1], out=gpus.rack_power_w)
    np.add.reduceat(gpus.rack_power_w, layout.hall_first_rack[:-1], out=gpus.hall_power_w)


def _servers_on(gpus: Gpus, per_server: int) -> NDArray[np.bool_] | bool:
    """Tell which servers are on: one that has lost all its GPUs to heat shuts itself down."""
    if not gpus.chunk_hot.any():
        return True
    return np.asarray((gpus.off_left_s.reshape(-1, per_server) <= 0.0).any(axis=1), dtype=bool)


def report(gpus: Gpus, work: GpuWork, jobs: Jobs, per_server: int) -> None:
    """Tell each job its slowest clock, and how many of its GPUs and of its spares are off.

    Parameters
    ----------
    gpus, work
        Read only.
    jobs
        Changed in place: ``clock_ratio``, ``lost_n``, ``spare_lost_n``.
    per_server
        GPUs of a server.
    """
    jobs.clock_ratio[:] = 1.0
    jobs.lost_n[:] = 0
    jobs.spare_lost_n[:] = 0
    if not (gpus.chunk_hot.any() or gpus.chunk_capped.any()):
        return
    off = gpus.off_left_s > 0.0
    for first, end, row in work.parts:
        if row != IDLE:
            here = slice(first * per_server, end * per_server)
            slowest = np.min(gpus.sm_clock_ratio[here], where=~off[here], initial=1.0)
            jobs.clock_ratio[row] = min(jobs.clock_ratio[row], float(slowest))
            jobs.lost_n[row] += int(np.count_nonzero(off[here]))
    for first, end, row in work.spares:
        if row != IDLE:
            jobs.spare_lost_n[row] += int(np.count_nonzero(off[first * per_server : end * per_server]))
