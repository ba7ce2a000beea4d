"""A facility water loop: well mixed volumes, and pumps in parallel against one system curve."""

import numpy as np

from twin.physics.lag import settled_ratio
from twin.physics.quantity import Array, Quantity

PASSES_N = 26


def mixed_c(
    temp_c: Quantity, inlet_c: Quantity, capacity_rate_w_per_k: Quantity, volume_j_per_k: Quantity, dt_s: float
) -> Quantity:
    """Advance the temperature of a well mixed volume that water flows through.

    Parameters
    ----------
    temp_c
        Before the step. [C]
    inlet_c
        Water that flows in. [C]
    capacity_rate_w_per_k
        Of the flow. [W/K]
    volume_j_per_k
        Heat capacity of the water and metal of the volume. [J/K]
    dt_s
        Length of the step. [s]

    Notes
    -----
    ``tau = C_volume / C_flow``; half a loop of the reference plant: 900 MJ/K at 6.52 MW/K is 138 s.

    Examples
    --------
    >>> round(float(mixed_c(27.0, 30.62, 6.52e6, 900e6, 60.0)), 2)
    28.28
    """
    rate = np.divide(capacity_rate_w_per_k, volume_j_per_k)
    return np.asarray(temp_c + np.subtract(inlet_c, temp_c) * settled_ratio(dt_s * rate, 1.0))[()]


def parallel_flow_ratios(
    speed_ratio: Array,
    health_ratio: Array,
    opening_ratio: Array,
    *,
    duty_n: int,
    head_shutoff_ratio: float,
    head_slope_ratio: float,
) -> Array:
    """Find the flow of each pump of groups that work in parallel on one system each.

    Parameters
    ----------
    speed_ratio
        Speed of each pump over rated, shape (loops, pumps).
    health_ratio
        Flow that a pump still moves, of what a healthy one would at the same head, 0..1, same shape.
    opening_ratio
        Flow that the valves of each loop would let through at nominal head, over nominal, shape (loops,).
    duty_n
        So many healthy pumps at full speed give exactly the nominal flow of a loop.
    head_shutoff_ratio, head_slope_ratio
        Head of a pump over the nominal head of the system: ``shutoff n^2 - slope q^2``.

    Returns
    -------
    ndarray
        Flow of each pump over its rated flow, shape (loops, pumps).

    Notes
    -----
    System curve ``H = (Q/opening)^2``. The head at which all pumps together give the flow of the system is
    found by bisection, so that pumps of different speed and health share the load as they do in steel. Equal
    pumps have a closed form: 2 of 3 give 0.894 of the flow, 1 of 3 gives 0.620.

    Examples
    --------
    >>> import numpy as np
    >>> q = parallel_flow_ratios(np.array([[1.0, 1.0, 0.0]]), np.ones((1, 3)), np.ones(1),
    ...                          duty_n=3, head_shutoff_ratio=1.25, head_slope_ratio=0.25)
    >>> round(float(q.sum() / 3), 3)
    0.894
    """
    shutoff = head_shutoff_ratio * np.square(speed_ratio)
    nominal = duty_n * np.maximum(opening_ratio, 1e-6)
    low, high = np.zeros(len(shutoff)), shutoff.max(axis=1)
    flow = np.zeros_like(shutoff)
    for _ in range(PASSES_N):
        head = 0.5 * (low + high)
        flow = np.sqrt(np.maximum(shutoff - head[:, None], 0.0) / head_slope_ratio) * health_ratio
        too_much = flow.sum(axis=1) > nominal * np.sqrt(head)
        low, high = np.where(too_much, head, low), np.where(too_much, high, head)
    return flow
