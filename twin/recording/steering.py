"""What is asked of a replay over the bus: ``run.requests`` to its player, and commands that no plant carries out."""

import logging
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from twin.bus.base import Bus, Record
from twin.errors import BusError, MessageInvalid, RecordingError, RunError
from twin.events.alarm import dead_letter
from twin.events.control import Command, CommandResult, RequestVerb, RunRequest
from twin.events.head import decode_model, encode_model
from twin.events.topics import BY_NAME, full_name
from twin.recording.item import NS_PER_MS
from twin.recording.player import Player
from twin.run import Heads, ReplayOwner
from twin.run.tenure import Answer

logger = logging.getLogger(__name__)


class Handlers(Protocol):
    """What whoever hosts a replay does when it is asked for."""

    def start(self, params: dict[str, Any]) -> None:
        """Make ready what is to run next.

        Raises
        ------
        RunError, RecordingError
            That is not possible.
        """
        ...

    def take_over(self, time_ns: int | None) -> None:
        """Rebuild the recorded plant as it was at an instant, or where the player stands; it runs next.

        Raises
        ------
        RunError, RecordingError
            That is not possible; the replay goes on.
        """
        ...


class Steering:
    """Reads what is asked, and carries it out.

    Parameters
    ----------
    bus, namespace
        Where it is asked.
    player, owner
        What is steered.
    heads
        Numbers the answers.
    handlers
        Do what a player alone cannot.

    Attributes
    ----------
    left
        Somebody else is to follow, as was asked for here last: nothing more is done.
    """

    def __init__(
        self, bus: Bus, namespace: str, player: Player, owner: ReplayOwner, heads: Heads, handlers: Handlers
    ) -> None:
        self._bus = bus
        self._namespace = namespace
        self._player = player
        self._owner = owner
        self._heads = heads
        self._handlers = handlers
        self._rest: list[Record] = []  # what has come and is not done
        self.left = False
        self._requests = full_name("run.requests", namespace)
        self._reader = bus.read([self._requests, full_name("commands", namespace)], start="end")

    def carry_out(self) -> Iterator[Answer]:
        """Do what was asked; yield (id, error or None) of each request."""
        while records := self._reader.poll(0.0):
            self._rest += records
            while self._rest and not self.left:
                record = self._rest[0]
                if record.topic == self._requests:
                    yield from self._request(record)
                else:
                    self._refuse(record)
                del self._rest[0]

    def read_rest(self) -> list[Record]:
        """Return what this run has been asked by now, and is not carried out here."""
        self.left = True
        self._rest += self._reader.read_rest()
        return [record for record in self._rest if record.topic == self._requests or self._command(record) is not None]

    def refuse(self, rest: list[Record]) -> list[Answer]:
        """Refuse what was not done; return the answers that are owed."""
        try:
            for record in rest:
                if record.topic != self._requests:
                    self._refuse(record)
        except BusError as exc:
            logger.warning("replay=left_unanswered reason=%s", exc)
        asked = [self._read(record) for record in rest if record.topic == self._requests]
        return [(one.id, "this replay is over: ask whatever runs next") for one in asked if one is not None]

    def close(self) -> None:
        """Stop reading."""
        self._reader.close()

    def _read(self, record: Record) -> RunRequest | None:
        try:
            return decode_model(record.value, BY_NAME["run.requests"].schema_id, RunRequest)[1]
        except MessageInvalid as exc:
            logger.warning("request=invalid offset=%d reason=%s", record.offset, exc)
            self._keep_aside(record, str(exc))
            return None

    def _keep_aside(self, record: Record, reason: str) -> None:
        letter = dead_letter("run.requests", record.partition, record.offset, record.value or b"", reason)
        try:
            self._publish("dead.letter", "player/run.requests", letter)
        except BusError as exc:
            logger.warning("letter=unsent topic=run.requests offset=%d reason=%s", record.offset, exc)

    def _request(self, record: Record) -> list[Answer]:
        request = self._read(record)
        if request is None:
            return []
        try:
            self._carry_out(request.verb, request.params)
        except (RecordingError, RunError) as exc:
            return [(request.id, str(exc))]
        self._player.moved_by = request.by
        return [(request.id, None)]

    def _carry_out(self, verb: RequestVerb, params: dict[str, Any]) -> None:
        if verb == "start":
            self._handlers.start(params)
            self._player.end()
            self.left = True
        elif verb == "takeover":
            self._handlers.take_over(_instant_ns(params, "ts") if "ts" in params else None)
            self.left = True
        elif verb in _VERBS:
            _VERBS[verb](self._player, params)
        else:
            known = ", ".join([*_VERBS, "start", "takeover"])
            raise RecordingError(f"{verb} is not possible in a replay: it knows {known}")

    def _command(self, record: Record) -> Command | None:
        """Return a command that was given now; those of the recording are of another run."""
        try:
            _, command = decode_model(record.value, BY_NAME["commands"].schema_id, Command)
        except MessageInvalid:
            return None  # the recording may hold such, and whoever reads the topic keeps them aside
        return command if command.run == self._owner.run else None

    def _refuse(self, record: Record) -> None:
        command = self._command(record)
        if command is None:
            return
        result = CommandResult(
            command_id=command.id,
            verb=command.verb,
            unit=command.unit,
            by=command.by,
            accepted=False,
            reason="this is a replay, no plant is here: take it over first (colossus takeover)",
            applied_tick=max(self._owner.tick, 0),
            params=command.params,
        )
        self._publish("command_results", command.unit, result)

    def _publish(self, topic: str, key: str, data: Any) -> None:
        owner = self._owner
        head = self._heads.next(topic, f"player/{key}", tick=owner.tick, ts=max(owner.last_ts, owner.line.ts0))
        head = head.model_copy(update={"key": key})
        self._bus.publish(full_name(topic, self._namespace), encode_model(head, data), key=key.encode())


def _step(player: Player, params: dict[str, Any]) -> None:
    if "messages" in params:
        player.step(messages=_whole(params, "messages"))
    else:
        player.step(seconds=_number(params, "seconds" if "seconds" in params else "ticks"))


def _loop(player: Player, params: dict[str, Any]) -> None:
    if params.get("on") is False:
        player.set_loop(None)
    else:
        player.set_loop((_instant_ns(params, "a"), _instant_ns(params, "b")))


def _instant_ns(params: dict[str, Any], name: str) -> int:
    return _whole(params, name) * NS_PER_MS


def _number(params: dict[str, Any], name: str) -> float:
    value = params.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e9:
        raise RecordingError(f"{name} must be a number, not {value!r}")
    return float(value)


def _whole(params: dict[str, Any], name: str) -> int:
    value = params.get(name)
    if type(value) is not int or not 0 <= value < 1 << 53:
        raise RecordingError(f"{name} must be a whole number, not {value!r}")
    return value


_VERBS: dict[RequestVerb, Callable[[Player, dict[str, Any]], None]] = {
    "pause": lambda player, _: player.pause(),
    "resume": lambda player, _: player.play(),
    "speed": lambda player, params: player.set_speed(_number(params, "speed")),
    "step": _step,
    "seek": lambda player, params: player.seek(_instant_ns(params, "ts")),
    "loop": _loop,
    "end": lambda player, _: player.end(),
}
