"""Frozen columns: the few lines that every columnar value of the package shares."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xcoreg.core.status import Status

__all__ = ["MISSING", "count_statuses", "freeze", "tell_counts"]

# Default of a column that was left out. It is `Any` so that dataclass fields keep the type of a filled column.
MISSING: Any = None


def freeze(name: str, values: Any, shape: tuple[int, ...], dtype: type[np.generic]) -> NDArray[Any]:
    """Copy values into a read-only array of a given shape and dtype.

    Parameters
    ----------
    name : str
        Name of the column, for the message.
    values : array_like
        A scalar is taken as a column of one row.
    shape : tuple of int
        The rows come first.
    dtype : numpy scalar type
        Type of the column.

    Returns
    -------
    ndarray
        Read-only, not shared with the caller.

    Raises
    ------
    ValueError
        When the shape differs.

    Examples
    --------
    >>> freeze("dx", [1, 2], (2,), np.float64)
    array([1., 2.])
    >>> freeze("dx", [1, 2], (3,), np.float64)
    Traceback (most recent call last):
        ...
    ValueError: column 'dx' has shape (2,), needed (3,)
    """
    array = np.array(values, dtype)
    if array.ndim == 0 and shape == (1,):
        array = array.reshape(1)
    if array.shape != shape:
        raise ValueError(f"column {name!r} has shape {array.shape}, needed {shape}")
    array.flags.writeable = False
    return array


def count_statuses(status: NDArray[np.int8]) -> dict[str, int]:
    """Rows per status name, in the order of the codes, those that occur only.

    Examples
    --------
    >>> count_statuses(np.array([0, 2, 0], np.int8))
    {'OK': 2, 'FLAT': 1}
    """
    codes, counts = np.unique(status, return_counts=True)
    return {Status(int(code)).name: int(n) for code, n in zip(codes, counts, strict=True)}


def tell_counts(status: NDArray[np.int8]) -> str:
    """Rows per status as a short text.

    Examples
    --------
    >>> tell_counts(np.array([0, 2, 0], np.int8))
    '2 OK, 1 FLAT'
    """
    return ", ".join(f"{n} {name}" for name, n in count_statuses(status).items()) or "none"
