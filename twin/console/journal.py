"""The journal: what happened, in sentences; commands with results, changes of the run, and injects for instructors."""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from twin.events.control import CommandResult, RunControl
from twin.events.instructor import Inject, Truth

KEPT_N = 200
EventKind = Literal["run", "command", "inject"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the journal.

    Attributes
    ----------
    clock
        The site's own time when it was noted.
    hidden
        Only instructors may see it.
    """

    kind: EventKind
    text: str
    ts: int
    clock: str
    unit: str = ""
    by: str = ""
    result: str = ""
    hidden: bool = False


class Journal:
    """The last entries; who listens is told of each new one, from whatever thread it comes."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=KEPT_N)
        self._lock = threading.Lock()
        self._clock = ""
        self.on_entry: Callable[[Entry], None] | None = None

    def entries(self, *, hidden: bool) -> list[Entry]:
        """Return what is kept, oldest first; with what is hidden, or without."""
        with self._lock:
            return [entry for entry in self._entries if hidden or not entry.hidden]

    def note_run(self, before: RunControl | None, now: RunControl) -> None:
        """Note what changed from one ``run.control`` to the next, if anything, and what time it is in the site."""
        self._clock = now.site_time
        if before is not None and before.run != now.run:
            with self._lock:
                self._entries.clear()
        for text in _run_changes(before, now):
            self._add("run", text, now.sent_ms)
        if before is None or before.run != now.run or now.error is None:
            return
        if (now.answers, now.error) != (before.answers, before.error):
            # Hidden: it may name what a trainee must not know.
            self._add("run", f"refused: {now.error}", now.sent_ms, hidden=True)

    def note_result(self, result: CommandResult, ts: int) -> None:
        """Note what became of a command."""
        word = "accepted" if result.accepted else f"rejected: {result.reason}"
        text = f"{result.verb} {result.unit} {word}"
        answer = "accepted" if result.accepted else "rejected"
        self._add("command", text, ts, unit=result.unit, by=result.by, result=answer)

    def note_inject(self, inject: Inject, by: str, ts: int) -> None:
        """Note an inject that was sent: hidden from all but instructors."""
        text = f"inject {inject.kind} {inject.target} sent"
        self._add("inject", text, ts, unit=inject.target, by=by, hidden=True)

    def note_truth(self, truth: Truth, ts: int) -> None:
        """Note what became of an inject: as hidden as the inject."""
        word = "applied" if truth.applied else f"rejected: {truth.reason}"
        text = f"inject {truth.kind} {truth.target} {word}"
        answer = "accepted" if truth.applied else "rejected"
        self._add("inject", text, ts, unit=truth.target, by=truth.origin, result=answer, hidden=True)

    def _add(
        self,
        kind: EventKind,
        text: str,
        ts: int,
        *,
        unit: str = "",
        by: str = "",
        result: str = "",
        hidden: bool = False,
    ) -> None:
        with self._lock:
            entry = Entry(kind, text, ts, self._clock, unit, by, result, hidden)
            self._entries.append(entry)
            # Told under the lock: the order of the listeners is that of the journal.
            if self.on_entry is not None:
                self.on_entry(entry)


def _run_changes(before: RunControl | None, now: RunControl) -> list[str]:
    if before is None or before.run != now.run:
        return [f"run {now.run} of {now.site}: {now.state}"]
    texts = []
    if now.epoch != before.epoch and not now.continues:
        texts.append(f"jumped to tick {now.line.tick0}, epoch {now.epoch}")
    if now.state != before.state:
        texts.append("runs on" if now.state == "running" else now.state)
    if now.speed != before.speed:
        texts.append("speed as fast as possible" if now.speed == 0 else f"speed x{now.speed:g}")
    return texts
