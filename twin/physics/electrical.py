"""Electrical losses between the sources and the loads."""

from twin.physics.quantity import Quantity


def input_w(output_w: Quantity, efficiency: float) -> Quantity:
    """Compute what a power supply takes for what it gives.

    Parameters
    ----------
    output_w
        Given. [W]
    efficiency
        Given over taken, 0..1; 0.94 for the whole chain of a server.

    Examples
    --------
    >>> round(float(input_w(6836.0, 0.94)))
    7272
    """
    return output_w / efficiency


def loss_w(power_w: Quantity, *, reference_w: float, no_load_w: float, at_reference_w: float) -> Quantity:
    """Compute the loss of transformers and lines.

    Parameters
    ----------
    power_w
        That passes. [W]
    reference_w
        At which the load loss is known. [W]
    no_load_w, at_reference_w
        Loss without load, and loss with load at the reference without the former. [W]

    Notes
    -----
    ``P0 + k P^2``. A 1000 kVA dry transformer of DOE 10 CFR 431.196 (2016) is 99.28 % efficient at 35 % load;
    at its best point both parts are equal, which fixes them.

    Examples
    --------
    >>> dry = dict(reference_w=350e3, no_load_w=1269.1, at_reference_w=1269.1)
    >>> round(350e3 / (350e3 + float(loss_w(350e3, **dry))), 4)
    0.9928
    """
    return no_load_w + at_reference_w * (power_w / reference_w) ** 2
