"""Names of the array types that annotations use."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

#: Real numbers; single or double precision as the function says.
Floats: TypeAlias = NDArray[np.floating[Any]]
#: Valid pixels, or points that meet a condition.
Bools: TypeAlias = NDArray[np.bool_]
#: Indices.
Ints: TypeAlias = NDArray[np.intp]
#: Pixels of any type.
Array: TypeAlias = NDArray[Any]
