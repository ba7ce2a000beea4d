"""The way in and out: ``/enter``, the page, the seat."""

from importlib import resources
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from twin.console.doors import cookie_name, seat_of
from twin.console.parts import Parts
from twin.console.seats import MAY, SEAT_MS, Seat


def seat_routes(parts: Parts) -> APIRouter:
    """Make the routes of the way in and out."""
    router = APIRouter()
    seats, port = parts.context.seats, parts.context.port
    cookie = cookie_name(port)
    sees = Annotated[Seat, Depends(parts.guard("see"))]

    @router.get("/enter", include_in_schema=False)
    async def enter(request: Request, token: str = "") -> Response:
        parts.take("enter", request.client.host if request.client else "")
        seat = seats.enter(token)
        if seat is None:
            return HTMLResponse(_page("no-seat.html"), 401)
        # The redirect takes the token out of the address bar.
        response = RedirectResponse("/", 303)
        response.set_cookie(
            cookie,
            seat.id,
            max_age=SEAT_MS // 1000,
            path="/",
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return response

    @router.get("/", include_in_schema=False)
    async def page(request: Request) -> Response:
        if seat_of(request.headers, seats, port) is None:
            return HTMLResponse(_page("no-seat.html"), 401)
        return HTMLResponse(_page("index.html"))

    @router.get("/api/seat")
    async def seat(seat: sees) -> dict[str, Any]:
        return {
            "role": seat.role,
            "name": seat.name,
            "desks": [],
            "until": seat.until_ms,
            "can": sorted(MAY[seat.role]),
        }

    @router.delete("/api/seat", status_code=204)
    async def leave(seat: sees) -> Response:
        seats.leave(seat)
        response = Response(status_code=204)
        response.delete_cookie(cookie, path="/", httponly=True, samesite="strict")
        return response

    return router


def _page(name: str) -> str:
    return resources.files("twin.console").joinpath("page", name).read_text(encoding="utf-8")
