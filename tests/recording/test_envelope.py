"""What Kafka knows of a message and MCAP does not: packed, unpacked, and refused where it does not fit."""

import orjson
import pytest
from hypothesis import given

from tests.recording.files import item
from tests.recording.samples import streams
from twin.errors import RecordingInvalid
from twin.recording.envelope import ENVELOPE_SCHEMA, channels_in, pack, unpack
from twin.recording.item import NS_PER_MS, Item

CHANNELS = {"orders": 1, "telemetry.gpu": 2, "alarms": 3, "\u00e4 topic": 400}


@given(streams())
def test_every_message_comes_back(items: list[Item]) -> None:
    envelope = unpack(pack(items, CHANNELS), len(items))
    back = [
        envelope.item(n, one.topic, one.time_ns, one.timestamp_ms * NS_PER_MS, one.value or b"")
        for n, one in enumerate(items)
    ]
    assert back == items


@given(streams())
def test_it_is_what_its_schema_says(items: list[Item]) -> None:
    columns = orjson.loads(pack(items, CHANNELS))
    assert set(ENVELOPE_SCHEMA["required"]) <= columns.keys() <= ENVELOPE_SCHEMA["properties"].keys()


def test_a_key_is_written_once() -> None:
    columns = orjson.loads(pack([item(key=b"one"), item(key=None), item(key=b"one"), item(key=b"two")], CHANNELS))
    assert columns["key"] == [0, -1, 0, 1]
    assert len(columns["keys"]) == 2
    assert "null" not in columns
    assert "headers" not in columns


def test_it_is_refused_for_another_number_of_messages() -> None:
    with pytest.raises(RecordingInvalid, match="of 2 messages, its chunk has 3"):
        unpack(pack([item(), item()], CHANNELS), 3)


@pytest.mark.parametrize(
    "wrong",
    [
        {"keys": None},
        {"keys": ["?"]},
        {"key": [5]},
        {"key": "0"},
        {"partition": None},
        {"partition": [0, 0]},
        {"headers": []},
        {"headers": {"x": []}},
        {"headers": {"0": [["name"]]}},
    ],
)
def test_what_is_no_envelope_is_refused(wrong: dict[str, object]) -> None:
    columns = orjson.loads(pack([item()], CHANNELS)) | wrong
    with pytest.raises(RecordingInvalid, match="envelope"):
        unpack(orjson.dumps(columns), 1)


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"{}", b"7", b"\xff"])
def test_bytes_that_are_none_are_refused(raw: bytes) -> None:
    with pytest.raises(RecordingInvalid, match="envelope cannot be read"):
        unpack(raw, 0)


def test_it_tells_which_channel_is_of_which_topic() -> None:
    assert channels_in(pack([item("alarms"), item("\u00e4 topic")], CHANNELS)) == {3: "alarms", 400: "\u00e4 topic"}
    for raw in (b"", b"7", b"[]", b"{}", b'{"channels":[]}', b'{"channels":{"a":"x"}}'):
        assert channels_in(raw) == {}
