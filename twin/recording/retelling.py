"""How the messages of a recorded run become those of a replay: the same ticks and data, another run, epoch and time."""

import re
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from twin.events.control import Line, RunControl
from twin.events.head import RUN_PATTERN, retold, told
from twin.events.topics import BY_NAME
from twin.recording.choice import RACK
from twin.recording.item import Item
from twin.run import ReplayOwner, ts_at

Lineage = tuple[str, int]  # run and epoch, as recorded
KEPT_LINEAGES = 8
KEPT_EPOCHS = 16  # of one recorded epoch: it is shown in another one after each pause
_RUN = re.compile(RUN_PATTERN)
_FRAMES = frozenset(topic for topic in BY_NAME if topic.startswith("telemetry.") or topic == RACK)


class Told(NamedTuple):
    """A message and, if it is one of ours, its head as it was recorded.

    Attributes
    ----------
    lineage
        ``None`` for a foreign message, and for one of ours that has no head.
    frame
        Whether it tells of a tick, as telemetry does: such messages move the clock of the run.
    """

    item: Item
    lineage: Lineage | None = None
    tick: int = -1
    frame: bool = False
    head: dict[str, Any] = {}  # noqa: RUF012  (of messages without one: never written)
    data_at: int = 0


@lru_cache(maxsize=KEPT_LINEAGES)
def _is_run(run: str) -> bool:
    return _RUN.fullmatch(run) is not None


def told_of(item: Item) -> Told:
    """Look at the head of a message."""
    found = told(item.value) if item.topic in BY_NAME else None
    if found is None:
        return Told(item)
    head, data_at = found
    run, epoch, tick = head.get("run"), head.get("epoch"), head.get("tick")
    if not (isinstance(run, str) and _is_run(run)):
        return Told(item)
    if not (type(epoch) is int and 0 <= epoch < 1 << 31 and type(tick) is int and 0 <= tick < 1 << 53):
        return Told(item)
    if type(head.get("ts")) is not int:
        return Told(item)
    return Told(item, (run, epoch), tick, item.topic in _FRAMES, head, data_at)


@dataclass(frozen=True, slots=True)
class _Shown:
    epoch: int
    line: Line


class Retelling:
    """Knows which epoch of the replay shows which epoch of the recording.

    Parameters
    ----------
    owner
        Of the replay.
    keeps_ts
        Leave display time as it was recorded.
    """

    def __init__(self, owner: ReplayOwner, *, keeps_ts: bool) -> None:
        self._owner = owner
        self._keeps_ts = keeps_ts
        self._shown: OrderedDict[Lineage, list[_Shown]] = OrderedDict()
        self.current: Lineage | None = None
        self.control: RunControl | None = None  # what was recorded of the current one

    def show(self, lineage: Lineage, control: RunControl | None) -> None:
        """Let the epoch that the owner has just opened show a recorded one."""
        self.current, self.control = lineage, control
        shown = self._shown.setdefault(lineage, [])
        shown.append(_Shown(self._owner.epoch, self._owner.line))
        del shown[:-KEPT_EPOCHS]
        self._shown.move_to_end(lineage)
        while len(self._shown) > KEPT_LINEAGES:
            self._shown.popitem(last=False)

    def forget(self) -> None:
        """Begin anew after a jump: what was shown before is not what will be shown then."""
        self._shown.clear()
        self.current = self.control = None

    def is_new(self, one: Told) -> bool:
        """Tell whether a message begins another recorded epoch: a frame of one that is not known, and newer.

        Ids of runs sort by their start. Frames of an older run still come when its readers were behind.
        """
        if not one.frame or one.lineage is None or one.lineage in self._shown:
            return False
        return self.current is None or one.lineage > self.current

    def retell(self, one: Told) -> tuple[bytes, int] | None:
        """Return a message of ours as the replay sends it, and its display time [ms].

        ``None``: it is a frame of an epoch from before the place where the replay began.
        """
        assert one.lineage is not None  # noqa: S101  (asked only for those that have one)
        assert one.item.value is not None  # noqa: S101
        epochs = self._shown.get(one.lineage)
        if one.frame:
            # One that comes late is of the epoch in which its tick was.
            shown = next((one_of for one_of in reversed(epochs or ()) if one_of.line.tick0 <= one.tick), None)
        else:
            known = epochs or (None if self.current is None else self._shown.get(self.current))
            shown = known[-1] if known else None
        if shown is None:
            return None
        ts = max(ts_at(shown.line, one.tick), shown.line.ts0)
        if not one.frame:
            ts = min(ts, max(self._owner.last_ts, shown.line.ts0))
        if self._keeps_ts:
            ts = one.head["ts"]
        head = one.head | {"run": self._owner.run, "epoch": shown.epoch, "ts": ts}
        return retold(one.item.value, one.data_at, head), ts
