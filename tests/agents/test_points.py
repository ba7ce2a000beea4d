"""Points of every topic: what was sent, under the right tags, and nothing that was not measured."""

import math
from collections import defaultdict

import numpy as np
import orjson
import pytest

from tests.agents.messages import (
    LAYOUT,
    RUN,
    TS,
    WALL_MS,
    control,
    data_of,
    dead_letter,
    health,
    jobs,
    mark,
    message,
    one_of_each,
    result,
    telemetry,
    twin_rack,
    twin_site,
    with_data,
)
from tests.whole.house import HandClock
from twin.agents.points import PointMaker
from twin.bus.base import Record
from twin.errors import ForeignMajor, MessageInvalid
from twin.events.columns import Family
from twin.events.control import RunControl
from twin.events.measurements import BY_NAME, MEASUREMENTS
from twin.events.topics import BY_NAME as TOPICS
from twin.run import RunView
from twin.store import Points

FRAMES = ("telemetry.chillers", "telemetry.turbines", "telemetry.grid", "telemetry.network")
# Filled by parts that come later: models of what each unit should do, alarms, and their indicators.
LATER = {"residual", "alarm", "alarm_kpi"}
LATER_FIELDS = {"cdu.residual_k", "chiller.cop_residual", "tower.residual_k"}


def view_of(record: Record | None) -> RunView:
    """Return the view of a process that has heard this ``run.control``."""
    view = RunView()
    if record is not None:
        view.accept(RunControl.model_validate(data_of(record)), now_ms=WALL_MS)
    return view


@pytest.fixture
def maker() -> PointMaker:
    return PointMaker(LAYOUT, view_of(control()), HandClock())


def by_measurement(points: list[Points]) -> dict[str, Points]:
    named = {one.measurement: one for one in points}
    assert len(named) == len(points)
    return named


def column(points: Points, name: str) -> list[float]:
    return np.broadcast_to(np.asarray(points.fields[name], np.float64), points.size).tolist()


# -- the contract ----------------------------------------------------------------------------------------------------


def test_every_topic_is_exercised_here(maker: PointMaker) -> None:
    assert set(one_of_each()) == set(maker.topics)


def test_every_measurement_and_field_is_filled_by_some_topic(maker: PointMaker) -> None:
    filled: dict[str, set[str]] = defaultdict(set)
    texts: dict[str, set[str]] = defaultdict(set)
    for records in one_of_each().values():
        for record in records:
            for points in maker.points_of(record):
                assert points.size
                assert points.run == RUN
                filled[points.measurement] |= set(points.fields)
                texts[points.measurement] |= set(points.texts)
    assert {m.name for m in MEASUREMENTS} - set(filled) == LATER
    missing = {f"{m.name}.{f.name}" for m in MEASUREMENTS for f in m.fields if f.name not in filled[m.name]}
    assert {name for name in missing if name.partition(".")[0] not in LATER} == LATER_FIELDS
    assert {m.name for m in MEASUREMENTS if set(m.texts) != texts[m.name]} == LATER - {"alarm_kpi"}


# -- telemetry -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("topic", FRAMES)
def test_what_the_gateways_sent_is_what_is_stored(topic: str, maker: PointMaker) -> None:
    family = TOPICS[topic].data
    assert isinstance(family, Family)
    for record in telemetry(topic):
        key = (record.key or b"").decode()
        data, points = data_of(record), by_measurement(maker.points_of(record))
        for group in family.groups:
            if not group.measurement or (group.name == "weather" and key != LAYOUT.keys(topic)[0]):
                assert group.measurement not in points
                continue
            stored, measurement = points.pop(group.measurement), BY_NAME[group.measurement]
            wanted = {name: values for name, values in data[group.name].items() if measurement.has(name)}
            assert {name: column(stored, name) for name in stored.fields} == wanted
            assert (stored.run, stored.ts) == (RUN, TS)
            place = {"plant": key, "hall": key, "unit": LAYOUT.ids(topic, key, group.name)}
            assert stored.tags == {tag: place[tag] for tag in measurement.tags}
        assert not points


def test_weather_is_stored_once(maker: PointMaker) -> None:
    records = telemetry("telemetry.chillers")
    assert len(records) == 4
    weather = [p for r in records for p in maker.points_of(r) if p.measurement == "weather"]
    assert [column(points, "wet_bulb_c") for points in weather] == [data_of(records[0])["weather"]["wet_bulb_c"]]


@pytest.mark.parametrize(
    ("tick", "stored"), [(0, True), (1, False), (5, False), (9, False), (10, True), (15, False), (20, True)]
)
def test_switches_are_stored_every_tenth_tick(tick: int, stored: bool, maker: PointMaker) -> None:
    (record, *_) = telemetry("telemetry.network")
    again = message(record.topic, "H1", orjson.dumps(data_of(record)), tick=tick)
    assert ("switch" in by_measurement(maker.points_of(again))) == stored
    assert "network" in by_measurement(maker.points_of(again))


def test_a_suspect_value_is_missing_and_its_neighbours_are_not(maker: PointMaker) -> None:
    record = telemetry("telemetry.chillers")[1]
    data = data_of(record)
    sent = data["chiller"]["power_w"]
    data["suspect"] = {"chiller.power_w": [2], "weather.dry_bulb_c": [0]}
    stored = column(by_measurement(maker.points_of(with_data(record, data)))["chiller"], "power_w")
    assert math.isnan(stored[2])
    assert stored[:2] + stored[3:] == sent[:2] + sent[3:]


def test_a_value_that_was_not_measured_is_missing(maker: PointMaker) -> None:
    record = telemetry("telemetry.grid")[0]
    data = data_of(record)
    data["battery"]["soc"] = [None]
    assert math.isnan(column(by_measurement(maker.points_of(with_data(record, data)))["battery"], "soc")[0])


# -- the observer's own ----------------------------------------------------------------------------------------------


def test_rows_of_racks_cdus_and_gpus(maker: PointMaker) -> None:
    record = twin_rack()
    data, points = data_of(record), by_measurement(maker.points_of(record))
    assert set(points) == {"rack", "cdu", "gpu", "xid"}
    for name in ("rack", "cdu", "gpu"):
        wanted = {c: values for c, values in data[name].items() if BY_NAME[name].has(c)}
        assert {c: column(points[name], c) for c in points[name].fields} == wanted
        assert points[name].ts == TS
    assert points["rack"].tags == {
        "hall": ["H1", "H2", "H4"],
        "array": ["A001", "A003", "A008"],
        "rack": ["R0001", "R0018", "R0064"],
        "row": ["0", "0", "0"],
        "pos": ["0", "1", "15"],
    }
    assert points["cdu"].tags == {
        "hall": ["H2", "H4"],
        "rack": ["R0018", "R0064"],
        "unit": ["cdu-R0018", "cdu-R0064"],
    }
    assert points["gpu"].tags == {"hall": ["H2", "H2"], "rack": ["R0018", "R0018"], "gpu": ["0", "63"]}


def test_every_rack_has_the_tags_of_its_own_place(maker: PointMaker) -> None:
    site = LAYOUT.site.layout
    data = data_of(twin_rack())
    one = {name: values[0] for name, values in data["rack"].items()}
    data["rack"] = {name: [value] * site.rack_count for name, value in one.items()}
    data["rack"]["rack_i"] = list(range(site.rack_count))
    tags = by_measurement(maker.points_of(with_data(twin_rack(), data)))["rack"].tags
    assert tags["rack"] == list(site.rack_ids)
    assert tags["row"] == [str(row) for row in site.rack_row]
    assert tags["pos"] == [str(pos) for pos in site.rack_pos]
    first = site.array_first_rack
    assert tags["array"] == [site.array_ids[i] for i in range(8) for _ in range(first[i], first[i + 1])]
    places = set(zip(tags["hall"], tags["row"], tags["pos"], strict=True))
    assert len(places) == site.rack_count


def test_xids_are_added_up_by_hall_and_number(maker: PointMaker) -> None:
    xid = by_measurement(maker.points_of(twin_rack()))["xid"]
    assert xid.tags == {"hall": ["H1", "H1", "H4"], "xid": ["79", "31", "79"], "fatal": ["yes", "no", "yes"]}
    assert column(xid, "raised") == [3, 4, 8]
    assert xid.texts["gpu"] == ["R0001-g5", "R0001-g6", "R0064-g7"]
    assert xid.texts["rack"] == ["R0001", "R0001", "R0064"]
    assert xid.texts["text"] == ["XID 79 on R0001-g5", "XID 31 on R0001-g6", "XID 79 on R0064-g7"]


def test_the_picture_of_the_site(maker: PointMaker) -> None:
    record = twin_site()
    data, points = data_of(record), by_measurement(maker.points_of(record))
    assert set(points) == {"site", "hall", "gpu_hist", "permit", "loop", "run"}
    for name, stored in points.items():
        assert {c: column(stored, c) for c in stored.fields} == {
            c: values for c, values in data[name].items() if BY_NAME[name].has(c)
        }
        assert stored.ts == TS
    assert points["site"].tags == {}
    assert points["hall"].tags == {"hall": ["H1", "H2", "H3", "H4"]}
    assert points["gpu_hist"].tags == {"scope": ["site", "H1", "H4"]}
    assert points["permit"].tags == {"plant": "power-1"}
    assert points["run"].tags == {"kind": "drill"}
    loops = {unit.id: unit.plant for unit in LAYOUT.site.units if unit.kind == "loop"}
    assert points["loop"].tags == {"plant": list(loops.values()), "unit": list(loops)}


def test_the_age_of_a_run_whose_kind_is_not_known_is_left_out(maker: PointMaker) -> None:
    other = "20260101T000000Z-0001"
    of_another_run = message("twin.site", "mini", orjson.dumps(data_of(twin_site())), run=other)
    assert "run" not in by_measurement(maker.points_of(of_another_run))
    assert "run" not in by_measurement(PointMaker(LAYOUT, view_of(None), HandClock()).points_of(twin_site()))


def test_a_loop_that_the_site_lacks_is_refused(maker: PointMaker) -> None:
    data = data_of(twin_site())
    data["loop"]["unit"][0] = "loop-99"
    with pytest.raises(MessageInvalid, match=r"^unknown-unit: .*loop-99"):
        maker.points_of(with_data(twin_site(), data))


def test_health_is_told_at_wall_time(maker: PointMaker) -> None:
    record = health("site-1")
    data = data_of(record)
    points = maker.points_of(record)
    assert {one.ts for one in points} == {WALL_MS}
    worker, first, second, sink = points
    assert (worker.measurement, worker.tags) == ("worker", {"worker": "site-1"})
    assert worker.fields == {"cpu": 0.5, "buffer_fill": 0.25}
    for sent, stored in zip(data["ingest"], (first, second), strict=True):
        assert (stored.measurement, stored.tags) == ("ingest", {"topic": sent.pop("topic")})
        assert stored.fields == sent
    assert (sink.measurement, sink.tags) == ("sink", {"sink": "duck"})
    assert sink.fields == {"points_hz": 100.5, "write_p99_s": 0.25, "retry_n": 3, "buffered_n": 4}


# -- the run and its commands ----------------------------------------------------------------------------------------


def test_each_control_message_is_a_row_and_each_change_an_event(maker: PointMaker) -> None:
    said = [
        control(0),
        control(1, sent_ms=WALL_MS + 1000, settled_tick=11),
        control(2, sent_ms=WALL_MS + 2000, state="paused"),
        control(3, sent_ms=WALL_MS + 3000, state="paused"),
        control(4, sent_ms=WALL_MS + 4000, speed=4.0),
        control(5, sent_ms=WALL_MS + 5000, speed=4.0, epoch=1),
    ]
    points = [maker.points_of(record) for record in said]
    rows = [one[0] for one in points]
    assert [row.ts for row in rows] == [WALL_MS + 1000 * i for i in range(6)]
    assert all((row.measurement, row.tags) == ("run", {"kind": "drill"}) for row in rows)
    assert rows[0].fields == {"state_code": 3, "speed": 1, "dt_s": 1}
    assert [row.fields["state_code"] for row in rows] == [3, 3, 1, 1, 3, 3]
    events = [one[1] if one[1:] else None for one in points]
    assert [event and event.texts["text"] for event in events] == [
        "running, epoch 0, x1",
        None,
        "paused, epoch 0, x1",
        None,
        "running, epoch 0, x4",
        "running, epoch 1, x4",
    ]
    assert events[0] is not None
    assert events[0].tags == {"kind": "run", "priority": "none"}
    assert (events[0].texts["unit"], events[0].texts["by"]) == (RUN, "owner-1")


def test_two_results_in_one_tick_are_two_events_and_the_same_when_read_again(maker: PointMaker) -> None:
    records = [result(41), result(42, accepted=False)]
    ((first,), (second,)) = (maker.points_of(record) for record in records)
    assert first.ts != second.ts
    assert 0 <= first.ts - TS < 1000
    assert first.texts == {
        "text": "chiller.start chiller-1: accepted",
        "unit": "chiller-1",
        "by": "anna",
        "result": "accepted",
    }
    assert second.texts["result"] == "rejected: it is locked out"
    assert first.tags == {"kind": "command", "priority": "none"}
    again = PointMaker(LAYOUT, view_of(None), HandClock())
    assert [again.points_of(record) for record in reversed(records)] == [[second], [first]]


def test_a_dead_letter_is_an_event_that_says_where_and_why(maker: PointMaker) -> None:
    (event,) = maker.points_of(dead_letter(7))
    assert (event.measurement, event.ts) == ("event", TS + 7)
    assert event.tags == {"kind": "dead_letter", "priority": "none"}
    assert event.texts["unit"] == "telemetry.gpu/3/41"
    assert event.texts["text"] == "other-major: telemetry.gpu/2, expected telemetry.gpu/1"


# -- jobs ------------------------------------------------------------------------------------------------------------


def test_large_jobs_have_rows_and_the_rest_is_one(maker: PointMaker) -> None:
    least = 512 * LAYOUT.site.scale
    assert 10 < least < 11
    record = jobs(512, 11, 10, 30, 6)
    table, points = data_of(record), by_measurement(maker.points_of(record))
    sent = {job["id"]: job for job in table["jobs"]}
    job = points["job"]
    assert job.tags == {"unit": ["job-0", "job-1", "job-3", "small"]}
    for name in job.fields:
        assert column(job, name)[:3] == [sent[f"job-{i}"][name] for i in (0, 1, 3)]
    small = {name: column(job, name)[3] for name in job.fields}
    assert small["gpu_n"] == 16
    assert small["power_w"] == 1600
    assert (small["power_low_w"], small["power_high_w"]) == (1440, 1760)
    assert small["mfu"] == pytest.approx((10 * sent["job-2"]["mfu"] + 6 * sent["job-4"]["mfu"]) / 16)
    assert small["state_code"] == 3


def test_the_table_as_a_whole(maker: PointMaker) -> None:
    whole = by_measurement(maker.points_of(jobs(512)))["jobs"]
    assert whole.tags == {}
    assert whole.ts == TS
    assert whole.fields == {
        "running_n": 1,
        "queued_n": 2,
        "goodput": 0.9,
        "lost_gpu_h": 12.5,
        "failures_24h_n": 3,
        "failures_expected_n": 2.5,
        "overflow_gpu_n": 64,
        "overflow_usd_h": 128.5,
    }


def test_a_table_without_jobs_has_no_rows_of_jobs(maker: PointMaker) -> None:
    for record in (jobs(full=True), jobs(full=False), jobs(512, full=False)):
        assert set(by_measurement(maker.points_of(record))) == {"jobs"}
    assert by_measurement(maker.points_of(jobs(512)))["job"].tags == {"unit": ["job-0"]}
    assert by_measurement(maker.points_of(jobs(5)))["job"].tags == {"unit": ["small"]}


def test_the_real_table_of_the_plant(maker: PointMaker) -> None:
    (record,) = telemetry("telemetry.jobs")
    job = by_measurement(maker.points_of(record))["job"]
    assert dict(zip(job.tags["unit"], column(job, "power_w"), strict=True)) == {
        sent["id"]: sent["power_w"] for sent in data_of(record)["jobs"]
    }


# -- what is no message ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("topic", one_of_each())
def test_bad_bytes_are_refused(topic: str, maker: PointMaker) -> None:
    record = one_of_each()[topic][0]
    raw = record.value or b""
    for bad in (b"", b"\xff\x00junk", raw[:-20], b"[]", b"{}", b'{"head":{},"data":{}}'):
        with pytest.raises(MessageInvalid):
            maker.points_of(record._replace(value=bad))
    for data in (None, [], {}, 5, "text", {"site": {"pue": ["hot"]}}):
        with pytest.raises(MessageInvalid):
            maker.points_of(with_data(record, data))


@pytest.mark.parametrize("topic", [topic for topic in one_of_each() if topic != "twin.marks"])
def test_a_tombstone_is_refused_where_nothing_can_end(topic: str, maker: PointMaker) -> None:
    with pytest.raises(MessageInvalid, match=r"^empty"):
        maker.points_of(one_of_each()[topic][0]._replace(value=None))


def test_marks_make_no_points_and_end(maker: PointMaker) -> None:
    for record in one_of_each()["twin.marks"]:
        assert maker.points_of(record) == maker.points_of(record._replace(value=None)) == []


def test_a_watch_over_a_rack_that_the_site_lacks_is_refused(maker: PointMaker) -> None:
    with pytest.raises(MessageInvalid, match=r"^unknown-rack: .*R9999"):
        maker.points_of(mark("watch", "R9999"))


@pytest.mark.parametrize("topic", [topic for topic in one_of_each() if isinstance(TOPICS[topic].data, Family)])
def test_a_tick_that_the_epoch_cannot_have_is_refused(topic: str, maker: PointMaker) -> None:
    record = one_of_each()[topic][0]
    whole = orjson.loads(record.value or b"")
    assert maker.points_of(record)
    whole["head"]["tick"] = 1_000_000
    far = record._replace(value=orjson.dumps(whole))
    with pytest.raises(MessageInvalid, match=r"^out-of-range: head\.tick"):
        maker.points_of(far)
    assert PointMaker(LAYOUT, view_of(None), HandClock()).points_of(far)  # of a run that is not known


@pytest.mark.parametrize("topic", one_of_each())
def test_another_schema_is_refused(topic: str, maker: PointMaker) -> None:
    record = one_of_each()[topic][0]
    raw, name = record.value or b"", topic.encode()
    with pytest.raises(ForeignMajor, match=r"^other-major"):
        maker.points_of(record._replace(value=raw.replace(name + b"/1", name + b"/2")))
    with pytest.raises(MessageInvalid, match=r"^unknown-schema"):
        maker.points_of(record._replace(value=raw.replace(name + b"/1", b"telemetry.other/1")))


@pytest.mark.parametrize("topic", FRAMES)
def test_a_key_that_the_site_lacks_is_refused(topic: str, maker: PointMaker) -> None:
    record = message(topic, "nobody", orjson.dumps(data_of(telemetry(topic)[0])))
    with pytest.raises(MessageInvalid, match=r"^unknown-key: nobody"):
        maker.points_of(record)


def test_a_rack_beyond_the_site_is_refused(maker: PointMaker) -> None:
    for group in ("rack", "cdu", "gpu", "xid"):
        data = data_of(twin_rack())
        data[group]["rack_i"][0] = LAYOUT.site.layout.rack_count
        with pytest.raises(MessageInvalid, match=rf"^bad-index: {group}\.rack_i"):
            maker.points_of(with_data(twin_rack(), data))


@pytest.mark.parametrize("place", ["jobs", "job", "ingest", "sink"])
def test_a_count_beyond_all_numbers_is_refused(place: str, maker: PointMaker) -> None:
    record, was = {
        "jobs": (jobs(512), b'"queued_n":2'),
        "job": (jobs(512), b'"gpu_n":512'),
        "ingest": (health(), b'"kafka_lag_n":6'),
        "sink": (health(), b'"buffered_n":4'),
    }[place]
    raw = record.value or b""
    assert was in raw
    for digits, reason in ((30, "bad-data"), (400, "not-json")):
        huge = was.partition(b":")[0] + b":1" + b"0" * digits
        with pytest.raises(MessageInvalid, match=f"^{reason}"):
            maker.points_of(record._replace(value=raw.replace(was, huge)))
