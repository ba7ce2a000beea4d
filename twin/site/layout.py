"""Where everything stands: halls, arrays, racks, servers and GPUs as ids and index arrays."""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from twin.errors import SiteInvalid

IntArray = npt.NDArray[np.int32]

_IN_RACK = re.compile(r"(R\d+)-(s|g)(\d+)")


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Halls, arrays, racks and GPUs in site order, which is also the order of every frame's columns.

    ``x_first_y`` has one entry more than there are x: the y of x ``i`` are
    ``range(x_first_y[i], x_first_y[i + 1])``.
    """

    hall_ids: tuple[str, ...]
    array_ids: tuple[str, ...]
    rack_ids: tuple[str, ...]
    branch_ids: tuple[str, ...]
    hall_first_array: IntArray
    hall_first_rack: IntArray
    array_hall: IntArray
    array_branch: IntArray
    array_first_rack: IntArray
    rack_array: IntArray
    rack_hall: IntArray
    rack_branch: IntArray
    rack_row: IntArray
    rack_pos: IntArray
    rack_first_server: IntArray
    rack_first_gpu: IntArray
    branch_hall: IntArray
    branch_first_array: IntArray
    gpus_per_server: int
    _hall_index: dict[str, int] = field(init=False, repr=False)
    _array_index: dict[str, int] = field(init=False, repr=False)
    _rack_index: dict[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for name, ids in (("hall", self.hall_ids), ("array", self.array_ids), ("rack", self.rack_ids)):
            object.__setattr__(self, f"_{name}_index", {id_: i for i, id_ in enumerate(ids)})

    @property
    def hall_count(self) -> int:
        """Count the halls."""
        return len(self.hall_ids)

    @property
    def array_count(self) -> int:
        """Count the arrays."""
        return len(self.array_ids)

    @property
    def rack_count(self) -> int:
        """Count the racks."""
        return len(self.rack_ids)

    @property
    def branch_count(self) -> int:
        """Count the branches of all loops."""
        return len(self.branch_ids)

    @property
    def server_count(self) -> int:
        """Count the servers."""
        return int(self.rack_first_server[-1])

    @property
    def gpu_count(self) -> int:
        """Count the GPUs."""
        return int(self.rack_first_gpu[-1])

    def hall_index(self, hall_id: str) -> int:
        """Find the index of a hall.

        Raises
        ------
        SiteInvalid
            No such hall.
        """
        return _look_up(self._hall_index, hall_id, "hall")

    def array_index(self, array_id: str) -> int:
        """Find the index of an array.

        Raises
        ------
        SiteInvalid
            No such array.
        """
        return _look_up(self._array_index, array_id, "array")

    def rack_index(self, rack_id: str) -> int:
        """Find the index of a rack.

        Raises
        ------
        SiteInvalid
            No such rack.
        """
        return _look_up(self._rack_index, rack_id, "rack")

    def server_index(self, server_id: str) -> int:
        """Find the index in the site of a server such as ``R2435-s2``.

        Raises
        ------
        SiteInvalid
            No such server.
        """
        return self._in_rack(server_id, "s", self.rack_first_server)

    def gpu_index(self, gpu_id: str) -> int:
        """Find the index in the site of a GPU such as ``R2435-g17``.

        Raises
        ------
        SiteInvalid
            No such GPU.
        """
        return self._in_rack(gpu_id, "g", self.rack_first_gpu)

    def server_id(self, server: int) -> str:
        """Name a server by its index in the site."""
        rack = int(np.searchsorted(self.rack_first_server, server, side="right")) - 1
        return f"{self.rack_ids[rack]}-s{server - int(self.rack_first_server[rack])}"

    def gpu_id(self, gpu: int) -> str:
        """Name a GPU by its index in the site."""
        rack = int(np.searchsorted(self.rack_first_gpu, gpu, side="right")) - 1
        return f"{self.rack_ids[rack]}-g{gpu - int(self.rack_first_gpu[rack])}"

    def _in_rack(self, asset_id: str, letter: str, first: IntArray) -> int:
        match = _IN_RACK.fullmatch(asset_id)
        if match is not None and match[2] == letter and match[1] in self._rack_index:
            rack = self._rack_index[match[1]]
            index = int(first[rack]) + int(match[3])
            if index < first[rack + 1] and match[3] == str(int(match[3])):
                return index
        kind, last = ("server", "s7") if letter == "s" else ("GPU", "g63")
        raise SiteInvalid(f"no {kind} {asset_id!r}: allowed are ids like R0001-{last} of an existing rack")


def build_layout(
    *,
    hall_racks: Sequence[tuple[str, int]],
    servers_per_rack: int,
    gpus_per_server: int,
    racks_per_array: int,
    arrays_per_row: int,
    arrays_per_branch: int,
) -> Layout:
    """Lay a site out from a few counts.

    Arrays and branches do not cross halls: the last of a hall may be shorter. On the floor an array is
    its racks side by side; ``arrays_per_row`` arrays make a row, and rows and positions begin at 0 in each
    hall.

    Parameters
    ----------
    hall_racks
        Id and number of racks of each hall, in site order.
    servers_per_rack, gpus_per_server, racks_per_array, arrays_per_row, arrays_per_branch
        Counts, each at least 1.

    Examples
    --------
    >>> layout = build_layout(hall_racks=[("H1", 3), ("H2", 2)], servers_per_rack=8, gpus_per_server=8,
    ...                       racks_per_array=2, arrays_per_row=5, arrays_per_branch=7)
    >>> layout.array_ids, layout.array_first_rack.tolist(), layout.gpu_count
    (('A001', 'A002', 'A003'), [0, 2, 3, 5], 320)
    """
    racks_in_hall = np.array([racks for _, racks in hall_racks], dtype=np.int32)
    arrays_in_hall = -(-racks_in_hall // racks_per_array)
    branches_in_hall = -(-arrays_in_hall // arrays_per_branch)
    hall_first_rack = _firsts(racks_in_hall)
    hall_first_array = _firsts(arrays_in_hall)
    halls = np.arange(len(hall_racks), dtype=np.int32)

    rack_hall = np.repeat(halls, racks_in_hall)
    rack_count, array_count = int(hall_first_rack[-1]), int(hall_first_array[-1])
    rack_in_hall = np.arange(rack_count, dtype=np.int32) - hall_first_rack[rack_hall]
    array_in_hall = rack_in_hall // racks_per_array
    rack_array = hall_first_array[rack_hall] + array_in_hall

    array_hall = np.repeat(halls, arrays_in_hall)
    branch_in_hall = (np.arange(array_count, dtype=np.int32) - hall_first_array[array_hall]) // arrays_per_branch
    array_branch = _firsts(branches_in_hall)[array_hall] + branch_in_hall
    branch_count = int(branches_in_hall.sum())

    array_width, rack_width = max(3, len(str(array_count))), max(4, len(str(rack_count)))
    return Layout(
        hall_ids=tuple(hall_id for hall_id, _ in hall_racks),
        array_ids=tuple(f"A{i:0{array_width}d}" for i in range(1, array_count + 1)),
        rack_ids=tuple(f"R{i:0{rack_width}d}" for i in range(1, rack_count + 1)),
        branch_ids=tuple(f"branch-{i}" for i in range(1, branch_count + 1)),
        hall_first_array=hall_first_array,
        hall_first_rack=hall_first_rack,
        array_hall=_frozen(array_hall),
        array_branch=_frozen(array_branch),
        array_first_rack=_firsts(np.bincount(rack_array, minlength=array_count)),
        rack_array=_frozen(rack_array),
        rack_hall=_frozen(rack_hall),
        rack_branch=_frozen(array_branch[rack_array]),
        rack_row=_frozen(array_in_hall // arrays_per_row),
        rack_pos=_frozen(array_in_hall % arrays_per_row * racks_per_array + rack_in_hall % racks_per_array),
        rack_first_server=_firsts(np.full(rack_count, servers_per_rack)),
        rack_first_gpu=_firsts(np.full(rack_count, servers_per_rack * gpus_per_server)),
        branch_hall=_frozen(np.repeat(halls, branches_in_hall)),
        branch_first_array=_firsts(np.bincount(array_branch, minlength=branch_count)),
        gpus_per_server=gpus_per_server,
    )


def _look_up(index: dict[str, int], asset_id: str, kind: str) -> int:
    try:
        return index[asset_id]
    except KeyError:
        near = difflib.get_close_matches(asset_id, index, n=3)
        hint = f"; near: {', '.join(near)}" if near else ""
        ids = list(index)
        raise SiteInvalid(f"no {kind} {asset_id!r}: allowed are {ids[0]}..{ids[-1]}{hint}") from None


def _firsts(counts: npt.NDArray[np.integer]) -> IntArray:
    return _frozen(np.concatenate(([0], np.cumsum(counts))))


def _frozen(values: npt.NDArray[np.integer]) -> IntArray:
    frozen = values.astype(np.int32)
    frozen.flags.writeable = False
    return frozen
