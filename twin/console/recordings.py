"""The recordings of a folder, as people see them; a trainee sees no name that gives an incident away."""

import hashlib
import hmac
import secrets
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twin.console.problems import problem
from twin.console.seats import Seat
from twin.errors import RecordingInvalid
from twin.recording.item import NS_PER_MS
from twin.recording.reader import Recording

FOLDER = "recordings"


class Recordings:
    """Lists recordings; what was found out about a file is kept until the file changes.

    Parameters
    ----------
    data_dir
        Its folder of recordings is looked at.
    """

    def __init__(self, data_dir: Path) -> None:
        self.folder = data_dir / FOLDER
        self._lock = threading.Lock()
        self._secret = secrets.token_bytes(16)
        self._known: dict[Path, tuple[tuple[int, int], dict[str, Any]]] = {}

    def list_for(self, seat: Seat, current: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the recordings, newest first, as a seat may see them.

        Parameters
        ----------
        seat
            Who looks.
        current
            How the recorder of this console stands: what it writes now has no end yet, and is whole so far.
        """
        written = current["id"] if current["state"] == "recording" else None
        with self._lock:
            found = [
                one
                for path in self.folder.glob("*.mcap")
                if (one := _being_recorded(current) if path.name == written else self._look(path)) is not None
            ]
        found.sort(key=lambda one: (one["from"] or 0, one["id"]), reverse=True)
        return [one if seat.may("run") else self._public(one) for one in found]

    def name_of(self, shown: str) -> str:
        """Return the name of the file that is shown under an id.

        Raises
        ------
        HTTPException
            There is none.
        """
        for path in self.folder.glob("*.mcap"):
            if shown in (path.name, self.public_id(path.name)):
                return path.name
        raise problem("unknown-recording", f"no recording {shown} in {self.folder}", "GET /api/recordings lists them")

    def public_id(self, name: str) -> str:
        """Return what stands for a file's name where the name is not shown; nobody can guess the name by it."""
        return f"rec-{hmac.new(self._secret, name.encode(), hashlib.sha256).hexdigest()[:8]}"

    def _public(self, one: dict[str, Any]) -> dict[str, Any]:
        hidden = None if one["problem"] is None else "it cannot be read"
        return one | {"id": self.public_id(one["id"]), "title": one["title"] or "a recording", "problem": hidden}

    def _look(self, path: Path) -> dict[str, Any] | None:
        try:
            stat = path.stat()
        except OSError:
            return None  # it has gone, or leads nowhere
        changed = (stat.st_mtime_ns, stat.st_size)
        known = self._known.get(path)
        if known is None or known[0] != changed:
            known = self._known[path] = (changed, _described(path, stat.st_size))
        return known[1]


def _about(name: str, size: int) -> dict[str, Any]:
    return {
        "id": name, "title": "", "site": "", "from": None, "to": None, "bytes": size, "messages": 0,
        "snapshots": 0, "recording": False, "complete": False, "problem": None,
    }  # fmt: skip


def _being_recorded(current: Mapping[str, Any]) -> dict[str, Any]:
    told = {"recording": True, "from": current["began"], "messages": current["messages"]}
    return _about(current["id"], current["bytes"]) | told


def _described(path: Path, size: int) -> dict[str, Any]:
    about = _about(path.name, size)
    try:
        with Recording(path) as recording:
            return about | {
                "title": recording.facts.get("title", ""),
                "site": recording.facts.get("site", ""),
                "from": recording.start_ns // NS_PER_MS,
                "to": recording.end_ns // NS_PER_MS,
                "messages": sum(recording.counts.values()),
                "snapshots": sum(index.name.startswith("snapshots/") for index in recording.attachments()),
                "complete": bool(recording.closed_by),
            }
    except RecordingInvalid as exc:
        return about | {"problem": str(exc)}
