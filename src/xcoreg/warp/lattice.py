"""Source positions of an output: exact on a lattice and linear in between, in patches that refine themselves.

A patch is a square of `PATCH` output pixels at multiples of its side. Its positions are exact at every 64th pixel, and
linear in between where that is good enough: each cell is checked at its middle and at the middles of its sides, and one
that is wrong by more than is allowed is halved, down to 4 pixels; below, every pixel is exact. So kinks and folds of a
displacement cost where they are, not everywhere. What a patch holds depends on nothing outside of it, and a patch is
always made whole: positions do not depend on the blocks that are asked for, not even by round-off.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats: TypeAlias = "NDArray[np.float64]"
    Exact: TypeAlias = "Callable[[Any, Any], tuple[Floats, Floats]]"

__all__ = ["PATCH", "Patch", "Patches", "make_patch"]

PATCH = 1024  # output px; whole cells of the widest lattice
_WIDEST, _FINEST = 64, 4  # output px
_FAR = 16.0  # source px: a cell this far beyond the image needs no better positions
_KEPT = 1 << 26  # bytes of patches kept


@dataclass(frozen=True)
class Patch:
    """Positions of a square of the output.

    Parameters
    ----------
    corner : (int, int)
        Output row and column of the first node.
    step : int
        Output px between nodes.
    nodes : (2, n, m) float64
        Source rows and columns at the nodes; NaN where there is none.
    loose : (2, k) int, (2, k) float64
        Output rows and columns, rows rising, of pixels that are not linear between nodes, and their positions.

    Examples
    --------
    >>> nodes = np.stack([np.zeros((2, 2)), np.array([[0.0, 8.0], [0.0, 8.0]])])
    >>> Patch((0, 0), 4, nodes, (np.empty((2, 0), int), np.empty((2, 0)))).positions(slice(0, 1), slice(1, 4))[1]
    array([[2., 4., 6.]])
    """

    corner: tuple[int, int]
    step: int
    nodes: Floats
    loose: tuple[NDArray[np.intp], Floats]

    def positions(self, rows: slice, cols: slice) -> Floats:
        """Source rows and columns, (2, n_rows, n_cols), of a block inside of the patch."""
        step, first, last = self.step, rows.start - self.corner[0], rows.stop - 1 - self.corner[0]
        cells = slice(first // step, last // step + 2)
        lines = self._along(np.arange(cols.start, cols.stop) - self.corner[1], cells)
        part = (np.arange(step) / step)[:, None]
        # Whole cells first, then the rows wanted: no row of nodes is looked up for every pixel.
        out = (lines[:, 1:] - lines[:, :-1])[:, :, None] * part
        out += lines[:, :-1, None]
        start = first - cells.start * step
        out = out.reshape(2, -1, out.shape[-1])[:, start : start + last - first + 1]
        (row, col), exact = self._loose(rows, cols)
        out[:, row - rows.start, col - cols.start] = exact
        return out

    def extremes(self, rows: slice, cols: slice) -> Floats:
        """Positions, (2, k), among which all those of a block inside of the patch lie."""
        numbers = [_knots(span, at, self.step) for span, at in zip((rows, cols), self.corner, strict=True)]
        lines = self._along(numbers[1], slice(0, None))
        cell, part = numbers[0] // self.step, (numbers[0] % self.step / self.step)[:, None]
        found = (lines[:, cell + 1] - lines[:, cell]) * part + lines[:, cell]
        return np.concatenate([found.reshape(2, -1), self._loose(rows, cols)[1]], axis=1)

    def _along(self, numbers: NDArray[np.intp], cells: slice) -> Floats:
        """Rows of nodes, interpolated at columns of the patch."""
        cell, part = numbers // self.step, numbers % self.step / self.step
        nodes = self.nodes[:, cells]
        return nodes[..., cell] + (nodes[..., cell + 1] - nodes[..., cell]) * part

    def _loose(self, rows: slice, cols: slice) -> tuple[NDArray[np.intp], Floats]:
        at, exact = self.loose
        span = slice(*np.searchsorted(at[0], (rows.start, rows.stop)))
        inside = (at[1, span] >= cols.start) & (at[1, span] < cols.stop)
        return at[:, span][:, inside], exact[:, span][:, inside]


def _knots(span: slice, corner: int, step: int) -> NDArray[np.intp]:
    """Both ends of a span and the nodes in between, counted from the corner."""
    first, last = span.start - corner, span.stop - 1 - corner
    return np.unique([first, *range(-(-first // step) * step, last, step), last])


def make_patch(exact: Exact, block: tuple[slice, slice], size: tuple[int, int], allowed: float) -> Patch:
    """Find the positions of a patch.

    Parameters
    ----------
    exact : callable (rows, cols) -> (rows, cols)
        Source positions of output positions, px; broadcasts; NaN where there is none.
    block : (slice, slice)
        Rows and columns of the output.
    size : (int, int)
        Rows and columns of the source.
    allowed : float
        Largest error, px.

    Returns
    -------
    Patch
        Its step is the widest at which no cell is wrong by more.

    Examples
    --------
    >>> turn = lambda rows, cols: (rows + 1e-4 * cols**2, cols + 0.0 * rows)
    >>> make_patch(turn, (slice(0, 64), slice(0, 64)), (64, 64), 0.002).step
    8
    """
    row, col = (np.arange(span.start, span.stop + _WIDEST, _WIDEST, dtype=np.float64) for span in block)
    nodes = np.stack(exact(row[:, None], col))
    doubtful = np.ones((row.size - 1, col.size - 1), dtype=bool)
    step, corner = _WIDEST, (block[0].start, block[1].start)
    while True:
        fine = _doubled(nodes)
        asked = _new_nodes(doubtful)
        at = np.nonzero(asked)
        found = np.stack(exact(corner[0] + at[0] * (step / 2), corner[1] + at[1] * (step / 2)))
        doubtful = _wrong(fine, found, at, size, allowed)
        if not doubtful.any():
            return Patch(corner, step, nodes, (np.empty((2, 0), np.intp), np.empty((2, 0))))
        if step == _FINEST:
            return Patch(corner, step, nodes, _pixels(exact, doubtful, block))
        fine[:, at[0], at[1]] = found
        nodes, step = fine, step // 2
        doubtful = doubtful.repeat(2, axis=0).repeat(2, axis=1)


def _doubled(nodes: Floats) -> Floats:
    """Interpolate twice as many nodes."""
    out = np.empty((2, 2 * nodes.shape[1] - 1, 2 * nodes.shape[2] - 1))
    out[:, ::2, ::2] = nodes
    out[:, ::2, 1::2] = (nodes[:, :, 1:] + nodes[:, :, :-1]) / 2
    out[:, 1::2] = (out[:, 2::2] + out[:, :-2:2]) / 2
    return out


def _new_nodes(cells: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Nodes of the doubled lattice at the middles of cells and of their sides."""
    out = np.zeros((2 * cells.shape[0] + 1, 2 * cells.shape[1] + 1), dtype=bool)
    for row in (0, 1, 2):
        for col in (0, 1, 2):
            if row == 1 or col == 1:
                out[row : row + 2 * cells.shape[0] - 1 : 2, col : col + 2 * cells.shape[1] - 1 : 2] |= cells
    return out


def _wrong(fine: Floats, found: Floats, at: Any, size: tuple[int, int], allowed: float) -> NDArray[np.bool_]:
    """Cells with a node that is wrong by more than is allowed, unless it lies far beyond the image in any case."""
    linear = fine[:, at[0], at[1]]
    known, guessed = np.isfinite(found).all(axis=0), np.isfinite(linear).all(axis=0)
    error = np.where(known | guessed, np.inf, 0.0)
    both = known & guessed
    error[both] = np.hypot(*(found[:, both] - linear[:, both]))
    for position, length in zip(found, size, strict=True):
        with np.errstate(invalid="ignore"):
            error[(position + error < -_FAR) | (position - error > length + _FAR)] = 0.0
    wrong = np.zeros(fine.shape[1:], dtype=bool)
    wrong[at] = error > allowed
    out = np.zeros((fine.shape[1] // 2, fine.shape[2] // 2), dtype=bool)
    for row in (0, 1, 2):
        for col in (0, 1, 2):
            out |= wrong[row : row + 2 * out.shape[0] - 1 : 2, col : col + 2 * out.shape[1] - 1 : 2]
    return out


def _pixels(exact: Exact, cells: NDArray[np.bool_], block: tuple[slice, slice]) -> tuple[NDArray[np.intp], Floats]:
    """Output pixels of cells of the finest lattice, and their positions."""
    row, col = np.nonzero(cells.repeat(_FINEST, axis=0).repeat(_FINEST, axis=1))
    at = np.stack([row + block[0].start, col + block[1].start])
    at = at[:, (at[0] < block[0].stop) & (at[1] < block[1].stop)]
    return at, np.stack(exact(*at.astype(np.float64)))


class Patches:
    """Patches made last, for whoever asks next: bounded, safe between threads, left behind when copied or pickled.

    Examples
    --------
    >>> none = (np.empty((2, 0), int), np.empty((2, 0)))
    >>> Patches().get((0, 0), lambda: Patch((0, 0), 4, np.zeros((2, 2, 2)), none)).step
    4
    """

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], Patch] = {}
        self._bytes = 0
        self._lock = threading.Lock()

    def __reduce__(self) -> Any:
        return (Patches, ())

    def __dask_tokenize__(self) -> str:
        return "xcoreg-patches"

    def get(self, key: tuple[int, int], make: Callable[[], Patch]) -> Patch:
        """Give a patch, made now if need be."""
        with self._lock:
            patch = self._known.get(key)
        if patch is None:
            patch = make()
            with self._lock:
                if self._known.setdefault(key, patch) is patch:
                    self._bytes += _size(patch)
                while self._bytes > _KEPT and len(self._known) > 1:
                    oldest = next(iter(self._known))
                    self._bytes -= _size(self._known.pop(oldest))
        return patch


def _size(patch: Patch) -> int:
    return patch.nodes.nbytes + sum(part.nbytes for part in patch.loose)
