"""What a benchmark sees from outside: what is sent, and how late state and queries are."""

import numpy as np
import orjson

from twin.bus.base import Bus
from twin.events.head import split
from twin.events.topics import full_name
from twin.run import SystemClock
from twin.site import Site
from twin.store import Store


class Delays:
    """Reads along on a bus, and asks a history as a screen would.

    Parameters
    ----------
    bus, namespace
        Where the twin runs.
    store
        Its history.
    site
        What runs.

    Attributes
    ----------
    sent, rolled
        Rows of racks in the frames, and in ``twin.rack``.
    run
        The run that is asked for; none as long as it is empty.
    from_ms
        Delays of what came before this time [ms] do not count.
    """

    def __init__(self, bus: Bus, store: Store, site: Site, namespace: str = "") -> None:
        self._store = store
        self._rack = site.layout.rack_ids[-1]
        self._racks_of = np.diff(site.layout.array_first_rack)
        self._arrays = {array: i for i, array in enumerate(site.layout.array_ids)}
        self._clock = SystemClock()
        self._frames = bus.read([full_name("telemetry.gpu", namespace)])
        self._racks = bus.read([full_name("twin.rack", namespace)])
        self._pictures = bus.read([full_name("twin.site", namespace)])
        self.run = ""
        self.from_ms = 0
        self.sent = 0
        self.rolled = 0
        self._state_s: list[float] = []
        self._site_s: list[float] = []
        self._query_s: list[float] = []
        self._newest_ts = -1

    def take(self, wait_s: float = 0.0) -> None:
        """Count what was sent, and how late the state came of it; go on until nothing comes for ``wait_s`` [s]."""
        while records := self._frames.poll(wait_s, limit=10_000):
            for record in records:
                self.sent += int(self._racks_of[self._arrays[(record.key or b"").decode()]])
        while records := self._racks.poll(wait_s, limit=10_000):
            for record in records:
                head, data = split(record.value)
                racks = len(orjson.loads(data).get("rack", {}).get("rack_i", ()))
                self.rolled += racks
                if record.timestamp_ms >= self.from_ms:
                    self._state_s += [(record.timestamp_ms - head.ts) / 1000] * racks
        while records := self._pictures.poll(wait_s, limit=10_000):
            self._site_s += [
                (record.timestamp_ms - split(record.value)[0].ts) / 1000
                for record in records
                if record.timestamp_ms >= self.from_ms
            ]

    def query(self) -> None:
        """Ask for the newest row of a rack."""
        if not self.run:
            return
        rows = self._store.latest(
            "rack",
            ["power_w"],
            run=self.run,
            until_ms=self._clock.now_ms(),
            window_ms=15_000,
            where={"rack": self._rack},
        )
        if rows.size and int(rows.ts[0]) > self._newest_ts:
            if self._newest_ts >= 0:
                self._query_s.append((self._clock.now_ms() - int(rows.ts[0])) / 1000)
            self._newest_ts = int(rows.ts[0])

    def begin(self) -> None:
        """Let the delays count from now on."""
        self.from_ms = self._clock.now_ms()
        self._query_s.clear()

    def figures(self) -> dict[str, float]:
        """Return p50 and p99 of the delays from ``ts`` to state, picture and answer [s]."""
        return {
            f"p{q}_{name}": round(float(np.percentile(values or [np.nan], q)), 3)
            for name, values in (("state_s", self._state_s), ("site_s", self._site_s), ("query_s", self._query_s))
            for q in (50, 99)
        }

    def close(self) -> None:
        """Let go of the bus."""
        for reader in (self._frames, self._racks, self._pictures):
            reader.close()
