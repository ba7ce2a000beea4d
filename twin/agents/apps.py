"""The three apps of the observer: consumer groups of one image, so that a slow store never stops the state."""

import asyncio
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import faust
from faust.types import AgentT

from twin.agents import health, history, rows, site
from twin.agents.context import Attached, Context
from twin.agents.follower import Follower
from twin.bus.base import Record
from twin.bus.faust_memory import Tables
from twin.errors import MessageInvalid
from twin.events.control import RunControl
from twin.events.head import decode_model
from twin.events.topics import BY_NAME, full_name
from twin.run import check_control

CONTROL = BY_NAME["run.control"]
SESSION_TIMEOUT_S = 10.0
# Of Faust's own limits: what waits for a store or a broker may wait for a day; ``twin.health`` and the health endpoint
# tell of it.
PATIENCE_S = 86_400.0


@dataclass(frozen=True, slots=True)
class AppKind:
    """One app: what it does, and how much of its input it holds.

    ``attach`` adds its agents; about ``buffer_bytes`` of messages wait for them, each of ``message_bytes``. One that is
    ``alone`` has one worker: what it makes needs all that it reads.
    """

    attach: Callable[[faust.App, Context], Attached]
    buffer_bytes: int
    message_bytes: int
    alone: bool = False

    @property
    def buffer_n(self) -> int:
        """How many messages wait at most: Faust counts them, over all partitions of a worker."""
        return self.buffer_bytes // self.message_bytes


_MIB = 1 << 20
# To add an app: its row here. ``history`` holds little, for it may stand still while the store does.
# Messages are as long as at 200,000 GPUs: a frame of 512 GPUs, and the racks of 16 such arrays.
APPS: dict[str, AppKind] = {
    "rows": AppKind(rows.attach, 64 * _MIB, 23_000),
    "site": AppKind(site.attach, 64 * _MIB, 36_000, alone=True),
    "history": AppKind(history.attach, 16 * _MIB, 36_000),
}


class _App(faust.App):
    """A Faust app that an agent ends when it fails."""

    async def _on_agent_error(self, agent: AgentT[Any], exc: BaseException) -> None:
        await self.crash(exc)
        # Faust would begin another agent, after the messages that this one has lost, and acknowledge those that come
        # in between: it stays as it is until it is cancelled.
        await asyncio.Event().wait()


def make_app(name: str, context: Context) -> tuple[faust.App, Follower]:
    """Build a worker of an app; neither part is started, and an app is never started twice.

    Parameters
    ----------
    name
        One of ``APPS``.
    context
        Its surroundings, its own and nobody else's.

    Returns
    -------
    tuple
        The app, and the follower of control topics, which must be started before it.
    """
    kind = APPS[name]
    app = _App(
        full_name(name, context.namespace),
        **context.faust,
        store="memory://",
        TableManager=Tables,  # there are no tables; the stock manager sleeps a second to make sure
        origin="twin",
        autodiscover=False,
        datadir=tempfile.gettempdir(),
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        stream_wait_empty=False,
        stream_buffer_maxsize=kind.buffer_n,
        broker_commit_interval=1.0,
        broker_commit_every=100_000,
        broker_session_timeout=SESSION_TIMEOUT_S,
        broker_heartbeat_interval=3.0,
        broker_max_poll_records=500,
        consumer_max_fetch_size=5 << 20,
        broker_commit_livelock_soft_timeout=PATIENCE_S,
        stream_processing_timeout=PATIENCE_S,
        producer_request_timeout=PATIENCE_S,
        producer_acks=-1,
        producer_compression_type="zstd",
        producer_linger=0.01,
        producer_max_batch_size=262_144,
    )
    attached = kind.attach(app, context)
    health.attach(app, context, attached)
    handlers = {context.topic("run.control"): _hear_control(context), **attached.follows}
    return app, Follower(context.bus, handlers, app.crash)


def _hear_control(context: Context) -> Callable[[Record], None]:
    def hear(record: Record) -> None:
        try:
            _, control = decode_model(record.value, CONTROL.schema_id, RunControl)
            check_control(control, context.clock.now_ms())
        except MessageInvalid:
            return  # the app history counts it and keeps it aside
        context.view.accept(control, now_ms=context.clock.now_ms())
        for told in context.control_changed:
            told()

    return hear
