"""The clock of a recording: the bus's timestamps, mended where they cannot be right."""

from twin.recording.item import NS_PER_MS
from twin.run import CLOCKS_APART_MS


class Times:
    """Gives each message its instant; within a partition it never goes back."""

    def __init__(self) -> None:
        self._last_ms: dict[tuple[str, int], int] = {}

    def time_ns(self, topic: str, partition: int, timestamp_ms: int, received_ms: int) -> int:
        """Return when a message is, on the recording's clock [ns since 1970].

        Parameters
        ----------
        timestamp_ms
            The bus's own. One that is missing (below 0), or further ahead of the receipt than clocks of two machines
            are apart, counts as received then.
        received_ms
            When the recorder received it [ms since 1970].

        Examples
        --------
        >>> times = Times()
        >>> [times.time_ns("orders", 0, ms, 100_000) // NS_PER_MS for ms in (90_000, 80_000, -1, 200_000)]
        [90000, 90000, 100000, 100000]
        """
        wrong = timestamp_ms < 0 or timestamp_ms > received_ms + CLOCKS_APART_MS
        at_ms = max(received_ms if wrong else timestamp_ms, self._last_ms.get((topic, partition), 0))
        self._last_ms[topic, partition] = at_ms
        return at_ms * NS_PER_MS
