"""With and without the trainee: the same plant run on from the same instant, with other orders; what each has cost."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from producers.differences import Difference
from producers.past import Action
from producers.rebuild import Rebuilt, compared, run_on
from twin.plant import TimedCommand, TimedInject, restore
from twin.plant.tally import FIGURES, Tally
from twin.recording.reader import Recording

RECORDED, YOURS, NONE = "recorded", "yours", "none"
_MEANINGS = {
    RECORDED: "the recorded orders again",
    YOURS: "yours",
    NONE: "no command after T",
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a stretch of a run has cost, by who was at the desk.

    Attributes
    ----------
    from_tick, to_tick
        The first and the last tick that were counted.
    columns
        ``recorded``, ``yours``, and ``none`` if that is another thing -> figure -> value, in the unit of its name.
    commands_n
        How many commands the plant of each of them took.
    added_n
        How many injects were given meanwhile that the recorded run did not have: each column has them, for they are
        not the trainee's doing.
    model_error
        How far the model is from the recorded frames of the last tick with the recorded orders; ``None``: the
        recording does not reach so far, or something was injected that it did not have.
    """

    run: str
    site: str
    from_tick: int
    to_tick: int
    columns: dict[str, dict[str, float]]
    commands_n: dict[str, int]
    added_n: int
    model_error: Difference | None

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON can carry it."""
        told = asdict(self)
        error = self.model_error
        if error is not None:
            told["model_error"] = asdict(error) | {
                "resolutions": error.resolutions if math.isfinite(error.resolutions) else None,
                "within": error.within,
                "text": error.text(),
            }
        told["effect"] = self.effect()
        return told

    def effect(self) -> dict[str, float]:
        """Return what the trainee has changed: ``yours`` less ``recorded``."""
        recorded, yours = self.columns[RECORDED], self.columns[YOURS]
        return {name: yours[name] - recorded[name] for name in recorded}

    def lines(self) -> list[str]:
        """Return a table for people; a figure that is 0 in every column is left out."""
        effect = self.effect()
        rows = [["", *self.columns, f"{YOURS} - {RECORDED}"]]
        for figure in FIGURES:
            values = [column[figure.name] for column in self.columns.values()]
            if any(values):
                change = f"{effect[figure.name] * figure.scale:+.{figure.digits}f}"
                shown = [f"{value * figure.scale:.{figure.digits}f}" for value in values]
                rows.append([figure.label, *shown, "0" if not float(change) else change])
        rows.append(["commands", *(str(self.commands_n[name]) for name in self.columns), ""])
        widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
        head = f"run {self.run} of {self.site}, ticks {self.from_tick} to {self.to_tick}"
        columns = ", ".join(f"{name}: {_MEANINGS[name]}" for name in self.columns if name != YOURS)
        error = self.model_error
        other = "injects were given that it did not have" if self.added_n else "the recording does not reach so far"
        model = other if error is None else error.text()
        added = f"; {self.added_n} injects given meanwhile are in every column" if self.added_n else ""
        return [
            f"{head} ({columns}{added})",
            *("  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows),
            f"model against the recorded tick {self.to_tick}: {model}",
        ]


def compare(
    rebuilt: Rebuilt,
    recording: Recording,
    *,
    yours: Sequence[Action],
    automatic_operator: bool,
    to_tick: int,
) -> Comparison:
    """Run the plant of an instant on with the recorded orders, with the trainee's, and with none.

    Parameters
    ----------
    rebuilt
        The recorded run at that instant; what has become of its plant since does not matter.
    recording
        What it was rebuilt from.
    yours
        What the plant took of the trainee from that instant on, and what came by itself meanwhile.
    automatic_operator
        Whether the trainee had one; the recorded run had what its snapshot says.
    to_tick
        The last tick that is counted.

    Raises
    ------
    PlantError
        The plant refuses what it once accepted.
    RecordingInvalid
        A part of the file cannot be read.
    """
    site, steps = rebuilt.plant.site, to_tick + 1
    first = restore(rebuilt.start, site=site)
    future, to_come, yours = (
        [one for one in orders if one.tick < steps] for orders in (rebuilt.future, rebuilt.to_come, yours)
    )
    added = [one for one in yours if isinstance(one, TimedInject) and one not in to_come]
    wanted: dict[str, tuple[bool, Sequence[Action]]] = {
        RECORDED: (first.automatic_operator, [*future, *added]),
        YOURS: (automatic_operator, yours),
    }
    if _commands_n(future) or first.automatic_operator != automatic_operator:
        wanted[NONE] = (automatic_operator, [*to_come, *added])
    columns, commands_n, error = {}, {}, None
    for name, (by_itself, orders) in wanted.items():
        plant = restore(rebuilt.start, site=site)
        plant.automatic_operator = by_itself
        tally = Tally(plant)
        # What is broken meanwhile can make a recorded order impossible.
        refused: list[Action] = []
        on_refusal = refused.append if added else None
        run_on(plant, orders, steps, rebuilt.control.dt_s, tally.observe, refused=on_refusal)
        columns[name] = tally.figures()
        commands_n[name] = _commands_n(orders) - _commands_n(refused)
        if name == RECORDED and to_tick in rebuilt.line and not added:
            error = compared(plant, recording, rebuilt.line[to_tick])
    return Comparison(
        run=rebuilt.moment.run,
        site=site.id,
        from_tick=first.tick,
        to_tick=to_tick,
        columns=columns,
        commands_n=commands_n,
        added_n=len(added),
        model_error=error if error is not None and error.compared_n else None,
    )


def _commands_n(orders: Iterable[Action]) -> int:
    return sum(isinstance(order, TimedCommand) for order in orders)
