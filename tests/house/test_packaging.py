"""What is installed: dependencies with their reasons, and every file that the code reads."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("twin", "producers", "benchmarks", "dashboards")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
RUNTIME: list[str] = PROJECT["project"]["dependencies"]
DEV: list[str] = PROJECT["project"]["optional-dependencies"]["dev"]
REASONS = (ROOT / "docs" / "decisions" / "dependencies.md").read_text(encoding="utf-8")
# Comes with one that is declared, and is the same library to those who write against it.
CARRIED_BY = {
    "anyio": "fastapi",
    "mode-streaming": "faust-streaming",
    "urllib3": "influxdb-client",
    "starlette": "fastapi",
}
# Declared, though no file of ours imports it.
NEVER_IMPORTED = {"tzdata", "websockets"}


def name_and_range(requirement: str) -> tuple[str, str]:
    found = re.fullmatch(r"([A-Za-z0-9._-]+)(?:\[[a-z0-9,]+\])?(.*)", requirement)
    assert found
    return normal(found[1]), found[2]


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def table(heading: str) -> list[tuple[str, str, str]]:
    """Read name, range and reason off the table under a heading."""
    part = REASONS.split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `([^`]+)` \| (?:`([^`]+)`|any) \| (.+) \|$", part, re.MULTILINE)
    return [(normal(name.partition("[")[0]), wanted, reason) for name, wanted, reason in rows]


def test_every_dependency_has_its_range_and_reason_and_none_is_left_over() -> None:
    for heading, declared in (("At run time", RUNTIME), ("For work on it", DEV)):
        rows = table(heading)
        assert sorted((name, wanted) for name, wanted, _ in rows) == sorted(map(name_and_range, declared)), heading
        assert all(len(reason) > 20 for _, _, reason in rows), heading


def third_party(*folders: str) -> set[str]:
    """Return the distributions that files import."""
    modules = set()
    for folder in folders:
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    modules |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.level == 0:
                    modules.add((node.module or "").partition(".")[0])
    known = packages_distributions()
    modules -= {*sys.stdlib_module_names, *PACKAGES, "tests"}
    return {normal(known[module][0]) for module in modules}


def test_the_code_imports_what_is_declared_and_nothing_else() -> None:
    declared = {name_and_range(requirement)[0] for requirement in RUNTIME}
    imported = {CARRIED_BY.get(name, name) for name in third_party(*PACKAGES)}
    assert imported - declared == set()
    assert declared - imported == NEVER_IMPORTED
    for_work = {name_and_range(requirement)[0] for requirement in DEV}
    in_tests = {CARRIED_BY.get(name, name) for name in third_party("tests")}
    assert in_tests - declared - for_work == set()


def test_every_data_file_is_in_the_package() -> None:
    twin = ROOT / "twin"
    packed: set[Path] = set()
    for pattern in PROJECT["tool"]["setuptools"]["package-data"]["twin"]:
        matched = {path for path in twin.glob(pattern) if path.is_file()}
        assert matched, f"{pattern} matches nothing"
        packed |= matched
    data = {path for path in twin.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert sorted(data - packed) == []
    assert sorted(packed - data) == []


def test_the_licence_and_the_readme_are_there() -> None:
    project = PROJECT["project"]
    assert "Apache License" in (ROOT / project["license-files"][0]).read_text(encoding="utf-8")
    assert project["license"] == "Apache-2.0"
    assert (ROOT / project["readme"]).is_file()


def test_every_folder_of_code_says_what_it_holds_and_how_to_add_to_it() -> None:
    folders = {path.parent for package in PACKAGES for path in (ROOT / package).rglob("*.py")} - {ROOT / "twin"}
    assert len(folders) > 10
    for folder in folders:
        text = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8")))
        name = folder.relative_to(ROOT)
        assert text, name
        assert re.search(r"\bTo add (?:a|an|the)\b", text), name
        assert len(text.splitlines()) <= 5, f"{name}: three lines, a blank one between, are enough"
