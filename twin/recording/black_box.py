"""The black box: the last minute of what is not recorded all the time, held in memory, compressed."""

import mmap
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import zstandard

from twin.recording.item import NS_PER_MS, Item

KEPT_S = 60.0
LATE_S = 5.0  # an alarm comes after the frames that raised it: so much longer they are held
MAX_BYTES = 192 << 20
BLOCK_BYTES = 1 << 20
BLOCK_MS = 1000
ITEM_BYTES = 400  # of memory for a message without its value: key, numbers, and Python's own
_LEVEL = 1  # what is held is mostly thrown away


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of the recording's clock that is wanted, both ends included [ns since 1970]."""

    start_ns: int
    end_ns: int

    def has(self, time_ns: int) -> bool:
        """Tell whether an instant is in it."""
        return self.start_ns <= time_ns <= self.end_ns

    def meets(self, other: "Window") -> bool:
        """Tell whether the two have an instant in common."""
        return self.start_ns <= other.end_ns and other.start_ns <= self.end_ns

    def covers(self, other: "Window") -> bool:
        """Tell whether the other is a part of it."""
        return self.start_ns <= other.start_ns and other.end_ns <= self.end_ns

    def common(self, other: "Window") -> "Window":
        """Return what the two have in common."""
        return Window(max(self.start_ns, other.start_ns), min(self.end_ns, other.end_ns))


@dataclass(slots=True)
class _Block:
    """Messages in the order of their coming, their values packed together."""

    span: Window
    items: tuple[Item, ...]  # without their values
    sizes: tuple[int, ...]  # of the values, -1 for none
    packed: mmap.mmap  # of its own pages: what lives for a minute among what does not would tear the heap to pieces
    given: list[Window] = field(default_factory=list)  # what has been taken out of it

    @property
    def bytes_n(self) -> int:
        return len(self.packed) + ITEM_BYTES * len(self.items)

    def has_given(self, window: Window) -> bool:
        return any(given.covers(window) for given in self.given)

    def unpacked(self) -> Iterator[Item]:
        values, at = zstandard.decompress(memoryview(self.packed)), 0
        for item, size in zip(self.items, self.sizes, strict=True):
            if size < 0:
                yield item
            else:
                yield item._replace(value=values[at : at + size])
                at += size


class BlackBox:
    """A ring of messages: what is wanted of it can be taken out, once; the rest is forgotten after a minute.

    Parameters
    ----------
    max_bytes
        How much memory it may take [B]; beyond it the oldest messages are dropped.

    Attributes
    ----------
    dropped_n
        Messages that were dropped before their time, for want of room.
    """

    def __init__(self, *, max_bytes: int = MAX_BYTES) -> None:
        self.dropped_n = 0
        self._max_bytes = max_bytes
        self._blocks: deque[_Block] = deque()
        self._bytes = 0  # of the blocks
        self._open: list[Item] = []
        self._open_bytes = 0
        self._windows: list[Window] = []
        self._newest_ns = 0  # on the recording's clock
        self._received_ms = 0
        self._packer = zstandard.ZstdCompressor(level=_LEVEL)

    @property
    def bytes_n(self) -> int:
        """How much memory it takes [B]."""
        return self._bytes + self._open_bytes

    @property
    def newest_ns(self) -> int:
        """The instant of the newest message [ns since 1970]."""
        return self._newest_ns

    def add(self, item: Item) -> None:
        """Take a message."""
        if self._open and item.received_ms - self._open[0].received_ms >= BLOCK_MS:
            self.cut()
        self._open.append(item)
        self._open_bytes += item.bytes_n + ITEM_BYTES
        self._newest_ns = max(self._newest_ns, item.time_ns)
        self._received_ms = item.received_ms
        if self._open_bytes >= BLOCK_BYTES:
            self.cut()
        while self.bytes_n > self._max_bytes and self._blocks:
            block = self._blocks[0]
            self.dropped_n += 0 if block.has_given(block.span) else len(block.items)
            self._drop_oldest()

    def cut(self) -> None:
        """End the block that is being filled, so that what is in it can be taken."""
        if not self._open:
            return
        times = [item.time_ns for item in self._open]
        values = self._packer.compress(b"".join(item.value or b"" for item in self._open))
        packed = mmap.mmap(-1, len(values))
        packed[:] = values
        block = _Block(
            span=Window(min(times), max(times)),
            items=tuple(item._replace(value=None) for item in self._open),
            sizes=tuple(-1 if item.value is None else len(item.value) for item in self._open),
            packed=packed,
        )
        self._open, self._open_bytes = [], 0
        self._blocks.append(block)
        self._bytes += block.bytes_n
        self._forget()

    def want(self, start_ns: int, end_ns: int) -> None:
        """Ask for a stretch of the recording's clock, which may lie ahead; it comes with :meth:`take`."""
        window = Window(start_ns, end_ns)
        for met in [one for one in self._windows if one.meets(window)]:
            self._windows.remove(met)
            window = Window(min(met.start_ns, window.start_ns), max(met.end_ns, window.end_ns))
        self._windows.append(window)

    def take(self, blocks_n: int | None = None) -> Iterator[Item]:
        """Yield what is wanted and has not been taken, in order per partition.

        Parameters
        ----------
        blocks_n
            Of so many blocks at most, so that nobody has to wait for all of it; ``None``: of all.
        """
        left = len(self._blocks) if blocks_n is None else blocks_n
        for block in [block for block in self._blocks if self._owes(block)][:left]:
            yield from self._take_from(block)

    def _owes(self, block: _Block) -> bool:
        return any(
            block.span.meets(window) and not block.has_given(window.common(block.span)) for window in self._windows
        )

    def _take_from(self, block: _Block) -> Iterator[Item]:
        wanted, before = [window for window in self._windows if block.span.meets(window)], block.given
        block.given = wanted + [window for window in before if not any(one.covers(window) for one in wanted)]
        for item in block.unpacked():
            if any(window.has(item.time_ns) for window in wanted) and not any(
                window.has(item.time_ns) for window in before
            ):
                yield item

    def _forget(self) -> None:
        """Drop what is older than the box keeps, by both clocks, and is not owed any more."""
        now_ns = min(self._newest_ns, self._received_ms * NS_PER_MS)  # a timestamp may lie ahead of its time
        horizon_ns = now_ns - round((KEPT_S + LATE_S) * 1e9)
        while self._blocks and self._blocks[0].span.end_ns < horizon_ns and not self._owes(self._blocks[0]):
            self._drop_oldest()
        if not any(map(self._owes, self._blocks)):
            self._windows = [window for window in self._windows if window.end_ns >= horizon_ns]

    def _drop_oldest(self) -> None:
        self._bytes -= self._blocks.popleft().bytes_n
