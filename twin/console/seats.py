"""Seats: who is here, in which role, and what each role may do (console.md section 7.4)."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from twin.errors import SettingInvalid

Role = Literal["instructor", "trainee", "observer"]
_REASON = re.compile(r"([a-z]+(?:-[a-z]+)*): ")
ROLES: tuple[Role, ...] = get_args(Role)
Right = Literal["see", "command", "watch", "drive", "run", "inject"]

MAY: Mapping[Role, frozenset[Right]] = {
    "observer": frozenset({"see"}),
    "trainee": frozenset({"see", "command", "watch", "drive"}),
    "instructor": frozenset({"see", "command", "watch", "drive", "run", "inject"}),
}

SEAT_MS = 12 * 3_600_000
ONE_TIME_MS = 600_000  # a slow machine may need minutes to open its browser


@dataclass(frozen=True, slots=True)
class Seat:
    """One browser or program that was let in.

    ``name`` stands in commands as who sent them.
    """

    id: str
    role: Role
    name: str
    until_ms: int | None = None

    def may(self, right: Right) -> bool:
        """Tell whether its role may do this."""
        return right in MAY[self.role]


def shown_error(error: str | None, seat: Seat | None) -> str | None:
    """Return why a request was refused as a seat may know it: in full, or the bare reason that gives nothing away.

    Examples
    --------
    >>> shown_error("no-injects: pump_degraded of cdu-R0007 was applied in tick 120", None)
    'no-injects'
    >>> shown_error("chiller-trip.mcap was cut off", None)
    'refused'
    """
    if error is None or (seat is not None and seat.may("run")):
        return error
    reason = _REASON.match(error)
    return "refused" if reason is None else reason[1]


def tokens_from(given: Mapping[Role, str | None]) -> dict[Role, str]:
    """Take the tokens that were set and draw the others (256 bits each).

    Raises
    ------
    SettingInvalid
        Two roles share a token.
    """
    tokens: dict[Role, str] = {role: given.get(role) or secrets.token_urlsafe(32) for role in ROLES}
    if len(set(tokens.values())) < len(ROLES):
        raise SettingInvalid("COLOSSUS_CONSOLE_TOKEN_*: each role needs a token of its own")
    return tokens


class Seats:
    """Tokens and seats of one process; seats are kept in memory, so a restart needs the link again.

    Parameters
    ----------
    tokens
        One per role.
    now_ms
        The wall clock [ms].
    """

    def __init__(self, tokens: Mapping[Role, str], *, now_ms: Callable[[], int]) -> None:
        self._tokens = dict(tokens)
        self._now_ms = now_ms
        self._one_time: dict[str, tuple[Role, int]] = {}
        self._by_cookie: dict[str, Seat] = {}
        self._given_n = 0

    def one_time_token(self, role: Role) -> str:
        """Draw a token that lets one browser in, once."""
        token = secrets.token_urlsafe(32)
        self._one_time[token] = (role, self._now_ms() + ONE_TIME_MS)
        return token

    def enter(self, token: str) -> Seat | None:
        """Give a seat for a token, ``None`` if it is wrong; the seat's id is the cookie's value."""
        now_ms = self._now_ms()
        role = self._role_of(token) or self._redeem(token, now_ms)
        if role is None:
            return None
        self._by_cookie = {key: seat for key, seat in self._by_cookie.items() if _is_open(seat, now_ms)}
        self._given_n += 1
        seat = Seat(secrets.token_urlsafe(32), role, f"{role}-{self._given_n}", now_ms + SEAT_MS)
        self._by_cookie[seat.id] = seat
        return seat

    def of_cookie(self, value: str) -> Seat | None:
        """Find the seat of a browser."""
        seat = self._by_cookie.get(value)
        return seat if seat is not None and _is_open(seat, self._now_ms()) else None

    def of_bearer(self, token: str) -> Seat | None:
        """Find the seat of a program; all programs of one role share it."""
        role = self._role_of(token)
        return None if role is None else Seat(f"bearer-{role}", role, role)

    def holds(self, seat: Seat) -> bool:
        """Tell whether a seat is still good."""
        return seat.until_ms is None or self.of_cookie(seat.id) is not None

    def leave(self, seat: Seat) -> None:
        """End a browser's seat."""
        self._by_cookie.pop(seat.id, None)

    def _role_of(self, token: str) -> Role | None:
        # All tokens are compared, each in constant time: how long it takes tells nothing.
        found: Role | None = None
        for role, right in self._tokens.items():
            if _same(token, right):
                found = role
        return found

    def _redeem(self, token: str, now_ms: int) -> Role | None:
        found = next((known for known in self._one_time if _same(token, known)), None)
        if found is None:
            return None
        role, until_ms = self._one_time.pop(found)
        return role if now_ms < until_ms else None


def _is_open(seat: Seat, now_ms: int) -> bool:
    return seat.until_ms is not None and now_ms < seat.until_ms


def _same(one: str, other: str) -> bool:
    """Compare in constant time, whatever the lengths and characters."""
    digests = (hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() for text in (one, other))
    return hmac.compare_digest(*digests)
