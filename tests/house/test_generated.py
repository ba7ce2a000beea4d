"""Generated files equal a fresh build."""

from pathlib import Path

from twin.events.schemas import write_schemas

SCHEMAS = Path(__file__).parents[2] / "twin" / "events" / "schemas"
WAY_OUT = "write them anew: make schemas"


def test_schemas_are_fresh_and_none_is_left_over(tmp_path: Path) -> None:
    fresh = {path.name: path.read_bytes() for path in write_schemas(tmp_path)}
    committed = {path.name: path.read_bytes() for path in SCHEMAS.iterdir() if not path.name.startswith("__")}
    assert committed.keys() == fresh.keys(), WAY_OUT
    assert [name for name in fresh if fresh[name] != committed[name]] == [], WAY_OUT
