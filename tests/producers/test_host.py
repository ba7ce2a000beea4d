"""One thing after the other: a plant, a replay, a plant again, as it is asked for over the bus."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from producers.loop import Loop
from tests.producers.desk import Desk
from tests.recording.files import item, write
from tests.recording.stage import seconds
from twin.recording.replay import Replay
from twin.run import RunPlan
from twin.site import load_site

SITE = load_site("mini")
PLAN = RunPlan(SITE.id, SITE.crc, 7, 1.0, "07-15T14:00")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path, SITE)
    facts = {"site": "mini", "site_crc": SITE.crc, "seed": "7", "dt_s": "1.0", "weather_at": "07-15T14:00"}
    folder = tmp_path / "recordings"
    write(folder / "own.mcap", seconds(0, 9), **facts)
    write(folder / "other.mcap", seconds(0, 9), **(facts | {"site_crc": "ffffffff"}))
    write(folder / "foreign.mcap", [item("orders")])
    (folder / "broken.mcap").write_bytes(b"x" * 100)
    yield desk
    desk.bus.close()


def begun(desk: Desk) -> Loop:
    loop = desk.host.begin(PLAN, SITE)
    desk.turn_until(loop, lambda: loop.owner.tick >= 3)
    return loop


def test_a_plant_gives_way_to_a_recording_and_that_to_a_plant(desk: Desk) -> None:
    loop = begun(desk)
    request = desk.ask("start", kind="replay", recording="own.mcap", speed=2.0)
    desk.turn_until(loop, lambda: loop.done)
    assert desk.answer(request) is None
    replay = desk.go_on(loop)
    assert isinstance(replay, Replay)
    desk.turn_until(replay, lambda: replay.player.phase == "ended")
    assert not replay.done, "who was asked for over the bus waits for what is asked next"
    first, second = desk.controls()[0], desk.controls()[-1]
    assert (first.kind, second.kind, second.speed) == ("live", "replay", 2.0)
    assert second.run > first.run
    desk.ask("start", kind="live", seed=9, weather_at="01-15T06:00", automatic_operator=False)
    desk.turn_until(replay, lambda: replay.done)
    again = desk.go_on(replay)
    assert isinstance(again, Loop)
    assert (again.owner.plan.seed, again.owner.plan.weather_at) == (9, "01-15T06:00")
    assert not again.plant.automatic_operator
    again.close()


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"kind": "replay", "recording": "none.mcap"}, "no recording none.mcap"),
        ({"kind": "replay", "recording": "../recordings/own.mcap"}, "no name of a file"),
        ({"kind": "replay"}, "no name of a file"),
        ({"kind": "replay", "recording": "other.mcap"}, "ffffffff"),
        ({"kind": "replay", "recording": "foreign.mcap"}, "colossus replay"),
        ({"kind": "replay", "recording": "broken.mcap"}, "broken.mcap"),
        ({"kind": "replay", "recording": "own.mcap", "speed": "fast"}, "speed must be"),
        ({"kind": "live", "seed": "x"}, "seed must be"),
        ({"kind": "live", "weather_at": "13-99T00:00"}, "13-99"),
        ({"kind": "drill"}, "live or replay"),
    ],
)
def test_what_cannot_run_is_refused_before_the_active_run_ends(
    desk: Desk, params: dict[str, object], words: str
) -> None:
    loop = begun(desk)
    request = desk.ask("start", **params)
    desk.turn_until(loop, lambda: any(told.answers == request for told in desk.controls()))
    error = desk.answer(request)
    assert error is not None
    assert words in error
    assert not loop.done
    loop.close()
