"""Sequence numbers against a model that remembers every number."""

from hypothesis import given
from hypothesis import strategies as st

from twin.state.sequence import WINDOW, Sequence


class Model:
    """The set of all numbers that came."""

    def __init__(self) -> None:
        self.came: set[int] = set()
        self.missing = 0
        self.skipped: set[int] = set()  # passed over, within the window still
        self.first = -1

    def take(self, seq: int) -> str:
        last = max(self.came, default=-1)
        if not self.came:
            self.came.add(seq)
            return "next"
        if seq > last:
            self.skipped |= set(range(last + 1, seq))
            gone = {number for number in self.skipped if seq - number >= WINDOW}
            self.missing += len(gone)
            self.skipped -= gone
            self.came.add(seq)
            return "next"
        if last - seq >= WINDOW:
            return "late"
        if seq in self.came:
            return "duplicate"
        self.came.add(seq)
        self.skipped.discard(seq)
        return "late"


STEPS = st.lists(
    st.one_of(st.integers(-70, 3), st.integers(1, 3), st.integers(60, 70), st.integers(1, 400)), max_size=80
)


@given(first=st.integers(0, 200), steps=STEPS)
def test_it_is_the_model(first, steps):
    sequence, model, seq = Sequence(), Model(), first
    assert sequence.take(seq) == model.take(seq) == "next"
    for step in steps:
        seq = max(sequence.last + step, 0)
        assert sequence.take(seq) == model.take(seq)
        assert (sequence.last, sequence.missing) == (max(model.came), model.missing)
        assert sequence.open_gaps() == len(model.skipped)


@given(st.permutations(range(40)))
def test_any_order_within_the_window_has_no_gap_and_no_duplicate(order):
    sequence = Sequence()
    assert {sequence.take(seq) for seq in order} <= {"next", "late"}
    assert (sequence.missing, sequence.open_gaps()) == (0, 0)
    assert {sequence.take(seq) for seq in order} == {"duplicate"}


def test_a_number_from_far_away_counts_what_it_passed_over():
    sequence = Sequence()
    sequence.take(0)
    sequence.take(10**15)
    assert sequence.missing + sequence.open_gaps() == 10**15 - 1
    assert sequence.open_gaps() == WINDOW - 1


def test_the_edge_of_the_window():
    sequence = Sequence()
    for seq in (100, 100 + WINDOW - 1):
        sequence.take(seq)
    assert sequence.take(100) == "duplicate"
    sequence.take(100 + WINDOW)
    assert sequence.take(100) == "late"
