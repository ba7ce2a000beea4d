"""The layers hold: import-linter's contracts, and what they cannot say."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Their time, chance and sleep are arguments; ``run/clock.py`` is the clock that entry points hand in.
TIMELESS = ("physics", "plant", "state", "recording", "run", "events", "site", "kpi.py", "bus/base.py")
CLOCKS = {"time", "random", "secrets", "uuid"}
THE_CLOCK = Path("twin/run/clock.py")


def imports(path: Path, *, top_only: bool = False) -> Iterator[str]:
    """Return the first part of the name of each module that a file imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body if top_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0]


def test_every_contract_is_kept() -> None:
    # In a process of its own: it sets logging up for the whole of one.
    program = Path(sys.executable).parent / "lint-imports"
    told = subprocess.run([program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603
    assert told.returncode == 0, told.stdout
    assert "0 broken" in told.stdout


def test_only_verbs_import_benchmarks() -> None:
    for path in (ROOT / "twin").rglob("*.py"):
        name = path.relative_to(ROOT).as_posix()
        if name.startswith("twin/cli/"):
            assert "benchmarks" not in imports(path, top_only=True), "a verb imports it, when it is called"
        else:
            assert "benchmarks" not in imports(path), name


def test_physics_and_kpi_know_numpy_scipy_and_errors_alone() -> None:
    for path in [*(ROOT / "twin" / "physics").glob("*.py"), ROOT / "twin" / "kpi.py"]:
        foreign = set(imports(path)) - sys.stdlib_module_names - {"numpy", "scipy", "twin"}
        assert not foreign, (path, foreign)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        ours = {
            n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and (n.module or "").startswith("twin")
        }
        assert all(name == "twin.errors" or name.startswith("twin.physics") for name in ours), (path, ours)


def test_time_and_chance_are_arguments() -> None:
    for place in TIMELESS:
        path = ROOT / "twin" / place
        for file in [path] if path.is_file() else path.rglob("*.py"):
            if file.relative_to(ROOT) != THE_CLOCK:
                assert not CLOCKS & set(imports(file)), file
            text = file.read_text(encoding="utf-8")
            assert "np.random.seed" not in text, file
            assert ".now(" not in text, file
