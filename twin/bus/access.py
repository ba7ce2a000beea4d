"""How Kafka is reached: one address and one set of credentials for kafka-python and for Faust."""

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twin.errors import SettingInvalid
from twin.settings import KafkaSecurity, SaslMechanism, Settings


@dataclass(frozen=True, slots=True)
class KafkaAccess:
    """Brokers, and who we are to them.

    Attributes
    ----------
    brokers
        ``host:port``, several with commas.
    security, ca_file, cert_file, key_file
        TLS or not, who signs the brokers' certificates, and our own certificate.
    mechanism, user, password
        SASL, where ``security`` is one of ``sasl_*``.
    """

    brokers: str
    security: KafkaSecurity = "plaintext"
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    mechanism: SaslMechanism = "PLAIN"
    user: str = ""
    password: str = ""

    @property
    def tls(self) -> bool:
        """Whether the way is encrypted."""
        return self.security.endswith("ssl")

    @property
    def sasl(self) -> bool:
        """Whether we say who we are."""
        return self.security.startswith("sasl")

    def context(self) -> ssl.SSLContext | None:
        """Make the context of TLS.

        Raises
        ------
        SettingInvalid
            A file is missing, or holds no certificate or key.
        """
        if not self.tls:
            return None
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            if self.cert_file is not None:
                context.load_cert_chain(self.cert_file, self.key_file)
        except OSError as exc:  # ssl.SSLError is one
            files = ", ".join(str(file) for file in (self.ca_file, self.cert_file, self.key_file) if file is not None)
            raise SettingInvalid(
                f"the certificates of COLOSSUS_KAFKA_CA_FILE, _CERT_FILE, _KEY_FILE ({files}) cannot be read: {exc}"
            ) from exc
        return context

    def client(self) -> dict[str, Any]:
        """Return the options of kafka-python's clients."""
        options: dict[str, Any] = {
            "bootstrap_servers": self.brokers.split(","),
            "security_protocol": self.security.upper(),
            "ssl_context": self.context(),
        }
        if self.sasl:
            options |= {
                "sasl_mechanism": self.mechanism,
                "sasl_plain_username": self.user,
                "sasl_plain_password": self.password,
            }
        return options


def kafka_access(settings: Settings) -> KafkaAccess:
    """Read from the settings how Kafka is reached.

    Raises
    ------
    SettingInvalid
        There is no address, or SASL without a name.
    """
    if settings.kafka is None:
        raise SettingInvalid(
            "COLOSSUS_KAFKA is not set: name the brokers (COLOSSUS_KAFKA=127.0.0.1:9092), or run all in one process "
            "(colossus demo)"
        )
    if settings.kafka_security.startswith("sasl") and (settings.kafka_user is None or settings.kafka_password is None):
        raise SettingInvalid(
            f"COLOSSUS_KAFKA_SECURITY is {settings.kafka_security!r}: COLOSSUS_KAFKA_USER and COLOSSUS_KAFKA_PASSWORD "
            "are needed, too"
        )
    return KafkaAccess(
        brokers=settings.kafka,
        security=settings.kafka_security,
        ca_file=settings.kafka_ca_file,
        cert_file=settings.kafka_cert_file,
        key_file=settings.kafka_key_file,
        mechanism=settings.kafka_sasl,
        user=settings.kafka_user or "",
        password=settings.kafka_password.get_secret_value() if settings.kafka_password else "",
    )
