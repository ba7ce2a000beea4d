"""What is recorded: a level, or topics by name; in the file at once, or in the black box."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from twin.errors import RecordingError, UnknownTopic
from twin.events.topics import BY_NAME, TOPICS, Topic, full_name

BULK = "telemetry.gpu"  # every GPU once a second: by default in the black box alone
_SHOWN_N = 30
Level = Literal["default", "full", "topics"]


@dataclass(frozen=True, slots=True)
class Selection:
    """What of a bus is recorded.

    Attributes
    ----------
    level
        ``default``, ``full``, or ``topics`` where they were named.
    instructor
        With what a trainee must never read.
    written, held
        Topics that go into the file, and those that go into the black box: full name to name in the file.
    """

    level: Level
    instructor: bool
    written: Mapping[str, str]
    held: Mapping[str, str]

    @property
    def names(self) -> dict[str, str]:
        """All topics that are read: full name to name in the file."""
        return {**self.written, **self.held}


def select(
    there: Collection[str],
    namespace: str,
    *,
    patterns: Sequence[str] = (),
    full: bool = False,
    instructor: bool = False,
) -> Selection:
    """Choose what is recorded.

    Parameters
    ----------
    there
        Full names of all topics of the bus.
    namespace
        Its prefix is not in the names of the file.
    patterns
        Names or shell patterns of topics, of the twin or of anybody; none: those of the level.
    full
        With every GPU, and not in the black box alone.
    instructor
        With what a trainee must never read.

    Raises
    ------
    UnknownTopic
        Which is missing.
    RecordingError
        A topic that was named is an instructor's.
    """
    if patterns:
        return Selection("topics", instructor, _named(there, namespace, patterns, instructor=instructor), {})
    wanted = {full_name(topic.name, namespace): topic.name for topic in TOPICS if instructor or not topic.instructor}
    missing = sorted(wanted.keys() - set(there))
    if missing:
        raise UnknownTopic(
            f"there is no topic {', '.join(missing)}: run `colossus topics create`, choose another namespace "
            "(COLOSSUS_NAMESPACE), or name the topics to record (--topics)"
        )
    held = {} if full else {name: short for name, short in wanted.items() if short == BULK}
    written = {name: short for name, short in wanted.items() if name not in held}
    return Selection("full" if full else "default", instructor, written, held)


def _named(there: Collection[str], namespace: str, patterns: Sequence[str], *, instructor: bool) -> dict[str, str]:
    prefix = full_name("", namespace)
    inside = {name: name.removeprefix(prefix) for name in sorted(there) if namespace and name.startswith(prefix)}
    # Where two have one name, that of the namespace is meant: the other is of another run.
    outside = {name: name for name in sorted(there) if name not in inside and name not in inside.values()}
    chosen: dict[str, str] = {}
    for pattern in patterns:
        found = {
            name: short
            for name, short in (inside | outside).items()
            if fnmatchcase(short, pattern) or fnmatchcase(name, pattern)
        }
        if not found:
            some = sorted(there)[:_SHOWN_N] + (["…"] if len(there) > _SHOWN_N else [])
            raise UnknownTopic(f"there is no topic {pattern!r} to record: there are {', '.join(some) or 'none'}")
        allowed = {name: short for name, short in found.items() if instructor or not _hidden(short)}
        if not allowed:
            raise RecordingError(f"{', '.join(found)} is for an instructor alone: add --instructor")
        chosen |= allowed
    return chosen


def _hidden(name: str) -> bool:
    """Tell whether a trainee must never read a topic, of whichever namespace it is."""
    own: Topic | None = BY_NAME.get(name) or BY_NAME.get(name.partition(".")[2])
    return own is not None and own.instructor
