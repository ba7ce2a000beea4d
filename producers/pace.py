"""How fast a plant on a Kafka may go: no faster than what it sends goes out, and is read."""

import logging
from collections.abc import Callable, Iterable

from twin.bus.kafka import KafkaBus
from twin.errors import BusError
from twin.events.layout import FrameLayout
from twin.events.topics import GPU_PARTITIONS, full_name
from twin.run import RunOwner, tick_due

logger = logging.getLogger(__name__)

UNSENT_MAX_RATIO = 0.5
BEHIND_MAX_TICKS = 3
UNREAD_MAX_TICKS = 60
LOOK_EVERY_MS = 500


class Pace:
    """Asked before each tick.

    A run at the pace of the wall clock waits for nobody but the bus, as a real site would. One that has fallen behind
    and makes up for it waits for the state, and one that hurries for the history, too: they could lose to retention
    what they have not read. A slow store must not stop a run that keeps pace.

    Attributes
    ----------
    held_back
        Whether it said no the last time it was asked.

    Parameters
    ----------
    bus, namespace
        Where it sends to.
    layout
        Says how many messages a tick has.
    now_ms
        The wall clock [ms].
    """

    def __init__(self, bus: KafkaBus, namespace: str, layout: FrameLayout, now_ms: Callable[[], int]) -> None:
        self._bus = bus
        self._now_ms = now_ms
        arrays = layout.site.layout.array_count
        partitions = min(arrays, GPU_PARTITIONS)  # one without arrays has no frames, and no racks
        self._state, self._history = (
            tuple((full_name(group, namespace), full_name(topic, namespace), n) for group, topic, n in readers)
            for readers in (
                (("rows", "telemetry.gpu", arrays), ("site", "twin.rack", partitions)),
                (("history", "twin.rack", partitions),),
            )
        )
        self.held_back = False
        self._looked_ms = -LOOK_EVERY_MS
        self._all_read = True

    def open_for(self, owner: RunOwner) -> bool:
        """Tell whether the run may do its next tick."""
        self.held_back = not self._open_for(owner)
        return not self.held_back

    def _open_for(self, owner: RunOwner) -> bool:
        if self._bus.unsent_ratio() > UNSENT_MAX_RATIO:
            return False
        now_ms = self._now_ms()
        behind = tick_due(owner.line, now_ms) - owner.tick > BEHIND_MAX_TICKS
        if not owner.hurries and not behind:
            return True
        if now_ms - self._looked_ms >= LOOK_EVERY_MS:
            self._looked_ms = now_ms
            self._all_read = self._look((*self._state, *self._history) if owner.hurries else self._state)
        return self._all_read

    def _look(self, readers: Iterable[tuple[str, str, int]]) -> bool:
        try:
            lags = [(self._bus.lag(group, topic) or 0) / per_tick for group, topic, per_tick in readers]
        except BusError as exc:
            logger.debug("pace=waits reason=%s", exc)
            return False
        return max(lags) < UNREAD_MAX_TICKS
