import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.console.worlds import RUN, START_MS, Clock, control, racks
from twin.console.floor import Floor, Layer, layers_of, quantise
from twin.console.live import Live
from twin.events.derived import TWIN_RACK
from twin.events.topics import BY_NAME

HALF_K = Layer(1, "gpu_temp_max_c", "C", 0.5, 0.0)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def live(mini, clock) -> Live:
    return Live("", mini, now_ms=clock)


@pytest.fixture
def floor(mini, live) -> Floor:
    return Floor(mini, live)


def body(floor: Floor) -> list[int]:
    floor.update()
    return list(floor.picture(floor.layers["gpu_temp_max_c"]).body)


@given(st.floats(0, 124.5))
def test_a_value_comes_back_within_half_a_step(value):
    q = int(quantise(np.array([value]), HALF_K)[0])
    assert abs(HALF_K.offset + HALF_K.scale * q - value) <= HALF_K.scale / 2 + 1e-9


@given(st.lists(st.one_of(st.floats(allow_infinity=False, width=32), st.just(float("nan"))), min_size=1))
def test_no_value_becomes_a_reserved_byte_but_that_of_not_measured(values):
    taken = quantise(np.array(values), HALF_K)
    assert (taken[~np.isnan(values)] < 250).all()
    assert (taken[np.isnan(values)] == 254).all()


def test_the_layers_are_columns_of_the_rollup_and_reach_their_ratings(mini):
    layers = layers_of(mini)
    for layer in layers:
        assert TWIN_RACK.by_name["rack"].column(layer.name).unit.symbol == layer.unit
    assert len({layer.id for layer in layers}) == len(layers)
    power = layers[-1]
    assert power.scale * 249 >= mini.rack.rated_power_w


def test_the_message_is_the_golden_one(mini, live, floor):
    live.take([control(5, epoch=3), *(racks(mini, part, 5, {"gpu_temp_max_c": np.full(8, 50.0 + part)}, epoch=3)
                                      for part in range(8))])  # fmt: skip
    floor.update()
    message = floor.picture(floor.layers["gpu_temp_max_c"]).message(7, left_out=False)
    golden = (
        "43464c52" "01" "01" "01" "00" "40000000" "{crc}" "{ts}" "00000000" "0000003f" "07000000" "03000000"
        "0000803f" "0000" "0000" "{run}"
    ).format(
        crc=struct.pack("<I", int(mini.crc, 16)).hex(),
        ts=struct.pack("<d", START_MS + 5000).hex(),
        run=RUN[:16].encode().hex(),
    )  # fmt: skip
    assert message[:64].hex() == golden
    assert message[64:].hex() == "".join(f"{100 + 2 * part:02x}" * 8 for part in range(8))
    assert len(message) == 64 + 64


def test_flags_say_that_the_clock_stands_and_that_pictures_are_missing(live, floor):
    live.take([control(5)])
    picture = floor.picture(HALF_K)
    assert [picture.message(0, left_out=left_out)[7] for left_out in (False, True)] == [0, 2]
    live.take([control(5, state="paused")])
    picture = floor.picture(HALF_K)
    assert [picture.message(0, left_out=left_out)[7] for left_out in (False, True)] == [1, 3]


def test_without_a_run_there_is_no_picture(floor):
    assert floor.picture(HALF_K) is None


def test_racks_not_seen_not_measured_and_stale_are_told_apart(mini, live, floor):
    live.take([control(5), racks(mini, 0, 5, {"gpu_temp_max_c": np.array([50.0, np.nan] + [50.0] * 6)})])
    assert body(floor)[:9] == [100, 254, 100, 100, 100, 100, 100, 100, 255]
    assert floor.never_n() == 7
    live.take([control(8)])
    assert body(floor)[0] == 100
    live.take([control(9)])
    assert body(floor)[:9] == [253] * 8 + [255]
    picture = floor.picture(HALF_K)
    assert (picture.arrays_stale_n, picture.arrays_never_n) == (1, 7)
    live.take([racks(mini, 0, 9, {"gpu_temp_max_c": np.full(8, 60.0)})])
    assert body(floor)[0] == 120


def test_a_rack_that_is_missing_from_a_rollup_keeps_its_value_until_it_is_stale(mini, live, floor):
    live.take([control(5), racks(mini, 0, 5, {"gpu_temp_max_c": np.full(8, 50.0)})])
    body(floor)
    some = {"rack_i": np.arange(4), "gpu_temp_max_c": np.full(4, 70.0)}
    live.take([control(6), racks(mini, 0, 6, some)])
    assert body(floor)[:8] == [140] * 4 + [100] * 4
    live.take([control(9), racks(mini, 0, 9, some)])
    assert body(floor)[:8] == [140] * 4 + [253] * 4


def test_a_pause_is_not_staleness(mini, live, floor, clock):
    live.take([control(5), racks(mini, 0, 5, {"gpu_temp_max_c": np.full(8, 50.0)})])
    for _ in range(60):
        clock.move(1)
        live.take([control(5, state="paused", sent_ms=clock.ms)])
    assert body(floor)[0] == 100


def test_a_silent_owner_makes_the_floor_stale(mini, live, floor, clock):
    live.take([control(5), racks(mini, 0, 5, {"gpu_temp_max_c": np.full(8, 50.0)})])
    clock.move(5)
    assert body(floor)[0] == 253


def test_a_jump_empties_the_floor(mini, live, floor):
    live.take([control(5), racks(mini, 0, 5, {"gpu_temp_max_c": np.full(8, 50.0)})])
    assert body(floor)[0] == 100
    live.take([control(2, epoch=1)])
    assert body(floor)[0] == 255


def test_late_rollups_of_ticks_gone_by_change_nothing(mini, live, floor):
    live.take([control(5), racks(mini, 0, 5, {"gpu_temp_max_c": np.full(8, 50.0)})])
    of_a_rack = {"rack_i": [0], "gpu_temp_max_c": [99.0]}
    live.take([racks(mini, 0, 4, of_a_rack), racks(mini, 0, 4, of_a_rack, late=1, key="0-late-A001")])
    assert body(floor)[0] == 100
    assert live.refused_n == 0


def test_racks_of_another_site_are_not_drawn(mini, live, floor):
    live.take([control(5), racks(mini, 0, 5, {"rack_i": [64], "gpu_temp_max_c": [99.0]})])
    assert body(floor) == [255] * 64


def test_the_partition_table_is_that_of_the_topics():
    assert BY_NAME["twin.rack"].partitions == 24
