"""Frames: rounding, encoding, and every check of a value against its column."""

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from twin.errors import MessageInvalid
from twin.events.columns import Column
from twin.events.frames import Frame, Sparse, decode_frame, encode_frame, quantise
from twin.events.gpu import CDU, GPU, SERVER, TELEMETRY_GPU
from twin.events.topics import TOPICS

SIZES = {"gpu": 16, "server": 2, "cdu": 1}


def good() -> dict:
    data = {
        group.name: {c.name: [1] * SIZES[group.name] for c in group.columns if c.kind == "dense"}
        for group in (GPU, SERVER, CDU)
    }
    data["gpu"]["sm_active"] = [0.5] * 16
    data["gpu"]["tensor_active"] = [None] * 16
    return data


def decode(data: dict) -> Frame:
    return decode_frame(TELEMETRY_GPU, orjson.dumps(data), SIZES)


def test_golden_frame():
    frame = Frame(
        dense={
            "gpu": {"power_w": np.array([617, 72], dtype=np.int32), "gpu_temp_c": np.array([47.8, np.nan], np.float32)}
        },
        sparse={"gpu": {"xid": Sparse(np.array([1]), np.array([79.0]))}},
        suspect={"gpu.power_w": np.array([0])},
    )
    assert encode_frame(TELEMETRY_GPU, frame) == (
        b'{"gpu":{"power_w":[617,72],"gpu_temp_c":[47.8,null],"xid":{"1":79}},"suspect":{"gpu.power_w":[0]}}'
    )


def test_round_trip_with_nulls_sparse_and_suspects():
    data = good()
    data["gpu"]["xid"] = {"3": 79, "15": 48}
    data["suspect"] = {"gpu.power_w": [2], "gpu.unknown_w": [1]}
    frame = decode(data)
    assert np.isnan(frame.dense["gpu"]["tensor_active"]).all()
    places, values = frame.sparse["gpu"]["xid"]
    assert (places.tolist(), values.tolist()) == ([3, 15], [79, 48])
    assert {name: index.tolist() for name, index in frame.suspect.items()} == {"gpu.power_w": [2]}
    again = decode_frame(TELEMETRY_GPU, encode_frame(TELEMETRY_GPU, frame), SIZES)
    np.testing.assert_array_equal(again.dense["gpu"]["power_w"], frame.dense["gpu"]["power_w"])


def test_numbers_may_be_whole_or_not_in_any_mixture():
    given = [1, 0.5, None, 2, *[3] * 11, 0.25]
    values = decode(broken("gpu.gpu_temp_c", given)).dense["gpu"]["gpu_temp_c"]
    np.testing.assert_array_equal(values, [np.nan if value is None else value for value in given])


def test_an_unknown_column_is_passed_over():
    data = good()
    data["gpu"]["new_thing_w"] = [1] * 16
    data["another"] = {"a": 1}
    assert "new_thing_w" not in decode(data).dense["gpu"]


def broken(path: str, value: object) -> dict:
    data = good()
    group, _, column = path.partition(".")
    if column:
        data[group][column] = value
    else:
        data[group] = value
    return data


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ([1], "bad-data"),
        ({k: v for k, v in good().items() if k != "cdu"}, "missing-group: cdu"),
        (broken("gpu", [1]), "bad-data: gpu"),
        (broken("gpu.power_w", None), "missing-column: gpu.power_w"),
        (broken("gpu.power_w", [1] * 15), "wrong-length: gpu.power_w: 15 values, expected 16"),
        (broken("gpu.power_w", [1] * 15 + ["1"]), "bad-type: gpu.power_w"),
        (broken("gpu.power_w", ["1"] * 16), "bad-type: gpu.power_w"),
        (broken("gpu.power_w", [None] * 15 + [True]), "bad-type: gpu.power_w"),
        (broken("gpu.power_w", [[1]] * 16), "bad-type: gpu.power_w"),
        (broken("gpu.power_w", [[1], 2] + [1] * 14), "bad-type: gpu.power_w"),
        (broken("gpu.power_w", [True] * 16), "bad-type: gpu.power_w"),
        (broken("gpu.power_w", {"1": 2}), "bad-type: gpu.power_w"),
        (broken("gpu.power_w", [1] * 15 + [1e300]), "out-of-range: gpu.power_w"),
        (broken("gpu.power_w", [1] * 15 + [-1]), "out-of-range: gpu.power_w"),
        (broken("gpu.xid", {"16": 79}), "bad-index: gpu.xid"),
        (broken("gpu.xid", {"-1": 79}), "bad-index: gpu.xid"),
        (broken("gpu.xid", [79]), "bad-type: gpu.xid"),
        (broken("gpu.xid", {"3": None}), "bad-type: gpu.xid"),
        (broken("gpu.xid", {"3": True}), "bad-type: gpu.xid"),
        (broken("gpu.sm_active", [0.5] * 15 + [True]), "bad-type: gpu.sm_active"),
        (broken("gpu.power_w", [1] * 15 + [False]), "bad-type: gpu.power_w"),
        (broken("gpu.power_w", [1] * 15 + [2**64 - 1]), "out-of-range: gpu.power_w"),
        (broken("suspect", {"gpu.power_w": [99]}), "bad-index: suspect"),
        (broken("suspect", {"gpu.power_w": [2**63]}), "bad-index: suspect"),
        (broken("suspect", [1]), "bad-type: suspect"),
    ],
)
def test_bad_frames_are_refused_with_a_reason(data, reason):
    with pytest.raises(MessageInvalid, match=reason):
        decode(data)


@pytest.mark.parametrize("raw", [b'{"gpu":{"power_w":[NaN]}}', b'{"gpu":{"power_w":[1e400]}}', b"{", b"\xfe"])
def test_bytes_that_are_no_json(raw):
    with pytest.raises(MessageInvalid):
        decode_frame(TELEMETRY_GPU, raw, SIZES)


@given(hnp.arrays(np.float32, 20, elements=st.floats(-40, 200, width=32)))
def test_rounding_is_within_half_a_step_and_prints_short(values):
    column = GPU.column("gpu_temp_c")
    shown = quantise(column, values)
    assert np.abs(shown - values).max() <= 0.05 + 1e-4
    assert all(len(text) <= 6 for text in orjson.dumps(shown, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].split(b","))


def test_rounding_to_steps_above_one():
    assert quantise(Column("pressure_pa", 10, 0, 1e6), np.array([101_325.0])).tolist() == [101_320.0]


def test_schema_of_every_topic_fits_the_head():
    for topic in TOPICS:
        assert topic.schema_id.endswith("/1")
        assert topic.schema_id.split("/")[0].replace("_", "").replace(".", "").isalpha()
