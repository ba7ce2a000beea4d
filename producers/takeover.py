"""A replay that turns live: the recorded plant is rebuilt where the player stands, and compared with what was seen."""

from dataclasses import dataclass
from pathlib import Path

from producers.comparison import Comparison, compare
from producers.differences import Difference
from producers.past import Action
from producers.rebuild import Rebuilt, check, rebuild
from producers.resume import Left
from producers.snapshots import Snapshots
from producers.to_come import keep
from twin.errors import RunError, TakeoverRefused
from twin.recording.reader import Recording
from twin.recording.replay import Replay
from twin.run import Clock, RunPlan
from twin.site import Site


@dataclass(frozen=True, slots=True)
class Takeover:
    """A recorded run that goes on live.

    Attributes
    ----------
    path
        Of the recording.
    run
        Of the replay; it is the same one live.
    rebuilt
        The recorded run at that instant; its future is the counterfactual.
    difference
        Between the frames that were recorded there and those of the rebuilt plant.
    plan
        Of the live run: real time, and no automatic operator.
    left
        What its loop goes on from.
    """

    path: Path
    run: str
    rebuilt: Rebuilt
    difference: Difference
    plan: RunPlan
    left: Left

    def text(self) -> str:
        """Say in a line what was rebuilt, and how true it is."""
        moment = self.rebuilt.moment
        return f"the plant of run {moment.run} was rebuilt at tick {moment.tick}: {self.difference.text()}"

    def compare(self, yours: tuple[Action, ...], last_tick: int) -> Comparison | None:
        """Compare what was made of it with what was recorded, up to where both reach; ``None``: nothing was made.

        Parameters
        ----------
        yours
            What the live plant took.
        last_tick
            The last one that it did.

        Raises
        ------
        PlantError, RecordingInvalid
            It cannot be worked out.
        """
        to_tick = min(last_tick, max(self.rebuilt.line, default=last_tick))
        if to_tick <= self.rebuilt.moment.tick:
            return None
        with Recording(self.path) as recording:
            return compare(
                self.rebuilt, recording, yours=yours, automatic_operator=self.plan.automatic_operator,
                to_tick=to_tick,
            )  # fmt: skip


def take_over(replay: Replay, time_ns: int | None, site: Site, snapshots: Path, clock: Clock) -> Takeover:
    """Rebuild the plant of a recording at an instant; the replay stands there, and its lease is renewed meanwhile.

    Parameters
    ----------
    replay
        Of a recorded run.
    time_ns
        Where [ns]; ``None``: where it stands.
    site
        Of the run.
    snapshots
        Folder of the snapshots of all runs.
    clock
        The wall clock.

    Raises
    ------
    TakeoverRefused, RecordingError
        It cannot be rebuilt; the replay stands at that instant.
    """
    replay.stand_at(time_ns)
    player, owner = replay.player, replay.owner
    if owner is None or player.lineage is None:
        raise TakeoverRefused("no-run", "no run is played here: foreign messages have no plant")
    run, _ = player.lineage
    rebuilt = rebuild(player.recording, run, player.position_ns, site, meanwhile=replay.renew)
    if rebuilt.moment.tick != owner.tick:
        raise TakeoverRefused(
            "differs",
            f"the player stands at tick {owner.tick}, what was recorded leads to {rebuilt.moment.tick}",
        )
    difference = check(rebuilt.plant, player.recording, rebuilt.moment)
    control = rebuilt.control
    plan = RunPlan(
        site=control.site,
        site_crc=control.site_crc,
        seed=control.seed,
        dt_s=control.dt_s,
        weather_at=control.weather_at,
        automatic_operator=False,
    )
    rebuilt.plant.automatic_operator = False
    saved = Snapshots(snapshots / owner.run, site)
    try:
        # While the replay still stands there: later nobody could go back to it.
        reference = saved.save(rebuilt.plant, owner.epoch)
        keep(snapshots / owner.run, rebuilt.to_come)
    except RunError as exc:
        raise TakeoverRefused("no-room", str(exc)) from exc
    left = Left(
        control=owner.control(clock.now_ms()).model_copy(update={"state": "running"}),
        plant=rebuilt.plant,
        snapshots=saved,
        epoch=owner.epoch,
        branch=owner.epoch,
        log=[],
        answered=rebuilt.answered,
        waiting=[],
        to_come=rebuilt.to_come,
        reference=reference,
    )
    return Takeover(player.recording.path, owner.run, rebuilt, difference, plan, left)
