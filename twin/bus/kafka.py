"""The bus of the stack: a Kafka, by kafka-python; its foreign errors become ours here and in ``kafka_readers``."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from kafka import KafkaAdminClient, KafkaProducer, TopicPartition
from kafka.admin import OffsetSpec
from kafka.errors import (
    CoordinatorNotAvailableError,
    GroupIdNotFoundError,
    KafkaError,
    MessageSizeTooLargeError,
    TopicAlreadyExistsError,
)
from kafka.serializer import Serializer

from twin.bus.access import KafkaAccess, kafka_access
from twin.bus.base import Bus, OnPlaces, Place, Start, check_topics
from twin.bus.kafka_readers import KafkaMember, KafkaReader, reading_options
from twin.errors import BusError, MessageTooLarge, UnknownTopic
from twin.events.topics import MAX_MESSAGE_BYTES, Topic, full_name
from twin.settings import Settings

logger = logging.getLogger(__name__)

CONNECT_MS = 5_000
ANSWER_MS = 10_000
BACK_OFF_MAX_MS = 2_000
UNSENT_MAX_BYTES = 64 << 20
NEVER_MS = 2**31 - 1  # Kafka's longest: what cannot be sent now waits, bounded by bytes and not by time
RECORD_OVERHEAD_BYTES = 100
BATCH_BYTES = 900_000  # under the broker's 1 MiB; each batch costs as much of a core as several messages
SEGMENTS_PER_PARTITION = 8  # of its retention: what is kept beyond it is at most one of them
SEGMENT_MIN_BYTES = 1 << 20
TOLD_EVERY_S = 10.0
CLOSE_FLUSH_S = 3.0
_UNKNOWN_TOPIC = 3  # of Kafka's error codes
_NO_VALUE: Any = object()  # kafka-python refuses a message without key and value, Kafka does not


class KafkaBus(Bus):
    """A Kafka cluster; every method may be called from any thread.

    What is published while no broker can be reached waits in memory, up to ``unsent_max_bytes``; what comes beyond
    that is not sent, and counted.

    Parameters
    ----------
    access
        Where it is, and who we are.
    name
        Of this process, for the broker's logs.
    session_timeout_s
        A member of a group that is not heard of for so long [s] is expelled.
    unsent_max_bytes
        How much may wait to be sent [B].
    clock
        A clock that never goes back [s].

    Attributes
    ----------
    lost_n
        Messages that could not be sent, by topic.

    Raises
    ------
    BusError
        No broker can be reached, or it does not let us in.
    """

    def __init__(
        self,
        access: KafkaAccess,
        *,
        name: str,
        session_timeout_s: float = 10.0,
        unsent_max_bytes: int = UNSENT_MAX_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.access = access
        self.lost_n: Counter[str] = Counter()
        self._session_timeout_s = session_timeout_s
        self._unsent_max_bytes = unsent_max_bytes
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}  # partitions by topic
        self._unsent_bytes = 0
        self._told_s = -TOLD_EVERY_S
        self._consumers: set[KafkaReader | KafkaMember] = set()
        self._closed = False
        self._last_word: list[str] = []
        self._options: dict[str, Any] = {
            **access.client(),
            "client_id": name,
            "bootstrap_timeout_ms": CONNECT_MS,
            "request_timeout_ms": ANSWER_MS,
            "reconnect_backoff_max_ms": BACK_OFF_MAX_MS,
        }
        with self._translated(), _overheard() as self._last_word:
            self._producer = KafkaProducer(
                **self._options,
                acks="all",
                enable_idempotence=True,
                compression_type="zstd",
                linger_ms=10,
                batch_size=BATCH_BYTES,
                max_request_size=MAX_MESSAGE_BYTES,
                delivery_timeout_ms=NEVER_MS,
                max_block_ms=CONNECT_MS,
                allow_auto_create_topics=False,
                metrics_enabled=False,
                value_serializer=_Values(),
            )
            self._admin = KafkaAdminClient(**self._options)
        self._last_word = []  # what was said on the way explains no later error

    # -- topics

    def create_topics(self, topics: Iterable[Topic], namespace: str = "") -> None:
        for topic in topics:
            name = full_name(topic.name, namespace)
            wanted = {
                name: {"num_partitions": topic.partitions, "replication_factor": -1, "configs": configs_of(topic)}
            }
            with self._translated():
                try:
                    self._admin.create_topics(wanted, timeout_ms=ANSWER_MS, wait_for_metadata=True)
                except TopicAlreadyExistsError:
                    continue

    def delete_topics(self, topics: Iterable[Topic], namespace: str = "") -> None:
        """Delete topics with all that they hold."""
        with self._translated():
            self._admin.delete_topics([full_name(topic.name, namespace) for topic in topics])

    def partitions(self, topic: str) -> int:
        count = self._counts.get(topic)
        if count is None:
            count = self._counts[topic] = self._ask_partitions(topic)
        return count

    def topics(self) -> list[str]:
        with self._translated():
            return [found["name"] for found in self._admin.describe_topics() if not found["is_internal"]]

    def begins(self, topic: str) -> list[int]:
        places = [TopicPartition(topic, partition) for partition in range(self.partitions(topic))]
        with self._translated():
            begins = self._admin.list_partition_offsets(dict.fromkeys(places, OffsetSpec.EARLIEST))
        return [int(begins[place].offset) for place in places]

    def _ask_partitions(self, topic: str) -> int:
        with self._translated():
            (found,) = self._admin.describe_topics([topic])
        if found["error_code"] == _UNKNOWN_TOPIC:
            raise UnknownTopic(f"topic {topic!r} does not exist on {self.access.brokers}: colossus topics create")
        if found["error_code"] or not found["partitions"]:
            raise BusError(f"topic {topic!r} cannot be used: Kafka's error code {found['error_code']}")
        with self._translated():
            self._producer.partitions_for(topic)  # else the first message waits for what is known of its topic
        return len(found["partitions"])

    # -- sending

    def publish(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None,
        partition: int | None = None,
        timestamp_ms: int | None = None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> None:
        if self._closed:
            raise BusError(f"the bus at {self.access.brokers} is closed")
        count = self.partitions(topic)
        if partition is not None and not 0 <= partition < count:
            raise BusError(f"topic {topic!r} has no partition {partition}: it has {count}")
        size = RECORD_OVERHEAD_BYTES + len(key or b"") + len(value or b"")
        if size - RECORD_OVERHEAD_BYTES > MAX_MESSAGE_BYTES:
            raise MessageTooLarge(f"message of {size} bytes for {topic!r}: the limit is {MAX_MESSAGE_BYTES}")
        if not self._may_send(topic, size):
            return
        try:  # without the context manager: it would cost a tenth of all this
            sent = self._producer.send(
                topic,
                value=_NO_VALUE if value is None else bytes(value),
                key=None if key is None else bytes(key),
                headers=[(name, bytes(content)) for name, content in headers],
                partition=partition,
                timestamp_ms=timestamp_ms,
            )
        except MessageSizeTooLargeError as exc:
            self._done(size)
            raise MessageTooLarge(f"message for {topic!r}: {exc}") from exc
        except (KafkaError, OSError) as exc:
            self._done(size)
            raise self._as_ours(exc) from exc
        sent.add_callback(lambda _: self._done(size))
        sent.add_errback(lambda error: self._failed(topic, size, error))

    def _may_send(self, topic: str, size: int) -> bool:
        """Reserve room for a message; without room it is counted as lost."""
        with self._lock:
            if self._unsent_bytes + size <= self._unsent_max_bytes:
                self._unsent_bytes += size
                return True
        self._count_lost(topic, f"{self._unsent_bytes >> 20} MiB wait to be sent already")
        return False

    def _done(self, size: int) -> None:
        with self._lock:
            self._unsent_bytes -= size

    def _failed(self, topic: str, size: int, error: BaseException) -> None:
        self._done(size)
        self._count_lost(topic, f"{type(error).__name__}: {error}")

    def _count_lost(self, topic: str, reason: str) -> None:
        with self._lock:
            self.lost_n[topic] += 1
            lost_n, now_s = self.lost_n.total(), self._clock()
            told, self._told_s = self._told_s, now_s
            if now_s - told < TOLD_EVERY_S:
                self._told_s = told
                return
        logger.warning("publish=lost topic=%s lost_n=%d reason=%s", topic, lost_n, reason)

    def unsent_ratio(self) -> float:
        """Return how much of the room for what waits to be sent is taken: at 1 messages are lost."""
        return self._unsent_bytes / self._unsent_max_bytes

    def flush(self, timeout_s: float = 10.0) -> None:
        with self._translated():
            self._producer.flush(timeout=timeout_s)

    # -- reading

    def read(self, topics: Iterable[str], *, start: Start | int = "end") -> KafkaReader:
        places = [Place(topic, p) for topic in dict.fromkeys(topics) for p in range(self.partitions(topic))]
        with self._translated():
            reader = KafkaReader(
                reading_options(self._options), places, start, self._translated, self._consumers.discard
            )
        self._consumers.add(reader)
        return reader

    def join(
        self,
        group: str,
        topics: Iterable[str],
        *,
        on_assigned: OnPlaces | None = None,
        on_revoked: OnPlaces | None = None,
    ) -> KafkaMember:
        names = list(dict.fromkeys(topics))
        for topic in names:
            self.partitions(topic)
        options = reading_options(self._options, group=group, session_timeout_s=self._session_timeout_s)
        with self._translated():
            member = KafkaMember(options, names, on_assigned, on_revoked, self._translated, self._consumers.discard)
        self._consumers.add(member)
        return member

    # -- its state

    def check(self) -> None:
        """Ask the cluster whether it is there.

        Raises
        ------
        BusError
            It does not answer.
        """
        with self._translated():
            self._admin.describe_cluster()

    def members(self, group: str) -> int:
        """Return how many members a group has."""
        with self._translated():
            try:
                return len(self._admin.describe_groups([group])[group]["members"])
            except (CoordinatorNotAvailableError, GroupIdNotFoundError):  # no group has been here yet
                return 0

    def lag(self, group: str, topic: str) -> int | None:
        """Return how many messages of a topic a group has not committed; ``None``: nobody is in the group."""
        places = [TopicPartition(topic, partition) for partition in range(self.partitions(topic))]
        if not self.members(group):
            return None
        with self._translated():
            committed = self._admin.list_group_offsets({group: places})[group]
            begins = self._admin.list_partition_offsets(dict.fromkeys(places, OffsetSpec.EARLIEST))
            ends = self._admin.list_partition_offsets(dict.fromkeys(places, OffsetSpec.LATEST))
        return sum(
            int(ends[place].offset) - max(int(begins[place].offset), int(committed[place].offset)) for place in places
        )

    def close(self) -> None:
        if self._closed:
            return
        try:
            self.flush(CLOSE_FLUSH_S)
        except BusError as exc:
            logger.warning("close=unsent bytes=%d reason=%s", self._unsent_bytes, exc)
        for close in (
            *(consumer.close for consumer in tuple(self._consumers)),
            self._close_producer,
            self._admin.close,
        ):
            try:
                with self._translated():
                    close()
            except BusError as exc:
                logger.warning("close=without_goodbye reason=%s", exc)
        self._closed = True

    def _close_producer(self) -> None:
        self._producer.close(timeout=1.0)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Let no error of kafka-python through but one that says which message is too large."""
        if self._closed:
            raise BusError(f"the bus at {self.access.brokers} is closed")
        try:
            yield
        except MessageSizeTooLargeError:
            raise
        except (KafkaError, OSError) as exc:
            raise self._as_ours(exc) from exc

    def _as_ours(self, error: Exception) -> BusError:
        if self._closed:
            return BusError(f"the bus at {self.access.brokers} is closed")
        why = " ".join([str(error) or type(error).__name__, *self._last_word])
        return BusError(
            f"Kafka at {self.access.brokers}: {why}: start it (make servers), or mend COLOSSUS_KAFKA and "
            "COLOSSUS_KAFKA_*"
        )


_CLOSED = "(the broker closed the connection: is it the right port, and are security, SASL user and password right?)"


@contextmanager
def connected(settings: Settings, name: str) -> Iterator[KafkaBus]:
    """Connect to the Kafka of the settings, and look whether its topics are those of the table.

    Parameters
    ----------
    settings
        Where it is.
    name
        Of this process.

    Raises
    ------
    SettingInvalid, BusError
        What is missing, and what to do.
    """
    bus = KafkaBus(kafka_access(settings), name=name)
    try:
        check_topics(bus, settings.namespace)
        yield bus
    finally:
        bus.close()


class _LastWord(logging.Handler):
    """Keeps the last line that tells of an error, without the names of kafka-python's own classes."""

    def __init__(self, kept: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._kept = kept

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage().replace("\n", " ")
        if "bootstrap" in text.lower():
            return
        if "failed" in text.lower():
            self._kept[:] = [f"({text[:300]})"]
        elif "socket disconnected" in text and not self._kept:
            # kafka-python does not read a refusal that comes together with the end of the connection.
            self._kept[:] = [_CLOSED]


@contextmanager
def _overheard() -> Iterator[list[str]]:
    """Listen to what kafka-python says of its attempts: its error does not tell why none succeeded."""
    kept: list[str] = []
    client, listener = logging.getLogger("kafka"), _LastWord(kept)
    level, loud = client.level, client.propagate
    client.addHandler(listener)
    client.setLevel(logging.WARNING)
    client.propagate = False
    try:
        yield kept
    finally:
        client.removeHandler(listener)
        client.setLevel(level)
        client.propagate = loud


class _Values(Serializer):
    """Makes values of what is sent: bytes as they are, and none of ``_NO_VALUE``."""

    def serialize(self, topic: str, headers: Any, data: Any) -> bytes | None:
        """Return what goes on the wire."""
        return None if data is _NO_VALUE else data


def configs_of(topic: Topic) -> dict[str, str]:
    """Return the settings of a topic in Kafka's words.

    Parameters
    ----------
    topic
        A row of the table of topics.

    Examples
    --------
    >>> from twin.events.topics import BY_NAME
    >>> configs_of(BY_NAME["run.control"])["cleanup.policy"]
    'compact'
    """
    share = topic.disk_bytes // topic.partitions
    segment = max(SEGMENT_MIN_BYTES, share // SEGMENTS_PER_PARTITION)
    # Whatever others send is compressed anew by the broker: not every reader knows every codec.
    codec = {"compression.type": "zstd"}
    if topic.compacted:
        return codec | {"cleanup.policy": "compact", "segment.bytes": str(segment), "segment.ms": "600000"}
    return codec | {
        "cleanup.policy": "delete",
        "retention.bytes": str(share),
        "retention.ms": str(1000 * topic.retention_s),
        "segment.bytes": str(segment),
        "segment.ms": str(1000 * topic.retention_s // SEGMENTS_PER_PARTITION),
    }
