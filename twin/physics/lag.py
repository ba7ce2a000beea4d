"""First-order lags by their exact solution, so that the step does not matter."""

import numpy as np

from twin.physics.quantity import Quantity


def settled_ratio(dt_s: Quantity, tau_s: Quantity) -> Quantity:
    """Give the share of a difference that a first-order lag makes good in a step.

    Parameters
    ----------
    dt_s
        Length of the step. [s]
    tau_s
        Time constant. [s]

    Returns
    -------
    float or ndarray
        ``1 - exp(-dt/tau)``, 0..1.

    Notes
    -----
    Solution of ``dx/dt = (x_inf - x)/tau`` for a constant ``x_inf``: two half steps equal one.

    Examples
    --------
    >>> round(float(settled_ratio(5.0, 5.0)), 4)
    0.6321
    """
    return np.asarray(-np.expm1(-np.divide(dt_s, tau_s)))[()]


def lagged(value: Quantity, target: Quantity, dt_s: Quantity, tau_s: Quantity) -> Quantity:
    """Advance a value that follows its target with a first-order lag.

    Parameters
    ----------
    value, target
        Value now, and value that it tends to. [any unit, the same]
    dt_s
        Length of the step. [s]
    tau_s
        Time constant. [s]

    Examples
    --------
    >>> round(float(lagged(20.0, 30.0, 5.0, 5.0)), 3)
    26.321
    """
    return value + (target - value) * settled_ratio(dt_s, tau_s)


def mean_of_lag_ratio(dt_s: Quantity, tau_s: Quantity) -> Quantity:
    """Give the share of a difference that is left, on the mean over a step.

    Parameters
    ----------
    dt_s
        Length of the step. [s]
    tau_s
        Time constant. [s]

    Returns
    -------
    float or ndarray
        ``(1 - exp(-x))/x`` with ``x = dt/tau``; 1 for a step much shorter than the time constant.

    Notes
    -----
    Integral of ``exp(-t/tau)`` over the step, divided by the step. Times ``dt`` it is the growth, per unit of
    a constant source, of a store with a loss in proportion to its content; without loss it is ``dt``.

    Examples
    --------
    >>> round(float(mean_of_lag_ratio(1.0, 1.0)), 4)
    0.6321
    >>> float(mean_of_lag_ratio(1.0, float("inf")))
    1.0
    """
    x = np.divide(dt_s, tau_s)
    small = x < 1e-9
    safe = np.where(small, 1.0, x)
    return np.asarray(np.where(small, 1.0, -np.expm1(-safe) / safe))[()]
