"""Read site files: numbers with their sources, sites made ``like`` another, one error with all problems."""

import typing
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import orjson
import yaml
from pydantic import BaseModel, ValidationError

from twin.errors import SiteInvalid
from twin.site.checks import contradictions
from twin.site.fields import numbers
from twin.site.models import Site, SiteFile, Source, Sure

_SURE: tuple[str, ...] = typing.get_args(Sure)
_NEEDS_SOURCE = f"a number is written {{value: .., source: .., sure: {' | '.join(_SURE)}}}"


class _UniqueKeys(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """The safe loader, which also refuses a key that stands twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"key {key.value!r} stands twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return typing.cast("dict[Any, Any]", super().construct_mapping(node, deep))


@dataclass(frozen=True, slots=True)
class _Content:
    """What a file says: plain values, and the source of each number by its dotted path."""

    data: dict[str, Any]
    sources: dict[str, Source]


def site_names() -> tuple[str, ...]:
    """List the sites that come with the package."""
    names = (file.name for file in _folder().iterdir())
    return tuple(sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml")))


def load_site(name_or_path: str | Path) -> Site:
    """Read a site by its name, or from a file of one's own.

    Parameters
    ----------
    name_or_path
        One of :func:`site_names`, or the path of a ``.yaml`` file.

    Raises
    ------
    SiteInvalid
        No such site, or a file that says something impossible: one line per problem, each with file, path,
        value and what is allowed.

    Examples
    --------
    >>> load_site("mini").layout.gpu_count
    4096
    """
    if str(name_or_path) in site_names():
        return _packaged(str(name_or_path))
    if Path(name_or_path).suffix != ".yaml":
        raise SiteInvalid(
            f"no site {str(name_or_path)!r}: allowed are {', '.join(site_names())}, or the path of a .yaml file"
        )
    return _load(Path(name_or_path))


def _folder() -> Traversable:
    return resources.files("twin.site") / "sites"


@cache
def _packaged(name: str) -> Site:
    return _load(_folder() / f"{name}.yaml")


def _load(file: Traversable) -> Site:
    problems: list[str] = []
    own = _read(file, problems)
    like = own.data.pop("like", None)
    if like is None:
        model = _validate(file, own, problems)
        return _site(own, model)
    if like not in site_names() or like == file.name.removesuffix(".yaml"):
        allowed = ", ".join(name for name in site_names() if f"{name}.yaml" != file.name)
        problems.append(f"like: {like!r}: allowed are {allowed}")
        raise _invalid(file, problems)
    base = _packaged(like)
    base_data = base.model_dump(by_alias=True, exclude={"sources", "crc"})
    merged = _merge(_Content(base_data, dict(base.sources)), own)
    model = _validate(file, merged, problems)
    factor = model.gpus_n / base.gpus_n
    scaled = _scale(merged, model, factor, like, keep=own.sources)
    return _site(scaled, SiteFile.model_validate(scaled.data))


def _read(file: Traversable, problems: list[str]) -> _Content:
    try:
        raw = yaml.load(file.read_bytes(), Loader=_UniqueKeys)  # noqa: S506 (a subclass of the safe loader)
    except OSError as error:
        raise SiteInvalid(
            f"{file}: cannot be read ({error.strerror}); sites of the package: {', '.join(site_names())}"
        ) from error
    except yaml.YAMLError as error:
        raise SiteInvalid(f"{file}: no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(raw, dict):
        raise SiteInvalid(f"{file}: holds {type(raw).__name__}, allowed is a mapping of sections")
    sources: dict[str, Source] = {}
    try:
        data = _strip(raw, "", sources, problems)
    except RecursionError as error:
        raise SiteInvalid(f"{file}: an anchor that holds itself, allowed is a tree") from error
    return _Content(data, sources)


def _strip(node: Any, path: str, sources: dict[str, Source], problems: list[str]) -> Any:
    """Replace each ``{value, source, sure}`` by its value, and note the source."""
    if isinstance(node, dict) and "value" in node and path:
        value, source, sure = node["value"], node.get("source"), node.get("sure")
        nested = any(isinstance(item, dict | list) for item in (value if isinstance(value, list) else [value]))
        if nested or node.keys() != {"value", "source", "sure"} or not (source and isinstance(source, str)):
            problems.append(f"{path}: {node!r:.160}: {_NEEDS_SOURCE}")
        elif sure not in _SURE:
            problems.append(f"{path}.sure: {sure!r}: allowed are {', '.join(_SURE)}")
        else:
            sources[path] = Source(source, sure)
        return value
    if isinstance(node, dict):
        return {key: _strip(item, _join(path, key), sources, problems) for key, item in node.items()}
    if isinstance(node, list):
        return [_strip(item, _join(path, i), sources, problems) for i, item in enumerate(node)]
    if isinstance(node, int | float) and not isinstance(node, bool):
        problems.append(f"{path}: {node!r}: {_NEEDS_SOURCE}")
    return node


def _join(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)


def _merge(base: _Content, own: _Content) -> _Content:
    """Lay a file's differences over its base: mappings are merged, all else is replaced."""
    sources = dict(base.sources)

    def lay(under: Any, over: Any, path: str) -> Any:
        if isinstance(under, Mapping) and isinstance(over, Mapping):
            added = {key: lay(under.get(key), item, _join(path, key)) for key, item in over.items()}
            return {**under, **added}
        for old in [old for old in sources if old == path or old.startswith(f"{path}.")]:
            del sources[old]
        return over

    data = lay(base.data, own.data, "")
    return _Content(data, {**sources, **own.sources})


def _validate(file: Traversable, content: _Content, problems: list[str]) -> SiteFile:
    try:
        model = SiteFile.model_validate(content.data)
    except ValidationError as error:
        problems += [_told(detail) for detail in error.errors(include_url=False)]
        raise _invalid(file, problems) from error
    problems += contradictions(model, file.name)
    if problems:
        raise _invalid(file, problems)
    return model


def _told(detail: Any) -> str:
    path = ".".join(str(step) for step in detail["loc"])
    match detail["type"]:
        case "missing":
            return f"{path}: missing: the key is required"
        case "extra_forbidden":
            return f"{path}: unknown key: allowed are {', '.join(_keys_at(detail['loc'][:-1]))}"
        case _:
            return f"{path}: {detail['input']!r:.80}: {detail['msg']}"


def _keys_at(location: tuple[int | str, ...]) -> list[str]:
    """List the keys that are allowed in the mapping at a location of the file."""
    model: type[BaseModel] = SiteFile
    for step in location:
        if step in model.model_fields:
            model = _model_in(model.model_fields[str(step)].annotation) or model
    return [field.alias or name for name, field in model.model_fields.items()]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_model_in(argument) for argument in typing.get_args(annotation))
    return next((model for model in found if model is not None), None)


def _invalid(file: Traversable, problems: list[str]) -> SiteInvalid:
    return SiteInvalid("\n".join(f"{file}: {problem}" for problem in problems))


def _scale(content: _Content, model: SiteFile, factor: float, like: str, keep: Mapping[str, Source]) -> _Content:
    """Multiply every extensive number that the file does not state itself."""
    data: dict[str, Any] = orjson.loads(orjson.dumps(content.data))
    sources = dict(content.sources)
    for path, value, extensive in numbers(model):
        if extensive and path not in keep:
            *parents, last = path.split(".")
            node = data
            for step in parents:
                node = node[step]
            node[last] = value * factor
            sources[path] = Source(f"{like} x {factor:.5g}: {sources[path].source}", "assumption")
    return _Content(data, sources)


def _site(content: _Content, model: SiteFile) -> Site:
    canonical = orjson.dumps(model.model_dump(by_alias=True), option=orjson.OPT_SORT_KEYS)
    return Site.model_validate({**content.data, "sources": content.sources, "crc": f"{zlib.crc32(canonical):08x}"})
