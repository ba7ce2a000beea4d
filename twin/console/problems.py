"""Errors as people and programs get them: ``application/problem+json`` (RFC 9457) for everything."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from twin.errors import BusError, RecordingError, SiteInvalid, StoreRejected, StoreUnavailable, UnknownTopic


class Kind(NamedTuple):
    """A kind of problem."""

    status: int
    title: str


KINDS: dict[str, Kind] = {
    "no-seat": Kind(401, "No seat"),
    "role": Kind(403, "Not this role"),
    "origin": Kind(403, "Foreign origin"),
    "unknown-asset": Kind(404, "Unknown asset"),
    "unknown-command": Kind(404, "Unknown command"),
    "unknown-inject": Kind(404, "Unknown inject"),
    "unknown-recording": Kind(404, "Unknown recording"),
    "unknown-topic": Kind(404, "Unknown topic"),
    "no-player": Kind(404, "No replay runs"),
    "not-in-this-state": Kind(409, "Not in this state"),
    "run-active": Kind(409, "A run is active"),
    "recording": Kind(409, "A recording is under way"),
    "frozen": Kind(409, "The run is frozen"),
    "paused": Kind(409, "The run is paused"),
    "too-many-watched": Kind(409, "Too many racks under watch"),
    "content-too-large": Kind(413, "Content Too Large"),
    "unsupported-media-type": Kind(415, "Unsupported Media Type"),
    "misdirected-request": Kind(421, "Misdirected Request"),
    "invalid": Kind(422, "Invalid request"),
    "too-many": Kind(429, "Too many requests"),
    "starting": Kind(503, "Starting"),
    "bus-down": Kind(503, "The bus does not answer"),
    "store-down": Kind(503, "The history does not answer"),
}


class _Body(dict[str, Any]):
    """The detail of an ``HTTPException`` that is a problem already."""


def problem(
    slug: str,
    detail: str,
    way_out: str | None = None,
    *,
    errors: Sequence[Mapping[str, Any]] = (),
    retry_after_s: float | None = None,
) -> HTTPException:
    """Make a problem to raise.

    Parameters
    ----------
    slug
        One of ``KINDS``.
    detail
        What is wrong, and where.
    way_out
        What to do about it.
    errors
        ``{loc, msg}`` of each field.
    retry_after_s
        Becomes the header ``Retry-After`` [s].
    """
    kind = KINDS[slug]
    body = _Body(type=f"/problems/{slug}", title=kind.title, status=kind.status, detail=detail)
    if way_out:
        body["way_out"] = way_out
    if errors:
        body["errors"] = list(errors)
    headers = None if retry_after_s is None else {"Retry-After": str(max(1, round(retry_after_s + 0.5)))}
    return HTTPException(kind.status, detail=body, headers=headers)  # type: ignore[arg-type]


def as_response(exc: HTTPException, path: str) -> Response:
    """Render a problem, or any other ``HTTPException`` under its standard title."""
    if isinstance(exc.detail, _Body):
        body = dict(exc.detail)
    else:
        title = HTTPStatus(exc.status_code).phrase
        slug = title.lower().replace(" ", "-")
        body = {"type": f"/problems/{slug}", "title": title, "status": exc.status_code, "detail": f"{title}: {path}"}
    body["instance"] = path
    return Response(
        orjson.dumps(body), exc.status_code, headers=dict(exc.headers or {}), media_type="application/problem+json"
    )


def install(app: FastAPI) -> None:
    """Let every error of the app become a problem, those of the framework included."""
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(SiteInvalid, _on_unknown_asset)
    app.add_exception_handler(RecordingError, _on_recording)
    app.add_exception_handler(StoreRejected, _on_store_rejected)
    app.add_exception_handler(StoreUnavailable, _on_store_down)
    app.add_exception_handler(UnknownTopic, _on_unknown_topic)
    app.add_exception_handler(BusError, _on_bus_down)
    app.add_exception_handler(Exception, _on_crash)


def _on_http(request: Request, exc: Exception) -> Response:
    if not isinstance(exc, HTTPException):
        raise exc
    return as_response(exc, request.url.path)


def _on_invalid(request: Request, exc: Exception) -> Response:
    if not isinstance(exc, RequestValidationError):
        raise exc
    errors = [{"loc": [str(part) for part in error["loc"]], "msg": error["msg"]} for error in exc.errors()]
    first = f"{'.'.join(errors[0]['loc'])}: {errors[0]['msg']}" if errors else "the request does not fit"
    return as_response(problem("invalid", first, errors=errors), request.url.path)


def _on_unknown_asset(request: Request, exc: Exception) -> Response:
    return as_response(problem("unknown-asset", str(exc), "GET /api/find?q= looks assets up"), request.url.path)


def _on_recording(request: Request, exc: Exception) -> Response:
    return as_response(problem("not-in-this-state", str(exc)), request.url.path)


def _on_store_rejected(request: Request, exc: Exception) -> Response:
    return as_response(problem("invalid", str(exc)), request.url.path)


def _on_store_down(request: Request, _exc: Exception) -> Response:
    detail = "the history cannot be read now; live values go on"
    return as_response(problem("store-down", detail, "try again", retry_after_s=5), request.url.path)


def _on_unknown_topic(request: Request, exc: Exception) -> Response:
    return as_response(problem("unknown-topic", str(exc)), request.url.path)


def _on_bus_down(request: Request, _exc: Exception) -> Response:
    return as_response(
        problem("bus-down", "the bus did not take the message", "try again", retry_after_s=5), request.url.path
    )


def _on_crash(request: Request, _exc: Exception) -> Response:
    # The server logs the traceback; the caller learns nothing of the inside.
    return as_response(HTTPException(500), request.url.path)
