"""What of a recording is played: inputs, and never what the observer makes of them."""

from collections import OrderedDict
from dataclasses import dataclass
from fnmatch import fnmatchcase

from twin.events.head import told
from twin.events.topics import BY_NAME
from twin.recording.item import Item
from twin.recording.reader import Recording

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

    def topics_of(self, recording: Recording) -> frozenset[str]:
        """Return the topics of a recording that are played."""
        return frozenset(topic for topic in recording.counts if self._wants(topic, recording))

    def _wants(self, topic: str, recording: Recording) -> bool:
        if topic in STEERING:
            return False
        if topic not in self.topics and _is_of_a_namespace(topic, recording):
            return False  # its runs are not ours to write into
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


def _is_of_a_namespace(topic: str, recording: Recording) -> bool:
    """Tell whether a topic is one of another namespace of the twin: by its name, and by its first message."""
    if topic.partition(".")[2] not in BY_NAME:
        return False
    first = next(recording.items(topics={topic}, on_damage=lambda _: None), None)
    return first is not None and told(first.value) is not None


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
