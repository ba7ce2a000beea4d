"""What a cut carries over from before its start: without it nobody could take its run over before its first snapshot.

Such messages are of the first instant of the cut, with timestamps of their own, so the span stays as it is; and their
topics have the prefix of a namespace, which no player plays.
"""

import contextlib
from collections.abc import Collection, Iterator

from twin.errors import MessageInvalid
from twin.events.head import decode_model
from twin.events.instructor import SnapshotReference
from twin.events.topics import BY_NAME, full_name
from twin.recording.item import Item
from twin.recording.reader import Recording
from twin.recording.retelling import told_of
from twin.recording.snapshot_files import attachment_name

_CONTROL, _INJECTS, _SNAPSHOTS = "run.control", "instructor.injects", "instructor.snapshots"
_ORDERS = (_INJECTS, "command_results", "instructor.truth")
_NAMES = {topic: full_name(topic, "before") for topic in (_CONTROL, *_ORDERS, _SNAPSHOTS)}
_CARRIED = {name: topic for topic, name in _NAMES.items()}


def is_carried(topic: str) -> bool:
    """Tell whether what a cut has carried over is in a topic."""
    return topic in _CARRIED


def with_carried(recording: Recording, topics: Collection[str], end_ns: int | None = None) -> Iterator[Item]:
    """Yield messages as :meth:`Recording.items` does, and what was carried over in its own topic; each of those once.

    Raises
    ------
    RecordingInvalid
        A part cannot be read.
    """
    carried = {_NAMES[topic] for topic in topics if topic in _NAMES}
    seen: set[tuple[str, int, int, bytes | None]] = set()  # where parts were merged, both may be there
    for item in recording.items(end_ns=end_ns, topics={*topics, *carried}):
        one = item._replace(topic=_CARRIED[item.topic]) if is_carried(item.topic) else item
        if one.topic in _NAMES:
            same = (one.topic, one.partition, one.offset, one.value)
            if same in seen:
                continue
            seen.add(same)
        yield one


def carried_over(recording: Recording, start_ns: int, files: Collection[str]) -> list[Item]:
    """Return what a cut needs from before its start to be taken over, oldest first, in the topics that carry it.

    Parameters
    ----------
    start_ns
        Of the cut [ns].
    files
        Names of the attachments from before that it keeps. Without a snapshot among them it needs nothing.

    Raises
    ------
    RecordingInvalid
        A part cannot be read.
    """
    told = list(with_carried(recording, (*_ORDERS, _SNAPSHOTS), start_ns - 1)) if files else []
    named = [(item, run, tick) for item in told for run, tick in _named_by(item) if attachment_name(run, tick) in files]
    if not named:
        return []
    _, run, since = named[-1]
    snapshots = [item for item, *_ in named]

    def is_needed(item: Item) -> bool:
        if item.topic == _SNAPSHOTS:
            return item in snapshots
        one = told_of(item)
        of_run = one.lineage is not None and one.lineage[0] == run
        return of_run and (item.topic == _INJECTS or one.tick >= since)  # an inject may come long before its tick

    needed = [item for item in told if is_needed(item)]
    control = recording.last_before(start_ns - 1, _CONTROL) or recording.last_before(start_ns - 1, _NAMES[_CONTROL])
    if control is not None:
        needed.insert(0, control)
    return [item._replace(topic=_NAMES.get(item.topic, item.topic)) for item in needed]


def _named_by(item: Item) -> Iterator[tuple[str, int]]:
    """Yield of which run and tick the snapshot is that a message names; nothing from one that cannot be read."""
    if item.topic == _SNAPSHOTS:
        with contextlib.suppress(MessageInvalid):
            head, reference = decode_model(item.value, BY_NAME[_SNAPSHOTS].schema_id, SnapshotReference)
            yield head.run, reference.tick
