"""Composing one warp: the source pixel of every output pixel, whatever lies between them.

Output pixel -> output CRS -> CRS of the image -> minus the displacement -> source pixel, in one step: an image is
interpolated once. Three shapes of that map are told apart, over the whole output and never per block, so that results
do not depend on chunks:

* *axes*: grids parallel to each other; a vector of rows and a vector of columns say everything;
* *affine*: rotated against each other, one CRS, one displacement for every place;
* *lattice*: anything else (another CRS, a displacement field). Positions are exact on a lattice and linear in between,
  within `TOLERANCE`; see :mod:`xcoreg.warp.lattice`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from xcoreg import georef
from xcoreg.warp.lattice import Patch, Patches, make_patch, patch_block, patches_met

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from xcoreg.warp.displacement import Displacement, Grid

    Floats: TypeAlias = "NDArray[np.float64]"

__all__ = ["TOLERANCE", "Box", "Mapping", "compose", "outline"]

#: Rows and columns [row0, row1) x [col0, col1) of the source.
Box: TypeAlias = "tuple[int, int, int, int]"

#: Largest error of an interpolated source position where it is checked, px of the coarser of the two grids.
TOLERANCE = 0.002

_DRIFT = 1e-5  # px over the whole grid: less than this is round-off of the two transforms
_COARSER = 1.1  # an output this much coarser than the source is averaged, below it is just interpolated


@dataclass(frozen=True)
class Mapping:
    """The source position of every output pixel; make it with :func:`compose`.

    Parameters
    ----------
    out, source : Grid
        Grids of the output and of the image.
    move : Displacement
        The correction.
    matrix : six floats or None
        (a, b, c, d, e, f) with ``col = a out_col + b out_row + c`` and ``row = d out_col + e out_row + f``, pixel
        centres; None for a lattice.
    scale : (float, float)
        Source pixels per output pixel along source rows and columns, 1 unless the output is clearly coarser.
    """

    out: Grid
    source: Grid
    move: Displacement
    matrix: tuple[float, float, float, float, float, float] | None = None
    scale: tuple[float, float] = (1.0, 1.0)
    patches: Patches = field(default_factory=Patches, compare=False, repr=False)

    @property
    def separable(self) -> bool:
        """True when the two grids are parallel."""
        return self.matrix is not None and self.matrix[1] == 0.0 == self.matrix[3]

    @property
    def whole(self) -> bool:
        """True when output pixels are source pixels: no interpolation, whatever the kernel."""
        if self.matrix is None or not self.separable:
            return False
        a, _, c, _, e, f = self.matrix
        return abs(a) == 1.0 == abs(e) and c.is_integer() and f.is_integer()

    @property
    def still(self) -> bool:
        """True when every output pixel is the source pixel of the same row and column."""
        return self.matrix == (1.0, 0.0, 0.0, 0.0, 1.0, 0.0) and self.out.shape == self.source.shape

    @property
    def covered(self) -> bool:
        """True when every output pixel surely falls on the image."""
        extremes = self._extremes(slice(0, self.out.shape[0]), slice(0, self.out.shape[1]))
        return all(
            bool(np.isfinite(p).all() and p.min() >= -0.5 and p.max() < size - 0.5)
            for p, size in zip(extremes, self.source.shape, strict=True)
        )

    def exact(self, rows: Any, cols: Any) -> tuple[Floats, Floats]:
        """Source rows and columns of output rows and columns, through every step of the chain.

        Parameters
        ----------
        rows, cols : float, broadcast together
            Output positions, px, integer = pixel centre.

        Returns
        -------
        rows, cols : float64
            Source positions, NaN where there is none.
        """
        x, y = georef.pixel_to_map(self.out.transform, *np.broadcast_arrays(cols, rows))
        with np.errstate(invalid="ignore", over="ignore"):
            x, y = georef.transform_points(self.out.crs, self.source.crs, x, y, near=self.source.centre[0])
            col, row = georef.map_to_pixel(self.source.transform, *self.move.undo(x, y))
        lost = ~(np.isfinite(row) & np.isfinite(col))
        return np.where(lost, np.nan, row), np.where(lost, np.nan, col)

    def source_of(self, rows: Any, cols: Any) -> tuple[Floats, Floats]:
        """Source rows and columns of output rows and columns: by the matrix where there is one, else exact."""
        if self.matrix is None:
            return self.exact(rows, cols)
        a, b, c, d, e, f = self.matrix
        return (d * cols + f) + e * rows, (a * cols + c) + b * rows

    def axes(self, rows: slice, cols: slice) -> tuple[Floats, Floats]:
        """Source rows of output rows and source columns of output columns, when :attr:`separable`."""
        a, _, c, _, e, f = self._matrix
        return e * _numbers(rows) + f, a * _numbers(cols) + c

    def positions(self, rows: slice, cols: slice) -> tuple[Floats, Floats]:
        """Source rows and columns, each (n_rows, n_cols), of a block of the output."""
        if self.matrix is not None:
            return self.source_of(_numbers(rows)[:, None], _numbers(cols))
        out = np.empty((2, rows.stop - rows.start, cols.stop - cols.start))
        for patch, part in self._parts(rows, cols):
            here = tuple(slice(p.start - s.start, p.stop - s.start) for p, s in zip(part, (rows, cols), strict=True))
            out[:, here[0], here[1]] = patch.positions(*part)
        return out[0], out[1]

    def window(self, rows: slice, cols: slice, margin: int, block: tuple[int, int] = (1, 1)) -> Box:
        """Source pixels that a block of the output needs.

        Parameters
        ----------
        rows, cols : slice
            The block.
        margin : int
            Reach of the kernel, source px.
        block : (int, int)
            The window starts and ends at multiples of it (or at the edge of the image), along rows and columns.

        Returns
        -------
        Box
            Inside of the source; (0, 0, 0, 0) when nothing is needed.
        """
        spans = [_span(p) for p in self._extremes(rows, cols)]
        box: list[int] = []
        for span, size, unit in zip(spans, self.source.shape, block, strict=True):
            if span is None or span[1] < -margin or span[0] > size - 1 + margin:
                return (0, 0, 0, 0)
            low = max(int(np.floor(span[0])) - margin, 0)
            high = min(int(np.ceil(span[1])) + margin + 1, size)
            box += [low // unit * unit, min(-(-high // unit) * unit, size)]
        return (box[0], box[1], box[2], box[3])

    def _extremes(self, rows: slice, cols: slice) -> tuple[Floats, Floats]:
        """Positions among which all those of a block lie."""
        if self.matrix is not None:
            row = np.array([[rows.start], [rows.stop - 1]], np.float64)
            col = np.array([cols.start, cols.stop - 1], np.float64)
            return self.source_of(row, col)
        found = np.concatenate([patch.extremes(*part) for patch, part in self._parts(rows, cols)], axis=1)
        return found[0], found[1]

    def _parts(self, rows: slice, cols: slice) -> Iterator[tuple[Patch, tuple[slice, slice]]]:
        """Patches that a block meets, and the part in each."""
        return ((self._patch(at), part) for at, part in patches_met(rows, cols))

    def _patch(self, at: tuple[int, int]) -> Patch:
        block, allowed = patch_block(at, self.out.shape), TOLERANCE * min(self.scale)
        return self.patches.get(at, lambda: make_patch(self.exact, block, self.source.shape, allowed))

    @property
    def _matrix(self) -> tuple[float, float, float, float, float, float]:
        if self.matrix is None:
            raise ValueError("positions of a lattice have no matrix")
        return self.matrix


def _numbers(span: slice) -> Floats:
    return np.arange(span.start, span.stop, dtype=np.float64)


def _span(positions: Floats) -> tuple[float, float] | None:
    known = positions[np.isfinite(positions)]
    return (float(known.min()), float(known.max())) if known.size else None


def outline(shape: tuple[int, int], n: int = 33) -> tuple[Floats, Floats]:
    """Spread rows and columns over a grid, its edges included.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the grid.
    n : int
        Points along each axis.

    Returns
    -------
    rows, cols : (n * n,) float64
        Integer = pixel centre: the corners of the grid are at -0.5.

    Examples
    --------
    >>> outline((10, 20), 2)[1]
    array([-0.5, 19.5, -0.5, 19.5])
    """
    row, col = (np.linspace(-0.5, size - 0.5, n) for size in shape)
    return np.repeat(row, n), np.tile(col, n)


def compose(out: Grid, source: Grid, move: Displacement) -> Mapping | None:
    """Compose grids, CRSs and a displacement into one map.

    Parameters
    ----------
    out, source : Grid
        Grid of the output, and of the image before its correction.
    move : Displacement
        The correction, in the CRS of the image.

    Returns
    -------
    Mapping or None
        None when no output pixel falls on the image.

    Examples
    --------
    >>> from xcoreg.core.models import Translation
    >>> from xcoreg.warp.displacement import Displacement, Grid
    >>> source = Grid((10.0, 0.0, 0.0, 0.0, -10.0, 0.0), (50, 50), "EPSG:32633")
    >>> move = Displacement.of(Translation(25.0, 10.0), "EPSG:32633", source)
    >>> compose(source, source, move).axes(slice(0, 2), slice(0, 2))
    (array([1., 2.]), array([-2.5, -1.5]))
    """
    mapping = Mapping(out, source, move)
    seen = _seen(mapping)
    if seen is None:
        return None
    if move.constant is not None and georef.same_crs(out.crs, source.crs):
        matrix = _matrix_of(mapping)
        scale = (_factor(np.hypot(matrix[3], matrix[4])), _factor(np.hypot(matrix[0], matrix[1])))
        return Mapping(out, source, move, matrix, scale=scale)
    rows, cols = seen
    return Mapping(out, source, move, scale=_scale_at(mapping, rows, cols))


def _seen(mapping: Mapping) -> tuple[slice, slice] | None:
    """Find the part of the output that the image covers, from points spread over the image."""
    row, col = outline(mapping.source.shape)
    x, y = georef.pixel_to_map(mapping.source.transform, col, row)
    dx, dy = mapping.move.at(x, y)
    x, y = georef.transform_points(mapping.source.crs, mapping.out.crs, x + dx, y + dy, near=mapping.out.centre[0])
    out_col, out_row = georef.map_to_pixel(mapping.out.transform, x, y)
    spans = []
    for positions, size in zip((out_row, out_col), mapping.out.shape, strict=True):
        span = _span(positions)
        low, high = (0.0, -1.0) if span is None else (max(np.floor(span[0]), 0.0), min(np.ceil(span[1]), size - 1.0))
        if high < low:
            return None
        spans.append(slice(int(low), int(high) + 1))
    return spans[0], spans[1]


def _matrix_of(mapping: Mapping) -> tuple[float, float, float, float, float, float]:
    """Read the affine map off its values at far corners: next to each other they would keep too few digits."""
    n_rows, n_cols = (max(size, 2) for size in mapping.out.shape)
    row, col = mapping.exact(np.array([0.0, 0.0, n_rows]), np.array([0.0, n_cols, 0.0]))
    a, d = (col[1] - col[0]) / n_cols, (row[1] - row[0]) / n_cols
    b, e = (col[2] - col[0]) / n_rows, (row[2] - row[0]) / n_rows
    a, b = _clean(a, n_cols), _clean(b, n_rows)
    d, e = _clean(d, n_cols), _clean(e, n_rows)
    return a, b, _clean(float(col[0]), 1), d, e, _clean(float(row[0]), 1)


def _clean(value: float, length: int) -> float:
    """Take a number for a whole one where, over a length, the difference is round-off."""
    whole = round(float(value))
    return float(whole) if abs(value - whole) * length < _DRIFT else float(value)


def _factor(step: float) -> float:
    return float(step) if step > _COARSER else 1.0


def _scale_at(mapping: Mapping, rows: slice, cols: slice) -> tuple[float, float]:
    """Source pixels per output pixel, in the middle of what is seen."""
    row, col = (rows.start + rows.stop - 1) / 2, (cols.start + cols.stop - 1) / 2
    found = mapping.exact(row + np.array([-0.5, 0.5, 0.0, 0.0]), col + np.array([0.0, 0.0, -0.5, 0.5]))
    steps = [np.hypot(p[1] - p[0], p[3] - p[2]) for p in found]
    return _factor(steps[0]), _factor(steps[1])
