"""Messages that a trainee must never read: ``instructor.injects``, ``instructor.truth``, ``instructor.snapshots``."""

from typing import Literal

from pydantic import Field

from twin.events.control import Message, Text
from twin.events.head import RUN_PATTERN


class Inject(Message):
    """A malfunction, sent in the tick in which it is due."""

    id: str = Field(min_length=1, max_length=100)
    run: str = Field(pattern=RUN_PATTERN)
    kind: str = Field(max_length=60)
    target: str = Field(max_length=100)
    severity: float = Field(ge=0, le=1, default=1.0)
    ramp_s: float = Field(ge=0, default=0.0)
    delay_s: float = Field(ge=0, default=0.0)
    hold_s: float | None = Field(ge=0, default=None)
    params: dict[str, float | str | bool] = Field(default_factory=dict)


class Truth(Message):
    """What the plant did with an inject: hidden truth."""

    inject_id: str
    kind: str
    target: str
    severity: float
    applied: bool
    reason: Text
    applied_tick: int = Field(ge=0)
    origin: Literal["scenario", "instructor", "background"] = "instructor"


class SnapshotReference(Message):
    """Where a snapshot lies; the snapshot itself is a file, too large for a message.

    ``branch``: the epoch of the last jump before it, that is, of the last epoch that did not continue the one before.
    """

    tick: int = Field(ge=0)
    branch: int = Field(ge=0, default=0)
    path: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(ge=0)
    schema_id: str
