"""The app ``rows``: frames of arrays in, ``twin.rack`` out. It scales out by partition of ``telemetry.gpu``."""

import contextlib

import faust

from twin.agents.carrier import Carrier
from twin.agents.context import Attached, Context
from twin.agents.pulse import on_partitions, run_keeper
from twin.bus.base import Record
from twin.errors import MessageInvalid, SiteInvalid
from twin.events.alarm import Mark
from twin.events.head import decode_model
from twin.events.topics import BY_NAME
from twin.state.rows import TOPIC, RowKeeper

MARKS = BY_NAME["twin.marks"]


def attach(app: faust.App, context: Context) -> Attached:
    """Add the agents of ``rows``; it follows ``twin.marks`` for the racks under watch."""
    keeper = RowKeeper(context.layout, context.view)
    on_partitions(app, context.topic(TOPIC), keeper.assign, keeper.revoke)
    run_keeper(app, context, keeper, (TOPIC,), Carrier(app, context), own=keeper.assign)
    marks: dict[str, int] = {}

    def hear_mark(record: Record) -> None:
        key = (record.key or b"").decode(errors="replace")
        if record.value is None:
            marks.pop(key, None)
        else:
            with contextlib.suppress(MessageInvalid, SiteInvalid):  # history keeps it aside, once
                _, mark = decode_model(record.value, MARKS.schema_id, Mark)
                if mark.kind == "watch":
                    marks[key] = context.layout.site.layout.rack_index(mark.asset)
        keeper.watched = frozenset(marks.values())

    follows = {context.topic(MARKS.name): hear_mark}
    return Attached({TOPIC: keeper.intake}, keeper.age_max_s, follows=follows)
