"""One message of a recording: what the bus held, and when on the recording's clock."""

from typing import NamedTuple

NS_PER_MS = 1_000_000
_MESSAGE_BYTES, _HEADER_BYTES = 400, 200  # of Python's own: 343 and 180 were measured


class Item(NamedTuple):
    """A message of a recording.

    Attributes
    ----------
    time_ns
        On the recording's clock [ns since 1970]: the bus's timestamp, never going back within a partition.
    topic
        Without namespace.
    timestamp_ms
        The bus's own timestamp [ms].
    received_ms
        When the recorder received it [ms].
    """

    time_ns: int
    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    received_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()

    @property
    def memory_n(self) -> int:
        """How much memory it takes, about [B]."""
        return self.bytes_n + _MESSAGE_BYTES + _HEADER_BYTES * len(self.headers)

    @property
    def bytes_n(self) -> int:
        """Size of key, value and headers [B]."""
        bytes_n = len(self.key or b"") + len(self.value or b"")
        if self.headers:
            bytes_n += sum(len(name) + len(content) for name, content in self.headers)
        return bytes_n
