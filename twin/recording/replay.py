"""A replay as a run of a namespace: lease, requests, and the player between them."""

import json
import logging
import threading
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack

import pydantic

from twin.bus.base import Bus, Record
from twin.errors import BusError, LeaseLost, MessageInvalid, RecordingInvalid, RunError
from twin.events.control import RunControl
from twin.events.head import decode_model
from twin.events.topics import BY_NAME
from twin.recording.choice import Choice
from twin.recording.item import Item
from twin.recording.player import Player
from twin.recording.reader import Recording
from twin.recording.retelling import told_of
from twin.recording.schedule import check_speed
from twin.recording.span import Range
from twin.recording.steering import Handlers, Steering
from twin.run import Clock, Heads, ReplayOwner, RunPlan, Tenure
from twin.run.tenure import Answer

logger = logging.getLogger(__name__)

LISTEN_EVERY_MS = 50
HURRY_MS = 60_000
OUT_OF_STEP_MS = 1000  # a wall clock that is set back is not waited for


def plan_from(recording: Recording, choice: Choice, speed: float) -> RunPlan | None:
    """Return the plan of the run that a recording holds, ``None`` if it holds none of ours.

    Parameters
    ----------
    choice
        What of it is played.
    speed
        Seconds of the recording per second; 0 is as fast as possible.

    Raises
    ------
    RecordingInvalid
        What it says of its run cannot be, or it says nothing of it, and messages of it are to be played.
    """
    check_speed(speed)
    if not any(topic in BY_NAME for topic in recording.counts):
        return None
    facts: Mapping[str, object] = recording.facts
    if "site" not in facts:
        control = first_control(recording)
        if control is None:
            _refuse_without_a_run(recording, choice)
            return None
        facts = control.model_dump()
    try:
        return RunPlan(
            site=str(facts["site"]),
            site_crc=str(facts["site_crc"]),
            seed=int(str(facts["seed"])),
            dt_s=float(str(facts["dt_s"])),
            weather_at=str(facts["weather_at"]),
            kind="replay",
            speed=speed,
        )
    except (KeyError, ValueError, RunError, pydantic.ValidationError) as exc:
        raise RecordingInvalid(f"{recording.path} does not say of which run it is: {exc}") from exc


def _refuse_without_a_run(recording: Recording, choice: Choice) -> None:
    """Refuse messages of a run that nothing is told of: their heads could not be made those of the replay."""
    ours = [topic for topic in sorted(choice.topics_of(recording)) if topic in BY_NAME]
    headed = [topic for topic in ours if any(told_of(item).lineage for item in recording.items(topics={topic}))]
    if headed:
        raise RecordingInvalid(
            f"{recording.path} holds {', '.join(headed)} of a run, and does not say of which: record run.control, too, "
            "or play other topics alone (--topics)"
        )


def first_control(recording: Recording) -> RunControl | None:
    """Return the first word of ``run.control`` in a recording."""
    for item in recording.items(topics={"run.control"}):
        try:
            return decode_model(item.value, BY_NAME["run.control"].schema_id, RunControl)[1]
        except MessageInvalid:
            continue
    return None


def recorded_partitions(recording: Recording) -> dict[str, int]:
    """Return how many partitions the recorded topics had, as far as it is known.

    Raises
    ------
    RecordingInvalid
        It is told wrongly.
    """
    told = recording.facts.get("topics", "{}")
    try:
        return {str(topic): int(count) for topic, count in json.loads(told).items()}
    except (ValueError, AttributeError, TypeError) as exc:
        raise RecordingInvalid(f"{recording.path} tells of its topics as {told[:80]!r}") from exc


def rehearse(recording: Recording, choice: Choice, span: Range) -> tuple[Counter[str], Counter[str]]:
    """Play into nothing; return how many messages and bytes would be sent, by topic.

    Raises
    ------
    RecordingInvalid
        It cannot be played.
    """
    nowhere, clock = _Nowhere(), _Hurry()
    plan = plan_from(recording, choice, 0.0)
    owner = None if plan is None else ReplayOwner(plan, "rehearsal")
    if owner is not None:
        owner.begin_replay("", seen=None, now_ms=clock.now_ms())
    once = span.with_loop(None)
    player = Player(
        recording, choice, once, nowhere, owner,
        clock=clock, now_s=lambda: 0.0, may_go_on=lambda: True, speed=0.0,
    )  # fmt: skip
    wait = threading.Event()
    try:
        player.play()
        while player.phase != "ended":
            wait_s = player.turn()
            if player.held_back:
                clock.hurry()
            else:
                wait.wait(wait_s)
    finally:
        player.close()
    return nowhere.counts, nowhere.sizes


class _Nowhere:
    """An outlet that counts."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.sizes: Counter[str] = Counter()

    def send(self, item: Item, _: bytes | None) -> None:
        self.counts[item.topic] += 1
        self.sizes[item.topic] += item.bytes_n


class _Hurry:
    """A wall clock that nobody waits for: display time keeps to it."""

    def __init__(self) -> None:
        self._ms = 0

    def now_ms(self) -> int:
        self._ms += 1
        return self._ms

    def hurry(self) -> None:
        self._ms += HURRY_MS


class Replay:
    """Runs a player; :meth:`turn` does all that is due and never waits.

    Parameters
    ----------
    bus, namespace
        Where it plays, and is steered.
    player
        Its owner is the run; without one it plays foreign messages, and nobody steers it over the bus.
    clock
        The wall clock.
    handlers
        Do what is asked of a replay and a player alone cannot do.
    stays
        Wait at the end for what people ask.

    Attributes
    ----------
    unanswered
        What was asked and ordered while the run passed to somebody else in this process, once it is closed.
    """

    def __init__(
        self, bus: Bus, namespace: str, player: Player, clock: Clock, handlers: Handlers, *, stays: bool
    ) -> None:
        self.player = player
        self.owner: ReplayOwner | None = player.owner
        self._clock = clock
        self._listened_ms = 0
        self._answers: list[Answer] = []
        self._stays = stays
        self._handed_over = False
        self.unanswered: list[Record] = []
        self.tenure: Tenure | None = None
        self._steering: Steering | None = None
        if self.owner is not None:
            heads = Heads(self.owner)
            self.tenure = Tenure(bus, namespace, self.owner, heads)
            self._steering = Steering(bus, namespace, player, self.owner, heads, handlers)
            # Who goes as fast as possible, or steps far, passes whole epochs between two turns.
            player.tell_of_epochs(lambda: self._say(clock.now_ms()))

    def start(self, run: str, start_ns: int | None = None, *, paused: bool = False) -> None:
        """Take the lease, and let the player begin.

        Raises
        ------
        RunActive
            Another run holds the namespace.
        """
        if self.owner is not None and self.tenure is not None:
            now_ms = self._clock.now_ms()
            owner = self.owner
            owner.begin_replay(run, seen=self.tenure.read_up(now_ms), now_ms=now_ms)
            owner.open_at(0, 1, now_ms, state="paused", continues=False, plan=owner.plan)
            self._say(now_ms)
        self.player.play(start_ns)
        if paused:
            self.player.pause()

    def turn(self) -> float:
        """Do all that is due; return how long nothing will be [s].

        Raises
        ------
        LeaseLost
            Another owner has the run.
        RecordingInvalid
            The file cannot be read on.
        """
        now_ms = self._clock.now_ms()
        if self._steering is not None and self.tenure is not None:
            if not 0 <= now_ms - self._listened_ms < LISTEN_EVERY_MS:
                self._listened_ms = now_ms
                self.tenure.check(now_ms)
                for answer in self._steering.carry_out():
                    self._answers.append(answer)  # one by one: in the middle some may be said, or a request fail
            if self._answers or self.player.news or self._is_due(now_ms):
                self._say(self._clock.now_ms())
        if self.done:
            return 0.0
        return self.player.turn()

    @property
    def done(self) -> bool:
        """Whether nothing more will be played."""
        over = self.player.phase == "ended" and not self._stays
        return over or self.player.is_over or self._handed_over

    def hand_over(self) -> None:
        """Let somebody else in this process go on with the run: it does not end here."""
        self._handed_over = True

    def take_back(self) -> None:
        """Let the run end here after all; who asked for what was to follow is told so."""
        self._handed_over = False
        if self._answers and self._steering is not None and self._steering.left:
            self._answers[-1] = (self._answers[-1][0], "it broke off: the run is over")

    def close(self) -> None:
        """Stop playing; end the run, if it is still ours and passes to nobody, and stop listening."""
        self.player.close()
        steering, tenure = self._steering, self.tenure
        if steering is None or tenure is None:
            return
        with ExitStack() as parts:
            parts.callback(tenure.close)
            parts.callback(steering.close)
            self._steering = None
            try:
                # It takes its time, in which the run can be lost.
                rest = [] if tenure.said is None else steering.read_rest()
                if tenure.is_ours(self._clock.now_ms()):
                    self._leave(steering, rest)
            except (BusError, LeaseLost) as exc:
                logger.warning("replay=not_ended reason=%s", exc)
            self.tenure = None

    def _leave(self, steering: Steering, rest: list[Record]) -> None:
        if self._handed_over:
            self.unanswered = rest
            return
        self._answers += steering.refuse(rest)
        if self.owner is not None:
            self.owner.end()
        self._say(self._clock.now_ms())

    def stand_at(self, time_ns: int | None) -> None:
        """Go to an instant, or stay, and stand there; return when it is so.

        Raises
        ------
        RecordingError
            It lies outside of what is played.
        """
        player = self.player
        if time_ns is not None:
            player.seek(time_ns)
        player.stand()
        while player.phase == "seeking":
            player.turn()
            self.renew()

    def renew(self) -> None:
        """Renew the lease in the middle of something long.

        Raises
        ------
        LeaseLost
            Another owner has the run.
        """
        now_ms = self._clock.now_ms()
        if self.tenure is not None and (self.player.news or self._is_due(now_ms)):
            self._say(now_ms)

    def _is_due(self, now_ms: int) -> bool:
        return self.tenure is not None and not 0 < self.tenure.due_ms - now_ms <= OUT_OF_STEP_MS

    def _say(self, now_ms: int) -> None:
        if self.owner is None or self.tenure is None:
            return
        self.player.news = False
        state = self.player.state()
        self.owner.speed_reached = state.reached
        self.tenure.say(now_ms, self._answers, state)
