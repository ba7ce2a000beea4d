"""What will happen in a run that was taken over, whoever sits at the desk: kept in a file, for one who resumes it."""

import logging
from collections.abc import Sequence
from pathlib import Path

import pydantic

from producers.past import Action
from twin.errors import RunError

logger = logging.getLogger(__name__)

_NAME = "to-come.json"
_ACTIONS = pydantic.TypeAdapter(list[Action])


def keep(folder: Path, actions: Sequence[Action]) -> None:
    """Write down what is to come.

    Parameters
    ----------
    folder
        Of the run; its snapshots lie there, too.
    actions
        Each with its tick.

    Raises
    ------
    RunError
        It cannot be written.
    """
    try:
        (folder / _NAME).write_bytes(_ACTIONS.dump_json(list(actions)))
    except OSError as exc:
        raise RunError(f"{folder / _NAME} cannot be written ({exc.strerror}): free space in the data folder") from exc


def kept(folder: Path) -> list[Action]:
    """Return what is to come in a run; nothing in one that was not taken over."""
    path = folder / _NAME
    try:
        return _ACTIONS.validate_json(path.read_bytes()) if path.exists() else []
    except (OSError, pydantic.ValidationError) as exc:
        logger.warning("to_come=lost path=%s reason=%s", path, str(exc).partition("\n")[0])
        return []
