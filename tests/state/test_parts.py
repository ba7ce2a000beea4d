"""Parts of a tick: whatever comes again, in whatever order, a rack counts once."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from twin.events.derived import HALL_COUNTS, TWIN_RACK
from twin.events.frames import Frame
from twin.site import load_site
from twin.state.parts import Part, add_part, part_of, racks_in, total

SITE = load_site("mini")
WHERE = SITE.layout
HALLS = WHERE.hall_count
RNG = np.random.default_rng(3)
# Whole numbers, so that sums do not depend on their order; some values were not measured.
ROWS = {
    column.name: np.where(RNG.random(64) < 0.1, np.nan, RNG.integers(1, 900, 64)).astype(float)
    for column in TWIN_RACK.by_name["rack"].columns
}
ROWS["rack_i"] = np.arange(64.0)
ROWS["measured_n"] = RNG.integers(0, 65, 64).astype(float)
COUNTS = {name: RNG.integers(0, 9, 64) for name in HALL_COUNTS}
TEMP_BIN, POWER_BIN = RNG.integers(0, 240, 64), RNG.integers(0, 150, 64)


def frame_of(racks) -> Frame:
    """Make the message of some racks, as a worker would."""
    racks = np.array(sorted(racks), dtype=np.int64)
    if not len(racks):
        return Frame()
    halls = WHERE.rack_hall[racks]
    present = np.unique(halls)

    def hist(bins):
        places, n = np.unique(halls * 1000 + bins[racks], return_counts=True)
        return {"hall_i": places // 1000, "bin": places % 1000, "n": n}

    return Frame(
        dense={
            "rack": {name: values[racks] for name, values in ROWS.items()},
            "hall": {
                "hall_i": present,
                **{
                    name: np.array([values[racks][halls == h].sum() for h in present])
                    for name, values in COUNTS.items()
                },
            },
            "temp_hist": hist(TEMP_BIN),
            "power_hist": hist(POWER_BIN),
        }
    )


def part(racks) -> Part:
    return part_of(frame_of(racks), SITE)


def check(parts: list[Part], racks: set[int]) -> None:
    """Compare with a reckoning rack by rack."""
    assert racks_in(parts, WHERE.rack_count).tolist() == sorted(racks)
    totals = total(parts, HALLS)
    for hall in range(HALLS):
        here = [rack for rack in sorted(racks) if WHERE.rack_hall[rack] == hall]

        def values(name, here=here):
            return [(ROWS[name][rack], ROWS["measured_n"][rack]) for rack in here if not np.isnan(ROWS[name][rack])]

        for name, found in totals.sums.items():
            given_ = values(name)
            np.testing.assert_equal(found[hall], sum(value for value, _ in given_) if given_ else np.nan, name)
        for name, found in totals.means.items():
            by_rack = name.startswith("coolant")
            weighted = [(value, 1 if by_rack else weight) for value, weight in values(name)]
            weight = sum(weight for _, weight in weighted)
            expected = sum(value * weight for value, weight in weighted) / weight if weight else np.nan
            np.testing.assert_allclose(found[hall], expected, err_msg=name)
        for name, found in totals.maxima.items():
            np.testing.assert_equal(found[hall], max((value for value, _ in values(name)), default=np.nan), name)
        for name, found in totals.minima.items():
            np.testing.assert_equal(found[hall], min((value for value, _ in values(name)), default=np.nan), name)
        for name, found in totals.counts.items():
            assert found[hall] == sum(int(COUNTS[name][rack]) for rack in here), name
        assert totals.temp_hist[hall].tolist() == np.bincount(TEMP_BIN[here], minlength=240).tolist()
        assert totals.power_hist[hall].tolist() == np.bincount(POWER_BIN[here], minlength=150).tolist()


@st.composite
def families(draw) -> list[frozenset[int]]:
    """Sets of racks of which any two are apart or one within the other, again and again, in any order."""
    racks = draw(st.permutations(range(0, 64, 3)))
    cuts = sorted(draw(st.sets(st.integers(1, len(racks)), min_size=1, max_size=4)))
    family: list[frozenset[int]] = []
    for a, b in zip([0, *cuts], cuts, strict=False):
        block = racks[a:b]
        family.append(frozenset(block))
        middle = draw(st.integers(0, len(block)))
        family += [frozenset(block[:middle]), frozenset(block[middle:])]
        family.append(frozenset(block[: draw(st.integers(0, middle))]))
    again = draw(st.lists(st.sampled_from(family), max_size=4))
    wanted = draw(st.lists(st.sampled_from(range(len(family))), min_size=1, unique=True))
    return draw(st.permutations([family[i] for i in wanted] + again))


@given(families())
def test_any_order_with_subsets_supersets_and_repetitions_gives_each_rack_once(family):
    parts: list[Part] = []
    for racks in family:
        before = set(racks_in(parts, 64).tolist())
        assert add_part(parts, part(racks)) == bool(set(racks) - before)
    check(parts, set().union(*family))


@given(st.lists(st.sets(st.integers(0, 63)), max_size=6))
def test_parts_that_overlap_anyhow_never_count_a_rack_twice_nor_lose_one_by_number(sets):
    parts: list[Part] = []
    for racks in sets:
        before = len(racks_in(parts, 64))
        add_part(parts, part(racks))
        assert len(racks_in(parts, 64)) >= max(before, len(racks))
    check(parts, {int(rack) for rack in racks_in(parts, 64)})


def test_a_part_with_no_racks_adds_nothing():
    parts: list[Part] = []
    assert not add_part(parts, part([]))
    assert parts == []
    check([], set())


def test_rows_need_not_stand_in_order():
    frame, mixed = frame_of([0, 17, 20, 60]), frame_of([0, 17, 20, 60])
    order = np.array([2, 0, 3, 1])
    mixed.dense["rack"] = {name: values[order] for name, values in mixed.dense["rack"].items()}
    one, other = total([part_of(frame, SITE)], HALLS), total([part_of(mixed, SITE)], HALLS)
    for name in one.sums:
        np.testing.assert_array_equal(one.sums[name], other.sums[name])
