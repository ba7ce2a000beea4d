"""The log of one partition in memory: offsets that never change, retention, compaction."""

from itertools import islice
from typing import NamedTuple

from twin.bus.base import Record


class Retention(NamedTuple):
    """How much of one partition is kept: whichever limit is reached first."""

    max_bytes: int
    max_age_s: float
    compacted: bool = False


def record_bytes(record: Record) -> int:
    """Return the size of a message [B]: key, value and headers.

    Examples
    --------
    >>> record_bytes(Record("t", 0, 0, 0, b"key", b"value", (("h", b"1"),)))
    10
    """
    size = len(record.key or b"") + len(record.value or b"")
    for name, content in record.headers:
        size += len(name) + len(content)
    return size


class Log:
    """One partition.

    The newest records stand in ``_tail``, without a gap in their offsets. What retention takes from its head is
    dropped; of a compacted topic the last message of each key moves to ``_kept`` instead and stays there until its
    key is sent again. So a reader close to the end sees every message, and a late one the last of each key.
    Not safe for threads: the bus locks.
    """

    def __init__(self, retention: Retention) -> None:
        self._retention = retention
        self._tail: list[Record | None] = []
        self._appended_s: list[float] = []
        self._head = 0  # index of the first record of the tail that is left
        self._tail_start = 0  # offset of _tail[0]
        self._tail_bytes = 0
        self._kept: dict[bytes, Record] = {}  # in order of offset: keys are put in as the head passes them
        self._last: dict[bytes, int] = {}  # of a compacted topic: the offset of each key's last message
        self.end = 0

    @property
    def start(self) -> int:
        """The lowest offset that can be read."""
        for record in self._kept.values():
            return record.offset
        return self._tail_start + self._head

    def append(self, record: Record, now_s: float) -> None:
        """Take the record of offset ``end``; ``now_s`` [s] is when it came: its age counts from there."""
        self._tail.append(record)
        self._appended_s.append(now_s)
        self._tail_bytes += record_bytes(record)
        self.end += 1
        if self._retention.compacted and record.key is not None:
            self._last[record.key] = record.offset
            self._kept.pop(record.key, None)
        self.trim(now_s)

    def trim(self, now_s: float) -> None:
        """Let go of what is too old, or too much; the newest record always stays."""
        oldest_s = now_s - self._retention.max_age_s
        last = len(self._tail) - 1
        while self._head < last and (
            self._tail_bytes > self._retention.max_bytes or self._appended_s[self._head] < oldest_s
        ):
            record = self._tail[self._head]
            self._tail[self._head] = None
            self._head += 1
            if record is not None:
                self._tail_bytes -= record_bytes(record)
                self._retire(record)
        if self._head > 64 and self._head > len(self._tail) // 2:
            del self._tail[: self._head], self._appended_s[: self._head]
            self._tail_start += self._head
            self._head = 0

    def _retire(self, record: Record) -> None:
        key = record.key
        if key is None or self._last.get(key) != record.offset:
            return
        if record.value is None:
            del self._last[key]
        else:
            self._kept[key] = record

    def unread_ratio(self, offset: int) -> float:
        """Return how much of what may be kept lies at or after an offset: at 1 the next message costs the first of it.

        Messages are taken to be of one size.
        """
        kept = len(self._tail) - self._head
        unread = min(self.end - offset, kept)
        if unread <= 0:
            return 0.0
        return self._tail_bytes * unread / kept / self._retention.max_bytes

    def read(self, offset: int, limit: int) -> list[Record]:
        """Return up to ``limit`` records from ``offset`` on; from ``start`` on if that is higher."""
        first = self._tail_start + self._head
        if offset >= first:
            at = offset - self._tail_start
            return self._tail[at : at + limit]  # type: ignore[return-value]  # no None from the head on
        found = list(islice((record for record in self._kept.values() if record.offset >= offset), limit))
        if len(found) < limit:
            found += self._tail[self._head : self._head + limit - len(found)]  # type: ignore[arg-type]
        return found
