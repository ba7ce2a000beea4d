"""A client of a running console, for the command line: every verb on a running twin goes through its HTTP API."""

import contextlib
import json
import math
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import httpx2

from twin.errors import SettingInvalid, StartError
from twin.settings import Settings

DOOR = "console.json"
ANSWER_S = 10.0
REQUEST_S = 60.0  # a way back takes its time
COMPARING_S = 600.0  # of a takeover of hours
POLL_S = 0.2
STEP_S = 10.0  # the longest that a player takes at once


@contextlib.contextmanager
def open_door(settings: Settings, url: str, token: str) -> Iterator[None]:
    """Tell programs of this user how to reach the console: a file that this user alone can read, gone at the end.

    Raises
    ------
    StartError
        The file cannot be written.
    """
    path = settings.data_dir / DOOR
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)
        path.write_text(json.dumps({"url": url, "token": token}))
    except OSError as exc:
        why = exc.strerror or exc
        raise StartError(
            f"cannot write {path}: {why}; remove it, or choose another data folder (COLOSSUS_DATA_DIR)"
        ) from exc
    try:
        yield
    finally:
        # One that cannot be removed names a console that has gone: the next start replaces it.
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


class ConsoleClient:
    """Talks to the console that ``COLOSSUS_CONSOLE_URL`` and ``_TOKEN`` name, or that runs in the data folder.

    Parameters
    ----------
    settings
        Where the console is.
    sleep
        Waits so many seconds between two looks for an answer.

    Raises
    ------
    SettingInvalid
        No console is known, or its address or token cannot be one.
    """

    def __init__(self, settings: Settings, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._sleep = sleep
        url, token = _way(settings)
        if not (token.isascii() and token.isprintable()):
            raise SettingInvalid("the console's token has characters that no token has (COLOSSUS_CONSOLE_TOKEN)")
        try:
            self._http = httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=ANSWER_S)
        except httpx2.InvalidURL as exc:
            raise SettingInvalid(
                f"the console's address {url!r} is none: {exc}; write http://host:port (COLOSSUS_CONSOLE_URL)"
            ) from exc

    def run(self) -> dict[str, Any]:
        """Read the run."""
        return self._ask("GET", "/api/run")

    def request(self, verb: str, **params: int) -> dict[str, Any]:
        """Ask something of the run's owner, and wait for its answer.

        Raises
        ------
        SettingInvalid
            It refuses, or does not answer.
        """
        return self._answered(self._ask("POST", f"/api/run/{verb}", params))

    def end(self) -> None:
        """End the run; the console may go with it.

        Raises
        ------
        SettingInvalid
            It refuses.
        """
        # What a takeover was worth is worked out, by running its plant again, before the console goes.
        goes_within_s = ANSWER_S if self.run()["takeover"] is None else COMPARING_S
        asked = self._ask("POST", "/api/run/end", {})
        with contextlib.suppress(StartError):  # gone: so it has ended
            self._answered(asked)
            for _ in range(int(goes_within_s / POLL_S)):
                self.run()
                self._sleep(POLL_S)

    def set_speed(self, speed: float) -> dict[str, Any]:
        """Change the speed, and wait for the answer; raises as :meth:`request`."""
        return self._answered(self._ask("PUT", "/api/run/speed", {"speed": speed}))

    def play(self, recording: str, *, speed: float, paused: bool, end_active: bool) -> dict[str, Any]:
        """Play a recording of the console's folder, and wait until it is there; raises as :meth:`request`."""
        body = {"kind": "replay", "recording": recording, "speed": speed, "paused": paused, "end_active": end_active}
        before = self.run()["id"]
        self._answered(self._ask("POST", "/api/runs", body))
        for _ in range(int(REQUEST_S / POLL_S)):
            with contextlib.suppress(SettingInvalid):  # until it has begun there is none
                player = self.player()
                # The replay that ran before may not have said yet that it has ended.
                if player["run"] != before and player["phase"] not in ("idle", "seeking"):
                    return player
            self._sleep(POLL_S)
        raise SettingInvalid(f"{recording} does not play within {REQUEST_S:g} s (colossus run show)")

    def player(self) -> dict[str, Any]:
        """Read where the player stands.

        Raises
        ------
        SettingInvalid
            There is none.
        """
        return self._ask("GET", "/api/player")

    def steer(self, verb: str, **params: Any) -> dict[str, Any]:
        """Ask something of the player, and wait for its answer; raises as :meth:`request`."""
        return self._answered(self._ask("POST", f"/api/player/{verb}", params))

    def take_over(self, at_ms: int, *, lead_s: float) -> dict[str, Any]:
        """Take the run of a replay over, and wait for the answer; raises as :meth:`request`.

        Parameters
        ----------
        at_ms
            The instant of the recording [ms].
        lead_s
            Play so much before it first [s], as fast as possible.

        Returns
        -------
        dict
            The run; ``takeover`` says what was rebuilt, and how true it is.
        """
        self._stand_at(max(self.player()["from_ms"], at_ms - round(1000 * lead_s)))
        while (left_ms := at_ms - self.player()["clock_ms"]) > 0:
            self.steer("step", seconds=min(left_ms / 1000, STEP_S))
        return self.steer("takeover")

    def _stand_at(self, ts_ms: int) -> None:
        """Let the player stand at an instant."""
        self.steer("speed", speed=1.0)  # one that hurries would be at its end before it can be told to stand
        player = self.player()
        if player["phase"] == "ended":
            self.steer("seek", ts=player["from_ms"])  # from its end it plays on
        if self.player()["phase"] != "paused":
            self.steer("pause")
        self.steer("seek", ts=ts_ms)
        for _ in range(int(REQUEST_S / POLL_S)):
            if self.player()["phase"] == "paused":
                return
            self._sleep(POLL_S)
        raise SettingInvalid(f"the player is not there within {REQUEST_S:g} s (colossus player show)")

    def expected_size(self, **level: Any) -> dict[str, Any]:
        """Ask how large a recording would be; raises as :meth:`record`."""
        return self._ask("POST", "/api/recordings/expected", level)

    def record(self, **body: Any) -> dict[str, Any]:
        """Begin a recording in the console's process.

        Raises
        ------
        SettingInvalid
            It cannot be made, and why.
        """
        return self._ask("POST", "/api/recordings", body)

    def recording(self) -> dict[str, Any]:
        """Read how the recording stands."""
        return self._ask("GET", "/api/recordings/current")

    def write_black_box(self) -> None:
        """Write what the black box holds into the recording."""
        self._ask("POST", "/api/recordings/black-box", {})

    def stop_recording(self) -> dict[str, Any]:
        """End the recording; return how it stood."""
        return self._ask("POST", "/api/recordings/stop", {})

    def _answered(self, asked: dict[str, Any]) -> dict[str, Any]:
        for _ in range(int(REQUEST_S / POLL_S)):
            answer = self._ask("GET", f"/api/requests/{asked['request']}")
            if answer["state"] == "refused":
                raise SettingInvalid(f"refused: {answer['error']}")
            if answer["state"] == "done":
                return self.run()
            self._sleep(POLL_S)
        raise SettingInvalid(f"the owner of the run does not answer within {REQUEST_S:g} s (colossus run show)")

    def command(self, verb: str, unit: str, params: Sequence[str]) -> dict[str, Any]:
        """Give a command, and wait for the plant's answer.

        Parameters
        ----------
        params
            ``name=value`` each.

        Raises
        ------
        SettingInvalid
            A parameter cannot be read, the console refuses, or no answer comes.
        """
        body = {"id": str(uuid.uuid4()), "verb": verb, "unit": unit, "params": dict(map(_param, params))}
        self._ask("POST", "/api/commands", body)
        answer = self._answer(f"/api/commands/{body['id']}")
        if answer["state"] == "pending":
            raise SettingInvalid(f"{verb} {unit}: no answer within {ANSWER_S:g} s (colossus run show)")
        return answer

    def inject(self, kind: str, target: str, **more: float | None) -> dict[str, Any]:
        """Send a malfunction, and wait for the plant's answer.

        Raises
        ------
        SettingInvalid
            The console refuses, or no answer comes.
        """
        sent = self._ask("POST", "/api/injects", {"kind": kind, "target": target, **more})
        answer = self._answer(f"/api/injects/{sent['id']}")
        if answer["state"] == "pending":
            raise SettingInvalid(
                f"{kind} {target}: no answer within {ANSWER_S:g} s; a run that stands carries it out when it goes on "
                "(colossus run show)"
            )
        return answer

    def _answer(self, path: str) -> dict[str, Any]:
        """Look for an answer until it is there, or the time is up."""
        answer: dict[str, Any] = {"state": "pending"}
        for _ in range(int(ANSWER_S / POLL_S)):
            self._sleep(POLL_S)
            answer = self._ask("GET", path)
            if answer["state"] != "pending":
                break
        return answer

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        try:
            answer = self._http.request(method, path, json=body)
            content: dict[str, Any] = answer.json()
        except (httpx2.HTTPError, ValueError) as exc:
            raise StartError(f"no console answers at {self._http.base_url}: start one (make demo)") from exc
        if answer.is_error:
            way_out = f"; {content['way_out']}" if content.get("way_out") else ""
            raise SettingInvalid(f"{content.get('title', answer.status_code)}: {content.get('detail', '')}{way_out}")
        return content


def _way(settings: Settings) -> tuple[str, str]:
    if settings.console_url and settings.console_token:
        return settings.console_url, settings.console_token.get_secret_value()
    if settings.console_url or settings.console_token:
        missing = "COLOSSUS_CONSOLE_TOKEN" if settings.console_url else "COLOSSUS_CONSOLE_URL"
        raise SettingInvalid(
            f"{missing} is missing: set COLOSSUS_CONSOLE_URL and COLOSSUS_CONSOLE_TOKEN, or none of them"
        )
    path = settings.data_dir / DOOR
    try:
        door = json.loads(path.read_text())
        return str(door["url"]), str(door["token"])
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise SettingInvalid(
            f"no running console is known ({path} is missing): start one with make demo, "
            "or set COLOSSUS_CONSOLE_URL and COLOSSUS_CONSOLE_TOKEN"
        ) from exc


def _param(text: str) -> tuple[str, float | str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise SettingInvalid(f"parameter {text!r}: write name=value")
    try:
        number = float(value)
    except ValueError:
        return name, value
    return name, number if math.isfinite(number) else value  # JSON knows no other: the console says what is wrong
