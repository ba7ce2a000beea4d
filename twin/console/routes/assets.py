"""What is there, and how it is: site, units, racks, health, search."""

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from twin.console.assets import columns_of, find, rack_asset, unit_asset
from twin.console.parts import Parts
from twin.console.pictures import site_picture, twin_health
from twin.console.seats import Seat
from twin.console.site_plan import site_plan
from twin.events.layout import FrameLayout


def asset_routes(parts: Parts) -> APIRouter:
    """Make the routes that only look."""
    router = APIRouter(prefix="/api")
    site, live, orders = parts.context.site, parts.live, parts.orders
    sees = Annotated[Seat, Depends(parts.guard("see"))]
    finds = Annotated[Seat, Depends(parts.guard("see", rate="find"))]
    plan = orjson.dumps(site_plan(site))
    tag = f'"{site.crc}"'
    columns = columns_of(FrameLayout(site))

    @router.get("/site")
    async def site_(_seat: sees, request: Request) -> Response:
        headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(plan, media_type="application/json", headers=headers)

    @router.get("/health")
    async def health() -> dict[str, str]:
        picture = site_picture(live, site)
        status = "starting" if picture is None else "degraded" if picture["stale"] else "ok"
        return {"status": status, "version": parts.context.version}

    @router.get("/twin/health")
    async def twin_health_(_seat: sees) -> dict[str, Any]:
        parts.floor.update()
        return {**twin_health(live, site), "never": parts.floor.never_n()}

    @router.get("/units/{unit_id}")
    async def unit(seat: sees, unit_id: str) -> dict[str, Any]:
        return _with_commands(unit_asset(live, site, columns, site.unit(unit_id)), seat)

    @router.get("/racks/{rack_id}")
    async def rack(seat: sees, rack_id: str) -> dict[str, Any]:
        return _with_commands(rack_asset(live, site, rack_id), seat)

    @router.get("/find")
    async def find_(_seat: finds, q: Annotated[str, Query(max_length=100)]) -> list[dict[str, str]]:
        return find(site, q)

    def _with_commands(asset: dict[str, Any], seat: Seat) -> dict[str, Any]:
        reason = orders.refusal(seat)
        commands = [
            {"verb": verb.verb, "params": verb.params, "allowed": reason is None, "reason": reason}
            for verb in orders.verbs(asset["kind"])
        ]
        return {**asset, "commands": commands}

    return router
