"""The tick of the recorded run that is being sent."""

from twin.recording.item import NS_PER_MS
from twin.recording.retelling import Lineage, Told

SLACK_TICKS = 60


class CurrentTick:
    """Which tick of which epoch was sent last, and when it began [ns]; none after a jump."""

    def __init__(self) -> None:
        self.lineage: Lineage | None = None
        self.tick = -1
        self.began_at_ns = 0

    def sent(self, one: Told) -> None:
        """Note that a frame went out."""
        if one.tick > self.tick or one.lineage != self.lineage:
            self.lineage, self.tick, self.began_at_ns = one.lineage, one.tick, one.item.time_ns

    def began_ns(self, one: Told) -> int | None:
        """Return when the tick of a frame began [ns], for a frame that is no first of its tick."""
        same = one.frame and (one.lineage, one.tick) == (self.lineage, self.tick)
        return self.began_at_ns if same else None

    def is_left_by(self, one: Told) -> bool:
        """Tell whether a message is a frame of a later tick, or of a later epoch."""
        if not one.frame or one.lineage is None or self.lineage is None:
            return False
        return (*one.lineage, one.tick) > (*self.lineage, self.tick)

    def is_far_before(self, one: Told) -> bool:
        """Tell whether a frame is of a tick that cannot have been by then: a tick takes a millisecond at least."""
        passed_ms = (one.item.time_ns - self.began_at_ns) // NS_PER_MS
        return one.frame and one.lineage == self.lineage and one.tick - self.tick > passed_ms + SLACK_TICKS
