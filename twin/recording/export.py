"""Exports a quantity of an asset from a recording, as CSV or Parquet."""

import contextlib
import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from twin.errors import MessageInvalid, RecordingError, RecordingUnwritable
from twin.events.columns import Family
from twin.events.frames import decode_frame
from twin.events.head import check_schema, split
from twin.events.layout import FrameLayout
from twin.events.topics import BY_NAME
from twin.recording.instants import utc
from twin.recording.item import NS_PER_MS, Item
from twin.recording.reader import Recording
from twin.recording.series import Series, series_of
from twin.site import load_site

COLUMNS = {
    "time": "TIMESTAMPTZ",
    "ts_ms": "BIGINT",
    "tick": "BIGINT",
    "run": "VARCHAR",
    "epoch": "INTEGER",
    "value": "DOUBLE",
}
FORMATS = (".csv", ".parquet")


@dataclass(frozen=True, slots=True)
class Exported:
    """What was exported.

    Attributes
    ----------
    series
        ``topic.group.column`` of the values.
    others
        Where else in the recording there is a quantity of that name of the asset.
    rows_n
        How many values; those that were not measured are empty.
    unread_n
        Messages that are not as their schema says.
    """

    series: str
    others: tuple[str, ...]
    rows_n: int
    unread_n: int


def export(recording: Recording, series: str, target: Path) -> Exported:
    """Write the values of a quantity of an asset into a file.

    Times are the display time of the messages, in their order in the recording.

    Parameters
    ----------
    series
        Such as ``power_w@R0001-g17``; see :func:`twin.recording.series.series_of`.
    target
        ``.csv`` or ``.parquet``; must not exist.

    Raises
    ------
    RecordingInvalid
        A part of the recording cannot be read.
    RecordingUnwritable
        The target is there already, or cannot be written.
    RecordingError
        There is no such series in the recording.
    SiteInvalid
        There is no such site here as was recorded.
    """
    if target.suffix not in FORMATS:
        raise RecordingError(f"{target.name} is no name of an export: it ends in {' or '.join(FORMATS)}")
    if "site" not in recording.facts:
        raise RecordingError(f"{recording.path} does not say of which site it is: nothing can be found in it by name")
    layout = FrameLayout(load_site(recording.facts["site"]))
    meant = series_of(layout, series)
    there = [one for one in meant if recording.counts.get(one.place.topic)]
    if not there:
        needed = " or ".join(sorted({one.place.topic for one in meant}))
        raise RecordingError(
            f"{series} stands in {needed}, which is not in the recording: it has {', '.join(sorted(recording.counts))}"
        )
    values = _Values(there[0], layout)
    rows_n = _write(target, values.rows(recording))
    if not rows_n:
        target.unlink()
        raise RecordingError(f"{series} has no value in the recording, in {values.read_n} messages of its kind")
    return Exported(there[0].name, tuple(one.name for one in there[1:]), rows_n, values.unread_n)


class _Values:
    """Reads the values of a series out of a recording."""

    def __init__(self, series: Series, layout: FrameLayout) -> None:
        self.read_n = 0
        self.unread_n = 0
        self._series = series
        self._layout = layout

    def rows(self, recording: Recording) -> Iterator[tuple[Any, ...]]:
        place = self._series.place
        key = place.key.encode()
        for item in recording.items(topics={place.topic}):
            if (key and item.key != key) or (place.partition >= 0 and item.partition != place.partition):
                continue
            self.read_n += 1
            try:
                row = self._row(item)
            except (MessageInvalid, OverflowError):  # the latter of a ts that is no date
                self.unread_n += 1
                continue
            if row is not None:
                yield row

    def _row(self, item: Item) -> tuple[Any, ...] | None:
        topic = BY_NAME[item.topic]
        head, data = split(item.value)
        check_schema(head, topic.schema_id)
        assert isinstance(topic.data, Family)  # noqa: S101  (series are of families)
        sizes = self._layout.sizes(item.topic, head.key) if self._series.place.key else None
        value = self._series.value(decode_frame(topic.data, data, sizes or {}))
        if value is None:
            return None
        shown = "" if math.isnan(value) else int(value) if value.is_integer() else value
        return utc(head.ts * NS_PER_MS), head.ts, head.tick, head.run, head.epoch, shown


def _write(target: Path, rows: Iterator[tuple[Any, ...]]) -> int:
    """Write a file whole, or leave none; return the number of rows."""
    with contextlib.ExitStack() as undo:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch(exist_ok=False)
            undo.callback(target.unlink, missing_ok=True)
            if target.suffix == ".csv":
                rows_n = _write_csv(target, rows)
            else:
                plain = target.with_name(f".{target.name}.csv")
                undo.callback(plain.unlink, missing_ok=True)
                rows_n = _write_csv(plain, rows)
                _write_parquet(plain, target)
                plain.unlink()
        except (OSError, duckdb.Error) as exc:
            if isinstance(exc, FileExistsError) and target.exists():  # and not a file where a folder should be
                raise RecordingUnwritable(f"{target} is there already: choose another name, or move it away") from exc
            raise RecordingUnwritable(f"{target} cannot be written: {exc}") from exc
        undo.pop_all()
    return rows_n


def _write_csv(path: Path, rows: Iterator[tuple[Any, ...]]) -> int:
    rows_n = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in rows:
            writer.writerow(row)
            rows_n += 1
    return rows_n


def _write_parquet(plain: Path, target: Path) -> None:
    # By way of a file, so that a day of values need not be in memory, nor go row by row.
    with duckdb.connect(":memory:") as connection:
        connection.read_csv(str(plain), header=True, sep=",", dtype=COLUMNS).write_parquet(str(target))
