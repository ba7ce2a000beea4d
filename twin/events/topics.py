"""The one table of topics: partitions, compaction, retention, schema. Both buses obey it.

To add a topic: its row here and its family or model; ``colossus schemas`` writes its JSON Schema.
"""

from dataclasses import dataclass

from pydantic import BaseModel

from twin.events.alarm import Alarm, AlarmCandidate, DeadLetter, DrillLog, ExternalAlarm, Mark
from twin.events.chillers import TELEMETRY_CHILLERS
from twin.events.columns import Family
from twin.events.control import Command, CommandResult, RunControl, RunRequest
from twin.events.derived import TWIN_RACK, TWIN_SITE, Health
from twin.events.gpu import TELEMETRY_GPU
from twin.events.grid import TELEMETRY_GRID
from twin.events.instructor import Inject, SnapshotReference, Truth
from twin.events.jobs import JobTable
from twin.events.network import TELEMETRY_NETWORK
from twin.events.turbines import TELEMETRY_TURBINES

GPU_PARTITIONS = 24
MAX_MESSAGE_BYTES = 1_048_576
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic.

    Attributes
    ----------
    data
        The family of its frames, or the model of its data.
    partitions
        How many.
    key
        What its key names.
    compacted
        Whether the last message of each key is kept for ever.
    retention_bytes, retention_s
        How much of the whole topic is kept, whichever is reached first; the memory bus holds it in RAM.
    stack_factor
        How many times ``retention_bytes`` a Kafka keeps, on disk: as long as the store may be away.
    instructor
        Whether a trainee must never read it.
    rate
        For readers of the table.
    """

    name: str
    data: Family | type[BaseModel]
    partitions: int
    key: str
    rate: str
    compacted: bool = False
    retention_bytes: int = 8 * _MIB
    retention_s: int = 1800
    instructor: bool = False
    stack_factor: int = 1

    @property
    def disk_bytes(self) -> int:
        """How much of the whole topic a Kafka keeps."""
        return self.retention_bytes * self.stack_factor

    @property
    def schema_id(self) -> str:
        """``name/major`` of its messages."""
        return self.data.schema_id if isinstance(self.data, Family) else f"{self.name}/1"


TOPICS: tuple[Topic, ...] = (
    Topic("telemetry.gpu", TELEMETRY_GPU, GPU_PARTITIONS, "array", "1 Hz", retention_bytes=192 * _MIB, stack_factor=32),
    Topic("telemetry.chillers", TELEMETRY_CHILLERS, 1, "cooling plant", "1 Hz", stack_factor=8),
    Topic("telemetry.turbines", TELEMETRY_TURBINES, 1, "power plant", "1 Hz", stack_factor=8),
    Topic("telemetry.grid", TELEMETRY_GRID, 1, "power plant", "1 Hz", stack_factor=8),
    Topic("telemetry.network", TELEMETRY_NETWORK, 1, "hall", "1 Hz", stack_factor=8),
    Topic("telemetry.jobs", JobTable, 1, "scheduler", "event"),
    Topic("commands", Command, 1, "unit", "event"),
    Topic("command_results", CommandResult, 1, "unit", "event"),
    Topic("run.requests", RunRequest, 1, "run", "event"),
    Topic("run.control", RunControl, 1, "run.control", "1 Hz", compacted=True),
    Topic("twin.marks", Mark, 1, "kind and asset", "event", compacted=True),
    Topic(
        "twin.rack",
        TWIN_RACK,
        GPU_PARTITIONS,
        "source partition (and array, late)",
        "1 Hz",
        retention_bytes=96 * _MIB,
        stack_factor=16,
    ),
    Topic("twin.site", TWIN_SITE, 1, "site", "1 Hz", stack_factor=8),
    Topic("twin.health", Health, 1, "process", "0.2 Hz"),
    Topic("alarm.candidates", AlarmCandidate, 1, "rule", "event"),
    Topic("alarms", Alarm, 1, "rule@asset", "event", compacted=True),
    Topic("alarms.external", ExternalAlarm, 1, "source", "event"),
    Topic("drill.log", DrillLog, 1, "drill", "event", instructor=True),
    Topic("instructor.injects", Inject, 1, "target", "event", instructor=True),
    Topic("instructor.truth", Truth, 1, "target", "event, 1 Hz", instructor=True),
    Topic("instructor.snapshots", SnapshotReference, 1, "run", "1/min", instructor=True),
    Topic("dead.letter", DeadLetter, 1, "process and source topic", "event"),
)
BY_NAME: dict[str, Topic] = {topic.name: topic for topic in TOPICS}


def array_partition(array_index: int) -> int:
    """Return the partition of ``telemetry.gpu`` that holds an array: explicit, not by hash.

    Examples
    --------
    >>> array_partition(0), array_partition(25)
    (0, 1)
    """
    return array_index % GPU_PARTITIONS


def full_name(topic: str, namespace: str) -> str:
    """Return a topic's (or group's) name within a namespace.

    Examples
    --------
    >>> full_name("telemetry.gpu", ""), full_name("telemetry.gpu", "ci")
    ('telemetry.gpu', 'ci.telemetry.gpu')
    """
    return f"{namespace}.{topic}" if namespace else topic
