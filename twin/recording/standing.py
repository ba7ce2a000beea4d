"""Where a player stands, as ``run.control`` tells it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from twin.events.control import PlayerState
from twin.recording.item import NS_PER_MS
from twin.recording.reader import Damage
from twin.recording.schedule import Schedule

if TYPE_CHECKING:
    from twin.recording.player import Player


def state_of(
    player: "Player", schedule: Schedule, now_s: float, damages: Sequence[Damage], left_out_n: int
) -> PlayerState:
    """Return where a player stands.

    Parameters
    ----------
    schedule
        Its clock.
    now_s
        A clock that never goes back [s].
    damages
        What could not be read.
    left_out_n
        How many messages cannot be of what is played.
    """
    span = player.span
    notes = {
        "waits for the bus or its readers": player.held_back,
        f"{len(damages)} damaged parts are left out, the first: {damages[0].reason if damages else ''}": damages,
        f"{left_out_n} messages that cannot be of what is played are left out": left_out_n,
    }
    return PlayerState(
        recording=player.recording.path.name[:200],
        phase=player.phase,
        clock_ms=min(player.position_ns, span.end_ns) // NS_PER_MS,
        from_ms=span.start_ns // NS_PER_MS,
        to_ms=span.end_ns // NS_PER_MS,
        speed=schedule.speed,
        reached=round(schedule.reached(now_s), 3) if player.phase == "playing" else 0.0,
        loop_ms=None if span.loop_ns is None else (span.loop_ns[0] // NS_PER_MS, span.loop_ns[1] // NS_PER_MS),
        original_time=player.original_time,
        timing_p99_ms=round(1000 * schedule.late_s(0.99), 3),
        slowed_s=round(schedule.slowed_s, 3),
        sent_n=player.sent_n,
        moved_by=player.moved_by,
        note="; ".join(text for text, holds in notes.items() if holds)[:1000],
    )
