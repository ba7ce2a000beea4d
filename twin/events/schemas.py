"""JSON Schema of every topic's messages, made from the tables of columns and the models."""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from twin.events.columns import Column, Family, Group
from twin.events.head import Head
from twin.events.topics import TOPICS, Topic

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema_of(topic: Topic) -> dict[str, Any]:
    """Make the schema of a topic's messages: ``{"head": …, "data": …}``."""
    if isinstance(topic.data, Family):
        data, definitions = _family(topic.data), {}
    else:
        data = _model(topic.data)
        definitions = data.pop("$defs", {})
    schema: dict[str, Any] = {
        "$schema": DIALECT,
        "$id": topic.schema_id,
        "title": topic.name,
        "description": f"Key: {topic.key}. Rate: {topic.rate}.",
        "type": "object",
        "required": ["head", "data"],
        "properties": {"head": _model(Head), "data": data},
    }
    if definitions:
        schema["$defs"] = definitions
    return schema


def write_schemas(folder: Path) -> list[Path]:
    """Write a file for each topic; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for topic in TOPICS:
        path = folder / f"{topic.name}.json"
        path.write_text(json.dumps(schema_of(topic), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        paths.append(path)
    return paths


def _model(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema(by_alias=True)


def _family(family: Family) -> dict[str, Any]:
    properties: dict[str, Any] = {group.name: _group(group) for group in family.groups}
    properties["suspect"] = {
        "type": "object",
        "description": "group.column -> places that the gateway itself doubts",
        "additionalProperties": {"type": "array", "items": {"type": "integer", "minimum": 0}},
    }
    return {"type": "object", "title": family.title, "properties": properties}


def _group(group: Group) -> dict[str, Any]:
    return {"type": "object", "properties": {column.name: _column(column) for column in group.columns}}


def _column(column: Column) -> dict[str, Any]:
    if column.kind == "text":
        return {"type": "array", "items": {"type": "string", "maxLength": 200}}
    about = f"aggregate over dt_s: {column.aggregate}"
    if column.unit.symbol:
        about = f"unit {column.unit.symbol}; {about}"
    if column.resolution:
        about += f"; resolution {column.resolution:g}"
    if column.dcgm:
        about += f"; {column.dcgm}"
    number = {"type": ["number", "null"], "minimum": column.low, "maximum": column.high}
    if column.kind == "sparse":
        return {
            "type": "object",
            "description": f"index -> value, 0 elsewhere; {about}",
            "propertyNames": {"pattern": "^[0-9]+$"},
            "additionalProperties": number,
        }
    return {"type": "array", "description": about, "items": number}
