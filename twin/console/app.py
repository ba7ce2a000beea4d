"""The app: parts, routes, doors, and the page's files."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp
from starlette.websockets import WebSocket

from twin.console.context import ConsoleContext
from twin.console.doors import Doors, seat_of
from twin.console.hub import beats
from twin.console.journal import Entry
from twin.console.parts import Parts, build_parts
from twin.console.problems import install
from twin.console.routes.assets import asset_routes
from twin.console.routes.history import history_routes
from twin.console.routes.orders import order_routes
from twin.console.routes.player import player_routes
from twin.console.routes.recordings import recording_routes
from twin.console.routes.run import run_routes
from twin.console.routes.seat import seat_routes

PAGE = Path(__file__).parent / "page"


def make_console(context: ConsoleContext) -> FastAPI:
    """Build the console; reader and pictures run within the app's lifespan.

    ``app.state.parts`` holds the parts, ``app.state.crash`` a future that gets the error of a part that failed.
    """
    parts = build_parts(context)
    app = _Console(
        context.hosts,
        title="Colossus console",
        version=context.version,
        lifespan=_lifespan,
        # The framework's own documentation pages load from elsewhere.
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        # A trace would hold the query of /enter, which is a token.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.parts = parts
    install(app)
    for routes in (
        seat_routes,
        run_routes,
        asset_routes,
        history_routes,
        order_routes,
        player_routes,
        recording_routes,
    ):
        app.include_router(routes(parts))
    app.mount("/page", StaticFiles(directory=PAGE))

    @app.websocket("/ws")
    async def ws(socket: WebSocket) -> None:
        await parts.hub.serve(socket, seat_of(socket.headers, context.seats, context.port))

    return app


class _Console(FastAPI):
    """The app behind its doors; they are outermost, so that every answer passes them, that to a crash too."""

    def __init__(self, hosts: tuple[str, ...], **framework: Any) -> None:
        super().__init__(**framework)
        self._hosts = hosts

    def build_middleware_stack(self) -> ASGIApp:
        return Doors(super().build_middleware_stack(), self._hosts)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    parts: Parts = app.state.parts
    loop = asyncio.get_running_loop()
    app.state.crash = loop.create_future()

    def failed(part: asyncio.Future[None]) -> None:
        if not part.cancelled() and (error := part.exception()) is not None and not app.state.crash.done():
            app.state.crash.set_exception(error)

    def tell(entry: Entry) -> None:
        loop.call_soon_threadsafe(parts.hub.publish, entry)

    parts.live.journal.on_entry = tell
    with ThreadPoolExecutor(1, "console-feed") as thread:
        reading = loop.run_in_executor(thread, parts.feed.run)
        beating = asyncio.ensure_future(beats(parts.hub, now_ms=parts.context.now_ms, sleep=parts.context.sleep))
        for part in (reading, beating):
            part.add_done_callback(failed)
        try:
            yield
        finally:
            parts.live.journal.on_entry = None
            parts.feed.stop()
            await loop.run_in_executor(None, parts.recorder.close)
            beating.cancel()
            await asyncio.gather(reading, beating, return_exceptions=True)
            app.state.crash.cancel()
