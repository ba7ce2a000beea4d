"""What only the DuckDB store promises: its files, its folder, and what it does when they are damaged, full or taken."""

import logging
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import numpy as np
import pytest

from tests.store.batches import HOUR_MS, RUN, T0, event, racks, site, turbines
from twin.errors import StartError, StoreRejected, StoreUnavailable
from twin.store import Points, duck
from twin.store.duck import DuckStore, open_store

LIVE = "live-20261124T06.duckdb"  # the file of T0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "history"


@contextmanager
def opened(folder: Path) -> Iterator[DuckStore]:
    store = open_store(folder)
    try:
        yield store
    finally:
        store.close()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def alter(path: Path, *statements: str) -> None:
    with duckdb.connect(str(path)) as connection:
        for statement in statements:
            connection.execute(statement)


def noise(second: int) -> Points:
    values = np.random.default_rng(second).uniform(0, 99, 3125)
    return racks(T0 + 1000 * second, 3125, power_w=values, gpu_temp_mean_c=values, residual_k=values)


# -- files and columns


def test_a_file_holds_six_hours_and_a_month(folder: Path) -> None:
    with opened(folder) as store:
        store.write([site([T0, T0 + 6 * HOUR_MS - 1, T0 + 6 * HOUR_MS], pue=[1.0, 1.1, 1.2])])
        while store.roll_up(T0 + 9 * HOUR_MS):
            pass
    assert names(folder) == ["5m-202611.duckdb", LIVE, "live-20261124T12.duckdb", "lock.duckdb"]


def test_a_file_of_an_older_version_gets_what_it_lacks(folder: Path) -> None:
    with opened(folder) as store:
        store.write([site(T0, pue=1.1, it_power_w=5.0), event(T0, text="x")])
    alter(folder / LIVE, 'ALTER TABLE site DROP COLUMN "it_power_w"', "DROP TABLE event", "DROP TABLE dirty")
    with opened(folder) as store:
        rows = store.latest("site", ["pue", "it_power_w"], run=RUN, until_ms=T0, window_ms=1)
        assert rows.fields["pue"] == pytest.approx([1.1])
        assert np.isnan(rows.fields["it_power_w"]).all()
        assert store.events(run=RUN, from_ms=T0, to_ms=T0 + 1, limit=9) == []
        store.write([site(T0, it_power_w=6.0), event(T0, text="y")])
        assert store.latest("site", ["it_power_w"], run=RUN, until_ms=T0, window_ms=1).fields["it_power_w"] == 6.0
        assert len(store.events(run=RUN, from_ms=T0, to_ms=T0 + 1, limit=9)) == 1


def test_a_file_of_a_newer_version_keeps_what_is_unknown(folder: Path) -> None:
    with opened(folder) as store:
        store.write([site(T0, pue=1.1)])
    alter(folder / LIVE, "ALTER TABLE site ADD COLUMN from_the_future DOUBLE", "UPDATE site SET from_the_future = 7")
    with opened(folder) as store:
        store.write([site([T0, T0 + 1], pue=1.2)])
    with duckdb.connect(str(folder / LIVE)) as connection:
        assert connection.execute("SELECT from_the_future FROM site ORDER BY ts").fetchall() == [(7.0,), (None,)]


def test_a_series_of_a_version_without_a_tag_has_an_empty_one(folder: Path) -> None:
    with opened(folder) as store:
        store.write([turbines(T0, ["turbine-1"], power_w=1.0)])
    alter(folder / LIVE, 'UPDATE series SET tags = \'{"unit": "turbine-1"}\'')
    with opened(folder) as store:
        rows = store.latest("turbine", ["power_w"], run=RUN, until_ms=T0, window_ms=1)
        assert rows.tags == {"plant": [""], "unit": ["turbine-1"]}


def test_other_files_in_the_folder_are_left_alone(folder: Path) -> None:
    folder.mkdir()
    (folder / "notes.duckdb").write_text("mine")
    with opened(folder) as store:
        store.write([site(T0, pue=1.1)])
    assert (folder / "notes.duckdb").read_text() == "mine"


def test_a_value_beyond_the_type_is_refused_and_the_batch_with_it(folder: Path) -> None:
    with opened(folder) as store:
        with pytest.raises(StoreRejected):
            store.write([site(T0, it_power_w=1.0), site(T0 + 1, frequency_hz=1e39)])
        assert store.stored("site", RUN) == 0
        store.write([turbines(T0, ["turbine-9"], power_w=1.0)])  # series of the failed batch are no trap
        assert store.topk("turbine", "power_w", 1, run=RUN, until_ms=T0, window_ms=1).tags["unit"] == ["turbine-9"]


def test_runs_stay_apart_when_memory_forgets_their_series(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("twin.store.duck_file._INDEXES", 3)
    runs = [f"run-{i}" for i in range(8)]
    with opened(folder) as store:
        store.write([turbines(T0, ["turbine-1"], run=run, power_w=float(i)) for i, run in enumerate(runs)])
        store.write([turbines(T0, ["turbine-1"], run=run, load=0.5) for run in runs])
        for i, run in enumerate(runs):
            rows = store.latest("turbine", ["power_w", "load"], run=run, until_ms=T0, window_ms=1)
            assert (rows.fields["power_w"].tolist(), rows.fields["load"].tolist()) == ([float(i)], [0.5])


# -- the folder


def test_two_stores_on_one_folder_is_an_error_that_says_what_to_do(folder: Path) -> None:
    with opened(folder), pytest.raises(StartError, match=r"open in another process: stop that one, or choose another"):
        open_store(folder)
    with opened(folder) as store:
        store.write([site(T0, pue=1.0)])


def test_a_folder_of_another_process_is_an_error_that_says_what_to_do(folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from twin.store.duck import open_store\n"
        "store = open_store(Path(sys.argv[1])); print('open', flush=True); sys.stdin.read(1)"
    )
    with subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", code, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        with pytest.raises(StartError, match="open in another process") as error:
            open_store(folder)
        assert "\n" not in str(error.value)
        other.communicate("x")
    open_store(folder).close()


def test_a_single_file_open_elsewhere_is_no_damage(folder: Path) -> None:
    with opened(folder) as store:
        store.write([site(T0, pue=1.0)])
    with duckdb.connect(str(folder / LIVE)), pytest.raises(StartError, match=r"live-.* is open in another process"):
        open_store(folder)
    assert names(folder) == [LIVE, "lock.duckdb"]


@pytest.mark.parametrize("name", ["file", "file/below", "/proc"])
def test_a_folder_that_cannot_be_is_an_error_in_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StartError, match="choose another") as error:
        open_store(tmp_path / name)
    assert "\n" not in str(error.value)
    assert name in str(error.value)


def test_a_folder_with_a_quote_in_its_name(tmp_path: Path) -> None:
    with opened(tmp_path / "it's; here") as store:
        store.write([site(T0, pue=1.0)])
        assert store.stored("site", RUN) == 1


# -- damage


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "garbage": lambda content: b"x" * 50_000,
    "cut": lambda content: content[: len(content) // 3],
    "zeros": lambda content: content[:20_000] + bytes(len(content) - 20_000),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_moved_aside_and_said(
    folder: Path, damage: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    with opened(folder) as store:
        store.write([racks(T0 + 1000 * i, 500, power_w=np.arange(500.0) * i) for i in range(20)])
        store.write([site(T0 - 1, pue=1.5)])
    (folder / LIVE).write_bytes(damage((folder / LIVE).read_bytes()))
    with caplog.at_level(logging.ERROR), opened(folder) as store:
        assert store.stored("site", RUN) == 1  # the other file's
        assert store.stored("rack", RUN) == 0
        store.write([racks(T0, 4, power_w=1.0)])
        assert store.stored("rack", RUN) == 4
    assert LIVE + ".damaged" in names(folder)
    assert "moved aside" in caplog.text


def test_damage_found_while_writing_is_moved_aside_and_the_next_try_succeeds(folder: Path) -> None:
    with opened(folder) as store:
        for second in range(40):
            store.write([noise(second)])
    content = bytearray((folder / LIVE).read_bytes())
    half = len(content) // 2
    content[12_288 + 300_000 : half] = bytes(half - 312_288)  # blocks of data, not the headers
    (folder / LIVE).write_bytes(content)
    late = [racks(T0 + 500 * i, 3125, power_w=1.0) for i in range(8)]
    with opened(folder) as store:
        with pytest.raises(StoreUnavailable):
            store.write(late)
        store.write(late)
        assert store.stored("rack", RUN) == 8 * 3125
    assert LIVE + ".damaged" in names(folder)


def test_a_damaged_lock_is_made_anew(folder: Path) -> None:
    with opened(folder):
        pass
    (folder / "lock.duckdb").write_bytes(b"x" * 50_000)
    with opened(folder) as store:
        assert store.stored("site", RUN) == 0


# -- a full disk, a crash


@contextmanager
def no_file_beyond(size: int) -> Iterator[None]:
    """Let every write beyond ``size`` [B] fail, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_unavailable_for_as_long_as_it_lasts_and_loses_nothing(folder: Path) -> None:
    with opened(folder) as store:
        store.write([noise(0)])
        with no_file_beyond(2_000_000):
            for _ in range(2):
                with pytest.raises(StoreUnavailable):
                    store.write([noise(second) for second in range(1, 40)])
        assert store.stored("rack", RUN) == 3125
        store.write([noise(second) for second in range(1, 40)])
        assert store.stored("rack", RUN) == 3125 * 40
    with opened(folder) as store:
        assert store.stored("rack", RUN) == 3125 * 40


def test_a_full_disk_while_a_checkpoint_runs_loses_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(duck._CONFIG, "checkpoint_threshold", "400KB")
    reasons = {}
    with opened(folder) as store:
        for second in range(17):
            with no_file_beyond(2_500_000):
                try:
                    store.write([noise(second)])
                except StoreUnavailable as error:
                    reasons[second] = str(error)
                assert store.stored("rack", RUN) == 3125 * (second + 1 - len(reasons))  # reads go on
        assert all("heckpoint" in reason for reason in reasons.values())
        assert 0 < len(reasons) < 17
        store.write([noise(second) for second in reasons])
        assert store.stored("rack", RUN) == 3125 * 17
    with opened(folder) as store:
        assert store.stored("rack", RUN) == 3125 * 17


def test_a_full_disk_at_the_start_is_an_error_that_says_what_to_do(folder: Path) -> None:
    with no_file_beyond(1000), pytest.raises(StartError, match="free space"):
        open_store(folder)


def test_a_killed_process_loses_nothing_that_was_written(folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from twin.store.duck import open_store\n"
        "from tests.store.batches import T0, racks, site\n"
        "store = open_store(Path(sys.argv[1]))\n"
        "for i in range(10**6):\n"
        "    store.write([racks(T0 + 1000 * i, 3125, power_w=1.0), site(T0 + 1000 * i, ecc_dbe_n=1.0)])\n"
        "    print(i, flush=True)\n"
    )
    with subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        for expected in range(5):
            assert other.stdout.readline() == f"{expected}\n"
        other.kill()
        written = 5 + len(other.stdout.readlines())
    with opened(folder) as store:
        assert store.stored("rack", RUN) // 3125 in (written, written + 1)
        store.roll_up(T0 + HOUR_MS)
        (series,) = store.series("site", ["ecc_dbe_n"], run=RUN, from_ms=T0, to_ms=T0 + HOUR_MS, bucket="5m")
        assert series.fields["ecc_dbe_n"].sum() == store.stored("site", RUN)


# -- retention


def test_retention_drops_whole_files_that_are_past_it(folder: Path) -> None:
    with opened(folder) as store:
        store.write([site(T0 + h * HOUR_MS, pue=1.0) for h in range(0, 36, 6)])
        assert store.prune(T0 + 30 * HOUR_MS - 1) == 0
        assert store.prune(T0 + 30 * HOUR_MS) == 1
        assert store.prune(T0 + 30 * HOUR_MS) == 0
        assert LIVE not in names(folder)
        (series,) = store.series("site", ["pue"], run=RUN, from_ms=T0, to_ms=T0 + 99 * HOUR_MS, bucket="live")
        assert series.ts[0] == T0 + 6 * HOUR_MS
        store.write([site(T0, pue=1.0)])  # very late: the file begins anew
        assert len(store.series("site", ["pue"], run=RUN, from_ms=T0, to_ms=T0 + 1)) == 1


def test_what_is_dropped_has_been_rolled_up(folder: Path) -> None:
    with opened(folder) as store:
        store.write([site(T0 + 300_000 * i, pue=1.0) for i in range(30)] + [site(T0 + 48 * HOUR_MS, pue=1.0)])
        store.prune(T0 + 48 * HOUR_MS)
        (series,) = store.series("site", ["pue"], run=RUN, from_ms=T0, to_ms=T0 + 6 * HOUR_MS, bucket="5m")
        assert len(series.ts) == 30


def test_the_newest_file_stays_whatever_the_clock_says(folder: Path) -> None:
    with opened(folder) as store:
        store.write([site([T0, T0 + 6 * HOUR_MS], pue=1.0)])
        store.prune(T0 + 20 * 365 * 24 * HOUR_MS)
    assert names(folder) == ["5m-202611.duckdb", "live-20261124T12.duckdb", "lock.duckdb"]


def test_five_minutes_are_kept_for_two_years(folder: Path) -> None:
    with opened(folder) as store:
        months = [T0 + 31 * 24 * HOUR_MS * i for i in range(4)]
        for ts in months:
            store.write([site(ts, pue=1.0)])
            store.roll_up(ts + HOUR_MS)
        store.prune(T0 + 2 * 365 * 24 * HOUR_MS + 40 * 24 * HOUR_MS)
    assert [name for name in names(folder) if name.startswith("5m")] == [
        "5m-202701.duckdb",
        "5m-202702.duckdb",
    ]
