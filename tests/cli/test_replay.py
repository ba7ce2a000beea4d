"""``colossus replay`` without a Kafka: where it looks for a recording."""

from pathlib import Path

import pytest

from tests.recording.files import item, write
from twin.cli.replay import replay
from twin.errors import SettingInvalid


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a folder that has a data folder, and no Kafka."""
    monkeypatch.delenv("COLOSSUS_KAFKA", raising=False)
    monkeypatch.setenv("COLOSSUS_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "data" / "recordings"


def test_a_dry_run_is_of_the_file_that_a_demo_would_play(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(folder / "run.mcap", [item("orders"), item("orders", 2000)])
    write(tmp_path / "run.mcap", [item("others")])
    replay(Path("run.mcap"), dry_run=True)
    said = capsys.readouterr().out
    assert "orders " in said
    assert "others" not in said
    assert "2.0 s of the recording, 2.0 s at speed 1; nothing was played" in said


def test_what_is_not_in_its_folder_is_told_with_the_folder(folder: Path, tmp_path: Path) -> None:
    write(tmp_path / "run.mcap", [item()])
    with pytest.raises(SettingInvalid, match=f"there is no recording run.mcap in {folder}: put it there"):
        replay(Path("run.mcap"), dry_run=True)


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_path_is_none_of_its_names(folder: Path, dry_run: bool) -> None:
    path = write(folder / "run.mcap", [item()])
    with pytest.raises(SettingInvalid, match="give a name without a path"):
        replay(path, dry_run=dry_run)
