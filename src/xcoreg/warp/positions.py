"""Source positions of an output: exact on a lattice and interpolated in between, in patches that refine themselves.

A patch is a square of `PATCH` output pixels at multiples of its side. Its positions are exact at every 64th pixel, and
cubic in between where that is good enough: each cell is checked at its middle and at the middles of its sides; one that
is wrong by more than is allowed is halved, with those around it, down to 4 pixels, and below every pixel is exact. So
kinks and folds of a displacement cost where they are, not everywhere. Nodes are then added by cubic interpolation until
positions are linear between them. What a patch holds depends on nothing outside of it, and a patch is always made
whole: positions do not depend on the blocks that are asked for, not even by round-off. Heights that are added to an
output (:mod:`xcoreg.warp.vertical`) are kept in patches of the same kind.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from xcoreg.core import Floats

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    Exact: TypeAlias = "Callable[[Any, Any], tuple[Floats, ...]]"
    Block: TypeAlias = "tuple[slice, slice]"

PATCH = 2048  # output px; whole cells of the widest lattice
_WIDEST, _FINEST = 64, 4  # output px
_FEWEST = 4  # nodes along an axis, for a cubic
_FAR = 16.0  # source px: a cell this far beyond the image needs no better positions
_KEPT = 1 << 27  # bytes of patches kept: those of a scene with a kinked field


@dataclass(frozen=True)
class Patch:
    """Positions of a square of the output.

    corner : Output row and column of the first node.
    step : Output px between nodes.
    nodes : (2, n, m) float64; Source rows and columns at the nodes, or whatever other values `exact` gives; NaN where
        there is none.
    loose : (2, k) int, (2, k) float64; Output rows and columns, rows rising, of pixels that are not linear between
        nodes, and their positions.
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
        out = out.reshape(len(out), -1, out.shape[-1])[:, start : start + last - first + 1]
        (row, col), exact = self._loose(rows, cols)
        out[:, row - rows.start, col - cols.start] = exact
        return out

    def extremes(self, rows: slice, cols: slice) -> Floats:
        """Positions, (2, k), among which all those of a block inside of the patch lie."""
        numbers = [_knots(span, at, self.step) for span, at in zip((rows, cols), self.corner, strict=True)]
        lines = self._along(numbers[1], slice(0, None))
        cell, part = numbers[0] // self.step, (numbers[0] % self.step / self.step)[:, None]
        found = (lines[:, cell + 1] - lines[:, cell]) * part + lines[:, cell]
        return np.concatenate([found.reshape(len(found), -1), self._loose(rows, cols)[1]], axis=1)

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


def make_patch(exact: Exact, block: Block, size: tuple[int, int] | None, allowed: float) -> Patch:
    """Find the positions of a patch."""
    row, col = (_WIDEST * np.arange(max(-(-(span.stop - span.start) // _WIDEST) + 1, _FEWEST)) for span in block)
    step, corner = _WIDEST, (block[0].start, block[1].start)
    nodes = np.stack(exact(corner[0] + row[:, None].astype(np.float64), corner[1] + col.astype(np.float64)))
    doubtful = np.ones((row.size - 1, col.size - 1), dtype=bool)
    loose: tuple[NDArray[Any], NDArray[Any]] = np.empty((2, 0), np.intp), np.empty((len(nodes), 0))
    while True:
        fine = _doubled(nodes)
        at = np.nonzero(_new_nodes(doubtful))
        found = np.stack(exact(corner[0] + at[0] * (step / 2), corner[1] + at[1] * (step / 2)))
        wrong = _error(fine[:, at[0], at[1]], found, size) > allowed / 2
        fine[:, at[0], at[1]] = found
        doubtful &= _cells_with(wrong, at, fine.shape[1:]) | _torn(fine)
        if not doubtful.any():
            break
        nodes, step = fine, step // 2
        if 2 * step == _FINEST:
            # The rim of what has no position may pass between the places that were checked.
            loose = _pixels(exact, _with_neighbours(doubtful) if np.isnan(found).any() else doubtful, block)
            break
        doubtful = _with_neighbours(doubtful).repeat(2, axis=0).repeat(2, axis=1)
    while step > 1 and not _straight(nodes, fine := _doubled(nodes), allowed / 2):
        nodes, step = fine, step // 2
    return Patch(corner, step, nodes, loose)


def _doubled(nodes: Floats) -> Floats:
    """Interpolate twice as many nodes, by cubics where there are enough."""
    for axis in (1, 2):
        at = np.moveaxis(nodes, axis, 0)
        out = np.empty((2 * at.shape[0] - 1, *at.shape[1:]))
        out[::2] = at
        middle = out[1::2]
        middle[1:-1] = (9 * (at[1:-2] + at[2:-1]) - (at[:-3] + at[3:])) / 16
        middle[0] = (5 * at[0] + 15 * at[1] - 5 * at[2] + at[3]) / 16
        middle[-1] = (5 * at[-1] + 15 * at[-2] - 5 * at[-3] + at[-4]) / 16
        # Beside a node without position a straight line does not lose its own.
        np.copyto(middle, (at[1:] + at[:-1]) / 2, where=np.isnan(middle))
        nodes = np.moveaxis(out, 0, axis)
    return nodes


def _straight(nodes: Floats, fine: Floats, allowed: float) -> bool:
    """Whether new nodes lie on straight lines between the old."""
    middles = (
        (fine[:, ::2, 1::2], nodes[:, :, 1:], nodes[:, :, :-1]),
        (fine[:, 1::2, ::2], nodes[:, 1:], nodes[:, :-1]),
    )
    with np.errstate(invalid="ignore"):
        off = [np.nanmax(_length(found - (one + two) / 2), initial=0.0) for found, one, two in middles]
    return bool(sum(off) <= allowed)  # both ways together: the middle of a cell


def _new_nodes(cells: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Nodes of the doubled lattice at the middles of cells and of their sides."""
    out = np.zeros((2 * cells.shape[0] + 1, 2 * cells.shape[1] + 1), dtype=bool)
    for row in (0, 1, 2):
        for col in (0, 1, 2):
            if row == 1 or col == 1:
                out[row : row + 2 * cells.shape[0] - 1 : 2, col : col + 2 * cells.shape[1] - 1 : 2] |= cells
    return out


def _length(values: Floats) -> Floats:
    """Length of vectors along the first axis."""
    out: Floats = np.hypot.reduce(values, axis=0)
    return out


def _error(guess: Floats, found: Floats, size: tuple[int, int] | None) -> Floats:
    """Distance between positions; 0 where there is none, and where both lie far beyond the image in any case."""
    known, guessed = np.isfinite(found).all(axis=0), np.isfinite(guess).all(axis=0)
    error = np.where(known | guessed, np.inf, 0.0)
    both = known & guessed
    error[both] = _length(found[:, both] - guess[:, both])
    for position, length in zip(found, size, strict=True) if size is not None else ():
        with np.errstate(invalid="ignore"):
            error[(position + error < -_FAR) | (position - error > length + _FAR)] = 0.0
    return error


def _cells_with(marked: NDArray[np.bool_], at: Any, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Cells of the lattice that have a marked node of the doubled one."""
    nodes = np.zeros(shape, dtype=bool)
    nodes[at] = marked
    return _of_cells(nodes, np.logical_or)


def _torn(fine: Floats) -> NDArray[np.bool_]:
    """Cells that have nodes with and nodes without a position."""
    lost: NDArray[np.bool_] = np.asarray(np.isnan(fine).any(axis=0))
    return _of_cells(lost, np.logical_or) & ~_of_cells(lost, np.logical_and)


def _of_cells(fine: NDArray[np.bool_], join: np.ufunc) -> NDArray[np.bool_]:
    """Join what is true of the nine nodes of each cell on the doubled lattice."""
    by_row = join(join(fine[:-2:2], fine[1::2]), fine[2::2])
    out: NDArray[np.bool_] = join(join(by_row[:, :-2:2], by_row[:, 1::2]), by_row[:, 2::2])
    return out


def _with_neighbours(cells: NDArray[np.bool_]) -> NDArray[np.bool_]:
    rows, cols = cells.shape
    wide = np.pad(cells, 1)
    out = cells.copy()
    for row in (0, 1, 2):
        for col in (0, 1, 2):
            out |= wide[row : row + rows, col : col + cols]
    return out


def _pixels(exact: Exact, cells: NDArray[np.bool_], block: tuple[slice, slice]) -> tuple[NDArray[np.intp], Floats]:
    """Output pixels of cells of the finest lattice, and their positions."""
    row, col = np.nonzero(cells.repeat(_FINEST, axis=0).repeat(_FINEST, axis=1))
    at = np.stack([row + block[0].start, col + block[1].start])
    at = at[:, (at[0] < block[0].stop) & (at[1] < block[1].stop)]
    return at, np.stack(exact(*at.astype(np.float64)))


def patches_met(rows: slice, cols: slice) -> Iterator[tuple[tuple[int, int], Block]]:
    """Patches that a block of the output meets."""
    for i in range(rows.start // PATCH, (rows.stop - 1) // PATCH + 1):
        for j in range(cols.start // PATCH, (cols.stop - 1) // PATCH + 1):
            part = tuple(
                slice(max(span.start, at * PATCH), min(span.stop, (at + 1) * PATCH))
                for span, at in ((rows, i), (cols, j))
            )
            yield (i, j), (part[0], part[1])


def patch_block(at: tuple[int, int], shape: tuple[int, int]) -> Block:
    """Rows and columns of a patch in an output of some shape."""
    row, col = (slice(n * PATCH, min((n + 1) * PATCH, size)) for n, size in zip(at, shape, strict=True))
    return row, col


class Patches:
    """Patches made last, for whoever asks next: bounded, safe between threads, left behind when copied or pickled."""

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
