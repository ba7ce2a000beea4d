"""The doors: host, origin, content type and size of every request; the headers of every answer (console.md 7.4)."""

import logging
from collections.abc import Iterable
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from twin.console.problems import as_response, problem
from twin.console.seats import Seat, Seats

logger = logging.getLogger(__name__)

BODY_MAX_BYTES = 65_536
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
# The hash is that of the empty string: plotly adds an empty style element (console.md 7.4).
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; "
    "style-src 'self' 'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='; "
    "img-src 'self' data: blob:; connect-src 'self'; font-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_CHANGES = frozenset({"POST", "PUT", "DELETE", "PATCH"})


class Doors:
    """An ASGI app before the app: what comes in is checked, what goes out gets its headers.

    Parameters
    ----------
    app
        What stands behind the doors.
    hosts
        Names by which the console may be called, beside those of loopback, without port.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str] = ()) -> None:
        self._app = app
        self._hosts = LOOPBACK | {host.lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it with a problem."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        send = _with_headers(scope, send)
        try:
            self._check(scope)
            if scope["type"] == "http" and scope["method"] in _CHANGES:
                receive = await _read_body(receive)
        except HTTPException as exc:
            await as_response(exc, scope["path"])(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        host = hosts[0] if len(hosts) == 1 else ""
        if _host_name(host) not in self._hosts:
            raise problem(
                "misdirected-request",
                "this host is not served here",
                "use the address that was printed at start, or name the host in COLOSSUS_CONSOLE_HOSTS",
            )
        changes = scope["type"] == "websocket" or scope["method"] in _CHANGES
        if not changes:
            return
        origins = headers.getlist("origin")
        secure = scope.get("scheme") in ("https", "wss")
        if origins and origins != [f"{'https' if secure else 'http'}://{host}"]:
            raise problem("origin", "the request comes from another origin", "use the console's own page")
        if not origins and bearer_of(headers) is None:
            raise problem("origin", "no Origin", "programs send 'Authorization: Bearer <token>'")
        if scope["type"] == "http":
            _check_body(scope["method"], headers)


def bearer_of(headers: Headers) -> str | None:
    """Return the token of a program, ``None`` if it sent none."""
    kind, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else None


def cookie_name(port: int) -> str:
    """Name the cookie; cookies ignore ports, so the port is in the name."""
    return f"colossus_{port}"


def seat_of(headers: Headers, seats: Seats, port: int) -> Seat | None:
    """Find the seat of a request: that of its token, else that of its cookie."""
    token = bearer_of(headers)
    if token is not None:
        return seats.of_bearer(token)
    cookie = cookie_parser(headers.get("cookie", "")).get(cookie_name(port))
    return None if cookie is None else seats.of_cookie(cookie)


def _host_name(host: str) -> str:
    name, colon, port = host.lower().rpartition(":")
    return name if colon and port.isdecimal() else host.lower()


def _check_body(method: str, headers: Headers) -> None:
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > BODY_MAX_BYTES:
        raise problem("content-too-large", f"a body may have {BODY_MAX_BYTES} bytes")
    empty_delete = method == "DELETE" and length == "0" and "transfer-encoding" not in headers
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not empty_delete:
        raise problem("unsupported-media-type", "only JSON is taken", "send 'Content-Type: application/json'")


async def _read_body(receive: Receive) -> Receive:
    """Read a body to its end, at most the allowed size; give back where the app will read it again."""
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > BODY_MAX_BYTES:
            raise problem("content-too-large", f"a body may have {BODY_MAX_BYTES} bytes")
        if not message.get("more_body", False):
            break
    whole: Message | None = (
        {"type": "http.request", "body": bytes(body), "more_body": False}
        if message["type"] == "http.request"
        else message
    )

    async def again() -> Message:
        nonlocal whole
        message, whole = whole, None
        return message if message is not None else await receive()

    return again


def _with_headers(scope: Scope, send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            headers = MutableHeaders(scope=message)
            headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
            headers["X-Content-Type-Options"] = "nosniff"
            headers["Referrer-Policy"] = "no-referrer"
            headers.setdefault("Cache-Control", "no-cache" if scope["path"].startswith("/page/") else "no-store")
            # The path alone: a query may hold a token.
            logger.debug("method=%s path=%s status=%d", scope.get("method", "WS"), scope["path"], message["status"])
        await send(message)

    return sending
