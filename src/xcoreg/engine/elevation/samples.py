"""Points of known height over an elevation model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xcoreg.core.dem.observations import Observed, observed
from xcoreg.core.sampling import sample
from xcoreg.errors import NoOverlap, OptionError
from xcoreg.georef import linear_of, map_to_pixel, transform_points, vector_to_map
from xcoreg.plan.masks import as_mask

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xcoreg.raster.raster import Raster

    Floats = NDArray[np.floating]

__all__ = ["Heights", "PointSamples", "heights_over", "is_points", "point_samples"]

#: Names of columns that hold heights, tried in this order, whatever their case.
NAMES = ("z", "height", "h", "elevation", "elev", "h_ell", "altitude")
# Pixels are read in tiles of so many on a side, with a margin for corrections; an even selection of very many tiles.
_TILE, _MARGIN, _MOST = 512, 40, 256
# Slopes are taken over the first of these distances, px; over the second they have other noise.
_NEAR, _FAR = 1, 3
_GOLDEN = 0.6180339887498949


@dataclass(frozen=True, eq=False)
class Heights:
    """Points over a raster.

    Parameters
    ----------
    x, y : (n,) float64
        CRS units of the raster.
    z : (n,) float64
    row : (n,) int
        Which of the rows given each one was.
    """

    x: Floats
    y: Floats
    z: Floats
    row: NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class PointSamples:
    """Points over a part of an elevation model, which is the target.

    Parameters
    ----------
    values : (rows, cols) float32
    valid : (rows, cols) bool
    col, row : (n,) float64
        Places of the points in it, px.
    z : (n,) float64
        Their heights.
    origin : (col, row)
        What is added to places to count in the lattice that all samples share, px.
    index : (n,) int
        Which of the rows given each point was.
    """

    values: Floats
    valid: NDArray[np.bool_]
    col: Floats
    row: Floats
    z: Floats
    origin: tuple[float, float]
    index: NDArray[np.intp]

    @property
    def shape(self) -> tuple[int, int]:
        """One column of points, in the order given: neighbours along a track are neighbours here."""
        return len(self.z), 1

    def observe(self, move: Floats, spare: bool = False) -> Observed:
        """See the model, moved by (dcol, drow) px, at the points.

        Parameters
        ----------
        move : (2,) float
        spare : bool
            Has no meaning here: only the model has slopes.
        """
        del spare
        here, slopes, at = self._look(move, _NEAR)
        return observed(np.asarray(self.z[at] - here[at], np.float32), slopes, slopes, at)

    def relief(self, move: Floats) -> tuple[Floats, Floats, int]:
        """Tell slopes from noise.

        Parameters
        ----------
        move : (2,) float

        Returns
        -------
        both, own : (2, 2) float64
            Sums of products of slopes over a shorter and a longer distance, whose pixels do not share noise, and of the
            shorter ones' own.
        count : int
        """
        _, near, at = self._look(move, _NEAR)
        _, far, also = self._look(move, _FAR)
        shared = np.isin(at, also), np.isin(also, at)
        first, second = (
            np.stack([part[use] for part in slopes]) for slopes, use in zip((near, far), shared, strict=True)
        )
        both = np.einsum("in,jn->ij", first, second, dtype=np.float64)
        return (both + both.T) / 2, np.einsum("in,jn->ij", first, first, dtype=np.float64), int(shared[0].sum())

    def _look(self, move: Floats, far: int) -> tuple[Floats, tuple[Floats, Floats], NDArray[np.intp]]:
        """Heights at all points, slopes over a distance at those that have them, and which these are."""
        col, row = self.col - move[0], self.row - move[1]
        steps = ((0, 0), (far, 0), (-far, 0), (0, far), (0, -far))
        seen = [sample(self.values, self.valid, row + down, col + right, "cubic") for right, down in steps]
        at = np.flatnonzero(np.all([good for _, good in seen], axis=0))
        right, left, below, above = (np.asarray(part[at], np.float32) for part, _ in seen[1:])
        width = np.float32(2 * far)
        return seen[0][0], ((right - left) / width, (below - above) / width), at

    def positions(self, at: NDArray[np.intp]) -> tuple[Floats, Floats]:
        """Columns and rows of samples in the lattice that all share, px."""
        return self.col[at] + self.origin[0], self.row[at] + self.origin[1]

    def coarser(self, factor: int) -> None:
        """Points cannot be averaged."""
        del factor


def is_points(reference: Any) -> bool:
    """Tell a table of points from an image.

    Examples
    --------
    >>> is_points(np.zeros((2, 2)))
    False
    """
    return hasattr(reference, "geometry") and hasattr(reference, "columns")


def heights_over(raster: Raster, points: Any, column: str | None, where: Any = None) -> Heights:
    """Take places and heights from a GeoDataFrame.

    Parameters
    ----------
    raster : Raster
    points : GeoDataFrame
        Of points; without a CRS taken to be in that of the raster.
    column : str, optional
        Where the heights are; default: the third coordinate, or the first of `NAMES` that is there.
    where : optional
        Use points only where true, as the option `where`.

    Returns
    -------
    Heights
        Those that are finite, inside of the raster and not masked.

    Raises
    ------
    OptionError
        When heights are not found, or geometries are no points.
    NoOverlap
        When no point lies on the raster.
    """
    if not (points.geom_type == "Point").all():
        raise OptionError("heights are told by points, the frame has other geometries: use only its points")
    z = _column(points, column)
    crs = raster.grid.crs
    x, y = (np.asarray(part, np.float64) for part in (points.geometry.x, points.geometry.y))
    if points.crs is not None:
        x, y = transform_points(points.crs, crs, x, y)
    col, row = map_to_pixel(raster.grid.affine, x, y)
    rows, cols = raster.shape
    with np.errstate(invalid="ignore"):
        use = np.isfinite(z) & (col >= 0) & (row >= 0) & (col <= cols - 1) & (row <= rows - 1)
    if not use.any():
        raise NoOverlap(f"none of the {len(z)} points with a height lies on the {raster.name}")
    mask = as_mask(where, crs)
    if mask is not None:
        use[use] &= np.asarray(mask(x[use], y[use]), bool)
    index = np.flatnonzero(use)
    return Heights(x[index], y[index], z[index], index)


def _column(points: Any, column: str | None) -> Floats:
    if column is not None:
        if column not in points.columns:
            raise OptionError(f"the points have no column {column!r}, only {', '.join(map(str, points.columns))}")
        return np.asarray(points[column], np.float64)
    if bool(points.has_z.all()):
        return np.asarray(points.geometry.z, np.float64)
    known = {str(name).lower(): name for name in points.columns}
    found = next((known[name] for name in NAMES if name in known), None)
    if found is None:
        names = ", ".join(str(name) for name in points.columns)
        raise OptionError(f"no heights among {names}: name their column with z=")
    return np.asarray(points[found], np.float64)


def point_samples(raster: Raster, heights: Heights) -> tuple[list[PointSamples], tuple[float, float]]:
    """Read the raster around points.

    Parameters
    ----------
    raster : Raster
    heights : Heights

    Returns
    -------
    samples : list of PointSamples
        Of each tile that has points, of an even selection of very many.
    origin : (x, y)
        Where their lattice counts from, CRS units.
    """
    affine = raster.grid.affine
    col, row = map_to_pixel(affine, heights.x, heights.y)
    middle = float(col.mean()), float(row.mean())
    tile = (row // _TILE).astype(int) * 100_000 + (col // _TILE).astype(int)
    names = np.unique(tile)
    order = np.argsort((np.arange(len(names)) * _GOLDEN) % 1, kind="stable")
    samples = []
    for name in np.sort(names[order[:_MOST]]).tolist():
        row0, col0 = name // 100_000 * _TILE - _MARGIN, name % 100_000 * _TILE - _MARGIN
        size = _TILE + 2 * _MARGIN
        values, valid = raster.read(row0, row0 + size, col0, col0 + size)
        at = tile == name
        samples.append(
            PointSamples(
                np.where(valid, values, 0),
                valid,
                col[at] - col0,
                row[at] - row0,
                heights.z[at],
                (col0 - middle[0], row0 - middle[1]),
                heights.row[at],
            )
        )
    x, y = vector_to_map(linear_of(affine), middle[0] + 0.5, middle[1] + 0.5)
    return samples, (float(affine.c + x), float(affine.f + y))
