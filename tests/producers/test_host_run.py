"""The host at work, in a thread as in a process: one thing after the other, and a stop at any moment."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import producers.host
from producers.host import Source, Wish
from producers.loop import Loop
from producers.takeover import Takeover, take_over
from tests.producers.desk import Desk, Running, at_ms, desk_with, plant_running
from tests.producers.recorded import PLAN, SITE, command, record
from twin.events.control import RunControl
from twin.recording.choice import Choice
from twin.recording.replay import Replay

TURNS = 90


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recorded")
    return record(folder / "run.mcap", {20: [command("c-1", "chiller.stop", "cooling-2")]}, TURNS)


@pytest.fixture
def desk(tmp_path: Path, recorded: Path) -> Iterator[Desk]:
    with desk_with(recorded, tmp_path) as desk:
        yield desk


@pytest.fixture
def running(desk: Desk) -> Iterator[Running]:
    with plant_running(desk) as running:
        yield running
    assert all(state == "ended" for _, kind, state in running.lives() if kind == "live"), running.lives()


def replayed(running: Running) -> RunControl:
    """Let the running host play the recording; return what was said when it did."""
    assert running.ask("start", kind="replay", recording="run.mcap") is None
    return running.until(lambda control: control.player is not None and control.player.phase == "playing")


def taken_over(running: Running) -> RunControl:
    """Take over what is played ten seconds after its beginning; return what was said once a tick more was done."""
    since = len(running.said)
    assert running.ask("takeover", ts=at_ms(running.desk.folder / "recordings" / "run.mcap", 10)) is None
    return running.until(lambda control: control.kind == "live" and control.settled_tick >= 12, since=since)


def test_a_plant_a_replay_its_takeover_and_both_once_more(running: Running) -> None:
    first = replayed(running)
    live = taken_over(running)
    assert (live.run, live.continues, live.automatic_operator) == (first.run, True, False)
    assert "ended" not in {control.state for control in running.said if control.run == first.run}
    assert running.ask("takeover") == "a takeover needs a replay: this run is live already"
    running.until(lambda control: control.settled_tick > live.settled_tick)
    second = replayed(running)
    assert second.run != first.run
    assert taken_over(running).run == second.run
    assert running.ask("end") is None
    running.ends()
    plant = running.said[0].run
    assert [life[:2] for life in running.lives()] == [
        (plant, "live"),
        (first.run, "replay"),
        (first.run, "live"),
        (second.run, "replay"),
        (second.run, "live"),
    ]
    kept = [path.name for _, path in running.desk.comparisons]
    assert kept == [f"{first.run}.json", f"{second.run}.json"]
    assert all(path.is_file() for _, path in running.desk.comparisons)


def test_a_replay_that_is_over_waits_and_gives_way_to_a_plant(running: Running) -> None:
    assert running.ask("start", kind="replay", recording="run.mcap", speed=0) is None
    replay = running.until(lambda control: control.player is not None and control.player.phase == "ended")
    running.until(lambda control: control.run == replay.run)  # the lease is renewed at its end
    assert running.ask("start", kind="live", seed=9) is None
    again = running.until(lambda control: control.kind == "live" and control.settled_tick >= 2)
    assert (again.seed, again.player) == (9, None)
    assert [kind for _, kind, _ in running.lives()] == ["live", "replay", "live"]
    assert running.lives()[1][2] == "ended"


def test_who_ends_a_replay_ends_the_host(running: Running) -> None:
    replayed(running)
    assert running.ask("end") is None
    running.ends()
    assert running.said[-1].kind == "replay"
    assert running.said[-1].state == "ended"


def test_what_is_asked_right_after_a_takeover_is_asked_of_the_plant(running: Running) -> None:
    replay = replayed(running)
    since = len(running.said)
    requests = [running.desk.ask("takeover"), running.desk.ask("takeover"), running.desk.ask("pause")]
    first, second, third = (
        running.until(lambda control, request=request: control.answers == request, since=since) for request in requests
    )
    assert first.error is None
    assert second.error == "a takeover needs a replay: this run is live already"
    assert (third.error, third.state, third.kind, third.run) == (None, "paused", "live", replay.run)


@pytest.mark.parametrize("where", ["playing", "paused", "seeking", "ended"])
def test_a_stop_ends_a_replay_wherever_it_is(desk: Desk, recorded: Path, where: str) -> None:
    replay = desk.host.replay(Wish(recorded, Choice(instructor=True), paused=where == "paused", stays=True))
    running = Running(desk, replay)
    running.until(lambda control: control.player is not None and control.player.phase in ("playing", "paused"))
    if where == "seeking":
        replay.player._feed.find = lambda *_, **__: (None, False)  # type: ignore[method-assign]  # all is still to come
        running.ask("seek", ts=at_ms(recorded, 40))
    elif where == "ended":
        assert running.ask("speed", speed=0) is None
    running.until(lambda control: control.player is not None and control.player.phase == where, since=0)
    running.stop.set()
    running.ends()
    assert running.error is None
    assert running.said[-1].state == "ended"
    assert running.said[-1].run == replay.owner.run  # type: ignore[union-attr]
    assert replay.player.recording._stream.closed


def test_a_stop_while_a_plant_is_rebuilt_ends_the_run_that_was_taken_over(
    desk: Desk, recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(replay: Replay, *rest: object) -> Takeover:
        running.stop.set()
        return take_over(replay, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(producers.host, "take_over", stopped)
    replay = desk.host.replay(Wish(recorded, Choice(instructor=True), paused=True, stays=True))
    running = Running(desk, replay)
    running.until(lambda control: control.player is not None and control.player.phase == "paused")
    assert running.ask("takeover", ts=at_ms(recorded, 30)) is None
    running.ends()
    assert running.error is None
    last = running.said[-1]
    assert (last.run, last.kind, last.state) == (replay.owner.run, "live", "ended")  # type: ignore[union-attr]
    assert not desk.comparisons, "nothing was made of it"


def test_a_stop_compares_what_was_made_of_a_takeover(running: Running) -> None:
    replayed(running)
    live = taken_over(running)
    running.stop.set()
    running.ends()
    ((comparison, path),) = running.desk.comparisons
    assert path.name == f"{live.run}.json"
    assert comparison.lines()
    assert running.said[-1].state == "ended"


class Stopper:
    """Stops the host between one thing and the next, once it is armed."""

    def __init__(self) -> None:
        self.running: Running | None = None

    def look(self, source: Source) -> None: ...

    def ended(self, source: Source) -> None:
        if self.running is not None:
            self.running.stop.set()


def test_with_a_stop_between_two_things_the_second_does_not_begin(desk: Desk) -> None:
    stopper = Stopper()
    running = Running(desk, desk.host.begin(PLAN, SITE), stopper)
    replayed(running)
    taken_over(running)
    replayed(running)
    stopper.running = running
    assert running.ask("start", kind="live") is None
    running.ends()
    assert running.error is None
    assert [kind for _, kind, _ in running.lives()] == ["live", "replay", "live", "replay"]
    assert running.said[-1].state == "ended"


def test_a_stop_before_anything_was_done_ends_a_plant(desk: Desk) -> None:
    loop = desk.host.begin(PLAN, SITE)
    assert isinstance(loop, Loop)
    running = Running(desk, loop)
    running.stop.set()
    running.ends()
    assert running.said[-1].state == "ended"
    assert running.error is None
