"""What the API takes: the bodies of requests. A key that a model does not know is refused."""

from typing import Annotated, Literal, Self
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


class InstantBody(Body):
    """An instant of the recording [ms]."""

    ts: Tick


class TakeoverBody(Body):
    """Where a recording turns live [ms]; where it stands if that is not said."""

    ts: Tick | None = None


class PlayerStepBody(Body):
    """So many messages, or else seconds."""

    messages: int | None = Field(default=None, ge=1, le=4000)
    seconds: float | None = Field(default=None, gt=0, le=10)

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.messages is None) == (self.seconds is None):
            raise ValueError("say messages or seconds")
        return self


class PlayerLoopBody(Body):
    """From A to B [ms] and over again, or not any more."""

    on: bool = True
    a: Tick | None = None
    b: Tick | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.on and (self.a is None or self.b is None):
            raise ValueError("say a and b, or on: false")
        return self


class RunBody(Body):
    """What shall run: a recording, or a plant."""

    kind: Literal["live", "replay"]
    recording: str | None = Field(default=None, min_length=1, max_length=200)
    speed: float | None = Field(default=None, ge=0, le=10_000)
    paused: bool | None = None
    seed: int | None = Field(default=None, ge=0, lt=2**53)
    weather_at: str | None = Field(default=None, max_length=20)
    automatic_operator: bool | None = None
    end_active: bool = False

    @model_validator(mode="after")
    def _of_its_kind(self) -> Self:
        if (self.kind == "replay") != (self.recording is not None):
            raise ValueError("a replay has a recording, a live run has none")
        return self


class LevelBody(Body):
    """What is recorded: a level, or topics by name."""

    topics: tuple[Id, ...] = Field(default=(), max_length=100)
    full: bool = False
    instructor: bool = False


class RecordBody(LevelBody):
    """A recording, and for how long."""

    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\.mcap$", max_length=120)
    seconds: float | None = Field(default=None, gt=0, le=1e6)


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
