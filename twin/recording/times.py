"""The clock of a recording: the bus's timestamps, mended where they cannot be right."""

from twin.recording.item import NS_PER_MS
from twin.run import CLOCKS_APART_MS

BEFORE_START_MS = 600_000  # what was on its way when a recording began is not older


class Times:
    """Gives each message its instant; within a partition it never goes back.

    Parameters
    ----------
    started_ms
        When the recording began [ms since 1970].
    """

    def __init__(self, started_ms: int) -> None:
        self._first_ms = started_ms - BEFORE_START_MS
        self._last_ms: dict[tuple[str, int], int] = {}

    def time_ns(self, topic: str, partition: int, timestamp_ms: int, received_ms: int) -> int:
        """Return when a message is, on the recording's clock [ns since 1970].

        Parameters
        ----------
        timestamp_ms
            The bus's own. One that is missing (below 0), further ahead of the receipt than clocks of two machines
            are apart, or from long before the recording, counts as received then.
        received_ms
            When the recorder received it [ms since 1970].

        Examples
        --------
        >>> times = Times(900_000)
        >>> [times.time_ns("orders", 0, ms, 950_000) // NS_PER_MS for ms in (910_000, 890_000, 0, 2_000_000)]
        [910000, 910000, 950000, 950000]
        """
        wrong = timestamp_ms < max(0, self._first_ms) or timestamp_ms > received_ms + CLOCKS_APART_MS
        at_ms = max(received_ms if wrong else timestamp_ms, self._last_ms.get((topic, partition), 0))
        self._last_ms[topic, partition] = at_ms
        return at_ms * NS_PER_MS
