"""Snapshots of the plant on disk, and the way back to any tick: the last one before it, and what was applied since."""

import hashlib
import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from twin.errors import PlantError, RunError, SnapshotInvalid
from twin.events.instructor import SnapshotReference
from twin.plant import Plant, TimedCommand, TimedInject, restore, snapshot
from twin.plant.snapshot import SCHEMA
from twin.site import Site

logger = logging.getLogger(__name__)

KEEP_N = 120
STRETCH_TICKS = 500  # about two seconds of work at 200,000 GPUs
KEEP_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class _Saved:
    tick: int
    path: Path
    sha256: str
    held_n: int  # how many of the orders of its tick had been applied: they are in it


class Snapshots:
    """Keeps the snapshots of one run in a folder of its own; old ones thin out, the first one stays.

    Parameters
    ----------
    folder
        Made when the first snapshot is saved.
    site
        What the snapshots are of.
    """

    def __init__(self, folder: Path, site: Site) -> None:
        self._folder = folder
        self._site = site
        self._saved: dict[int, _Saved] = {}

    def sweep(self, now_ms: int) -> None:
        """Drop the snapshots of other runs that are older than a day: nothing leads back there any more."""
        for folder in self._folder.parent.glob("*/"):
            try:
                if folder != self._folder and 1000 * folder.stat().st_mtime < now_ms - KEEP_MS:
                    shutil.rmtree(folder)
            except OSError as exc:
                logger.warning("snapshots=left folder=%s reason=%s", folder, exc)

    def save(self, plant: Plant, branch: int, *, held_n: int = 0) -> SnapshotReference:
        """Write a snapshot to a file; return what to tell about it.

        Parameters
        ----------
        branch
            The epoch of the last jump.
        held_n
            How many orders of this tick, which come before its step, have been applied: some, after a crash.

        Raises
        ------
        RunError
            The folder is full or closed; what was saved before stays.
        """
        data = snapshot(plant)
        digest = hashlib.sha256(data).hexdigest()
        path = self._folder / f"{plant.tick:012d}.plant.zst"
        partial = path.with_suffix(".part")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(data)
            partial.replace(path)
        except OSError as exc:
            logger.warning("snapshot=unwritten path=%s reason=%s", path, exc)
            raise RunError(
                f"the snapshot of tick {plant.tick} cannot be written ({exc.strerror}): free space, mend the rights of "
                "the data folder, or choose another (COLOSSUS_DATA_DIR)"
            ) from exc
        self._saved[plant.tick] = _Saved(plant.tick, path, digest, held_n)
        self._thin_out()
        return SnapshotReference(
            tick=plant.tick, branch=branch, path=str(path), sha256=digest, bytes=len(data), schema_id=SCHEMA
        )

    def adopt(self, reference: SnapshotReference, *, held_n: int) -> None:
        """Take over a snapshot that another owner of the run has saved into this folder; one that is gone is left."""
        path = self._folder / Path(reference.path).name
        if not path.exists():
            return
        self._saved[reference.tick] = _Saved(reference.tick, path, reference.sha256, held_n)

    def _thin_out(self) -> None:
        """Drop the one that is missed least: the way back from any tick grows with how long ago it is."""
        while len(self._saved) > KEEP_N:
            ticks = sorted(self._saved)
            gaps = {
                tick: (after - before) / (ticks[-1] - tick)
                for before, tick, after in zip(ticks, ticks[1:-1], ticks[2:], strict=False)
            }
            self._drop(min(gaps, key=gaps.__getitem__))

    def back_to(
        self,
        plant_tick: int,
        log: list[TimedCommand | TimedInject],
        *,
        meanwhile: Callable[[], None],
        with_last: bool = False,
    ) -> Plant:
        """Rebuild the plant as it was after so many steps.

        Parameters
        ----------
        plant_tick
            Steps done.
        log
            All that was applied, with its tick.
        meanwhile
            Called now and then on a long way: the lease must be renewed.
        with_last
            Apply what was applied after the last of these steps, too.

        Raises
        ------
        RunError
            No snapshot lies before it, its file is damaged, or the plant does not take again what it took.
        """
        ticks = [tick for tick in self._saved if tick <= plant_tick]
        if not ticks:
            oldest = f"; the oldest is of tick {min(self._saved)}" if self._saved else " is left"
            raise RunError(f"no snapshot before tick {plant_tick}{oldest}")
        saved = self._saved[max(ticks)]
        actions = [action for action in log if saved.tick <= action.tick < plant_tick + with_last]
        held = [action for action in actions if action.tick == saved.tick][: saved.held_n]
        actions = [action for action in actions if not any(action is one for one in held)]
        try:
            data, at = _read(saved), saved.tick
            while plant_tick - at > STRETCH_TICKS:
                upto = at + STRETCH_TICKS
                data = snapshot(restore(data, [a for a in actions if at <= a.tick < upto], upto, site=self._site))
                at = upto
                meanwhile()
            return restore(data, [a for a in actions if a.tick >= at], plant_tick, site=self._site)
        except (OSError, PlantError) as exc:
            logger.warning("snapshot=unusable path=%s reason=%s", saved.path, exc)
            reason = exc.strerror if isinstance(exc, OSError) else exc
            raise RunError(f"the snapshot of tick {saved.tick} cannot be used: {reason}") from exc

    def forget_after(self, plant_tick: int) -> None:
        """Drop the snapshots of a branch that is left."""
        for tick in [tick for tick in self._saved if tick > plant_tick]:
            self._drop(tick)

    def _drop(self, tick: int) -> None:
        saved = self._saved.pop(tick)
        try:
            saved.path.unlink(missing_ok=True)
        except OSError as exc:
            logger.warning("snapshot=left path=%s reason=%s", saved.path, exc)


def _read(saved: _Saved) -> bytes:
    data = saved.path.read_bytes()
    if hashlib.sha256(data).hexdigest() != saved.sha256:
        raise SnapshotInvalid("its bytes have changed")
    return data
