"""Small files with honest names, and nothing left unfinished."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("twin", "producers", "benchmarks", "dashboards", "tests")
FILES = [
    path
    for folder in FOLDERS
    for path in (ROOT / folder).rglob("*")
    if path.suffix in (".py", ".js", ".css", ".html") and "__pycache__" not in path.parts
]
MOST_LINES = 500
GRAB_BAGS = {"util", "utils", "common", "helper", "helpers", "manager", "managers", "misc"}
# Put together here, so that this file does not find itself.
UNFINISHED = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X|NotImplemented" + r"Error)\b")
SWALLOWED = re.compile(r"except\s*(?:\(?\s*(?:Base)?Exception\b|:)")
SKIPPED = re.compile(r"pytest\." + r"(?:mark\.)?(?:skip|xfail)|assert " + "True|time" + r"\.sleep\(")


def test_the_files_are_found() -> None:
    assert {path.suffix for path in FILES} == {".py", ".js", ".css", ".html"}
    assert len(FILES) > 150


def test_no_file_is_too_long() -> None:
    long = {path.relative_to(ROOT).as_posix(): n for path in FILES if (n := lines_of(path)) > MOST_LINES}
    assert long == {}


def lines_of(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def test_no_name_is_a_grab_bag() -> None:
    names = {part.removesuffix(path.suffix) for path in FILES for part in path.relative_to(ROOT).parts}
    assert names & GRAB_BAGS == set()


def test_nothing_is_left_unfinished() -> None:
    assert found(UNFINISHED, FILES) == []


def test_no_error_is_swallowed_whole() -> None:
    ours = [path for path in FILES if path.suffix == ".py" and not path.is_relative_to(ROOT / "tests")]
    assert found(SWALLOWED, ours) == []


def test_no_test_is_skipped_or_sleeps() -> None:
    assert found(SKIPPED, [path for path in FILES if path.is_relative_to(ROOT / "tests")]) == []


def found(pattern: re.Pattern[str], paths: list[Path]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in paths
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if pattern.search(line)
    ]
