"""What people order: commands, requests to the owner of the run, injects, marks; checked, then put on the bus once."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from twin.bus.base import Bus
from twin.console.context import Param, Verb
from twin.console.live import Live
from twin.console.problems import problem
from twin.console.seats import Seat
from twin.events.alarm import Mark
from twin.events.control import Command, Message, RequestVerb, RunControl, RunRequest, RunState
from twin.events.head import Head, encode_model
from twin.events.instructor import Inject
from twin.events.topics import BY_NAME, full_name
from twin.run import ts_at
from twin.site import Site

COMMAND_GOOD_FOR_MS = 30_000
ORDERS_KEPT_N = 1000
WATCHED_MAX_N = 32
_STANDING: tuple[RunState, ...] = ("paused", "frozen")
_ALIVE: tuple[RunState, ...] = ("running", "paused", "frozen")
# In which state of the run a request makes sense; the owner of the run has the last word.
RUN_VERBS: Mapping[RequestVerb, tuple[RunState, ...]] = {
    "pause": _ALIVE,  # of one that stands it ends single steps; the owner knows whether there are any
    "freeze": _ALIVE,
    "resume": _STANDING,
    "step": _STANDING,
    "speed": _ALIVE,
    "seek": _ALIVE,
    "loop": _ALIVE,
    "backtrack": _ALIVE,
    "snapshot": _ALIVE,
    "end": _ALIVE,
    "start": _ALIVE,
    "takeover": _ALIVE,
}

ParamValue = float | str | bool


@dataclass(frozen=True, slots=True)
class Order:
    """A command as it was asked for."""

    id: str
    unit: str
    verb: str
    params: Mapping[str, ParamValue]
    by: str


class Orders:
    """Checks and sends; safe for threads.

    Parameters
    ----------
    bus, namespace
        Where to.
    live
        Knows the run.
    site
        Knows the assets.
    catalogue
        The commands.
    now_ms
        The wall clock [ms].
    """

    def __init__(
        self,
        *,
        bus: Bus,
        namespace: str,
        live: Live,
        site: Site,
        catalogue: tuple[Verb, ...],
        now_ms: Callable[[], int],
    ) -> None:
        self._bus = bus
        self._namespace = namespace
        self._live = live
        self._site = site
        self._catalogue = catalogue
        self._now_ms = now_ms
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._seqs: dict[tuple[str, str], int] = {}
        self._orders: OrderedDict[str, Order] = OrderedDict()
        self._injects: OrderedDict[str, Inject] = OrderedDict()

    def run(self) -> RunControl:
        """Return the run; without one nothing can be ordered."""
        control = self._live.control
        if control is None:
            raise problem("starting", "no run is known yet", "wait for the first run.control", retry_after_s=1)
        return control

    def request(self, verb: RequestVerb, params: dict[str, Any], seat: Seat) -> str:
        """Send a request to the owner of the run; return its id, which ``run.control`` will answer."""
        control = self.run()
        if control.state not in RUN_VERBS[verb]:
            allowed = ", ".join(name for name, states in RUN_VERBS.items() if control.state in states)
            raise problem(
                "not-in-this-state", f"{verb}: the run is {control.state}", f"allowed now: {allowed or 'nothing'}"
            )
        request = RunRequest(id=str(uuid4()), verb=verb, by=seat.name, params=params)
        self._publish("run.requests", control.run, request, control)
        return request.id

    def command(self, order: Order) -> None:
        """Send a command, once for each id."""
        with self._lock:
            known = self._orders.get(order.id)
            if known is not None:
                if (known.unit, known.verb, known.params) != (order.unit, order.verb, order.params):
                    raise problem("invalid", f"id {order.id} was another command", "draw a new id")
                return
            control = self.run()
            self._check(order)
            if control.state in _STANDING:
                # What was ordered now would be carried out, or have expired, at a time that nobody chose.
                detail = f"the run is {control.state}: no command is taken"
                raise problem(control.state, detail, "wait until it runs on (an instructor: colossus run resume)")
            if control.state == "ended":
                raise problem("not-in-this-state", "the run has ended", "start another run")
            command = Command(
                id=order.id,
                run=control.run,
                verb=order.verb,
                unit=order.unit,
                params=dict(order.params),
                by=order.by,
                expires_ms=self._now_ms() + COMMAND_GOOD_FOR_MS,
            )
            self._publish("commands", order.unit, command, control)
            self._orders[order.id] = order
            if len(self._orders) > ORDERS_KEPT_N:
                self._orders.popitem(last=False)

    def refusal(self, seat: Seat) -> str | None:
        """Say why this seat can give no command now, ``None`` if it can."""
        control = self._live.control
        if not seat.may("command"):
            return f"not as {seat.role}"
        if control is None:
            return "no run"
        return None if control.state == "running" else f"the run is {control.state}"

    def answer(self, command_id: str) -> dict[str, Any]:
        """Say what became of a command: pending, accepted, or rejected with the reason."""
        result = self._live.result(command_id)
        if result is not None:
            return {
                "id": command_id,
                "unit": result.unit,
                "verb": result.verb,
                "by": result.by,
                "state": "accepted" if result.accepted else "rejected",
                "reason": result.reason,
                "applied_tick": result.applied_tick,
            }
        order = self._orders.get(command_id)
        if order is None:
            raise problem("unknown-command", f"no command {command_id} was sent here")
        return {"id": command_id, "unit": order.unit, "verb": order.verb, "by": order.by, "state": "pending"}

    def inject(self, fields: Mapping[str, Any], seat: Seat) -> str:
        """Send a malfunction; return its id. The plant's answer is hidden truth.

        A run that stands takes it too: it is carried out as the first thing when the run goes on.
        """
        control = self.run()
        inject = Inject(id=str(uuid4()), run=control.run, **fields)
        if inject.target != "site":
            self.kind_of(inject.target)
        self._publish("instructor.injects", inject.target, inject, control)
        with self._lock:
            self._injects[inject.id] = inject
            if len(self._injects) > ORDERS_KEPT_N:
                self._injects.popitem(last=False)
        self._live.journal.note_inject(inject, seat.name, self._now_ms())
        return inject.id

    def inject_answer(self, inject_id: str) -> dict[str, Any]:
        """Say what became of an inject: pending, applied, or rejected with the reason. For who may inject alone."""
        truth = self._live.truth(inject_id)
        sent = self._injects.get(inject_id) if truth is None else truth
        if sent is None:
            raise problem("unknown-inject", f"no inject {inject_id} was sent here")
        answer = {"id": inject_id, "kind": sent.kind, "target": sent.target}
        if truth is None:
            return answer | {"state": "pending"}
        state = "applied" if truth.applied else "rejected"
        return answer | {"state": state, "reason": truth.reason, "applied_tick": truth.applied_tick}

    def watch(self, rack: str, seat: Seat) -> int:
        """Put a rack under watch; return since when [ms]."""
        control = self.run()
        self._site.layout.rack_index(rack)
        watched = self._live.watched()
        if rack not in watched and len(watched) >= WATCHED_MAX_N:
            raise problem(
                "too-many-watched", f"{WATCHED_MAX_N} racks are under watch", "end one: DELETE /api/watch/{rack}"
            )
        self._publish(
            "twin.marks", _watch_key(rack), Mark(kind="watch", asset=rack, run=control.run, by=seat.name), control
        )
        return ts_at(control.line, control.settled_tick)

    def unwatch(self, rack: str) -> None:
        """End the watch over a rack."""
        self._site.layout.rack_index(rack)
        key = _watch_key(rack)
        self._bus.publish(full_name("twin.marks", self._namespace), None, key=key.encode())

    def kind_of(self, asset: str) -> str:
        """Name the kind of an asset, jobs included.

        Raises
        ------
        SiteInvalid
            No such asset.
        """
        return "job" if asset.startswith("job-") else self._site.graph.kind(asset)

    def verbs(self, kind: str) -> tuple[Verb, ...]:
        """List the commands of a kind of asset."""
        return tuple(verb for verb in self._catalogue if verb.unit_kind == kind)

    def _check(self, order: Order) -> None:
        kind = self.kind_of(order.unit)
        verbs = self.verbs(kind)
        verb = next((verb for verb in verbs if verb.verb == order.verb), None)
        if verb is None:
            names = ", ".join(verb.verb for verb in verbs) or "no command"
            raise problem("invalid", f"{order.unit} is a {kind}: it knows no {order.verb}", f"it knows {names}")
        params = {param.name: param for param in verb.params}
        for name, value in order.params.items():
            if name not in params:
                allowed = ", ".join(params) or "none"
                raise problem("invalid", f"params.{name}: {order.verb} has no such parameter", f"allowed: {allowed}")
            _check_param(params[name], value)

    def _publish(self, topic: str, key: str, data: Message, control: RunControl) -> None:
        with self._sending:  # the numbers of a key are in the order in which its messages stand on the bus
            head = Head(
                schema_id=BY_NAME[topic].schema_id,
                run=control.run,
                epoch=control.epoch,
                tick=max(control.settled_tick, 0),
                seq=self._next_seq(topic, key),
                ts=max(ts_at(control.line, control.settled_tick), 0),
                dt_s=control.dt_s,
                key=key,
            )
            self._bus.publish(full_name(topic, self._namespace), encode_model(head, data), key=key.encode())

    def _next_seq(self, topic: str, key: str) -> int:
        # Counted from the wall clock, so that a console that was restarted within an epoch repeats none.
        seq = self._seqs.get((topic, key), self._now_ms()) + 1
        self._seqs[topic, key] = seq
        return seq


def _watch_key(rack: str) -> str:
    return f"watch@{rack}"


def _check_param(param: Param, value: ParamValue) -> None:
    if param.choices:
        if value not in param.choices:
            allowed = ", ".join(param.choices)
            raise problem("invalid", f"params.{param.name}: {value!r} is not allowed", f"allowed: {allowed}")
        return
    if param.min is None and param.max is None:
        return
    low = float("-inf") if param.min is None else param.min
    high = float("inf") if param.max is None else param.max
    if isinstance(value, str | bool) or not low <= value <= high:
        raise problem(
            "invalid", f"params.{param.name}: {value!r} is not allowed", f"{low:g} to {high:g} {param.unit}".strip()
        )
