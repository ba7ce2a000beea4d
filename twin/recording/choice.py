"""What of a recording is played: inputs, and never what the observer makes of them."""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from twin.events.topics import BY_NAME
from twin.recording.item import Item

STEERING = frozenset({"run.control", "run.requests"})  # a player has a run of its own
OBSERVED = frozenset(
    {"twin.rack", "twin.site", "twin.health", "twin.marks", "alarm.candidates", "alarms", "dead.letter"}
)
GPU, RACK = "telemetry.gpu", "twin.rack"
_KEPT_TICKS_N = 4096


@dataclass(frozen=True, slots=True)
class Choice:
    """Which messages are played.

    Attributes
    ----------
    topics, keys
        Shell patterns; none: all. What the observer makes is played only where a topic is named by its whole name.
    instructor
        Play what a trainee must never read.
    """

    topics: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    instructor: bool = False

    def topics_of(self, recorded: Iterable[str]) -> frozenset[str]:
        """Return the topics of a recording that are played."""
        return frozenset(topic for topic in recorded if self._wants(topic))

    def _wants(self, topic: str) -> bool:
        if topic in STEERING:
            return False
        if topic.partition(".")[2] in BY_NAME and topic not in self.topics:
            return False  # of another namespace, it seems: its runs are not ours to write into
        own = BY_NAME.get(topic)
        if own is not None and own.instructor and not self.instructor:
            return False
        if topic in OBSERVED and topic != RACK and topic not in self.topics:
            return False
        return not self.topics or any(fnmatchcase(topic, pattern) for pattern in self.topics)

    def wants_key(self, key: bytes | None) -> bool:
        """Tell whether messages of a key are played."""
        if not self.keys:
            return True
        text = (key or b"").decode(errors="replace")
        return any(fnmatchcase(text, pattern) for pattern in self.keys)


class Racks:
    """Leaves out ``twin.rack`` of a partition and tick whose GPU frames are played: the observer makes it anew."""

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[str, int, int, int], None] = OrderedDict()

    def superfluous(self, item: Item, run: str, epoch: int, tick: int) -> bool:
        """Note a GPU frame, or tell whether a ``twin.rack`` is not to be played."""
        place = (run, epoch, tick, item.partition)
        if item.topic == RACK:
            return place in self._seen
        if item.topic == GPU and place not in self._seen:
            self._seen[place] = None
            if len(self._seen) > _KEPT_TICKS_N:
                self._seen.popitem(last=False)
        return False
