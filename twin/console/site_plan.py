"""The site as the page draws it: halls, arrays, racks and their places, units, edges, layers, limits."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from twin.console.floor import layers_of
from twin.site import Site
from twin.site.graph import RELATIONS

WARM_C = 80.0  # priority 3 of the floor (console.md section 3, condition 214); no nameplate names it
# One for each rack, or eight for each array: they follow from the floor.
_LEFT_OUT = frozenset({"cdu", "switch"})


def site_plan(site: Site) -> dict[str, Any]:
    """Draw the site up; it changes only with the site file."""
    layout = site.layout
    units = [unit for unit in site.units if unit.kind not in _LEFT_OUT]
    drawn = {unit.id for unit in units} | set(layout.hall_ids)
    models = site.gpus.values()
    return {
        "id": site.id,
        "title": site.title,
        "zone": datetime(2026, 1, 1, tzinfo=ZoneInfo(site.timezone)).tzname(),
        "layout_crc": int(site.crc, 16),
        "gpus": layout.gpu_count,
        "halls": [_hall(site, hall) for hall in range(layout.hall_count)],
        "racks": {
            "id": layout.rack_ids,
            "array": layout.rack_array.tolist(),
            "hall": layout.rack_hall.tolist(),
            "row": layout.rack_row.tolist(),
            "pos": layout.rack_pos.tolist(),
        },
        "racks_per_array": site.rack.racks_per_array_n,
        "units": [{"id": unit.id, "kind": unit.kind, "hall": unit.hall} for unit in units],
        "edges": [
            {"from": one, "to": other, "kind": relation}
            for relation in RELATIONS
            for one, other in site.graph.edges(relation)
            if one in drawn and other in drawn
        ],
        "layers": [
            {"id": layer.id, "name": layer.name, "unit": layer.unit, "scale": layer.scale, "offset": layer.offset}
            for layer in layers_of(site)
        ],
        "limits": {
            "gpu_temp_c": {
                "medium": WARM_C,
                "high": min(model.max_operating_c for model in models),
                "critical": min(model.slowdown_c for model in models),
                "shutdown": min(model.shutdown_c for model in models),
            }
        },
    }


def _hall(site: Site, hall: int) -> dict[str, Any]:
    layout = site.layout
    first, end = layout.hall_first_array[hall : hall + 2].tolist()
    return {
        "id": layout.hall_ids[hall],
        "gpu": site.gpus[site.halls[hall].gpu].name,
        "arrays": [_array(site, array) for array in range(first, end)],
    }


def _array(site: Site, array: int) -> dict[str, Any]:
    layout = site.layout
    first, end = layout.array_first_rack[array : array + 2].tolist()
    return {
        "id": layout.array_ids[array],
        "racks": end - first,
        "gpus": int(layout.rack_first_gpu[end] - layout.rack_first_gpu[first]),
        "gpu_cols": site.rack.gpus_per_server_n,
        "gpu_rows": site.rack.servers_n,
    }
