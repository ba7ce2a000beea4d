"""Exporting a quantity of an asset: what the plant's frames say, as CSV and as Parquet."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from typer.testing import CliRunner

from producers.families import PRODUCERS
from tests.recording.files import T0_MS, item, write
from twin.cli.recording import recording_app as app
from twin.errors import RecordingError, RecordingInvalid, RecordingUnwritable, SiteInvalid
from twin.events.derived import HALL_COUNTS, TWIN_RACK, TWIN_SITE
from twin.events.frames import Frame, Sparse, encode_frame
from twin.events.gpu import TELEMETRY_GPU
from twin.events.head import Head, encode
from twin.events.layout import FrameLayout
from twin.events.topics import BY_NAME, array_partition
from twin.plant import build, step
from twin.recording.export import Exported, export
from twin.recording.item import Item
from twin.recording.reader import Recording
from twin.recording.series import series_of
from twin.site import load_site

RUN = "20261124T072000Z-a7f3"
TICKS = 4


@pytest.fixture(scope="module")
def layout() -> FrameLayout:
    return FrameLayout(load_site("mini"))


def message(topic: str, key: str, data: bytes, tick: int, *, partition: int = 0) -> Item:
    """Return a message as it is on the bus."""
    ts = T0_MS + 1000 * tick
    head = Head(schema=BY_NAME[topic].schema_id, run=RUN, epoch=1, tick=tick, seq=tick, ts=ts, dt_s=1.0, key=key)
    return item(topic, 1000 * tick + 120, key=key.encode(), value=encode(head, data), partition=partition, offset=tick)


def derived(layout: FrameLayout, tick: int) -> Iterator[Item]:
    """Yield what an observer would make; every value says where it stands."""
    racks = np.array([0, 1, 2, 3], dtype=np.float64)
    columns = {name.name: racks * 10 + tick for name in TWIN_RACK.by_name["rack"].columns}
    rack = Frame(dense={"rack": {**columns, "rack_i": racks}})
    yield message("twin.rack", "0", encode_frame(TWIN_RACK, rack), tick, partition=array_partition(0))
    halls = np.arange(len(layout.site.layout.hall_ids), dtype=np.float64)
    hall = {column.name: halls * 100 + tick for column in TWIN_SITE.by_name["hall"].columns}
    site = {column.name: np.array([1000.0 + tick]) for column in TWIN_SITE.by_name["site"].columns}
    scopes = np.arange(1.0 + len(halls))
    counts = {column.name: scopes * 7 + tick for column in TWIN_SITE.by_name["gpu_hist"].columns}
    frame = Frame(
        dense={
            "site": site,
            "hall": {**hall, "hall_i": halls},
            "loop": {"supply_error_k": np.array([0.5, -0.5])},
            "gpu_hist": {**counts, "scope_i": scopes},
        },
        text={"loop": {"unit": ["loop-1", "loop-2"]}},
    )
    yield message("twin.site", "mini", encode_frame(TWIN_SITE, frame), tick)


@pytest.fixture(scope="module")
def plant_told(layout: FrameLayout) -> tuple[list[Item], list[dict[str, Any]]]:
    """Return what the producers of a plant and an observer send, and what the plant was like at each tick."""
    plant = build(layout.site, seed=7, weather_at="07-15T14:00")
    items, truth = [], []
    for tick in range(TICKS):
        step(plant, 1.0)
        truth.append(
            {
                "gpu": plant.gpus.power_w.copy(),
                "chiller": plant.cooling.chillers.supply_c.copy(),
                "cdu": plant.cooling.cdus.pump_speed_ratio.copy(),
            }
        )
        for name, producer in PRODUCERS.items():
            if name == "jobs":
                continue
            for reading in producer(layout).readings(plant, first_of_epoch=tick == 0):
                partition = 0
                if name == "gpus":
                    partition = array_partition(layout.site.layout.array_index(reading.key))
                items.append(message(producer.topic, reading.key, reading.data, tick, partition=partition))
        items += derived(layout, tick)
    return items, truth


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory, plant_told: tuple[list[Item], Any]) -> Path:
    return write(tmp_path_factory.mktemp("plant") / "plant.mcap", plant_told[0], chunk_bytes=1 << 20, site="mini")


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def exported(source: Path, series: str, target: Path) -> tuple[Exported, list[dict[str, str]]]:
    with Recording(source) as recording:
        done = export(recording, series, target)
    rows = rows_of(target)
    assert done.rows_n == len(rows)
    return done, rows


def values(source: Path, series: str, folder: Path) -> list[float]:
    _, rows = exported(source, series, folder / f"{series.replace('/', '-')}.csv")
    return [float(row["value"]) for row in rows]


# -- what stands where


@pytest.mark.parametrize("gpu", ["R0001-g0", "R0001-g17", "R0009-g63", "R0064-g63"])
def test_the_power_of_a_gpu_is_that_of_the_plant(
    recorded: Path, plant_told: tuple[Any, list[dict[str, Any]]], layout: FrameLayout, tmp_path: Path, gpu: str
) -> None:
    at = layout.site.layout.gpu_index(gpu)
    expected = [truth["gpu"][at] for truth in plant_told[1]]
    np.testing.assert_allclose(values(recorded, f"power_w@{gpu}", tmp_path), expected, atol=0.51)


@pytest.mark.parametrize("number", [1, 3, 12, 13, 40])
def test_a_chiller_of_any_plant_is_found(
    recorded: Path, plant_told: tuple[Any, list[dict[str, Any]]], layout: FrameLayout, tmp_path: Path, number: int
) -> None:
    assert f"chiller-{number}" in layout.site.unit_ids("chiller")
    expected = [truth["chiller"][number - 1] for truth in plant_told[1]]
    found = values(recorded, f"supply_c@chiller-{number}", tmp_path)
    np.testing.assert_allclose(found, expected, atol=0.0501)
    assert values(recorded, f"chiller.supply_c@chiller-{number}", tmp_path) == found


@pytest.mark.parametrize("rack", [1, 8, 9, 64])
def test_the_cdu_of_a_rack_is_found(
    recorded: Path, plant_told: tuple[Any, list[dict[str, Any]]], tmp_path: Path, rack: int
) -> None:
    expected = [truth["cdu"][rack - 1] for truth in plant_told[1]]
    found = values(recorded, f"pump_speed_ratio@cdu-R{rack:04d}", tmp_path)
    np.testing.assert_allclose(found, expected, atol=0.000501)


@pytest.mark.parametrize(
    ("series", "expected"),
    [
        ("power_w@R0003", [20, 21, 22, 23]),
        ("gpu_temp_max_c@R0001", [0, 1, 2, 3]),
        ("power_w@H2", [100, 101, 102, 103]),
        ("pue@mini", [1000, 1001, 1002, 1003]),
        ("twin.site.site.frequency_hz@mini", [1000, 1001, 1002, 1003]),
        ("frequency_hz@mini", [60.0] * 4),
        ("supply_error_k@loop-2", [-0.5] * 4),
        ("t_lt_40@mini", [0, 1, 2, 3]),
        ("t_lt_40@H2", [14, 15, 16, 17]),
        ("clocks_event_reasons@R0001-g1", [0, 0, 0, 0]),
    ],
)
def test_what_the_observer_made_is_found_too(
    recorded: Path, tmp_path: Path, series: str, expected: list[float]
) -> None:
    assert values(recorded, series, tmp_path) == pytest.approx(expected, abs=0.05)


def test_every_column_of_telemetry_can_be_exported(layout: FrameLayout) -> None:
    assets = {
        "gpu": "R0001-g0", "server": "R0001-s0", "cdu": "cdu-R0001", "chiller": "chiller-1", "tower": "tower-1-c1",
        "pump": "pump-1", "loop": "loop-1", "room": "cooling-1", "weather": "weather", "water": "cooling-1",
        "turbine": "turbine-1", "gas": "gas-1", "permit": "power-1", "feed": "feed-1", "battery": "battery-1",
        "pack": "3", "ups": "ups-1", "meter": "meter-H1", "site": "mini", "fast": "19", "hall": "H1",
        "switch": "leaf-A001-0",
    }  # fmt: skip
    for topic in layout.topics():
        for group in BY_NAME[topic].data.groups:  # type: ignore[union-attr]
            if group.name == "job":
                continue
            for column in group.columns:
                text = f"{group.name}.{column.name}@{assets[group.name]}"
                assert series_of(layout, text)[0].name == f"{topic}.{group.name}.{column.name}", text


def test_every_gpu_of_a_frame_has_a_place_of_its_own(layout: FrameLayout) -> None:
    floor = layout.site.layout
    places = [series_of(layout, f"power_w@{floor.gpu_id(gpu)}")[0].place for gpu in range(0, floor.gpu_count, 7)]
    for gpu, place in zip(range(0, floor.gpu_count, 7), places, strict=True):
        array = floor.array_index(place.key)
        assert floor.rack_first_gpu[floor.array_first_rack[array]] + place.at == gpu


# -- the file


def test_a_row_says_when_in_every_clock(recorded: Path, tmp_path: Path) -> None:
    done, rows = exported(recorded, "supply_c@chiller-3", tmp_path / "a.csv")
    assert (done.series, done.others, done.unread_n) == ("telemetry.chillers.chiller.supply_c", (), 0)
    assert list(rows[0]) == ["time", "ts_ms", "tick", "run", "epoch", "value"]
    assert [row["tick"] for row in rows] == ["0", "1", "2", "3"]
    assert rows[2]["time"] == "2026-11-24T07:20:02.000Z"
    assert (rows[2]["ts_ms"], rows[2]["run"], rows[2]["epoch"]) == (str(T0_MS + 2000), RUN, "1")


def test_parquet_has_the_same_in_its_types(recorded: Path, tmp_path: Path) -> None:
    _, rows = exported(recorded, "power_w@R0001-g17", tmp_path / "a.csv")
    with Recording(recorded) as recording:
        export(recording, "power_w@R0001-g17", tmp_path / "a.parquet")
    with duckdb.connect(":memory:") as connection:
        table = connection.read_parquet(str(tmp_path / "a.parquet"))
        types = dict(zip(table.columns, map(str, table.types), strict=True))
        found = table.project("epoch_ms(time), ts_ms, tick, run, epoch, value").fetchall()
    assert types["time"] == "TIMESTAMP WITH TIME ZONE"
    assert (types["ts_ms"], types["value"]) == ("BIGINT", "DOUBLE")
    assert found == [
        (int(row["ts_ms"]), int(row["ts_ms"]), int(row["tick"]), row["run"], int(row["epoch"]), float(row["value"]))
        for row in rows
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "a.parquet"]


def test_what_was_not_measured_is_empty_and_what_is_rare_is_zero(layout: FrameLayout, tmp_path: Path) -> None:
    sizes = layout.sizes("telemetry.gpu", "A001")
    assert sizes is not None
    items = []
    for tick in range(3):
        dense = {
            group.name: {column.name: np.ones(sizes[group.name]) for column in group.columns if column.kind == "dense"}
            for group in TELEMETRY_GPU.groups
        }
        if tick == 1:
            dense["gpu"]["power_w"][5] = np.nan
        sparse = {"gpu": {"xid": Sparse(np.array([5]), np.array([79.0]))}} if tick == 2 else {}
        data = encode_frame(TELEMETRY_GPU, Frame(dense=dense, sparse=sparse))
        items.append(message("telemetry.gpu", "A001", data, tick))
    items.append(message("telemetry.gpu", "A001", b'{"gpu":7}', 3))
    path = write(tmp_path / "a.mcap", items, site="mini")
    done, rows = exported(path, "power_w@R0001-g5", tmp_path / "power.csv")
    assert [row["value"] for row in rows] == ["1", "", "1"]
    assert done.unread_n == 1
    assert [row["value"] for row in exported(path, "xid@R0001-g5", tmp_path / "xid.csv")[1]] == ["0", "0", "79"]
    with Recording(path) as recording:
        export(recording, "power_w@R0001-g5", tmp_path / "power.parquet")
    with duckdb.connect(":memory:") as connection:
        table = connection.read_parquet(str(tmp_path / "power.parquet"))
        assert table.project("value").fetchall() == [(1.0,), (None,), (1.0,)]


def test_a_frame_of_another_shape_gives_no_row(layout: FrameLayout, tmp_path: Path) -> None:
    late = Frame(dense={"close": {"late": np.array([1.0])}, "hall": {n: np.array([0.0]) for n in HALL_COUNTS}})
    items = [message("twin.rack", "0", encode_frame(TWIN_RACK, late), 0), *derived(layout, 1)]
    path = write(tmp_path / "a.mcap", items, site="mini")
    assert values(path, "power_w@R0002", tmp_path) == [11]


# -- what cannot be exported


@pytest.mark.parametrize(
    ("series", "words"),
    [
        ("power_w", ("power_w@R0001-g17", "supply_c@chiller-3")),
        ("@chiller-3", ("QUANTITY@ASSET",)),
        ("power_w@", ("QUANTITY@ASSET",)),
        ("supply_c@chiler-3", ("'chiler-3' at mini", "near: chiller-3")),
        ("power_w@R0001-g64", ("'R0001-g64' at mini",)),
        ("power_w@R9999", ("'R9999' at mini",)),
        ("power_kw@chiller-3", ("'power_kw' of chiller-3", "there are cooling_w, cop, plr, power_w, state_code")),
        ("gpu.supply_c@chiller-3", ("'gpu.supply_c' of chiller-3",)),
        ("wer_w@chiller-3", ("'wer_w' of chiller-3",)),
        ("rack_i@R0001", ("'rack_i' of R0001",)),
    ],
)
def test_what_is_not_there_is_said_with_what_is(
    recorded: Path, tmp_path: Path, series: str, words: tuple[str, ...]
) -> None:
    with Recording(recorded) as recording, pytest.raises(RecordingError) as told:
        export(recording, series, tmp_path / "a.csv")
    for word in words:
        assert word in str(told.value)
    assert "\n" not in str(told.value)
    assert list(tmp_path.iterdir()) == []


def test_a_topic_that_was_not_recorded_is_named(layout: FrameLayout, tmp_path: Path) -> None:
    path = write(tmp_path / "a.mcap", list(derived(layout, 0)), site="mini")
    with Recording(path) as recording:
        with pytest.raises(RecordingError, match=r"telemetry\.chillers, which is not in .*: it has twin\.rack, twin"):
            export(recording, "supply_c@chiller-1", tmp_path / "a.csv")
        with pytest.raises(RecordingError, match="no value in the recording, in 0 messages"):
            export(recording, "power_w@R0064", tmp_path / "a.csv")
    assert not (tmp_path / "a.csv").exists()


def test_a_recording_without_a_site_or_of_an_unknown_one_is_refused(tmp_path: Path) -> None:
    bare, strange = write(tmp_path / "a.mcap", [item()]), write(tmp_path / "b.mcap", [item()], site="nowhere")
    with Recording(bare) as recording, pytest.raises(RecordingError, match="does not say of which site"):
        export(recording, "power_w@R0001", tmp_path / "a.csv")
    with Recording(strange) as recording, pytest.raises(SiteInvalid, match="nowhere"):
        export(recording, "power_w@R0001", tmp_path / "a.csv")


@pytest.mark.parametrize("name", ["a.xlsx", "a", "a.csv.gz"])
def test_another_format_is_refused(recorded: Path, tmp_path: Path, name: str) -> None:
    with Recording(recorded) as recording, pytest.raises(RecordingError, match=r"ends in \.csv or \.parquet"):
        export(recording, "power_w@R0001", tmp_path / name)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_nothing_is_overwritten_or_left_half(recorded: Path, tmp_path: Path, suffix: str) -> None:
    target = tmp_path / f"a.{suffix}"
    target.write_bytes(b"mine")
    with Recording(recorded) as recording:
        with pytest.raises(RecordingUnwritable, match="there already"):
            export(recording, "power_w@R0001", target)
        with pytest.raises(RecordingUnwritable, match="cannot be written"):
            export(recording, "power_w@R0001", target / f"b.{suffix}")
    assert target.read_bytes() == b"mine"


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_of_a_damaged_recording_no_file_is_left(recorded: Path, tmp_path: Path, suffix: str) -> None:
    content = bytearray(recorded.read_bytes())
    content[len(content) // 3] ^= 0xFF
    (tmp_path / "damaged.mcap").write_bytes(content)
    with Recording(tmp_path / "damaged.mcap") as recording, pytest.raises(RecordingInvalid):
        export(recording, "power_w@R0001-g0", tmp_path / f"a.{suffix}")
    assert [path.name for path in tmp_path.iterdir()] == ["damaged.mcap"]


def test_a_gpu_under_watch_is_found_in_what_the_observer_made(layout: FrameLayout, tmp_path: Path) -> None:
    columns = {column.name: np.array([7.0, 8.0, 9.0]) for column in TWIN_RACK.by_name["gpu"].columns}
    watched = Frame(dense={"gpu": {**columns, "rack_i": np.array([1.0, 2.0, 2.0]), "gpu": np.array([5.0, 4.0, 5.0])}})
    items = [message("twin.rack", "0", encode_frame(TWIN_RACK, watched), 0)]
    path = write(tmp_path / "a.mcap", items, site="mini")
    assert values(path, "power_w@R0003-g5", tmp_path) == [9]
    assert values(path, "mem_temp_c@R0002-g5", tmp_path) == [7]


def test_the_verb_says_what_it_wrote_and_what_else_there_is(recorded: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["export", str(recorded), "frequency_hz@mini", "-o", str(tmp_path / "a.csv")])
    assert done.exit_code == 0
    assert done.output.splitlines() == [
        f"{tmp_path / 'a.csv'}: 4 values of telemetry.grid.site.frequency_hz",
        "there is also twin.site.site.frequency_hz: name it in full to have it",
    ]
    assert len(rows_of(tmp_path / "a.csv")) == 4
