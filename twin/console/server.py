"""The server: listens, serves one app, and stops cleanly; signals belong to the process that calls it."""

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable, Iterator

import uvicorn
from fastapi import FastAPI

from twin.console.hub import MESSAGE_MAX_BYTES
from twin.errors import StartError

SHUTDOWN_S = 5


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield


def listen(host: str, port: int) -> socket.socket:
    """Open the port.

    Raises
    ------
    StartError
        It is in use, or the address is not of this machine.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        opened = socket.create_server((host, port), family=family, backlog=128)
    except OSError as exc:
        raise StartError(_why(exc, host, port)) from exc
    opened.set_inheritable(True)
    # Who is let in inherits it: else each answer after the first on a connection comes 40 ms late (delayed ACK).
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return opened


def url_of(host: str, listening: socket.socket) -> str:
    """Return the address of the console for a browser on this machine.

    Parameters
    ----------
    host
        As it was asked for; where that is every address, loopback is told.
    listening
        Knows the port, also where any free one was asked for.
    """
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    port = listening.getsockname()[1]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def serve(app: FastAPI, listening: socket.socket, *, stop: asyncio.Event, on_started: Callable[[], None]) -> None:
    """Serve the console until ``stop`` is set.

    Parameters
    ----------
    listening
        From :func:`listen`; closed at the end.
    on_started
        Called once the console answers.

    Raises
    ------
    StartError
        The app did not start.
    """
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="warning",
        access_log=False,  # the doors log the path without the query, which may hold a token
        ws="websockets-sansio",
        ws_max_size=MESSAGE_MAX_BYTES,
        ws_per_message_deflate=False,
        proxy_headers=False,
        server_header=False,
        lifespan="on",
        timeout_graceful_shutdown=SHUTDOWN_S,
    )
    server = _Server(config)
    with listening:
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        stopping = asyncio.create_task(stop.wait())
        try:
            while not server.started and not serving.done():
                await asyncio.sleep(0.02)
            if serving.done():
                raise StartError("the console did not start") from serving.exception()
            on_started()
            await asyncio.wait({serving, stopping, app.state.crash}, return_when=asyncio.FIRST_COMPLETED)
            if app.state.crash.done():
                app.state.crash.result()
        finally:
            stopping.cancel()
            # Clients are told before the server cuts them off.
            app.state.parts.hub.stop()
            server.should_exit = True
            await asyncio.wait({serving})


def _why(exc: OSError, host: str, port: int) -> str:
    if exc.errno == errno.EADDRINUSE:
        return f"port {port} is in use: end what listens there, or choose another (COLOSSUS_CONSOLE_PORT)"
    if exc.errno == errno.EACCES:
        return f"port {port} is not allowed for this user: choose one above 1023 (COLOSSUS_CONSOLE_PORT)"
    return f"cannot listen on {host}:{port}: {exc.strerror or exc} (COLOSSUS_CONSOLE_HOST, COLOSSUS_CONSOLE_PORT)"
