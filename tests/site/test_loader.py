"""Reading of site files: names, sources, ``like``, and one clear error for each way to break a file."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from twin.errors import SiteInvalid
from twin.site import Site, load_site, site_names
from twin.site.fields import numbers

SITES = Path(load_site.__code__.co_filename).parent / "sites"
WHOLE = yaml.load((SITES / "colossus1.yaml").read_text(), Loader=yaml.CSafeLoader)


def number(value: object, sure: str = "assumption") -> dict[str, Any]:
    return {"value": value, "source": "a test", "sure": sure}


def changed(**at_path: object) -> dict[str, Any]:
    """Copy the whole file with some values changed; ``a__b__0`` is the path a.b.0, None deletes."""
    data: dict[str, Any] = copy.deepcopy(WHOLE | {"id": "broken"})
    for path, value in at_path.items():
        node: Any = data
        *parents, last = [int(step) if step.isdigit() else step for step in path.split("__")]
        for step in parents:
            node = node[step]
        if value is None:
            del node[last]
        else:
            node[last] = value
    return data


def write(folder: Path, content: object, name: str = "broken.yaml") -> Path:
    path = folder / name
    text = content if isinstance(content, str) else yaml.dump(content, Dumper=yaml.CSafeDumper, sort_keys=False)
    path.write_text(text)
    return path


def like(**differences: object) -> dict[str, Any]:
    return {"like": "colossus1", "id": "broken", **differences}


HALL = {"id": "H1", "gpu": "h100", "racks_n": number(16)}
BLOCK = {"start": "R0001-s0", "gpus_n": number(8)}

BROKEN: dict[str, tuple[object, str]] = {
    "no yaml": ("halls: [", r"no YAML: .*line \d"),
    "bytes of something else": ("\x00\x01", "no YAML"),
    "a tag that makes objects": ("id: !!python/object/apply:os.getcwd []", "no YAML: could not determine"),
    "empty": ("", "holds NoneType, allowed is a mapping of sections"),
    "a list": ("- 1", "holds list, allowed is a mapping"),
    "an anchor that holds itself": ("id: &a [*a]", "an anchor that holds itself"),
    "a key twice": ("id: a\nid: b", "no YAML: key 'id' stands twice .*line 2"),
    "unknown like": ({"like": "mars"}, r"like: 'mars': allowed are colossus1, mini"),
    "like a list": ({"like": ["mini"]}, r"like: \['mini'\]: allowed are colossus1, mini"),
    "another schema": (changed(schema="site/2"), r"schema: 'site/2': Input should be 'site/1'"),
    "a missing section": (changed(pump=None), "pump: missing: the key is required"),
    "a missing number": (changed(pump__flow_l_min=None), r"pump\.flow_l_min: missing"),
    "an unknown section": (changed(pumps={}), "pumps: unknown key: allowed are schema, id, title"),
    "an unknown key": (
        changed(pump__flow_l_s=number(1)),
        r"pump\.flow_l_s: unknown key: allowed are duty_n, standby_n, flow_l_min",
    ),
    "an unknown key of a GPU": (
        changed(gpus__h100__power_w=number(1)),
        r"gpus\.h100\.power_w: unknown key: allowed are name, power_max_w",
    ),
    "an unknown key of a hall": (
        changed(halls__2__arrays=number(98)),
        r"halls\.2\.arrays: unknown key: allowed are id, gpu, racks_n",
    ),
    "an unknown key of a governor": (
        changed(turbine__governor__ki=number(1)),
        r"turbine\.governor\.ki: unknown key: allowed are droop_pu",
    ),
    "a number without source": (changed(pump__flow_l_min=5), r"pump\.flow_l_min: 5: a number is written \{value"),
    "a list without source": (
        changed(chiller__part_load_fit=[1.0, 2.0, 3.0]),
        r"chiller\.part_load_fit\.0: 1\.0: a number is written",
    ),
    "a source that is empty": (
        changed(pump__flow_l_min={"value": 5, "source": "", "sure": "claimed"}),
        r"pump\.flow_l_min: .*a number is written",
    ),
    "sure in another word": (
        changed(pump__flow_l_min=number(5, sure="guess")),
        r"pump\.flow_l_min\.sure: 'guess': allowed are confirmed, reported, claimed, inferred, assumption",
    ),
    "a text for a number": (
        changed(pump__flow_l_min=number("5")),
        r"pump\.flow_l_min: '5': Input should be a valid number",
    ),
    "a truth value for a number": (
        changed(pump__flow_l_min=number(value=True)),
        r"pump\.flow_l_min: True: Input should be a valid number",
    ),
    "a number that is none": (changed(pump__flow_l_min=number(float("nan"))), "nan: Input should be a finite number"),
    "a number without end": (changed(pump__flow_l_min=number(float("inf"))), "inf: Input should be a finite number"),
    "zero flow": (changed(pump__flow_l_min=number(0)), r"pump\.flow_l_min: 0: Input should be greater than 0"),
    "a share in percent": (
        changed(server__psu_efficiency=number(94)),
        r"server\.psu_efficiency: 94: Input should be less than or equal to 1",
    ),
    "a source for a whole section": (
        changed(halls=number(WHOLE["halls"])),
        r"halls: .*a number is written \{value",
    ),
    "a source for the whole file": ({"value": 5, "source": "a test", "sure": "claimed"}, "value: 5: a number is"),
    "a number too large": (changed(pump__flow_l_min=number(10**400)), r"pump\.flow_l_min: 1000"),
    "too many chillers": (changed(chiller__per_hall_n=number(10**9)), r"chiller\.per_hall_n: .*less than or equal"),
    "too many GPUs": (
        changed(rack__gpus_per_server_n=number(1_000)),
        "halls: 25000000 GPUs in all racks: allowed are at most 10000000",
    ),
    "half a rack": (changed(halls__2__racks_n=number(7.5)), r"halls\.2\.racks_n: 7\.5: Input should be a valid int"),
    "no halls": (changed(halls=[]), r"halls: \[\]: Tuple should have at least 1 item"),
    "five coefficients of six": (
        changed(chiller__capacity_fit=number([1.0] * 5)),
        r"chiller\.capacity_fit\.5: missing",
    ),
    "a key that is a number": (changed(gpus={1: {}}), r"gpus\.1"),
    "a date for a text": ("id: 2024-01-01", r"id: datetime\.date\(2024, 1, 1\): Input should be a valid string"),
    "low above high": (
        changed(limits__wet_bulb_c__low=number(40)),
        r"limits\.wet_bulb_c: .*low must be below high",
    ),
    "id of another file": (changed(id="other"), "id: 'other': allowed is the name of the file, 'broken'"),
    "a hall twice": (changed(halls__2__id="H2"), r"halls\.2\.id: 'H2': allowed is H3"),
    "a hall out of order": (like(halls=[HALL | {"id": "H2"}]), r"halls\.0\.id: 'H2': allowed is H1"),
    "a hall of unknown GPUs": (
        changed(halls__2__gpu="b200"),
        r"halls\.2\.gpu: 'b200': allowed are the keys of gpus: h100, h200",
    ),
    "load shedding in no hall": (
        changed(electrical__shed_hall="H5"),
        r"electrical\.shed_hall: 'H5': allowed are H1, H2, H3, H4",
    ),
    "an unknown time zone": (changed(timezone="Memphis"), "timezone: 'Memphis': allowed is a name of the IANA"),
    "a time zone outside the table": (changed(timezone="../etc"), "timezone: '../etc': allowed is"),
    "unknown weather": (changed(weather="mars"), "weather: 'mars': allowed is the name of a file"),
    "a shutdown below slowdown": (
        changed(gpus__h200__shutdown_c=number(88)),
        r"gpus\.h200\.shutdown_c: 88\.0: must be above slowdown_c, 89",
    ),
    "idle above the cap": (
        changed(gpus__h100__power_idle_w=number(300)),
        r"gpus\.h100\.power_min_w: 200\.0: must be above power_idle_w, 300",
    ),
    "an idle clock above the highest": (
        changed(gpus__h100__sm_clock_idle_mhz=number(3000)),
        r"gpus\.h100\.sm_clock_max_mhz: 1980\.0: must be above sm_clock_idle_mhz, 3000",
    ),
    "a window of charge upside down": (
        changed(battery__soc_min=number(0.96)),
        r"battery\.soc_max: 0\.95: must be above soc_min, 0\.96",
    ),
    "a set-point above the limit": (
        changed(loop__supply_set_c=number(46)),
        r"loop\.supply_max_c: 45\.0: must be above supply_set_c, 46",
    ),
    "chillers colder than cold": (
        changed(chiller__leaving_min_c=number(21)),
        r"chiller\.leaving_max_c: 20\.0: must be above leaving_min_c, 21",
    ),
    "more fragile cells than cells": (
        changed(tower__fragile_cells_n=number(11)),
        r"tower\.fragile_cells_n: 11: at most cells_n, 10",
    ),
    "stages of shedding that rise": (
        changed(electrical__shed_stages__1__below_hz=number(59.5)),
        r"electrical\.shed_stages: \[59\.3, 59\.5, 58\.7\]: each stage lies below",
    ),
    "a job with no name of a job": (changed(jobs__hero=WHOLE["jobs"]["job-r1"]), r"jobs\.hero.*should match pattern"),
    "a job that starts nowhere": (
        changed(**{"jobs__job-r1__blocks": [BLOCK | {"start": "A001"}]}),
        r"jobs\.job-r1\.blocks\.0\.start: 'A001': String should match",
    ),
    "a job on half a server": (
        changed(**{"jobs__job-r1__blocks": [{"start": "R2433-s0", "gpus_n": number(12)}]}),
        r"jobs\.job-r1\.blocks\.0: R2433-s0 and 12 GPUs: allowed are whole servers of 8",
    ),
    "a job beyond the last rack": (
        changed(**{"jobs__job-r1__blocks": [{"start": "R3125-s7", "gpus_n": number(16)}]}),
        r"jobs\.job-r1\.blocks\.0: R3125-s7 and 16 GPUs: allowed is what the 25000 servers",
    ),
    "a job on a ninth server": (
        changed(**{"jobs__job-r1__blocks": [{"start": "R3120-s8", "gpus_n": number(8)}]}),
        r"jobs\.job-r1\.blocks\.0: R3120-s8",
    ),
    "a job before the first rack": (
        changed(**{"jobs__job-r1__blocks": [{"start": "R0-s0", "gpus_n": number(8)}]}),
        r"jobs\.job-r1\.blocks\.0: R0-s0",
    ),
    "two jobs on one server": (
        changed(**{"jobs__job-r1__blocks": [BLOCK]}),
        r"jobs\.job-r1\.blocks\.0: R0001-s0 and 8 GPUs: allowed are GPUs that job-hero does not hold",
    ),
    "a spare that a job holds": (
        changed(**{"jobs__job-hero__spares": [{"start": "R2433-s0", "gpus_n": number(8)}]}),
        r"jobs\.job-hero\.spares\.0: .*that job-r1 does not hold",
    ),
    "a difference that does not fit": (
        like(pump={"flow_l_min": number(-1)}),
        r"pump\.flow_l_min: -1: Input should be greater than 0",
    ),
    "jobs that do not fit the fewer racks": (
        like(halls=[HALL], electrical={"shed_hall": "H1"}),
        r"jobs\.job-hero\.blocks\.0: R0001-s0 and 150000 GPUs: allowed is what the 128 servers",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_says_what_is_wrong_and_where(case: str, tmp_path: Path) -> None:
    content, expected = BROKEN[case]
    path = write(tmp_path, content)
    with pytest.raises(SiteInvalid) as caught:
        load_site(path)
    lines = str(caught.value).splitlines()
    assert all(line.startswith(f"{path}: ") for line in lines)
    assert any(re.search(expected, line) for line in lines), str(caught.value)


def test_all_problems_of_a_file_come_together(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        changed(pump__flow_l_min=5, server__psu_efficiency=number(94), halls__2__arrays=number(1), loop__dp_pa=None),
    )
    with pytest.raises(SiteInvalid) as caught:
        load_site(path)
    for expected in ("pump.flow_l_min", "server.psu_efficiency", "halls.2.arrays", "loop.dp_pa"):
        assert f"{path}: {expected}: " in str(caught.value)


def test_the_whole_file_is_fine_under_another_name(tmp_path: Path) -> None:
    site = load_site(write(tmp_path, changed()))
    assert site.id == "broken"
    assert site.layout.gpu_count == 200_000


def test_a_missing_file_names_the_known_sites(tmp_path: Path) -> None:
    with pytest.raises(SiteInvalid, match=r"none\.yaml: cannot be read .*: colossus1, mini"):
        load_site(tmp_path / "none.yaml")


def test_a_folder_is_no_site(tmp_path: Path) -> None:
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(SiteInvalid, match=r"folder\.yaml: cannot be read"):
        load_site(tmp_path / "folder.yaml")


@pytest.mark.parametrize("name", ["colossus2", "", "../colossus1", "colossus1.yml"])
def test_an_unknown_name_names_the_known_ones(name: str) -> None:
    with pytest.raises(SiteInvalid, match=r"allowed are colossus1, mini, or the path of a \.yaml file"):
        load_site(name)


def test_a_packaged_site_is_read_once() -> None:
    assert load_site("mini") is load_site("mini")


def test_a_site_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_site("mini").cdu.pumps_n = 3  # type: ignore[misc]


@pytest.mark.parametrize("name", site_names())
def test_every_number_has_its_source(name: str) -> None:
    site = load_site(name)
    paths = {path for path, _, _ in numbers(site)}
    assert paths == site.sources.keys()
    assert len(paths) > 250


def test_internal_files_are_no_sources() -> None:
    for name in site_names():
        for source in load_site(name).sources.values():
            assert not re.search(r"\.md\b|drills|physics|site-facts", source.source)


def test_mini_scales_what_is_extensive_and_nothing_else() -> None:
    whole, mini = load_site("colossus1"), load_site("mini")
    expected = {path: (value, extensive) for path, value, extensive in numbers(whole)}
    assert mini.scale == 4_096 / 200_000
    scaled_n = same_n = 0
    for path, value, extensive in numbers(mini):
        if path.startswith(("halls.", "jobs.")) or path == "loop.arrays_per_branch_n":
            continue
        assert expected[path][1] == extensive
        if extensive:
            assert value == pytest.approx(expected[path][0] * mini.scale, rel=1e-12), path
            assert mini.sources[path].sure == "assumption"
            assert mini.sources[path].source.startswith("colossus1 x 0.02048: ")
            scaled_n += 1
        else:
            assert value == expected[path][0], path
            assert mini.sources[path] == whole.sources[path]
            same_n += 1
    assert scaled_n == sum(extensive for _, extensive in expected.values())
    assert scaled_n > 35
    assert same_n > 150


@pytest.mark.parametrize(
    "path",
    [
        "loop.flow_l_min loop.volume_m3 loop.tank_volume_m3 loop.heat_capacity_j_per_k loop.makeup_max_l_min",
        "pump.flow_l_min pump.power_w tower.rated_heat_w tower.cell_fan_power_w chiller.rated_heat_w",
        "turbine.rated_power_w turbine.aux_power_w battery.power_w battery.energy_wh feed.limit_w",
        "feed.swing_max_w feed.ramp_max_w_per_min ups.rated_power_w electrical.other_it_w electrical.building_w",
        "permit.nox_cap_ston permit.nox_opening_ston water.plan_l_per_day",
    ],
)
def test_ratings_volumes_and_limits_are_extensive(path: str) -> None:
    extensive = {p for p, _, is_extensive in numbers(load_site("mini")) if is_extensive}
    assert set(path.split()) <= extensive


def test_a_rack_is_the_same_at_every_scale() -> None:
    whole, mini = load_site("colossus1"), load_site("mini")
    for part in ("gpus", "server", "rack", "cdu", "room", "network", "prices", "limits"):
        assert getattr(whole, part) == getattr(mini, part)


def test_a_difference_stands_as_written(tmp_path: Path) -> None:
    content = yaml.safe_load((SITES / "mini.yaml").read_text())
    content |= {"id": "small", "battery": {"energy_wh": number(5.0e6, sure="claimed")}}
    site = load_site(write(tmp_path, content, "small.yaml"))
    mini = load_site("mini")
    assert site.battery.energy_wh == 5.0e6
    assert site.sources["battery.energy_wh"].source == "a test"
    assert site.battery.power_w == mini.battery.power_w
    assert site.jobs == mini.jobs


def test_a_site_like_mini_scales_from_mini(tmp_path: Path) -> None:
    site = load_site(write(tmp_path, {"like": "mini", "id": "broken", "title": "the same again"}))
    mini = load_site("mini")
    assert (site.feed.limit_w, site.layout.gpu_count) == (mini.feed.limit_w, mini.layout.gpu_count)


def test_the_crc_follows_the_content(tmp_path: Path) -> None:
    def crc(**at_path: object) -> str:
        return load_site(write(tmp_path, changed(**at_path))).crc

    assert crc() == crc()
    assert re.fullmatch("[0-9a-f]{8}", crc())
    assert crc(pump__start_s=number(21)) != crc()
    assert load_site("mini").crc != load_site("colossus1").crc


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_no_content_gets_through_or_crashes(tmp_path_factory: pytest.TempPathFactory, content: object) -> None:
    path = write(tmp_path_factory.getbasetemp(), content if not isinstance(content, str) else [content])
    with pytest.raises(SiteInvalid):
        load_site(path)


def test_the_site_answers_by_hall() -> None:
    site: Site = load_site("colossus1")
    assert site.gpu_model("H3").fb_total_mib == 81_559
    assert site.gpu_model("H4").name.startswith("H200")
    with pytest.raises(SiteInvalid, match="no hall 'H5'"):
        site.gpu_model("H5")
