"""``colossus run end``: what a takeover was worth is printed, or it is said where it should be."""

import json
from pathlib import Path
from typing import Any

import pytest

from twin.cli import run as verbs

RUN = "20261129T024313Z-262c"


class Console:
    """A console that ends its run."""

    def __init__(self, takeover: str | None) -> None:
        self._takeover = takeover

    def run(self) -> dict[str, Any]:
        return {"id": RUN, "takeover": self._takeover}

    def end(self) -> None:
        """Do so."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COLOSSUS_DATA_DIR", str(tmp_path))
    (tmp_path / "takeovers").mkdir()
    return tmp_path / "takeovers"


def ended(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], takeover: str | None) -> tuple[str, str]:
    monkeypatch.setattr(verbs, "_client", lambda: Console(takeover))
    verbs.run_end()
    said = capsys.readouterr()
    return said.out, said.err


def test_what_a_takeover_was_worth_is_printed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / f"{RUN}.json").write_text(json.dumps({"lines": ["GPU-hours lost", "commands"]}))
    out, err = ended(monkeypatch, capsys, "it was rebuilt")
    assert out == "GPU-hours lost\ncommands\n"
    assert err.startswith("the run ends; its plant is run again")


def test_a_comparison_that_is_not_there_is_told_of(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, err = ended(monkeypatch, capsys, "it was rebuilt")
    assert out == ""
    assert f"there is no comparison in {folder / RUN}.json" in err


@pytest.mark.usefixtures("folder")
def test_the_end_of_another_run_says_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(monkeypatch, capsys, None) == ("", "")
