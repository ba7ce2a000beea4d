"""The shipped recordings: the same each time, harmful if nobody acts, and the right commands help."""

import hashlib
from pathlib import Path

import pytest

from producers.comparison import Comparison, compare
from producers.incidents import INCIDENTS, RUN, START_MS, make_incident
from producers.rebuild import check, rebuild
from tests.producers.recorded import SITE, turn_ns
from twin.cli.incidents import make_recordings
from twin.errors import RecordingError, RecordingUnwritable
from twin.events.control import RunControl
from twin.events.head import decode_model, split
from twin.events.instructor import Inject, SnapshotReference, Truth
from twin.plant import TimedCommand
from twin.recording.reader import Recording
from twin.recording.snapshot_files import attachment_name

TRIPPED_AT = 120
TURBINES = ("turbine-1", "turbine-2", "turbine-3")
CURES = {
    "chiller-trip": [
        TimedCommand(185, "chiller.reset", "cooling-2"),
        TimedCommand(190, "chiller.start", "cooling-2", {"n": 12.0}),
    ],
    "turbine-trip": [
        TimedCommand(180, "battery.setpoint", "battery-1", {"power_w": 700_000.0}),
        *(TimedCommand(180, "turbine.reset", turbine) for turbine in TURBINES),
        *(TimedCommand(185, "turbine.start", turbine) for turbine in TURBINES),
    ],
    "pump-degraded": [TimedCommand(180, "cdu.select_pump", "cdu-R0007", {"pump": "B"})],
}
# What the incident costs if nobody acts, at least, and what is left of that with the cure, at most.
HARM = {
    "chiller-trip": ("rooms_over_h", 0.1, 0.5),
    "turbine-trip": ("feed_over_wh", 25_000.0, 0.2),
    "pump-degraded": ("lost_gpu_h", 100.0, 0.01),
}


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("incidents")
    return {name: make_incident(name, folder)[0] for name in INCIDENTS}


def cured(path: Path, name: str, at: int = TRIPPED_AT + 10) -> Comparison:
    with Recording(path) as recording:
        found = rebuild(recording, RUN, turn_ns(at), SITE)
        assert check(found.plant, recording, found.moment).resolutions == 0.0
        assert found.future == []
        return compare(
            found,
            recording,
            yours=CURES[name],
            automatic_operator=False,
            to_tick=max(found.line),
        )


@pytest.mark.parametrize("name", INCIDENTS)
def test_it_is_harmful_and_the_right_commands_a_minute_later_help(paths: dict[str, Path], name: str) -> None:
    told = cured(paths[name], name)
    figure, least, left_ratio = HARM[name]
    recorded, yours = told.columns["recorded"][figure], told.columns["yours"][figure]
    assert recorded >= least
    assert yours <= left_ratio * recorded
    assert told.model_error is not None
    assert told.model_error.resolutions == 0.0
    assert told.model_error.equal_n == told.model_error.compared_n


def test_the_same_seed_gives_the_same_bytes(paths: dict[str, Path], tmp_path: Path) -> None:
    name = "pump-degraded"
    for left in ("pump-degraded.mcap", "pump-degraded.part"):
        (tmp_path / left).write_bytes(b"of another version, or cut off")
    path, digest = make_incident(name, tmp_path)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
    assert path.read_bytes() == paths[name].read_bytes()
    assert [file.name for file in tmp_path.iterdir()] == ["pump-degraded.mcap"]


def test_a_file_holds_what_a_recorder_with_an_instructors_seat_writes(paths: dict[str, Path]) -> None:
    with Recording(paths["pump-degraded"]) as recording:
        facts = recording.facts
        assert (facts["run"], facts["site"], facts["site_crc"]) == (RUN, "mini", SITE.crc)
        assert (facts["instructor"], facts["level"], facts["seed"]) == ("yes", "full", "7")
        assert "pump" not in facts["title"].lower()
        assert recording.closed_by == "ended"
        assert recording.start_ns == START_MS * 1_000_000
        by_topic: dict[str, list[bytes]] = {}
        places: dict[tuple[str, int], int] = {}
        before_ns = 0
        for item in recording.items():
            assert item.time_ns >= before_ns
            before_ns = item.time_ns
            assert (item.time_ns, item.received_ms) == (item.timestamp_ms * 1_000_000, item.timestamp_ms)
            assert item.offset == places.get((item.topic, item.partition), -1) + 1
            places[item.topic, item.partition] = item.offset
            by_topic.setdefault(item.topic, []).append(item.value or b"")
        assert {topic: len(values) for topic, values in by_topic.items()} == recording.counts
        names = [index.name for index in recording.attachments()]
        assert names == [attachment_name(RUN, tick) for tick in range(0, 601, 60)]
        told = [
            decode_model(v, "instructor.snapshots/1", SnapshotReference)[1] for v in by_topic["instructor.snapshots"]
        ]
        for reference in told:
            data = recording.attachment(reference.path) or b""
            assert (hashlib.sha256(data).hexdigest(), len(data)) == (reference.sha256, reference.bytes)
    (inject,) = (decode_model(v, "instructor.injects/1", Inject)[1] for v in by_topic["instructor.injects"])
    (truth,) = (decode_model(v, "instructor.truth/1", Truth)[1] for v in by_topic["instructor.truth"])
    assert (inject.kind, truth.applied, truth.applied_tick) == ("pump_degraded", True, TRIPPED_AT)
    assert [split(v)[0].tick for v in by_topic["telemetry.grid"]] == list(range(600))
    assert len(by_topic["telemetry.gpu"]) == 600 * 8
    controls = [decode_model(v, "run.control/1", RunControl)[1] for v in by_topic["run.control"]]
    assert {control.automatic_operator for control in controls} == {False}
    assert controls[-1].state == "ended"
    assert controls[-1].settled_tick == 599
    assert by_topic.keys() >= {"telemetry.jobs", "telemetry.network", "telemetry.turbines", "telemetry.chillers"}


def test_no_recording_has_a_command(paths: dict[str, Path]) -> None:
    for path in paths.values():
        with Recording(path) as recording:
            assert not {"commands", "command_results", "run.requests"} & recording.counts.keys()
            assert recording.bytes_n < 16_000_000


def test_what_cannot_be_made_is_said(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"no incident 'flood': there are chiller-trip, turbine-trip"):
        make_incident("flood", tmp_path)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(RecordingUnwritable, match="file"):
        make_incident("pump-degraded", tmp_path / "file")


def test_the_verb_prints_what_it_has_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made: list[str] = []

    def make(name: str, folder: Path) -> tuple[Path, str]:
        made.append(name)
        path = folder / name
        path.write_bytes(bytes(2_500_000))
        return path, f"hash of {name}"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("producers.incidents.make_incident", make)
        make_recordings(None, tmp_path)
        make_recordings(["turbine-trip"], tmp_path)
    assert made == [*INCIDENTS, "turbine-trip"]
    assert capsys.readouterr().out.splitlines()[-1] == f"hash of turbine-trip  {tmp_path / 'turbine-trip'}  2.5 MB"
