"""The one module that knows dask."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, pairwise, product
from operator import getitem
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

__all__ = ["compute_all", "fused", "is_lazy", "map_output_blocks", "run_tasks"]


# Just below what glibc takes for too large to keep (32 MiB).
_LARGEST_KEPT = 31 << 20


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
    function: Callable[[Any, Any], Any], shared: Any, items: Sequence[Any], done: Callable[[int], None] | None = None
) -> list[Any]:
    """Call a function once per item, as independent tasks of dask's current scheduler (threads by default).

    Parameters
    ----------
    function : callable (shared, item) -> result
    shared : object
        What all tasks need; handed over once, not copied into each of them.
    items : sequence
        Small things; what their tasks return should be small, too.
    done : callable (number), optional
        Told how many tasks have ended, as they end; not by a distributed scheduler, which tells at the end.

    Returns
    -------
    list
        Results in the order of the items.

    Examples
    --------
    >>> run_tasks(lambda base, item: base + item, 10, [1, 2])
    [11, 12]
    """
    if len(items) < 2:
        return [_told(function(shared, item), done) for item in items]
    from dask.base import compute
    from dask.callbacks import Callback
    from dask.delayed import delayed

    common = delayed(_Box(shared), pure=False)
    task = delayed(_call, pure=False)
    work = [task(function, common, _Box(item)) for item in items]

    def ended(_key: Any, result: Any, *_rest: Any) -> None:
        if done is not None and isinstance(result, _Box) and result.answer:
            done(1)

    with Callback(posttask=ended):  # type: ignore[no-untyped-call]
        return [box.value for box in compute(*work)]  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class _Box:
    """Keeps dask from looking into what a task is given or returns."""

    value: Any
    answer: bool = False


def _call(function: Callable[[Any, Any], Any], shared: _Box, item: _Box) -> _Box:
    # The C library of Linux hands memory back to the system, page by page, unless a block of this size has been freed
    # before: arrays of every step would be mapped anew, which takes a quarter of the time.
    np.empty(_LARGEST_KEPT, np.uint8)
    return _Box(function(shared.value, item.value), answer=True)


def _told(result: Any, done: Callable[[int], None] | None) -> Any:
    if done is not None:
        done(1)
    return result


def map_output_blocks(
    function: Callable[..., NDArray[Any]],
    source: Any,
    chunks: tuple[tuple[int, ...], tuple[int, ...]],
    box_of: Callable[[slice, slice], tuple[int, int, int, int]],
    dtype: Any,
) -> Any:
    """Make a lazy array block by block, each from the one window of a source that it needs.

    Parameters
    ----------
    function : callable (window, box, rows, cols) -> block
        Gets the (..., row1 - row0, col1 - col0) pixels of `box` and the block's place in the output; returns its
        (..., n_rows, n_cols) values. A small object with a deterministic token, such as a frozen dataclass.
    source : dask.array.Array (..., n_rows, n_cols)
        Leading axes keep their chunks.
    chunks : (rows, cols)
        Chunks of the output along its last two axes.
    box_of : callable (rows, cols) -> (row0, row1, col0, col1)
        The window of the source for a block of the output, inside of the source; empty is allowed.
    dtype : dtype-like
        Of the output.

    Returns
    -------
    dask.array.Array
        Nothing is computed. The names in its graph follow from the source, the function and the chunks alone.

    Examples
    --------
    >>> import dask.array as da
    >>> source = da.arange(12, chunks=5).reshape(1, 12)
    >>> flip = lambda window, box, rows, cols: window[:, ::-1]
    >>> box_of = lambda rows, cols: (0, 1, 12 - cols.stop, 12 - cols.start)
    >>> map_output_blocks(flip, source, ((1,), (6, 6)), box_of, source.dtype).compute()
    array([[11, 10,  9,  8,  7,  6,  5,  4,  3,  2,  1,  0]])
    """
    import dask.array as da
    from dask.base import tokenize
    from dask.highlevelgraph import HighLevelGraph

    token = tokenize(function, source.name, chunks, str(dtype))
    name, window, worker = f"xcoreg-{token}", f"xcoreg-window-{token}", f"xcoreg-function-{token}"
    # One key for the function: its tasks share it instead of each carrying a copy.
    graph: dict[Any, Any] = {worker: function}
    edges = [_edges(sizes) for sizes in source.chunks[-2:]]
    for (i, rows), (j, cols) in product(*(list(enumerate(_spans(sizes))) for sizes in chunks)):
        box = box_of(rows, cols)
        cuts = [_cuts(*span, sizes) for span, sizes in zip((box[:2], box[2:]), edges, strict=True)]
        for lead in product(*(range(len(sizes)) for sizes in source.chunks[:-2])):
            pieces: list[Any] = []
            for (row, row_cut), (col, col_cut) in product(*cuts):
                key = (window, *lead, i, j, row, col)
                every = (slice(None),) * len(lead)
                graph[key] = (getitem, (source.name, *lead, row, col), (*every, row_cut, col_cut))
                pieces.append(key)
            layers = tuple(sizes[at] for sizes, at in zip(source.chunks[:-2], lead, strict=True))
            how = _Block(layers, len(cuts[1]), box, rows, cols, str(source.dtype))
            graph[(name, *lead, i, j)] = (how, worker, pieces)
    layered = HighLevelGraph.from_collections(name, graph, dependencies=[source])
    meta = np.empty((0,) * source.ndim, dtype=dtype)
    return da.Array(layered, name, (*source.chunks[:-2], *chunks), meta=meta)  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class _Block:
    """One task: puts the pieces of a window together and calls the function."""

    layers: tuple[int, ...]
    n_cols: int
    box: tuple[int, int, int, int]
    rows: slice
    cols: slice
    dtype: str

    def __call__(self, function: Callable[..., NDArray[Any]], pieces: list[NDArray[Any]]) -> NDArray[Any]:
        if not pieces:
            window = np.empty((*self.layers, 0, 0), dtype=self.dtype)
        elif len(pieces) == 1:
            window = pieces[0]
        else:
            strips = [pieces[at : at + self.n_cols] for at in range(0, len(pieces), self.n_cols)]
            window = np.concatenate([np.concatenate(strip, axis=-1) for strip in strips], axis=-2)
        return function(window, self.box, self.rows, self.cols)


def _edges(sizes: Sequence[int]) -> list[int]:
    return [0, *accumulate(sizes)]


def _spans(sizes: Sequence[int]) -> Iterator[slice]:
    return (slice(start, stop) for start, stop in pairwise(_edges(sizes)))


def _cuts(start: int, stop: int, edges: Sequence[int]) -> list[tuple[int, slice]]:
    """Chunks that a span meets, and the part of each."""
    return [
        (chunk, slice(max(start, low) - low, min(stop, high) - low))
        for chunk, (low, high) in enumerate(pairwise(edges))
        if low < stop and start < high
    ]
