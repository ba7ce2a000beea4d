"""Values that a gateway itself doubts: they are counted, and count for nothing else."""

import numpy as np

from twin.events.frames import Frame


def without_suspects(frame: Frame) -> Frame:
    """Return a frame in which a doubted value is not measured; the given one is left as it is.

    Examples
    --------
    >>> frame = Frame(dense={"gpu": {"power_w": np.array([700.0, 9.0])}}, suspect={"gpu.power_w": np.array([1])})
    >>> without_suspects(frame).dense["gpu"]["power_w"].tolist(), frame.dense["gpu"]["power_w"].tolist()
    ([700.0, nan], [700.0, 9.0])
    """
    if not frame.suspect:
        return frame
    dense = {group: dict(columns) for group, columns in frame.dense.items()}
    for name, places in frame.suspect.items():
        group, _, column = name.partition(".")
        if column in dense.get(group, {}):
            values = dense[group][column].astype(np.float64, copy=True)
            values[places] = np.nan
            dense[group][column] = values
    return Frame(dense, frame.sparse, frame.text, frame.suspect)
