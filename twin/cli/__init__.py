"""``colossus …``: thin verbs, a file per group. What they do is in the modules that they call.

To add a verb: a function in the file of its group, and its row below if it has a group of its own.
"""

from typing import NoReturn

import typer

from twin.cli.bench import bench_app
from twin.cli.demo import demo, schemas
from twin.cli.incidents import make_recordings
from twin.cli.record import record
from twin.cli.recording import recording_app
from twin.cli.replay import replay, takeover
from twin.cli.run import command, inject, player_app, run_app
from twin.cli.stack import site_app, store_app, topics_app, up_app
from twin.errors import TwinError, explain
from twin.process import set_up_log

EXIT_USAGE = 2

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
for verb in (demo, schemas, record, replay, takeover, command, inject):
    app.command()(verb)
recording_app.command("make")(make_recordings)
for name, group in {
    "site": site_app,
    "topics": topics_app,
    "bench": bench_app,
    "run": run_app,
    "player": player_app,
    "recording": recording_app,
    "up": up_app,
    "store": store_app,
}.items():
    app.add_typer(group, name=name)


def main() -> None:
    """Run the command line; what goes wrong is one line on standard error, and exit code 2."""
    set_up_log()
    try:
        app()
    except TwinError as exc:
        _fail(exc)


def _fail(error: BaseException) -> NoReturn:
    typer.echo(f"colossus: {explain(error)}", err=True)
    raise SystemExit(EXIT_USAGE)
