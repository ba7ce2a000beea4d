"""``colossus recording make``: the incidents that come with the twin, as recordings."""

from pathlib import Path
from typing import Annotated

import typer

from twin.settings import load_settings


def make_recordings(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Which; all if none is named.")] = None,
    folder: Annotated[Path | None, typer.Option(help="Where to; one of the same name is replaced.")] = None,
) -> None:
    """Run the plant through incidents and record them: the same files each time, with their hashes."""
    from producers.incidents import INCIDENTS, make_incident

    folder = folder or load_settings().data_dir / "recordings"
    for name in names or INCIDENTS:
        path, digest = make_incident(name, folder)
        typer.echo(f"{digest}  {path}  {path.stat().st_size / 1e6:.1f} MB")
