"""Heights that a rigid correction needs: a pixel moves by its height where the correction tilts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from odc.geo.geobox import GeoBox

from xcoreg import georef
from xcoreg.core import Floats
from xcoreg.core.sampling import sample
from xcoreg.errors import warn_user
from xcoreg.raster.bands import common_unit, height_scaling, height_unit, spatial_bands, spatial_dims
from xcoreg.raster.georeference import parse_unit
from xcoreg.raster.grid import grid_of
from xcoreg.raster.nodata import stored_nodata, valid_mask
from xcoreg.warp.vertical import heights_in

if TYPE_CHECKING:
    from xarray import DataArray

    from xcoreg.results.coregistration import Coregistration


@dataclass(frozen=True, eq=False)
class ImageHeights:
    """Heights of an image at map positions of a fit, bilinear.

    values, valid : (rows, cols); heights in the unit of the fit, and where there are any.
    grid, crs : Of the image; CRS of the positions asked for.
    """

    values: Floats
    valid: Any
    grid: GeoBox
    crs: Any

    def __call__(self, x: Floats, y: Floats) -> Floats:
        """Heights at map positions; NaN where unknown."""
        with np.errstate(invalid="ignore"):
            own = georef.transform_points(self.crs, self.grid.crs, x, y)
            col, row = georef.map_to_pixel(self.grid.affine, *own)
        known = np.isfinite(col) & np.isfinite(row)
        heights, good = sample(self.values, self.valid, np.where(known, row, -9), np.where(known, col, -9), "bilinear")
        return np.where(good & known, heights, np.nan)


def with_heights(fit: Coregistration, dem: Any) -> Coregistration:
    """Use the heights of an elevation model, which lies as the target of the fit did, in a rigid fit."""
    model: Any = fit.model
    bands = spatial_bands(dem, spatial_dims(dem, "the elevation model"))
    chosen = heights_in(bands, fit, None)
    name = next((name for name, at in chosen.items() if at), next(iter(bands)))
    at = (chosen[name] or (0,))[0]
    return replace(fit, model=model.with_heights(_heights_of(bands[name], at, fit)))


def _heights_of(band: DataArray, at: int, fit: Coregistration) -> ImageHeights:
    flat = band.isel(
        {dim: min(at, band.sizes[dim] - 1) for dim in band.dims[:-2][:1]} | dict.fromkeys(band.dims[1:-2], 0)
    )
    grid = grid_of(flat, "the elevation model")
    numbers = np.asarray(flat.values)
    valid = valid_mask(numbers, stored_nodata(flat)) & np.isfinite(numbers)
    gain, offset = height_scaling(band, at)
    factor = common_unit(parse_unit(fit.details.unit_z), height_unit(band, georef.as_crs(grid.crs), at))[1]
    values = np.where(valid, numbers, 0).astype(np.float64) * (gain * factor) + offset * factor
    return ImageHeights(values.astype(np.float32), valid, grid, georef.as_crs(fit.crs_wkt or grid.crs))


def bound_to_heights(image: Any, fit: Coregistration, vertical: Any) -> Coregistration:
    """Give a rigid fit the heights of the image that it corrects; warn where it has none."""
    model: Any = fit.model
    if model.heights_at is not None:
        return fit
    bands = spatial_bands(image, spatial_dims(image, "the image"))
    if vertical is not False and any(heights_in(bands, fit, None).values()):
        return with_heights(fit, image)
    warn_user(
        "a rigid correction moves pixels by their height, and the image holds none: mean heights of the target serve; "
        "for exact positions apply fit.with_heights(dem), an elevation model that lies as the image does"
    )
    return fit
