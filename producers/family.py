"""What one family of telemetry says of a tick."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from twin.events.columns import Group
from twin.events.frames import quantise
from twin.plant import Plant


class Reading(NamedTuple):
    """The data of one message."""

    key: str
    data: bytes
    partition: int | None = None


class Producer(Protocol):
    """A family: the topic and, each tick, its readings."""

    topic: str

    def readings(self, plant: Plant, *, first_of_epoch: bool) -> Iterator[Reading]:
        """Read the plant as the sensors would."""
        ...


def shown(group: Group, values: Mapping[str, Any]) -> dict[str, Any]:
    """Round the columns of a group as their sensors do.

    Parameters
    ----------
    group
        Its table of columns; each dense column must be in ``values``.
    values
        Column -> true values.
    """
    return {c.name: quantise(c, np.atleast_1d(values[c.name])) for c in group.columns if c.kind == "dense"}
