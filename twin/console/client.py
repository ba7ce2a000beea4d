"""A client of a running console, for the command line: every verb on a running twin goes through its HTTP API."""

import contextlib
import json
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import httpx2

from twin.errors import SettingInvalid, StartError
from twin.settings import Settings

DOOR = "console.json"
ANSWER_S = 10.0
POLL_S = 0.2


@contextlib.contextmanager
def open_door(settings: Settings, url: str, token: str) -> Iterator[None]:
    """Tell programs of this user how to reach the console: a file that this user alone can read, gone at the end."""
    path = settings.data_dir / DOOR
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(json.dumps({"url": url, "token": token}))
    try:
        yield
    finally:
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
        No console is known.
    """

    def __init__(self, settings: Settings, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._sleep = sleep
        url, token = _way(settings)
        self._http = httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=ANSWER_S)

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

    def set_speed(self, speed: float) -> dict[str, Any]:
        """Change the speed, and wait for the answer; raises as :meth:`request`."""
        return self._answered(self._ask("PUT", "/api/run/speed", {"speed": speed}))

    def _answered(self, asked: dict[str, Any]) -> dict[str, Any]:
        for _ in range(int(ANSWER_S / POLL_S)):
            run = self.run()
            if run["answers"] == asked["request"]:
                if run["error"]:
                    raise SettingInvalid(f"refused: {run['error']}")
                return run
            self._sleep(POLL_S)
        raise SettingInvalid(f"the owner of the run does not answer within {ANSWER_S:g} s (colossus run show)")

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
        for _ in range(int(ANSWER_S / POLL_S)):
            self._sleep(POLL_S)
            answer = self._ask("GET", f"/api/commands/{body['id']}")
            if answer["state"] != "pending":
                return answer
        raise SettingInvalid(f"{verb} {unit}: no answer within {ANSWER_S:g} s; is the run paused? (colossus run show)")

    def inject(self, kind: str, target: str, **more: float | None) -> dict[str, Any]:
        """Send a malfunction."""
        return self._ask("POST", "/api/injects", {"kind": kind, "target": target, **more})

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
        return name, float(value)
    except ValueError:
        return name, value
