"""What the API takes: the bodies of requests. A key that a model does not know is refused."""

from typing import Annotated, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

Tick = Annotated[int, Field(ge=0, lt=2**53)]
Id = Annotated[str, Field(min_length=1, max_length=100)]
Params = Annotated[dict[str, float | str | bool], Field(max_length=20)]


class Body(BaseModel):
    """Base of all bodies."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Nothing(Body):
    """A request that needs no words."""


class SpeedBody(Body):
    """Simulated seconds per second; 0 is as fast as possible."""

    speed: float = Field(ge=0, le=10_000)


class StepBody(Body):
    """So many ticks."""

    ticks: int = Field(default=1, ge=1, le=3600)


class TickBody(Body):
    """The last tick that shall have been done."""

    tick: Tick


class LoopBody(Body):
    """From tick ``a`` to ``b``, so many times."""

    a: Tick
    b: Tick
    times: int = Field(default=1, ge=1, le=1000)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.a < self.b:
            raise ValueError("a must be before b")
        return self


class CommandBody(Body):
    """A command; the same id again is the same command."""

    id: UUID
    unit: Id
    verb: str = Field(pattern=r"^[a-z_]+\.[a-z_]+$", max_length=60)
    params: Params = Field(default_factory=dict)


class InjectBody(Body):
    """A malfunction, due now."""

    kind: str = Field(pattern=r"^[a-z_]+$", max_length=60)
    target: Id
    severity: float = Field(default=1.0, ge=0, le=1)
    ramp_s: float = Field(default=0.0, ge=0, le=86_400)
    delay_s: float = Field(default=0.0, ge=0, le=86_400)
    hold_s: float | None = Field(default=None, ge=0, le=86_400)
    params: Params = Field(default_factory=dict)
