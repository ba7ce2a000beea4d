"""How a Kafka is read: whole topics without a group, or as a member of one."""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from kafka import AsyncConsumerRebalanceListener, KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from kafka.errors import (
    CommitFailedError,
    IllegalGenerationError,
    RebalanceInProgressError,
    RetriableError,
    UnknownMemberIdError,
)
from kafka.future import Future

from twin.bus.base import Member, OnPlaces, Place, Reader, Record, Start
from twin.errors import NotOwner

logger = logging.getLogger(__name__)

Translated = Callable[[], AbstractContextManager[None]]
FETCH_MAX_WAIT_MS = 500
CLOSE_MS = 5_000
AIM_MS = 1_000  # who aims is about to leave, and may hold a lease meanwhile
HEARTBEATS_PER_SESSION = 3
_NOT_OURS = (CommitFailedError, IllegalGenerationError, RebalanceInProgressError, UnknownMemberIdError)


def reading_options(
    options: Mapping[str, Any], *, group: str | None = None, session_timeout_s: float = 10.0
) -> dict[str, Any]:
    """Return the options of a consumer that commits when it is told to.

    Parameters
    ----------
    options
        Of any client.
    group
        ``None``: without one.
    session_timeout_s
        How long a member may be silent [s].
    """
    reading = {
        **options,
        "group_id": group,
        "enable_auto_commit": False,
        "auto_offset_reset": "earliest",
        "allow_auto_create_topics": False,
        "metrics_enabled": False,
        "fetch_max_wait_ms": FETCH_MAX_WAIT_MS,
    }
    if group is None:
        return reading
    return reading | {
        # The eager protocol: all is given up before anything is dealt out anew, as the port promises.
        "partition_assignment_strategy": (RoundRobinPartitionAssignor,),
        "session_timeout_ms": round(1000 * session_timeout_s),
        # To poll is the heartbeat: who does not may not hold up the others either.
        "max_poll_interval_ms": round(1000 * session_timeout_s),
        "heartbeat_interval_ms": round(1000 * session_timeout_s / HEARTBEATS_PER_SESSION),
    }


def _polled(consumer: KafkaConsumer, timeout_s: float, limit: int) -> list[Record]:
    try:
        batches = consumer.poll(timeout_ms=round(1000 * timeout_s), max_records=limit)
    except RetriableError as exc:
        # It connects again by itself; whoever watches the bus hears of it.
        logger.debug("poll=again reason=%s", exc)
        return []
    return [
        Record(
            record.topic, record.partition, record.offset, record.timestamp, record.key, record.value,
            tuple(record.headers),
        )
        for batch in batches.values()
        for record in batch
    ]  # fmt: skip


class KafkaReader(Reader):
    """A groupless reader."""

    def __init__(
        self,
        options: Mapping[str, Any],
        places: Iterable[Place],
        start: Start | int,
        translated: Translated,
        forget: Callable[["KafkaReader"], None],
    ) -> None:
        self._translated = translated
        self._forget = forget
        self._consumer = KafkaConsumer(**options)
        partitions = [TopicPartition(*place) for place in places]
        self._consumer.assign(partitions)
        self._partitions = partitions
        begins, ends = self._consumer.beginning_offsets(partitions), self._consumer.end_offsets(partitions)
        first = begins
        if start == "end":
            first = ends
        elif isinstance(start, int):
            found = self._consumer.offsets_for_times(dict.fromkeys(partitions, start))
            first = {p: ends[p] if found[p] is None else found[p].offset for p in partitions}
        for partition in partitions:
            self._consumer.seek(partition, first[partition])
        self._goal = {p: ends[p] for p in partitions if first[p] < ends[p]}

    def poll(self, timeout_s: float = 0.0, *, limit: int = 1000) -> list[Record]:
        with self._translated():
            return _polled(self._consumer, timeout_s, limit)

    def aim(self) -> None:
        with self._translated():
            self._goal = dict(self._consumer.end_offsets(self._partitions, timeout_ms=AIM_MS))

    def caught_up(self) -> bool:
        with self._translated():
            # By position and not by what has come: of a compacted topic the last message may be gone.
            self._goal = {
                partition: end
                for partition, end in self._goal.items()
                if (self._consumer.position(partition, timeout_ms=AIM_MS) or 0) < end
            }
        return not self._goal

    def close(self) -> None:
        self._consumer.close(autocommit=False, timeout_ms=CLOSE_MS)
        self._forget(self)


class KafkaMember(Member):
    """A member of a group."""

    def __init__(
        self,
        options: Mapping[str, Any],
        topics: list[str],
        on_assigned: OnPlaces | None,
        on_revoked: OnPlaces | None,
        translated: Translated,
        forget: Callable[["KafkaMember"], None],
    ) -> None:
        self._translated = translated
        self._forget = forget
        self._consumer = KafkaConsumer(**options)
        listener = _Listener(on_assigned, on_revoked)
        listener.wake = self._consumer._net.call_soon_threadsafe  # noqa: SLF001  (no public way into its loop)
        self._consumer.subscribe(topics, listener=listener)

    def poll(self, timeout_s: float = 0.0, *, limit: int = 1000) -> list[Record]:
        with self._translated():
            return _polled(self._consumer, timeout_s, limit)

    def commit(self, offsets: Mapping[Place, int] | None = None) -> None:
        wanted = None
        if offsets is not None:
            if not offsets:
                return
            foreign = offsets.keys() - self.assignment  # Kafka itself asks for the generation alone
            if foreign:
                raise NotOwner(f"this member does not own {sorted(foreign)}")
            wanted = {TopicPartition(*place): OffsetAndMetadata(offset, "", -1) for place, offset in offsets.items()}
        with self._translated():
            try:
                self._consumer.commit(wanted, timeout_ms=CLOSE_MS)
            except _NOT_OURS as exc:
                raise NotOwner(f"the group has been dealt out anew: {exc}") from exc

    @property
    def assignment(self) -> frozenset[Place]:
        return frozenset(Place(place.topic, place.partition) for place in self._consumer.assignment())

    def close(self) -> None:
        self._consumer.close(autocommit=False, timeout_ms=CLOSE_MS)
        self._forget(self)


class _Listener(AsyncConsumerRebalanceListener):
    """Passes rebalances on, in a thread of its own: kafka-python asks from its I/O thread, where nobody may block.

    Of the first rebalance there is nothing to give up.
    """

    def __init__(self, on_assigned: OnPlaces | None, on_revoked: OnPlaces | None) -> None:
        self._on_assigned = on_assigned
        self._on_revoked = on_revoked
        self.wake: Callable[[Callable[[], object]], object]

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Tell what has come."""
        await self._tell(self._on_assigned, assigned)

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Tell what is about to go."""
        await self._tell(self._on_revoked, revoked)

    async def _tell(self, told: OnPlaces | None, partitions: Iterable[TopicPartition]) -> None:
        places = frozenset(Place(partition.topic, partition.partition) for partition in partitions)
        if told is None or not places:
            return
        done = Future()

        def tell() -> None:
            try:
                told(places)
            except NotOwner as exc:  # expelled before it could commit: the next owner reads that part again
                logger.warning("commit_on_revoke=refused reason=%s", exc)
            finally:
                self.wake(lambda: done.success(None))

        threading.Thread(target=tell, name="rebalance", daemon=True).start()
        await done
