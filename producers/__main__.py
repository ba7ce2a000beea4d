"""``python -m producers``: the plant side alone, on a bus of its own; shows or prints what the gateways would send."""

import argparse
import os
import secrets
import signal
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from producers.families import PRODUCERS
from producers.loop import Loop
from twin.bus.base import Reader
from twin.bus.memory import MemoryBus
from twin.errors import TwinError
from twin.events.layout import FrameLayout
from twin.events.topics import BY_NAME, TOPICS
from twin.run import FILL_SPEED, RunPlan, SystemClock, new_run_id, utc_text
from twin.site import load_site

EXIT_USAGE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the plant until it is stopped; print a line a second, or the messages themselves."""
    options = _parser().parse_args(arguments)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        with tempfile.TemporaryDirectory() as folder:
            _run(options, Path(folder), stop)
    except BrokenPipeError:
        # Whoever read has left: nothing more is wanted, and Python must not try to flush at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except TwinError as exc:
        print(f"producers: {exc}", file=sys.stderr)  # noqa: T201
        return EXIT_USAGE
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m producers", description=__doc__)
    parser.add_argument("--site", default="mini")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--speed", type=float, help="0: as fast as possible; default 1, from the past 60")
    parser.add_argument("--past-s", type=float, default=0.0, help="begin so many seconds in the past, and catch up")
    parser.add_argument("--weather-at", default="07-15T14:00", metavar="MM-DDTHH:MM")
    parser.add_argument("--only", choices=tuple(PRODUCERS), help="publish one family")
    parser.add_argument("--lock-step", action="store_true", help="wait until each tick has been read")
    parser.add_argument("--ticks", type=int, help="end after so many ticks")
    parser.add_argument("--print", action="store_true", dest="show", help="print every message, a line each")
    return parser


def _run(options: argparse.Namespace, folder: Path, stop: threading.Event) -> None:
    site, clock = load_site(options.site), SystemClock()
    layout = FrameLayout(site)
    families = (options.only,) if options.only else tuple(PRODUCERS)
    bus = MemoryBus("producers")
    bus.create_topics(TOPICS)
    producers = [PRODUCERS[family](layout) for family in families]
    reader = bus.read([producer.topic for producer in producers], start="beginning")
    start_ms = round(clock.now_ms() - 1000 * options.past_s) if options.past_s > 0 else None
    plan = RunPlan(
        site=site.id,
        site_crc=site.crc,
        seed=options.seed,
        dt_s=1.0,
        weather_at=options.weather_at,
        speed=options.speed if options.speed is not None else (1.0 if start_ms is None else FILL_SPEED),
        start_ms=start_ms,
        lock_step=options.lock_step,
    )
    loop = Loop(
        bus,
        "",
        site,
        plan,
        owner=f"producers-{secrets.token_hex(4)}",
        producers=producers,
        clock=clock,
        snapshot_dir=folder,
        may_go_on=(lambda _: bus.settled()) if options.lock_step else (lambda _: True),
    )
    loop.start(new_run_id(utc_text(clock.now_ms()), secrets.randbits(16)))
    try:
        next_line_ms = clock.now_ms() + 1000
        sent = [0, 0]
        while not stop.is_set() and loop.owner.state != "ended":
            wait_s = loop.turn()
            _read(reader, sent, show=options.show)
            if not options.show and clock.now_ms() >= next_line_ms:
                next_line_ms += 1000
                print(  # noqa: T201
                    f"tick {loop.owner.tick}  {sent[0]} messages/s  {sent[1] / 1e6:.2f} MB/s  "
                    f"x{loop.owner.speed_reached:g}",
                    flush=True,
                )
                sent[:] = [0, 0]
            if options.ticks is not None and loop.owner.tick + 1 >= options.ticks:
                break
            if wait_s > 0:
                stop.wait(min(wait_s, 0.05))
    finally:
        loop.close()
        bus.close()


def _read(reader: Reader, sent: list[int], *, show: bool) -> None:
    """Take what was published, so that it is not held; count it, or print it."""
    while records := reader.poll(0.0):
        for record in records:
            value = record.value or b""
            sent[0] += 1
            sent[1] += len(value)
            if show:
                line = b'{"topic":"%s","partition":%d,"message":%s}\n'
                sys.stdout.buffer.write(line % (BY_NAME[record.topic].name.encode(), record.partition, value))
    if show:
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main())
