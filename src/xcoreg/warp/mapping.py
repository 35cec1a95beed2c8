"""From output pixels to source pixels: the output grid, and one map through all steps between.

Output pixel -> output CRS -> CRS of the image -> minus the displacement -> source pixel, in one step: an image is
interpolated once. The map has one of three forms, the same for the whole output, so that results do not depend on
chunks:

* *axes*: parallel grids; one vector of rows and one of columns hold all positions;
* *affine*: grids rotated against each other, one CRS, one displacement for every place;
* *lattice*: anything else (another CRS, a displacement field). Positions are exact at the nodes of a lattice and linear
  in between, within `TOLERANCE`; see :mod:`xcoreg.warp.positions`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox
from xarray import DataArray, Dataset

from xcoreg import georef
from xcoreg.core import Floats
from xcoreg.errors import OptionError, numbers_of
from xcoreg.georef.transform import middle_of
from xcoreg.raster.grid import check_size, grid_of
from xcoreg.warp.positions import Patch, Patches, make_patch, patch_block, patches_under

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xcoreg.warp.plan import Displacement


_GRID_ROUND_OFF = 1e-5  # px
_FINEST = 1e-12  # ratio of pixel sizes; beyond it positions are rounded away


def aligned_grid(
    image: GeoBox,
    move: Displacement,
    ref: GeoBox,
    resolution: float | tuple[float, float] | None = None,
    *,
    turned: bool = False,
) -> GeoBox:
    """Grid over the corrected image with the image's pixel size, aligned with the pixel lattice of the reference.

    turned : The image has been turned: the axes are those of the reference.
    """
    linear = _scaled(ref, resolution or georef.gsd(image.affine)) if turned else _scaled(image, resolution)
    anchor = (ref.affine[2], ref.affine[5]) if georef.same_crs(image.crs, ref.crs) else (0.0, 0.0)
    row, col = outline(image.shape.yx, 2 if move.constant is not None else 65)
    x, y = georef.pixel_to_map(image.affine, col, row)
    dx, dy = move.at(x, y)
    at_col, at_row = georef.vector_to_pixel(linear, x + dx - anchor[0], y + dy - anchor[1])
    (first_col, n_cols), (first_row, n_rows) = pixel_span(at_col), pixel_span(at_row)
    to_x, to_y = georef.vector_to_map(linear, first_col, first_row)
    a, b, d, e = linear
    affine = Affine(a, b, float(anchor[0] + to_x), d, e, float(anchor[1] + to_y))
    if resolution is None:
        check_size((n_rows, n_cols), image.shape.yx)
    return GeoBox((n_rows, n_cols), affine, image.crs)


def pixel_size(resolution: Any) -> tuple[float, float]:
    """Read a pixel size, or two of them (x, y), as a user gives it."""
    sides = numbers_of([resolution], 1) or numbers_of(resolution, 1) or numbers_of(resolution, 2) or [0.0]
    if not all(0 < side < math.inf for side in sides):
        raise OptionError(f"resolution={resolution!r} must be a positive pixel size, or two of them (x, y)")
    return sides[0], sides[-1]


def _scaled(image: GeoBox, resolution: float | tuple[float, float] | None) -> georef.Linear:
    a, b, d, e = georef.linear_of(image.affine)
    if resolution is None:
        return a, b, d, e
    wanted = pixel_size(resolution)
    size = georef.gsd(image.affine)
    by_col, by_row = float(wanted[0]) / size[0], float(wanted[1]) / size[1]
    if not _FINEST < min(by_col, by_row) <= max(by_col, by_row) < 1 / _FINEST:
        raise OptionError(f"resolution={resolution!r} is no size for pixels of an image whose own are {size[0]:.6g}")
    return a * by_col, b * by_row, d * by_col, e * by_row


def pixel_span(positions: Any, round_off: float = _GRID_ROUND_OFF) -> tuple[int, int]:
    """First pixel edge and number of pixels that cover positions in pixels."""
    low = math.floor(float(positions.min()) + round_off)
    return low, max(math.ceil(float(positions.max()) - round_off) - low, 1)


def reference_grid(known: Any, given: Any = None) -> GeoBox:
    """Grid of the reference: as given, else as recorded in the fit."""
    if given is None and known is None:
        raise OptionError("the fit has no grid of the reference: pass like=, or ref_grid= with a GeoBox")
    return as_geobox(known if given is None else given, "ref_grid")


def as_geobox(given: Any, option: str) -> GeoBox:
    """Grid that an option names: a GeoBox with a CRS, or that of an image."""
    if isinstance(given, DataArray | Dataset):
        return grid_of(given, option)
    if not isinstance(given, GeoBox):
        raise OptionError(f"{option}= is a {type(given).__name__}: give a DataArray, a Dataset or a GeoBox")
    if given.crs is None:
        raise OptionError(f"{option}= has no CRS: make the GeoBox with one")
    return given


#: Rows and columns [row0, row1) x [col0, col1) of the source.
Box: TypeAlias = "tuple[int, int, int, int]"

#: Largest error of an interpolated source position where it is checked, px of the coarser of the two grids.
TOLERANCE = 0.002

_MATRIX_ROUND_OFF = 1e-5  # px over the whole grid: smaller differences are round-off of the transforms
_AVERAGED_FROM = 1.1  # source px per output px from which on the source is averaged


@dataclass(frozen=True)
class Mapping:
    """The source position of every output pixel; make it with :func:`compose`.

    out, source : Grids of the output and of the image.
    move : The correction.
    matrix : (a, b, c, d, e, f) with ``col = a out_col + b out_row + c`` and ``row = d out_col + e out_row + f``, pixel
        centres; None for a lattice.
    scale : Source pixels per output pixel along source rows and columns, 1 unless the output is clearly coarser.
    """

    out: GeoBox
    source: GeoBox
    move: Displacement
    matrix: tuple[float, float, float, float, float, float] | None = None
    scale: tuple[float, float] = (1.0, 1.0)
    patches: Patches = field(default_factory=Patches, compare=False, repr=False)

    @property
    def is_parallel(self) -> bool:
        """True when the two grids are parallel."""
        return self.matrix is not None and self.matrix[1] == 0.0 == self.matrix[3]

    @property
    def copies_pixels(self) -> bool:
        """True when output pixels are whole source pixels: nothing is interpolated, whatever the kernel."""
        if self.matrix is None or not self.is_parallel:
            return False
        a, _, c, _, e, f = self.matrix
        return abs(a) == 1.0 == abs(e) and c.is_integer() and f.is_integer()

    @property
    def is_identity(self) -> bool:
        """True when every output pixel is the source pixel of the same row and column."""
        return self.matrix == (1.0, 0.0, 0.0, 0.0, 1.0, 0.0) and self.out.shape == self.source.shape

    @property
    def is_covered(self) -> bool:
        """True when every output pixel is known to fall on the image."""
        extremes = self._extremes(slice(0, self.out.shape[0]), slice(0, self.out.shape[1]))
        return all(
            bool(np.isfinite(p).all() and p.min() >= -0.5 and p.max() < size - 0.5)
            for p, size in zip(extremes, self.source.shape, strict=True)
        )

    def exact(self, rows: Any, cols: Any) -> tuple[Floats, Floats]:
        """Source rows and columns of output rows and columns, through every step of the chain."""
        x, y = georef.pixel_to_map(self.out.affine, *np.broadcast_arrays(cols, rows))
        with np.errstate(invalid="ignore", over="ignore"):
            x, y = georef.transform_points(self.out.crs, self.source.crs, x, y, near=middle_of(self.source))
            col, row = georef.map_to_pixel(self.source.affine, *self.move.invert(x, y))
        unknown = ~(np.isfinite(row) & np.isfinite(col))
        return np.where(unknown, np.nan, row), np.where(unknown, np.nan, col)

    def source_of(self, rows: Any, cols: Any) -> tuple[Floats, Floats]:
        """Source rows and columns of output rows and columns: by the matrix where there is one, else exact."""
        if self.matrix is None:
            return self.exact(rows, cols)
        a, b, c, d, e, f = self.matrix
        return (d * cols + f) + e * rows, (a * cols + c) + b * rows

    def axes(self, rows: slice, cols: slice) -> tuple[Floats, Floats]:
        """Source rows of output rows and source columns of output columns, when :attr:`is_parallel`."""
        a, _, c, _, e, f = self._matrix
        return e * _indices(rows) + f, a * _indices(cols) + c

    def positions(self, rows: slice, cols: slice) -> tuple[Floats, Floats]:
        """Source rows and columns, each (n_rows, n_cols), of a block of the output."""
        if self.matrix is not None:
            return self.source_of(_indices(rows)[:, None], _indices(cols))
        pieces = list(self._parts(rows, cols))
        if len(pieces) == 1:
            row, col = pieces[0][0].positions(rows, cols)
            return row, col
        out = np.empty((2, rows.stop - rows.start, cols.stop - cols.start))
        for patch, part in pieces:
            here = tuple(slice(p.start - s.start, p.stop - s.start) for p, s in zip(part, (rows, cols), strict=True))
            out[:, here[0], here[1]] = patch.positions(*part)
        return out[0], out[1]

    def lattice(self, rows: slice, cols: slice) -> tuple[Floats, int, tuple[int, int]] | None:
        """Lattice of the positions of a tile (:meth:`Patch.lattice`); None where they have none."""
        own = type(self).positions is not Mapping.positions  # made of more than two values at the nodes
        parts = [] if own or self.matrix is not None else list(self._parts(rows, cols))
        return parts[0][0].lattice(rows, cols) if len(parts) == 1 else None

    def window(self, rows: slice, cols: slice, margin: int, block: tuple[int, int] = (1, 1)) -> Box:
        """Source pixels that a block of the output needs."""
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
        """Positions that enclose all those of a block."""
        if self.matrix is not None:
            row = np.array([[rows.start], [rows.stop - 1]], np.float64)
            col = np.array([cols.start, cols.stop - 1], np.float64)
            return self.source_of(row, col)
        found = np.concatenate([patch.extremes(*part) for patch, part in self._parts(rows, cols)], axis=1)
        return found[0], found[1]

    def _parts(self, rows: slice, cols: slice) -> Iterator[tuple[Patch, tuple[slice, slice]]]:
        """Patches under a block, and the part of the block in each."""
        return ((self._patch(at), part) for at, part in patches_under(rows, cols))

    def _patch(self, at: tuple[int, int]) -> Patch:
        block, allowed = patch_block(at, self.out.shape.yx), TOLERANCE * min(self.scale)
        return self.patches.get(at, lambda: make_patch(self.exact, block, self.source.shape.yx, allowed))

    @property
    def _matrix(self) -> tuple[float, float, float, float, float, float]:
        if self.matrix is None:
            raise ValueError("a lattice has no matrix")
        return self.matrix


def _indices(span: slice) -> Floats:
    return np.arange(span.start, span.stop, dtype=np.float64)


def _span(positions: Floats) -> tuple[float, float] | None:
    known = positions[np.isfinite(positions)]
    return (float(known.min()), float(known.max())) if known.size else None


def outline(shape: tuple[int, int], n: int = 33) -> tuple[Floats, Floats]:
    """Spread rows and columns over a grid, its edges included: -> rows, cols (n * n,) float64."""
    row, col = (np.linspace(-0.5, size - 0.5, n) for size in shape)
    return np.repeat(row, n), np.tile(col, n)


def compose(out: GeoBox, source: GeoBox, move: Displacement) -> Mapping | None:
    """Compose grids, CRSs and a displacement into one map; None where output and image do not overlap."""
    mapping = Mapping(out, source, move)
    covered = _covered_part(mapping)
    if covered is None:
        return None
    if move.constant is not None and georef.same_crs(out.crs, source.crs):
        matrix = _matrix_of(mapping)
        scale = (_averaging_factor(np.hypot(matrix[3], matrix[4])), _averaging_factor(np.hypot(matrix[0], matrix[1])))
        return Mapping(out, source, move, matrix, scale=scale)
    rows, cols = covered
    return Mapping(out, source, move, scale=_scale_at(mapping, rows, cols))


def _covered_part(mapping: Mapping) -> tuple[slice, slice] | None:
    """Find the part of the output that the image covers, from points spread over the image."""
    row, col = outline(mapping.source.shape.yx)
    x, y = georef.pixel_to_map(mapping.source.affine, col, row)
    dx, dy = mapping.move.at(x, y)
    x, y = georef.transform_points(mapping.source.crs, mapping.out.crs, x + dx, y + dy, near=middle_of(mapping.out))
    out_col, out_row = georef.map_to_pixel(mapping.out.affine, x, y)
    spans = []
    for positions, size in zip((out_row, out_col), mapping.out.shape, strict=True):
        span = _span(positions)
        low, high = (0.0, -1.0) if span is None else (max(np.floor(span[0]), 0.0), min(np.ceil(span[1]), size - 1.0))
        if high < low:
            return None
        spans.append(slice(int(low), int(high) + 1))
    return spans[0], spans[1]


def _matrix_of(mapping: Mapping) -> tuple[float, float, float, float, float, float]:
    """Find the affine map from positions at far corners: neighbouring ones would lose digits."""
    n_rows, n_cols = (max(size, 2) for size in mapping.out.shape)
    row, col = mapping.exact(np.array([0.0, 0.0, n_rows]), np.array([0.0, n_cols, 0.0]))
    a, d = (col[1] - col[0]) / n_cols, (row[1] - row[0]) / n_cols
    b, e = (col[2] - col[0]) / n_rows, (row[2] - row[0]) / n_rows
    a, b = _round_integer(a, n_cols), _round_integer(b, n_rows)
    d, e = _round_integer(d, n_cols), _round_integer(e, n_rows)
    return a, b, _round_integer(float(col[0]), 1), d, e, _round_integer(float(row[0]), 1)


def _round_integer(value: float, length: int) -> float:
    """Round a number where its difference from an integer, over a length, is round-off."""
    nearest = round(float(value))
    return float(nearest) if abs(value - nearest) * length < _MATRIX_ROUND_OFF else float(value)


def _averaging_factor(step: float) -> float:
    return float(step) if step > _AVERAGED_FROM else 1.0


def _scale_at(mapping: Mapping, rows: slice, cols: slice) -> tuple[float, float]:
    """Source pixels per output pixel, in the middle of the covered part."""
    row, col = (rows.start + rows.stop - 1) / 2, (cols.start + cols.stop - 1) / 2
    found = mapping.exact(row + np.array([-0.5, 0.5, 0.0, 0.0]), col + np.array([0.0, 0.0, -0.5, 0.5]))
    steps = [np.hypot(p[1] - p[0], p[3] - p[2]) for p in found]
    return _averaging_factor(steps[0]), _averaging_factor(steps[1])
