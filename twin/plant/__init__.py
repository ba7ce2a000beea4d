"""The plant: the whole site as arrays of state, one file per subsystem, advanced by :func:`step`.

To add a device: its physics in ``twin/physics``, its arrays and step in ``<subsystem>.py``, its nameplate in the
site. To add a command or a malfunction: a row of ``COMMANDS`` or ``MALFUNCTIONS``.
"""

from twin.plant.commands import COMMANDS, apply
from twin.plant.malfunctions import MALFUNCTIONS, inject
from twin.plant.model import OperatorCommand, Plant
from twin.plant.plant import build, step
from twin.plant.snapshot import TimedCommand, TimedInject, carry_out, restore, snapshot, state_hash

__all__ = [
    "COMMANDS",
    "MALFUNCTIONS",
    "OperatorCommand",
    "Plant",
    "TimedCommand",
    "TimedInject",
    "apply",
    "build",
    "carry_out",
    "inject",
    "restore",
    "snapshot",
    "state_hash",
    "step",
]
