"""The loop of the plant side: requests -> commands and injects -> step -> telemetry -> ``run.control``."""

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from producers.family import Producer
from producers.orders import Orders
from producers.publisher import Publisher
from producers.requests import Requests
from producers.resume import Left
from producers.snapshots import Snapshots
from twin.bus.base import Bus, Record
from twin.errors import BusError, LeaseLost, RunActive, RunError
from twin.events.instructor import SnapshotReference
from twin.plant import Plant, TimedCommand, TimedInject, build, step
from twin.run import Clock, Heads, RunOwner, RunPlan, Tenure
from twin.run.tenure import CONTROL_EVERY_MS, Answer
from twin.site import Site

logger = logging.getLogger(__name__)

HELD_BACK_MS = 5
SNAPSHOT_EVERY_S = 60.0
CLOSE_FLUSH_S = 5.0
TOLD_EVERY_MS = 600_000  # of a run that stands, before the topic forgets
REACHED_OVER_N = 5
OVER = "the run is over"


class Loop:
    """Runs one plant as one run; :meth:`turn` does all that is due and never waits.

    Parameters
    ----------
    bus, namespace
        Where it publishes and listens.
    site, plan
        What runs.
    owner
        Name of this process.
    producers
        Families of telemetry to publish.
    clock
        The wall clock.
    snapshot_dir
        Where the snapshots of all runs lie.
    may_go_on
        In lock step, or faster than the consumers: asked before each tick.
    on_start
        Makes ready what is asked to run next; ``None``: nothing runs after this.
    """

    def __init__(
        self,
        bus: Bus,
        namespace: str,
        site: Site,
        plan: RunPlan,
        *,
        owner: str,
        producers: Iterable[Producer],
        clock: Clock,
        snapshot_dir: Path,
        may_go_on: Callable[[RunOwner], bool],
        on_start: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self._bus = bus
        self._site = site
        self._producers = tuple(producers)
        self._clock = clock
        self._snapshot_dir = snapshot_dir
        self._may_go_on = may_go_on
        self.owner = RunOwner(plan, owner)
        self.plant: Plant = build(
            site, seed=plan.seed, weather_at=plan.weather_at, automatic_operator=plan.automatic_operator
        )
        heads = Heads(self.owner)
        self._tenure = Tenure(bus, namespace, self.owner, heads)
        self._publisher = Publisher(bus, namespace, self.owner, heads)
        self._orders = Orders(bus, namespace, self.owner, self._publisher)
        self._requests = Requests(bus, namespace, self, self._publisher, on_start)
        self._snapshots = Snapshots(snapshot_dir, site)
        self._answers: list[Answer] = []
        self._steps = (-1, 0)  # epoch of single steps, and how many are left of them
        self._paced_from = (-1, 0, 0)  # epoch, wall clock [ms] and tick at its start
        self._reached_from = (-1, 0, 0)  # epoch, wall clock [ms] and tick at which the measuring began
        self._branch = 0  # epoch of the last jump
        self._next_told_ms = 0  # when a run that stands tells of its snapshot again
        self.frames = 0

    def start(self, run: str) -> None:
        """Take the lease and begin a run.

        Raises
        ------
        RunActive
            Another run holds the namespace.
        """
        now_ms = self._clock.now_ms()
        seen = self._tenure.read_up(now_ms)
        self._snapshots = Snapshots(self._snapshot_dir / run, self._site)
        self.owner.begin(run, seen=seen, now_ms=now_ms)
        try:
            reference = self._snapshots.save(self.plant, self._branch)
        except RunError:
            self.owner.end()  # before anybody has heard of it
            self.close()
            raise
        self._open(reference, now_ms)

    def resume(self, left: Left, unanswered: Sequence[Record] = ()) -> None:
        """Take the lease of a crashed owner, and go on with its run from where it came to.

        Parameters
        ----------
        unanswered
            Requests and commands that whoever had the run in this process has read and left.

        Raises
        ------
        RunActive
            It lives, or another has taken the run over.
        RunError
            No snapshot can be written: the run stays as it was left.
        """
        now_ms = self._clock.now_ms()
        seen = self._tenure.read_up(now_ms) or left.control
        if (seen.run, seen.epoch) != (left.control.run, left.control.epoch):
            raise RunActive(f"run {left.control.run} has gone on as {seen.run}, epoch {seen.epoch}, of {seen.owner}")
        held_n = sum(action.tick == left.plant.tick for action in left.log)
        reference = left.reference or left.snapshots.save(left.plant, left.branch, held_n=held_n)
        seen = seen.model_copy(update={"epoch": left.epoch, "state": left.control.state})
        self.owner.resume_crashed(seen, tick=left.plant.tick - 1, now_ms=now_ms)
        self.plant = left.plant
        self._branch = left.branch
        self._snapshots = left.snapshots
        orders = [record for record in unanswered if record.topic != self._requests.topic]
        self._requests.adopt(record for record in unanswered if record.topic == self._requests.topic)
        self._orders.adopt(left.log, left.answered, [*left.waiting, *orders], left.to_come)
        self._open(reference, now_ms)

    def _open(self, reference: SnapshotReference, now_ms: int) -> None:
        """Say that the run is ours, and where the first way back to it lies."""
        self._snapshots.sweep(now_ms)
        try:
            self._say(now_ms)  # whoever began at the same moment has written too
        except LeaseLost as exc:
            raise RunActive(str(exc)) from exc
        self._tell_of(reference)

    def turn(self) -> float:
        """Do all that is due; return how long nothing will be [s].

        Raises
        ------
        LeaseLost
            Another owner has the run: stop at once.
        """
        now_ms = self._clock.now_ms()
        self._tenure.check(now_ms)
        for answer in self._requests.carry_out(self._clock):
            self._answers.append(answer)  # one by one: in the middle some may be said, or a request fail
        now_ms = self._clock.now_ms()  # a way back takes its time
        self._orders.gather()
        moves = self.owner.state == "running" or self._steps_left > 0
        if not moves and self.owner.state != "ended":
            reason = f"the run is {self.owner.state}: resume it first"
            self._orders.refuse_commands(self.plant, self._last_ts, reason)
        ticked = moves and self._turn_tick(now_ms)
        if self.owner.catch_up(now_ms):
            self._say(now_ms)
        if ticked:
            self._turn_back()
            now_ms = self._clock.now_ms()
        if self.owner.state in ("paused", "frozen") and now_ms >= self._next_told_ms:
            self._keep_snapshot()
        if self._answers or now_ms >= self._tenure.due_ms or (ticked and self.owner.plan.lock_step):
            self._measure(now_ms)
            self._say(now_ms)
        if ticked:
            return 0.0
        until_ms = self._tenure.due_ms
        if moves:
            # A tick that is due and may not be done waits for others: to spin here would take the time from them.
            until_ms = min(until_ms, max(self._next_tick_ms(now_ms), now_ms + HELD_BACK_MS))
        return max(0.0, (until_ms - now_ms) / 1000)

    @property
    def done(self) -> bool:
        """Whether the run has ended."""
        return self.owner.state == "ended"

    @property
    def applied(self) -> tuple[TimedCommand | TimedInject, ...]:
        """What the plant took of commands and injects on this branch, with its tick."""
        return tuple(self._orders.log)

    def close(self) -> None:
        """End the run, free the lease, stop listening; a lease that was lost is another's, and not ours to free."""
        spoke = self._tenure.said is not None
        with ExitStack() as parts:
            for part in (self._tenure, self._requests, self._orders):
                parts.callback(part.close)
            try:
                if spoke:
                    self._orders.read_rest()  # takes its time, in which the run can be lost
                    self._requests.read_rest()
                if self._tenure.is_ours(self._clock.now_ms()):
                    self._end()
            except (BusError, LeaseLost) as exc:
                logger.warning("close=not_ended run=%s reason=%s", self.owner.run, exc)
        if not spoke:
            return
        try:
            self._bus.flush(CLOSE_FLUSH_S)
        except BusError as exc:
            logger.warning("close=unsent run=%s reason=%s", self.owner.run, exc)  # its lease runs out by itself

    def _end(self) -> None:
        """End the run, if that was not asked for; what was asked and ordered, and will not be done, is refused."""
        if self.owner.state != "ended":
            self.owner.end()
        self._orders.refuse(self.plant, self._last_ts, OVER)
        self._answers += self._requests.refuse(OVER)
        if self._answers or self._tenure.said != "ended":
            self._say(self._clock.now_ms())

    @property
    def _last_ts(self) -> int:
        return max(self.owner.last_ts, self.owner.line.ts0)

    def go_back(self, tick: int) -> None:
        """Rebuild the plant as after a tick, and go on from there in a new epoch.

        Raises
        ------
        RunError
            The tick has not been, or no snapshot leads to it.
        """
        if not 0 <= tick <= self.owner.tick:
            raise RunError(f"tick {tick} cannot be reached: the run has ticks 0..{self.owner.tick}")
        self._renew()  # it may be the last of several
        plant = self._snapshots.back_to(tick + 1, self._orders.log, meanwhile=self._renew)
        # Each branch begins with a snapshot: who resumes after a crash finds the branch by it.
        reference = self._snapshots.save(plant, self.owner.epoch + 1)
        self.owner.jump(tick, self._clock.now_ms())
        self.plant = plant
        self._branch = self.owner.epoch
        self._orders.forget_after(tick + 1)
        self._snapshots.forget_after(tick + 1)
        self._tell_of(reference)

    def save_snapshot(self) -> None:
        """Write a snapshot, and tell where it lies."""
        self._tell_of(self._snapshots.save(self.plant, self._branch))

    def _tell_of(self, reference: SnapshotReference) -> None:
        self._next_told_ms = self._clock.now_ms() + TOLD_EVERY_MS
        tick, ts = self.owner.tick, self._last_ts
        self._publisher.message("instructor.snapshots", self.owner.run, reference, tick=tick, ts=ts)

    def step(self, ticks: int, now_ms: int) -> None:
        """Let so many ticks come while the run stands, one in each turn."""
        self.owner.step(now_ms)
        self._steps = (self.owner.epoch, ticks)

    def stand(self, *, frozen: bool) -> None:
        """Let the run stand still; of one that does single steps, leave out those to come.

        Raises
        ------
        RunError
            It stands already.
        """
        stepped, self._steps = self._steps_left > 0, (-1, 0)
        if not (stepped and self.owner.state in ("frozen", "frozen" if frozen else "paused")):
            self.owner.pause(frozen=frozen)
        self._next_told_ms = 0  # topics forget orders: a snapshot of where it stands needs none of them

    @property
    def _steps_left(self) -> int:
        """How many single steps are to come: an epoch that follows, or the end, has none."""
        epoch, left = self._steps
        return left if self.owner.state in ("paused", "frozen") and epoch == self.owner.epoch else 0

    def _turn_back(self) -> None:
        try:
            if self._requests.turn_back():
                self._say(self._clock.now_ms())
        except RunError as exc:
            self._answers.append((None, f"the loop is given up: {exc}"))

    def _turn_tick(self, now_ms: int) -> bool:
        if now_ms < self._next_tick_ms(now_ms) or not self._may_go_on(self.owner):
            return False
        self._tick(now_ms)
        epoch, left = self._steps
        self._steps = (epoch, max(0, left - 1))
        return True

    def _next_tick_ms(self, now_ms: int) -> int:
        """Return when the next tick may be done [ms]: by the line, and while it fills the past by its speed."""
        owner = self.owner
        due_ms = owner.line.ts0 + (owner.tick + 1 - owner.line.tick0) * owner.line.ms_per_tick
        if not owner.filling or owner.plan.speed == 0:
            return due_ms
        if self._paced_from[0] != owner.epoch:
            self._paced_from = (owner.epoch, now_ms, owner.tick)
        _, began_ms, tick = self._paced_from
        return max(due_ms, began_ms + int((owner.tick - tick) * 1000 * owner.plan.dt_s / owner.plan.speed))

    def _tick(self, now_ms: int) -> None:
        plan = self.owner.plan
        self._orders.carry_out(self.plant, now_ms, self._last_ts)
        step(self.plant, plan.dt_s)
        ts = self.owner.did_tick()
        self._orders.operator_acted(self.plant, ts)
        self.frames += self._publisher.telemetry(self._producers, self.plant, tick=self.owner.tick, ts=ts)
        if self.plant.tick % max(1, round(SNAPSHOT_EVERY_S / plan.dt_s)) == 0:
            self._keep_snapshot()

    def _keep_snapshot(self) -> None:
        """Write a snapshot if that is possible; the run goes on without it."""
        try:
            self.save_snapshot()
        except RunError as exc:
            self._next_told_ms = self._clock.now_ms() + TOLD_EVERY_MS
            logger.warning("snapshot=missing tick=%d reason=%s", self.owner.tick, exc)

    def _measure(self, now_ms: int) -> None:
        """Measure the speed over the last ticks or seconds, whichever is longer: one to five of them, in one epoch."""
        owner = self.owner
        epoch, began_ms, tick = self._reached_from
        if epoch != owner.epoch:
            self._reached_from = (owner.epoch, now_ms, owner.tick)
            return
        over_ms, step_ms = now_ms - began_ms, max(CONTROL_EVERY_MS, owner.line.ms_per_tick)
        if over_ms >= step_ms:
            owner.speed_reached = round(1000 * (owner.tick - tick) * owner.plan.dt_s / over_ms, 3)
        if over_ms >= REACHED_OVER_N * step_ms:
            self._reached_from = (owner.epoch, now_ms, owner.tick)

    def _say(self, now_ms: int) -> None:
        """Send ``run.control``, once for each answer that is owed."""
        self._tenure.say(now_ms, self._answers)

    def _renew(self) -> None:
        """Renew the lease in the middle of something long."""
        now_ms = self._clock.now_ms()
        self._tenure.check(now_ms)
        self._say(now_ms)
