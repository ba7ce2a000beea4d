"""What contains, feeds, cools and connects what: a directed graph of the assets that do not move.

Edges point from the cause to what feels it. ``contains`` also groups: a gas skid its turbines, a branch its
arrays. Jobs are not in the graph, because they move; servers and GPUs are not nodes, because their ids say
which rack holds them, but every question here can be asked of them.
"""

import difflib
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, get_args

import networkx as nx

from twin.errors import SiteInvalid
from twin.site.layout import Layout
from twin.site.units import POWER_PLANT, Unit, groups, members

Relation = Literal["contains", "feeds", "cools", "connects"]
RELATIONS: tuple[Relation, ...] = get_args(Relation)

Edge = tuple[str, str]


class SiteGraph:
    """Answer questions about the assets of a site.

    Parameters
    ----------
    layout
        The site's halls, arrays, racks, servers and GPUs.
    kinds
        Id and kind of every node.
    parents
        The one container of each node that its place or its plant gives (None for the site).
    edges
        Edges of each relation, those of ``parents`` excepted.
    """

    def __init__(
        self,
        layout: Layout,
        kinds: Iterable[tuple[str, str]],
        parents: dict[str, str],
        edges: dict[Relation, list[Edge]],
    ) -> None:
        self._layout = layout
        self._parents = parents
        self._kinds = dict(kinds)
        self._by_relation: dict[Relation, nx.DiGraph[str]] = {}
        for relation in RELATIONS:
            graph: nx.DiGraph[str] = nx.DiGraph()
            if relation == "contains":
                graph.add_edges_from((parent, child) for child, parent in parents.items())
            graph.add_edges_from(edges[relation])
            self._by_relation[relation] = graph

    def kind(self, asset_id: str) -> str:
        """Name the kind of an asset: site, hall, array, rack, server, gpu or a kind of unit.

        Raises
        ------
        SiteInvalid
            No such asset.
        """
        if asset_id in self._kinds:
            return self._kinds[asset_id]
        self._rack_of(asset_id)
        return "server" if "-s" in asset_id else "gpu"

    def parent(self, asset_id: str) -> str | None:
        """Name the asset that holds this one: its server, rack, array, hall, plant or site.

        Raises
        ------
        SiteInvalid
            No such asset.
        """
        if asset_id in self._kinds:
            return self._parents.get(asset_id)
        rack = self._rack_of(asset_id)
        if "-s" in asset_id:
            return rack
        gpu_in_rack = int(asset_id.rsplit("-g", 1)[1])
        return f"{rack}-s{gpu_in_rack // self._layout.gpus_per_server}"

    def children(self, asset_id: str) -> tuple[str, ...]:
        """List all that an asset contains directly, grouping included.

        Raises
        ------
        SiteInvalid
            No such asset.
        """
        kind = self.kind(asset_id)
        if kind == "gpu":
            return ()
        per_server = self._layout.gpus_per_server
        if kind == "server":
            rack, server = asset_id.rsplit("-s", 1)
            first = int(server) * per_server
            return tuple(f"{rack}-g{gpu}" for gpu in range(first, first + per_server))
        nodes = tuple(self._step(asset_id, ("contains",), forward=True))
        if kind != "rack":
            return nodes
        rack_index = self._layout.rack_index(asset_id)
        first_server = self._layout.rack_first_server
        servers = int(first_server[rack_index + 1] - first_server[rack_index])
        return nodes + tuple(f"{asset_id}-s{server}" for server in range(servers))

    def downstream(
        self, asset_id: str, relations: Sequence[Relation] = RELATIONS, max_hops: int | None = None
    ) -> dict[str, int]:
        """Find all nodes that an asset reaches over some relations, each with its distance.

        Parameters
        ----------
        asset_id
            Where to begin; a server or GPU begins at its rack.
        relations
            The relations that may be followed.
        max_hops
            The largest distance, or None for no limit.

        Raises
        ------
        SiteInvalid
            No such asset.
        """
        return self._reach(asset_id, relations, max_hops, forward=True)

    def upstream(
        self, asset_id: str, relations: Sequence[Relation] = RELATIONS, max_hops: int | None = None
    ) -> dict[str, int]:
        """Find all nodes that reach an asset over some relations: the way back of :meth:`downstream`.

        Raises
        ------
        SiteInvalid
            No such asset.
        """
        return self._reach(asset_id, relations, max_hops, forward=False)

    def edges(self, relation: Relation) -> Iterator[Edge]:
        """Walk through the edges of a relation."""
        return iter(self._by_relation[relation].edges)

    def _rack_of(self, asset_id: str) -> str:
        rack, dash, rest = asset_id.rpartition("-")
        if dash and rest[:1] in ("s", "g") and rack in self._kinds:
            if rest[0] == "s":
                self._layout.server_index(asset_id)
            else:
                self._layout.gpu_index(asset_id)
            return rack
        near = difflib.get_close_matches(asset_id, self._kinds, n=3)
        hint = f"; near: {', '.join(near)}" if near else ""
        raise SiteInvalid(f"no asset {asset_id!r}{hint}")

    def _step(self, node: str, relations: Sequence[Relation], *, forward: bool) -> Iterator[str]:
        for relation in relations:
            graph = self._by_relation[relation]
            if node in graph:
                yield from graph.successors(node) if forward else graph.predecessors(node)

    def _reach(
        self, asset_id: str, relations: Sequence[Relation], max_hops: int | None, *, forward: bool
    ) -> dict[str, int]:
        start = asset_id if asset_id in self._kinds else self._rack_of(asset_id)
        hops = {start: 0}
        frontier = [start]
        while frontier and (max_hops is None or hops[frontier[0]] < max_hops):
            following: list[str] = []
            for node in frontier:
                for neighbour in self._step(node, relations, forward=forward):
                    if neighbour not in hops:
                        hops[neighbour] = hops[node] + 1
                        following.append(neighbour)
            frontier = following
        del hops[start]
        return hops


def build_graph(
    site_id: str, layout: Layout, units: Sequence[Unit], *, turbines_per_skid: int, turbines_per_scr: int
) -> SiteGraph:
    """Draw the graph of a site from its layout and units."""
    edges: dict[Relation, list[Edge]] = {relation: [] for relation in RELATIONS}
    parents: dict[str, str] = {}
    kinds = [(site_id, "site")]
    kinds += [(hall, "hall") for hall in layout.hall_ids]
    kinds += [(array, "array") for array in layout.array_ids]
    kinds += [(rack, "rack") for rack in layout.rack_ids]
    kinds += [(unit.id, unit.kind) for unit in units]

    _place_floor(site_id, layout, parents, edges)
    for unit in units:
        _place_unit(site_id, layout, unit, parents, edges)
    turbines = sum(unit.kind == "turbine" for unit in units)
    for skid in groups(turbines, turbines_per_skid):
        edges["feeds"].append(("gas-1", f"gas-skid-{skid}"))
        for turbine in members(turbines, turbines_per_skid, skid):
            edges["contains"].append((f"gas-skid-{skid}", f"turbine-{turbine}"))
            edges["feeds"].append((f"gas-skid-{skid}", f"turbine-{turbine}"))
    for scr in groups(turbines, turbines_per_scr):
        for turbine in members(turbines, turbines_per_scr, scr):
            edges["contains"].append((f"scr-{scr}", f"turbine-{turbine}"))
    return SiteGraph(layout, kinds, parents, edges)


def _place_floor(site_id: str, layout: Layout, parents: dict[str, str], edges: dict[Relation, list[Edge]]) -> None:
    for hall in layout.hall_ids:
        parents[hall] = site_id
        edges["feeds"].append((POWER_PLANT, hall))
    for array, array_id in enumerate(layout.array_ids):
        parents[array_id] = layout.hall_ids[layout.array_hall[array]]
        edges["contains"].append((layout.branch_ids[layout.array_branch[array]], array_id))
    for rack, rack_id in enumerate(layout.rack_ids):
        parents[rack_id] = layout.array_ids[layout.rack_array[rack]]
        cdu = f"cdu-{rack_id}"
        edges["feeds"] += [(layout.hall_ids[layout.rack_hall[rack]], rack_id), (rack_id, cdu)]
        edges["cools"] += [(layout.branch_ids[layout.rack_branch[rack]], cdu), (cdu, rack_id)]
        parents[cdu] = rack_id


def _place_unit(
    site_id: str,
    layout: Layout,
    unit: Unit,
    parents: dict[str, str],
    edges: dict[Relation, list[Edge]],
) -> None:
    contains, feeds, cools = edges["contains"], edges["feeds"], edges["cools"]
    k = unit.plant.rsplit("-", 1)[-1]
    loop = f"loop-{k}"
    match unit.kind:
        case "cooling_plant":
            parents[unit.id] = site_id
            feeds.append((POWER_PLANT, unit.id))
            cools.append((unit.id, loop))
        case "loop":
            parents[unit.id] = unit.plant
            cools.append((unit.id, str(unit.hall)))
        case "branch":
            parents[unit.id] = str(unit.hall)
            contains.append((loop, unit.id))
            cools.append((loop, unit.id))
        case "pump":
            parents[unit.id] = loop
            feeds.append((unit.plant, unit.id))
            cools.append((unit.id, loop))
        case "tower" | "chiller":
            parents[unit.id] = unit.plant
            feeds.append((unit.plant, unit.id))
            cools.append((unit.id, loop))
        case "tower_cell":
            parents[unit.id] = f"tower-{k}"
            feeds.append((f"tower-{k}", unit.id))
            cools.append((unit.id, f"tower-{k}"))
        case "power_plant" | "scheduler":
            parents[unit.id] = site_id
        case "turbine" | "battery" | "feed":
            parents[unit.id] = POWER_PLANT
            feeds.append((unit.id, POWER_PLANT))
        case "gas" | "gas_skid" | "scr":
            parents[unit.id] = POWER_PLANT
        case "ups":
            parents[unit.id] = str(unit.hall)
            feeds.append((str(unit.hall), unit.id))
        case "meter":
            parents[unit.id] = str(unit.hall)
        case "switch":
            array_id = unit.id.split("-")[1]
            parents[unit.id] = array_id
            feeds.append((f"ups-{str(unit.hall)[1:]}", unit.id))
            array = layout.array_index(array_id)
            racks = range(layout.array_first_rack[array], layout.array_first_rack[array + 1])
            edges["connects"] += [(unit.id, layout.rack_ids[rack]) for rack in racks]
        case "cdu":
            pass  # placed with its rack
