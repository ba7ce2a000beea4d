"""Heads: split, splice, and what is refused."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin.errors import ForeignMajor, MessageInvalid
from twin.events.control import Line
from twin.events.head import (
    Head,
    check_schema,
    decode_data,
    decode_model,
    encode,
    encode_model,
    head_bytes,
    splice,
    split,
)

HEAD = Head(
    schema="telemetry.gpu/1",
    run="20261124T072000Z-a7f3",
    epoch=2,
    tick=9,
    seq=4,
    ts=1_800_000_000_000,
    dt_s=1.0,
    key="A017",
)


def test_golden_bytes():
    raw = encode(HEAD, b'{"gpu":{}}')
    assert raw == (
        b'{"head":{"schema":"telemetry.gpu/1","run":"20261124T072000Z-a7f3","epoch":2,"tick":9,"seq":4,'
        b'"ts":1800000000000,"dt_s":1.0,"key":"A017"},"data":{"gpu":{}}}'
    )
    assert split(raw) == (HEAD, b'{"gpu":{}}')


@given(
    st.text(min_size=1, max_size=50), st.dictionaries(st.text(max_size=20), st.integers(-(2**53), 2**53), max_size=5)
)
def test_any_key_and_data_come_back(key, data):
    head = HEAD.model_copy(update={"key": key})
    body = orjson.dumps(data)
    assert split(encode(head, body)) == (head, body)


def test_another_encoder_may_put_spaces_and_another_order():
    whole = {"data": {"a": [1, 2]}, "head": orjson.loads(HEAD.model_dump_json(by_alias=True))}
    raw = orjson.dumps(whole, option=orjson.OPT_INDENT_2)
    assert split(raw) == (HEAD, b'{"a":[1,2]}')


def test_splice_keeps_the_bytes_of_the_data():
    raw = encode(HEAD, b'{"gpu": {"power_w":[1.50]}}')
    later = HEAD.model_copy(update={"epoch": 3, "ts": 1_800_000_005_000})
    assert splice(raw, later) == encode(later, b'{"gpu": {"power_w":[1.50]}}')


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (None, "empty"),
        (b"", "empty"),
        (b"\xff\x00", "not-json"),
        (b"NaN", "not-json"),
        (b"[1,2]", "no-head"),
        (b'{"head":{},"data":{}}', "bad-head: schema"),
        (encode(HEAD, b"{}").replace(b"a7f3", b"XXXX"), "bad-head: run"),
        (encode(HEAD, b"{}").replace(b'"epoch":2', b'"epoch":-2'), "bad-head: epoch"),
        (encode(HEAD, b"{}").replace(b'"seq":4', b'"seq":4e400'), "bad-head: seq"),
        (encode(HEAD, b"{}").replace(b'"dt_s":1.0', b'"dt_s":0'), "bad-head: dt_s"),
    ],
)
def test_bad_bytes_are_refused_with_a_reason(raw, reason):
    with pytest.raises(MessageInvalid, match=reason):
        split(raw)


@pytest.mark.parametrize(
    ("schema", "error", "reason"),
    [
        ("telemetry.gpu/2", ForeignMajor, "other-major: telemetry.gpu/2, expected telemetry.gpu/1"),
        ("telemetry.gpus/1", MessageInvalid, "unknown-schema: telemetry.gpus/1"),
        ("telemetry.grid/1", MessageInvalid, "unknown-schema"),
    ],
)
def test_another_schema_is_refused(schema, error, reason):
    check_schema(HEAD, "telemetry.gpu/1")
    with pytest.raises(MessageInvalid, match=reason) as caught:
        check_schema(HEAD.model_copy(update={"schema_id": schema}), "telemetry.gpu/1")
    assert type(caught.value) is error


def test_a_model_comes_back():
    line = Line(ts0=5, tick0=0, ms_per_tick=1000)
    assert decode_model(encode_model(HEAD, line), "telemetry.gpu/1", Line) == (HEAD, line)
    with pytest.raises(ForeignMajor):
        decode_model(encode_model(HEAD, line), "telemetry.gpu/2", Line)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"NaN", "not-json: "),
        (b"[]", "bad-data: "),
        (b"[" * 300 + b"]" * 300, "not-json: "),
        (b"[" * 2000 + b"]" * 2000, "not-json: "),
        (b'{"ts0":5,"tick0":0}', "bad-data: ms_per_tick: "),
        (b'{"ts0":"5","tick0":0,"ms_per_tick":1}', "bad-data: ts0: "),
        (b'{"ts0":5.5,"tick0":0,"ms_per_tick":1}', "bad-data: ts0: "),
        (b'{"ts0":1' + b"0" * 30 + b',"tick0":0,"ms_per_tick":1}', "bad-data: ts0: "),
    ],
)
def test_data_that_is_no_model_says_where(data, reason):
    with pytest.raises(MessageInvalid, match=f"^{reason}"):
        decode_data(Line, data)


def test_a_deep_nest_in_another_order_is_refused():
    deep = b"[" * 300 + b"]" * 300
    for raw in (b'{"data":' + deep + b',"head":' + head_bytes(HEAD) + b"}", b'{"data":{},"head":' + deep + b"}"):
        with pytest.raises(MessageInvalid, match=r"^not-json: "):
            split(raw)
