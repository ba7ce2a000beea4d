"""The player of a replay, and what runs: the same requests over the bus that the command line sends."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends

from twin.console.models import InstantBody, Nothing, PlayerLoopBody, PlayerStepBody, RunBody, SpeedBody, TakeoverBody
from twin.console.parts import Parts
from twin.console.problems import problem
from twin.console.seats import Seat, shown_error
from twin.events.control import RequestVerb


def player_routes(parts: Parts) -> APIRouter:
    """Make the routes of the player; requests are answered by the next ``run.control``."""
    router = APIRouter(prefix="/api")
    sees = Annotated[Seat, Depends(parts.guard("see"))]
    drives = Annotated[Seat, Depends(parts.guard("drive", rate="player"))]
    runs = Annotated[Seat, Depends(parts.guard("run", rate="run"))]

    def picture(seat: Seat) -> dict[str, Any]:
        control = parts.orders.run()
        if control.player is None or control.state == "ended":
            raise problem("no-player", f"run {control.run} is no replay", "POST /api/runs plays a recording")
        told = control.player.model_dump()
        if not seat.may("run"):
            told["recording"] = parts.recordings.public_id(told["recording"])
        return told | {"run": control.run, "answers": control.answers, "error": shown_error(control.error, seat)}

    def ask(verb: RequestVerb, seat: Seat, params: dict[str, Any] | None = None) -> dict[str, Any]:
        told = picture(seat)
        return told | {"request": parts.orders.request(verb, params or {}, seat)}

    @router.get("/player")
    async def player(seat: sees) -> dict[str, Any]:
        return picture(seat)

    @router.post("/player/play", status_code=202)
    def play(seat: drives, _body: Nothing) -> dict[str, Any]:
        return ask("resume", seat)

    @router.post("/player/pause", status_code=202)
    def pause(seat: drives, _body: Nothing) -> dict[str, Any]:
        return ask("pause", seat)

    @router.post("/player/step", status_code=202)
    def step(seat: drives, body: PlayerStepBody) -> dict[str, Any]:
        return ask("step", seat, body.model_dump(exclude_none=True))

    @router.post("/player/seek", status_code=202)
    def seek(seat: drives, body: InstantBody) -> dict[str, Any]:
        return ask("seek", seat, body.model_dump())

    @router.post("/player/speed", status_code=202)
    def speed(seat: drives, body: SpeedBody) -> dict[str, Any]:
        return ask("speed", seat, body.model_dump())

    @router.post("/player/loop", status_code=202)
    def loop(seat: drives, body: PlayerLoopBody) -> dict[str, Any]:
        return ask("loop", seat, body.model_dump(exclude_none=True))

    @router.post("/player/takeover", status_code=202)
    def takeover(seat: drives, body: TakeoverBody) -> dict[str, Any]:
        return ask("takeover", seat, body.model_dump(exclude_none=True))

    @router.post("/runs", status_code=202)
    def start(seat: runs, body: RunBody) -> dict[str, Any]:
        control = parts.orders.run()
        if control.state != "ended" and not body.end_active:
            raise problem(
                "run-active",
                f"run {control.run} is {control.state}",
                "say end_active (colossus replay --end-run) to end it",
            )
        params = body.model_dump(exclude_none=True, exclude={"end_active"})
        if body.recording is not None:
            params["recording"] = parts.recordings.name_of(body.recording)
        return {"request": parts.orders.request("start", params, seat)}

    return router
