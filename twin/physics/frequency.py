"""The frequency that a plant in parallel with the grid sees.

The dynamics of an island (swing equation, governors, droop, load shedding) belong here too.
"""

import math

NOMINAL_HZ = 60.0
WANDER_HZ = 0.012


def grid_hz(time_s: float) -> float:
    """Give the frequency of a strong grid at an instant.

    Parameters
    ----------
    time_s
        Any running time. [s]

    Returns
    -------
    float
        60 Hz with a slow wander inside +-0.02 Hz, the normal band of a North American interconnection. [Hz]

    Notes
    -----
    Two incommensurate sines: no chance in it, so that it costs no stream of random numbers.

    Examples
    --------
    >>> abs(grid_hz(12_345.0) - 60.0) < 0.02
    True
    """
    slow = math.sin(2.0 * math.pi * time_s / 613.0)
    fast = math.sin(2.0 * math.pi * time_s / 47.0)
    return NOMINAL_HZ + WANDER_HZ * (0.8 * slow + 0.5 * fast)
