"""A GPU: its power, the temperature of chip and memory, its power cap, its throttle ladder.

Functions that run over all GPUs of a site each tick take ``out``, as NumPy's own do: fresh arrays of that size
cost more than the arithmetic.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin.physics.quantity import Array, Quantity

# Bits of NVML's clocks event reasons (DCGM field 112), as in NVIDIA's nvml.h.
POWER_CAP_BIT = 0x04
HW_SLOWDOWN_BIT = 0x08
SW_THERMAL_BIT = 0x20
HW_THERMAL_BIT = 0x40

# Stagnant coolant still takes a little heat; it also keeps the time constant finite.
STAGNANT_FLOW_RATIO = 1e-4


def power_w(
    activity: Quantity,
    power_ratio: Quantity,
    temp_c: Quantity,
    *,
    idle_w: float,
    max_w: float,
    leak_per_k: float,
    leak_reference_c: float,
    out: Array | None = None,
) -> Array:
    """Compute the power of a GPU from its activity, clock and temperature.

    Parameters
    ----------
    activity
        Activity of the tensor pipes, 0..1 (not "GPU utilisation"), shape (n,).
    power_ratio
        Dynamic power at this clock over that at full clock, 0..1, see :func:`clock_power_ratio`.
    temp_c
        Chip. [C]
    idle_w, max_w
        Power at activity 0, and at activity 1 at the reference temperature. [W]
    leak_per_k
        Growth of dynamic power with temperature. [1/K]
    leak_reference_c
        Temperature at which that growth is zero. [C]
    out
        Array to write into; it must not be one of the inputs.

    Returns
    -------
    ndarray
        Power. [W]

    Notes
    -----
    ``P = idle + (max - idle) u phi^alpha (1 + k (T - 45))``; k = 0.003 1/K gives the 1-2 % that Llama 3
    lost at midday (arXiv 2407.21783). H100 SXM: 72 W idle, 700 W limit (``nvidia-smi -q``).

    Examples
    --------
    >>> h100 = dict(idle_w=72.0, max_w=700.0, leak_per_k=0.003, leak_reference_c=45.0)
    >>> round(float(power_w(0.86, 1.0, 47.8, **h100)))
    617
    >>> round(float(power_w(0.0, 1.0, 33.0, **h100)))
    72
    """
    power = np.multiply(temp_c, leak_per_k, out=out)
    power = np.add(power, 1.0 - leak_per_k * leak_reference_c, out=out)
    power = np.multiply(power, activity, out=out)
    power = np.multiply(power, power_ratio, out=out)
    power = np.multiply(power, max_w - idle_w, out=out)
    return np.add(power, idle_w, out=out)


def clock_power_ratio(clock_ratio: Quantity, exponent: float) -> Quantity:
    """Compute dynamic power at a clock, over that at full clock.

    Parameters
    ----------
    clock_ratio
        SM clock over its maximum, 0..1.
    exponent
        alpha, 1.5..2.4: 1.6 reproduces that a 600 W cap costs an H100 10-15 % of its step rate.

    Examples
    --------
    >>> round(float(clock_power_ratio(0.5, 1.6)), 3)
    0.33
    """
    return np.asarray(np.power(clock_ratio, exponent))[()]


def clock_ratio(power_ratio: Quantity, exponent: float) -> Quantity:
    """Compute the clock at which dynamic power has this ratio to that at full clock.

    Parameters
    ----------
    power_ratio
        Dynamic power over that at full clock, 0..1.
    exponent
        alpha, see :func:`clock_power_ratio`.

    Examples
    --------
    >>> round(float(clock_ratio(528 / 628, 1.6)), 3)
    0.897
    """
    return np.asarray(np.power(power_ratio, 1.0 / exponent))[()]


def cap_ratio(power_w: Quantity, cap_w: Quantity, idle_w: float, *, out: Array | None = None) -> Array:
    """Compute the share of its dynamic power that a power cap leaves to a GPU.

    Parameters
    ----------
    power_w
        That it would draw without the cap. [W]
    cap_w
        Power cap. [W]
    idle_w
        Power at activity 0. [W]
    out
        Array to write into; none of the inputs.

    Returns
    -------
    ndarray
        0..1; 1 where the cap does not bind.

    Notes
    -----
    :func:`power_w` solved for ``phi^alpha``: dynamic power is in proportion to it.

    Examples
    --------
    >>> round(float(cap_ratio(700.0, 600.0, 72.0)), 4)
    0.8408
    >>> float(cap_ratio(500.0, 600.0, 72.0))
    1.0
    """
    dynamic_w = np.subtract(power_w, idle_w, out=out)
    dynamic_w = np.maximum(dynamic_w, 1e-3, out=out)
    ratio = np.divide(np.maximum(np.subtract(cap_w, idle_w), 0.0), dynamic_w, out=out)
    return np.minimum(ratio, 1.0, out=out)


def resistance_ratio(flow_ratio: Quantity, exponent: float) -> Quantity:
    """Compute the thermal resistance from chip to coolant, over that at nominal flow.

    Parameters
    ----------
    flow_ratio
        Coolant flow over nominal; at zero the coolant is stagnant, not gone.
    exponent
        -0.6: convection is about half of the resistance (assumption of the reference plant).

    Examples
    --------
    >>> round(float(resistance_ratio(0.222, -0.6)), 2)
    2.47
    """
    return np.asarray(np.maximum(flow_ratio, STAGNANT_FLOW_RATIO) ** exponent)[()]


def temp_c(
    temp_c: Array,
    power_w: Array,
    coolant_c: Quantity,
    resistance_k_per_w: Array,
    settled_ratio: Quantity,
    *,
    out: Array | None = None,
    scratch: Array | None = None,
) -> Array:
    """Advance the chip's temperature by one step.

    Parameters
    ----------
    temp_c
        Chip before the step, shape (n,). [C]
    power_w
        Mean over the step. [W]
    coolant_c
        Coolant at the inlet of the cold plate. [C]
    resistance_k_per_w
        From chip to coolant at the present flow. [K/W]
    settled_ratio
        ``1 - exp(-dt/(R C))``, see :func:`twin.physics.lag.settled_ratio`.
    out
        Array to write into; it may be ``temp_c``.
    scratch
        Array for what is between; none of the inputs.

    Returns
    -------
    ndarray
        Chip after the step. [C]

    Notes
    -----
    Exact solution for constant power and coolant. R = 0.030 K/W and RC = 5 s put 8x H100 in training at
    41-50 C on liquid, as measured on HGX nodes; C = 167 J/K follows, so that without flow 700 W heat a chip
    from 47 to 87 C in 9.5 s.

    Examples
    --------
    >>> import numpy as np
    >>> t, p, r = np.array([47.8]), np.array([617.0]), np.array([0.030])
    >>> round(float(temp_c(t, p, 30.3, r, 1.0)[0]), 2)
    48.81
    """
    step = np.multiply(power_w, resistance_k_per_w, out=scratch)
    step = np.add(step, coolant_c, out=scratch)
    step = np.subtract(step, temp_c, out=scratch)
    step = np.multiply(step, settled_ratio, out=scratch)
    return np.add(temp_c, step, out=out)


def mem_temp_c(
    temp_c: Array, activity: Array, *, rise_idle_k: float, rise_loaded_k: float, out: Array | None = None
) -> Array:
    """Compute the temperature of the memory from that of the chip.

    Parameters
    ----------
    temp_c
        Chip. [C]
    activity
        Activity of the tensor pipes, 0..1.
    rise_idle_k, rise_loaded_k
        Memory above chip at activity 0 and 1. [K]
    out
        Array to write into; none of the inputs.

    Notes
    -----
    8 K at idle (H100, ``nvidia-smi -q``: 41 and 33 C) to 3 K loaded (gap of the Acme trace between its median
    and its 99th percentile).

    Examples
    --------
    >>> import numpy as np
    >>> mem_temp_c(np.array([33.0]), np.array([0.0]), rise_idle_k=8.0, rise_loaded_k=3.0)
    array([41.])
    """
    mem = np.multiply(activity, rise_loaded_k - rise_idle_k, out=out)
    mem = np.add(mem, rise_idle_k, out=out)
    return np.add(mem, temp_c, out=out)


def thermal_clock(
    clock_ratio: Array,
    slowing: NDArray[np.bool_],
    temp_c: Array,
    mem_temp_c: Array,
    *,
    dt_s: float,
    step_per_s: float,
    throttle_c: float,
    release_c: float,
    slowdown_c: float,
    slowdown_clock_ratio: float,
    hbm_max_c: float,
    clock_min_ratio: float,
) -> tuple[Array, NDArray[np.bool_]]:
    """Advance the clock that the thermal guards of a GPU allow.

    Parameters
    ----------
    clock_ratio
        Allowed clock before the step, 0..1, shape (n,).
    slowing
        Whether the software guard has hold of the clock, shape (n,).
    temp_c, mem_temp_c
        Chip and memory. [C]
    dt_s
        Length of the step. [s]
    step_per_s
        Loss, and later gain, of clock ratio. [1/s]
    throttle_c, release_c, slowdown_c, hbm_max_c
        The software guard takes hold, lets go; the hardware guard acts; the memory's limit. [C]
    slowdown_clock_ratio
        The hardware guard allows no more than this clock, 0..1.
    clock_min_ratio
        The clock falls no lower, 0..1.

    Returns
    -------
    tuple of ndarray
        Allowed clock after the step, and whether the software guard has hold of it.

    Notes
    -----
    H100: 87 / 89 / 95 C for throttle, slowdown and shutdown (T.Limit 0, -2, -8 of ``nvidia-smi -q``); release
    at 85 C and 0.02 per second are assumptions of the reference plant.

    Examples
    --------
    >>> import numpy as np
    >>> ladder = dict(dt_s=1.0, step_per_s=0.02, throttle_c=87.0, release_c=85.0, slowdown_c=89.0,
    ...               slowdown_clock_ratio=0.5, hbm_max_c=95.0, clock_min_ratio=0.17)
    >>> t = np.array([60.0, 87.0, 90.0])
    >>> clock, slowing = thermal_clock(np.ones(3), np.zeros(3, bool), t, t + 3.0, **ladder)
    >>> [round(float(c), 2) for c in clock], [bool(s) for s in slowing]
    ([1.0, 0.98, 0.5], [False, True, True])
    """
    hot = (temp_c >= throttle_c) | (mem_temp_c >= hbm_max_c)
    now_slowing = hot | (slowing & (temp_c >= release_c))
    step = np.where(now_slowing, -step_per_s * dt_s, step_per_s * dt_s)
    allowed = np.clip(clock_ratio + step, clock_min_ratio, 1.0)
    allowed = np.where(temp_c >= slowdown_c, np.minimum(allowed, slowdown_clock_ratio), allowed)
    return allowed.astype(clock_ratio.dtype, copy=False), now_slowing


def event_reasons(
    slowing: NDArray[np.bool_],
    capped: bool | NDArray[np.bool_],
    temp_c: Array,
    *,
    slowdown_c: float,
) -> NDArray[Any]:
    """Set the bits of DCGM's clocks event reasons.

    Parameters
    ----------
    slowing
        Whether the software thermal guard has hold of the clock, shape (n,).
    capped
        Whether the power cap holds the clock down, shape (n,).
    temp_c
        Chip. [C]
    slowdown_c
        The hardware guard acts. [C]

    Returns
    -------
    ndarray of uint16
        0x04 power cap, 0x20 software thermal, 0x40 | 0x08 hardware thermal slowdown.

    Examples
    --------
    >>> import numpy as np
    >>> yes, no = np.array([True, False]), np.array([False, False])
    >>> [hex(bits) for bits in event_reasons(yes, no, np.array([90.0, 50.0]), slowdown_c=89.0)]
    ['0x68', '0x0']
    """
    hardware = np.asarray(temp_c) >= slowdown_c
    bits = np.where(capped, POWER_CAP_BIT, 0) | np.where(slowing, SW_THERMAL_BIT, 0)
    return (bits | np.where(hardware, HW_THERMAL_BIT | HW_SLOWDOWN_BIT, 0)).astype(np.uint16)
