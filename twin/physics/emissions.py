"""What a gas turbine puts into the air."""

import numpy as np
from numpy.typing import NDArray

from twin.physics.quantity import Quantity

LB_PER_STON = 2000.0
KG_PER_LB = 0.453_592_37
# Pounds per MMBtu (higher heating value) of one ppm at 15 % O2: density x F-factor 8710 x 20.9/5.9, EPA method 19.
NOX_LB_PER_MMBTU_PPM = 1.194e-7 * 8710.0 * 20.9 / 5.9
CO_LB_PER_MMBTU_PPM = 7.268e-8 * 8710.0 * 20.9 / 5.9


def rate_lb_h(fuel_mmbtu_h: Quantity, factor_lb_per_mmbtu: Quantity) -> Quantity:
    """Compute the mass flow of a pollutant from the fuel.

    Parameters
    ----------
    fuel_mmbtu_h
        Higher heating value. [MMBtu/h]
    factor_lb_per_mmbtu
        Emission factor, AP-42 3.1. [lb/MMBtu]

    Examples
    --------
    >>> round(rate_lb_h(90.0, 0.099) * 6000 / 2000, 2)
    26.73
    """
    return fuel_mmbtu_h * factor_lb_per_mmbtu


def stack_factor(
    load_ratio: Quantity,
    *,
    uncontrolled: float,
    lean: float,
    catalysed: Quantity,
    low_load_ratio: float,
    low_load_factor: float,
    starting: bool | NDArray[np.bool_],
    catalyst_warm: bool | NDArray[np.bool_],
) -> Quantity:
    """Choose the emission factor of a turbine by how it burns and whether its catalyst works.

    Parameters
    ----------
    load_ratio
        Output over the most in this air, 0..1.
    uncontrolled, lean, catalysed
        Factor of a diffusion flame, of lean premix, of lean premix behind a working catalyst. [lb/MMBtu]
    low_load_ratio, low_load_factor
        Below this load lean premix is lost and the factor grows by so much.
    starting, catalyst_warm
        Whether the machine is not yet at load; whether the catalyst is warm and whole. (bool)

    Notes
    -----
    A catalyst takes the same share whatever comes: factors below half load grow by the same number behind it.

    Examples
    --------
    >>> nox = dict(uncontrolled=0.32, lean=0.099, catalysed=0.00737, low_load_ratio=0.5, low_load_factor=3.0)
    >>> round(float(stack_factor(0.9, starting=False, catalyst_warm=True, **nox)), 5)
    0.00737
    >>> round(float(stack_factor(0.4, starting=False, catalyst_warm=False, **nox)), 3)
    0.297
    """
    premix = np.where(np.asarray(load_ratio) < low_load_ratio, lean * low_load_factor, lean)
    raw = np.where(starting, uncontrolled, premix)
    return np.asarray(np.where(catalyst_warm, raw * (catalysed / lean), raw))[()]
