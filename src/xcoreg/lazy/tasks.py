"""Computing, and running independent tasks, on whatever scheduler dask has."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import numpy as np

from xcoreg.lazy.cluster import threads_here

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["compute_all", "computing", "everywhere", "fused", "is_lazy", "run_tasks", "token"]


# Just below what glibc takes for too large to keep (32 MiB).
_LARGEST_KEPT = 31 << 20

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


def _compute(items: Sequence[Any]) -> tuple[Any, ...]:
    from dask.base import compute

    how = _HOW.get() or {}
    if how.get("scheduler") == "synchronous" and threads_here() is not None and any(map(_elsewhere, items)):
        how = {}
    done: tuple[Any, ...] = compute(*items, **how)  # type: ignore[no-untyped-call]
    return done


def _elsewhere(item: Any) -> bool:
    """Tell whether parts of a collection are kept on workers of a cluster, where it alone can find them."""
    return any("Future" in type(value).__name__ for value in dict(item.__dask_graph__()).values())


@contextmanager
def everywhere() -> Iterator[None]:
    """Let libraries that compute by themselves do it as :func:`computing` says; the whole program does meanwhile.

    Examples
    --------
    >>> import dask.array as da
    >>> with computing(scheduler="synchronous"), everywhere():
    ...     int(da.arange(3, chunks=2).sum())
    3
    """
    how = _HOW.get()
    if not how:
        yield
        return
    import dask.config

    with dask.config.set(how):
        yield


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
    done = iter(_compute(lazy))
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


def run_tasks(
    function: Callable[..., Any],
    shared: Any,
    items: Sequence[Any],
    done: Callable[[int], None] | None = None,
    ahead: Sequence[tuple[Any, ...]] | None = None,
) -> list[Any]:
    """Call a function once per item, as independent tasks of dask's current scheduler (threads by default).

    Parameters
    ----------
    function : callable (shared, item[, arrays]) -> result
    shared : object
        What all tasks need; handed over once, not copied into each of them.
    items : sequence
        Small things; what their tasks return should be small, too.
    done : callable (number), optional
        Told how many tasks have ended, as they end; not by a distributed scheduler, which tells at the end.
    ahead : sequence of tuples of dask arrays, optional
        One tuple per item: arrays that are computed before its task, which gets a tuple of their values. What several
        of them need is computed once. None stays None.

    Returns
    -------
    list
        Results in the order of the items.

    Examples
    --------
    >>> run_tasks(lambda base, item: base + item, 10, [1, 2])
    [11, 12]
    """
    if len(items) < 2 and not any(one is not None for row in ahead or () for one in row):
        rest = [()] * len(items) if ahead is None else [(row,) for row in ahead]
        return [_told(function(shared, item, *more), done) for item, more in zip(items, rest, strict=True)]
    from dask.callbacks import Callback
    from dask.delayed import delayed

    common = delayed(_Box(shared), pure=False, traverse=False)
    task = delayed(_call, pure=False)
    if ahead is None:
        work = [task(function, common, _Box(item)) for item in items]
    else:
        work = [
            task(function, common, _Box(item), [_pieces(one) for one in row])
            for item, row in zip(items, ahead, strict=True)
        ]

    def ended(_key: Any, result: Any, *_rest: Any) -> None:
        if done is not None and isinstance(result, _Box) and result.answer:
            done(1)

    with Callback(posttask=ended):  # type: ignore[no-untyped-call]
        return [box.value for box in _compute(work)]


class _Box:
    """Keeps dask from looking into what a task is given or returns: a dataclass it would search for images to load."""

    __slots__ = ("answer", "value")

    def __init__(self, value: Any, answer: bool = False) -> None:
        self.value, self.answer = value, answer


def _call(function: Callable[..., Any], shared: _Box, item: _Box, *ahead: list[Any]) -> _Box:
    # The C library of Linux hands memory back to the system, page by page, unless a block of this size has been freed
    # before: arrays of every step would be mapped anew, which takes a quarter of the time.
    np.empty(_LARGEST_KEPT, np.uint8)
    arrays = (tuple(None if one is None else np.block(one) for one in row) for row in ahead)
    # What a worker of a cluster reads in a task it reads by itself: it would send it to the cluster as new tasks.
    alone = {"scheduler": "synchronous"} if threads_here() is not None else _HOW.get() or {}
    with computing(**alone):
        return _Box(function(shared.value, item.value, *arrays), answer=True)


def _pieces(array: Any) -> Any:
    """Chunks of an array, nested as its axes are; as a whole it would be optimised by itself, and share nothing."""
    return None if array is None else array.to_delayed(optimize_graph=False).tolist()


def _told(result: Any, done: Callable[[int], None] | None) -> Any:
    if done is not None:
        done(1)
    return result
