"""How a worker does: ``twin.health`` every few seconds, at the wall clock."""

import time
from typing import Any

import faust
import psutil

from twin.agents.carrier import NO_RUN, Carrier, first_seq
from twin.agents.context import Attached, Context
from twin.events.derived import Health
from twin.events.head import Head, encode_model


def attach(app: faust.App, context: Context, attached: Attached) -> None:
    """Add the timer that reports intake, lag, writes, CPU and memory of this worker."""
    carrier = Carrier(app, context)
    process = psutil.Process()
    process.cpu_percent()
    last_s = time.monotonic()
    seq = first_seq(context.clock.now_ms())

    @app.timer(context.health_every_s)
    async def say() -> None:
        nonlocal last_s, seq
        seconds, last_s = time.monotonic() - last_s, time.monotonic()
        now_ms, view = context.clock.now_ms(), context.view
        lag = _lag(app)
        health = Health(
            process=context.worker,
            at_ms=now_ms,
            cpu=process.cpu_percent() / 100,
            rss_mb=process.memory_info().rss / 1e6,
            buffer_fill=len(app.consumer.unacked) / app.conf.stream_buffer_maxsize,
            ingest=tuple(
                intake.report(
                    topic,
                    seconds,
                    age_max_s=attached.age_max_s(),
                    control_age_s=view.age_s(now_ms),
                    lag=lag.get(context.topic(topic), 0),
                )
                for topic, intake in attached.intake.items()
            ),
            sinks=(attached.sink(seconds),) if attached.sink else (),
        )
        control = view.control
        head = Head(
            schema_id="twin.health/1",
            run=control.run if control else NO_RUN,
            epoch=control.epoch if control else 0,
            tick=max(control.settled_tick, 0) if control else 0,
            seq=seq,
            ts=now_ms,
            dt_s=control.dt_s if control else 1.0,
            key=context.worker,
        )
        seq += 1
        await carrier.publish("twin.health", context.worker, encode_model(head, health))


def _lag(app: faust.App) -> dict[str, int]:
    """Return, by full topic name, how many messages this worker has not been given yet."""
    consumer: Any = app.consumer
    lag: dict[str, int] = {}
    for tp in consumer.assignment():
        read = consumer._read_offset[tp]  # noqa: SLF001  (Faust offers no public position of delivery)
        if read is not None:
            lag[tp.topic] = lag.get(tp.topic, 0) + max(0, (consumer.highwater(tp) or 0) - read - 1)
    return lag
