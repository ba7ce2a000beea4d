"""Memory of this process, now and at its highest."""

import resource
import sys

import psutil


def rss_mb() -> float:
    """Return the resident memory now [MB]."""
    return round(psutil.Process().memory_info().rss / 1e6, 1)


def peak_rss_mb() -> float:
    """Return the highest resident memory since the process began [MB]."""
    unit_b = 1 if sys.platform == "darwin" else 1024
    highest_mb = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit_b / 1e6, 1)
    return max(highest_mb, rss_mb())  # the kernel notes the highest a little late
