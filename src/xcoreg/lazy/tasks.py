"""Computing on whatever scheduler dask has, or one that was chosen for this thread."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import numpy as np

from xcoreg.lazy.cluster import threads_here

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

__all__ = [
    "chosen",
    "client_of",
    "cluster",
    "compute_all",
    "compute_items",
    "computing",
    "fused",
    "is_lazy",
    "token",
]

# What `computing` has asked for in this thread.
_HOW: ContextVar[Mapping[str, Any] | None] = ContextVar("how", default=None)


@contextmanager
def computing(**how: Any) -> Iterator[None]:
    """Choose, for this thread alone, how everything in here is computed.

    Unlike ``dask.config.set``, which is the whole program's: several threads of one worker would undo each other's
    choice.

    Parameters
    ----------
    **how
        As for ``dask.compute``: `scheduler`, `num_workers`, ...

    Examples
    --------
    >>> import dask.array as da
    >>> with computing(scheduler="synchronous"):
    ...     compute_all([da.arange(3, chunks=2)])
    [array([0, 1, 2])]
    """
    before = _HOW.set(how)
    try:
        yield
    finally:
        _HOW.reset(before)


def chosen() -> Mapping[str, Any]:
    """Tell what :func:`computing` has asked for in this thread."""
    return _HOW.get() or {}


def compute_items(items: Sequence[Any]) -> tuple[Any, ...]:
    """Compute dask collections together, as :func:`computing` says.

    Examples
    --------
    >>> import dask.array as da
    >>> [int(one) for one in compute_items([da.arange(3, chunks=2).sum()])]
    [3]
    """
    from dask.base import compute

    how = chosen()
    if how.get("scheduler") == "synchronous" and threads_here() is not None and any(map(_elsewhere, items)):
        how = {}
    done: tuple[Any, ...] = compute(*items, **how)  # type: ignore[no-untyped-call]
    return done


def client_of(item: Any) -> Any:
    """Find the cluster that computes a collection, or keeps parts of it.

    Parameters
    ----------
    item : dask collection

    Returns
    -------
    distributed.Client or None
        None when this program computes it, in threads or processes of its own.

    Examples
    --------
    >>> import dask.array as da
    >>> client_of(da.zeros(3)) is None
    True
    """
    client = cluster()
    if client is not None or threads_here() is None or not _elsewhere(item):
        return client
    from distributed import get_client

    return get_client()


def cluster() -> Any:
    """Find the cluster that computes in this thread.

    Returns
    -------
    distributed.Client or None

    Examples
    --------
    >>> cluster() is None
    True
    """
    from dask.base import get_scheduler

    get: Any = get_scheduler(scheduler=chosen().get("scheduler"))  # type: ignore[no-untyped-call]
    client = getattr(get, "__self__", None)
    return client if hasattr(client, "persist") else None


def _elsewhere(item: Any) -> bool:
    """Tell whether parts of a collection are kept on workers of a cluster, where it alone can find them."""
    return any("Future" in type(value).__name__ for value in dict(item.__dask_graph__()).values())


def token(*values: Any) -> str:
    """Name values by what they are.

    Parameters
    ----------
    *values
        Plain values, arrays, images, functions.

    Returns
    -------
    str
        The same for equal values, in every process.

    Examples
    --------
    >>> token({"a": 1}, "b") == token({"a": 1}, "b")
    True
    """
    from dask.base import tokenize

    name: str = tokenize(*values)
    return name


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
    done = iter(compute_items(lazy))
    return [np.asarray(next(done) if is_lazy(item) else item) for item in plain]


def fused(window: Any) -> Any:
    """Fuse a window cut from stored data with the reading of it, so that the window alone is read.

    Several windows of one chunk would otherwise share the chunk, and load it whole. Of computed data they should: a
    chunk would be computed once for each window.

    Parameters
    ----------
    window : dask array
        Sliced, not computed.

    Returns
    -------
    dask array
        The same values.

    Examples
    --------
    >>> import dask.array as da
    >>> fused(da.arange(9, chunks=9)[2:4]).compute()
    array([2, 3])
    """
    from dask.base import optimize

    return optimize(window)[0]  # type: ignore[no-untyped-call]
