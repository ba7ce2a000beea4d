"""What every app of the observer is given: where it is, what exists, and what time it is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from twin.bus.base import Bus, Record
from twin.events.derived import SinkHealth
from twin.events.layout import FrameLayout
from twin.events.topics import full_name
from twin.run import Clock, RunView
from twin.state.counts import Intake
from twin.store import Store


@dataclass(slots=True)
class Context:
    """Surroundings of one app.

    Attributes
    ----------
    worker
        Name of this worker; two workers of one app differ.
    faust
        How Faust reaches the bus: ``broker`` (``memory://demo``, ``kafka://…``), and its credentials if need be.
    store
        Only the app ``history`` has one.
    history_within_s
        How long ``history`` gathers messages before it writes [s].
    """

    worker: str
    namespace: str
    faust: Mapping[str, Any]
    bus: Bus
    layout: FrameLayout
    clock: Clock
    store: Store | None = None
    history_within_s: float = 1.0
    health_every_s: float = 5.0
    view: RunView = field(default_factory=RunView)
    control_changed: list[Callable[[], None]] = field(default_factory=list)

    def topic(self, name: str) -> str:
        """Return the full name of a topic."""
        return full_name(name, self.namespace)

    def short(self, topic: str) -> str:
        """Return the name of a topic without the namespace."""
        return topic.removeprefix(f"{self.namespace}.") if self.namespace else topic


@dataclass(frozen=True, slots=True)
class Attached:
    """What an app's agents leave for those who run and watch it.

    Attributes
    ----------
    intake
        Counts by topic.
    age_max_s
        Age of the oldest data, in the run's time [s].
    sink
        How the writes of the last seconds went, if it writes.
    follows
        Full names of control topics, and what to do with each record.
    """

    intake: Mapping[str, Intake]
    age_max_s: Callable[[], float] = lambda: 0.0
    sink: Callable[[float], SinkHealth] | None = None
    follows: Mapping[str, Callable[[Record], None]] = field(default_factory=dict)
