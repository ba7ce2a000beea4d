import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin.bus.base import Place
from twin.bus.group import Group, deal
from twin.errors import NotOwner

TIMEOUT_S = 10.0


def asleep() -> None:
    """A member that nobody waits for."""


@given(
    st.dictionaries(
        st.sampled_from(["m1", "m2", "m3", "m4"]),
        st.dictionaries(st.sampled_from(["a", "b", "c"]), st.just(5), min_size=1),
        min_size=1,
    )
)
def test_every_partition_is_dealt_to_exactly_one_member_that_reads_it(members: dict[str, dict[str, int]]) -> None:
    dealt = deal(members)
    assert dealt.keys() == members.keys()
    owned = [place for places in dealt.values() for place in places]
    topics = {topic for reads in members.values() for topic in reads}
    assert sorted(owned) == sorted(Place(topic, p) for topic in topics for p in range(5))
    for member, places in dealt.items():
        assert {place.topic for place in places} <= members[member].keys()
    if all(reads == next(iter(members.values())) for reads in members.values()):
        sizes = [len(places) for places in dealt.values()]
        assert max(sizes) - min(sizes) <= 1
    assert deal(dict(reversed(members.items()))) == dealt


def test_a_first_member_gets_all_at_once() -> None:
    group = Group("g", TIMEOUT_S)
    member = group.join({"t": 2}, asleep, 0.0)
    seat = group.seat(member)
    assert seat is not None
    assert seat.places == {Place("t", 0), Place("t", 1)}
    assert (group.generation, group.rebalancing) == (1, False)


def test_nothing_is_dealt_before_all_have_joined_again() -> None:
    group = Group("g", TIMEOUT_S)
    first = group.join({"t": 2}, asleep, 0.0)
    second = group.join({"t": 2}, asleep, 0.0)
    seats = group.seat(first), group.seat(second)
    assert seats[0] is not None
    assert seats[1] is not None
    assert group.rebalancing
    assert (len(seats[0].places), len(seats[1].places)) == (2, 0)
    group.commit(first, 1, {Place("t", 0): 7})  # it still owns them, in the old generation
    group.rejoin(first)
    assert (group.generation, group.rebalancing) == (2, False)
    assert (len(seats[0].places), len(seats[1].places)) == (1, 1)
    with pytest.raises(NotOwner, match="generation 1"):
        group.commit(first, 1, {Place("t", 0): 8})
    with pytest.raises(NotOwner, match="does not own"):
        group.commit(first, 2, {Place("t", 0): 8, Place("t", 1): 8})
    assert group.committed == {Place("t", 0): 7}


def test_one_that_has_joined_again_owns_nothing_until_all_have() -> None:
    group = Group("g", TIMEOUT_S)
    first = group.join({"t": 2}, asleep, 0.0)
    group.join({"t": 2}, asleep, 0.0)
    group.rejoin(first)
    group.join({"t": 2}, asleep, 0.0)
    group.rejoin(first)
    assert group.rebalancing
    with pytest.raises(NotOwner, match="does not own"):
        group.commit(first, group.generation, {Place("t", 0): 1})


def test_a_silent_member_is_expelled_and_ends_the_wait_of_the_others() -> None:
    group = Group("g", TIMEOUT_S)
    silent = group.join({"t": 2}, asleep, 0.0)
    alive = group.join({"t": 2}, asleep, 0.0)
    group.beat(alive, TIMEOUT_S)
    assert group.rebalancing
    group.beat(alive, TIMEOUT_S + 0.1)
    assert group.seat(silent) is None
    assert not group.rebalancing
    assert len(list(group.seats())) == 1
    with pytest.raises(NotOwner, match="not in group"):
        group.commit(silent, 1, {Place("t", 0): 1})
    group.commit(silent, 1, {})


def test_a_member_wakes_the_others_when_it_comes_and_goes() -> None:
    woken: list[str] = []
    group = Group("g", TIMEOUT_S)
    group.join({"t": 2}, lambda: woken.append("first"), 0.0)
    woken.clear()
    second = group.join({"t": 2}, asleep, 0.0)
    assert "first" in woken
    woken.clear()
    group.leave(second)
    group.leave(second)
    assert "first" in woken


def test_a_join_during_a_rebalance_does_not_ask_twice() -> None:
    group = Group("g", TIMEOUT_S)
    first = group.join({"t": 2}, asleep, 0.0)
    group.join({"t": 2}, asleep, 0.0)
    third = group.join({"t": 2}, asleep, 0.0)
    group.rejoin(first)
    assert not group.rebalancing
    assert group.generation == 2
    group.leave(third)
    assert group.rebalancing


def test_offsets_outlive_the_members() -> None:
    group = Group("g", TIMEOUT_S)
    member = group.join({"t": 1}, asleep, 0.0)
    group.commit(member, 1, {Place("t", 0): 5})
    group.leave(member)
    assert not group.rebalancing
    assert group.committed == {Place("t", 0): 5}
