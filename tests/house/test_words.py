"""Names carry units, and ratios are 0..1: no per cent, no milli- or megawatts on the wire."""

import io
import keyword
import re
import tokenize
from pathlib import Path

ROOT = Path(__file__).parents[2]
BAD_END = re.compile(r"(_pct|_percent|(?<!_per)_[kmg]w|_celsius|_fahrenheit)$", re.IGNORECASE)
THEIRS = {"cpu_percent"}  # of a library
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


def test_papers_name_no_machine() -> None:
    for path in PAPERS:
        text = path.read_text(encoding="utf-8")
        for place in ("/work/", "/root/", "/home/", "/tmp/"):  # noqa: S108  (looked for, not used)
            assert place not in text, f"{path.name}: {place}"
