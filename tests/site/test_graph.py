"""Questions to the graph: what holds, feeds, cools and connects what, and how far it is."""

import pytest

from twin.errors import SiteInvalid
from twin.site import Site, SiteGraph, load_site
from twin.site.graph import RELATIONS


@pytest.fixture(scope="module")
def site() -> Site:
    return load_site("colossus1")


@pytest.fixture(scope="module")
def graph(site: Site) -> SiteGraph:
    return site.graph


def test_a_rack_is_cooled_over_cdu_branch_loop_and_plant(graph: SiteGraph) -> None:
    hops = graph.upstream("R2050", ("cools",))
    chain = {"cdu-R2050": 1, "branch-37": 2, "loop-3": 3, "cooling-3": 4, "pump-9": 4, "tower-3-c1": 5}
    assert {asset: hops[asset] for asset in chain} == chain
    assert "loop-2" not in hops


def test_a_chiller_reaches_the_racks_of_its_hall_within_six_hops(graph: SiteGraph, site: Site) -> None:
    hops = graph.downstream("chiller-13", ("feeds", "cools", "connects"), max_hops=6)
    racks = {asset for asset in hops if graph.kind(asset) == "rack"}
    first, end = site.layout.hall_first_rack[1:3]
    assert racks == set(site.layout.rack_ids[first:end])
    assert hops["loop-2"] == 1
    assert hops["H2"] == 2
    assert graph.downstream("chiller-13", ("cools",))["R0785"] == 4


def test_hops_are_limited(graph: SiteGraph) -> None:
    near = graph.downstream("chiller-13", ("cools",), max_hops=2)
    assert set(near) == {"loop-2", "H2", *(f"branch-{i}" for i in range(15, 29))}
    assert graph.downstream("chiller-13", ("cools",), max_hops=0) == {}


def test_gas_reaches_a_turbine_over_its_skid(graph: SiteGraph) -> None:
    hops = graph.downstream("gas-1", ("feeds",))
    assert (hops["gas-skid-2"], hops["turbine-4"], hops["power-1"], hops["H1"]) == (1, 2, 3, 4)
    assert set(graph.downstream("gas-skid-2", ("feeds",), max_hops=1)) == {"turbine-4", "turbine-5", "turbine-6"}


def test_a_lost_feed_is_felt_by_chillers_and_switches(graph: SiteGraph) -> None:
    hops = graph.downstream("feed-1", ("feeds", "cools", "connects"), max_hops=6)
    for asset in ("power-1", "cooling-4", "chiller-48", "pump-1", "ups-4", "leaf-A391-0", "R3125"):
        assert asset in hops
    assert "turbine-1" not in hops
    assert "battery-1" not in hops


def test_a_leaf_switch_connects_the_racks_of_its_array(graph: SiteGraph) -> None:
    racks = {f"R{i:04d}" for i in range(1_121, 1_129)}
    assert set(graph.downstream("leaf-A141-3", ("connects",))) == racks
    assert len(graph.downstream("leaf-A391-0", ("connects",))) == 5
    assert set(graph.upstream("R1121", ("connects",))) == {f"leaf-A141-{rail}" for rail in range(8)}


@pytest.mark.parametrize(
    ("asset", "kind", "parent"),
    [
        ("colossus1", "site", None),
        ("H3", "hall", "colossus1"),
        ("A257", "array", "H3"),
        ("R2050", "rack", "A257"),
        ("R2435-s2", "server", "R2435"),
        ("R2435-g17", "gpu", "R2435-s2"),
        ("cdu-R2050", "cdu", "R2050"),
        ("leaf-A141-3", "switch", "A141"),
        ("branch-21", "branch", "H2"),
        ("cooling-3", "cooling_plant", "colossus1"),
        ("loop-3", "loop", "cooling-3"),
        ("pump-12", "pump", "loop-3"),
        ("tower-1-c4", "tower_cell", "tower-1"),
        ("chiller-13", "chiller", "cooling-2"),
        ("turbine-7", "turbine", "power-1"),
        ("ups-4", "ups", "H4"),
        ("meter-H2", "meter", "H2"),
        ("scheduler-1", "scheduler", "colossus1"),
    ],
)
def test_kind_and_parent(graph: SiteGraph, asset: str, kind: str, parent: str | None) -> None:
    assert graph.kind(asset) == kind
    assert graph.parent(asset) == parent


def test_children_go_down_to_the_gpus(graph: SiteGraph) -> None:
    assert set(graph.children("H2")) >= {"A099", "A196", "branch-15", "branch-28", "ups-2", "meter-H2"}
    assert {f"R{i:04d}" for i in range(2_049, 2_057)} < set(graph.children("A257"))
    assert graph.children("R2435") == ("cdu-R2435", *(f"R2435-s{i}" for i in range(8)))
    assert graph.children("R2435-s2") == tuple(f"R2435-g{i}" for i in range(16, 24))
    assert graph.children("R2435-g17") == ()


def test_groups_contain_their_members_too(graph: SiteGraph) -> None:
    assert graph.children("gas-skid-2") == ("turbine-4", "turbine-5", "turbine-6")
    assert graph.children("gas-skid-5") == ("turbine-13", "turbine-14", "turbine-15")
    assert graph.children("scr-1") == ("turbine-1", "turbine-2", "turbine-3", "turbine-4")
    assert graph.children("scr-4") == ("turbine-13", "turbine-14", "turbine-15")
    assert graph.children("branch-21") == tuple(f"A{i}" for i in range(141, 148))
    assert set(graph.upstream("A143", ("contains",))) == {"branch-21", "H2", "loop-2", "cooling-2", "colossus1"}


def test_a_server_begins_at_its_rack(graph: SiteGraph) -> None:
    assert graph.upstream("R2435-s2", ("cools",)) == graph.upstream("R2435", ("cools",))


@pytest.mark.parametrize("asset", ["R9999", "R2435-s8", "R2435-g64", "R2435-x1", "job-hero", ""])
def test_an_unknown_asset_is_refused(graph: SiteGraph, asset: str) -> None:
    for question in (graph.kind, graph.parent, graph.children, graph.downstream, graph.upstream):
        with pytest.raises(SiteInvalid, match="no "):
            question(asset)


@pytest.mark.parametrize("name", ["colossus1", "mini"])
def test_every_unit_and_rack_has_its_place(name: str) -> None:
    site = load_site(name)
    nodes = {site.id, *site.layout.hall_ids, *site.layout.array_ids, *site.layout.rack_ids}
    nodes |= {unit.id for unit in site.units}
    assert set(site.graph.downstream(site.id, ("contains",))) == nodes - {site.id}
    for relation in RELATIONS:
        assert {end for edge in site.graph.edges(relation) for end in edge} <= nodes
    assert {site.graph.kind(unit.id) for unit in site.units} == {unit.kind for unit in site.units}
