"""As much of JSON Schema as the generated files use; a word that is not known here is an error, so none goes unread."""

import re
from collections.abc import Callable, Iterator
from typing import Any

_SAYS_NOTHING = {"$schema", "$id", "$defs", "title", "description", "default"}
_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "null": (type(None),),
}
# Words that look at a value of one type alone, and what they ask of it.
_ASKS: dict[str, tuple[tuple[type, ...], Callable[[Any, Any], bool]]] = {
    "minimum": ((int, float), lambda value, told: value >= told),
    "maximum": ((int, float), lambda value, told: value <= told),
    "exclusiveMinimum": ((int, float), lambda value, told: value > told),
    "exclusiveMaximum": ((int, float), lambda value, told: value < told),
    "pattern": ((str,), lambda value, told: re.search(told, value) is not None),
    "minLength": ((str,), lambda value, told: len(value) >= told),
    "maxLength": ((str,), lambda value, told: len(value) <= told),
    "minItems": ((list,), lambda value, told: len(value) >= told),
    "maxItems": ((list,), lambda value, told: len(value) <= told),
}


def faults(schema: dict[str, Any], value: Any) -> list[str]:
    """Return ``path word`` for each place where a value is not as a schema says."""
    return sorted(_faults(schema, schema, value, "$"))


def _faults(root: dict[str, Any], schema: dict[str, Any], value: Any, where: str) -> Iterator[str]:
    for word, told in schema.items():
        if word in _SAYS_NOTHING:
            continue
        if word in _ASKS:
            kinds, asks = _ASKS[word]
            if isinstance(value, kinds) and not asks(value, told):
                yield f"{where} {word}"
        elif word == "$ref":
            yield from _faults(root, root["$defs"][told.removeprefix("#/$defs/")], value, where)
        elif word == "anyOf":
            if all(any(_faults(root, one, value, where)) for one in told):
                yield f"{where} anyOf"
        elif word == "enum":
            if value not in told:
                yield f"{where} enum"
        elif word == "type":
            if not _is_one_of(value, [told] if isinstance(told, str) else told):
                yield f"{where} type"
        else:
            yield from _parts(root, schema, word, value, where)


def _is_one_of(value: Any, names: list[str]) -> bool:
    if isinstance(value, bool):
        return "boolean" in names
    return isinstance(value, tuple(kind for name in names for kind in _TYPES[name]))


def _parts(root: dict[str, Any], schema: dict[str, Any], word: str, value: Any, where: str) -> Iterator[str]:
    """Look into the words that speak of the parts of an object or a list."""
    told = schema[word]
    fields = value if isinstance(value, dict) else {}
    items = value if isinstance(value, list) else []
    if word == "required":
        yield from (f"{where}.{name} required" for name in told if isinstance(value, dict) and name not in fields)
    elif word == "properties":
        for name in told.keys() & fields.keys():
            yield from _faults(root, told[name], fields[name], f"{where}.{name}")
    elif word == "additionalProperties":
        for name in fields.keys() - schema.get("properties", {}).keys():
            if told is False:
                yield f"{where}.{name} additionalProperties"
            elif told is not True:
                yield from _faults(root, told, fields[name], f"{where}.{name}")
    elif word == "propertyNames":
        yield from (f"{where}.{name} propertyNames" for name in fields if any(_faults(root, told, name, where)))
    elif word == "prefixItems":
        for i, (one, sub) in enumerate(zip(items, told, strict=False)):
            yield from _faults(root, sub, one, f"{where}.{i}")
    elif word == "items":
        for i, one in enumerate(items):
            yield from _faults(root, told, one, f"{where}.{i}")
    else:
        raise ValueError(f"{where}: this validator does not know {word!r}")
