"""The kinds of number that a site file may hold, and the base of all its models."""

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

Count = Annotated[int, Field(strict=True, ge=1)]
"""How many there are, at least one."""

CountOrNone = Annotated[int, Field(strict=True, ge=0)]
"""How many there are, perhaps none."""

Name = Annotated[str, Field(strict=True, min_length=1, max_length=80)]
"""A text of one line."""

Sextet = Annotated[tuple[float, float, float, float, float, float], Field(strict=False)]
"""Six coefficients of a biquadratic fit: 1, x, x^2, y, y^2, x y."""

Triplet = Annotated[tuple[float, float, float], Field(strict=False)]
"""Three coefficients of a quadratic fit: 1, x, x^2."""


class Nameplate(BaseModel):
    """The base of every model of a site file: frozen, and no key that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
