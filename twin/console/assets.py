"""One asset as the API shows it: its values with unit, age and quality, where they came from, its neighbours."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from twin.console.live import Held, Live
from twin.console.pictures import shown
from twin.events.columns import Family
from twin.events.frames import Frame
from twin.events.jobs import JobTable
from twin.events.layout import FrameLayout
from twin.events.topics import BY_NAME, array_partition
from twin.events.units import unit_of
from twin.site import Site, Unit

STATES = ("off", "standby", "starting", "running", "stopping", "tripped", "lockout", "maintenance")
NEIGHBOURS_N = 60
FOUND_N = 20


class Column(NamedTuple):
    """Where values of an asset are: a sender's frame, a group of it, and the place in its columns."""

    topic: str
    key: str
    group: str
    row: int


_NOT_ASSETS = frozenset({"pack", "fast", "job"})  # parts and samples of an asset, and jobs, which are a table
_CDU_FIELDS = ("coolant_supply_c", "coolant_return_c", "coolant_flow_l_min", "facility_supply_c", "facility_flow_l_min")
_JOB_FIELDS = ("running_n", "queued_n", "goodput", "lost_gpu_h", "failures_24h_n")


def columns_of(layout: FrameLayout) -> dict[str, list[Column]]:
    """Say of each asset with telemetry of its own where its values are."""
    columns: dict[str, list[Column]] = {}
    for topic in layout.topics():
        if topic == "telemetry.gpu":
            continue  # twin.rack has what is shown of racks and their CDUs
        family = BY_NAME[topic].data
        groups = family.groups if isinstance(family, Family) else ()
        for key in layout.keys(topic):
            for group in groups:
                if group.name not in _NOT_ASSETS:
                    for row, asset in enumerate(layout.ids(topic, key, group.name)):
                        columns.setdefault(asset, []).append(Column(topic, key, group.name, row))
    return columns


def unit_asset(live: Live, site: Site, columns: Mapping[str, list[Column]], unit: Unit) -> dict[str, Any]:
    """Show a unit; one without telemetry of its own has no values.

    Parameters
    ----------
    columns
        As :func:`columns_of` gives them.
    """
    asset = _empty(site, unit.id, unit.kind)
    if unit.kind == "cdu":
        rack = rack_asset(live, site, unit.id.removeprefix("cdu-"))
        asset["provenance"] = rack["provenance"]
        asset["values"] = {name: value for name, value in rack["values"].items() if name in _CDU_FIELDS}
    elif unit.kind == "scheduler":
        held = live.held("telemetry.jobs", unit.id)
        if held is not None and isinstance(held.content, JobTable):
            numbers = {name: float(getattr(held.content, name)) for name in _JOB_FIELDS}
            asset |= {"values": _values(live, held, numbers, set()), "provenance": _provenance(held)}
    for column in columns.get(unit.id, ()):
        found = live.frame(column.topic, column.key)
        if found is None:
            continue
        held, frame = found
        numbers, suspect = _numbers(frame, column.group, column.row)
        asset["values"] |= _values(live, held, numbers, suspect)
        asset["provenance"] = _provenance(held)
        asset["state"] = asset["state"] or _state(numbers)
    return asset


def rack_asset(live: Live, site: Site, rack_id: str) -> dict[str, Any]:
    """Show a rack.

    Raises
    ------
    SiteInvalid
        No such rack.
    """
    rack_i = site.layout.rack_index(rack_id)
    asset = _empty(site, rack_id, "rack")
    partition = array_partition(int(site.layout.rack_array[rack_i]))
    for held in live.senders("twin.rack"):
        if held.place.partition != partition:
            continue
        frame = held.content
        rows = frame.dense["rack"]["rack_i"].tolist() if isinstance(frame, Frame) and "rack" in frame.dense else []
        if isinstance(frame, Frame) and rack_i in rows:
            numbers, suspect = _numbers(frame, "rack", rows.index(rack_i))
            del numbers["rack_i"]
            asset |= {"values": _values(live, held, numbers, suspect), "provenance": _provenance(held)}
    return asset


def find(site: Site, text: str) -> list[dict[str, str]]:
    """Look assets up by a part of their id: the exact one first, then those that begin with it, then the rest."""
    wanted = text.strip().lower()
    if not wanted:
        return []
    hits = [(asset, kind) for asset, kind in _assets(site) if wanted in asset.lower()]
    hits.sort(key=lambda hit: (hit[0].lower() != wanted, not hit[0].lower().startswith(wanted), len(hit[0])))
    return [
        {"id": asset, "kind": kind, "route": _route(site, asset, kind), "text": f"{kind.replace('_', ' ')} {asset}"}
        for asset, kind in hits[:FOUND_N]
    ]


def _empty(site: Site, asset_id: str, kind: str) -> dict[str, Any]:
    return {
        "id": asset_id,
        "kind": kind,
        "state": None,
        "values": {},
        "provenance": None,
        "neighbours": list(_neighbours(site, asset_id)),
    }


def _numbers(frame: Frame, group: str, row: int) -> tuple[dict[str, float], set[str]]:
    columns = frame.dense.get(group, {})
    numbers = {name: float(values[row]) for name, values in columns.items() if row < len(values)}
    suspect = {name for name in numbers if row in frame.suspect.get(f"{group}.{name}", ())}
    return numbers, suspect


def _values(live: Live, held: Held, numbers: dict[str, float], suspect: set[str]) -> dict[str, Any]:
    age_s = live.age_s(held.head.tick)
    stale = age_s > live.stale_after_s()
    return {
        name: {
            "value": (value := shown(number)),
            "unit": unit_of(name).symbol,
            "age_s": round(age_s, 1),
            "quality": "not measured" if value is None else "stale" if stale else _trust(name in suspect),
        }
        for name, number in numbers.items()
    }


def _trust(is_suspect: bool) -> str:
    return "suspect" if is_suspect else "good"


def _provenance(held: Held) -> dict[str, Any]:
    return {
        "topic": held.place.topic,
        "partition": held.place.partition,
        "offset": held.offset,
        "seq": held.head.seq,
        "gateway": held.head.key,
    }


def _state(numbers: dict[str, float]) -> str | None:
    if (code := numbers.get("state_code")) is not None and 0 <= code < len(STATES):
        return STATES[int(code)]
    if (closed := numbers.get("closed")) is not None:
        return "closed" if closed else "open"
    return None


def _neighbours(site: Site, asset_id: str) -> Iterator[dict[str, str]]:
    left = NEIGHBOURS_N
    for relation in ("feeds", "cools", "connects"):
        for direction, reach in (("to", site.graph.downstream), ("from", site.graph.upstream)):
            for other in reach(asset_id, (relation,), 1):
                if left == 0:
                    return
                left -= 1
                yield {"id": other, "kind": site.graph.kind(other), "relation": relation, "direction": direction}


def _assets(site: Site) -> Iterator[tuple[str, str]]:
    layout = site.layout
    yield from ((hall, "hall") for hall in layout.hall_ids)
    yield from ((array, "array") for array in layout.array_ids)
    yield from ((rack, "rack") for rack in layout.rack_ids)
    yield from ((unit.id, unit.kind) for unit in site.units)
    yield from ((job, "job") for job in site.jobs)


def _route(site: Site, asset: str, kind: str) -> str:
    layout = site.layout
    match kind:
        case "hall":
            return f"#/floor/{asset}"
        case "array":
            return f"#/floor/{layout.hall_ids[layout.array_hall[layout.array_index(asset)]]}/{asset}"
        case "rack" | "cdu":
            rack = layout.rack_index(asset.removeprefix("cdu-"))
            hall, array = layout.hall_ids[layout.rack_hall[rack]], layout.array_ids[layout.rack_array[rack]]
            return f"#/floor/{hall}/{array}/{layout.rack_ids[rack]}"
        case "job" | "switch" | "scheduler":
            return f"#/jobs/{asset}"
        case "power_plant" | "gas" | "gas_skid" | "turbine" | "scr" | "battery" | "feed" | "ups" | "meter":
            return f"#/power/{asset}"
        case _:
            return f"#/cooling/{asset}"
