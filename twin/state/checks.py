"""What a keeper refuses beyond what the columns of a frame can tell: schema, tick, and places of the site."""

from collections.abc import Mapping

import numpy as np

from twin.errors import MessageInvalid
from twin.events.columns import Family
from twin.events.control import RunControl
from twin.events.derived import POWER_BINS, TEMP_BINS
from twin.events.frames import Frame
from twin.events.head import Head
from twin.events.topics import GPU_PARTITIONS
from twin.run import CLOCKS_APART_MS, tick_due
from twin.site import Site

Places = Mapping[tuple[str, str], int]


def check_tick(head: Head, control: RunControl | None, now_ms: int) -> None:
    """Refuse a tick that the present epoch cannot have: one such would make all that follow look late.

    Parameters
    ----------
    head
        Of any run; only one of the run and epoch that hold is looked at.
    control
        What holds.
    now_ms
        The wall clock [ms].

    Raises
    ------
    MessageInvalid
        With the ticks that are possible.
    """
    if control is None or (head.run, head.epoch) != (control.run, control.epoch):
        return
    first, last = control.line.tick0, tick_due(control.line, now_ms + CLOCKS_APART_MS)
    if not first <= head.tick <= last:
        raise MessageInvalid(f"out-of-range: head.tick: {head.tick} is not in {first}..{last} of epoch {head.epoch}")


def places_of(site: Site) -> Places:
    """Return, by group and column of what the observer makes, how many places an index can name."""
    racks, halls = site.layout.rack_count, site.layout.hall_count
    return {
        ("close", "partition"): GPU_PARTITIONS,
        ("rack", "rack_i"): racks,
        ("hall", "hall_i"): halls,
        ("temp_hist", "hall_i"): halls,
        ("temp_hist", "bin"): TEMP_BINS,
        ("power_hist", "hall_i"): halls,
        ("power_hist", "bin"): POWER_BINS,
        ("xid", "rack_i"): racks,
        ("cdu", "rack_i"): racks,
        ("gpu", "rack_i"): racks,
        ("gpu_hist", "scope_i"): 1 + halls,
    }


def check_groups(family: Family, frame: Frame, places: Places) -> None:
    """Refuse a group that lacks a column, a whole number that is not there, and an index beyond its places.

    Groups of the observer's own messages may have any length, so that the reading of a frame lets these pass.

    Raises
    ------
    MessageInvalid
        With the first thing that is wrong.
    """
    for group in family.groups:
        dense, text = frame.dense.get(group.name), frame.text.get(group.name, {})
        if dense is None:
            continue
        for column in group.columns:
            where = f"{group.name}.{column.name}"
            values = dense.get(column.name)
            if values is None:
                if column.name not in text:
                    raise MessageInvalid(f"missing-column: {where}")
                continue
            if column.resolution != 1 or not len(values):
                continue
            highest = np.maximum.reduce(values)  # NaN if there is one
            if np.isnan(highest):
                raise MessageInvalid(f"bad-type: {where}: expected whole numbers")
            size = places.get((group.name, column.name))
            if size is not None and highest >= size:
                raise MessageInvalid(f"bad-index: {where}: beyond {size} places")
