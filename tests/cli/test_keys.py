"""Single keys, as a terminal sends them."""

import io
import os
import pty
import select
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from twin.cli.keys import READ_BYTES, Keys, keys_in

READS_ONE_KEY = """
import select, sys
from twin.cli.keys import Keys
with Keys() as keys:
    print("reads", flush=True)
    select.select([sys.stdin], [], [], 20)
    print(list(keys.pressed()))
"""


class Terminal:
    """A terminal that a test types at."""

    def __init__(self) -> None:
        self.typist, self.file = pty.openpty()
        self.stdin = os.fdopen(self.file)

    def type(self, text: bytes) -> None:
        os.write(self.typist, text)
        assert select.select([self.file], [], [], 10)[0]

    def modes(self) -> list[object]:
        return termios.tcgetattr(self.file)

    def hang_up(self) -> None:
        os.close(self.typist)
        self.typist = -1

    def close(self) -> None:
        self.stdin.close()
        if self.typist >= 0:
            self.hang_up()


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    """Let standard input be a terminal in whose foreground the tests are."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdin", terminal.stdin)
    monkeypatch.setattr(os, "tcgetpgrp", lambda _: os.getpgrp())
    yield terminal
    terminal.close()


def test_keys_come_without_return_and_the_terminal_is_as_before_afterwards(terminal: Terminal) -> None:
    before = terminal.modes()
    with Keys() as keys:
        assert list(keys.pressed()) == []
        terminal.type(b" m\x1b[D\x1b[1;2C")
        assert list(keys.pressed()) == [" ", "m", "left", "shift-right"]
        assert list(keys.pressed()) == []
        assert terminal.modes() != before
    assert terminal.modes() == before


def test_a_key_that_is_held_down_is_that_key_however_much_is_read_at_once(terminal: Terminal) -> None:
    times = READ_BYTES // 3 + 10
    with Keys() as keys:
        terminal.type(b"\x1b[C" * times)
        found = list(keys.pressed())
        while len(found) < times:
            assert select.select([terminal.file], [], [], 10)[0]
            found += keys.pressed()
    assert found == ["right"] * times


@pytest.mark.parametrize(
    ("sent", "names"),
    [
        ("\x1b[H\x1bOF\x1b[1~\x1b[4~", ["home", "end", "home", "end"]),
        ("\x1b[A\x1b[3~\x1b[15;5~\x1bOP ", [" "]),  # up, delete, ctrl-F5, F1
        ("\x1b", []),
        ("\x1b[", []),
        ("\x1b\x1b[Dq", ["left", "q"]),
        ("\x1bq", ["q"]),
        ("[]\\", ["[", "]", "\\"]),
    ],
)
def test_what_a_key_sends_is_one_key_and_unknown_ones_are_passed_over(sent: str, names: list[str]) -> None:
    assert list(keys_in(sent)) == names


def test_a_terminal_that_hangs_up_ends_the_keys_and_nothing_else(terminal: Terminal) -> None:
    with Keys() as keys:
        terminal.hang_up()
        assert list(keys.pressed()) == []
        assert list(keys.pressed()) == []
    with Keys() as keys:
        assert list(keys.pressed()) == []


def test_a_terminal_that_hangs_up_unseen_can_be_left(terminal: Terminal) -> None:
    with Keys():
        terminal.hang_up()


def test_in_the_background_a_terminal_is_anothers(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "tcgetpgrp", lambda _: os.getpgrp() + 1)
    before = terminal.modes()
    with Keys() as keys:
        assert terminal.modes() == before
        terminal.type(b"q\n")
        assert list(keys.pressed()) == []


def test_where_standard_input_is_no_terminal_there_are_no_keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("q")
    with (tmp_path / "keys").open() as file:
        for stdin in (file, io.StringIO("q")):
            monkeypatch.setattr(sys, "stdin", stdin)
            with Keys() as keys:
                assert list(keys.pressed()) == []


def test_a_process_in_the_foreground_of_its_own_terminal_reads_keys() -> None:
    typist, file = pty.openpty()
    command = (
        "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
        f"os.execv(sys.executable, [sys.executable, '-c', {READS_ONE_KEY!r}])"
    )
    with subprocess.Popen(  # noqa: S603  (our own program)
        [sys.executable, "-c", command], stdin=file, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        os.close(file)
        assert process.stdout is not None
        assert process.stdout.readline() == "reads\n"
        os.write(typist, b"\x1b[C")
        assert process.communicate(timeout=20)[0] == "['right']\n"
    os.close(typist)
