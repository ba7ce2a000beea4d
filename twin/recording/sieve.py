"""Which messages of a recording a player sends, from the place where it came in."""

from collections.abc import Collection

from twin.recording.choice import Choice, Racks
from twin.recording.epochs import CONTROL, Epochs
from twin.recording.retelling import Lineage, Told
from twin.recording.ticks import CurrentTick


class Sieve:
    """Lets through what is to be sent.

    Parameters
    ----------
    choice
        What is played.
    topics
        Of these topics.
    epochs
        Of the run that is played; ``None`` where the recording holds none of ours.

    Attributes
    ----------
    left_out_n
        How many frames cannot be of what is played.
    """

    def __init__(self, choice: Choice, topics: Collection[str], epochs: Epochs | None) -> None:
        self._choice = choice
        self._topics = frozenset(topics)
        self._epochs = epochs
        self.left_out_n = 0
        self.come_in(0, None, -1)

    def come_in(self, time_ns: int, lineage: Lineage | None, tick: int) -> None:
        """Begin anew at an instant [ns], which lies in a tick of a recorded epoch."""
        self._start_ns, self._lineage, self._tick = time_ns, lineage, tick
        self._racks = Racks()
        self._strays: set[Lineage] = set()

    def leave_out(self, lineage: Lineage) -> None:
        """Let nothing of an epoch through until the recording says something of it, as its readers would."""
        self._strays.add(lineage)
        self.left_out_n += 1

    def wants(self, one: Told, sent: CurrentTick) -> bool:
        """Tell whether a message is to be sent; what the recording tells of its run is taken in on the way.

        Parameters
        ----------
        sent
            The tick that was sent last.
        """
        item = one.item
        if item.topic == CONTROL:
            told_of_run = self._epochs is not None and self._epochs.hear(item) is not None
            return told_of_run and item.time_ns >= self._start_ns
        if one.lineage is not None and self._epochs is not None:
            if one.frame and one.lineage == self._lineage:
                if one.tick < self._tick:  # of a tick that began before the place where the player came in
                    return False
            elif item.time_ns < self._start_ns:
                return False
            stray = one.frame and one.lineage in self._strays and self._epochs.heard(one.lineage) is None
            if stray or sent.is_far_before(one):
                self.left_out_n += 1
                return False
            if self._racks.superfluous(item, *one.lineage, one.tick):
                return False
        elif item.time_ns < self._start_ns:
            return False
        return item.topic in self._topics and self._choice.wants_key(item.key)
