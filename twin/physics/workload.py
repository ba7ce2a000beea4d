"""The step envelope of a synchronous job: how active its GPUs are, on the mean over any span of time."""

import numpy as np

from twin.physics.quantity import Quantity


def high_cycles(cycles: Quantity, duty_ratio: Quantity) -> Quantity:
    """Integrate a square wave that is high in the first part of each cycle.

    Parameters
    ----------
    cycles
        Where the integral ends, in cycles of the wave; it begins at zero.
    duty_ratio
        Share of a cycle that is high, 0..1.

    Notes
    -----
    ``F(x) = floor(x) d + min(frac(x), d)``: exact for spans of any length, so that 1 Hz frames do not alias
    steps of 0.2-3 Hz (the band of arXiv 2508.14318).

    Examples
    --------
    >>> round(float(high_cycles(2.9, 0.85)), 2)
    2.55
    """
    whole = np.floor(cycles)
    return np.asarray(whole * duty_ratio + np.minimum(np.subtract(cycles, whole), duty_ratio))[()]


def high_share(from_cycles: Quantity, to_cycles: Quantity, duty_ratio: Quantity) -> Quantity:
    """Give the share of a span in which a square wave is high.

    Parameters
    ----------
    from_cycles, to_cycles
        Begin and end of the span, in cycles of the wave.
    duty_ratio
        Share of a cycle that is high, 0..1.

    Returns
    -------
    float or ndarray
        0..1; for a span of no length 0.

    Notes
    -----
    Difference of :func:`high_cycles`, divided by the span.

    Examples
    --------
    >>> float(high_share(0.0, 1.0, 0.85))
    0.85
    >>> round(float(high_share(0.8, 1.0, 0.85)), 3)
    0.25
    """
    span = np.subtract(to_cycles, from_cycles)
    high = high_cycles(to_cycles, duty_ratio) - high_cycles(from_cycles, duty_ratio)
    none = span <= 0.0
    return np.asarray(np.where(none, 0.0, np.clip(high / np.where(none, 1.0, span), 0.0, 1.0)))[()]


def mean_activity(
    high_ratio: Quantity,
    checkpoint_ratio: Quantity,
    *,
    activity_high: Quantity,
    activity_low: Quantity,
    checkpoint_activity: Quantity,
) -> Quantity:
    """Compute the mean activity of a job over a span.

    Parameters
    ----------
    high_ratio
        Share of its steps in the span that computes, 0..1, see :func:`high_share`.
    checkpoint_ratio
        Share of the span that it writes a checkpoint, 0..1.
    activity_high, activity_low, checkpoint_activity
        Activity while it computes, while it communicates, while it writes, 0..1.

    Examples
    --------
    >>> levels = dict(activity_high=0.95, activity_low=0.35, checkpoint_activity=0.1)
    >>> round(float(mean_activity(0.85, 0.0, **levels)), 3)
    0.86
    >>> round(float(mean_activity(0.85, 1.0, **levels)), 3)
    0.1
    """
    step = activity_low + (activity_high - activity_low) * high_ratio
    return step + (checkpoint_activity - step) * checkpoint_ratio


def step_ratio(duty_ratio: Quantity, clock_ratio: Quantity, bandwidth_ratio: Quantity) -> Quantity:
    """Compute how much longer a step takes than at full clock and full bandwidth.

    Parameters
    ----------
    duty_ratio
        Share of the step that computes, 0..1; the rest communicates.
    clock_ratio
        Clock of the slowest GPU over the maximum, 0..1: the others wait for it.
    bandwidth_ratio
        Bandwidth of the worst rail over normal, 0..1.

    Notes
    -----
    Compute time goes with 1/clock, communication with 1/bandwidth, no overlap (physics of a synchronous step).

    Examples
    --------
    >>> round(float(step_ratio(0.85, 0.82, 1.0)), 3)
    1.187
    """
    slow = np.maximum(clock_ratio, 1e-3)
    thin = np.maximum(bandwidth_ratio, 1e-3)
    return duty_ratio / slow + (1.0 - duty_ratio) / thin
