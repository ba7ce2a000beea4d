"""``telemetry.jobs``: the job table in full, job events, and the overflow to the cloud."""

from typing import Literal

from pydantic import Field

from twin.events.control import Message, Text


class Job(Message):
    """One job of the table: who runs where.

    ``servers`` are ranges [first, end) of the site's servers in site order.
    """

    id: str = Field(min_length=1, max_length=100)
    state_code: int = Field(ge=0, le=7)
    gpu_n: int = Field(ge=0)
    servers: tuple[tuple[int, int], ...]
    step_s: float = Field(ge=0)
    step_ratio: float = Field(ge=0)
    mfu: float = Field(ge=0, le=1)
    ettr: float = Field(ge=0, le=1)
    bw_factor: float = Field(ge=0, le=1)
    tensor_active: float = Field(ge=0, le=1)
    power_w: float = Field(ge=0)
    power_low_w: float = Field(ge=0)
    power_high_w: float = Field(ge=0)
    progress_h: float = Field(ge=0)


class JobEvent(Message):
    """Something that happened to a job in this tick."""

    job: str
    kind: Literal["start", "end", "checkpoint", "failure", "restart", "stall", "replace"]
    text: Text


class Overflow(Message):
    """Work that runs in the cloud instead of here."""

    gpu_n: int = Field(ge=0)
    usd_h: float = Field(ge=0)


class JobTable(Message):
    """Data of ``telemetry.jobs``; ``jobs`` is the whole table when ``full``, else empty."""

    full: bool
    jobs: tuple[Job, ...]
    events: tuple[JobEvent, ...]
    overflow: Overflow
    running_n: int = Field(ge=0)
    queued_n: int = Field(ge=0)
    goodput: float = Field(ge=0)
    lost_gpu_h: float = Field(ge=0)
    failures_24h_n: int = Field(ge=0)
    failures_expected_n: float = Field(ge=0)
