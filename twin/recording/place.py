"""Where in a recorded run an instant lies: which epoch and tick begin there."""

from collections.abc import Callable
from dataclasses import dataclass

from twin.events.control import RunControl
from twin.recording.epochs import CONTROL, LOOK_AHEAD_NS, control_in, tells_of
from twin.recording.feed import Feed
from twin.recording.reader import Recording
from twin.recording.retelling import Lineage, Told, told_of


@dataclass(frozen=True, slots=True)
class Place:
    """What is played first from an instant on.

    Attributes
    ----------
    lineage, tick
        The recorded epoch and its first tick.
    control
        What was recorded of that epoch.
    first_ns
        When its first frame comes [ns]; ``None``: no telemetry is played.
    """

    lineage: Lineage | None = None
    tick: int = -1
    control: RunControl | None = None
    first_ns: int | None = None


def place_at(time_ns: int, end_ns: int, recording: Recording, feed: Feed) -> Place | None:
    """Find the place of an instant; ``None``: not all that it needs has been read yet.

    Parameters
    ----------
    time_ns, end_ns
        From there on, and up to there [ns].
    recording, feed
        The feed reads from a little before the instant on.

    Raises
    ------
    RecordingInvalid
        The reading failed.
    """
    last = recording.last_before(time_ns, CONTROL, on_damage=feed.note)
    control = last and control_in(last)
    oldest = None if control is None else (control.run, control.epoch)
    settled = -1 if control is None else control.settled_tick  # a frame of such a tick only comes late

    def find(wanted: Callable[[Told], bool]) -> tuple[Told | None, bool]:
        found, sure = feed.find(lambda item: item.time_ns >= time_ns and wanted(told_of(item)), upto_ns=end_ns)
        return None if found is None else told_of(found), sure

    first, sure = find(lambda one: _is_next(one, oldest, settled))
    if first is not None and first.lineage is not None and first.lineage != oldest:
        lineage = first.lineage
        item, told_all = feed.find(lambda item: tells_of(item, lineage), upto_ns=time_ns + LOOK_AHEAD_NS)
        if item is None and not told_all:
            return None
        if item is not None or oldest is None:
            return Place(lineage, first.tick, None if item is None else control_in(item), first.item.time_ns)
        # Nobody speaks of its run: the one that is spoken of goes on.
        first, sure = find(lambda one: one.lineage == oldest and _is_next(one, oldest, settled))
    if first is not None:
        return Place(oldest, first.tick, control, first.item.time_ns)
    if not sure:
        return None
    if control is not None:
        return Place(oldest, settled + 1, control)
    answer, _ = find(lambda one: one.lineage is not None)  # orders, and answers to them, alone
    return Place() if answer is None else Place(answer.lineage, answer.tick)


def _is_next(one: Told, oldest: Lineage | None, settled: int) -> bool:
    """Tell whether a message is a frame of what comes: of older epochs and ticks some may still come late."""
    if not one.frame or one.lineage is None:
        return False
    return oldest is None or one.lineage > oldest or (one.lineage == oldest and one.tick > settled)
