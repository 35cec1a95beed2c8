"""Statistics of the source pixels under an output pixel, instead of a kernel: mean, most frequent value, quantiles."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from xcoreg.core import Array, Bools

#: name -> part of the sorted values that are smaller; None for those that are no quantiles
STATISTICS: dict[str, float | None] = {
    "average": None, "mode": None, "min": 0.0, "q1": 0.25, "med": 0.5, "q3": 0.75, "max": 1.0,
}  # fmt: skip


def summarise(values: Array, good: Bools, statistic: str) -> tuple[Array, Bools]:
    """Summarise valid values along the last axis: (..., k) -> values and validity (...), valid where half of them are.

    Quantiles and the mode are values that occur; of several as frequent ones the smallest is the mode.
    """
    count = good.sum(axis=-1)
    valid: Bools = 2 * count >= values.shape[-1]
    if statistic == "average":
        total = np.where(good, values, 0).sum(axis=-1, dtype=np.float64) / np.maximum(count, 1)
        return total.astype(values.dtype), valid
    ordered = np.sort(np.where(good, values, np.inf), axis=-1)
    part = STATISTICS[statistic]
    if part is None:
        return _most_frequent(ordered, count), valid
    index = np.rint(np.maximum(count - 1, 0) * part).astype(np.intp)
    found: Array = np.take_along_axis(ordered, index[..., None], axis=-1)[..., 0]
    return np.where(valid, found, 0).astype(values.dtype), valid


def _most_frequent(ordered: Array, count: NDArray[np.int_]) -> Array:
    """Most frequent of sorted values (..., k), of which the first `count` (...) are valid."""
    best, found = np.zeros(count.shape, np.int64), np.zeros(count.shape, ordered.dtype)
    run = np.zeros(count.shape, np.int64)
    for at in range(ordered.shape[-1]):
        value = ordered[..., at]
        run = np.where(value == ordered[..., at - 1], run + 1, 1) if at else run + 1
        more = (run > best) & (at < count)
        best, found = np.where(more, run, best), np.where(more, value, found)
    return found
