"""Curves of the past: ``/api/history``, through the store."""

import math
from typing import Annotated, Any

import numpy as np
import orjson
from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from twin.console.parts import Parts
from twin.console.problems import problem
from twin.console.seats import Seat
from twin.events.measurements import Measurement
from twin.events.units import unit_of
from twin.run import ts_at
from twin.store.base import FIVE_MINUTE_RETENTION_MS, measurement_of

SERIES_N = 8
POINTS_N = 2000
RANGE_MS = 900_000
# The tag that names the asset: the first of these that a measurement has.
_ASSET_TAGS = ("unit", "gpu", "rack", "scope", "hall", "plant", "topic", "worker", "sink", "family", "kind")


def history_routes(parts: Parts) -> APIRouter:
    """Make the route of the history."""
    router = APIRouter(prefix="/api")
    sees = Annotated[Seat, Depends(parts.guard("see", rate="history"))]

    @router.get("/history")
    def history(
        request: Request,
        _seat: sees,
        series: Annotated[str, Query(max_length=2000)],
        from_ms: Annotated[int | None, Query(alias="from", ge=0, lt=2**53)] = None,
        to_ms: Annotated[int | None, Query(alias="to", ge=0, lt=2**53)] = None,
        points: Annotated[int, Query(ge=2, le=POINTS_N)] = 600,
    ) -> Response:
        control = parts.orders.run()
        ids = [one for one in series.split(",") if one]
        if not 1 <= len(ids) <= SERIES_N:
            raise problem("invalid", f"series: {len(ids)} asked for, 1 to {SERIES_N} are allowed")
        step_ms = control.line.ms_per_tick
        to_ms = ts_at(control.line, control.settled_tick) + 1 if to_ms is None else to_ms
        from_ms = max(0, to_ms - RANGE_MS) if from_ms is None else from_ms
        if not 0 < to_ms - from_ms <= FIVE_MINUTE_RETENTION_MS:
            raise problem("invalid", "from must be before to, by at most two years")
        every_ms = math.ceil((to_ms - from_ms) / points)
        curves = [
            _curve(parts, one, control.run, from_ms, to_ms, every_ms if every_ms > step_ms else None, step_ms)
            for one in ids
        ]
        if "text/csv" in request.headers.get("accept", ""):
            return Response(_csv(curves), media_type="text/csv")
        answer = {"run": control.run, "series": curves, "source": "store"}
        return Response(orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")

    return router


def _curve(
    parts: Parts, series_id: str, run: str, from_ms: int, to_ms: int, every_ms: int | None, step_ms: int
) -> dict[str, Any]:
    """Read one series, named ``measurement.field@asset``."""
    name, _, asset = series_id.partition("@")
    measurement_name, _, field = name.partition(".")
    measurement = measurement_of(measurement_name)
    if field in measurement.texts:
        raise problem("invalid", f"series: {series_id} is a text", "texts have no curve")
    found = parts.context.store.series(
        measurement.name,
        [field],
        run=run,
        from_ms=from_ms,
        to_ms=to_ms,
        every_ms=every_ms,
        where=_where(measurement, asset, series_id),
    )
    if len(found) > 1:
        raise problem("invalid", f"series: {series_id} is {len(found)} series", "name one asset behind @")
    return {
        "id": series_id,
        "unit": unit_of(field).symbol,
        "resolution_s": (every_ms or step_ms) / 1000,
        "t": found[0].ts if found else np.empty(0, np.int64),
        "v": found[0].fields[field] if found else np.empty(0),
    }


def _where(measurement: Measurement, asset: str, series_id: str) -> dict[str, str]:
    tag = next((tag for tag in _ASSET_TAGS if tag in measurement.tags), None)
    if bool(asset) != (tag is not None):
        way_out = f"{measurement.name} is one for the site" if tag is None else f"name the {tag} behind @"
        raise problem("invalid", f"series: {series_id}", way_out)
    return {} if tag is None else {tag: asset}


def _csv(curves: list[dict[str, Any]]) -> str:
    lines = ["series,unit,ts_ms,value"]
    for curve in curves:
        lines += [
            f"{curve['id']},{curve['unit']},{ts},{value}"
            for ts, value in zip(curve["t"].tolist(), curve["v"].tolist(), strict=True)
        ]
    return "\n".join(lines) + "\n"
