"""Where in a recorded run an instant lies: which epoch and tick begin there."""

from dataclasses import dataclass

from twin.events.control import RunControl
from twin.recording.epochs import CONTROL, LOOK_AHEAD_NS, control_in, is_frame_from, tells_of
from twin.recording.feed import Feed
from twin.recording.reader import Recording
from twin.recording.retelling import Lineage, told_of


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
    found, sure = feed.find(lambda item: item.time_ns >= time_ns and is_frame_from(item, oldest), upto_ns=end_ns)
    if found is not None and (lineage := told_of(found).lineage) is not None and lineage != oldest:
        item, _ = feed.find(lambda item: tells_of(item, lineage), upto_ns=time_ns + LOOK_AHEAD_NS)
        if item is not None or oldest is None:
            return Place(lineage, told_of(found).tick, None if item is None else control_in(item), found.time_ns)
        # Nobody speaks of its run: the one that is spoken of goes on.
        found, sure = feed.find(
            lambda item: item.time_ns >= time_ns and told_of(item).lineage == oldest and told_of(item).frame,
            upto_ns=end_ns,
        )
    if found is not None:
        return Place(oldest, told_of(found).tick, control, found.time_ns)
    if not sure:
        return None
    return Place() if control is None else Place(oldest, control.settled_tick + 1, control)
