"""Error of an elevation model, per pixel and of means over areas, from the residuals of a fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from xarray import DataArray

from xcoreg.core.dem.bias import terrain_variable
from xcoreg.core.dem.noise import Noise
from xcoreg.errors import OptionError
from xcoreg.georef import linear_of
from xcoreg.georef.crs import metres_per_pixel
from xcoreg.raster.bands import height_scaling
from xcoreg.raster.georeference import parse_unit
from xcoreg.raster.grid import grid_of
from xcoreg.raster.nodata import stored_nodata, valid_mask

if TYPE_CHECKING:
    from xcoreg.results.coregistration import Coregistration


def noise_of(fit: Coregistration) -> Noise:
    """Noise that a fit has recorded."""
    known = fit.details.elevation
    if known is None or not known.noise_slopes:
        raise OptionError(
            "the fit has no error model, and fields have none: use match, not match_local, of two elevation models "
            "with matcher='nuth_kaab' or 'vertical'"
        )
    return Noise(known.noise_slopes, known.noise_sigma, known.correlation)


def dem_error(dem: DataArray, fit: Coregistration) -> DataArray:
    """Map the standard deviation of height differences (y, x) by the slope; NaN where there is no height."""
    noise, grid = noise_of(fit), grid_of(dem, "the elevation model")
    numbers = np.asarray(dem.values, np.float64).reshape(dem.shape[-2:])
    valid = np.asarray(valid_mask(numbers, stored_nodata(dem)) & np.isfinite(numbers))
    gain, offset = height_scaling(dem)
    box = grid.extent.boundingbox
    metres = metres_per_pixel(grid.crs, linear_of(grid.affine), (box.bottom + box.top) / 2)
    metres = metres / (parse_unit(fit.details.unit_z).metres or 1.0)
    slope = terrain_variable("slope", np.where(valid, numbers, 0) * gain + offset, valid, metres)
    sigma = np.where(valid, noise.at(slope), np.nan).astype(np.float32)
    flat = dem.isel(dict.fromkeys(dem.dims[:-2], 0), drop=True)
    out = flat.copy(data=sigma)
    out.attrs = {"long_name": "standard deviation of height differences", "units": fit.details.unit_z or "m"}
    out.encoding = {}
    return out.rename("dem_error")


def mean_error(error: DataArray, inside: Any, fit: Coregistration) -> float:
    """Estimate the standard deviation of a mean height difference over the pixels (rows, cols) of a mask."""
    noise, chosen = noise_of(fit), np.asarray(inside, bool) & np.isfinite(error.values)
    count = int(chosen.sum())
    if not count:
        raise OptionError("no pixel with a height lies inside: check the polygon and its CRS")
    own = float(np.mean(np.square(error.values[chosen], dtype=np.float64)))
    # Errors are correlated over an area: a small polygon lies in one, a large one holds many.
    offset = float(fit.shift.cov3[2][2])
    return float(np.sqrt(own * noise.area / (count + noise.area) + offset))
