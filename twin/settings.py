"""Where things are: addresses, folders and secrets from ``COLOSSUS_*``."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from twin.errors import SettingInvalid

MIN_TOKEN_CHARACTERS = 32
KafkaSecurity = Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"]
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]


class Settings(BaseSettings):
    """All settings; a flag of the command line goes before, a default stands behind.

    Attributes
    ----------
    namespace
        Prefix of all topics, consumer groups and buckets; one active run in each.
    data_dir
        History, snapshots, recordings.
    console_host, console_port, console_hosts
        Where the console listens, and further names by which it may be called.
    console_url, console_token
        How the command line reaches a running console.
    kafka
        Brokers to begin with, ``host:port`` with commas; ``None``: there is no Kafka.
    kafka_security, kafka_ca_file, kafka_cert_file, kafka_key_file
        TLS: which authority signs the brokers' certificates, and a certificate of ours where they ask for one.
    kafka_sasl, kafka_user, kafka_password
        Who we are, where ``kafka_security`` is one of ``sasl_*``.
    influx_url, influx_org, influx_token
        The history of the stack; ``None``: there is none.
    influx_admin_token
        For ``colossus store`` alone. Of each secret of InfluxDB, ``_file`` names a file that holds it instead.
    health_host, health_port
        Where a process of the stack tells how it does; port 0 is any free one.
    """

    model_config = SettingsConfigDict(env_prefix="COLOSSUS_", env_ignore_empty=True, extra="ignore", frozen=True)

    namespace: str = Field(default="", pattern=r"^([a-z0-9][a-z0-9-]{0,40})?$")
    data_dir: Path = Path("data")
    console_host: str = "127.0.0.1"
    console_port: int = Field(default=8765, ge=0, le=65535)
    console_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    console_token_instructor: SecretStr | None = Field(default=None, min_length=MIN_TOKEN_CHARACTERS)
    console_token_trainee: SecretStr | None = Field(default=None, min_length=MIN_TOKEN_CHARACTERS)
    console_token_observer: SecretStr | None = Field(default=None, min_length=MIN_TOKEN_CHARACTERS)
    console_url: str | None = None
    console_token: SecretStr | None = None
    kafka: str | None = Field(default=None, pattern=r"^[^\s,:]+:\d+(,[^\s,:]+:\d+)*$")
    kafka_security: KafkaSecurity = "plaintext"
    kafka_ca_file: Path | None = None
    kafka_cert_file: Path | None = None
    kafka_key_file: Path | None = None
    kafka_sasl: SaslMechanism = "PLAIN"
    kafka_user: str | None = None
    kafka_password: SecretStr | None = None
    influx_url: str | None = Field(default=None, pattern=r"^https?://[^\s@]+$")
    influx_org: str = "colossus"
    influx_token: SecretStr | None = None
    influx_token_file: Path | None = None
    influx_admin_token: SecretStr | None = None
    influx_admin_token_file: Path | None = None
    health_host: str = "127.0.0.1"
    health_port: int = Field(default=0, ge=0, le=65535)

    @field_validator("console_hosts", mode="before")
    @classmethod
    def _split_commas(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @model_validator(mode="before")
    @classmethod
    def _read_secret_files(cls, values: dict[str, Any]) -> dict[str, Any]:
        read = {}
        for name in ("influx_token", "influx_admin_token"):
            file = values.get(f"{name}_file")
            if file is not None and values.get(name) is None:
                try:
                    read[name] = Path(file).read_text(encoding="utf-8").strip()
                except (OSError, UnicodeDecodeError) as exc:
                    raise SettingInvalid(f"COLOSSUS_{name.upper()}_FILE: {file} cannot be read: {exc}") from exc
                if not read[name]:
                    raise SettingInvalid(f"COLOSSUS_{name.upper()}_FILE: {file} is empty")
        return values | read


def load_settings(**flags: object) -> Settings:
    """Read the settings; flags that are not None go before the environment.

    Raises
    ------
    SettingInvalid
        Names each variable that is wrong, its value (not of secrets), and what is allowed.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        return Settings(**given)  # type: ignore[arg-type]
    except ValidationError as exc:
        problems = []
        for error in exc.errors(include_url=False):
            name = f"COLOSSUS_{'_'.join(str(part) for part in error['loc'][:1]).upper()}"
            value = "" if "TOKEN" in name or "PASSWORD" in name else f" is {str(error['input'])[:80]!r}:"
            problems.append(f"{name}{value} {error['msg']}")
        raise SettingInvalid("; ".join(problems)) from exc
