"""Source positions of an output: exact at the nodes of a lattice and interpolated in between, in adaptive patches.

A patch is a square of `PATCH` output pixels at multiples of its side. Its positions are exact at every 64th pixel, and
cubic in between where that is accurate enough: each cell is checked at its middle and at the middles of its sides; a
cell with a larger error is halved, with its neighbours, down to 4 pixels, below which every pixel is exact. So kinks
and folds of a displacement cost where they are, not everywhere. Nodes are then added by cubic interpolation until
positions are linear between them. A patch depends on nothing outside of it and is always computed whole: positions do
not depend on the blocks requested, not even by round-off. Vertical corrections (:mod:`xcoreg.warp.vertical`) use the
same patches.
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
_FAR = 16.0  # source px beyond the image, where positions need not be accurate
_CACHE_BYTES = 1 << 27  # bytes of cached patches: those of a scene with a kinked field


@dataclass(frozen=True)
class Patch:
    """Positions of a square of the output.

    corner : Output row and column of the first node.
    step : Output px between nodes.
    nodes : (2, n, m) float64; Source rows and columns at the nodes, or other values of `exact`; NaN where unknown.
    single_pixels : (2, k) int, (2, k) float64; Output rows (rising) and columns of pixels that are not linear between
        nodes, and their positions.
    """

    corner: tuple[int, int]
    step: int
    nodes: Floats
    single_pixels: tuple[NDArray[np.intp], Floats]

    def positions(self, rows: slice, cols: slice) -> Floats:
        """Source rows and columns, (2, n_rows, n_cols), of a block inside of the patch."""
        step, first, last = self.step, rows.start - self.corner[0], rows.stop - 1 - self.corner[0]
        cells = slice(first // step, last // step + 2)
        lines = self._along(np.arange(cols.start, cols.stop) - self.corner[1], cells)
        part = (np.arange(step) / step)[:, None]
        # Whole cells first, then the rows requested: no row of nodes is indexed for every pixel.
        out = (lines[:, 1:] - lines[:, :-1])[:, :, None] * part
        out += lines[:, :-1, None]
        start = first - cells.start * step
        out = out.reshape(len(out), -1, out.shape[-1])[:, start : start + last - first + 1]
        (row, col), exact = self._single_pixels(rows, cols)
        out[:, row - rows.start, col - cols.start] = exact
        return out

    def lattice(self, rows: slice, cols: slice) -> tuple[Floats, int, tuple[int, int]] | None:
        """Nodes, the pixels between them, and where a block begins; None if its positions are not linear between."""
        if self._single_pixels(rows, cols)[0].size:
            return None
        return self.nodes, self.step, (rows.start - self.corner[0], cols.start - self.corner[1])

    def extremes(self, rows: slice, cols: slice) -> Floats:
        """Positions, (2, k), that enclose all those of a block inside of the patch."""
        numbers = [_nodes_within(span, at, self.step) for span, at in zip((rows, cols), self.corner, strict=True)]
        lines = self._along(numbers[1], slice(0, None))
        cell, part = numbers[0] // self.step, (numbers[0] % self.step / self.step)[:, None]
        found = (lines[:, cell + 1] - lines[:, cell]) * part + lines[:, cell]
        return np.concatenate([found.reshape(len(found), -1), self._single_pixels(rows, cols)[1]], axis=1)

    def _along(self, numbers: NDArray[np.intp], cells: slice) -> Floats:
        """Rows of nodes, interpolated at columns of the patch."""
        cell, part = numbers // self.step, numbers % self.step / self.step
        nodes = self.nodes[:, cells]
        # Taken, not indexed: rows stay side by side in memory, and so does everything made of them.
        here = nodes.take(cell, axis=-1)
        out: Floats = here + (nodes.take(cell + 1, axis=-1) - here) * part
        return out

    def _single_pixels(self, rows: slice, cols: slice) -> tuple[NDArray[np.intp], Floats]:
        at, exact = self.single_pixels
        span = slice(*np.searchsorted(at[0], (rows.start, rows.stop)))
        inside = (at[1, span] >= cols.start) & (at[1, span] < cols.stop)
        return at[:, span][:, inside], exact[:, span][:, inside]


def _nodes_within(span: slice, corner: int, step: int) -> NDArray[np.intp]:
    """Both ends of a span and the nodes in between, counted from the corner."""
    first, last = span.start - corner, span.stop - 1 - corner
    return np.unique([first, *range(-(-first // step) * step, last, step), last])


def make_patch(exact: Exact, block: Block, size: tuple[int, int] | None, allowed: float, far: float = _FAR) -> Patch:
    """Compute the positions of a patch, refined until their error is allowed; far beyond the image it does not matter.

    size : Rows and columns of the image, of which the first two values of `exact` are positions.
    """
    row, col = (_WIDEST * np.arange(max(-(-(span.stop - span.start) // _WIDEST) + 1, _FEWEST)) for span in block)
    step, corner = _WIDEST, (block[0].start, block[1].start)
    nodes = np.stack(exact(corner[0] + row[:, None].astype(np.float64), corner[1] + col.astype(np.float64)))
    unresolved = np.ones((row.size - 1, col.size - 1), dtype=bool)
    single_pixels: tuple[NDArray[Any], NDArray[Any]] = np.empty((2, 0), np.intp), np.empty((len(nodes), 0))
    while True:
        fine = _double_nodes(nodes)
        at = np.nonzero(_new_nodes(unresolved))
        found = np.stack(exact(corner[0] + at[0] * (step / 2), corner[1] + at[1] * (step / 2)))
        wrong = _error(fine[:, at[0], at[1]], found, size, far) > allowed / 2
        fine[:, at[0], at[1]] = found
        unresolved &= _cells_with(wrong, at, fine.shape[1:]) | _partly_missing(fine)
        if not unresolved.any():
            break
        nodes, step = fine, step // 2
        if 2 * step == _FINEST:
            # The edge of an area without positions may pass between the places checked.
            single_pixels = _pixels(exact, _with_neighbours(unresolved) if np.isnan(found).any() else unresolved, block)
            break
        unresolved = _with_neighbours(unresolved).repeat(2, axis=0).repeat(2, axis=1)
    while step > 1 and not _is_linear(nodes, fine := _double_nodes(nodes), allowed / 2):
        nodes, step = fine, step // 2
    return Patch(corner, step, nodes, single_pixels)


def _double_nodes(nodes: Floats) -> Floats:
    """Interpolate twice as many nodes, by cubics where possible."""
    for axis in (1, 2):
        at = np.moveaxis(nodes, axis, 0)
        out = np.empty((2 * at.shape[0] - 1, *at.shape[1:]))
        out[::2] = at
        middle = out[1::2]
        middle[1:-1] = (9 * (at[1:-2] + at[2:-1]) - (at[:-3] + at[3:])) / 16
        middle[0] = (5 * at[0] + 15 * at[1] - 5 * at[2] + at[3]) / 16
        middle[-1] = (5 * at[-1] + 15 * at[-2] - 5 * at[-3] + at[-4]) / 16
        # Next to a node without a position a straight line still has one.
        np.copyto(middle, (at[1:] + at[:-1]) / 2, where=np.isnan(middle))
        nodes = np.moveaxis(out, 0, axis)
    return nodes


def _is_linear(nodes: Floats, fine: Floats, allowed: float) -> bool:
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


def _error(guess: Floats, found: Floats, size: tuple[int, int] | None, far: float) -> Floats:
    """Distance between positions; 0 where both are unknown, or far beyond the image."""
    known, guessed = np.isfinite(found).all(axis=0), np.isfinite(guess).all(axis=0)
    error = np.where(known | guessed, np.inf, 0.0)
    both = known & guessed
    error[both] = _length(found[:, both] - guess[:, both])
    for position, length in zip(found[:2], size, strict=True) if size is not None else ():
        with np.errstate(invalid="ignore"):
            error[(position + error < -far) | (position - error > length + far)] = 0.0
    return error


def _cells_with(marked: NDArray[np.bool_], at: Any, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Cells of the lattice that have a marked node of the doubled one."""
    nodes = np.zeros(shape, dtype=bool)
    nodes[at] = marked
    return _reduce_cells(nodes, np.logical_or)


def _partly_missing(fine: Floats) -> NDArray[np.bool_]:
    """Cells that have nodes with and nodes without a position."""
    unknown: NDArray[np.bool_] = np.asarray(np.isnan(fine).any(axis=0))
    return _reduce_cells(unknown, np.logical_or) & ~_reduce_cells(unknown, np.logical_and)


def _reduce_cells(fine: NDArray[np.bool_], join: np.ufunc) -> NDArray[np.bool_]:
    """Combine the nine nodes of each cell of the doubled lattice."""
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


def patches_under(rows: slice, cols: slice) -> Iterator[tuple[tuple[int, int], Block]]:
    """Patches under a block of the output, by number, and the part of the block in each."""
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
    """Bounded cache of patches, safe between threads; empty after a copy or pickle."""

    def __init__(self) -> None:
        self._patches: dict[tuple[int, int], Patch] = {}
        self._bytes = 0
        self._lock = threading.Lock()

    def __reduce__(self) -> Any:
        return (Patches, ())

    def __dask_tokenize__(self) -> str:
        return "xcoreg-patches"

    def get(self, key: tuple[int, int], make: Callable[[], Patch]) -> Patch:
        """Return a patch, from the cache if it is there."""
        with self._lock:
            patch = self._patches.get(key)
        if patch is None:
            patch = make()
            with self._lock:
                if self._patches.setdefault(key, patch) is patch:
                    self._bytes += _size(patch)
                while self._bytes > _CACHE_BYTES and len(self._patches) > 1:
                    oldest = next(iter(self._patches))
                    self._bytes -= _size(self._patches.pop(oldest))
        return patch


def _size(patch: Patch) -> int:
    return patch.nodes.nbytes + sum(part.nbytes for part in patch.single_pixels)
