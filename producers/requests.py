"""Requests to the owner of a run (``run.requests``): pause, speed, jumps, loops, snapshots, the end.

To add a verb: its method in ``Requests``, and its row in ``_VERBS``.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from producers.publisher import Publisher
from twin.bus.base import Bus, Record
from twin.errors import MessageInvalid, RunError
from twin.events.control import RequestVerb, RunRequest
from twin.events.head import decode_model
from twin.events.topics import BY_NAME, full_name
from twin.run import Clock, RunOwner

logger = logging.getLogger(__name__)

STEP_MAX_TICKS = 3600


class Runner(Protocol):
    """What a request may ask of the loop."""

    owner: RunOwner

    def go_back(self, tick: int) -> None:
        """Rebuild the plant as after a tick, and open the epoch."""
        ...

    def save_snapshot(self) -> None:
        """Write a snapshot now."""
        ...

    def step(self, ticks: int, now_ms: int) -> None:
        """Let so many ticks come while the run stands."""
        ...

    def stand(self, *, frozen: bool) -> None:
        """Let the run stand still."""
        ...


@dataclass(slots=True)
class Repeat:
    """An A-B loop: from ``last`` back to ``first``, ``left`` times more."""

    first: int
    last: int
    left: int


class Requests:
    """Reads requests and carries them out.

    Parameters
    ----------
    bus, namespace
        Where it is asked.
    runner
        What is steered.
    publisher
        Keeps aside what cannot be read.
    on_start
        Makes ready what is to run next, or raises ``RunError``; ``None``: nothing runs after this.
    """

    def __init__(
        self,
        bus: Bus,
        namespace: str,
        runner: Runner,
        publisher: Publisher,
        on_start: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self._on_start = on_start
        self.topic = full_name("run.requests", namespace)
        self._reader = bus.read([self.topic], start="end")
        self._runner = runner
        self._publisher = publisher
        self._unanswered: list[Record] = []
        self._last_offset = -1
        self.repeat: Repeat | None = None

    def close(self) -> None:
        """Stop reading."""
        self._reader.close()

    def adopt(self, unanswered: Iterable[Record]) -> None:
        """Take over what somebody else in this process has read, and left to us."""
        self._hear(list(unanswered))

    def read_rest(self) -> None:
        """Take in all that has come by now."""
        self._hear(self._reader.read_rest())

    def refuse(self, reason: str) -> list[tuple[str, str | None]]:
        """Refuse what has come and was not carried out; return the answers that are owed."""
        left, self._unanswered = self._unanswered, []
        return [(request.id, reason) for record in left if (request := self._read(record)) is not None]

    def carry_out(self, clock: Clock) -> Iterator[tuple[str, str | None]]:
        """Do what was asked; yield (id, error or None) of each request."""
        while self._hear(self._reader.poll(0.0)):
            while self._unanswered:
                answer = self._one(self._unanswered[0], clock.now_ms())
                del self._unanswered[0]
                if answer is not None:
                    yield answer

    def _hear(self, came: list[Record]) -> bool:
        """Take in what has come, which may have been left to us, too; return whether anything waits."""
        for record in came:
            if record.offset > self._last_offset:
                self._last_offset = record.offset
                self._unanswered.append(record)
        return bool(self._unanswered)

    def _read(self, record: Record) -> RunRequest | None:
        try:
            return decode_model(record.value, BY_NAME["run.requests"].schema_id, RunRequest)[1]
        except MessageInvalid as exc:
            logger.warning("request=invalid offset=%d reason=%s", record.offset, exc)
            self._publisher.dead_letter("run.requests", record, str(exc))
            return None

    def _one(self, record: Record, now_ms: int) -> tuple[str, str | None] | None:
        request = self._read(record)
        if request is None:
            return None
        try:
            _VERBS[request.verb](self, request.params, now_ms)
        except RunError as exc:
            return request.id, str(exc)
        return request.id, None

    def turn_back(self) -> bool:
        """Jump to the start of the loop when its end is reached; return whether it did.

        Raises
        ------
        RunError
            The way back is lost; the loop is given up.
        """
        repeat = self.repeat
        if repeat is None or self._runner.owner.tick < repeat.last:
            return False
        if repeat.left <= 0:
            self.repeat = None
            return False
        repeat.left -= 1
        try:
            self._runner.go_back(repeat.first)
        except RunError:
            self.repeat = None
            raise
        return True

    def _pause(self, _: dict[str, Any], __: int) -> None:
        self._runner.stand(frozen=False)

    def _freeze(self, _: dict[str, Any], __: int) -> None:
        self._runner.stand(frozen=True)

    def _resume(self, _: dict[str, Any], now_ms: int) -> None:
        self._runner.owner.resume(now_ms)

    def _speed(self, params: dict[str, Any], now_ms: int) -> None:
        self._runner.owner.set_speed(_number(params, "speed"), now_ms)

    def _step(self, params: dict[str, Any], now_ms: int) -> None:
        ticks = _whole(params, "ticks")
        if not 1 <= ticks <= STEP_MAX_TICKS:
            raise RunError(f"ticks {ticks} is not allowed: 1..{STEP_MAX_TICKS}")
        self._runner.step(ticks, now_ms)

    def _seek(self, params: dict[str, Any], _: int) -> None:
        self._runner.go_back(_whole(params, "tick"))
        self.repeat = None  # whoever goes elsewhere has left the loop

    def _loop(self, params: dict[str, Any], now_ms: int) -> None:
        first, last, times = (_whole(params, name) for name in ("a", "b", "times"))
        if not (0 <= first < last and 1 <= times <= 1000):
            raise RunError(f"loop a={first} b={last} times={times} is not allowed: 0 <= a < b, times 1..1000")
        self.repeat = Repeat(first, last, times)

    def _snapshot(self, _: dict[str, Any], __: int) -> None:
        self._runner.save_snapshot()

    def _end(self, _: dict[str, Any], __: int) -> None:
        self._runner.owner.end()

    def _start(self, params: dict[str, Any], _: int) -> None:
        if self._on_start is None:
            raise RunError("a run is under way here: end it first")
        self._on_start(params)
        self._runner.owner.end()

    def _needs_recording(self, _: dict[str, Any], __: int) -> None:
        raise RunError("a takeover needs a replay: this run is live already")


_VERBS: dict[RequestVerb, Callable[[Requests, dict[str, Any], int], None]] = {
    "pause": Requests._pause,  # noqa: SLF001
    "freeze": Requests._freeze,  # noqa: SLF001
    "resume": Requests._resume,  # noqa: SLF001
    "speed": Requests._speed,  # noqa: SLF001
    "step": Requests._step,  # noqa: SLF001
    "seek": Requests._seek,  # noqa: SLF001
    "backtrack": Requests._seek,  # noqa: SLF001
    "loop": Requests._loop,  # noqa: SLF001
    "snapshot": Requests._snapshot,  # noqa: SLF001
    "end": Requests._end,  # noqa: SLF001
    "start": Requests._start,  # noqa: SLF001
    "takeover": Requests._needs_recording,  # noqa: SLF001
}


def _number(params: dict[str, Any], name: str) -> float:
    value = params.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RunError(f"{name} must be a number, not {value!r}")
    return float(value)


def _whole(params: dict[str, Any], name: str) -> int:
    value = params.get(name)
    if type(value) is not int:
        raise RunError(f"{name} must be a whole number, not {value!r}")
    return value
