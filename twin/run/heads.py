"""Heads of what an owner publishes: run, epoch, tick, display time, and a number per topic, key and epoch."""

from collections import defaultdict

from twin.events.head import Head
from twin.events.topics import BY_NAME
from twin.run.owner import RunOwner


class Heads:
    """Counts sequence numbers.

    Parameters
    ----------
    owner
        The run: its identity.
    """

    def __init__(self, owner: RunOwner) -> None:
        self._owner = owner
        self._seq: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._epoch = -1

    def next(self, topic: str, key: str, *, tick: int, ts: int) -> Head:
        """Return the head of the next message of a key."""
        owner = self._owner
        if owner.epoch != self._epoch:
            self._epoch = owner.epoch
            self._seq.clear()
        seq = self._seq[topic, key]
        self._seq[topic, key] = seq + 1
        # Built without validation: every part comes from the owner of the run.
        return Head.model_construct(
            schema_id=BY_NAME[topic].schema_id,
            run=owner.run,
            epoch=owner.epoch,
            tick=max(tick, 0),
            seq=seq,
            ts=ts,
            dt_s=owner.plan.dt_s,
            key=key,
        )
