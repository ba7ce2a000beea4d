"""Faust's own Kafka transport with two habits changed: ``broker="kafka://…"`` means this one once it is imported.

It answers in time: the stock driver lets a fetch wait for 1.5 s at the broker, and what comes meanwhile for a partition
that the fetch did not ask for waits with it. And it outlives a broker that goes away: the stock driver ends the app
when a commit fails; here the next commit says the same and more.
"""

import logging
from collections.abc import Mapping
from time import monotonic
from typing import Any, ClassVar

import faust
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.transport.drivers import TRANSPORTS, aiokafka
from faust.types import TP

from twin.bus.access import KafkaAccess
from twin.bus.faust_acks import CarefulAcks

logger = logging.getLogger(__name__)

FETCH_MAX_WAIT_MS = 100


class _Thread(aiokafka.AIOKafkaConsumerThread):
    def _create_worker_consumer(self, transport: Any) -> AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = FETCH_MAX_WAIT_MS  # noqa: SLF001  (the driver has no setting for it)
        return consumer

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        assigned = self.assignment()
        wanted = {TopicPartition(*tp): OffsetAndMetadata(at, "") for tp, at in offsets.items() if tp in assigned}
        try:
            if wanted:
                await self._ensure_consumer().commit(wanted)
            self.tp_last_committed_at.update(dict.fromkeys(offsets, monotonic()))
        except KafkaError as exc:  # the broker is away, or the partitions are another's by now
            logger.warning("commit=refused app=%s reason=%r", self.app.conf.id, exc)
            return False
        return True

    def highwater(self, tp: TP) -> int | None:
        # Asked from another thread: since it looked, the partition may have gone.
        subscription = self._ensure_consumer()._subscription.subscription  # noqa: SLF001
        assignment = None if subscription is None else subscription.assignment
        if assignment is None or tp not in assignment.tps:
            return None
        end: int | None = assignment.state_value(tp).highwater
        return end

    async def earliest_offsets(self, *partitions: TP) -> Mapping[TP, int]:
        try:
            begins: Mapping[TP, int] = await super().earliest_offsets(*partitions)
        except KafkaError as exc:
            logger.debug("begins=unknown app=%s reason=%r", self.app.conf.id, exc)
            return {}
        return begins


class Consumer(CarefulAcks, aiokafka.Consumer):
    """A member of the app's group."""

    def _new_consumer_thread(self) -> _Thread:
        return _Thread(self, loop=self.loop, beacon=self.beacon)


class Transport(aiokafka.Transport):
    """What Faust makes of ``kafka://…``."""

    Consumer: ClassVar[type] = Consumer


TRANSPORTS.aliases["kafka"] = f"{__name__}:Transport"


def faust_options(access: KafkaAccess) -> dict[str, Any]:
    """Return the options by which a Faust app reaches Kafka.

    Raises
    ------
    SettingInvalid
        A certificate cannot be read.
    """
    options: dict[str, Any] = {"broker": [f"kafka://{broker}" for broker in access.brokers.split(",")]}
    context = access.context()
    if access.sasl:
        options["broker_credentials"] = faust.SASLCredentials(
            username=access.user, password=access.password, mechanism=access.mechanism, ssl_context=context
        )
    elif context is not None:
        options["broker_credentials"] = faust.SSLCredentials(context)
    return options
