"""The app ``site``: ``twin.rack`` and the plants' telemetry in, ``twin.site`` out. One worker."""

import faust

from twin.agents.carrier import Carrier
from twin.agents.context import Attached, Context
from twin.agents.pulse import run_keeper
from twin.state.site import TOPICS, SiteKeeper


def attach(app: faust.App, context: Context) -> Attached:
    """Add the agents of ``site``."""
    keeper = SiteKeeper(context.layout, context.view)
    run_keeper(app, context, keeper, TOPICS, Carrier(app, context))
    return Attached(keeper.intake)
