"""Records what is on the console's bus, on request: one recording at a time."""

import logging
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from twin.bus.base import Bus
from twin.console.problems import problem
from twin.console.recordings import FOLDER
from twin.errors import TwinError, explain
from twin.recording.facts import ask_for_snapshot, facts_of
from twin.recording.levels import Selection, select
from twin.recording.recorder import Recorder
from twin.recording.size import Expected, expect
from twin.recording.writer import RecordingWriter
from twin.run import Clock, utc_text

logger = logging.getLogger(__name__)

TURN_S = 0.1
STOP_S = 30.0


class RecorderDesk:
    """Starts and stops a recorder in a thread of its own.

    Parameters
    ----------
    bus, namespace
        What is recorded.
    data_dir
        Its folder of recordings takes the files, its snapshots are put into them.
    clock
        The wall clock.
    """

    def __init__(self, bus: Bus, namespace: str, data_dir: Path, clock: Clock) -> None:
        self._bus = bus
        self._namespace = namespace
        self._data_dir = data_dir
        self._clock = clock
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._dump = threading.Event()
        self._writer: RecordingWriter | None = None
        self._recorder: Recorder | None = None
        self._began_ms = 0
        self._error: str | None = None

    def expected(self, *, topics: tuple[str, ...], full: bool, instructor: bool) -> Expected:
        """Estimate how large a recording would be.

        Raises
        ------
        TwinError
            There is no such topic, or one is an instructor's.
        """
        selection = self._select(topics, full=full, instructor=instructor)
        return expect(self._bus, selection, self._clock.now_ms())

    def start(
        self, *, name: str | None, topics: tuple[str, ...], full: bool, instructor: bool, seconds: float | None
    ) -> dict[str, Any]:
        """Begin a recording; return how it stands.

        Raises
        ------
        TwinError
            It cannot be made, and why.
        """
        with self._lock:
            if self._thread is not None and self._thread.is_alive():
                raise problem("recording", "a recording is under way", "stop it first: POST /api/recordings/stop")
            now_ms = self._clock.now_ms()
            path = self._data_dir / FOLDER / (name or f"{utc_text(now_ms)}.mcap")
            selection = self._select(topics, full=full, instructor=instructor)
            with ExitStack() as undo:
                writer = undo.enter_context(
                    RecordingWriter(path, facts_of(self._bus, self._namespace, selection, now_ms))
                )
                recorder = Recorder(
                    self._bus, selection, writer, self._clock, snapshot_dir=self._data_dir / "snapshots"
                )
                undo.pop_all()
            self._writer, self._recorder, self._began_ms, self._error = writer, recorder, now_ms, None
            if instructor:
                ask_for_snapshot(self._bus, self._namespace, now_ms)
            self._stop.clear()
            self._dump.clear()
            until_ms = None if seconds is None else now_ms + round(1000 * seconds)
            self._thread = threading.Thread(target=self._run, args=(recorder, until_ms), name="recorder", daemon=True)
            self._thread.start()
        return self.state()

    def stop(self) -> dict[str, Any]:
        """End the recording; return how it stood."""
        with self._lock:
            thread = self._thread
        if thread is None or not thread.is_alive():
            raise problem("not-in-this-state", "nothing is recorded", "start a recording: POST /api/recordings")
        self._stop.set()
        thread.join(STOP_S)
        return self.state()

    def dump(self) -> dict[str, Any]:
        """Write what the black box holds of the last minute."""
        state = self.state()
        if state["state"] != "recording":
            raise problem("not-in-this-state", "nothing is recorded", "start a recording: POST /api/recordings")
        self._dump.set()
        return state

    def close(self) -> None:
        """End a recording that is under way."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(STOP_S)

    def state(self) -> dict[str, Any]:
        """Return how the last recording stands."""
        writer, recorder = self._writer, self._recorder
        if writer is None or recorder is None:
            return {"state": "idle"}
        alive = self._thread is not None and self._thread.is_alive()
        return {
            "state": "recording" if alive else "ended",
            "id": writer.path.name,
            "path": str(writer.path),
            "messages": writer.counts.total(),
            "lost": sum(recorder.lost_n.values()),
            "bytes": writer.bytes_written,
            "began": self._began_ms,
            "problem": self._error,
        }

    def _select(self, topics: tuple[str, ...], *, full: bool, instructor: bool) -> Selection:
        return select(self._bus.topics(), self._namespace, patterns=topics, full=full, instructor=instructor)

    def _run(self, recorder: Recorder, until_ms: int | None) -> None:
        reason = "stopped"
        try:
            while not self._stop.is_set() and (until_ms is None or self._clock.now_ms() < until_ms):
                self._write_black_box_if_asked(recorder)
                recorder.turn(TURN_S)
            self._write_black_box_if_asked(recorder)
        except TwinError as exc:
            reason = self._error = explain(exc)
            logger.warning("recording=ended reason=%s", reason)
        try:
            recorder.close(reason)
        except TwinError as exc:
            self._error = explain(exc)

    def _write_black_box_if_asked(self, recorder: Recorder) -> None:
        if self._dump.is_set():
            self._dump.clear()
            recorder.write_black_box()
