"""What reaches the plant from outside: commands and injects, applied before the next step, answered, remembered."""

import logging
from collections.abc import Iterable, Iterator
from typing import TypeVar

from pydantic import BaseModel

from producers.publisher import Publisher
from twin.bus.base import Bus, Record
from twin.errors import BusError, CommandRejected, InjectRejected, MessageInvalid
from twin.events.control import Command, CommandResult
from twin.events.head import decode_model
from twin.events.instructor import Inject, Truth
from twin.events.topics import BY_NAME, full_name
from twin.plant import Plant, TimedCommand, TimedInject, apply, carry_out
from twin.run import RunOwner

logger = logging.getLogger(__name__)

M = TypeVar("M", bound=BaseModel)
REMEMBERED_IDS = 10_000
AUTOMATIC_OPERATOR = "automatic operator"
RECORDED = "recorded"  # who gave a command that was on its way when a recording was taken over


def timed_inject(order: Inject, tick: int) -> TimedInject:
    """Return an inject with the tick in which it is applied."""
    return TimedInject(
        tick,
        order.kind,
        order.target,
        severity=order.severity,
        ramp_s=order.ramp_s,
        delay_s=order.delay_s,
        hold_s=order.hold_s,
        params=dict(order.params),
    )


class Orders:
    """Takes commands and injects for the run of one owner.

    Parameters
    ----------
    bus, namespace
        Where they come from.
    owner
        The run; orders for another are refused.
    publisher
        Sends the answers.
    """

    def __init__(self, bus: Bus, namespace: str, owner: RunOwner, publisher: Publisher) -> None:
        self._commands = full_name("commands", namespace)
        self._injects = full_name("instructor.injects", namespace)
        self._reader = bus.read([self._commands, self._injects], start="end")
        self._owner = owner
        self._publisher = publisher
        self._waiting: list[Record] = []
        self._ids: dict[str, None] = {}
        self._to_come: tuple[TimedCommand | TimedInject, ...] = ()
        self.log: list[TimedCommand | TimedInject] = []

    def adopt(
        self,
        log: Iterable[TimedCommand | TimedInject],
        answered: Iterable[str],
        waiting: Iterable[Record],
        to_come: Iterable[TimedCommand | TimedInject],
    ) -> None:
        """Take over what another owner of the run has applied, has answered, has not, and what comes by itself."""
        self.log = list(log)
        self._to_come = tuple(to_come)
        self._ids = dict.fromkeys(answered)
        self._waiting = list(waiting)

    def gather(self) -> None:
        """Take in what has come; it waits for the next step here, not on the bus."""
        while records := self._reader.poll(0.0):
            self._waiting += records

    def refuse_commands(self, plant: Plant, ts: int, reason: str) -> None:
        """Answer the commands that have come and cannot be carried out; injects wait."""
        for record in [one for one in self._waiting if one.topic == self._commands]:
            if (command := self._read(record, Command)) is not None and not self._repeated(command.id):
                self.answer(command, plant.tick, ts, reason=self._wrong_run(command) or reason)
            self._waiting.remove(record)

    def read_rest(self) -> None:
        """Take in all that has come by now."""
        self._waiting += self._reader.read_rest()

    def refuse(self, plant: Plant, ts: int, reason: str) -> None:
        """Answer all that has come, as far as the bus takes it: nothing more is carried out."""
        for refuse in (self.refuse_commands, self._refuse_injects):
            try:
                refuse(plant, ts, reason)
            except BusError as exc:
                logger.warning("order=unanswered run=%s reason=%s", self._owner.run, exc)

    def _refuse_injects(self, plant: Plant, ts: int, reason: str) -> None:
        for record in [one for one in self._waiting if one.topic == self._injects]:
            if (order := self._read(record, Inject)) is not None and not self._repeated(order.id):
                self._tell_truth(order.id, order, plant, ts, self._wrong_run(order) or reason)

    def carry_out(self, plant: Plant, now_ms: int, ts: int) -> None:
        """Apply all that has been gathered to the plant, before its next step.

        Parameters
        ----------
        plant
            Changed in place.
        now_ms
            The wall clock [ms], for commands that expire.
        ts
            Display time of the answers [ms].
        """
        due = [(number, action) for number, action in enumerate(self._to_come) if action.tick == plant.tick]
        before = list(self.log) if due else []  # after a crash in the middle of this tick it may have come already
        for number, action in due:
            if action not in before:
                self._let_come(action, f"recorded-{action.tick}-{number}", plant, ts)
        while self._waiting:
            record = self._waiting[0]
            if record.topic == self._commands:
                self._command(record, plant, now_ms, ts)
            else:
                self._inject(record, plant, ts)
            del self._waiting[0]

    def forget_after(self, plant_tick: int) -> None:
        """Forget what was applied from a tick on: a jump back begins another branch."""
        self.log = [action for action in self.log if action.tick < plant_tick]

    def operator_acted(self, plant: Plant, ts: int) -> None:
        """Tell what the automatic operator did at the end of the last step."""
        for number, done in enumerate(plant.operator_commands):
            command = Command(
                id=f"{self._owner.epoch}-{plant.tick}-{number}",
                run=self._owner.run,
                verb=done.verb,
                unit=done.unit,
                params=dict(done.params),
                by=AUTOMATIC_OPERATOR,
                expires_ms=0,
            )
            self.answer(command, plant.tick, ts, reason="")

    def close(self) -> None:
        """Stop reading."""
        self._reader.close()

    def _command(self, record: Record, plant: Plant, now_ms: int, ts: int) -> None:
        command = self._read(record, Command)
        if command is None or self._repeated(command.id):
            return
        reason = ""
        try:
            self._check(command, now_ms)
            apply(plant, command.verb, command.unit, dict(command.params))
            self.log.append(TimedCommand(plant.tick, command.verb, command.unit, dict(command.params)))
        except CommandRejected as exc:
            reason = str(exc)
        self.answer(command, plant.tick, ts, reason=reason)

    def _check(self, command: Command, now_ms: int) -> None:
        if reason := self._wrong_run(command):
            raise CommandRejected(reason)
        if command.by == AUTOMATIC_OPERATOR:
            raise CommandRejected(f"it says that it is by the {AUTOMATIC_OPERATOR}, who sends none")
        if command.expires_ms <= now_ms:
            raise CommandRejected("it has expired")

    def _wrong_run(self, order: Command | Inject) -> str:
        """Return what is wrong with the run of an order, or nothing."""
        own = self._owner.run
        return "" if order.run == own else f"it is for run {order.run}, this is {own}"

    def answer(self, command: Command, tick: int, ts: int, *, reason: str) -> None:
        """Say what became of a command; no reason means accepted."""
        result = CommandResult(
            command_id=command.id,
            verb=command.verb,
            unit=command.unit,
            by=command.by,
            accepted=not reason,
            reason=reason or "accepted",
            applied_tick=tick,
            params=command.params,
        )
        self._publisher.message("command_results", command.unit, result, tick=tick, ts=ts)

    def _let_come(self, action: TimedCommand | TimedInject, name: str, plant: Plant, ts: int) -> None:
        """Do what was recorded for this tick; the trainee may have made it impossible."""
        reason = ""
        try:
            carry_out(plant, action)
            self.log.append(action)
        except (CommandRejected, InjectRejected) as exc:
            reason = str(exc)
        if isinstance(action, TimedInject):
            self._ids[name] = None  # it comes back to us
            self._publisher.message(
                "instructor.injects", action.target, self._inject_of(name, action), tick=plant.tick, ts=ts
            )
            self._tell_truth(name, action, plant, ts, reason)
            return
        command = Command(
            id=name, run=self._owner.run, verb=action.verb, unit=action.unit, params=dict(action.params), by=RECORDED,
            expires_ms=0,
        )  # fmt: skip
        self.answer(command, plant.tick, ts, reason=reason)

    def _inject_of(self, name: str, action: TimedInject) -> Inject:
        return Inject(
            id=name, run=self._owner.run, kind=action.kind, target=action.target, severity=action.severity,
            ramp_s=action.ramp_s, delay_s=action.delay_s, hold_s=action.hold_s, params=dict(action.params),
        )  # fmt: skip

    def _inject(self, record: Record, plant: Plant, ts: int) -> None:
        order = self._read(record, Inject)
        if order is None or self._repeated(order.id):
            return
        reason = self._wrong_run(order)
        if not reason:
            timed = timed_inject(order, plant.tick)
            try:
                carry_out(plant, timed)
                self.log.append(timed)
            except InjectRejected as exc:
                reason = str(exc)
        self._tell_truth(order.id, order, plant, ts, reason)

    def _tell_truth(self, name: str, what: Inject | TimedInject, plant: Plant, ts: int, reason: str) -> None:
        truth = Truth(
            inject_id=name,
            kind=what.kind,
            target=what.target,
            severity=what.severity,
            applied=not reason,
            reason=reason or "applied",
            applied_tick=plant.tick,
        )
        self._publisher.message("instructor.truth", what.target, truth, tick=plant.tick, ts=ts)

    def _read(self, record: Record, model: type[M]) -> M | None:
        try:
            name = "commands" if record.topic == self._commands else "instructor.injects"
            return decode_model(record.value, BY_NAME[name].schema_id, model)[1]
        except MessageInvalid as exc:
            logger.warning("order=invalid topic=%s offset=%d reason=%s", record.topic, record.offset, exc)
            if record.topic == self._commands:  # a letter about an inject would tell trainees of it
                self._publisher.dead_letter("commands", record, str(exc))
            return None

    def _repeated(self, order_id: str) -> bool:
        if order_id in self._ids:
            return True
        self._ids[order_id] = None
        for old in self._surplus():
            del self._ids[old]
        return False

    def _surplus(self) -> Iterator[str]:
        yield from list(self._ids)[: max(0, len(self._ids) - REMEMBERED_IDS)]
