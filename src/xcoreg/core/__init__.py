"""The numerical core: numpy and scipy alone, batches of windows in, columns of numbers out.

Here: the names of array types, and the terms of polynomials.
"""

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
#: Values of a Fourier transform.
Spectra: TypeAlias = NDArray[np.complexfloating[Any, Any]]


def exponents(order: int) -> list[tuple[int, int]]:
    """Powers of u and v in a polynomial, by rising degree."""
    return [(degree - q, q) for degree in range(order + 1) for q in range(degree + 1)]


def monomials(u: Floats, v: Floats, order: int) -> Floats:
    """Terms (..., m) of a polynomial at positions, in the order of :func:`exponents`."""
    return np.stack([u**p * v**q for p, q in exponents(order)], axis=-1)
