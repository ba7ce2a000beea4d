"""Plays a recording: one clock for many topics, and one small state machine for everybody who drives it.

``idle -> playing <-> paused``; from any of them ``seeking`` and back; ``ended`` at the end of the range, from where it
can be played again. All that a player does happens in :meth:`Player.turn`, in the thread of whoever calls it.
"""

from collections.abc import Callable

from twin.errors import RecordingError
from twin.events.control import PlayerPhase, PlayerState
from twin.recording.choice import Choice
from twin.recording.epochs import CONTROL, LOOK_AHEAD_NS, Epochs, control_in, first_tick, tells_of
from twin.recording.feed import Feed
from twin.recording.outlet import Outlet
from twin.recording.place import Place, place_at
from twin.recording.reader import Recording
from twin.recording.retelling import Lineage, Told, told_of
from twin.recording.schedule import Schedule, check_speed
from twin.recording.sieve import Sieve
from twin.recording.span import Range
from twin.recording.standing import state_of
from twin.recording.ticks import CurrentTick
from twin.run import Clock, ReplayOwner

LEAD_NS = 2_000_000_000  # a tick is sent whole: its first messages lie before the instant that is sought
STEP_MAX_S, STEP_MAX_N = 10.0, 1000
STALLED_S = 2.0  # after which display time is set anew
TURN_S = 0.02  # how long one turn sends before it listens again
WAIT_MAX_S = 0.05
HELD_BACK_S = 0.005
READING_S = 0.002
_JOBS = "telemetry.jobs"


class Player:
    """Plays one recording into an outlet.

    Parameters
    ----------
    recording
        Open; it stays so.
    choice
        What of it is played.
    span
        From where to where.
    outlet
        Takes the messages.
    owner
        The run of the replay; ``None`` where the recording holds no run of ours.
    clock, now_s
        The wall clock, and a clock that never goes back [s].
    may_go_on
        Asked before each message: whether the bus and those who read from it keep up.
    speed
        Seconds of the recording per second; 0 is as fast as possible.
    original_time
        Leave display time as it was recorded.

    Attributes
    ----------
    held_back
        Whether it waits for the bus or its readers.
    news
        Set when ``run.control`` should be sent at once.
    is_over
        Somebody has ended it.
    """

    def __init__(
        self,
        recording: Recording,
        choice: Choice,
        span: Range,
        outlet: Outlet,
        owner: ReplayOwner | None,
        *,
        clock: Clock,
        now_s: Callable[[], float],
        may_go_on: Callable[[], bool],
        speed: float = 1.0,
        original_time: bool = False,
    ) -> None:
        check_speed(speed)
        self.recording = recording
        self.span = span
        self.owner = owner
        self.phase: PlayerPhase = "idle"
        self.sent_n = 0
        self.held_back = self.news = self.is_over = False
        self.moved_by = ""
        self.original_time = original_time
        self._choice = choice
        self._outlet = outlet
        self._now_s = now_s
        self._may_go_on = may_go_on
        self._schedule = Schedule(speed)
        self._epochs = None if owner is None else Epochs(owner, clock, original_time=original_time)
        self.topics = choice.topics_of(recording)
        more, lead_ns = ({CONTROL}, LEAD_NS) if owner else (set(), 0)  # a tick that has begun in it is sent whole
        self._sieve = Sieve(choice, self.topics, self._epochs)
        self._feed = Feed(recording, self.topics | more, span.end_ns + lead_ns)
        self._next: Told | None = None  # the head of the feed, looked at
        self._tick = CurrentTick()
        self._target_ns = span.start_ns
        self._then: PlayerPhase = "playing"

    def play(self, start_ns: int | None = None) -> None:
        """Begin, go on after a pause, or play again from the beginning (of the loop) after the end.

        Raises
        ------
        RecordingError
            It plays already.
        """
        if self.phase == "idle":
            self.seek(self.span.start_ns if start_ns is None else start_ns)
        elif self.phase == "ended":
            self.seek(self.span.start_ns if self.span.loop_ns is None else self.span.loop_ns[0])
        elif self.phase == "seeking":
            self._then = "playing"
        elif self.phase == "paused":
            self._finish_tick()
            self._reopen(playing=True)
            self._schedule.set(self._position_ns(), self._now_s())
            self._enter("playing")
        else:
            raise RecordingError("it plays already")

    def pause(self) -> None:
        """Stand still, at the end of the tick.

        Raises
        ------
        RecordingError
            It does not play.
        """
        if self.phase == "seeking":
            self._then = "paused"
            return
        self._need("pause", "playing")
        self._finish_tick()
        self._schedule.set(self._position_ns(), self._now_s())
        self._enter("paused")

    def stand(self) -> None:
        """Stand still between two ticks, or do so once it is where it was sent to."""
        if self.phase in ("playing", "seeking"):
            self.pause()
        elif self.phase == "paused":
            self._finish_tick()  # a step may have begun it

    def seek(self, time_ns: int) -> None:
        """Go to an instant of the recording; it plays on if it played.

        Raises
        ------
        RecordingError
            It lies outside of what is played.
        """
        self.span.check(time_ns)
        if self.phase in ("playing", "paused"):
            self._finish_tick()
        if self.phase != "seeking":
            self._then = "paused" if self.phase == "paused" else "playing"
        self._target_ns = time_ns
        self._next = None
        self._feed.seek(time_ns - (LEAD_NS if self._epochs else 0))
        self._enter("seeking")

    def set_speed(self, speed: float) -> None:
        """Change the speed, at the end of the tick.

        Raises
        ------
        RecordingError
            There is none such.
        """
        check_speed(speed)
        if self.phase in ("playing", "paused"):
            self._finish_tick()
            self._reopen(speed=speed)
        position_ns = self._position_ns()
        self._schedule.speed = speed
        self._schedule.set(position_ns, self._now_s())
        self.news = True

    def set_loop(self, loop_ns: tuple[int, int] | None) -> None:
        """Let it go from B back to A, or not any more.

        Raises
        ------
        RecordingError
            Such a loop is not possible.
        """
        self.span = self.span.with_loop(loop_ns)
        self.news = True

    def step(self, *, messages: int = 0, seconds: float = 0.0) -> None:
        """Send the next messages, or seconds, at once, while it stands.

        Raises
        ------
        RecordingError
            It does not stand, or the step is too long for one turn.
        """
        if seconds > STEP_MAX_S or messages > STEP_MAX_N:
            raise RecordingError(f"a step is at most {STEP_MAX_S:g} s, or {STEP_MAX_N} messages; seek goes further")
        self._need("step", "paused")
        if self._epochs is not None and not self._epochs.stepping:
            self._reopen(stepping=True)
        upto_ns = min(self._position_ns() + int(seconds * 1e9), self.span.end_ns)
        while (one := self._look(patient=True)) is not None and (messages > 0 or one.item.time_ns <= upto_ns):
            if not self._may_go_on():
                break  # the bus is full: the next step goes on from here
            if self._begins_epoch(one):
                if not self._follow_epoch(one):
                    self._feed.wait(READING_S)
                continue  # it may have been a stray
            self._send(one, self._now_s())
            messages -= one.item.topic != CONTROL
            if seconds <= 0 and messages <= 0:
                break
        if seconds > 0:
            self._finish_tick()
            self._schedule.set(max(upto_ns, self._position_ns()), self._now_s())
        self.news = True

    def end(self) -> None:
        """End it for good: whoever hosts it stops."""
        self.is_over = True

    def tell_of_epochs(self, tell: Callable[[], None]) -> None:
        """Call this whenever an epoch has been opened, before anything of it is sent."""
        if self._epochs is not None:
            self._epochs.tell = tell

    def late_s(self, quantile: float) -> float:
        """Return how late messages went out lately, against the clock [s]."""
        return self._schedule.late_s(quantile)

    @property
    def lineage(self) -> Lineage | None:
        """The recorded run and epoch that is played."""
        return self._epochs.current if self._epochs else None

    @property
    def position_ns(self) -> int:
        """The instant of the recording at which it stands [ns]."""
        return self._target_ns if self.phase in ("idle", "seeking") else self._position_ns()

    def close(self) -> None:
        """Stop reading ahead."""
        self._feed.close()

    def turn(self) -> float:
        """Do all that is due; return how long nothing will be [s].

        Raises
        ------
        RecordingInvalid
            The file cannot be read on.
        """
        if self.phase == "seeking" and not self._arrive():
            return READING_S
        if self.phase != "playing":
            return WAIT_MAX_S
        began_s = now_s = self._now_s()
        while now_s - began_s < TURN_S:
            wait_s = self._turn_one(now_s)
            if wait_s > 0:
                return min(wait_s, WAIT_MAX_S)
            if self.phase != "playing":
                break
            now_s = self._now_s()
        return 0.0

    def _turn_one(self, now_s: float) -> float:
        """Send the next message if it is due; return how long it is not [s]."""
        one = self._look()
        is_read = self._next is not None or self._feed.exhausted
        loop_ns = self.span.loop_ns
        if loop_ns is not None and (one is None or one.item.time_ns > loop_ns[1]):
            wait_s = self._schedule.due_s(loop_ns[1]) - now_s
            if wait_s > 0:
                return wait_s
            if is_read:
                self.seek(loop_ns[0])
            return READING_S
        if one is None:
            if not is_read:
                return READING_S
            wait_s = self._schedule.due_s(self.span.end_ns) - now_s
            if wait_s <= 0:
                self._finish_tick()
                self._enter("ended")
            return wait_s
        if self._begins_epoch(one):
            if self._waits_for_wall_clock():
                return HELD_BACK_S
            return 0.0 if self._follow_epoch(one) else READING_S
        due_s = self._schedule.due_s(one.item.time_ns, self._tick.began_ns(one))
        if now_s < due_s:
            self.held_back = False
            return due_s - now_s
        ahead = self._epochs is not None and self._epochs.ahead(one)
        self.held_back = one.item.topic != CONTROL and (ahead or not self._may_go_on())
        if self.held_back:
            return HELD_BACK_S
        self._send(one, due_s)
        if self._schedule.stalled_s > STALLED_S and self._epochs is not None and self._epochs.may_open:
            self._schedule.stalled_s = 0.0
            self._finish_tick()
            self._reopen()  # else display time would stay behind the wall clock
        return 0.0

    def _look(self, *, patient: bool = False, rest: bool = False) -> Told | None:
        """Return the next message that is to be sent; wait for it if asked; ``rest`` is what lies behind the range."""
        while self._next is None:
            item = self._feed.head()
            if item is None:
                if not patient or self._feed.exhausted:
                    return None
                self._feed.wait(1.0)
                continue
            one = told_of(item)
            if self._sieve.wants(one, self._tick):
                self._next = one
                if self._epochs is not None and self._tick.is_left_by(one):
                    self._epochs.owner.settle()
            else:
                self._feed.pop()
        return self._next if rest or self._next.item.time_ns <= self.span.end_ns else None

    def _send(self, one: Told, due_s: float) -> None:
        self._feed.pop()
        self._next = None
        item, value = one.item, one.item.value
        if self._epochs is not None and item.topic == CONTROL:
            self.news |= self._epochs.mirror(one, playing=self._plays)
            return
        if self._epochs is not None and one.lineage is not None:
            retold = self._epochs.retell(one)
            if retold is None:
                self._sieve.left_out_n += 1
                return
            value, ts = retold
            if one.frame and one.lineage == self._epochs.current:
                self._tick.sent(one)
                self._epochs.owner.passed(one.tick, ts)
        self._outlet.send(item, value)
        self.sent_n += 1
        self._schedule.sent(item.time_ns, due_s, self._now_s(), self._tick.began_ns(one))

    def _finish_tick(self) -> None:
        """Send what is left of the tick that has begun: a run stands, and jumps, between ticks."""
        if self._epochs is None or self._tick.lineage is None:
            return
        while (one := self._look(patient=True, rest=True)) is not None:
            if self._tick.is_left_by(one) or one.item.time_ns > self._tick.began_at_ns + LEAD_NS:
                break
            if one.frame or one.item.time_ns <= self.span.end_ns:
                self._send(one, self._now_s())
            else:
                self._next = None
                self._feed.pop()
        self._epochs.owner.settle()

    def _arrive(self) -> bool:
        """Finish a seek; return whether all that it needs has been read."""
        target_ns = self._target_ns
        if self._waits_for_wall_clock() or (self._feed.head() is None and not self._feed.exhausted):
            return False
        place = Place()
        if self._epochs is not None:
            there = place_at(target_ns, self.span.end_ns, self.recording, self._feed)
            if there is None:
                return False
            place = there
        lineage, tick = place.lineage, place.tick
        self._sieve.come_in(target_ns, lineage, tick)
        self._tick = CurrentTick()
        if self._epochs is not None:
            self._epochs.forget()
            if lineage is not None:
                speed, plays = self._schedule.speed, self._plays
                self._epochs.open(lineage, place.control, tick, speed=speed, playing=plays, continues=False)
                self._tell_jobs(target_ns, tick)
        one = self._look()
        self._schedule.set(target_ns if one is None else min(target_ns, one.item.time_ns), self._now_s())
        self._enter(self._then)
        if self.phase == "paused" and place.first_ns is not None:
            while self._tick.lineage is None and (one := self._look(patient=True)) is not None:
                if self._begins_epoch(one) or one.item.time_ns > place.first_ns + LEAD_NS:
                    break
                self._send(one, self._now_s())  # who stands sees the tick on which he stands
            self._finish_tick()
        return True

    def _tell_jobs(self, time_ns: int, tick: int) -> None:
        """Send the last table of jobs from before a jump: it comes in full every ten seconds only."""
        if _JOBS not in self.topics or self._epochs is None:
            return
        item = self.recording.last_before(time_ns, _JOBS, on_damage=self._feed.note)
        if item is None or not self._choice.wants_key(item.key):
            return
        if (value := self._epochs.told_again(item, tick)) is not None:
            self._outlet.send(item, value)
            self.sent_n += 1

    def _begins_epoch(self, one: Told) -> bool:
        return self._epochs is not None and self._epochs.begins(one)

    def _follow_epoch(self, one: Told) -> bool:
        """Open an epoch where the recording has one; return whether what was said of it has been read."""
        assert one.lineage is not None and self._epochs is not None  # noqa: PT018, S101  (it is new)
        lineage = one.lineage
        control = self._epochs.heard(lineage)
        if control is None:
            upto_ns = one.item.time_ns + LOOK_AHEAD_NS
            found, sure = self._feed.find(lambda item: tells_of(item, lineage), upto_ns=upto_ns)
            if found is None and not sure:
                return False
            control = None if found is None else control_in(found)
        if control is None and self._epochs.knows_of_any:
            self._sieve.leave_out(lineage)
            self._feed.pop()
            self._next = None
            return True
        # Where nothing is said of any run, each begins anew.
        tick = first_tick(one, control)
        self._epochs.open(
            lineage, control, tick, speed=self._schedule.speed, playing=self._plays,
            continues=control is not None and control.continues, stepping=self.phase == "paused",
        )  # fmt: skip
        self.news = True
        return True

    def _waits_for_wall_clock(self) -> bool:
        """Tell whether no epoch can be opened: the wall clock was set back, and display time goes on after it only."""
        self.held_back = self._epochs is not None and not self._epochs.may_open
        return self.held_back

    def _reopen(self, *, speed: float | None = None, playing: bool | None = None, stepping: bool = False) -> None:
        """Open an epoch that continues, from the next tick on.

        Raises
        ------
        RunError
            The wall clock was set back; nothing has changed.
        """
        if self._epochs is not None:
            self._epochs.reopen(
                speed=self._schedule.speed if speed is None else speed,
                playing=self._plays if playing is None else playing,
                stepping=stepping,
            )
            self.news = True

    @property
    def _plays(self) -> bool:
        """Whether it plays, or will once it is where it was sent to."""
        return self.phase in ("playing", "seeking") and self._then == "playing"

    def _enter(self, phase: PlayerPhase) -> None:
        self.phase = phase
        self.held_back = False
        if phase != "seeking":
            self._then = "playing" if phase == "playing" else "paused"
            if self._epochs is not None:
                self._epochs.stand(playing=self._plays)
        self.news = True

    def _position_ns(self) -> int:
        moves = self.phase == "playing" and not self.held_back
        return self._schedule.position_ns(self._now_s(), moves=moves)

    def state(self) -> PlayerState:
        """Return where it stands."""
        return state_of(self, self._schedule, self._now_s(), self._feed.damages, self._sieve.left_out_n)

    def _need(self, what: str, phase: PlayerPhase) -> None:
        if self.phase != phase:
            raise RecordingError(f"{what} is not possible: the player is {self.phase}, not {phase}")
