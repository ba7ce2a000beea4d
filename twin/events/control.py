"""Messages that steer a run: ``run.control``, ``run.requests``, ``commands``, ``command_results``."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from twin.events.head import RUN_PATTERN

RunKind = Literal["live", "replay", "drill"]
RunState = Literal["running", "paused", "frozen", "ended"]
RUN_STATE_CODES: dict[RunState, int] = {"ended": 0, "paused": 1, "frozen": 2, "running": 3}
TEXT_MAX = 1000
DT_MAX_S = 3600
Text = Annotated[str, Field(max_length=TEXT_MAX)]


class Message(BaseModel):
    """Base of the data of a message: unknown fields are passed over, so that adding one is safe."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Line(Message):
    """Display time of one epoch: ``ts = ts0 + (tick - tick0) * ms_per_tick``."""

    ts0: int = Field(ge=0, lt=2**53)
    tick0: int = Field(ge=0, lt=2**53)
    ms_per_tick: int = Field(ge=1, lt=2**31)


class RunControl(Message):
    """The state of a run, re-sent every second by the owner of the lease.

    ``settled_tick`` is the last tick whose frames were all sent before this message.
    """

    run: str = Field(pattern=RUN_PATTERN)
    epoch: int = Field(ge=0, lt=2**31)
    line: Line
    kind: RunKind
    continues: bool
    automatic_operator: bool
    lock_step: bool
    site: str
    site_crc: str
    seed: int = Field(ge=0)
    dt_s: float = Field(gt=0, le=DT_MAX_S)
    weather_at: str
    site_time: str = Field(description="local standard time of the typical year, MM-DDTHH:MM:SS")
    state: RunState
    speed: float = Field(ge=0)
    speed_reached: float = Field(ge=0)
    settled_tick: int = Field(ge=-1, lt=2**53)
    owner: str = Field(max_length=200)
    sent_ms: int = Field(ge=0)
    lease_expires_ms: int = Field(ge=0)
    answers: str | None = None
    error: Text | None = None
    player: "PlayerState | None" = None


PlayerPhase = Literal["idle", "playing", "paused", "seeking", "ended"]


class PlayerState(Message):
    """Where a player stands; instants are those of the recording's clock [ms since 1970]."""

    recording: str = Field(max_length=200)
    phase: PlayerPhase
    clock_ms: int = Field(ge=0)
    from_ms: int = Field(ge=0)
    to_ms: int = Field(ge=0)
    speed: float = Field(ge=0, description="0: as fast as possible")
    reached: float = Field(ge=0)
    loop_ms: tuple[int, int] | None = None
    original_time: bool = False
    timing_p99_ms: float = Field(ge=0, description="how late messages went out, against the clock")
    slowed_s: float = Field(ge=0, description="how much the clock has waited for the bus and its readers")
    sent_n: int = Field(ge=0)
    moved_by: str = Field(max_length=200, default="")
    note: Text = ""


RequestVerb = Literal[
    "start",
    "pause",
    "resume",
    "freeze",
    "speed",
    "step",
    "seek",
    "loop",
    "snapshot",
    "backtrack",
    "takeover",
    "end",
]


class RunRequest(Message):
    """A wish to the owner of the lease, answered by the next ``run.control`` with ``answers`` = ``id``.

    ``params``: ``speed {speed}``, ``step {ticks}``, ``seek {tick}``, ``loop {a, b, times}``,
    ``backtrack {tick}``, ``start {site, seed, speed, kind, weather_at}``. To a player: ``step {messages}`` or
    ``{seconds}``, ``seek {ts}``, ``loop {a, b}`` or ``{on: false}``, ``takeover {ts}``, instants on the recording's
    clock [ms].
    """

    id: str = Field(min_length=1, max_length=100)
    verb: RequestVerb
    by: str = Field(max_length=200)
    params: dict[str, Any] = Field(default_factory=dict)


class Command(Message):
    """An operator's wish; the plant accepts or rejects it."""

    id: str = Field(min_length=1, max_length=100)
    run: str = Field(pattern=RUN_PATTERN)
    verb: str = Field(pattern=r"^[a-z_]+\.[a-z_]+$", max_length=60)
    unit: str = Field(min_length=1, max_length=100)
    params: dict[str, float | str | bool] = Field(default_factory=dict)
    by: str = Field(max_length=200)
    expires_ms: int = Field(ge=0, description="wall clock [ms]; later it is rejected as expired")


class CommandResult(Message):
    """What became of a command."""

    command_id: str
    verb: str
    unit: str
    by: str
    accepted: bool
    reason: Text
    applied_tick: int = Field(ge=0)
    params: dict[str, float | str | bool] = Field(default_factory=dict)
