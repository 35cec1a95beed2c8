"""Lazy arrays made block by block."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise, product
from operator import getitem
from typing import TYPE_CHECKING, Any

import numpy as np

from xcoreg.lazy.chunks import cuts_along, edges_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

__all__ = ["map_output_blocks"]


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
    edges = [edges_of(sizes) for sizes in source.chunks[-2:]]
    for (i, rows), (j, cols) in product(*(list(enumerate(_spans(sizes))) for sizes in chunks)):
        box = box_of(rows, cols)
        cuts = [cuts_along(*span, sizes) for span, sizes in zip((box[:2], box[2:]), edges, strict=True)]
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


def _spans(sizes: Sequence[int]) -> Iterator[slice]:
    return (slice(start, stop) for start, stop in pairwise(edges_of(sizes)))
