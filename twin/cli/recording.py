"""``colossus recording …``: look into recordings, check, mend, cut, merge, filter and export them."""

import dataclasses
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from twin.cli.options import JsonOption

if TYPE_CHECKING:
    from twin.recording.edit import Made
    from twin.recording.inspect import Info
    from twin.recording.repair import Repaired

recording_app = typer.Typer(no_args_is_help=True, help="Recordings: look into them, check, mend, cut, export.")

FileArgument = Annotated[Path, typer.Argument(help="An MCAP file; it is only read.")]
OutputOption = Annotated[Path, typer.Option("-o", "--output", help="The new file; must not exist.")]
PatternsOption = Annotated[list[str] | None, typer.Option(help="Only these; shell patterns.")]


@recording_app.command("info")
def recording_info(file: FileArgument, as_json: JsonOption = False) -> None:
    """Show what is in a recording: span, runs, topics with rates and gaps, attachments."""
    from twin.recording.inspect import inspect
    from twin.recording.reader import Recording

    with Recording(file) as recording:
        info = inspect(recording)
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(info)))
        return
    for line in _about(info):
        typer.echo(line)


@recording_app.command("verify")
def recording_verify(file: FileArgument, as_json: JsonOption = False) -> None:
    """Check a recording against itself; exit code 1 if something is wrong."""
    from twin.recording.verify import verify

    verdict = verify(file)
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(verdict)))
    else:
        for finding in verdict.findings:
            typer.echo(f"{finding.where}: {finding.what}")
        typer.echo(
            f"{len(verdict.findings)} findings in {verdict.messages_n} messages, {verdict.chunks_n} chunks, "
            f"{verdict.attachments_n} attachments, {verdict.bytes_n} bytes"
        )
    if verdict.findings:
        raise typer.Exit(1)


@recording_app.command("repair")
def recording_repair(
    file: FileArgument,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The new file; default: FILE.repaired.mcap beside it.")
    ] = None,
) -> None:
    """Save what can be read of a recording that was cut off, not closed, or is damaged."""
    from twin.recording.repair import repair

    for line in _saved(repair(file, output or file.with_name(f"{file.stem}.repaired.mcap"))):
        typer.echo(line)


@recording_app.command("cut")
def recording_cut(
    file: FileArgument,
    output: OutputOption,
    start: Annotated[str | None, typer.Option("--from", help="Instant: +90s, -1m, 12:34:56, or a date.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="The same.")] = None,
) -> None:
    """Copy a stretch of a recording."""
    from twin.recording.edit import cut
    from twin.recording.instants import instant_ns
    from twin.recording.reader import Recording

    with Recording(file) as recording:
        span = recording.start_ns, recording.end_ns
    start_ns = span[0] if start is None else instant_ns(start, *span)
    end_ns = span[1] if end is None else instant_ns(end, *span)
    _show(cut(file, output, start_ns, end_ns))


@recording_app.command("merge")
def recording_merge(
    files: Annotated[list[Path], typer.Argument(help="MCAP files of one site; they are only read.")],
    output: OutputOption,
) -> None:
    """Put recordings together by their clock."""
    from twin.recording.edit import merge

    _show(merge(files, output))


@recording_app.command("filter")
def recording_filter(
    file: FileArgument, output: OutputOption, topics: PatternsOption = None, keys: PatternsOption = None
) -> None:
    """Copy some topics or keys of a recording."""
    from twin.recording.edit import filter

    _show(filter(file, output, topics or (), keys or ()))


@recording_app.command("export")
def recording_export(
    file: FileArgument,
    series: Annotated[str, typer.Argument(help="QUANTITY@ASSET, such as power_w@R0001-g17.")],
    output: OutputOption,
) -> None:
    """Write a quantity of an asset as CSV or Parquet, as the name of the output says."""
    from twin.recording.export import export
    from twin.recording.reader import Recording

    with Recording(file) as recording:
        done = export(recording, series, output)
    typer.echo(f"{output}: {done.rows_n} values of {done.series}")
    if done.others:
        typer.echo(f"there is also {', '.join(done.others)}: name it in full to have it")
    if done.unread_n:
        typer.echo(f"{done.unread_n} messages could not be read")


def _show(made: "Made") -> None:
    typer.echo(f"{made.target}: {_span(made.start_ns, made.end_ns)}, {made.attachments_n} attachments")
    for line in _table(("topic", "messages"), sorted(made.counts.items())):
        typer.echo(line)
    if made.twice_n:
        typer.echo(f"{made.twice_n} messages were in several files, and are in it once")


def _saved(repaired: "Repaired") -> Iterable[str]:
    yield f"{repaired.target}: {_span(repaired.start_ns, repaired.end_ns)}, {repaired.attachments_n} attachments saved"
    yield from _table(("topic", "messages"), sorted(repaired.counts.items()))
    for lost in repaired.lost:
        span = "" if lost.start_ns is None or lost.end_ns is None else f", {_span(lost.start_ns, lost.end_ns)}"
        yield f"lost: {lost.what} at byte {lost.offset}, {lost.bytes_n} bytes{span}: {lost.reason}"
    if repaired.cut_off_bytes:
        yield f"lost: the last {repaired.cut_off_bytes} bytes: {repaired.cut_off_by}"
    elif not repaired.lost:
        yield "nothing was lost"


def _about(info: "Info") -> Iterable[str]:
    from twin.recording.inspect import KEYS_MOST_N
    from twin.recording.instants import utc

    rows = [
        ("size", f"{info.bytes_n / 1e6:.2f} MB in {info.chunk_n} chunks"),
        ("span", _span(info.start_ns, info.end_ns)),
        ("closed by", info.closed_by or "(not told)"),
        *info.facts.items(),
    ]
    yield from (f"{name:<12} {value}" for name, value in rows)
    yield from _table(
        ("run", "kind", "site", "epochs", "from", "to"),
        [(run.run, run.kind, run.site, _epochs(run.epochs), utc(run.start_ns), utc(run.end_ns)) for run in info.runs],
    )
    yield from _table(
        ("topic", "messages", "keys", "partitions", "MB", "1/s", "gap s", "gap begins", "missing"),
        [
            (
                topic.topic,
                topic.count,
                f"{topic.keys_n}{'+' * (topic.keys_n == KEYS_MOST_N)}",
                topic.partitions_n,
                f"{topic.bytes_n / 1e6:.2f}",
                f"{topic.rate_hz:.2f}",
                f"{topic.gap_s:.1f}",
                utc(topic.gap_start_ns),
                "-" if topic.missing_n is None else topic.missing_n,
            )
            for topic in info.topics
        ],
    )
    yield from _table(("attachment", "bytes"), [(file.name, file.bytes_n) for file in info.attachments])


def _epochs(epochs: Sequence[int]) -> str:
    return str(epochs[0]) if len(epochs) == 1 else f"{min(epochs)}..{max(epochs)}"


def _span(start_ns: int, end_ns: int) -> str:
    from twin.recording.instants import utc

    return f"{utc(start_ns)} to {utc(end_ns)} ({(end_ns - start_ns) / 1e9:.1f} s)" if end_ns else "no messages"


def _table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterable[str]:
    """Lay rows out in columns as wide as what is in them; no rows, no table."""
    if not rows:
        return
    cells = [heads, *([str(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        yield "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
