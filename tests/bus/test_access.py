"""How Kafka is reached: what is missing is named, and each client gets what it needs."""

import ssl
from pathlib import Path
from typing import Any

import faust
import pytest
from faust.types.auth import AuthProtocol

from twin.bus.access import KafkaAccess, kafka_access
from twin.bus.faust_kafka import faust_options
from twin.bus.kafka import configs_of
from twin.errors import SettingInvalid
from twin.events.control import Command
from twin.events.topics import BY_NAME, MAX_MESSAGE_BYTES, TOPICS, Topic
from twin.settings import load_settings

BROKERS = "a.example:9092,b.example:9093"
AUTHORITY = """\
-----BEGIN CERTIFICATE-----
MIIBhDCCASugAwIBAgIUbAUiNMFmrtLIevFQks3+3u1aFJMwCgYIKoZIzj0EAwIw
GDEWMBQGA1UEAwwNY29sb3NzdXMgdGVzdDAeFw0yNjExMjQxNTIwMjVaFw0zNjEx
MjExNTIwMjVaMBgxFjAUBgNVBAMMDWNvbG9zc3VzIHRlc3QwWTATBgcqhkjOPQIB
BggqhkjOPQMBBwNCAATR1WM015gcpUyXJrJmGm7LvmIl8RJJPce2ezbAtvlijo2V
3eS3ey7kSnSfS9sqJcJouhgP9VYoTsxtae8lw5Slo1MwUTAdBgNVHQ4EFgQUy6Db
6wd0jLZFvhGPIdMrYQqJ584wHwYDVR0jBBgwFoAUy6Db6wd0jLZFvhGPIdMrYQqJ
584wDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNHADBEAiAEHTNdaNztH1g2
cO0tZs8RIzml8VqWQ7j2tMYrm1sZ6wIgZaVlZpHRFcKPfK/TW51J+TEnN2EK1WN4
kevyqpR8plU=
-----END CERTIFICATE-----
"""  # a certificate of nobody, without its key


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    path = tmp_path / "authority.pem"
    path.write_text(AUTHORITY)
    return path


# -- from the settings


def test_without_an_address_there_is_none_and_both_ways_out_are_named() -> None:
    with pytest.raises(SettingInvalid, match=r"^COLOSSUS_KAFKA is not set: .*127\.0\.0\.1:9092.*colossus demo"):
        kafka_access(load_settings())


@pytest.mark.parametrize("security", ["sasl_plaintext", "sasl_ssl"])
@pytest.mark.parametrize("known", [{}, {"kafka_user": "ann"}, {"kafka_password": "x"}])
def test_who_must_say_who_it_is_needs_a_name_and_a_password(security: str, known: dict[str, str]) -> None:
    settings = load_settings(kafka=BROKERS, kafka_security=security, **known)
    with pytest.raises(SettingInvalid, match=f"COLOSSUS_KAFKA_SECURITY is '{security}'") as caught:
        kafka_access(settings)
    assert {"COLOSSUS_KAFKA_USER", "COLOSSUS_KAFKA_PASSWORD"} <= set(str(caught.value).split())


def test_all_that_is_set_is_used(tmp_path: Path) -> None:
    settings = load_settings(
        kafka=BROKERS,
        kafka_security="sasl_ssl",
        kafka_ca_file=tmp_path / "ca",
        kafka_cert_file=tmp_path / "cert",
        kafka_key_file=tmp_path / "key",
        kafka_sasl="SCRAM-SHA-512",
        kafka_user="ann",
        kafka_password="a long one",  # noqa: S106  (of nobody)
    )
    assert kafka_access(settings) == KafkaAccess(
        BROKERS,
        "sasl_ssl",
        tmp_path / "ca",
        tmp_path / "cert",
        tmp_path / "key",
        "SCRAM-SHA-512",
        "ann",
        "a long one",
    )
    assert kafka_access(load_settings(kafka=BROKERS)) == KafkaAccess(BROKERS)


# -- for kafka-python


def test_a_plain_way_has_neither_tls_nor_a_name() -> None:
    assert KafkaAccess(BROKERS, user="ann", password="x").client() == {  # noqa: S106
        "bootstrap_servers": ["a.example:9092", "b.example:9093"],
        "security_protocol": "PLAINTEXT",
        "ssl_context": None,
    }


@pytest.mark.parametrize("security", ["ssl", "sasl_ssl"])
def test_over_tls_the_brokers_are_checked_by_the_authority_that_is_named(security: Any, authority: Path) -> None:
    options = KafkaAccess(BROKERS, security, ca_file=authority).client()
    context = options["ssl_context"]
    assert options["security_protocol"] == security.upper()
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert [dict(pair[0] for pair in ca["subject"]) for ca in context.get_ca_certs()] == [
        {"commonName": "colossus test"}
    ]


@pytest.mark.parametrize(("security", "tls"), [("sasl_plaintext", False), ("sasl_ssl", True)])
@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_over_sasl_it_says_who_it_is(security: Any, tls: bool, mechanism: Any) -> None:
    options = KafkaAccess(BROKERS, security, mechanism=mechanism, user="ann", password="secret").client()  # noqa: S106
    assert (options.pop("ssl_context") is not None) == tls
    assert options == {
        "bootstrap_servers": ["a.example:9092", "b.example:9093"],
        "security_protocol": security.upper(),
        "sasl_mechanism": mechanism,
        "sasl_plain_username": "ann",
        "sasl_plain_password": "secret",
    }


@pytest.mark.parametrize("which", ["ca_file", "cert_file"])
@pytest.mark.parametrize("content", [None, "no certificate", AUTHORITY])
def test_a_certificate_that_cannot_be_read_is_named(tmp_path: Path, which: str, content: str | None) -> None:
    path = tmp_path / "file.pem"
    if content is not None:
        path.write_text(content)
    access = KafkaAccess(BROKERS, "ssl", **{which: path})  # type: ignore[arg-type]
    if (which, content) == ("ca_file", AUTHORITY):
        assert access.context() is not None
        return
    for use in (access.context, access.client, lambda: faust_options(access)):  # no certificate without its key
        with pytest.raises(SettingInvalid, match="COLOSSUS_KAFKA_CA_FILE") as caught:
            use()
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_files_that_are_not_used_are_not_read(tmp_path: Path) -> None:
    assert KafkaAccess(BROKERS, "sasl_plaintext", ca_file=tmp_path / "nowhere").context() is None


# -- for Faust


def test_faust_gets_every_broker_and_no_name_where_none_is_asked_for() -> None:
    assert faust_options(KafkaAccess(BROKERS, user="ann")) == {
        "broker": ["kafka://a.example:9092", "kafka://b.example:9093"]
    }


def test_faust_checks_the_brokers_by_the_same_authority(authority: Path) -> None:
    credentials = faust_options(KafkaAccess(BROKERS, "ssl", ca_file=authority))["broker_credentials"]
    assert isinstance(credentials, faust.SSLCredentials)
    assert credentials.protocol == AuthProtocol.SSL
    assert len(credentials.context.get_ca_certs()) == 1


@pytest.mark.parametrize(
    ("security", "protocol"),
    [("sasl_plaintext", AuthProtocol.SASL_PLAINTEXT), ("sasl_ssl", AuthProtocol.SASL_SSL)],
)
@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_faust_says_who_it_is(security: Any, protocol: AuthProtocol, mechanism: Any) -> None:
    access = KafkaAccess(BROKERS, security, mechanism=mechanism, user="ann", password="secret")  # noqa: S106
    credentials = faust_options(access)["broker_credentials"]
    assert isinstance(credentials, faust.SASLCredentials)
    assert (credentials.protocol, credentials.mechanism.value) == (protocol, mechanism)
    assert (credentials.username, credentials.password) == ("ann", "secret")
    assert (credentials.ssl_context is not None) == (security == "sasl_ssl")


# -- what a topic is in Kafka's words

SEGMENT_LEAST, INT_MOST, LONG_MOST = 1 << 20, 2**31 - 1, 2**63 - 1  # Kafka 4 refuses what is outside


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_each_topic_of_the_table_is_one_that_kafka_takes(topic: Topic) -> None:
    configs = configs_of(topic)
    assert all(isinstance(value, str) for value in configs.values())
    assert SEGMENT_LEAST <= int(configs["segment.bytes"]) <= INT_MOST
    assert int(configs["segment.bytes"]) >= MAX_MESSAGE_BYTES
    assert 1 <= int(configs["segment.ms"]) <= LONG_MOST
    assert (configs["cleanup.policy"] == "compact") == topic.compacted
    if topic.compacted:
        assert not any(name.startswith("retention") for name in configs)
        return
    assert configs["cleanup.policy"] == "delete"
    assert int(configs["retention.ms"]) == 1000 * topic.retention_s
    assert int(configs["retention.bytes"]) == topic.retention_bytes * topic.stack_factor // topic.partitions
    # a partition loses whole segments: what is kept beyond its share is one of several
    assert 4 * int(configs["segment.bytes"]) <= int(configs["retention.bytes"])
    assert 4 * int(configs["segment.ms"]) <= int(configs["retention.ms"])


def test_a_small_topic_has_the_smallest_segment_and_a_large_one_its_part() -> None:
    small = Topic("small", Command, 4, "any", "event", retention_bytes=1 << 20)
    assert (configs_of(small)["retention.bytes"], configs_of(small)["segment.bytes"]) == ("262144", "1048576")
    large = configs_of(BY_NAME["telemetry.gpu"])
    assert int(large["retention.bytes"]) == 256 << 20
    assert int(large["segment.bytes"]) == 32 << 20
