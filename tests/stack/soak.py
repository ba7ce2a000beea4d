"""``python -m tests.stack.soak``: the whole site while InfluxDB is away for minutes; prints how it makes up for it."""

import argparse
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil

from benchmarks.printing import show
from tests.stack.servers.influx import Influx
from tests.stack.servers.kafka import Kafka
from tests.stack.servers.running import free_ports
from tests.stack.theatre import Theatre
from twin.events.head import split
from twin.events.topics import GPU_PARTITIONS

WARM_UP_TICKS = 20
CAUGHT_UP_TICKS = 5  # it takes a second to gather, and one to commit


def main() -> None:
    """Run, and print the figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.stack.soak", description=__doc__)
    parser.add_argument("--site", default="colossus1")
    parser.add_argument("--seconds", type=int, default=600, help="how long InfluxDB is away")
    options = parser.parse_args()
    ports = free_ports(4)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        kafka = Kafka(
            folder / "kafka", port=ports[0], safe_port=ports[1], controller_port=ports[2], retention_look_s=60
        )
        influx = Influx(folder / "influx", port=ports[3])
        try:
            kafka.start()
            influx.start()
            (folder / "theatre").mkdir()
            theatre = Theatre(kafka, influx, folder / "theatre", options.site)
            try:
                show(_soak(theatre, options.seconds), as_json=True)
            finally:
                theatre.close()
        finally:
            influx.stop()
            kafka.stop()


def _soak(theatre: Theatre, seconds: int) -> dict[str, object]:
    theatre.begin(("rows", "rows-1"), ("site", "site-1"), ("history", "history-1"))
    theatre.start("producers", "producers-1")
    theatre.until(lambda: bool(theatre.controls), 30.0, "a run")
    theatre.run_ticks(WARM_UP_TICKS)
    history = psutil.Process(theatre.fleet.members["history-1"].pid)
    theatre.influx.stop()
    away_ms = theatre.now_ms()
    threading.Event().wait(seconds)
    rss_mb = history.memory_info().rss / 1e6
    theatre.influx.start()
    back_ms, back_s = theatre.now_ms(), time.monotonic()
    theatre.until(lambda: _unwritten_ticks(theatre) <= CAUGHT_UP_TICKS, 10.0 * seconds, "the history has caught up")
    caught_up_s = time.monotonic() - back_s
    theatre.fleet.end("producers-1")
    theatre.wait_settled(120.0)
    _, sent = theatre.sent_of(theatre.control.run)
    return {
        "site": theatre.site.id,
        "away_s": (back_ms - away_ms) / 1000,
        "caught_up_s": round(caught_up_s, 1),
        "backlog_x_realtime": round(((back_ms - away_ms) / 1000 + caught_up_s) / caught_up_s, 1),
        **_delays(theatre, away_ms, back_ms),
        "history_rss_mb": round(rss_mb, 1),
        "sent": sent,
        "lost": sent - theatre.store.stored("rack", theatre.control.run),
    }


def _unwritten_ticks(theatre: Theatre) -> float:
    lag = theatre.bus.lag(theatre.name("history"), theatre.name("twin.rack"))
    return float("inf") if lag is None else lag / min(GPU_PARTITIONS, theatre.site.layout.array_count)


def _delays(theatre: Theatre, from_ms: int, to_ms: int) -> dict[str, float]:
    """Return how late state and picture were while the store was away [s]."""
    figures = {}
    for name, topic in (("state_s", "twin.rack"), ("site_s", "twin.site")):
        late_s = [
            (record.timestamp_ms - split(record.value)[0].ts) / 1000
            for record in theatre.records(topic)
            if from_ms <= record.timestamp_ms <= to_ms
        ]
        figures |= {f"p{q}_{name}": round(float(np.percentile(late_s, q)), 3) for q in (50, 99)}
    return figures


if __name__ == "__main__":
    main()
