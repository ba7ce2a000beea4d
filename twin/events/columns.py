"""Tables of columns: what a frame holds, said once.

A *family* is the data of one schema; it has *groups* (the GPUs of an array, its servers, its CDUs), and a
group has *columns*. The encoding is in ``frames.py``.
"""

from dataclasses import dataclass, field
from typing import Literal

from twin.events.units import Unit, unit_of

Kind = Literal["dense", "sparse", "text"]
Aggregate = Literal["sample", "mean", "max", "sum", "or"]


@dataclass(frozen=True, slots=True)
class Column:
    """One quantity of a group.

    Attributes
    ----------
    name
        Carries the unit (``power_w``).
    resolution
        The step that the sensor shows [unit of the name]; 0 means as it is.
    low, high
        What a sensor can say at all; outside is a broken message, not a reading [unit of the name].
    aggregate
        How the value stands for the tick of ``dt_s``.
    kind
        ``dense``: a list in site order, null where not measured; ``sparse``: {index: value}, nearly all zero;
        ``text``: a list of ids.
    dcgm
        Name and id of the DCGM field of the real site.
    """

    name: str
    resolution: float
    low: float
    high: float
    aggregate: Aggregate = "sample"
    kind: Kind = "dense"
    dcgm: str = ""

    @property
    def unit(self) -> Unit:
        """The unit, from the name's suffix."""
        return unit_of(self.name)


@dataclass(frozen=True, slots=True)
class Group:
    """Columns over the same things, in site order.

    ``measurement`` names the store's measurement that its columns are fields of, if any; ``tag`` is the kind
    of asset that one place of a column belongs to.
    """

    name: str
    columns: tuple[Column, ...]
    measurement: str = ""

    def column(self, name: str) -> Column:
        """Return the column of that name."""
        return next(column for column in self.columns if column.name == name)


@dataclass(frozen=True, slots=True)
class Family:
    """The data of one schema: ``name/major`` and its groups."""

    schema_id: str
    title: str
    groups: tuple[Group, ...]
    by_name: dict[str, Group] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {group.name: group for group in self.groups})

    @property
    def major(self) -> int:
        """The major version."""
        return int(self.schema_id.partition("/")[2])


def flag(name: str) -> Column:
    """Return a column of 0 or 1."""
    return Column(name, 1, 0, 1, "max")


def ratio(name: str, high: float = 1.0, aggregate: Aggregate = "mean") -> Column:
    """Return a column of a ratio, shown to 0.001."""
    return Column(name, 0.001, 0, high, aggregate)


def temp(name: str, aggregate: Aggregate = "sample") -> Column:
    """Return a column of a temperature [C], shown to 0.1 K."""
    return Column(name, 0.1, -60, 700, aggregate)


def power(name: str, aggregate: Aggregate = "mean") -> Column:
    """Return a column of a power [W], shown to 1 W."""
    return Column(name, 1, -5e9, 5e9, aggregate)


def count(name: str, aggregate: Aggregate = "sample") -> Column:
    """Return a column that counts things."""
    return Column(name, 1, 0, 2**53, aggregate)


def flow(name: str) -> Column:
    """Return a column of a flow [L/min], shown to 0.1."""
    return Column(name, 0.1, -1e7, 1e7, "mean")
