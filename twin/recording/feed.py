"""Reads a recording ahead, in a thread of its own, so that what is due is there."""

import threading
from collections import deque
from collections.abc import Callable, Collection
from itertools import islice

from twin.errors import RecordingInvalid
from twin.recording.item import Item
from twin.recording.reader import Damage, Recording

AHEAD_MAX_BYTES = 32 << 20


class Feed:
    """The next messages of a recording, from the instant that was sought last.

    Parameters
    ----------
    recording
        Open; it stays so after :meth:`close`.
    topics
        Read these only.
    end_ns
        Read no further [ns].
    ahead_bytes
        How much is read ahead at most [B].
    """

    def __init__(
        self,
        recording: Recording,
        topics: Collection[str],
        end_ns: int,
        *,
        ahead_bytes: int = AHEAD_MAX_BYTES,
    ) -> None:
        self._recording = recording
        self._topics = frozenset(topics)
        self._end_ns = end_ns
        self._ahead_bytes = ahead_bytes
        self._changed = threading.Condition()
        self._items: deque[Item] = deque()
        self._bytes = 0
        self._start_ns: int | None = None  # where the thread is to begin anew
        self._generation = 0
        self._exhausted = False
        self._closed = False
        self._error: BaseException | None = None
        self.damages: list[Damage] = []
        self._thread = threading.Thread(target=self._run, name="recording", daemon=True)
        self._thread.start()

    def seek(self, start_ns: int) -> None:
        """Begin anew at an instant [ns]."""
        with self._changed:
            self._generation += 1
            self._start_ns = start_ns
            self._items.clear()
            self._bytes = 0
            self._exhausted = False
            self._changed.notify_all()

    def head(self) -> Item | None:
        """Return the next message, ``None`` if it is not there yet or there is none.

        Raises
        ------
        RecordingInvalid
            The reading failed.
        """
        with self._changed:
            self._check()
            return self._items[0] if self._items else None

    def pop(self) -> Item:
        """Take the next message."""
        with self._changed:
            item = self._items.popleft()
            self._bytes -= item.bytes_n
            if self._bytes < self._ahead_bytes:
                self._changed.notify_all()
            return item

    def find(self, wanted: Callable[[Item], bool], *, upto_ns: int | None = None) -> tuple[Item | None, bool]:
        """Look ahead for a message.

        Parameters
        ----------
        upto_ns
            No further than this [ns].

        Returns
        -------
        tuple
            The first such message that has been read, and whether what is looked through was all there is to look
            through: with ``(None, False)`` it may still come.
        """
        with self._changed:
            self._check()
            for item in self._items:
                if upto_ns is not None and item.time_ns > upto_ns:
                    return None, True
                if wanted(item):
                    return item, True
            return None, self._exhausted or self._bytes >= self._ahead_bytes

    @property
    def exhausted(self) -> bool:
        """Whether nothing is left."""
        with self._changed:
            self._check()
            return self._exhausted and not self._items

    def wait(self, timeout_s: float) -> None:
        """Wait until something has been read, or nothing is left."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._exhausted or self._error is not None, timeout_s)

    def close(self) -> None:
        """Stop reading."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def _check(self) -> None:
        if self._error is not None:
            raise RecordingInvalid(f"{self._recording.path} cannot be read on: {self._error}") from self._error

    def _run(self) -> None:
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._start_ns is not None or self._closed)
                    if self._closed:
                        return
                    assert self._start_ns is not None  # noqa: S101  (waited for)
                    start_ns, self._start_ns = self._start_ns, None
                    generation = self._generation
                self._read(start_ns, generation)
        except (RecordingInvalid, OSError) as exc:
            with self._changed:
                self._error = exc
                self._changed.notify_all()

    def _read(self, start_ns: int, generation: int) -> None:
        items = self._recording.items(start_ns, self._end_ns, self._topics, on_damage=self._note)
        while batch := list(islice(items, 64)):
            with self._changed:
                self._changed.wait_for(
                    lambda: self._bytes < self._ahead_bytes or self._generation != generation or self._closed
                )
                if self._generation != generation or self._closed:
                    return
                self._items.extend(batch)
                self._bytes += sum(item.bytes_n for item in batch)
                self._changed.notify_all()
        with self._changed:
            if self._generation == generation:
                self._exhausted = True
                self._changed.notify_all()

    def _note(self, damage: Damage) -> None:
        with self._changed:
            if damage not in self.damages:
                self.damages.append(damage)
