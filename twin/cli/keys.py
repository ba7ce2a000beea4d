"""Single keys of a terminal, without waiting for them and without Return."""

import contextlib
import os
import select
import sys
import termios
import tty
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

ESCAPES = {
    "[D": "left",
    "[C": "right",
    "[1;2D": "shift-left",
    "[1;2C": "shift-right",
    "[H": "home",
    "[F": "end",
    "OH": "home",
    "OF": "end",
}


class Keys:
    """Reads keys while it is open; where standard input is no terminal there are none."""

    def __init__(self) -> None:
        self._file: int | None = None
        self._before: list[Any] = []

    def __enter__(self) -> Self:
        with contextlib.suppress(OSError, ValueError, termios.error):
            file = sys.stdin.fileno()
            if os.tcgetpgrp(file) != os.getpgrp():
                return self  # in the background a terminal is another's
            self._before = termios.tcgetattr(file)
            tty.setcbreak(file)  # Ctrl-C stays a signal
            self._file = file
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._file is not None:
            termios.tcsetattr(self._file, termios.TCSADRAIN, self._before)

    def pressed(self) -> Iterator[str]:
        """Yield the keys that were pressed since the last call: a character, or a name of :data:`ESCAPES`."""
        while self._file is not None and select.select([self._file], [], [], 0)[0]:
            text = os.read(self._file, 64).decode(errors="ignore")
            if not text:
                self._file = None  # the terminal has gone
                return
            yield from keys_in(text)


def keys_in(text: str) -> Iterator[str]:
    r"""Take apart what a terminal has sent.

    Examples
    --------
    >>> list(keys_in(" \x1b[D]"))
    [' ', 'left', ']']
    """
    while text:
        if text[0] == "\x1b":
            name = next((name for name in sorted(ESCAPES, key=len, reverse=True) if text[1:].startswith(name)), None)
            if name is not None:
                yield ESCAPES[name]
            text = text[1 + len(name or "") :]
            continue
        yield text[0]
        text = text[1:]
