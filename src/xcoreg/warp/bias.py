"""Biases of a fit by terrain or by a user's variable, added to the heights of the target before it is moved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from xarray import DataArray

from xcoreg.core import Floats
from xcoreg.core.dem.bias import TERRAIN, Curve, terrain_variable
from xcoreg.errors import OptionError
from xcoreg.georef import linear_of
from xcoreg.georef.crs import metres_per_pixel
from xcoreg.raster.bands import height_scaling, spatial_bands, spatial_dims
from xcoreg.raster.georeference import parse_unit
from xcoreg.raster.grid import grid_of
from xcoreg.raster.nodata import stored_nodata, valid_mask
from xcoreg.warp.metadata import add_history
from xcoreg.warp.vertical import heights_dtype, heights_in

if TYPE_CHECKING:
    from xcoreg.results.coregistration import Coregistration

_DONE = "added the biases"


def correct_bias(dem: DataArray, fit: Coregistration, variables: Mapping[str, DataArray] | None = None) -> DataArray:
    """Add the biases of a fit, by terrain and by variables of yours, to an elevation model that is not yet moved.

    `apply` does it itself where the biases are of the terrain alone, and never twice.

    Parameters
    ----------
    dem : DataArray
        The target of the fit, or another band of heights on its grid.
    fit : Coregistration
        Of a match with `bias=`.
    variables : mapping of str to DataArray, optional
        Images of the variables, by the names they had in `bias=`, on the pixels of the elevation model.

    Returns
    -------
    DataArray
        As `dem`, in memory.

    Raises
    ------
    OptionError
        When a variable is missing, or lies on other pixels.

    Examples
    --------
    >>> from xcoreg.simulate import dem_pair
    >>> both = dem_pair((120, 150), seed=1)
    >>> fit = both.tgt.coreg.match(both.ref, matcher="nuth_kaab")
    >>> correct_bias(both.tgt, fit).equals(both.tgt)  # no bias was fitted
    True
    """
    curves = fit.details.biases
    if not curves or _is_done(dem, fit):
        return dem
    given, numbers = dict(variables or {}), np.asarray(dem.values)
    if missing := [one.name for one in curves if one.name not in TERRAIN and one.name not in given]:
        raise OptionError(
            f"the bias by {', '.join(missing)} needs images of it: dem = xcoreg.correct_bias(dem, fit, "
            f"{{{missing[0]!r}: image}}), then apply the fit"
        )
    gain, offset = height_scaling(dem)
    valid = valid_mask(numbers, stored_nodata(dem)) & np.isfinite(numbers)
    heights = np.where(valid, numbers, 0).astype(np.float64) * gain + offset
    total = np.zeros(heights.shape)
    for one in curves:
        values = _variable(one.name, dem, heights, valid, fit) if one.name in TERRAIN else _given(given[one.name], dem)
        curve = Curve(one.name, one.start, one.step, np.array(one.coef)[:, None], None, one.middle, one.spread)
        total += curve.at(np.nan_to_num(values)).reshape(heights.shape)
    out = dem.copy(data=np.where(valid, numbers + total / gain, numbers).astype(heights_dtype(dem.dtype)))
    out.encoding = {key: value for key, value in dem.encoding.items() if key not in ("dtype", "rasterio_dtype")}
    add_history(out, {"did": _DONE, "fit": fit.id, "by": [one.name for one in curves]})
    return out


def _is_done(dem: DataArray, fit: Coregistration) -> bool:
    text = str(dem.attrs.get("xcoreg", ""))
    return _DONE in text and fit.id in text


def _variable(name: str, dem: DataArray, heights: Floats, valid: Any, fit: Coregistration) -> Floats:
    grid = grid_of(dem, "the elevation model")
    middle = (grid.extent.boundingbox.bottom + grid.extent.boundingbox.top) / 2
    metres = metres_per_pixel(grid.crs, linear_of(grid.affine), middle) / (parse_unit(fit.details.unit_z).metres or 1.0)
    flat = heights.reshape(-1, *heights.shape[-2:])
    masks = np.broadcast_to(valid, heights.shape).reshape(flat.shape)
    return np.stack([terrain_variable(name, *one, metres) for one in zip(flat, masks, strict=True)])


def _given(image: DataArray, dem: DataArray) -> Floats:
    if image.shape[-2:] != dem.shape[-2:]:
        raise OptionError(
            f"the variable {image.name!r} has {image.shape[-2:]} pixels, the elevation model {dem.shape[-2:]}"
        )
    return np.broadcast_to(np.asarray(image.values, np.float64).reshape(image.shape[-2:]), dem.shape)


def without_bias(image: Any, fit: Coregistration, vertical: Any) -> Any:
    """Add the biases of a fit to the bands of an image that hold heights."""
    if vertical is False:
        return image
    bands = spatial_bands(image, spatial_dims(image, "the image"))
    chosen = [name for name, at in heights_in(bands, fit, vertical).items() if at]
    if isinstance(image, DataArray):
        return correct_bias(image, fit) if chosen else image
    return image.assign({name: correct_bias(image[name], fit) for name in chosen})
