"""``colossus bench plant``: the plant alone, as fast as it goes, on one core."""

import time
from typing import Any

from benchmarks.memory import peak_rss_mb, rss_mb
from twin.plant import build, restore, snapshot, state_hash, step
from twin.site import load_site

DT_S = 1.0


def run_plant(site_name: str, *, hours: float, seed: int, restore_midway: bool) -> dict[str, Any]:
    """Run a plant for some simulated hours.

    Parameters
    ----------
    site_name
        The site.
    hours
        Simulated time [h].
    seed
        Of the plant.
    restore_midway
        Take a snapshot in the middle, and go on from it with a plant rebuilt.

    Returns
    -------
    dict
        ``x_realtime``, ``gpu_updates_per_s``, ``peak_rss_mb``, ``final_rss_mb``, ``state_hash``.
    """
    site = load_site(site_name)
    plant = build(site, seed=seed)
    ticks = max(1, round(hours * 3600 / DT_S))
    began_s = time.perf_counter()
    for tick in range(ticks):
        if restore_midway and tick == ticks // 2:
            plant = restore(snapshot(plant), site=site)
        step(plant, DT_S)
    seconds = time.perf_counter() - began_s
    final_mb = rss_mb()
    return {
        "site": site.id,
        "hours": hours,
        "seed": seed,
        "x_realtime": round(ticks * DT_S / seconds, 1),
        "gpu_updates_per_s": round(site.layout.gpu_count * ticks / seconds),
        "peak_rss_mb": peak_rss_mb(),
        "final_rss_mb": final_mb,
        "state_hash": state_hash(plant),
    }
