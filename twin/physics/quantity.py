"""What the functions of this folder work on."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.floating[Any]]
"""An array of quantities, float32 or float64."""

Quantity: TypeAlias = float | Array
"""One quantity or an array of them: every function works on both, element by element."""
