"""Where things are: addresses, folders and secrets from ``COLOSSUS_*``."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from twin.errors import SettingInvalid

MIN_TOKEN_CHARACTERS = 32


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
    """

    model_config = SettingsConfigDict(env_prefix="COLOSSUS_", extra="ignore", frozen=True)

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

    @field_validator("console_hosts", mode="before")
    @classmethod
    def _split_commas(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


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
            value = "" if "TOKEN" in name else f" is {str(error['input'])[:80]!r}:"
            problems.append(f"{name}{value} {error['msg']}")
        raise SettingInvalid("; ".join(problems)) from exc
