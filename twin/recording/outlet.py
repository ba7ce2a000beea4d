"""Where a player sends to: topics of a namespace, with the partitions of the recording where they fit."""

from collections.abc import Collection, Mapping
from typing import Protocol

from twin.bus.base import Bus
from twin.errors import RecordingError, UnknownTopic
from twin.events.topics import BY_NAME, Topic, full_name
from twin.recording.item import Item


class Outlet(Protocol):
    """Takes what is played."""

    def send(self, item: Item, value: bytes | None) -> None:
        """Send a message of the recording with this value."""
        ...


class BusOutlet:
    """Sends onto a bus.

    Parameters
    ----------
    bus, namespace
        Where to.
    partitions
        How many the recorded topics had, by topic.
    original_time
        Send with the recorded timestamp, and not with that of now.
    """

    def __init__(self, bus: Bus, namespace: str, partitions: Mapping[str, int], *, original_time: bool) -> None:
        self._bus = bus
        self._namespace = namespace
        self._recorded = partitions
        self._original_time = original_time
        self._places: dict[str, tuple[str, int, bool]] = {}  # full name, partitions, whether they are as recorded

    def check(self, topics: Collection[str]) -> None:
        """Look whether all topics are there.

        Raises
        ------
        RecordingError
            Which are missing, and what to do.
        """
        missing, own = [], False
        for topic in sorted(topics):
            try:
                self._place(topic)
            except UnknownTopic:
                missing.append(full_name(topic, self._namespace))
                own = own or topic in BY_NAME
        if missing:
            how = "`colossus topics create` makes those of the twin" if own else "make them"
            raise RecordingError(
                f"there is no topic {', '.join(missing)} to play into: {how}, or choose what is played (--topics)"
            )

    def send(self, item: Item, value: bytes | None) -> None:
        """Send a message; its order within its partition, or at least its key, is kept."""
        name, count, same = self._place(item.topic)
        partition: int | None = item.partition if same and item.partition < count else None
        if partition is None and item.key is None:
            partition = item.partition % count  # nothing but its partition holds it in order
        self._bus.publish(
            name,
            value,
            key=item.key,
            partition=partition,
            timestamp_ms=item.timestamp_ms if self._original_time else None,
            headers=item.headers,
        )

    def _place(self, topic: str) -> tuple[str, int, bool]:
        place = self._places.get(topic)
        if place is None:
            name = full_name(topic, self._namespace)
            count = self._bus.partitions(name)
            own: Topic | None = BY_NAME.get(topic)
            recorded = self._recorded.get(topic, own.partitions if own else 1)
            place = self._places[topic] = (name, count, count == recorded)
        return place
