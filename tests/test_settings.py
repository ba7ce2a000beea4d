"""Settings from the environment: right ones are read, wrong ones named."""

from pathlib import Path

import pytest

from twin.errors import SettingInvalid
from twin.settings import load_settings


def test_defaults_listen_on_loopback_alone() -> None:
    settings = load_settings()
    assert (settings.console_host, settings.console_port, settings.namespace) == ("127.0.0.1", 8765, "")
    assert settings.console_token_instructor is None


def test_environment_and_flags(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COLOSSUS_CONSOLE_PORT", "9000")
    monkeypatch.setenv("COLOSSUS_CONSOLE_HOSTS", "a.example, b.example")
    monkeypatch.setenv("COLOSSUS_DATA_DIR", str(tmp_path))
    settings = load_settings(console_port=None)
    assert (settings.console_port, settings.console_hosts) == (9000, ("a.example", "b.example"))
    assert settings.data_dir == tmp_path
    assert load_settings(console_port=9001).console_port == 9001


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("COLOSSUS_CONSOLE_PORT", "abc", "integer"),
        ("COLOSSUS_CONSOLE_PORT", "70000", "65535"),
        ("COLOSSUS_NAMESPACE", "Big Name", "pattern"),
        ("COLOSSUS_CONSOLE_TOKEN_TRAINEE", "short-secret", "32"),
        ("COLOSSUS_KAFKA_SECURITY", "tls", "sasl_ssl"),
        ("COLOSSUS_KAFKA_SASL", "GSSAPI", "SCRAM-SHA-512"),
        ("COLOSSUS_INFLUX_URL", "127.0.0.1:8086", "pattern"),
        ("COLOSSUS_HEALTH_PORT", "70000", "65535"),
        ("COLOSSUS_HEALTH_PORT", "-1", "greater than or equal to 0"),
    ],
)
def test_a_wrong_value_is_named_and_a_secret_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, why: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingInvalid, match=why) as caught:
        load_settings()
    assert str(caught.value).startswith(name)
    assert ("short-secret" in str(caught.value)) is False


def test_all_problems_are_told_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLOSSUS_CONSOLE_PORT", "abc")
    monkeypatch.setenv("COLOSSUS_NAMESPACE", "!")
    with pytest.raises(SettingInvalid) as caught:
        load_settings()
    assert {"COLOSSUS_CONSOLE_PORT", "COLOSSUS_NAMESPACE"} <= set(str(caught.value).replace(";", " ").split())


def test_by_default_there_is_no_stack_and_health_listens_on_loopback_at_any_port() -> None:
    settings = load_settings()
    assert (settings.kafka, settings.influx_url, settings.influx_token, settings.influx_admin_token) == 4 * (None,)
    assert (settings.kafka_security, settings.kafka_sasl, settings.influx_org) == ("plaintext", "PLAIN", "colossus")
    assert (settings.health_host, settings.health_port) == ("127.0.0.1", 0)


@pytest.mark.parametrize("brokers", ["127.0.0.1:9092", "a.example:1,b.example:2,10.0.0.1:3", "kafka:9092"])
def test_brokers_are_hosts_with_ports(monkeypatch: pytest.MonkeyPatch, brokers: str) -> None:
    monkeypatch.setenv("COLOSSUS_KAFKA", brokers)
    assert load_settings().kafka == brokers


@pytest.mark.parametrize(
    "brokers",
    ["kafka", "kafka:", ":9092", "kafka:9092,", "a:1, b:2", "a:1;b:2", "kafka://a:1", "a:1\n", "a:port", "a:1:2"],
)
def test_what_is_no_list_of_brokers_is_named(monkeypatch: pytest.MonkeyPatch, brokers: str) -> None:
    monkeypatch.setenv("COLOSSUS_KAFKA", brokers)
    with pytest.raises(SettingInvalid, match=r"^COLOSSUS_KAFKA is .*pattern") as caught:
        load_settings()
    assert repr(brokers) in str(caught.value)


SECRETS = {
    "kafka_password": "COLOSSUS_KAFKA_PASSWORD",
    "influx_token": "COLOSSUS_INFLUX_TOKEN",
    "influx_admin_token": "COLOSSUS_INFLUX_ADMIN_TOKEN",
}


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_is_read_and_never_shown(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(SECRETS[name], "not-to-be-seen")
    settings = load_settings()
    assert getattr(settings, name).get_secret_value() == "not-to-be-seen"
    for shown in (repr(settings), str(settings), str(settings.model_dump()), settings.model_dump_json()):
        assert "not-to-be-seen" not in shown
    with pytest.raises(SettingInvalid, match=SECRETS[name]) as caught:
        load_settings(**{name: ["not-to-be-seen"]})
    assert "not-to-be-seen" not in str(caught.value)


@pytest.mark.parametrize("name", ["influx_token", "influx_admin_token"])
def test_a_token_may_stand_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    file = tmp_path / "token"
    file.write_text("from-the-file\n")
    monkeypatch.setenv(f"{SECRETS[name]}_FILE", str(file))
    settings = load_settings()
    assert getattr(settings, name).get_secret_value() == "from-the-file"
    assert "from-the-file" not in repr(settings)
    others = {"influx_token", "influx_admin_token"} - {name}
    assert [getattr(settings, other) for other in others] == [None]


@pytest.mark.parametrize("name", ["influx_token", "influx_admin_token"])
def test_a_token_that_is_given_goes_before_its_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    monkeypatch.setenv(SECRETS[name], "given")
    monkeypatch.setenv(f"{SECRETS[name]}_FILE", str(tmp_path / "nowhere"))
    assert getattr(load_settings(), name).get_secret_value() == "given"


@pytest.mark.parametrize("name", ["influx_token", "influx_admin_token"])
@pytest.mark.parametrize(("content", "why"), [(None, "No such file"), (b"\xff\xfe", "decode")])
def test_a_file_that_holds_no_token_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, content: bytes | None, why: str
) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.setenv(f"{SECRETS[name]}_FILE", str(file))
    with pytest.raises(SettingInvalid, match=why) as caught:
        load_settings()
    assert str(caught.value).startswith(f"{SECRETS[name]}_FILE: {file} cannot be read")


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("from the file\n")
    monkeypatch.setenv("COLOSSUS_INFLUX_TOKEN", "")
    monkeypatch.setenv("COLOSSUS_KAFKA", "")
    monkeypatch.setenv("COLOSSUS_INFLUX_TOKEN_FILE", str(file))
    settings = load_settings()
    assert settings.influx_token is not None
    assert (settings.influx_token.get_secret_value(), settings.kafka) == ("from the file", None)


def test_an_empty_token_file_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("\n")
    monkeypatch.setenv("COLOSSUS_INFLUX_TOKEN_FILE", str(file))
    with pytest.raises(SettingInvalid, match=r"COLOSSUS_INFLUX_TOKEN_FILE.*is empty"):
        load_settings()
