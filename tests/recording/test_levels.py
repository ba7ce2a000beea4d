"""What is recorded: levels, names and patterns, and what a trainee never gets."""

import pytest

from twin.errors import RecordingError, UnknownTopic
from twin.events.topics import TOPICS, full_name
from twin.recording.levels import select

GPU = "telemetry.gpu"
EVERY = {topic.name for topic in TOPICS}
HIDDEN = {topic.name for topic in TOPICS if topic.instructor}
SPACED = {full_name(name, "ci") for name in EVERY}


def test_the_levels() -> None:
    default, full = select(EVERY, ""), select(EVERY, "", full=True)
    assert (set(default.written), set(default.held)) == (EVERY - HIDDEN - {GPU}, {GPU})
    assert (set(full.written), set(full.held)) == (EVERY - HIDDEN, set())
    assert set(select(EVERY, "", instructor=True).written) == EVERY - {GPU}
    assert set(select(EVERY, "", full=True, instructor=True).written) == EVERY
    assert (default.level, full.level) == ("default", "full")


def test_names_in_the_file_have_no_namespace() -> None:
    assert set(select(SPACED | {"orders"}, "ci").names.values()) == EVERY - HIDDEN
    named = select(SPACED | {"orders"}, "ci", patterns=["orders", "alarms", "ci.twin.site"])
    assert named.written == {"orders": "orders", "ci.alarms": "alarms", "ci.twin.site": "twin.site"}
    assert (named.level, named.held) == ("topics", {})


def test_topics_by_name_and_pattern_never_show_a_trainee_what_is_hidden() -> None:
    there = EVERY | {"orders", "other.instructor.truth"}
    assert set(select(there, "", patterns=["*"]).written) == there - HIDDEN - {"other.instructor.truth"}
    assert set(select(there, "", patterns=["*"], instructor=True).written) == there
    assert set(select(there, "", patterns=["telemetry.g*", "ord?rs"]).written) == {GPU, "telemetry.grid", "orders"}
    for hidden in ("instructor.truth", "drill.log", "other.instructor.truth"):
        with pytest.raises(RecordingError, match="--instructor"):
            select(there, "", patterns=["orders", hidden])


def test_what_is_not_there_is_named() -> None:
    with pytest.raises(UnknownTopic, match=r"'nowhere'.*ci\.alarms.*…"):
        select(SPACED | {f"z{n}" for n in range(30)}, "ci", patterns=["commands", "nowhere"])
    with pytest.raises(UnknownTopic, match="there are none"):
        select([], "", patterns=["nowhere"])
    with pytest.raises(UnknownTopic, match=r"other\.alarms.*colossus topics create"):
        select(SPACED, "other")


def test_in_a_namespace_a_name_of_the_twin_is_of_that_namespace() -> None:
    chosen = select(EVERY | SPACED, "ci", patterns=["commands", "telemetry.gr*"])
    assert set(chosen.written) == {"ci.commands", "ci.telemetry.grid"}
