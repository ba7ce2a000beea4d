"""The README says what is true: its commands can be given, its settings and files exist, and it leaves none out."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from twin.cli import app
from twin.settings import Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
BLOCKS = "\n".join(re.findall(r"^```sh\n(.*?)^```$", README, re.MULTILINE | re.DOTALL))
PROSE = re.sub(r"^```.*?^```$", "", README, flags=re.MULTILINE | re.DOTALL)
COMMAND_LINE: Any = typer.main.get_command(app)
PROGRAMS = ("make ", "colossus ")


def section(heading: str) -> str:
    return README.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def rows(text: str) -> list[list[str]]:
    """Return the cells of a table, without its head."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def in_ticks(text: str) -> list[str]:
    return re.findall(r"`([^`\n]+)`", text)


def verbs(command: Any = COMMAND_LINE, name: str = "colossus") -> Iterator[str]:
    if not hasattr(command, "commands"):
        yield name
        return
    for sub, inner in command.commands.items():
        yield from verbs(inner, f"{name} {sub}")


def parse(words: list[str]) -> None:
    """Read words as the command line would, and do nothing."""
    command, context = COMMAND_LINE, COMMAND_LINE.make_context("colossus", list(words))
    while hasattr(command, "commands"):
        name, command, words = command.resolve_command(context, words)
        assert command is not None, name
        context = command.make_context(name, list(words), parent=context)


# Commands.

IN_BLOCKS = sorted({words for line in BLOCKS.splitlines() if (words := line.partition("#")[0].strip())})
IN_PROSE = sorted({words for words in in_ticks(PROSE) if words.startswith(PROGRAMS)})


@pytest.mark.parametrize("command", [*IN_BLOCKS, *(words for words in IN_PROSE if words.startswith("make "))])
def test_every_command_can_be_given(command: str) -> None:
    program, *words = shlex.split(command)
    if program == "colossus":
        parse(words)
        return
    if program == ".":
        assert words in ([".venv/bin/activate"], [".servers/settings"])
        return
    assert program == "make"
    given = dict(word.split("=", 1) for word in words if "=" in word)
    targets = set(re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.MULTILINE))
    assert {word for word in words if "=" not in word} <= targets
    for name in given:
        assert re.search(rf"^{name} \?=", MAKEFILE, re.MULTILINE), f"make knows no {name}"
    parse(["demo", *shlex.split(given.get("ARGS", ""))])


@pytest.mark.parametrize("command", [words for words in IN_PROSE if words.startswith("colossus ")])
def test_every_verb_in_the_text_exists(command: str) -> None:
    assert any(f"{command} ".startswith(f"{verb} ") for verb in verbs())


def test_the_commands_are_found() -> None:
    assert len(IN_BLOCKS) > 20
    assert "make demo" in IN_BLOCKS
    with pytest.raises(Exception, match="No such option"):
        parse(["demo", "--no-such-thing"])


def test_every_verb_is_told() -> None:
    told = {" ".join(shlex.split(command)) for command in [*IN_BLOCKS, *IN_PROSE]}
    assert [verb for verb in verbs() if not any(f"{command} ".startswith(f"{verb} ") for command in told)] == []


def test_make_and_ci_run_what_is_told() -> None:
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert re.findall(r"^(?!#|set |cd )(.+)$", ci, re.MULTILINE) == ["make test", "make test-stack"]


# Settings.


def test_every_setting_is_told_with_its_default() -> None:
    told = {in_ticks(variable)[0]: default for variable, _, default in rows(section("Settings"))}
    fields = {f"COLOSSUS_{name.upper()}": field.default for name, field in Settings.model_fields.items()}
    assert told.keys() == fields.keys()
    for name, default in fields.items():
        if default in ("", (), None):
            assert not in_ticks(told[name]), name
        else:
            assert in_ticks(told[name]) == [str(default)], name


def test_no_other_variable_is_told() -> None:
    assert set(re.findall(r"COLOSSUS_[A-Z_]+", README)) == {
        f"COLOSSUS_{name.upper()}" for name in Settings.model_fields
    }


# Files and folders.


def exists(name: str) -> bool:
    """Tell whether a path exists; ``<name>`` stands for any name, and ``*`` too."""
    return any(ROOT.glob(re.sub(r"<[^>]+>", "*", name.rstrip("/"))))


def test_every_path_exists() -> None:
    paths = {
        word for word in in_ticks(PROSE) if re.fullmatch(r"[\w.<>*-]*/[\w./<>*-]*|[\w<>*-]+\.(py|md|toml|yaml)", word)
    }
    paths -= {"data/", "data/recordings", "data/takeovers/", ".servers/", ".servers/settings"}  # made by what runs
    assert len(paths) > 40
    assert [path for path in sorted(paths - {"__init__.py"}) if not exists(path)] == []


def test_every_link_leads_to_a_file() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert [link for link in links if "://" not in link and not (ROOT / link).is_file()] == []


def test_every_folder_is_told() -> None:
    told = {in_ticks(name)[0].rstrip("/") for name, _ in rows(section("How it is built"))}
    code = {path.parent for path in (ROOT / "twin").glob("*/__init__.py")}
    code |= {ROOT / name for name in ("producers", "benchmarks", "dashboards") if any((ROOT / name).glob("*.py"))}
    assert told == {path.relative_to(ROOT).as_posix() for path in code} | {"tests", "docs/decisions"}


def test_every_module_beside_the_folders_is_told() -> None:
    alone = {f"twin/{path.name}" for path in (ROOT / "twin").glob("*.py") if not path.name.startswith("__")}
    assert alone <= set(in_ticks(section("How it is built")))


def test_where_do_i_add_names_a_file_and_a_test_in_every_row() -> None:
    table = rows(section("Where do I add ..."))
    assert len(table) > 12
    for wish, touch, test in table:
        assert in_ticks(touch), wish
        assert any(exists(path) and path.startswith("tests/") for path in in_ticks(test)), wish
