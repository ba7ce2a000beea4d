"""Fetches what the real servers are made of, once: Kafka's jars by Maven, influxd built by Go from its module."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

HERE = Path(__file__).parent
KAFKA_VERSION = "4.3.1"
INFLUX_VERSION = "2.7.12"
_COPY_JARS = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"
_PKG_CONFIG = "github.com/influxdata/pkg-config@v0.2.14"
_INFLUXD = "github.com/influxdata/influxdb/v2/cmd/influxd"


class CannotFetchError(Exception):
    """What is needed is not here, or could not be built; says what to do."""


def kafka_jars() -> Path:
    """Return the folder with Kafka's jars, filled if need be."""
    recipe = HERE / "kafka_jars" / "pom.xml"
    if f"<kafka.version>{KAFKA_VERSION}<" not in recipe.read_text(encoding="utf-8"):
        raise CannotFetchError(f"{recipe} is not of Kafka {KAFKA_VERSION}")
    kept = _kept("kafka", [recipe])
    if not kept.exists():
        _need("java", "mvn", why="Kafka runs on Java 17 and its jars come by Maven")
        with _beside(kept) as folder:
            shutil.copy(recipe, folder)
            _run(["mvn", "-q", "-B", _COPY_JARS, "-DoutputDirectory=lib"], folder)
            (folder / "lib").rename(kept)
    return kept


def influxd() -> Path:
    """Return the program ``influxd``, built if need be: minutes the first time."""
    recipe = sorted((HERE / "influxd").iterdir())
    if f"influxdb/v2 v{INFLUX_VERSION} " not in (HERE / "influxd" / "go.mod").read_text(encoding="utf-8"):
        raise CannotFetchError(f"influxd/go.mod is not of InfluxDB {INFLUX_VERSION}")
    kept = _kept("influxd", recipe)
    if not kept.exists():
        _need("go", "cargo", "cc", why="InfluxDB is built from its Go module, with a library in Rust")
        with _beside(kept) as folder:
            for file in recipe:
                shutil.copy(file, folder)
            _run(["go", "install", _PKG_CONFIG], folder, GOBIN=str(folder))
            _run(
                ["go", "build", "-trimpath", "-ldflags", f"-X main.version=v{INFLUX_VERSION}", "-o", "built", _INFLUXD],
                folder,
                PKG_CONFIG=str(folder / "pkg-config"),
                RUSTUP_TOOLCHAIN="stable",  # the library asks for one that nobody has
                RUSTC_WRAPPER=str(folder / "rustc-wrapper"),
            )
            (folder / "built").rename(kept)
    return kept


def _kept(name: str, recipe: Sequence[Path]) -> Path:
    """Return where a thing is kept: by the recipe that it was made after."""
    digest = hashlib.sha256(b"\0".join(file.read_bytes() for file in recipe)).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "colossus-twin" / "servers"
    cache.mkdir(parents=True, exist_ok=True)
    return cache / f"{name}-{digest}"


def _beside(kept: Path) -> tempfile.TemporaryDirectory[str]:
    return _Folder(dir=kept.parent, prefix="making-")


class _Folder(tempfile.TemporaryDirectory[str]):
    def __enter__(self) -> Path:  # type: ignore[override]
        return Path(super().__enter__())


def _need(*programs: str, why: str) -> None:
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        raise CannotFetchError(f"{', '.join(missing)} not found: install it ({why})")


def _run(command: Sequence[str], folder: Path, **environment: str) -> None:
    variables: Mapping[str, str] = os.environ | environment
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise CannotFetchError(f"{' '.join(command)} failed:\n{(done.stdout + done.stderr)[-3000:]}")
