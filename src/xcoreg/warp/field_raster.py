"""The correction of a fit as a raster: dx, dy and their uncertainty at every node."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy  # its parts are loaded when they are used: a first call needs few
from odc.geo.geobox import GeoBox
from xarray import DataArray, Dataset

from xcoreg import georef
from xcoreg.core import Floats
from xcoreg.errors import MatchError, OptionError
from xcoreg.io.write import write_raster
from xcoreg.raster.grid import check_size, grid_of
from xcoreg.results.tiepoints import turn_cov
from xcoreg.warp.mapping import pixel_size

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from xcoreg.results.coregistration import Coregistration


_PER_SPACING = 4  # nodes between two tie points
_LARGEST, _USUAL = 1000, 100  # nodes along the longer side: at most, and where the spacing is unknown
_BLOCK = 1 << 15  # nodes evaluated at once
_BANDS = ("dx", "dy", "sigma")


def displacement_raster(
    fit: Coregistration, *, resolution: float | tuple[float, float] | None = None, like: Any = None
) -> DataArray:
    """Evaluate the model of a fit, trusted or not, on a grid: :meth:`Coregistration.to_raster`."""
    if fit.model is None:
        raise MatchError(f"there is no correction to draw a raster of: {fit.status.reason}", fit.points)
    grid = _grid(fit, resolution, like)
    check_size(grid.shape.yx)
    rows, cols = grid.shape
    bands = np.full((3, rows, cols), np.nan)
    step = max(1, _BLOCK // cols)
    for top in range(0, rows, step):
        block = slice(top, min(top + step, rows))
        row, col = np.mgrid[block, 0:cols]
        x, y = georef.pixel_to_map(grid.affine, col.ravel(), row.ravel())
        bands[:, block] = _evaluate(fit, grid, x, y).reshape(3, -1, cols)
    return _as_array(fit, grid, bands)


def node_grid(fit: Coregistration, resolution: float | tuple[float, float] | None = None) -> GeoBox:
    """Coarse grid over the target, turned as it is."""
    gsd_x, gsd_y = georef.gsd(fit.transform)
    rows, cols = fit.shape
    if resolution is None:
        step = max(_usual_step(fit), max(rows * gsd_y, cols * gsd_x) / _LARGEST)
        size = step, step
    else:
        size = pixel_size(resolution)
    steps = size[0] / gsd_x, size[1] / gsd_y
    shape = max(1, math.ceil(rows / steps[1] - 1e-9)), max(1, math.ceil(cols / steps[0] - 1e-9))
    return GeoBox(shape, georef.resized(fit.transform, steps), fit.crs_wkt)


def _usual_step(fit: Coregistration) -> float:
    """Quarter of the distance between tie points, CRS units."""
    good = fit.points.take(fit.points.ok)
    gsd_x, gsd_y = georef.gsd(fit.transform)
    rows, cols = fit.shape
    if len(good) < 3:
        return max(rows * gsd_y, cols * gsd_x) / _USUAL

    places = np.stack([good.x, good.y], axis=-1)
    distance, _ = scipy.spatial.cKDTree(places).query(places, k=2)
    return max(float(np.median(distance[:, 1])) / _PER_SPACING, gsd_x, gsd_y)


def _grid(fit: Coregistration, resolution: Any, like: Any) -> GeoBox:
    if like is None:
        return node_grid(fit, resolution)
    if resolution is not None:
        raise OptionError("like= and resolution= each choose the grid of the raster: give one of them")
    if isinstance(like, DataArray | Dataset):
        return grid_of(like, "like")
    if not isinstance(like, GeoBox):
        raise OptionError(f"like= is a {type(like).__name__}: give a DataArray, a Dataset or a GeoBox")
    return like


def _evaluate(fit: Coregistration, grid: GeoBox, x: Floats, y: Floats) -> Floats:
    """Correction and its largest deviation, (3, n), at places of a grid."""
    model: Any = fit.model
    same = fit.crs_wkt is None or grid.crs is None or georef.same_crs(fit.crs_wkt, grid.crs)
    there_x, there_y = (x, y) if same else georef.transform_points(grid.crs, fit.crs_wkt, x, y)
    known = np.isfinite(there_x) & np.isfinite(there_y)
    out = np.full((3, x.size), np.nan)
    if not known.any():
        return out
    dx, dy = model.predict(there_x[known], there_y[known])
    cov = model.predict_cov(there_x[known], there_y[known])
    if not same:
        here = x[known], y[known]
        dx, dy = georef.local_displacement(*here, dx, dy, fit.crs_wkt, grid.crs)
        cov = turn_cov(cov, *here, fit.crs_wkt, grid.crs, max(georef.gsd(grid.affine)))
    out[:, known] = dx, dy, _largest_sigma(cov)
    return out


def _largest_sigma(cov: Floats) -> Floats:
    """Root of the larger eigenvalue of 2 x 2 covariances."""
    half_trace = (cov[:, 0, 0] + cov[:, 1, 1]) / 2
    spread = np.hypot((cov[:, 0, 0] - cov[:, 1, 1]) / 2, (cov[:, 0, 1] + cov[:, 1, 0]) / 2)
    return np.sqrt(np.maximum(half_trace + spread, 0.0))


def _as_array(fit: Coregistration, grid: GeoBox, bands: Floats) -> DataArray:
    unit = "unknown" if grid.crs is None else georef.crs.unit_of(grid.crs)
    affine = grid.affine
    coords: dict[str, Any] = {"band": list(_BANDS)}
    if not (affine.b or affine.d):
        rows, cols = grid.shape
        coords["x"], _ = georef.pixel_to_map(affine, np.arange(cols), 0.0)
        _, coords["y"] = georef.pixel_to_map(affine, 0.0, np.arange(rows))
    image = DataArray(bands, coords, ("band", "y", "x"), name="displacement")
    image.attrs = {
        "long_name": _BANDS,
        "units": (unit,) * 3,
        "sign": "correction added to the coordinates of the target: x_ref = x_tgt + dx, y_ref = y_tgt + dy",
        "sigma": "standard deviation of the correction in the direction where it is largest",
        "model": fit.model.kind if fit.model is not None else "",
    }
    if grid.crs is not None:
        image = image.rio.write_crs(georef.as_crs(grid.crs).to_wkt())
    made: DataArray = image.rio.write_transform(affine).rio.write_nodata(np.nan)
    return made


def write_field(
    fit: Coregistration,
    path: str | os.PathLike[str],
    *,
    resolution: float | tuple[float, float] | None = None,
    like: Any = None,
    **creation: Any,
) -> Path:
    """Write the correction of a fit as a raster file of three float32 bands: dx, dy, sigma."""
    field = displacement_raster(fit, resolution=resolution, like=like)
    return write_raster(field.astype("float32", keep_attrs=True), path, **creation)
