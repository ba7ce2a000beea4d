"""Single keys of a terminal, without waiting for them and without Return."""

import contextlib
import os
import re
import select
import sys
import termios
import tty
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

READ_BYTES = 1024
ESCAPES = {
    "[D": "left",
    "[C": "right",
    "[1;2D": "shift-left",
    "[1;2C": "shift-right",
    "[H": "home",
    "[F": "end",
    "OH": "home",
    "[1~": "home",
    "[4~": "end",
    "OF": "end",
}
# A sequence that a terminal sends for a key, known or not, whole or cut off; or a character.
_KEY = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]?|O.?)|[^\x1b]")


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
            with contextlib.suppress(termios.error):  # the terminal has gone
                termios.tcsetattr(self._file, termios.TCSADRAIN, self._before)

    def pressed(self) -> Iterator[str]:
        """Yield the keys that were pressed since the last call: a character, or a name of :data:`ESCAPES`."""
        sent = b""
        while self._file is not None and select.select([self._file], [], [], 0)[0]:
            try:
                came = os.read(self._file, READ_BYTES)
            except OSError:
                came = b""
            if not came:
                self._file = None  # the terminal has gone
            sent += came
        yield from keys_in(sent.decode(errors="ignore"))


def keys_in(text: str) -> Iterator[str]:
    r"""Take apart what a terminal has sent; keys that are not in :data:`ESCAPES` are passed over.

    Examples
    --------
    >>> list(keys_in(" \x1b[D]\x1b[A"))
    [' ', 'left', ']']
    """
    for found in _KEY.finditer(text):
        key = found[0] if found[1] is None else ESCAPES.get(found[1])
        if key is not None:
            yield key
