"""Windows of a chunked array: the chunks they meet, and the parts of these they are put together from."""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

__all__ = ["Box", "Cut", "Key", "chunks_under", "cuts_along", "edges_of", "parts_of", "put_together"]

#: Rows row0 <= row < row1 and columns col0 <= col < col1: (row0, row1, col0, col1), px.
Box: TypeAlias = "tuple[int, int, int, int]"

#: A chunk of a two-dimensional dask array: its name, row and column of chunks.
Key: TypeAlias = "tuple[str, int, int]"
#: Rows and columns of a chunk.
Cut: TypeAlias = "tuple[slice, slice]"


def edges_of(sizes: Sequence[int]) -> list[int]:
    """Edges of chunks along an axis, from their sizes."""
    return [0, *accumulate(sizes)]


def cuts_along(start: int, stop: int, edges: Sequence[int], step: int = 1) -> list[tuple[int, slice]]:
    """Chunks that a span meets, and the part of each.

    Parameters
    ----------
    start, stop : int
        Half-open.
    edges : sequence of int
        From :func:`edges_of`.
    step : int
        Every so many pixels are wanted, from `start` on.

    Returns
    -------
    list of (chunk, slice)

    Examples
    --------
    >>> cuts_along(1, 8, edges_of((3, 3, 3)), 4)
    [(0, slice(1, 3, 4)), (1, slice(2, 3, 4))]
    """
    out = []
    for chunk, (low, high) in enumerate(pairwise(edges)):
        first = start if start >= low else start + -(-(low - start) // step) * step
        last = min(stop, high)
        if first < last:
            out.append((chunk, slice(first - low, last - low, step)))
    return out


def parts_of(array: Any, box: Box, step: tuple[int, int] = (1, 1)) -> list[list[tuple[Key, Cut]]]:
    """Parts of chunks that make a window, row by row.

    Parameters
    ----------
    array : dask.array.Array (n_rows, n_cols)
    box : (row0, row1, col0, col1)
        Inside the array.
    step : (rows, columns)
        Every so many are wanted.

    Returns
    -------
    list of lists of (key, (rows, columns))

    Examples
    --------
    >>> import dask.array as da
    >>> [[key[1:] for key, _ in row] for row in parts_of(da.zeros((9, 9), chunks=3), (2, 3, 2, 4))]
    [[(0, 0), (0, 1)]]
    """
    down, across = (
        cuts_along(*span, edges_of(sizes), each)
        for span, sizes, each in zip((box[:2], box[2:]), array.chunks, step, strict=True)
    )
    return [[((array.name, row, col), (rows, cols)) for col, cols in across] for row, rows in down]


def chunks_under(array: Any, boxes: Sequence[Box]) -> list[Key]:
    """Chunks that any of some windows meets, each once.

    Parameters
    ----------
    array : dask.array.Array (n_rows, n_cols)
    boxes : sequence of (row0, row1, col0, col1)
        Inside the array.

    Examples
    --------
    >>> import dask.array as da
    >>> [key[1:] for key in chunks_under(da.zeros((9, 9), chunks=3), [(2, 3, 2, 4), (0, 1, 0, 1)])]
    [(0, 0), (0, 1)]
    """
    return list({key: None for box in boxes for row in parts_of(array, box) for key, _ in row})


def put_together(
    array: Any,
    boxes: Sequence[Box],
    step: tuple[int, int],
    fetch: Callable[[dict[Key, list[Cut]]], dict[Key, list[Any]]],
) -> list[NDArray[Any]]:
    """Make windows from parts of chunks that somebody fetches.

    Parameters
    ----------
    array : dask.array.Array (n_rows, n_cols)
    boxes : sequence of (row0, row1, col0, col1)
        Inside the array.
    step : (rows, columns)
        Every so many are wanted.
    fetch : callable (cuts of each chunk) -> pixels of each cut of each chunk
        Asked once.

    Returns
    -------
    list of arrays

    Examples
    --------
    >>> import dask.array as da
    >>> fetch = lambda cuts: {key: [np.full((1, 2), key[2]) for _ in own] for key, own in cuts.items()}
    >>> put_together(da.zeros((9, 9), chunks=3), [(0, 1, 1, 5)], (1, 1), fetch)
    [array([[0, 0, 1, 1]])]
    """
    plans = [parts_of(array, box, step) for box in boxes]
    wanted: dict[Key, list[Cut]] = {}
    for key, cut in (part for plan in plans for row in plan for part in row):
        wanted.setdefault(key, []).append(cut)
    supply = {key: iter(parts) for key, parts in fetch(wanted).items()}
    return [
        _joined([[next(supply[key]) for key, _ in row] for row in plan], box, step, array.dtype)
        for plan, box in zip(plans, boxes, strict=True)
    ]


def _joined(rows: list[list[NDArray[Any]]], box: Box, step: tuple[int, int], dtype: Any) -> NDArray[Any]:
    if not rows or not rows[0]:
        return np.empty((len(range(box[0], box[1], step[0])), len(range(box[2], box[3], step[1]))), dtype)
    strips = [row[0] if len(row) == 1 else np.concatenate(row, axis=1) for row in rows]
    return strips[0] if len(strips) == 1 else np.concatenate(strips, axis=0)
