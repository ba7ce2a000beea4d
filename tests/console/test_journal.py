from tests.console.worlds import RUN, START_MS, control
from twin.console.journal import KEPT_N, Journal
from twin.events.control import CommandResult, RunControl
from twin.events.head import split
from twin.events.instructor import Inject


def said(before: dict | None, now: dict) -> list[str]:
    journal = Journal()
    journal.note_run(None if before is None else run(before), run(now))
    return [entry.text for entry in journal.entries(hidden=False)]


def run(changed: dict) -> RunControl:
    return RunControl.model_validate_json(split(control(**changed).value)[1])


def test_changes_of_the_run_are_told_in_words():
    still = {"tick": 5}
    assert said(None, still) == [f"run {RUN} of mini: running"]
    assert said(still, still | {"tick": 6}) == []
    assert said(still, still | {"state": "paused"}) == ["paused"]
    assert said(still | {"state": "paused"}, still | {"epoch": 1, "continues": True}) == ["runs on"]
    assert said(still, still | {"speed": 10.0, "epoch": 1, "continues": True}) == ["speed x10"]
    assert said(still, still | {"speed": 0.0}) == ["speed as fast as possible"]
    assert said(still, still | {"epoch": 1}) == ["jumped to tick 0, epoch 1"]
    assert said(still, still | {"answers": "a", "error": "no such tick"}) == []
    journal = Journal()
    journal.note_run(run(still), run(still | {"answers": "a", "error": "no such tick"}))
    assert [entry.text for entry in journal.entries(hidden=True)] == ["refused: no such tick"]
    assert said(still | {"answers": "a", "error": "x"}, still | {"answers": "a", "error": "x"}) == []


def test_a_new_run_begins_with_an_empty_journal():
    journal = Journal()
    journal.note_run(None, run({}))
    journal.note_run(run({}), run({"run": "20261124T080000Z-0001"}))
    assert [entry.text for entry in journal.entries(hidden=True)] == ["run 20261124T080000Z-0001 of mini: running"]


def test_injects_are_hidden():
    journal = Journal()
    journal.note_inject(Inject(id="i", run=RUN, kind="chiller_trip", target="cooling-2"), "instructor-1", START_MS)
    assert journal.entries(hidden=False) == []
    [entry] = journal.entries(hidden=True)
    assert (entry.text, entry.by, entry.hidden) == ("inject chiller_trip cooling-2 sent", "instructor-1", True)


def test_it_is_bounded_and_tells_each_entry_in_order():
    journal, told = Journal(), []
    journal.on_entry = told.append
    for number in range(KEPT_N + 10):
        journal.note_result(
            CommandResult(
                command_id="c", verb="chiller.start", unit=f"chiller-{number}", by="t", accepted=True, reason="",
                applied_tick=1,
            ),
            START_MS,
        )  # fmt: skip
    kept = journal.entries(hidden=False)
    assert len(kept) == KEPT_N
    assert kept == told[10:]
