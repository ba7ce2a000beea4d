"""Recordings: which there are, and recording one."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends

from twin.console.models import LevelBody, Nothing, RecordBody
from twin.console.parts import Parts
from twin.console.seats import Seat
from twin.recording.size import Expected


def recording_routes(parts: Parts) -> APIRouter:
    """Make the routes of recordings."""
    router = APIRouter(prefix="/api/recordings")
    sees = Annotated[Seat, Depends(parts.guard("see"))]
    runs = Annotated[Seat, Depends(parts.guard("run", rate="run"))]

    @router.get("")
    def recordings(seat: sees) -> list[dict[str, Any]]:
        return parts.recordings.list_for(seat, parts.recorder.state())

    @router.post("", status_code=201)
    def record(_seat: runs, body: RecordBody) -> dict[str, Any]:
        return parts.recorder.start(
            name=body.name, topics=body.topics, full=body.full, instructor=body.instructor, seconds=body.seconds
        )

    @router.post("/expected")
    def expected(_seat: runs, body: LevelBody) -> Expected:
        return parts.recorder.expected(topics=body.topics, full=body.full, instructor=body.instructor)

    @router.get("/current")
    def current(_seat: Annotated[Seat, Depends(parts.guard("run"))]) -> dict[str, Any]:
        return parts.recorder.state()

    @router.post("/stop", status_code=202)
    def stop(_seat: runs, _body: Nothing) -> dict[str, Any]:
        return parts.recorder.stop()

    @router.post("/black-box", status_code=202)
    def dump(_seat: runs, _body: Nothing) -> dict[str, Any]:
        return parts.recorder.dump()

    return router
