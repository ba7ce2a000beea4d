"""The keeper of rows: bad input is refused and changes nothing, and each message is answered once."""

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.state.row_scene import ARRAYS, Desk, control, next_epoch, same
from tests.state.scene import (
    NEW,
    OLD,
    Gateways,
    Run,
    at,
    reason_of,
    tokens_of,
)
from twin.events.gpu import TELEMETRY_GPU
from twin.events.head import encode
from twin.state.outputs import Output


@pytest.fixture
def desk(gateways, run) -> Desk:
    return Desk(gateways, run)


# --- bad input


def _data(desk: Desk, change: Any) -> bytes:
    data = orjson.loads(desk.gateways.data[0])
    change(data)
    return orjson.dumps(data)


def _column(group: str, name: str, values: Any) -> Any:
    return lambda data: data[group].__setitem__(name, values)


BAD_DATA: dict[str, tuple[Any, str]] = {
    "group missing": (lambda data: data.pop("cdu"), "missing-group: cdu"),
    "column missing": (lambda data: data["gpu"].pop("power_w"), "missing-column: gpu.power_w"),
    "too short": (_column("gpu", "power_w", [1.0] * 63), "wrong-length: gpu.power_w"),
    "too long": (_column("server", "power_w", [1.0] * 9), "wrong-length: server.power_w"),
    "text": (_column("gpu", "power_w", ["hot"] * 64), "bad-type: gpu.power_w"),
    "a text among numbers": (_column("gpu", "power_w", [1.0] * 63 + ["x"]), "bad-type: gpu.power_w"),
    "no list": (_column("gpu", "power_w", 7), "bad-type: gpu.power_w"),
    "nested": (_column("cdu", "leak", [[0]]), "bad-type: cdu.leak"),
    "huge": (_column("gpu", "power_w", [1e300] * 64), "out-of-range: gpu.power_w"),
    "beyond 64 bits": (_column("gpu", "power_w", [2**63] * 64), "out-of-range: gpu.power_w"),
    "negative": (_column("gpu", "fb_used_mib", [-1] * 64), "out-of-range: gpu.fb_used_mib"),
    "place beyond": (_column("gpu", "xid", {"64": 79}), "bad-index: gpu.xid"),
    "place no number": (_column("gpu", "xid", {"a": 79}), "bad-index: gpu.xid"),
    "sparse list": (_column("gpu", "xid", [79]), "bad-type: gpu.xid"),
    "sparse null": (_column("gpu", "ecc_dbe", {"3": None, "4": 2}), "bad-type: gpu.ecc_dbe"),
    "suspect beyond": (lambda data: data.__setitem__("suspect", {"gpu.power_w": [64]}), "bad-index: suspect"),
}


@pytest.mark.parametrize("name", BAD_DATA)
def test_bad_data_are_one_dead_letter_and_change_nothing(desk, name):
    change, reason = BAD_DATA[name]
    desk.send_all(0, 0.0)
    before = desk.rows()
    head = desk.run.head(TELEMETRY_GPU, "A001", 1)
    record = desk.gateways.record(0, head, _data(desk, change))
    outs = desk.keeper.take(record, "bad", at(1))
    assert reason_of(outs).startswith(reason)
    assert (outs[0].record, outs[0].done) == (record, ("bad",))
    assert desk.keeper.intake.dead == 1
    assert same(before, desk.rows())
    # The same seq with a good frame is no duplicate.
    assert desk.send(0, 1, 1.1) == []


def _raw(desk: Desk, key: str = "A001", tick: int = 1, **other: Any) -> bytes:
    schema = other.pop("schema_id", "telemetry.gpu/1")
    head = desk.run.head(TELEMETRY_GPU, key, tick, **other).model_copy(update={"schema_id": schema})
    return encode(head, desk.gateways.data[0])


BAD_BYTES: dict[str, tuple[Any, str]] = {
    "nothing": (lambda desk: None, "empty"),
    "no JSON": (lambda desk: b"\x00\xff frame", "not-json"),
    "no JSON inside": (lambda desk: _raw(desk)[:-40] + b"}", "not-json"),
    "NaN": (lambda desk: _raw(desk).replace(b'"power_w":[', b'"power_w":[NaN,', 1), "not-json"),
    "no head": (lambda desk: b'{"data":{}}', "no-head"),
    "bad head": (lambda desk: _raw(desk).replace(b'"tick":1', b'"tick":-1'), "bad-head"),
    "unknown schema": (lambda desk: _raw(desk, schema_id="telemetry.other/1"), "unknown-schema"),
    "other major": (lambda desk: _raw(desk, schema_id="telemetry.gpu/2"), "other-major"),
    "unknown key": (lambda desk: _raw(desk, key="A999"), "unknown-key"),
    "wrong partition": (lambda desk: _raw(desk, key="A002"), "wrong-partition"),
    "a tick that cannot be": (lambda desk: _raw(desk, tick=10_000), "out-of-range: head.tick"),
}


@pytest.mark.parametrize("name", BAD_BYTES)
def test_bad_bytes_are_one_dead_letter_and_change_nothing(desk, name):
    make, reason = BAD_BYTES[name]
    desk.send_all(0, 0.0)
    before = desk.rows()
    outs = desk.keeper.take(desk.gateways.raw(0, make(desk)), "bad", at(1))
    assert reason_of(outs).startswith(reason)
    assert outs[0].done == ("bad",)
    assert same(before, desk.rows())


def test_a_tick_before_the_epoch_is_refused(desk):
    next_epoch(desk, continues=True)
    assert reason_of(desk.send(0, 1, 2.0)).startswith("out-of-range: head.tick")


# --- every token once


@settings(max_examples=60)
@given(data=st.data())
def test_every_token_comes_out_once(small, data):
    gateways = Gateways(small, seed=2)
    run = Run()
    desk = Desk(gateways, run)
    foreign = {OLD: Run(OLD), NEW: Run(NEW)}
    sent: list[int] = []
    outs: list[Output] = []
    now = 0.0
    steps = st.sampled_from(["frame"] * 12 + ["pass", "control", "speed", "jump", "foreign", "broken"])
    for token in range(data.draw(st.integers(5, 60))):
        step = data.draw(steps)
        if step == "pass":
            now += data.draw(st.sampled_from([0.1, 0.5, 2.5]))
            outs += desk.tick(now, queue_empty=data.draw(st.booleans()))
        elif step == "control":
            now += 1.0
            control(run, now, settled=run.owner.tick + 1)
        elif step == "speed":
            run.owner.set_speed(1.0, at(now))
        elif step == "jump":
            run.owner.jump(data.draw(st.integers(-1, run.owner.tick)), at(now))
        elif step == "broken":
            sent.append(token)
            outs += desk.keeper.take(gateways.raw(0, b"{"), token, at(now))
        else:
            by = foreign[data.draw(st.sampled_from([OLD, NEW]))] if step == "foreign" else run
            tick = max(0, run.owner.tick + data.draw(st.integers(-2, 2)))
            array = data.draw(st.sampled_from(ARRAYS))
            sent.append(token)
            outs += desk.send(array, tick, now, mark=token, by=by)
    control(run, now)
    outs += desk.tick(now + 0.5)
    outs += desk.tick(now + 3.0)  # whatever waits for a run is given up
    outs += desk.tick(now + 4.0)
    assert sorted(tokens_of(outs)) == sent
