"""The layout of the packaged sites (the published counts and ids), and its invariants for any site."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin.errors import SiteInvalid
from twin.site import Layout, load_site
from twin.site.layout import build_layout


@pytest.fixture(scope="module")
def colossus1() -> Layout:
    return load_site("colossus1").layout


def test_colossus1_has_the_published_counts(colossus1: Layout) -> None:
    assert colossus1.gpu_count == 200_000
    assert colossus1.server_count == 25_000
    assert colossus1.rack_count == 3_125
    assert colossus1.array_count == 391
    assert colossus1.branch_count == 56
    assert colossus1.hall_ids == ("H1", "H2", "H3", "H4")
    assert np.diff(colossus1.hall_first_array).tolist() == [98, 98, 98, 97]
    gpus = np.diff(colossus1.rack_first_gpu[colossus1.hall_first_rack])
    assert gpus.tolist() == [50_176, 50_176, 50_176, 49_472]


def test_ids_run_through_the_site(colossus1: Layout) -> None:
    assert (colossus1.array_ids[0], colossus1.array_ids[-1]) == ("A001", "A391")
    assert (colossus1.rack_ids[0], colossus1.rack_ids[-1]) == ("R0001", "R3125")
    firsts = [colossus1.array_ids[i] for i in colossus1.hall_first_array[:-1]]
    assert firsts == ["A001", "A099", "A197", "A295"]


def test_the_last_array_is_short(colossus1: Layout) -> None:
    assert np.diff(colossus1.array_first_rack).tolist() == [8] * 390 + [5]


@pytest.mark.parametrize(
    ("rack", "array", "hall"),
    [("R0001", "A001", "H1"), ("R2050", "A257", "H3"), ("R2435", "A305", "H4"), ("R3125", "A391", "H4")],
)
def test_racks_of_the_drills_stand_where_they_should(colossus1: Layout, rack: str, array: str, hall: str) -> None:
    i = colossus1.rack_index(rack)
    assert colossus1.array_ids[colossus1.rack_array[i]] == array
    assert colossus1.hall_ids[colossus1.rack_hall[i]] == hall
    assert colossus1.array_hall[colossus1.array_index(array)] == colossus1.hall_index(hall)


def test_branches_hold_seven_arrays_and_the_last_six(colossus1: Layout) -> None:
    branch_21 = colossus1.branch_ids.index("branch-21")
    first, end = colossus1.branch_first_array[branch_21 : branch_21 + 2]
    assert colossus1.array_ids[first:end] == tuple(f"A{i}" for i in range(141, 148))
    assert np.diff(colossus1.branch_first_array).tolist() == [7] * 55 + [6]
    assert np.bincount(colossus1.branch_hall).tolist() == [14, 14, 14, 14]


def test_mini_has_two_arrays_a_hall_and_a_branch_for_each() -> None:
    mini = load_site("mini").layout
    assert (mini.gpu_count, mini.rack_count, mini.array_count) == (4_096, 64, 8)
    assert mini.array_ids == tuple(f"A00{i}" for i in range(1, 9))
    assert mini.array_hall.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert mini.array_branch.tolist() == list(range(8))


def test_server_and_gpu_ids_go_both_ways(colossus1: Layout) -> None:
    assert colossus1.gpu_index("R2435-g17") == 2_434 * 64 + 17
    assert colossus1.gpu_id(2_434 * 64 + 17) == "R2435-g17"
    assert colossus1.server_index("R2435-s2") == 2_434 * 8 + 2
    assert colossus1.server_id(2_434 * 8 + 2) == "R2435-s2"


@pytest.mark.parametrize("gpu", ["R2435-g64", "R2435-g-1", "R2435-g01", "R2435-s1", "R9999-g1", "R2435", ""])
def test_a_wrong_gpu_id_is_refused(colossus1: Layout, gpu: str) -> None:
    with pytest.raises(SiteInvalid, match="no GPU"):
        colossus1.gpu_index(gpu)


@pytest.mark.parametrize("server", ["R2435-s8", "R2435-s02", "R2435-g1", "R9999-s1"])
def test_a_wrong_server_id_is_refused(colossus1: Layout, server: str) -> None:
    with pytest.raises(SiteInvalid, match="no server"):
        colossus1.server_index(server)


def test_a_wrong_id_names_what_is_near_and_what_is_allowed(colossus1: Layout) -> None:
    with pytest.raises(SiteInvalid, match=r"no rack 'R20500': allowed are R0001\.\.R3125; near: .*R2050"):
        colossus1.rack_index("R20500")
    with pytest.raises(SiteInvalid, match=r"no array 'A392': allowed are A001\.\.A391"):
        colossus1.array_index("A392")
    with pytest.raises(SiteInvalid, match=r"no hall 'H5': allowed are H1\.\.H4"):
        colossus1.hall_index("H5")


def test_arrays_cannot_be_written_to(colossus1: Layout) -> None:
    with pytest.raises(ValueError, match="read-only"):
        colossus1.rack_hall[0] = 3


@given(
    racks=st.lists(st.integers(1, 60), min_size=1, max_size=5),
    racks_per_array=st.integers(1, 9),
    arrays_per_row=st.integers(1, 6),
    arrays_per_branch=st.integers(1, 8),
)
def test_any_layout_is_whole(
    racks: list[int], racks_per_array: int, arrays_per_row: int, arrays_per_branch: int
) -> None:
    layout = build_layout(
        hall_racks=[(f"H{i}", n) for i, n in enumerate(racks, start=1)],
        servers_per_rack=18,
        gpus_per_server=4,
        racks_per_array=racks_per_array,
        arrays_per_row=arrays_per_row,
        arrays_per_branch=arrays_per_branch,
    )
    assert layout.rack_count == sum(racks)
    assert layout.gpu_count == sum(racks) * 72
    assert np.bincount(layout.rack_hall).tolist() == racks
    sizes = np.diff(layout.array_first_rack)
    assert sizes.min() >= 1
    assert sizes.max() <= racks_per_array
    # Nothing crosses a hall, and a rack's array, branch and hall agree.
    assert (layout.array_hall[layout.rack_array] == layout.rack_hall).all()
    assert (layout.branch_hall[layout.rack_branch] == layout.rack_hall).all()
    assert (layout.array_branch[layout.rack_array] == layout.rack_branch).all()
    assert layout.array_count == len(layout.array_hall) == layout.hall_first_array[-1]
    for firsts, counts in (
        (layout.array_first_rack, np.bincount(layout.rack_array)),
        (layout.branch_first_array, np.bincount(layout.array_branch)),
        (layout.hall_first_rack, np.bincount(layout.rack_hall)),
        (layout.hall_first_array, np.bincount(layout.array_hall)),
    ):
        assert np.diff(firsts).tolist() == counts.tolist()
    # Two racks never stand in one place, and an array is side by side in one row.
    places = set(zip(layout.rack_hall.tolist(), layout.rack_row.tolist(), layout.rack_pos.tolist(), strict=True))
    assert len(places) == layout.rack_count
    same_array = np.diff(layout.rack_array) == 0
    assert (np.diff(layout.rack_row)[same_array] == 0).all()
    assert (np.diff(layout.rack_pos)[same_array] == 1).all()
    assert layout.rack_pos.max() < arrays_per_row * racks_per_array
