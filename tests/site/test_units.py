"""The units of the packaged sites: every id that the reference plant names, and its plant and hall."""

import pytest

from twin.errors import SiteInvalid
from twin.site import Site, load_site
from twin.site.units import UNIT_KINDS, groups, members

# Every unit that the reference plant and the drills name, with its kind, plant and hall.
NAMED = [
    ("cooling-2", "cooling_plant", "cooling-2", "H2"),
    ("loop-3", "loop", "cooling-3", "H3"),
    ("pump-9", "pump", "cooling-3", "H3"),
    ("pump-12", "pump", "cooling-3", "H3"),
    ("tower-1", "tower", "cooling-1", "H1"),
    ("tower-1-c4", "tower_cell", "cooling-1", "H1"),
    ("tower-4-c10", "tower_cell", "cooling-4", "H4"),
    ("chiller-1", "chiller", "cooling-1", "H1"),
    ("chiller-13", "chiller", "cooling-2", "H2"),
    ("chiller-48", "chiller", "cooling-4", "H4"),
    ("branch-21", "branch", "cooling-2", "H2"),
    ("branch-56", "branch", "cooling-4", "H4"),
    ("power-1", "power_plant", "power-1", None),
    ("gas-1", "gas", "power-1", None),
    ("gas-skid-2", "gas_skid", "power-1", None),
    ("scr-1", "scr", "power-1", None),
    ("turbine-1", "turbine", "power-1", None),
    ("turbine-15", "turbine", "power-1", None),
    ("battery-1", "battery", "power-1", None),
    ("feed-1", "feed", "power-1", None),
    ("ups-4", "ups", "power-1", "H4"),
    ("meter-H2", "meter", "power-1", "H2"),
    ("scheduler-1", "scheduler", "scheduler-1", None),
]
NAMED_OF_COLOSSUS1 = [
    ("cdu-R2050", "cdu", "A257", "H3"),
    ("leaf-A141-3", "switch", "H2", "H2"),
    ("leaf-A391-7", "switch", "H4", "H4"),
]
COUNTS = {
    "cooling_plant": 4,
    "loop": 4,
    "pump": 16,
    "tower": 4,
    "tower_cell": 40,
    "chiller": 48,
    "branch": 56,
    "cdu": 3_125,
    "power_plant": 1,
    "gas": 1,
    "gas_skid": 5,
    "turbine": 15,
    "scr": 4,
    "battery": 1,
    "feed": 1,
    "ups": 4,
    "meter": 4,
    "switch": 3_128,
    "scheduler": 1,
}
BY_LAYOUT = {"branch": 8, "cdu": 64, "switch": 64}  # what mini has fewer of


@pytest.fixture(scope="module", params=["colossus1", "mini"])
def site(request: pytest.FixtureRequest) -> Site:
    return load_site(request.param)


@pytest.mark.parametrize(("unit_id", "kind", "plant", "hall"), NAMED)
def test_both_sites_have_every_named_unit(site: Site, unit_id: str, kind: str, plant: str, hall: str | None) -> None:
    if unit_id.startswith("branch") and site.id == "mini":
        unit_id, plant, hall = "branch-8", "cooling-4", "H4"
    unit = site.unit(unit_id)
    assert (unit.kind, unit.plant, unit.hall) == (kind, plant, hall)


@pytest.mark.parametrize(("unit_id", "kind", "plant", "hall"), NAMED_OF_COLOSSUS1)
def test_colossus1_has_every_named_unit_of_racks_and_arrays(unit_id: str, kind: str, plant: str, hall: str) -> None:
    unit = load_site("colossus1").unit(unit_id)
    assert (unit.kind, unit.plant, unit.hall) == (kind, plant, hall)


def test_counts_are_those_of_the_reference_plant(site: Site) -> None:
    expected = COUNTS if site.id == "colossus1" else COUNTS | BY_LAYOUT
    assert {kind: len(site.unit_ids(kind)) for kind in UNIT_KINDS} == expected


def test_ids_are_unique(site: Site) -> None:
    ids = [unit.id for unit in site.units]
    assert len(set(ids)) == len(ids)


def test_units_can_be_asked_for_by_plant(site: Site) -> None:
    assert site.unit_ids("pump", "cooling-3") == ("pump-9", "pump-10", "pump-11", "pump-12")
    assert site.unit_ids("chiller", "cooling-4") == tuple(f"chiller-{i}" for i in range(37, 49))
    assert site.unit_ids("tower_cell", "cooling-1") == tuple(f"tower-1-c{i}" for i in range(1, 11))
    assert site.unit_ids("pump", "power-1") == ()


def test_an_unknown_unit_names_what_is_near() -> None:
    with pytest.raises(SiteInvalid, match=r"site colossus1 has no unit 'turbine-16'; near: .*turbine-1"):
        load_site("colossus1").unit("turbine-16")


def test_groups_cover_each_member_once() -> None:
    for count, size in ((15, 3), (15, 4), (1, 4), (8, 8)):
        found = [i for group in groups(count, size) for i in members(count, size, group)]
        assert found == list(range(1, count + 1))
