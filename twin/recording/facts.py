"""What a recording says of itself: its run, its topics, who wrote it."""

import json
import platform
from importlib.metadata import version

from twin.bus.base import Bus
from twin.events.control import RunControl, RunRequest
from twin.events.head import Head, encode_model
from twin.events.topics import BY_NAME, full_name
from twin.recording import black_box
from twin.recording.levels import Selection
from twin.run import last_control

CLOCK = (
    "log_time is the bus's timestamp, never going back within a partition; one that is missing, more than 60 s ahead "
    "of its receipt, or more than 10 minutes before the recording, counts as received then; what a compacted topic "
    "held at the start is of the start"
)
_OF_THE_RUN = ("run", "site", "site_crc", "seed", "dt_s", "weather_at")
_PACKAGES = {"twin": "colossus-twin", "kafka-python": "kafka-python", "mcap": "mcap"}


def ask_for_snapshot(bus: Bus, namespace: str, now_ms: int) -> None:
    """Ask the owner of the run for a snapshot: a recording can be taken over from its first one on.

    Parameters
    ----------
    bus, namespace
        Where the run is; without one nothing is asked.
    now_ms
        The time of day [ms since 1970].
    """
    control = control_there(bus, namespace, now_ms)
    if control is None or control.state == "ended" or control.kind == "replay":
        return
    request = RunRequest(id=f"recorder-{now_ms}", verb="snapshot", by="recorder")
    head = Head(
        schema_id=BY_NAME["run.requests"].schema_id, run=control.run, epoch=control.epoch,
        tick=max(control.settled_tick, 0), seq=now_ms, ts=now_ms, dt_s=control.dt_s, key=control.run,
    )  # fmt: skip
    bus.publish(full_name("run.requests", namespace), encode_model(head, request), key=control.run.encode())


def control_there(bus: Bus, namespace: str, now_ms: int) -> RunControl | None:
    """Return the last word of the namespace's run, ``None`` where there is none, as on a bus that is not ours."""
    there = full_name("run.control", namespace) in bus.topics()
    return last_control(bus, namespace, now_ms) if there else None


def facts_of(bus: Bus, namespace: str, selection: Selection, now_ms: int) -> dict[str, str]:
    """Return the facts at the beginning of a recording.

    Parameters
    ----------
    bus, namespace
        Where it is recorded.
    selection
        What is.
    now_ms
        The time of day [ms since 1970].

    Raises
    ------
    BusError
        A topic is missing, or the bus does not answer.
    """
    facts = {
        "started_ms": str(now_ms),
        "level": selection.level,
        "instructor": "yes" if selection.instructor else "no",
        "namespace": namespace,
        "topics": json.dumps({short: bus.partitions(name) for name, short in sorted(selection.names.items())}),
        "versions": json.dumps(
            {"python": platform.python_version()} | {name: version(package) for name, package in _PACKAGES.items()}
        ),
        "clock": CLOCK,
    }
    if selection.held:
        facts["black_box"] = (
            f"{', '.join(sorted(selection.held.values()))}: {black_box.KEPT_S:g} s before and after each alarm that is "
            f"raised, or on command; held in at most {black_box.MAX_BYTES >> 20} MiB, beyond it the oldest are dropped"
        )
    control = control_there(bus, namespace, now_ms)
    if control is not None:
        facts |= {name: str(getattr(control, name)) for name in _OF_THE_RUN}
    return facts
