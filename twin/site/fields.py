"""The kinds of number that a site file may hold, and the base of all its models."""

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

EXTENSIVE: dict[str, Any] = {"extensive": True}

Number = Annotated[float, Field(strict=True)]
"""Any finite number."""

Positive = Annotated[float, Field(strict=True, gt=0.0)]
"""A number above zero that is the same at every size of site."""

NotNegative = Annotated[float, Field(strict=True, ge=0.0)]
"""Zero or more, the same at every size of site."""

Ratio = Annotated[float, Field(strict=True, ge=0.0, le=1.0)]
"""A share, 0..1."""

Extensive = Annotated[float, Field(strict=True, gt=0.0, json_schema_extra=EXTENSIVE)]
"""A rating, volume or limit that grows with the number of GPUs: scaled in a site made ``like`` another."""

Count = Annotated[int, Field(strict=True, ge=1, le=100_000)]
"""How many there are, at least one."""

CountOrNone = Annotated[int, Field(strict=True, ge=0, le=100_000)]
"""How many there are, perhaps none."""

GpuCount = Annotated[int, Field(strict=True, ge=1, le=10_000_000)]
"""How many GPUs a job holds."""

Name = Annotated[str, Field(strict=True, min_length=1, max_length=80)]
"""A text of one line."""

Sextet = tuple[Number, Number, Number, Number, Number, Number]
"""Six coefficients of a biquadratic fit: 1, x, x^2, y, y^2, x y."""

Triplet = tuple[Number, Number, Number]
"""Three coefficients of a quadratic fit: 1, x, x^2."""


class Nameplate(BaseModel):
    """The base of every model of a site file: frozen, and no key that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def numbers(model: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any, bool]]:
    """Walk through every number of a model, however deep.

    Yields
    ------
    path, value, extensive
        Dotted path as in the file, a number or a tuple of numbers, and whether it grows with the site.
    """
    for name, field in type(model).model_fields.items():
        extensive = field.json_schema_extra == EXTENSIVE
        yield from _numbers_in(getattr(model, name), f"{prefix}{name}", extensive)


def _numbers_in(value: object, path: str, extensive: bool) -> Iterator[tuple[str, Any, bool]]:
    match value:
        case BaseModel():
            yield from numbers(value, f"{path}.")
        case bool():
            return
        case int() | float() | (float(), *_):
            yield path, value, extensive
        case dict():
            for key, item in value.items():
                yield from _numbers_in(item, f"{path}.{key}", extensive)
        case tuple():
            for i, item in enumerate(value):
                yield from _numbers_in(item, f"{path}.{i}", extensive)
