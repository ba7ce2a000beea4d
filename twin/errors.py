"""The error tree: only these classes cross a module boundary.

::

    TwinError
    ├── SiteInvalid            a site file says something impossible
    ├── SettingInvalid         a COLOSSUS_* value or a command-line flag is wrong
    ├── MessageInvalid         bytes from a topic that are no message of ours
    │   └── ForeignMajor       a message of another major version of its schema
    ├── BusError               the bus refuses or cannot be reached
    │   ├── UnknownTopic       no such topic
    │   ├── MessageTooLarge    above the limit of one message
    │   └── NotOwner           commit or send of a member that lost its partitions
    ├── RunError               the lease or the epochs forbid it
    │   └── RunActive          another run holds the namespace
    ├── LeaseLost              this owner is not the owner any more: it must stop at once
    ├── PlantError             the plant cannot do it
    │   ├── CommandRejected    a command that the plant's table of transitions forbids
    │   ├── InjectRejected     a malfunction that does not exist or does not fit its target
    │   └── SnapshotInvalid    bytes that are no snapshot of this plant
    ├── StoreError             the history refuses
    │   ├── StoreUnavailable   for now: try again (time-outs, 429, 5xx, a locked file)
    │   └── StoreRejected      for good: trying again is useless (4xx, a wrong type)
    ├── RecordingError         a recording cannot be made, or not used in this way
    │   ├── RecordingInvalid   a file that is no recording, is damaged, or was not closed
    │   ├── RecordingUnwritable  disk full, no rights, or the file is there already
    │   └── TakeoverRefused    the plant of a recording cannot be rebuilt; ``reason`` is short and stable
    └── StartError             a process cannot start: port in use, folder locked or full
"""


class TwinError(Exception):
    """Base of every error that this project raises on purpose."""


class SiteInvalid(TwinError):
    """A site file says something impossible; names file, path, value and what is allowed."""


class SettingInvalid(TwinError):
    """A ``COLOSSUS_*`` value or a command-line flag is wrong; says which and what is allowed."""


class MessageInvalid(TwinError):
    """Bytes from a topic that are no message of ours; ``reason`` is short and stable."""


class ForeignMajor(MessageInvalid):
    """A message of another major version of its schema."""


class BusError(TwinError):
    """The bus refuses or cannot be reached."""


class UnknownTopic(BusError):
    """No such topic on this bus."""


class MessageTooLarge(BusError):
    """A message above the limit of one message (1 MiB)."""


class NotOwner(BusError):
    """A commit of a member that has lost its partitions (an old generation)."""


class RunError(TwinError):
    """The lease or the epochs of a run forbid it."""


class RunActive(RunError):
    """Another run holds the namespace; says which, and the way out."""


class LeaseLost(TwinError):
    """Not the owner of the run any more: to be caught by nobody who would go on."""


class PlantError(TwinError):
    """The plant cannot do it."""


class CommandRejected(PlantError):
    """A command that the plant's table of allowed transitions forbids; the text is the reason."""


class InjectRejected(PlantError):
    """A malfunction that does not exist or does not fit its target."""


class SnapshotInvalid(PlantError):
    """Bytes that are no snapshot of this plant."""


class StoreError(TwinError):
    """The history refuses."""


class StoreUnavailable(StoreError):
    """Not now: the same write may succeed later."""


class StoreRejected(StoreError):
    """Never: the same write will be refused again."""


class RecordingError(TwinError):
    """A recording cannot be made, or not used in this way; says what was and was not done."""


class RecordingInvalid(RecordingError):
    """A file that is no recording of this format, is damaged, or was not closed."""


class RecordingUnwritable(RecordingError):
    """A recording cannot be written: disk full, no rights, or a file of this name is there already."""


class TakeoverRefused(RecordingError):
    """The plant of a recording cannot be rebuilt as it was; ``reason`` is short and stable (``no-snapshot``)."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(f"{reason}: {text}")
        self.reason = reason


class StartError(TwinError):
    """A process cannot start; says what stands in the way and what to do."""


def explain(error: BaseException) -> str:
    """Say in one line why a process ends; what a failed start was caused by is added where it does not say it."""
    if isinstance(error, TwinError) and not isinstance(error, StartError):
        return str(error)
    text = str(error) if isinstance(error, TwinError) else f"{type(error).__name__}: {error}"
    cause = error.__cause__
    return f"{text} ({type(cause).__name__}: {cause})" if cause is not None and str(cause) not in text else text
