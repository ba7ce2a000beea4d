"""``telemetry.gpu``: one gateway's scan of one array: its GPUs, servers and rack CDUs, in site order."""

from twin.events.columns import Column, Family, Group, flag, flow, power, ratio, temp

GPU = Group(
    "gpu",
    (
        Column("power_w", 1, 0, 5000, "mean", dcgm="DCGM_FI_DEV_POWER_USAGE 155"),
        Column("gpu_temp_c", 0.1, -40, 200, "sample", dcgm="DCGM_FI_DEV_GPU_TEMP 150"),
        Column("mem_temp_c", 0.1, -40, 200, "sample", dcgm="DCGM_FI_DEV_MEMORY_TEMP 140"),
        Column("sm_clock_mhz", 1, 0, 5000, "sample", dcgm="DCGM_FI_DEV_SM_CLOCK 100"),
        Column("sm_active", 0.001, 0, 1, "mean", dcgm="DCGM_FI_PROF_SM_ACTIVE 1002"),
        Column("tensor_active", 0.001, 0, 1, "mean", dcgm="DCGM_FI_PROF_PIPE_TENSOR_ACTIVE 1004"),
        Column("fb_used_mib", 1, 0, 1_000_000, "sample", dcgm="DCGM_FI_DEV_FB_USED 252"),
        Column("clocks_event_reasons", 1, 0, 2**31, "or", "sparse", "DCGM_FI_DEV_CLOCKS_EVENT_REASONS 112"),
        Column("xid", 1, 0, 1000, "sample", "sparse", "DCGM_FI_DEV_XID_ERRORS 230"),
        Column("xid_n", 1, 0, 2**31, "sum", "sparse"),
        Column("ecc_dbe", 1, 0, 2**31, "sum", "sparse", "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL 311"),
        Column("row_remap_failed", 1, 0, 2**31, "sum", "sparse", "DCGM_FI_DEV_ROW_REMAP_FAILURE 395"),
        Column("nvlink_errors", 1, 0, 2**31, "sum", "sparse", "DCGM_FI_DEV_NVLINK_* 409+419+429+439"),
    ),
    measurement="gpu",
)
SERVER = Group("server", (Column("power_w", 1, 0, 100_000, "mean"),))
CDU = Group(
    "cdu",
    (
        temp("supply_c"),
        temp("return_c"),
        flow("flow_l_min"),
        temp("facility_supply_c"),
        temp("facility_return_c"),
        flow("facility_flow_l_min"),
        ratio("pump_speed_ratio", 1.5),
        power("pump_power_w"),
        ratio("valve"),
        flag("leak"),
    ),
    measurement="cdu",
)
TELEMETRY_GPU = Family("telemetry.gpu/1", "One gateway's scan of an array of racks", (GPU, SERVER, CDU))
