"""Puts the snapshots that a topic names into the recording: a takeover begins from one."""

import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path

from twin.errors import MessageInvalid
from twin.events.head import decode_model
from twin.events.instructor import SnapshotReference
from twin.events.topics import BY_NAME
from twin.recording.item import Item
from twin.recording.writer import RecordingWriter

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/zstd"


def attachment_name(run: str, tick: int) -> str:
    """Return what a snapshot is called in a recording.

    After a way back a tick may come again, as another plant: then two have one name, and their bytes tell them apart.

    Examples
    --------
    >>> attachment_name("20261124T072000Z-a7f3", 60)
    'snapshots/20261124T072000Z-a7f3/000000000060.plant.zst'
    """
    return f"snapshots/{run}/{tick:012d}.plant.zst"


class SnapshotFiles:
    """Reads the files of snapshots, each once.

    Parameters
    ----------
    folder
        Where the snapshots of all runs lie.
    writer
        The recording.

    Attributes
    ----------
    attached_n, missing_n
        How many are in the recording, and how many could not be read.
    """

    def __init__(self, folder: Path, writer: RecordingWriter) -> None:
        self.attached_n = 0
        self.missing_n = 0
        self._folder = folder
        self._writer = writer
        self._attached: set[tuple[str, str]] = set()  # name, sha256

    def attach(self, item: Item) -> None:
        """Put the snapshot that a message names into the recording; one that is not here is counted.

        Raises
        ------
        RecordingUnwritable
            The disk is full.
        """
        try:
            head, reference = decode_model(item.value, BY_NAME["instructor.snapshots"].schema_id, SnapshotReference)
        except MessageInvalid:
            return  # it is in the file as it is
        name = attachment_name(head.run, reference.tick)
        if (name, reference.sha256) in self._attached:
            return
        data = self._read(name, reference)
        if data is None:
            if not self.missing_n:
                logger.warning(
                    "recorder=snapshot_missing path=%s: without it nobody can take over from the recording; record on "
                    "the machine of the producers, with their COLOSSUS_DATA_DIR",
                    reference.path,
                )
            self.missing_n += 1
            return
        self._writer.attach(name, MEDIA_TYPE, data, item.time_ns)
        self._attached.add((name, reference.sha256))
        self.attached_n += 1

    def _read(self, name: str, reference: SnapshotReference) -> bytes | None:
        for path in self._places(name, reference):
            try:
                if path.stat().st_size != reference.bytes:
                    continue
                data = path.read_bytes()
            except OSError:
                continue
            if hashlib.sha256(data).hexdigest() == reference.sha256:
                return data
        return None

    def _places(self, name: str, reference: SnapshotReference) -> Iterator[Path]:
        """Yield where it may lie: no message makes us read a file of another name."""
        run_and_file = Path(name).relative_to("snapshots")
        yield self._folder / run_and_file
        told = Path(reference.path)
        if told.parts[-2:] == run_and_file.parts:
            yield told
