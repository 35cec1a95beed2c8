"""The one module that knows dask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["compute_all", "is_lazy"]


def is_lazy(data: Any) -> bool:
    """Tell whether data are a dask collection, without importing dask.

    Parameters
    ----------
    data : object
        A numpy or dask array, a DataArray, anything.

    Returns
    -------
    bool
        True for a dask array and for a DataArray that wraps one.

    Examples
    --------
    >>> is_lazy(np.zeros(3))
    False
    """
    return hasattr(data, "__dask_graph__") and getattr(data, "chunks", None) is not None


def compute_all(items: Sequence[Any]) -> list[NDArray[Any]]:
    """Bring several arrays into memory, all lazy ones in a single computation.

    Parameters
    ----------
    items : sequence of array-like
        numpy or dask arrays, or DataArrays over either (or over a file). The scheduler is dask's current one.

    Returns
    -------
    list of numpy.ndarray
        The values, in the same order.

    Examples
    --------
    >>> import dask.array as da
    >>> compute_all([da.arange(3, chunks=2), np.zeros(1)])
    [array([0, 1, 2]), array([0.])]
    """
    plain = [getattr(item, "data", item) if is_lazy(item) else item for item in items]
    lazy = [item for item in plain if is_lazy(item)]
    if not lazy:
        return [np.asarray(item) for item in plain]
    from dask.base import compute

    done = iter(compute(*lazy))  # type: ignore[no-untyped-call]
    return [np.asarray(next(done) if is_lazy(item) else item) for item in plain]
