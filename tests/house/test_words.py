"""Names carry units, and ratios are 0..1: no per cent, no milli- or megawatts on the wire."""

import io
import keyword
import re
import tokenize
from pathlib import Path

ROOT = Path(__file__).parents[2]
BAD_END = re.compile(r"(_pct|_percent|(?<!_per)_[kmg]w|_celsius|_fahrenheit)$", re.IGNORECASE)
THEIRS = {"cpu_percent"}  # of a library
ADDRESS = re.compile(r"\w+://\S+")
ABSOLUTE = re.compile(r"(?<![\w./])/(?!api/)\w+/\S*")
PAPERS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")]


def names_of(path: Path) -> set[str]:
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline)
    return {token.string for token in tokens if token.type == tokenize.NAME and not keyword.iskeyword(token.string)}


def test_no_name_has_a_unit_that_the_house_does_not_use() -> None:
    bad = {
        f"{path.relative_to(ROOT)}: {name}"
        for folder in ("twin", "producers", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
        for name in names_of(path)
        if BAD_END.search(name) and name not in THEIRS
    }
    assert sorted(bad) == []


def places_in(text: str) -> list[str]:
    """Return the absolute paths of a text that are neither in an address nor of the console's API."""
    return ABSOLUTE.findall(ADDRESS.sub("", text))


def test_papers_name_no_machine() -> None:
    found = {path.name: places for path in PAPERS if (places := places_in(path.read_text(encoding="utf-8")))}
    assert found == {}


def test_an_absolute_path_is_found_wherever_it_stands() -> None:
    for text in ("in /a/b", "`/a/`", "(/a/b)", "PATH=/a/b", "PATH=x:/a/b", '"/a/b"', "\n/a/b"):
        assert len(places_in(text)) == 1, text
    for text in ("twin/a/b", "./a/b", "http://host/a/b", "`GET /api/run/pause`", "1/2/3", "../a/b"):
        assert places_in(text) == [], text
