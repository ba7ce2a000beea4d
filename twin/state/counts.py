"""Counts of what came in, by topic, and how late: read and begun anew with every ``twin.health``."""

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from twin.events.derived import IngestHealth
from twin.state.sequence import Sequence, Verdict

_LAGS = 4096  # enough for ten seconds of a whole site


@dataclass(slots=True)
class Intake:
    """What one topic gave since the last report."""

    frames: int = 0
    dead: int = 0
    gaps: int = 0
    duplicates: int = 0
    late: int = 0
    other_run: int = 0
    suspects: int = 0
    lags_s: deque[float] = field(default_factory=lambda: deque(maxlen=_LAGS))

    def number(self, sequence: Sequence, seq: int) -> Verdict:
        """Count a sequence number in: duplicates, and gaps that are certain by now."""
        before = sequence.missing
        verdict = sequence.take(seq)
        self.gaps += sequence.missing - before
        self.duplicates += verdict == "duplicate"
        return verdict

    def report(self, topic: str, seconds: float, *, age_max_s: float, control_age_s: float, lag: int) -> IngestHealth:
        """Say what came in the last ``seconds``, and begin anew."""
        lags = np.array(self.lags_s) if self.lags_s else np.zeros(1)
        health = IngestHealth(
            topic=topic,
            frames_hz=round(self.frames / max(seconds, 1e-3), 3),
            lag_p50_s=round(float(np.percentile(lags, 50)), 4),
            lag_p99_s=round(float(np.percentile(lags, 99)), 4),
            age_max_s=round(age_max_s, 3),
            control_age_s=round(min(control_age_s, 1e9), 3),
            kafka_lag_n=lag,
            suspect_n=self.suspects,
            dead_n=self.dead,
            gap_n=self.gaps,
            duplicate_n=self.duplicates,
            late_n=self.late,
            other_run_n=self.other_run,
        )
        self.frames = self.dead = self.gaps = self.duplicates = self.late = self.other_run = self.suspects = 0
        self.lags_s.clear()
        return health
