"""What the console is given by the process that runs it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from twin.bus.base import Bus
from twin.console.seats import Seats
from twin.site import Site
from twin.store.base import Store


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter of a command: a number within limits, or one of some words."""

    name: str
    unit: str
    min: float | None = None
    max: float | None = None
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verb:
    """A command that a kind of asset knows."""

    verb: str
    unit_kind: str
    params: tuple[Param, ...] = ()


@dataclass(frozen=True, slots=True)
class ConsoleContext:
    """Addresses, seats, and the seams to bus and history.

    Attributes
    ----------
    data_dir
        Recordings lie in it, and snapshots.
    port
        Is in the cookie's name.
    hosts
        Names by which the console may be called, beside loopback.
    catalogue
        The commands; they come as data because on a real site there is no plant to ask.
    now_ms
        The wall clock [ms].
    sleep
        Waits so many seconds between two pictures.
    takeover_of
        Says of a run that was taken over in this process what was rebuilt, and how true it is.
    """

    site: Site
    bus: Bus
    store: Store
    data_dir: Path
    seats: Seats
    now_ms: Callable[[], int]
    version: str
    port: int = 8765
    hosts: tuple[str, ...] = ()
    namespace: str = ""
    catalogue: tuple[Verb, ...] = ()
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    takeover_of: Callable[[str], str | None] = lambda _run: None
