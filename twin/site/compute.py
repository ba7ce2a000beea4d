"""What computes: GPUs, servers, racks, the network between them, and the jobs at the start."""

from typing import Annotated, Literal

from pydantic import Field

from twin.site.fields import Count, GpuCount, Name, Nameplate, NotNegative, Number, Positive, Ratio


class GpuModel(Nameplate):
    """Nameplate of one kind of GPU, with its cold plate."""

    name: Name
    power_max_w: Positive
    power_min_w: Positive = Field(description="lowest power cap that the GPU takes [W]")
    power_idle_w: Positive
    sm_clock_max_mhz: Positive
    sm_clock_idle_mhz: Positive
    mem_clock_mhz: Positive
    fb_total_mib: Positive
    bf16_peak_flop_s: Positive = Field(description="dense BF16 [FLOP/s]")
    max_operating_c: Number
    throttle_release_c: Number
    slowdown_c: Number
    shutdown_c: Number
    hbm_max_c: Number
    hbm_rise_idle_k: NotNegative = Field(description="memory above GPU at idle [K]")
    hbm_rise_loaded_k: NotNegative = Field(description="memory above GPU at full load [K]")
    resistance_k_per_w: Positive = Field(description="GPU to rack coolant at nominal flow [K/W]")
    flow_exponent: Number = Field(description="resistance ~ flow ratio to this power")
    tau_s: Positive = Field(description="thermal time constant at nominal flow [s]")
    leak_per_k: NotNegative = Field(description="growth of dynamic power above the reference [1/K]")
    leak_reference_c: Number
    clock_exponent: Positive = Field(description="dynamic power ~ clock ratio to this power")
    slowdown_clock_ratio: Ratio
    throttle_step_per_s: Positive = Field(description="loss of clock ratio while too hot [1/s]")


class Server(Nameplate):
    """Nameplate of one GPU server: all that is not GPU, and its power supplies."""

    name: Name
    base_idle_w: Positive
    base_loaded_w: Positive
    psu_efficiency: Ratio
    rated_power_w: Positive
    liquid_capture_ratio: Ratio = Field(description="share of the input power that reaches the CDU")


class Rack(Nameplate):
    """How many servers and GPUs a rack holds, and how racks stand on the floor."""

    name: Name
    servers_n: Count
    gpus_per_server_n: Count
    racks_per_array_n: Count
    arrays_per_row_n: Count = Field(description="arrays that stand side by side in a row of the floor")
    rated_power_w: Positive


class Network(Nameplate):
    """The fabric as far as the twin knows it: rails of leaf switches."""

    rails_n: Count = Field(description="leaf switches of an array: one per GPU of a server")
    link_bit_s: Positive
    throughput_ratio: Ratio
    nccl_timeout_s: Positive
    link_failures_per_month: NotNegative = Field(description="of one link [1/month]")
    switch_failures_per_month: NotNegative = Field(description="of one switch [1/month]")


class Block(Nameplate):
    """GPUs of a job in one piece: so many in site order, from the first of a server."""

    start: Annotated[str, Field(strict=True, pattern=r"^R\d{1,9}-s\d{1,3}$")]
    gpus_n: GpuCount


class Job(Nameplate):
    """One job of the layout that a plant begins with."""

    kind: Literal["training", "inference", "small", "fill"]
    preemptible: bool
    blocks: Annotated[tuple[Block, ...], Field(min_length=1)]
    spares: tuple[Block, ...] = Field(description="GPUs that replace a lost server of this job")
    activity_high: Ratio
    activity_low: Ratio
    step_s: Positive
    duty_ratio: Ratio = Field(description="share of a step at the high activity")
    checkpoint_interval_s: NotNegative = Field(description="0: saves nothing [s]")
    checkpoint_s: NotNegative
    checkpoint_activity: Ratio
    partial_restart_s: NotNegative
    full_restart_s: NotNegative

    @property
    def gpus_n(self) -> int:
        """Count the GPUs of the job."""
        return sum(block.gpus_n for block in self.blocks)
