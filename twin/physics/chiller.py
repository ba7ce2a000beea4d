"""A chiller by the DOE-2 model: capacity and power from three fits (EnergyPlus ``Chiller:Electric:EIR``)."""

from collections.abc import Sequence

import numpy as np

from twin.physics.quantity import Quantity


def biquadratic(fit: Sequence[float], x: Quantity, y: Quantity) -> Quantity:
    """Evaluate a fit ``a + b x + c x^2 + d y + e y^2 + f x y``.

    Parameters
    ----------
    fit
        Its six coefficients.
    x, y
        Leaving chilled water and outdoor air, in the use of this module. [C]

    Examples
    --------
    >>> biquadratic((1.0, 2.0, 0.0, 3.0, 0.0, 1.0), 2.0, 3.0)
    20.0
    """
    a, b, c, d, e, f = fit
    return a + x * (b + c * x + f * y) + y * (d + e * y)


def capacity_w(rated_w: Quantity, capacity_fit: Sequence[float], leaving_c: Quantity, outdoor_c: Quantity) -> Quantity:
    """Compute the most heat that a chiller can take at these temperatures.

    Parameters
    ----------
    rated_w
        At the fit's reference temperatures. [W]
    capacity_fit
        CAPFT, six coefficients.
    leaving_c
        Chilled water leaving, clamped by the caller to the range of the fit. [C]
    outdoor_c
        Dry bulb at an air-cooled condenser, clamped likewise. [C]

    Notes
    -----
    ``ChlrAirScrew`` of the OpenStudio library holds within 3 % of Carnot for 6.67..20 C leaving.

    Examples
    --------
    >>> screw = (0.985959, 0.049487, -0.000298, -0.003737, -4.5e-05, -0.000502)
    >>> round(float(capacity_w(1.68e6, screw, 20.0, 35.0)) / 1e6, 3)
    2.216
    """
    return rated_w * biquadratic(capacity_fit, leaving_c, outdoor_c)


def power_w(
    capacity_w: Quantity,
    load_ratio: Quantity,
    *,
    rated_cop: Quantity,
    input_ratio_fit: Sequence[float],
    part_load_fit: Sequence[float],
    part_load_min_ratio: float,
    leaving_c: Quantity,
    outdoor_c: Quantity,
) -> Quantity:
    """Compute the electrical power of a chiller.

    Parameters
    ----------
    capacity_w
        See :func:`capacity_w`. [W]
    load_ratio
        Heat taken over capacity, 0..1.
    rated_cop
        At the fit's reference temperatures.
    input_ratio_fit
        EIRFT, six coefficients.
    part_load_fit
        EIRFPLR, three coefficients, used over their sum so that full load is 1.
    part_load_min_ratio
        Below it the chiller cycles: power falls in proportion.
    leaving_c, outdoor_c
        As in :func:`capacity_w`. [C]

    Examples
    --------
    >>> eirft = (0.570624, 0.011954, -0.000522, -3.2e-05, 0.000421, -0.000606)
    >>> eirfplr = (0.036487, 0.734743, 0.219947)
    >>> p = power_w(1.0, 1.0, rated_cop=2.8, input_ratio_fit=eirft, part_load_fit=eirfplr,
    ...             part_load_min_ratio=0.15, leaving_c=20.0, outdoor_c=35.0)
    >>> round(1.0 / float(p), 2)
    4.05
    """
    a, b, c = part_load_fit
    at = np.clip(load_ratio, part_load_min_ratio, 1.0)
    part = (a + at * (b + c * at)) / (a + b + c)
    cycling = np.minimum(np.divide(load_ratio, part_load_min_ratio), 1.0)
    input_ratio = biquadratic(input_ratio_fit, leaving_c, outdoor_c)
    return np.asarray(capacity_w / rated_cop * input_ratio * part * cycling)[()]
