"""The console's parts, put together once for each app, and what its routes share."""

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fastapi import Request

from twin.console.context import ConsoleContext
from twin.console.doors import seat_of
from twin.console.feed import Feed
from twin.console.floor import Floor
from twin.console.hub import Hub
from twin.console.live import Live
from twin.console.orders import Orders
from twin.console.problems import problem
from twin.console.rates import Rates
from twin.console.recorder import RecorderDesk
from twin.console.recordings import Recordings
from twin.console.seats import Right, Seat

Guard = Callable[[Request], Awaitable[Seat]]


@dataclass(frozen=True, slots=True)
class Parts:
    """All that the routes need."""

    context: ConsoleContext
    rates: Rates
    live: Live
    feed: Feed
    floor: Floor
    hub: Hub
    orders: Orders
    recordings: Recordings
    recorder: RecorderDesk

    def guard(self, right: Right, *, rate: str | None = None) -> Guard:
        """Make a dependency that gives the seat of a request, or refuses it.

        Parameters
        ----------
        right
            What the seat must be allowed to do.
        rate
            The bucket that the request takes from, if any.
        """

        async def seat(request: Request) -> Seat:
            found = seat_of(request.headers, self.context.seats, self.context.port)
            if found is None:
                raise problem("no-seat", "no seat is known for this request", "open the link that was printed at start")
            if not found.may(right):
                raise problem("role", f"not allowed as {found.role}", "use the link of another role")
            if rate is not None:
                self.take(rate, found.id)
            return found

        return seat

    def take(self, rate: str, key: str) -> None:
        """Take one from a bucket, or refuse."""
        wait_s = self.rates.take(rate, key)
        if wait_s > 0:
            raise problem("too-many", f"too many requests of kind {rate!r}", "wait", retry_after_s=math.ceil(wait_s))


def build_parts(context: ConsoleContext) -> Parts:
    """Put the parts together; nothing runs yet."""
    rates = Rates(now_ms=context.now_ms)
    live = Live(context.namespace, context.site, now_ms=context.now_ms, takeover_of=context.takeover_of)
    floor = Floor(context.site, live)
    return Parts(
        context=context,
        rates=rates,
        live=live,
        feed=Feed(context.bus, context.namespace, live),
        floor=floor,
        hub=Hub(live=live, floor=floor, site=context.site, seats=context.seats, rates=rates, now_ms=context.now_ms),
        orders=Orders(
            bus=context.bus,
            namespace=context.namespace,
            live=live,
            site=context.site,
            catalogue=context.catalogue,
            now_ms=context.now_ms,
        ),
        recordings=Recordings(context.data_dir),
        recorder=RecorderDesk(context.bus, context.namespace, context.data_dir, context),
    )
