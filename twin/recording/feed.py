"""Reads a recording ahead, in a thread of its own, so that what is due is there."""

import threading
from collections import deque
from collections.abc import Callable, Collection
from itertools import chain, islice

from twin.errors import RecordingInvalid
from twin.recording.item import Item
from twin.recording.reader import Damage, Recording

AHEAD_MAX_BYTES = 32 << 20
TAKEN_TOLD_BYTES = 1 << 20  # the reader hears of what was taken so often


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
        self._ready: deque[Item] = deque()  # taken over from the items below: no lock is needed for them
        self._taken_bytes = 0
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
            self._ready.clear()
            self._items.clear()
            self._bytes = self._taken_bytes = 0
            self._exhausted = False
            self._changed.notify_all()

    def head(self) -> Item | None:
        """Return the next message, ``None`` if it is not there yet or there is none.

        Raises
        ------
        RecordingInvalid
            The reading failed.
        """
        if not self._ready:
            with self._changed:
                self._check()
                self._ready, self._items = self._items, self._ready
        return self._ready[0] if self._ready else None

    def pop(self) -> Item:
        """Take the message of :meth:`head`."""
        item = self._ready.popleft()
        self._taken_bytes += item.memory_n
        if not self._ready or self._taken_bytes >= TAKEN_TOLD_BYTES:
            with self._changed:
                self._bytes -= self._taken_bytes
                self._taken_bytes = 0
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
            for item in chain(self._ready, self._items):
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
            return self._exhausted and not (self._ready or self._items)

    def wait(self, timeout_s: float) -> None:
        """Wait until something has been read, or nothing is left."""

        def come() -> bool:
            return bool(self._ready or self._items) or self._exhausted or self._error is not None

        with self._changed:
            self._changed.wait_for(come, timeout_s)

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
        died: BaseException | None = RecordingInvalid("the reading has failed")  # by what nobody has thought of
        try:
            self._read_on()
            died = None
        except (RecordingInvalid, OSError) as exc:
            died = exc
        finally:
            with self._changed:
                self._error = died
                self._changed.notify_all()

    def _read_on(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._start_ns is not None or self._closed)
                if self._closed:
                    return
                assert self._start_ns is not None  # noqa: S101  (waited for)
                start_ns, self._start_ns = self._start_ns, None
                generation = self._generation
            self._read(start_ns, generation)

    def _read(self, start_ns: int, generation: int) -> None:
        items = self._recording.items(start_ns, self._end_ns, self._topics, on_damage=self.note)
        while batch := list(islice(items, 64)):
            with self._changed:
                self._changed.wait_for(
                    lambda: self._bytes < self._ahead_bytes or self._generation != generation or self._closed
                )
                if self._generation != generation or self._closed:
                    return
                self._items.extend(batch)
                self._bytes += sum(item.memory_n for item in batch)
                self._changed.notify_all()
        with self._changed:
            if self._generation == generation:
                self._exhausted = True
                self._changed.notify_all()

    def note(self, damage: Damage) -> None:
        """Remember a part that cannot be read, once."""
        with self._changed:
            if damage not in self.damages:
                self.damages.append(damage)
