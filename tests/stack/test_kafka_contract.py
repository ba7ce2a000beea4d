"""The contract of the bus over a real Kafka."""

import random
import secrets
from collections.abc import Iterator

import pytest

from tests.bus.contract import BusContract, Harness
from tests.stack.servers.kafka import Kafka
from twin.bus.access import KafkaAccess
from twin.bus.base import Member, Record
from twin.bus.kafka import KafkaBus
from twin.bus.kafka_readers import KafkaMember

FOREVER_S = 10**9


class KafkaHarness(Harness):
    poll_s = 0.2
    patience = 100

    def __init__(self, kafka: Kafka) -> None:
        super().__init__()
        self._topics = 1000 * secrets.randbelow(10**9)  # all tests share one broker
        self.bus: KafkaBus = KafkaBus(KafkaAccess(kafka.address), name="contract", session_timeout_s=3.0)
        self._noise = random.Random(1)  # noqa: S311

    def topic(self, partitions: int = 1, **kwargs: object) -> str:
        # Kafka drops a message by the age that its timestamp says: one of the suite is years old.
        return super().topic(partitions, **{"retention_s": FOREVER_S} | kwargs)

    def crash(self, member: Member) -> None:
        assert isinstance(member, KafkaMember)
        member._consumer._client.close()
        self.bus._consumers.discard(member)  # it says no goodbye when the bus is closed either

    def pass_time(self) -> None:
        """It passes by itself: each poll waits."""

    def overflow(self, topic: str) -> list[Record]:
        """Do as the suite does, with messages that do not shrink when they are compressed."""
        for i in range(40):
            self.bus.publish(topic, self._noise.randbytes(400_000), key=b"%d" % i)
        self.bus.flush()
        for _ in range(self.patience):
            records = self.read_all(topic)
            if records[0].offset > 0:
                return records
        raise AssertionError("retention did not take the first message")


class TestKafkaBus(BusContract):
    @pytest.fixture
    def harness(self, kafka: Kafka) -> Iterator[Harness]:
        harness = KafkaHarness(kafka)
        yield harness
        harness.bus.close()
