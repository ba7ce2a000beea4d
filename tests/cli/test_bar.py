"""The bar of ``colossus replay``: what it draws, and what its keys do to the player."""

import io
from collections.abc import Iterator
from contextlib import redirect_stderr
from pathlib import Path

import pytest

from tests.recording.files import T0_MS
from tests.recording.stage import Stage, seconds
from twin.cli.replay import KEYS, SPEEDS, Bar, bar_text

LAST_S = 60


class Terminal(io.StringIO):
    """Standard error, when a person looks at it."""

    def isatty(self) -> bool:
        return True

    def drawn(self) -> list[str]:
        """Return the lines that were drawn since the last call; each drew over the one before."""
        lines = self.getvalue().split("\r\x1b[K")[1:]
        self.seek(0)
        self.truncate()
        return lines


class Pressed:
    """Keys as a test presses them."""

    def __init__(self) -> None:
        self.now: list[str] = []

    def pressed(self) -> list[str]:
        pressed, self.now = self.now, []
        return pressed


class Seat:
    """Someone who looks at a replay and presses keys."""

    def __init__(self, folder: Path, terminal: io.StringIO) -> None:
        self.terminal = terminal
        self.stage = Stage(folder, seconds(0, LAST_S))
        self.keys = Pressed()
        self.bar = Bar(self.keys, self.stage.clocks.now_s)  # type: ignore[arg-type]
        self.player = self.stage.player

    def look(self) -> None:
        with redirect_stderr(self.terminal):
            self.bar.look(self.stage.replay)

    def clear(self) -> None:
        with redirect_stderr(self.terminal):
            self.bar.clear()

    def press(self, *keys: str) -> None:
        self.keys.now += keys
        self.look()
        if self.player.phase == "seeking":
            self.stage.arrive()

    def stand_at(self, seconds: float) -> None:
        self.player.pause()
        self.player.seek(self.stage.ns(1000 * seconds))
        self.stage.arrive()
        self.stage.clocks.ms += 1000 * seconds

    @property
    def at_s(self) -> float:
        return (self.player.state().clock_ms - T0_MS) / 1000


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("COLUMNS", "60")
    return Terminal()


@pytest.fixture
def seat(tmp_path: Path, terminal: Terminal) -> Iterator[Seat]:
    seat = Seat(tmp_path, terminal)
    with seat.stage:
        seat.stage.start()
        yield seat


def test_it_is_drawn_twice_a_second_over_itself_and_fits_into_its_line(seat: Seat, terminal: Terminal) -> None:
    seat.look()
    (first,) = terminal.drawn()
    said, _, bar = first.partition("\n")
    assert said == KEYS
    assert bar.startswith(f"[{' ' * 30}]  ")
    assert len(bar) == 59
    seat.look()
    assert terminal.drawn() == []
    seat.stand_at(30)
    seat.look()
    (second,) = terminal.drawn()
    assert second.startswith(f"[{'=' * 15}{' ' * 15}]  ")
    assert "\n" not in second
    seat.clear()
    assert terminal.drawn() == [""]


def test_what_it_says(seat: Seat) -> None:
    seat.stand_at(30)
    text = bar_text(seat.player)
    assert "+30/60 s  paused  x1 reached 0" in text
    seat.player.set_speed(0)
    assert "as fast as possible" in bar_text(seat.player)


def test_before_its_beginning_it_is_empty(seat: Seat, monkeypatch: pytest.MonkeyPatch) -> None:
    early = seat.player.state().model_copy(update={"clock_ms": T0_MS - 1900})
    monkeypatch.setattr(seat.player, "state", lambda: early)
    assert bar_text(seat.player).startswith(f"[{' ' * 30}]  ")
    assert "+0/60 s" in bar_text(seat.player)


def test_where_nobody_looks_nothing_is_drawn_and_keys_are_obeyed(seat: Seat) -> None:
    seat.terminal = io.StringIO()
    seat.press(" ")
    seat.clear()
    assert seat.player.phase == "paused"
    assert seat.terminal.getvalue() == ""


def test_keys_that_pause_step_and_play(seat: Seat) -> None:
    seat.press(" ")
    assert (seat.player.phase, seat.player.moved_by) == ("paused", "keyboard")
    at_s, sent_n = seat.at_s, seat.player.sent_n
    seat.press(".")
    assert seat.at_s == pytest.approx(at_s + 1, abs=0.3)
    assert seat.player.sent_n > sent_n
    sent_n = seat.player.sent_n
    seat.press("m")
    assert seat.player.sent_n == sent_n + 1
    seat.press(" ")
    assert seat.player.phase == "playing"


def test_keys_that_go_somewhere_and_never_outside(seat: Seat) -> None:
    seat.press(" ")
    for key, at_s in (("right", 10), ("left", 0), ("left", 0), ("shift-right", 60), ("right", 60), ("home", 0)):
        seat.press(key)
        assert seat.at_s == pytest.approx(at_s, abs=1.0), key
    seat.press("end")
    assert seat.at_s == pytest.approx(60, abs=1.0)
    seat.press("shift-left")
    assert seat.at_s == pytest.approx(0, abs=1.0)


def test_keys_that_change_the_speed_stop_at_the_ends_of_what_there_is(seat: Seat) -> None:
    def speed() -> float:
        return seat.player.state().speed

    seat.press("]")
    assert speed() == 2.0
    seat.press("[", "[")
    assert speed() == 0.5
    seat.press(*("]" * len(SPEEDS)))
    assert speed() == 0.0
    seat.press("[")
    assert speed() == 1000.0
    seat.press("\\")
    assert speed() == 1.0
    seat.press(*("[" * len(SPEEDS)))
    assert speed() == 0.01


def test_keys_that_loop(seat: Seat, terminal: Terminal) -> None:
    seat.press(" ", "b")
    assert terminal.drawn()[-1].startswith("set A first\n")
    seat.press("a", "right")
    seat.press("b")
    loop_ms = seat.player.state().loop_ms
    assert loop_ms is not None
    assert loop_ms[1] - loop_ms[0] == pytest.approx(10_000, abs=1000)
    seat.press("x")
    assert seat.player.state().loop_ms is None


def test_what_is_refused_and_unknown_keys_are_told_and_move_nothing(seat: Seat, terminal: Terminal) -> None:
    terminal.drawn()
    seat.press(".")
    assert terminal.drawn()[-1].startswith("step is not possible: the player is playing")
    seat.press("?")
    assert terminal.drawn()[-1].startswith(KEYS)
    assert seat.player.moved_by == ""
    seat.stage.pass_s(0.5)
    seat.look()
    assert "\n" not in terminal.drawn()[-1]


def test_the_last_words_say_what_was_not_played(seat: Seat) -> None:
    assert seat.bar.last_words({}) == []
    seat.stand_at(30)
    seat.press("q")
    assert seat.stage.replay.done
    seat.bar.ended(seat.stage.replay)
    sent, how, rest = seat.bar.last_words({"telemetry.grid": 2})
    assert sent == f"sent {seat.player.sent_n} messages, 2 lost, in 30.0 s"
    assert how.startswith("speed x1, late p99 ")
    assert rest.startswith("ended at +30.")
    assert rest.endswith(" s of 60.2 s: the rest was not played")


def test_the_last_words_of_all_that_was_played(seat: Seat) -> None:
    seat.player.set_speed(0)
    seat.stage.finish()
    seat.bar.ended(seat.stage.replay)
    assert len(seat.bar.last_words({})) == 2
