"""The rule of the 5-minute bucket, without a store."""

import numpy as np

from tests.store.batches import HOUR_MS, OTHER_RUN, RUN, T0
from twin.events.measurements import BY_NAME
from twin.store.rollup import GRACE_MS, WINDOW_MS, Window, due, windows_of


def test_windows_are_aligned_to_ts_and_each_is_named_once() -> None:
    ts = np.array([T0, T0 + 1, T0 + WINDOW_MS - 1, T0 + WINDOW_MS, T0 - 1])
    assert windows_of(BY_NAME["hall"], RUN, ts) == {
        Window(T0 + i * WINDOW_MS, RUN, "hall") for i in (-1, 0, 1)
    }  # fmt: skip


def test_what_is_not_rolled_up_has_no_windows() -> None:
    assert windows_of(BY_NAME["event"], RUN, np.array([T0])) == windows_of(BY_NAME["gpu"], RUN, np.array([T0])) == set()


def test_a_window_is_due_when_its_end_and_the_grace_are_over() -> None:
    window = Window(T0, RUN, "site")
    assert due([window], T0 + WINDOW_MS + GRACE_MS - 1) == []
    assert due([window], T0 + WINDOW_MS + GRACE_MS) == [window]


def test_the_oldest_comes_first() -> None:
    windows = [Window(T0 + i * WINDOW_MS, run, "site") for i in (2, 0, 1) for run in (RUN, OTHER_RUN)]
    assert [window.start_ms for window in due(windows, T0 + HOUR_MS)] == sorted(w.start_ms for w in windows)


def test_racks_are_due_from_six_hours_on_or_when_the_run_is_known_to_be_long() -> None:
    first, almost, six = (Window(T0 + ms, RUN, "rack") for ms in (0, 6 * HOUR_MS - WINDOW_MS, 6 * HOUR_MS))
    other = Window(T0 + 6 * HOUR_MS, OTHER_RUN, "rack")
    now_ms = T0 + 7 * HOUR_MS
    assert due([first, almost, other], now_ms) == []
    assert due([first, six, other], now_ms) == [first, six]
    assert due([first, other], now_ms, {OTHER_RUN}) == [other]
