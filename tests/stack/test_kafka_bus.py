"""What only a real Kafka shows: it goes away and comes back, it asks who we are, it names what is wrong."""

import contextlib
import secrets
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stack.servers.kafka import Kafka
from tests.stack.servers.running import free_ports
from twin.bus.access import KafkaAccess
from twin.bus.kafka import KafkaBus
from twin.errors import BusError, SettingInvalid
from twin.events.control import Command
from twin.events.topics import TOPICS, Topic

PATIENCE = 200


@pytest.fixture
def bus(kafka: Kafka) -> Iterator[KafkaBus]:
    bus = KafkaBus(KafkaAccess(kafka.address), name="test", unsent_max_bytes=1 << 20)
    yield bus
    bus.close()


def new_topic(bus: KafkaBus, partitions: int = 1) -> str:
    name = f"stack.{secrets.token_hex(6)}"
    bus.create_topics([Topic(name, Command, partitions, "any", "event", retention_s=10**9)])
    return name


def comes_back(bus: KafkaBus) -> bool:
    """Tell whether the cluster answers: one that has just been started needs a moment."""
    for _ in range(PATIENCE):
        try:
            bus.check()
        except BusError:
            threading.Event().wait(0.1)
        else:
            return True
    return False


def test_a_restart_loses_nothing_changes_no_order_and_repeats_nothing(kafka: Kafka, bus: KafkaBus) -> None:
    topic = new_topic(bus)
    reader = bus.read([topic])
    stop, sent = threading.Event(), 0

    def send() -> None:
        nonlocal sent
        while not stop.wait(0.01):
            bus.publish(topic, b"%d" % sent, key=b"k")
            sent += 1

    sending = threading.Thread(target=send)
    sending.start()
    values: list[bytes | None] = []
    try:
        for stop_it in (kafka.stop, lambda: kafka.stop(kill=True)):
            while len(values) < 100 + sent // 2:
                values += [record.value for record in reader.poll(0.2)]
            stop_it()
            with pytest.raises(BusError, match="make servers"):
                bus.check()
            values += [record.value for record in reader.poll(2.0)]
            kafka.start()
    finally:
        stop.set()
        sending.join()
    bus.flush(30.0)
    for _ in range(PATIENCE):
        values += [record.value for record in reader.poll(0.2)]
        if len(values) >= sent:
            break
    assert values == [b"%d" % i for i in range(sent)]
    assert bus.lost_n.total() == 0
    assert bus.unsent_ratio() == 0.0
    assert comes_back(bus)


def test_what_waits_is_bounded_and_what_is_lost_is_counted(kafka: Kafka, bus: KafkaBus) -> None:
    topic = new_topic(bus)
    bus.publish(topic, b"first", key=b"k")
    bus.flush()
    kafka.stop()
    try:
        for i in range(30):
            bus.publish(topic, b"%02d" % i + bytes(100_000), key=b"k")
        waiting_n = 10  # of 100,102 bytes each in a mebibyte
        assert bus.lost_n == {topic: 30 - waiting_n}
        assert 0.9 < bus.unsent_ratio() <= 1.0
    finally:
        kafka.start()
    bus.flush(30.0)
    reader = bus.read([topic], start="beginning")
    values: list[bytes] = []
    for _ in range(PATIENCE):
        values += [(record.value or b"")[:5] for record in reader.poll(0.2)]
        if reader.caught_up():
            break
    assert values == [b"first", *(b"%02d\0\0\0" % i for i in range(waiting_n))]


def test_all_topics_of_the_table_can_be_made_and_made_again(bus: KafkaBus) -> None:
    namespace = f"ns-{secrets.token_hex(4)}"
    for _ in range(2):
        bus.create_topics(TOPICS, namespace)
    assert [bus.partitions(f"{namespace}.{topic.name}") for topic in TOPICS] == [t.partitions for t in TOPICS]


def test_the_lag_of_a_group_is_what_it_has_not_committed(bus: KafkaBus) -> None:
    topic, group = new_topic(bus, 2), f"group-{secrets.token_hex(4)}"
    for i in range(10):
        bus.publish(topic, b"%d" % i, key=b"k", partition=i % 2)
    bus.flush()
    assert bus.lag(group, topic) is None
    member = bus.join(group, [topic])
    read = 0
    while read < 10:
        read += len(member.poll(0.2))
    assert bus.lag(group, topic) == 10
    member.commit()
    assert bus.lag(group, topic) == 0
    for _ in range(3):
        bus.publish(topic, b"more", key=b"k", partition=1)
    bus.flush()
    assert bus.lag(group, topic) == 3
    member.close()
    assert bus.lag(group, topic) is None


# -- who we are


def safe(kafka: Kafka, **more: object) -> KafkaAccess:
    known = {"ca_file": kafka.ca_file, "user": kafka.user, "password": kafka.password}
    return KafkaAccess(kafka.safe_address, security="sasl_ssl", **known | more)  # type: ignore[arg-type]


def test_tls_and_a_password_let_us_in(kafka: Kafka) -> None:
    bus = KafkaBus(safe(kafka), name="test")
    topic = new_topic(bus)
    bus.publish(topic, b"secret", key=b"k")
    reader = bus.read([topic], start="beginning")
    values = []
    for _ in range(PATIENCE):
        values += [record.value for record in reader.poll(0.2)]
        if values:
            break
    bus.close()
    assert values == [b"secret"]


def test_a_wrong_password_and_an_unknown_authority_are_named(kafka: Kafka, tmp_path: Path) -> None:
    with pytest.raises(BusError, match=r"(?i)SASL.*COLOSSUS_KAFKA"):
        KafkaBus(safe(kafka, password=secrets.token_hex(8)), name="test")
    with pytest.raises(BusError, match=r"(?i)certificate.*COLOSSUS_KAFKA"):
        KafkaBus(safe(kafka, ca_file=None), name="test")
    with pytest.raises(SettingInvalid, match="COLOSSUS_KAFKA_CA_FILE"):
        KafkaBus(safe(kafka, ca_file=tmp_path / "nowhere.pem"), name="test")


def test_a_broker_that_only_closes_the_connection_makes_the_password_suspect() -> None:
    # What kafka-python sees of a refusal that comes together with the end of the connection.
    with socket.create_server(("127.0.0.1", 0)) as server:
        closing = threading.Thread(target=_close_each, args=(server,), daemon=True)
        closing.start()
        with pytest.raises(BusError, match=r"closed the connection.*SASL.*COLOSSUS_KAFKA"):
            KafkaBus(KafkaAccess(f"127.0.0.1:{server.getsockname()[1]}"), name="test")
        server.shutdown(socket.SHUT_RDWR)
    closing.join(5.0)


def _close_each(server: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            server.accept()[0].close()


def test_where_no_kafka_is_one_line_says_so() -> None:
    with pytest.raises(BusError, match="make servers") as caught:
        KafkaBus(KafkaAccess(f"127.0.0.1:{free_ports(1)[0]}"), name="test")
    assert "\n" not in str(caught.value)
