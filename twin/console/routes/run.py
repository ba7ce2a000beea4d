"""The run: where it stands, and what the instructor asks of its owner."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends

from twin.console.models import LoopBody, Nothing, SpeedBody, StepBody, TickBody
from twin.console.parts import Parts
from twin.console.pictures import run_picture
from twin.console.seats import Seat
from twin.events.control import RequestVerb


def run_routes(parts: Parts) -> APIRouter:
    """Make the routes of the run; requests are answered by the next ``run.control``."""
    router = APIRouter(prefix="/api")
    sees = Annotated[Seat, Depends(parts.guard("see"))]
    runs = Annotated[Seat, Depends(parts.guard("run", rate="run"))]

    def ask(verb: RequestVerb, seat: Seat, params: dict[str, Any] | None = None) -> dict[str, Any]:
        request = parts.orders.request(verb, params or {}, seat)
        return {**run_picture(parts.live, parts.orders.run(), seat), "request": request}

    @router.get("/run")
    async def run(seat: sees) -> dict[str, Any]:
        return run_picture(parts.live, parts.orders.run(), seat)

    @router.get("/requests/{request_id}")
    async def answer(seat: sees, request_id: str) -> dict[str, Any]:
        answered, error = parts.live.request(request_id)
        return {
            "id": request_id,
            "state": "pending" if not answered else "refused" if error else "done",
            "error": error,
        }

    @router.post("/run/pause", status_code=202)
    def pause(seat: runs, _body: Nothing) -> dict[str, Any]:
        return ask("pause", seat)

    @router.post("/run/freeze", status_code=202)
    def freeze(seat: runs, _body: Nothing) -> dict[str, Any]:
        return ask("freeze", seat)

    @router.post("/run/resume", status_code=202)
    def resume(seat: runs, _body: Nothing) -> dict[str, Any]:
        return ask("resume", seat)

    @router.post("/run/end", status_code=202)
    def end(seat: runs, _body: Nothing) -> dict[str, Any]:
        return ask("end", seat)

    @router.post("/run/snapshot", status_code=202)
    def snapshot(seat: runs, _body: Nothing) -> dict[str, Any]:
        return ask("snapshot", seat)

    @router.post("/run/step", status_code=202)
    def step(seat: runs, body: StepBody) -> dict[str, Any]:
        return ask("step", seat, body.model_dump())

    @router.post("/run/seek", status_code=202)
    def seek(seat: runs, body: TickBody) -> dict[str, Any]:
        return ask("seek", seat, body.model_dump())

    @router.post("/run/backtrack", status_code=202)
    def backtrack(seat: runs, body: TickBody) -> dict[str, Any]:
        return ask("backtrack", seat, body.model_dump())

    @router.post("/run/loop", status_code=202)
    def loop(seat: runs, body: LoopBody) -> dict[str, Any]:
        return ask("loop", seat, body.model_dump())

    @router.put("/run/speed", status_code=202)
    def speed(seat: runs, body: SpeedBody) -> dict[str, Any]:
        return ask("speed", seat, body.model_dump())

    return router
