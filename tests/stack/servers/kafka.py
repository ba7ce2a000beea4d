"""A real Kafka of one node, with a plain listener and one with TLS and a password."""

import secrets
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.stack.servers.fetching import kafka_jars
from tests.stack.servers.running import Server

SASL_USER = "colossus"
_CLUSTER = "colossusTwinForTests0w"  # 22 characters of base64
_KEYS_GOOD_FOR_DAYS = "3650"
_READY = "Kafka Server started"  # of the one logger that tells more than warnings
_LOG = (
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info",
)
_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port},SASL_SSL://127.0.0.1:{safe_port},CONTROLLER://127.0.0.1:{controller}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
sasl.enabled.mechanisms=PLAIN
listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule \
required user_{user}="{password}";
ssl.keystore.type=PKCS12
ssl.keystore.location={keystore}
ssl.keystore.password={password}
log.dirs={logs}
auto.create.topics.enable=false
num.network.threads=2
num.io.threads=4
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
log.initial.task.delay.ms={look_ms}
log.retention.check.interval.ms={look_ms}
log.cleaner.backoff.ms={look_ms}
"""


class Kafka(Server):
    """Kafka with KRaft.

    Attributes
    ----------
    address
        Of the plain listener.
    safe_address, user, password, ca_file
        Of the one with TLS and a password.
    """

    name = "Kafka"

    def __init__(self, folder: Path, *, port: int, safe_port: int, controller_port: int, retention_look_s: int) -> None:
        super().__init__(folder)
        self.address = f"127.0.0.1:{port}"
        self.safe_address = f"127.0.0.1:{safe_port}"
        self.user = SASL_USER
        self.ca_file = folder / "ca.pem"
        self._ports = (port, safe_port, controller_port)
        self._look_s = retention_look_s
        self._java = ["java", "-Xmx512m", "-XX:+UseSerialGC", *_LOG, "-cp", f"{kafka_jars()}/*"]

    @property
    def password(self) -> str:
        """The password of ``user``; drawn with the data folder."""
        kept = self.folder / "password"
        if not kept.exists():
            kept.touch(mode=0o600)
            kept.write_text(secrets.token_hex(16))
        return kept.read_text()

    def prepare(self) -> None:
        properties = self.folder / "server.properties"
        if not self.ca_file.exists():
            self._make_keys()
        port, safe_port, controller = self._ports
        properties.write_text(
            _PROPERTIES.format(
                port=port,
                safe_port=safe_port,
                controller=controller,
                user=self.user,
                password=self.password,
                keystore=self.folder / "keys.p12",
                logs=self.folder / "logs",
                look_ms=1000 * self._look_s,
            )
        )
        if not (self.folder / "logs" / "meta.properties").exists():
            self._run(*self._java, "kafka.tools.StorageTool", "format", "-t", _CLUSTER, "-c", str(properties))

    def command(self) -> Sequence[str]:
        return [*self._java, "kafka.Kafka", "server.properties"]

    def ready(self) -> bool:
        for port in self._ports[:2]:
            try:
                socket.create_connection(("127.0.0.1", port), 1.0).close()
            except OSError:
                return False
        return _READY in self.log_since_start()

    def _make_keys(self) -> None:
        self.password  # noqa: B018  (drawn into the file that keytool reads: a process list shows arguments)
        store = ["-keystore", "keys.p12", "-storepass:file", "password", "-alias", "broker"]
        names = ["-dname", "CN=localhost", "-ext", "SAN=IP:127.0.0.1,DNS:localhost"]
        self._run("keytool", "-genkeypair", "-keyalg", "RSA", "-validity", _KEYS_GOOD_FOR_DAYS, *names, *store)
        self._run("keytool", "-exportcert", "-rfc", "-file", "ca.pem", *store)

    def _run(self, *command: str) -> None:
        subprocess.run(command, cwd=self.folder, check=True, capture_output=True)  # noqa: S603
