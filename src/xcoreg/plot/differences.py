"""Elevation differences before and after a correction, on one grid, with the slopes they lie on."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from odc.geo.geobox import GeoBox

from xcoreg import georef
from xcoreg.core.matches import Status
from xcoreg.core.models import Translation
from xcoreg.core.quality import nmad
from xcoreg.errors import CoregWarning, NoOverlap
from xcoreg.matching.masks import as_mask
from xcoreg.plot.view import outline
from xcoreg.raster.raster import make_raster
from xcoreg.results.coregistration import Coregistration, Quality
from xcoreg.results.tiepoints import TiePoints
from xcoreg.warp.apply import apply

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xcoreg.raster.raster import Raster

    Floats = NDArray[np.float64]

__all__ = ["Differences", "HeightStats", "differences", "metres_per_unit"]

_DIFFERENCE_SIDE = 1500  # px: larger overlaps are looked at on a coarser grid
_LARGE, _CHUNK = 1 << 24, 2048  # px of an image that is read part by part, and sides of a part


@dataclass(frozen=True)
class HeightStats:
    """What differences of elevation are like, m.

    Parameters
    ----------
    n : int
        Pixels.
    median, nmad, le90, rmse : float
        LE90: 90 % of the differences are smaller, whatever their sign.

    Examples
    --------
    >>> HeightStats.of(np.array([1.0, 2.0, 3.0, np.nan])).median
    2.0
    """

    n: int
    median: float
    nmad: float
    le90: float
    rmse: float

    @classmethod
    def of(cls, values: Floats) -> HeightStats:
        """Sum up the finite values; NaN where there are none."""
        known = values[np.isfinite(values)]
        if not known.size:
            return cls(0, *[math.nan] * 4)
        le90, rmse = np.percentile(np.abs(known), 90), np.sqrt(np.mean(known**2))
        return cls(int(known.size), float(np.median(known)), nmad(known), float(le90), float(rmse))


@dataclass(frozen=True, eq=False)
class Differences:
    """Reference minus target, pixel by pixel.

    Parameters
    ----------
    grid : GeoBox
        Of the arrays; that of the target, cut to the overlap, and coarser where it is large.
    before, after : (rows, cols) float64
        Heights, units of the values; NaN unless both are known.
    used : (rows, cols) bool
        Ground that counts: known, and where the user's mask is true.
    slope : (rows, cols) float64
        Tangent of the slope of the reference; NaN at voids.
    aspect : (rows, cols) float64
        Downslope, degrees clockwise from North.
    coarser : int
        Pixels of the target per pixel of the grid, along each axis.
    """

    grid: GeoBox
    before: Floats
    after: Floats
    used: NDArray[np.bool_]
    slope: Floats
    aspect: Floats
    coarser: int = 1

    def stats(self, which: str, *, used: bool = True) -> HeightStats:
        """Sum up the differences `which` ("before" or "after") on the ground that counts, or on the rest."""
        return HeightStats.of(getattr(self, which)[self.used == used])


def differences(
    fit: Coregistration, target: Any, reference: Any, where: Any = None, *, band: Any = None, ref_band: Any = None
) -> Differences:
    """Compute elevation differences before and after a correction.

    Parameters
    ----------
    fit : Coregistration
        Trusted.
    target, reference : DataArray or Dataset
        The elevation models, as they were matched.
    where : optional
        Ground that counts, as in `match`.
    band, ref_band : optional
        As in `match`.

    Returns
    -------
    Differences
        Both on the same pixels. Overlaps of more than 1500 px along a side are averaged to a coarser grid. What lies
        on another grid is interpolated, which smooths its noise: a corrected target most often, the reference where
        the two have different grids.

    Raises
    ------
    NoOverlap
        When the two do not meet.
    """
    tgt, ref = make_raster(target, band=band, name="target"), make_raster(reference, band=ref_band, name="reference")
    grid, coarser = _common_grid(tgt, ref)
    ground = _read(ref, _still(ref), grid)
    before, after = ground - _read(tgt, _still(tgt), grid), ground - _read(tgt, fit, grid)
    known = np.isfinite(before) & np.isfinite(after)
    before[~known], after[~known] = np.nan, np.nan
    slope, aspect = _terrain(ground, grid)
    mask = as_mask(where, grid.crs)
    if mask is not None:
        row, col = np.mgrid[: grid.shape[0], : grid.shape[1]]
        known = known & mask(*georef.pixel_to_map(grid.affine, col, row))
    return Differences(grid, before, after, known, slope, aspect, coarser)


def _common_grid(tgt: Raster, ref: Raster) -> tuple[GeoBox, int]:
    """Cut the grid of the target to the reference, and make it coarser where it is large."""
    corners = outline(ref.grid.affine, ref.shape)
    col, row = georef.map_to_pixel(
        tgt.grid.affine, *georef.transform_points(ref.grid.crs, tgt.grid.crs, corners[:, 0], corners[:, 1])
    )
    spans = []
    for position, size in ((row, tgt.shape[0]), (col, tgt.shape[1])):
        start, stop = max(math.floor(position.min()), 0), min(math.ceil(position.max()) + 1, size)
        if stop <= start:
            raise NoOverlap("the two elevation models do not meet: look at both with xcoreg.plot.plot_fit")
        spans.append((start, stop))
    longest = max(stop - start for start, stop in spans)
    step = -(-longest // _DIFFERENCE_SIDE)
    affine = georef.resized(tgt.grid.affine, (step, step), (spans[1][0], spans[0][0]))
    rows, cols = (max((stop - start) // step, 1) for start, stop in spans)
    return GeoBox((rows, cols), affine, tgt.grid.crs), step


def _still(raster: Raster) -> Coregistration:
    """Correct nothing: brings an image onto another grid by the very interpolation of `apply`."""
    nothing = TiePoints(*([[]] * 9))  # type: ignore[arg-type]
    grid = tuple(raster.grid.affine)[:6], raster.shape
    wkt = georef.as_crs(raster.grid.crs).to_wkt()
    return Coregistration(Translation(0.0, 0.0), nothing, Quality(), Status.OK, None, wkt, *grid)


def _read(raster: Raster, fit: Coregistration, grid: GeoBox) -> Floats:
    data = raster.data
    if not raster.is_chunked and data.size > _LARGE:
        data = data.chunk(dict.fromkeys(data.dims, _CHUNK))  # what is in a file stays there
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CoregWarning)
        image = apply(data.astype(raster.work_dtype, keep_attrs=True), fit, like=grid, nodata=raster.nodata)
    made = make_raster(image, nodata=np.nan if raster.nodata is None else raster.nodata, name=raster.name)
    values, valid = made.read(0, grid.shape[0], 0, grid.shape[1])
    return np.where(valid, values, np.nan).astype(np.float64)


def metres_per_unit(crs: Any, lat: float) -> tuple[float, float]:
    """Length on the ground of one unit of x and of y.

    Parameters
    ----------
    crs : CRS in any spelling
    lat : float
        Latitude, where the CRS is geographic.

    Returns
    -------
    x, y : float
        Metres.

    Examples
    --------
    >>> [round(length) for length in metres_per_unit("EPSG:4326", 60.0)]
    [55800, 111412]
    """
    known = georef.as_crs(crs)
    unit = known.axis_info[0].unit_conversion_factor
    if not known.is_geographic:
        return unit, unit
    phi, degree = math.radians(lat), math.degrees(unit)
    along_x = 111412.84 * math.cos(phi) - 93.5 * math.cos(3 * phi) + 0.118 * math.cos(5 * phi)
    along_y = 111132.954 - 559.822 * math.cos(2 * phi) + 1.175 * math.cos(4 * phi)
    return along_x * degree, along_y * degree


def _terrain(heights: Floats, grid: GeoBox) -> tuple[Floats, Floats]:
    """Tangent of the slope, and its direction."""
    if min(heights.shape) < 2:
        return np.full(heights.shape, np.nan), np.full(heights.shape, np.nan)
    by_row, by_col = np.gradient(heights)
    a, b, d, e = georef.linear_of(grid.affine)
    det = a * e - b * d
    x, y = grid.extent.boundingbox.left, (grid.extent.boundingbox.bottom + grid.extent.boundingbox.top) / 2
    size = metres_per_unit(grid.crs, y if math.isfinite(x) else 0.0)
    # The gradient turns with the inverse, transposed, of what maps pixels.
    east, north = (e * by_col - d * by_row) / det / size[0], (a * by_row - b * by_col) / det / size[1]
    return np.hypot(east, north), np.degrees(np.arctan2(-east, -north)) % 360.0
