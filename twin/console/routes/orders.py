"""Commands, injects, and racks under watch."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends

from twin.console.models import CommandBody, InjectBody, Nothing
from twin.console.orders import Order
from twin.console.parts import Parts
from twin.console.seats import Seat


def order_routes(parts: Parts) -> APIRouter:
    """Make the routes that change something by a message on the bus."""
    router = APIRouter(prefix="/api")
    orders = parts.orders
    sees = Annotated[Seat, Depends(parts.guard("see"))]
    commands_ = Annotated[Seat, Depends(parts.guard("command", rate="commands"))]
    injects = Annotated[Seat, Depends(parts.guard("inject", rate="injects"))]
    sees_injects = Annotated[Seat, Depends(parts.guard("inject"))]
    watches = Annotated[Seat, Depends(parts.guard("watch", rate="marks"))]

    @router.get("/commands")
    async def catalogue(_seat: sees) -> list[dict[str, Any]]:
        return [{"kind": verb.unit_kind, "verb": verb.verb, "params": verb.params} for verb in parts.context.catalogue]

    @router.post("/commands", status_code=202)
    def command(seat: commands_, body: CommandBody) -> dict[str, str]:
        orders.command(Order(str(body.id), body.unit, body.verb, body.params, seat.name))
        return {"id": str(body.id)}

    @router.get("/commands/{command_id}")
    async def answer(_seat: sees, command_id: str) -> dict[str, Any]:
        return orders.answer(command_id)

    @router.post("/injects", status_code=202)
    def inject(seat: injects, body: InjectBody) -> dict[str, str]:
        return {"id": orders.inject(body.model_dump(), seat)}

    @router.get("/injects/{inject_id}")
    async def inject_answer(_seat: sees_injects, inject_id: str) -> dict[str, Any]:
        return orders.inject_answer(inject_id)

    @router.put("/watch/{rack}", status_code=202)
    def watch(seat: watches, rack: str, _body: Nothing) -> dict[str, int]:
        return {"since": orders.watch(rack, seat)}

    @router.delete("/watch/{rack}", status_code=202)
    def unwatch(_seat: watches, rack: str) -> dict[str, str]:
        orders.unwatch(rack)
        return {"rack": rack}

    return router
