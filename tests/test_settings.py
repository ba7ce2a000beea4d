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
