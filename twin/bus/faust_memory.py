"""Faust's transport over the memory bus: ``broker="memory://<name of the bus>"``.

It shares the coordinator of the bus with every other consumer, so that agents rebalance on join, leave and crash as
members of ``MemoryBus.join`` do. Importing this module makes the scheme known to Faust.

Notes
-----
An app for it is built inside the running loop, started once and never again::

    app = faust.App(
        "rows",                         # the consumer group; every worker of it is an app of its own
        broker="memory://demo",         # the bus exists already
        store="memory://",
        datadir=folder,                 # it exists; else Faust makes <id>-data where the process stands
        autodiscover=False,
        web_enabled=False,
        topic_disable_leader=True,      # else it makes a topic to choose a leader with
        stream_wait_empty=False,        # else a stop waits for what a noack() agent still holds
        stream_buffer_maxsize=32768,
        broker_commit_interval=1.0,
        TableManager=Tables,            # else each start sleeps one second
    )
    topic = app.topic(name, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
    app.agent(topic, name="frames")(function)
    await app.start()                   # it has its partitions now, unless app.crashed: see app.crash_reason
    await app.wait_until_stopped()      # returns on a crash too
    await app.stop()                    # commits, says goodbye; a crashed app needs it as well

``start`` waits for its group: while that waits for a silent member to be expelled, so does ``start``.

Where it differs from Faust on Kafka: what was acknowledged is committed on revoke (Faust's own driver forgets it, so
that it is delivered again), a message that is too large raises ``MessageTooLarge`` at the sender, and ``send_soon``
does not buffer. Agents that acknowledge by themselves must do so in the order of offsets: Faust commits past a single
hole.
"""

import asyncio
import logging
import weakref
from collections.abc import Awaitable, Iterable, Mapping
from typing import Any, ClassVar

from faust.tables.manager import TableManager
from faust.transport import base
from faust.transport.drivers import TRANSPORTS
from faust.types import TP, ConsumerMessage, RecordMetadata
from faust.types.tuples import FutureMessage
from mode import Service, want_seconds
from mode.utils.futures import done_future

from twin.bus.base import Place, Record
from twin.bus.cable import HEARTBEATS_PER_SESSION, Cable, Step
from twin.bus.faust_acks import CarefulAcks
from twin.bus.log import Retention
from twin.bus.memory import MemoryBus
from twin.errors import NotOwner

logger = logging.getLogger(__name__)

_MAX_POLL_RECORDS = 1000
_FOREVER_S = 1e9
_DECLARED_MAX_BYTES = 8 << 20


def _bus_of(transport: base.Transport) -> MemoryBus:
    return MemoryBus.find(transport.url[0].host or "")


def _headers(headers: Any) -> Iterable[tuple[str, bytes]]:
    return headers.items() if isinstance(headers, Mapping) else headers or ()


class Consumer(CarefulAcks, base.Consumer):
    """A member of the app's group.

    Attributes
    ----------
    refused_commits
        How many commits came too late, after a rebalance.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.refused_commits = 0
        self._bus = _bus_of(self.transport)
        self._cable: Cable | None = None
        self._owned: set[TP] = set()
        self._limit = self.app.conf.broker_max_poll_records or _MAX_POLL_RECORDS
        self._heartbeat_s = min(
            self.app.conf.broker_heartbeat_interval, self._bus.session_timeout_s / HEARTBEATS_PER_SESSION
        )
        self._records_came = asyncio.Event()
        self._group_changed = asyncio.Event()
        self._batch_delivered = asyncio.Event()
        self._batch_delivered.set()
        self._wake_is_due = False
        self._unfinished: list[ConsumerMessage] = []  # taken, and not acknowledged when last looked at
        self._forget_finished_at = self._limit
        self._stragglers: list[weakref.ref[ConsumerMessage]] = []  # in work still when their partition was revoked

    # -- membership ---------------------------------------------------------------------------------------------------

    async def subscribe(self, topics: Iterable[str]) -> None:
        # the rest is done by _keep_membership: on_partitions_assigned waits until this method has returned
        if self._cable is not None:
            await self.commit()
            self._cable.leave()
        self._cable = Cable(
            self._bus, sorted(topics), group=self.app.conf.id, wake=self._wake, idle=self._handlers_are_idle
        )
        self._group_changed.set()

    def _wake(self) -> None:
        # called from any thread, with the bus locked
        if not self._wake_is_due and not self.loop.is_closed():
            self._wake_is_due = True
            self.loop.call_soon_threadsafe(self._on_wake)

    def _on_wake(self) -> None:
        self._wake_is_due = False
        self._records_came.set()
        if self._cable is not None and self._cable.step() is not Step.STAY:
            self._group_changed.set()

    @Service.task
    async def _keep_membership(self) -> None:
        while not self.should_stop:
            await self._group_changed.wait()
            self._group_changed.clear()
            cable = self._cable
            while cable is not None and not self.app.should_stop and (step := cable.beat()) is not Step.STAY:
                if step is Step.TAKE_UP:
                    await self._take_up(cable)
                else:
                    await self._give_up(cable)

    @Service.task
    async def _heartbeat(self) -> None:
        while not self.should_stop:
            await asyncio.sleep(self._heartbeat_s)
            if self._cable is not None and self._cable.beat() is not Step.STAY:
                self._group_changed.set()

    async def _give_up(self, cable: Cable) -> None:
        self.app.on_rebalance_start()
        # Faust forgets what was acknowledged as soon as it hears of the revocation: commit it before
        await self.commit()
        await self.on_partitions_revoked(self._owned)
        # A batch that is still being delivered would move Faust's read offset after the seek to come, past messages
        # that were never handled; the stopped flow ends it soon.
        self._records_came.set()
        await self.wait_first(self._batch_delivered)
        self._owned = set()
        self._drop_unfinished()
        cable.join()

    async def _take_up(self, cable: Cable) -> None:
        self._owned = {TP(place.topic, place.partition) for place in cable.take_up()}
        self.app.consumer_generation_id = cable.generation
        await self.on_partitions_assigned(set(self._owned), cable.generation)

    def drop(self) -> None:
        """Cut the cable: nothing passes to or from the bus any more, and no goodbye is said, as in a crash."""
        if self._cable is not None:
            self._cable.cut()
        self.app.producer.drop()

    def close(self) -> None:
        if self._cable is not None:
            self._cable.leave()

    async def on_stop(self) -> None:
        await super().on_stop()  # commits
        self.close()

    # -- fetching -----------------------------------------------------------------------------------------------------

    async def _wait_next_records(self, timeout: float) -> tuple[Mapping[TP, list[ConsumerMessage]], set[TP]]:
        self._batch_delivered.set()
        if not self.flow_active:
            await self.wait(self.can_resume_flow)
        active = self._get_active_partitions()
        return await self._getmany(active, timeout), active

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Mapping[TP, list[ConsumerMessage]]:
        self._records_came.clear()
        records = self._fetch(active_partitions)
        if not records:
            try:
                async with asyncio.timeout(timeout):
                    await self._records_came.wait()
            except TimeoutError:
                return {}
            records = self._fetch(active_partitions)
        return records

    def _fetch(self, active_partitions: set[TP] | None) -> dict[TP, list[ConsumerMessage]]:
        fetched: dict[TP, list[ConsumerMessage]] = {}
        if self._cable is None:
            return fetched
        generation = self.app.consumer_generation_id
        with self._bus.lock:
            for record in self._cable.take(self._limit, active_partitions):
                message = _message(record, generation)
                fetched.setdefault(message.tp, []).append(message)
                self._unfinished.append(message)
            if len(self._unfinished) > self._forget_finished_at:
                self._forget_finished()
        if fetched:
            self._batch_delivered.clear()
        return fetched

    def _to_message(self, tp: TP, record: ConsumerMessage) -> ConsumerMessage:
        return record

    def on_buffer_drop(self, tp: TP) -> None:
        super().on_buffer_drop(tp)
        self._records_came.set()

    # -- what is in work ----------------------------------------------------------------------------------------------

    def _forget_finished(self) -> None:
        self._unfinished = [message for message in self._unfinished if not message.acked]
        self._forget_finished_at = self._limit + 2 * len(self._unfinished)

    def _drop_unfinished(self) -> None:
        with self._bus.lock:
            self._stragglers += [weakref.ref(m) for m in self._unfinished if m.tracked and not m.acked]
            self._unfinished = []

    def _handlers_are_idle(self) -> bool:
        # called from any thread, with the bus locked
        self._forget_finished()
        self._stragglers = [ref for ref in self._stragglers if (m := ref()) is not None and not m.acked]
        return not self._unfinished and not self._stragglers

    # -- offsets ------------------------------------------------------------------------------------------------------

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        if self._cable is None:
            return False
        try:
            self._cable.commit({Place(*tp): offset for tp, offset in offsets.items()})
        except NotOwner as exc:  # not the end of the app: the owner of today reads it again
            self.refused_commits += 1
            logger.warning(
                "commit=refused app=%s refused_commits=%d reason=%s", self.app.conf.id, self.refused_commits, exc
            )
            return False
        return True

    async def seek_to_committed(self) -> Mapping[TP, int | None]:
        if self._cable is None:
            return {}
        committed = {tp: self._cable.committed(Place(*tp)) for tp in self._owned}
        for tp, offset in committed.items():
            self._cable.seek(Place(*tp), offset or 0)
        return committed

    async def _seek(self, partition: TP, offset: int) -> None:
        if self._cable is not None:
            self._cable.seek(Place(*partition), offset)

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        for tp, offset in partitions.items():
            await self.seek(tp, offset)

    async def position(self, tp: TP) -> int | None:
        return None if self._cable is None else self._cable.positions.get(Place(*tp))

    def highwater(self, tp: TP) -> int:
        end: int = self._bus.logs(tp.topic)[tp.partition].end
        return end

    async def highwaters(self, *partitions: TP) -> Mapping[TP, int]:
        return {tp: self.highwater(tp) for tp in partitions}

    async def earliest_offsets(self, *partitions: TP) -> Mapping[TP, int]:
        return {tp: self._bus.logs(tp.topic)[tp.partition].start for tp in partitions}

    def assignment(self) -> set[TP]:
        return set(self._owned)

    # -- topics -------------------------------------------------------------------------------------------------------

    def _new_topicpartition(self, topic: str, partition: int) -> TP:
        return TP(topic, partition)

    def topic_partitions(self, topic: str) -> int:
        return self._bus.partitions(topic)

    def key_partition(self, topic: str, key: bytes | None, partition: int | None = None) -> int:
        return self._bus.partition_of(topic, key) if partition is None else partition

    async def create_topic(self, topic: str, partitions: int, replication: int, **kwargs: Any) -> None:
        await self.app.producer.create_topic(topic, partitions, replication, **kwargs)


def _message(record: Record, generation: int) -> ConsumerMessage:
    return ConsumerMessage(
        record.topic,
        record.partition,
        record.offset,
        record.timestamp_ms / 1000.0,
        0,  # the sender's time
        record.headers,
        record.key,
        record.value,
        None,
        tp=TP(record.topic, record.partition),
        generation_id=generation,  # streams skip messages of another generation
    )


class Producer(base.Producer):
    """Puts messages on the bus at once: there is no network to wait for, so nothing is ever buffered."""

    def __post_init__(self) -> None:
        self._bus = _bus_of(self.transport)
        self._dropped = False

    def drop(self) -> None:
        """Let nothing reach the bus any more."""
        self._dropped = True

    def _append(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        timestamp: float | None,
        headers: Any,
    ) -> RecordMetadata:
        record = self._bus.append(
            topic,
            value,
            key=key,
            partition=partition,
            timestamp_ms=None if timestamp is None else round(timestamp * 1000.0),
            headers=_headers(headers),
        )
        tp = TP(record.topic, record.partition)
        return RecordMetadata(record.topic, record.partition, tp, record.offset, record.timestamp_ms / 1000.0, 0)

    async def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        timestamp: float | None,
        headers: Any,
        *,
        transactional_id: str | None = None,
    ) -> Awaitable[RecordMetadata]:
        if self._dropped:
            return asyncio.get_running_loop().create_future()  # under way for ever
        sent: Awaitable[RecordMetadata] = done_future(self._append(topic, key, value, partition, timestamp, headers))
        return sent

    async def send_and_wait(self, *args: Any, **kwargs: Any) -> RecordMetadata:
        return await (await self.send(*args, **kwargs))

    def send_soon(self, fut: FutureMessage) -> None:
        if self._dropped:
            return
        message = fut.message
        topic = message.channel.get_topic_name()
        fut.set_result(
            self._append(topic, message.key, message.value, message.partition, message.timestamp, message.headers)
        )
        if message.callback is not None:
            message.callback(fut)

    def key_partition(self, topic: str, key: bytes) -> TP:
        return TP(topic, self._bus.partition_of(topic, key))

    async def create_topic(
        self,
        topic: str,
        partitions: int,
        replication: int,
        *,
        retention: Any = None,
        compacting: bool | None = None,
        **_: Any,
    ) -> None:
        age_s = want_seconds(retention) if retention else _FOREVER_S
        self._bus.create_topic(topic, partitions, Retention(_DECLARED_MAX_BYTES // partitions, age_s, bool(compacting)))

    def supports_headers(self) -> bool:
        return True


class Tables(TableManager):
    """No Faust table is used here, so an app need not wait a second for tables to be declared."""

    async def on_start(self) -> None:
        await self._update_channels()
        await self.recovery.start()


class Transport(base.Transport):
    """What Faust makes of ``memory://<name of the bus>``."""

    Consumer: ClassVar[type] = Consumer
    Producer: ClassVar[type] = Producer
    default_port = 0
    driver_version = "memory"


TRANSPORTS.aliases["memory"] = f"{__name__}:Transport"
