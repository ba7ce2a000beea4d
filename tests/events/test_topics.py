"""The table of topics, the columns of its frames and the fields of the store: each says what it is, once."""

import base64
from collections.abc import Iterator
from typing import Any, get_args

import orjson
import pytest
from pydantic import BaseModel

from producers.families import PRODUCERS
from tests.events.json_schema import faults
from twin.bus.base import Record
from twin.events.alarm import Alarm, AlarmCandidate, DeadLetter, DrillLog, ExternalAlarm, Mark
from twin.events.columns import Aggregate, Column, Family, Group
from twin.events.control import Command, CommandResult, Line, RunControl, RunRequest
from twin.events.derived import Health, IngestHealth, SinkHealth
from twin.events.frames import decode_frame
from twin.events.head import Head, encode, encode_model, split
from twin.events.instructor import Inject, SnapshotReference, Truth
from twin.events.layout import FrameLayout
from twin.events.measurements import BY_NAME as MEASUREMENTS
from twin.events.schemas import schema_of
from twin.events.topics import BY_NAME, MAX_MESSAGE_BYTES, TOPICS, Topic, array_partition, full_name
from twin.events.units import _BY_SUFFIX, _PLAIN_NAMES, unit_of
from twin.plant import Plant, build, step
from twin.run import RunView
from twin.site import load_site
from twin.state.outputs import Send
from twin.state.rows import RowKeeper
from twin.state.site import TOPICS as SITE_TOPICS
from twin.state.site import SiteKeeper

RUN = "20261124T072000Z-a7f3"
NOW_MS = 1_795_504_800_000
FAMILIES = {topic.name: topic.data for topic in TOPICS if isinstance(topic.data, Family)}
MODELS = {topic.name: topic.data for topic in TOPICS if not isinstance(topic.data, Family)}


def test_partitions_compaction_and_who_may_read_are_as_designed():
    assert {topic.name for topic in TOPICS if topic.partitions != 1} == {"telemetry.gpu", "twin.rack"}
    assert {topic.partitions for topic in TOPICS} == {1, 24}
    assert {topic.name for topic in TOPICS if topic.compacted} == {"run.control", "twin.marks", "alarms"}
    assert {topic.name for topic in TOPICS if topic.instructor} == {
        "drill.log",
        "instructor.injects",
        "instructor.truth",
        "instructor.snapshots",
    }
    assert {topic.name: topic.key for topic in TOPICS} == {
        "telemetry.gpu": "array",
        "telemetry.chillers": "cooling plant",
        "telemetry.turbines": "power plant",
        "telemetry.grid": "power plant",
        "telemetry.network": "hall",
        "telemetry.jobs": "scheduler",
        "commands": "unit",
        "command_results": "unit",
        "run.requests": "run",
        "run.control": "run.control",
        "twin.marks": "kind and asset",
        "twin.rack": "source partition (and array, late)",
        "twin.site": "site",
        "twin.health": "process",
        "alarm.candidates": "rule",
        "alarms": "rule@asset",
        "alarms.external": "source",
        "drill.log": "drill",
        "instructor.injects": "target",
        "instructor.truth": "target",
        "instructor.snapshots": "run",
        "dead.letter": "process and source topic",
    }


def test_every_topic_is_listed_once_and_keeps_something():
    assert len(BY_NAME) == len({topic.schema_id for topic in TOPICS}) == len(TOPICS)
    for topic in TOPICS:
        assert topic.schema_id.partition("/")[0] == topic.name
        assert topic.retention_bytes >= 8 * MAX_MESSAGE_BYTES, topic.name
        assert topic.retention_s > 0, topic.name


def test_an_array_has_one_partition_on_both_of_its_topics():
    partitions = [array_partition(array) for array in range(391)]
    assert sorted(set(partitions)) == list(range(BY_NAME["telemetry.gpu"].partitions))
    assert BY_NAME["twin.rack"].partitions == BY_NAME["telemetry.gpu"].partitions
    assert full_name("twin.rack", "ci") == "ci.twin.rack"


def test_every_telemetry_topic_has_a_producer_and_every_producer_a_topic(layout):
    topics = [make(layout).topic for make in PRODUCERS.values()]
    assert sorted(topics) == sorted(topic.name for topic in TOPICS if topic.name.startswith("telemetry."))


# Columns and fields.

# Names without a suffix that are ratios 0..1 (a few, such as a voltage, go above).
RATIOS = {
    "battery_load", "battery_soc", "buffer_fill", "bw_factor", "charge", "cpu", "cv_rmse", "ecn_mean", "ettr",
    "feed_load", "free_cooling", "goodput", "level", "load", "mfu", "nmbe", "plr", "sm_active", "sm_active_mean", "soc",
    "tensor_active", "tensor_active_mean", "turbine_load", "utilisation", "utilisation_max", "valve",
}  # fmt: skip
# Columns of the wire that are in no field of their group's measurement: places, and what the store leaves out.
NOT_STORED = {
    "telemetry.gpu gpu": {"xid_n"},
    "telemetry.chillers weather": {"pressure_pa"},
    "telemetry.turbines turbine": {"fuel_power_w"},
    "telemetry.turbines permit": {"co_ston", "voc_ston", "pm_ston", "hcho_ston"},
    "twin.rack rack": {"rack_i", "gpu_power_w", "facility_supply_c", "facility_flow_l_min"},
    "twin.rack cdu": {"rack_i"},
    "twin.rack gpu": {"rack_i", "gpu"},
    "twin.site hall": {"hall_i"},
    "twin.site gpu_hist": {"scope_i"},
    "twin.site loop": {"unit"},
}


def columns() -> Iterator[tuple[str, Group, Column]]:
    for topic, family in FAMILIES.items():
        for group in family.groups:
            for column in group.columns:
                yield f"{topic} {group.name}", group, column


def decided(name: str) -> bool:
    histogram = name.startswith(("t_lt_", "t_ge_", "p_lt_", "p_ge_"))
    return histogram or name in _PLAIN_NAMES | RATIOS or name.endswith(tuple(_BY_SUFFIX))


def test_the_unit_of_every_column_and_field_is_decided():
    names = {column.name for _, _, column in columns() if column.kind != "text"}
    names |= {field.name for measurement in MEASUREMENTS.values() for field in measurement.fields}
    assert sorted(name for name in names if not decided(name)) == []
    for name in names & RATIOS:
        assert unit_of(name).grafana == "percentunit", name


def test_every_column_says_how_it_aggregates_and_what_a_sensor_can_say():
    for where, _, column in columns():
        assert column.aggregate in get_args(Aggregate), (where, column.name)
        if column.kind == "text":
            continue
        assert column.low < column.high, (where, column.name)
        assert column.resolution >= 0, (where, column.name)
        if where.startswith("telemetry."):
            assert column.resolution > 0, f"{where} {column.name}: a sensor shows steps"
        if (column.resolution, column.low, column.high) == (1, 0, 1):
            assert column.aggregate == "max", f"{where} {column.name}: a flag that was up in the tick is up"


def test_names_are_unique_within_a_group_and_within_a_measurement():
    for family in FAMILIES.values():
        assert len(family.by_name) == len(family.groups)
        for group in family.groups:
            names = [column.name for column in group.columns]
            assert sorted(set(names)) == sorted(names), (family.schema_id, group.name)
    for measurement in MEASUREMENTS.values():
        names = [*measurement.keys, *(field.name for field in measurement.fields), *measurement.texts]
        assert sorted(set(names)) == sorted(names), measurement.name


def test_a_group_with_a_measurement_has_its_columns_there():
    left_out: dict[str, set[str]] = {}
    for where, group, column in columns():
        if group.measurement and not MEASUREMENTS[group.measurement].has(column.name):
            left_out.setdefault(where, set()).add(column.name)
    assert left_out == NOT_STORED


# Real messages: what the producers and the keepers send, and one of each model.


@pytest.fixture(scope="module")
def layout() -> FrameLayout:
    return FrameLayout(load_site("mini"))


@pytest.fixture(scope="module")
def plant(layout) -> Plant:
    plant = build(layout.site, seed=7)
    for _ in range(10):  # the job table comes in full every ten seconds
        step(plant, 1.0)
    return plant


def head(topic: str, key: str, tick: int = 10) -> Head:
    return Head(schema=BY_NAME[topic].schema_id, run=RUN, epoch=0, tick=tick, seq=tick, ts=NOW_MS, dt_s=1.0, key=key)


CONTROL = RunControl(
    run=RUN,
    epoch=0,
    line=Line(ts0=NOW_MS - 10_000, tick0=0, ms_per_tick=1000),
    kind="live",
    continues=False,
    automatic_operator=True,
    lock_step=False,
    site="mini",
    site_crc="00000000",
    seed=7,
    dt_s=1.0,
    weather_at="07-15T14:00",
    site_time="07-15T14:00:10",
    state="running",
    speed=1.0,
    speed_reached=1.0,
    settled_tick=10,
    owner="producers-1",
    sent_ms=NOW_MS,
    lease_expires_ms=NOW_MS + 5000,
)
INGEST = IngestHealth(
    topic="telemetry.gpu",
    frames_hz=391.0,
    lag_p50_s=0.1,
    lag_p99_s=0.2,
    age_max_s=1.0,
    control_age_s=0.4,
    kafka_lag_n=0,
    suspect_n=0,
    dead_n=0,
    gap_n=0,
    duplicate_n=0,
    late_n=0,
    other_run_n=0,
)
EXAMPLES: dict[str, BaseModel] = {
    "commands": Command(
        id="c-1",
        run=RUN,
        verb="turbine.load",
        unit="turbine-7",
        params={"power_w": 1e7},
        by="trainee-1",
        expires_ms=NOW_MS,
    ),
    "command_results": CommandResult(
        command_id="c-1",
        verb="turbine.load",
        unit="turbine-7",
        by="trainee-1",
        accepted=False,
        reason="turbine-7 is off",
        applied_tick=10,
    ),
    "run.requests": RunRequest(id="r-1", verb="loop", by="instructor-1", params={"a": 5, "b": 9, "times": 3}),
    "run.control": CONTROL,
    "twin.marks": Mark(kind="watch", asset="R0001", run=RUN, by="trainee-1", until_tick=90),
    "twin.health": Health(
        process="rows-1",
        at_ms=NOW_MS,
        cpu=0.3,
        rss_mb=300.0,
        buffer_fill=0.01,
        ingest=(INGEST,),
        sinks=(SinkHealth(sink="DuckStore", points_hz=3800.0, write_p99_s=0.3, retry_n=0, buffered_n=0),),
    ),
    "alarm.candidates": AlarmCandidate(rule="gpu_hot", asset="A001", index=(3, 17), value=88.5, limit=87.0),
    "alarms": Alarm(
        rule="gpu_hot",
        asset="A001",
        priority=2,
        state="raised",
        raised_tick=10,
        value=88.5,
        limit=87.0,
        cause_path=("cooling-1",),
        suppressed_n=4,
        text="GPUs above 87 C",
    ),
    "alarms.external": ExternalAlarm(
        source="grafana", rule="hot", asset="H1", state="firing", starts_ms=NOW_MS, text="hot"
    ),
    "drill.log": DrillLog(drill="d", kind="start", elapsed_s=0.0, text="begins", previous="", sha256="0" * 64),
    "instructor.injects": Inject(id="i-1", run=RUN, kind="chiller_trip", target="cooling-2"),
    "instructor.truth": Truth(
        inject_id="i-1",
        kind="chiller_trip",
        target="cooling-2",
        severity=1.0,
        applied=True,
        reason="applied",
        applied_tick=10,
    ),
    "instructor.snapshots": SnapshotReference(
        tick=10, path="data/snapshots/1.plant.zst", sha256="a" * 64, bytes=9, schema_id="plant/1"
    ),
    "dead.letter": DeadLetter(
        topic="telemetry.gpu",
        partition=3,
        offset=9,
        reason="not-json",
        raw=base64.b64encode(b"{").decode(),
        cut=False,
    ),
}


@pytest.fixture(scope="module")
def messages(layout, plant) -> dict[str, list[bytes]]:
    """Topic -> messages as they are on the bus."""
    sent = {topic: [encode_model(head(topic, "key"), model)] for topic, model in EXAMPLES.items()}
    view = RunView()
    view.accept(CONTROL, now_ms=NOW_MS)
    rows, site = RowKeeper(layout, view), SiteKeeper(layout, view)
    rows.assign(range(24))
    out: list[Any] = []
    for make in PRODUCERS.values():
        producer = make(layout)
        for reading in producer.readings(plant, first_of_epoch=True):
            raw = encode(head(producer.topic, reading.key), reading.data)
            sent.setdefault(producer.topic, []).append(raw)
            record = Record(producer.topic, reading.partition or 0, 0, NOW_MS, reading.key.encode(), raw)
            if producer.topic == "telemetry.gpu":
                out += rows.take(record, None, NOW_MS)
            elif producer.topic in SITE_TOPICS:
                out += site.take(record, None, NOW_MS)
    for told in out:
        if isinstance(told, Send) and told.topic == "twin.rack":
            raw = encode(told.head, told.data)
            sent.setdefault("twin.rack", []).append(raw)
            out += site.take(Record("twin.rack", told.partition or 0, 0, NOW_MS, b"", raw), None, NOW_MS)
    sent["twin.site"] = [
        encode(told.head, told.data) for told in out if isinstance(told, Send) and told.topic == "twin.site"
    ]
    return sent


def sizes(topic: str, key: str, layout: FrameLayout) -> dict[str, int]:
    if topic in layout.topics():
        return dict(layout.sizes(topic, key) or {})
    return {"close": 1}


@pytest.mark.parametrize("topic", TOPICS, ids=[topic.name for topic in TOPICS])
def test_real_messages_are_as_the_table_and_the_schema_say(topic: Topic, messages, layout):
    schema = schema_of(topic)
    assert messages[topic.name], "nobody sends it"
    for raw in messages[topic.name]:
        assert len(raw) < MAX_MESSAGE_BYTES
        found, data = split(raw)
        assert found.schema_id == topic.schema_id == schema["$id"]
        if isinstance(topic.data, Family):
            assert decode_frame(topic.data, data, sizes(topic.name, found.key, layout)).dense
        else:
            topic.data.model_validate_json(data)
        assert faults(schema, orjson.loads(raw)) == []


def test_a_broken_message_is_not_as_the_schema_says(messages):
    schema = schema_of(BY_NAME["telemetry.gpu"])
    whole = orjson.loads(messages["telemetry.gpu"][0])
    whole["data"]["gpu"]["power_w"][0] = 1e6
    whole["data"]["gpu"]["gpu_temp_c"][1] = "hot"
    whole["data"]["gpu"]["xid"] = {"x": 79}
    whole["head"]["epoch"] = -1
    del whole["head"]["run"]
    assert faults(schema, whole) == [
        "$.data.gpu.gpu_temp_c.1 type",
        "$.data.gpu.power_w.0 maximum",
        "$.data.gpu.xid.x propertyNames",
        "$.head.epoch minimum",
        "$.head.run required",
    ]
    assert faults(schema, {"head": orjson.loads(messages["telemetry.gpu"][0])["head"]}) == ["$.data required"]
