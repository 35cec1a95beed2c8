"""Writing masks: inside of a GeoTIFF, beside files of other formats, or as an alpha band."""

from __future__ import annotations

from functools import reduce
from operator import and_
from typing import TYPE_CHECKING, Any

import numpy as np
from rasterio.enums import ColorInterp
from rasterio.windows import Window
from xarray import DataArray, Variable

from xcoreg.errors import warn_user
from xcoreg.io.read import chunk_unread
from xcoreg.io.stream import stream_blocks
from xcoreg.raster.bands import spatial_dims
from xcoreg.raster.file_mask import MASK, alpha_of, layers_of, mask_of
from xcoreg.raster.nodata import band_markers, file_nodata, stored_nodata

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ROWS = 2048  # of a mask without dask, written at once
_HOLD_ALPHA = ("GTiff", "COG", "JP2OpenJPEG", "PNG", "WEBP")
_WITH_ALPHA = ("PNG", "WEBP")  # formats that programs read without side files
_ALPHA = "alpha"  # in place of the nodata value of an alpha band
_OPAQUE = (1, 3)  # bands of an image that may get an alpha band


def alpha_position(parts: list[DataArray]) -> int | None:
    """Position of the alpha band among the bands of a file, from 0; None without one."""
    return alpha_of(parts[0]) if len(parts) == 1 and parts[0].ndim > 2 else None


def mask_to_write(parts: list[DataArray], driver: str) -> DataArray | None:
    """Mask (rows, columns) of an image that a file has to hold; None without one, or where the alpha band holds it."""
    mask = next((mask for part in parts if (mask := mask_of(part)) is not None), None)
    if mask is None or (alpha_position(parts) is not None and driver in _HOLD_ALPHA):
        return None
    found = DataArray(mask)
    if mask.ndim > 2:  # formats have one mask for all bands
        warn_user(
            f"the bands of the image have masks of their own ({MASK}), and a file has one for all of them: "
            "pixels that are missing in any band are masked in all; write the bands one by one to keep theirs"
        )
        found = (found != 0).all(str(mask.dims[0]))
    marker = stored_nodata(parts[0])
    if as_alpha(found, parts, driver) and marker is not None:  # an alpha band takes the place of the nodata value
        good = parts[0].variable != marker
        found = DataArray((found.variable != 0) & (good if good.ndim < 3 else good.any(str(good.dims[0]))))
    return found.transpose(*parts[0].dims[-2:])


def loses_nan(part: DataArray) -> bool:
    """Whether NaN has no value in the file: a decoded image of integers that have no nodata value."""
    kind = np.dtype(part.encoding.get("dtype", part.dtype))
    return part.dtype.kind == "f" and kind.kind in "iu" and file_nodata(part, kind) is None


def with_nan_as_mask(image: Any) -> Any:
    """Replace NaN that a file of integers without a nodata value cannot hold by a mask."""
    bands = {None: image} if isinstance(image, DataArray) else dict(image.data_vars)
    lost = {name: chunk_unread(band) for name, band in bands.items() if loses_nan(band)}
    if not lost:
        return image
    dims = spatial_dims(image, "the image")
    known = [band.notnull().any([dim for dim in band.dims if dim not in dims]) for band in lost.values()]
    mask = reduce(and_, [one.variable for one in known])
    if mask.chunks is None and mask.values.all():
        return image
    new = {name: band.fillna(band.encoding.get("add_offset", 0)) for name, band in lost.items()}
    for name, band in new.items():
        band.encoding = bands[name].encoding
        band.attrs["_FillValue"] = np.nan  # which is not written, but xarray warns where there is none
    own = mask_of(next(iter(lost.values())))
    done = new[None] if None in new else image.assign(new)
    return done.assign_coords({MASK: mask if own is None else mask & (own != 0)})


def as_alpha(mask: DataArray | None, parts: list[DataArray], driver: str) -> bool:
    """Whether a format gets the mask of an image as an alpha band."""
    return mask is not None and driver in _WITH_ALPHA and _count(parts) in _OPAQUE


def _count(parts: list[DataArray]) -> int:
    return sum(part.shape[0] if part.ndim > 2 else 1 for part in parts)


def place_mask(file: Any, parts: list[DataArray], mask: DataArray | None) -> tuple[list[DataArray], DataArray | None]:
    """Mark the alpha band of a new file, or append one where it has room: return the bands, and a mask to write."""
    alpha = alpha_position(parts)
    if mask is not None and file.count > _count(parts):
        parts, mask, alpha = [*parts, _alpha_of_mask(mask, parts[0].dtype)], None, file.count - 1
    if alpha is not None:
        meanings = list(file.colorinterp)
        meanings[alpha] = ColorInterp.alpha
        file.colorinterp = meanings
    return parts, mask


def _alpha_of_mask(mask: DataArray, dtype: Any) -> DataArray:
    """Alpha band of a mask: 0, or opaque."""
    kind = np.dtype(dtype)
    if mask.chunks is None:
        mask = mask.copy(data=mask.values)
    opaque: DataArray = (mask != 0).astype(kind) * kind.type(np.iinfo(kind).max if kind.kind in "iu" else 1)
    return opaque


def write_mask(file: Any, mask: DataArray) -> None:
    """Write the mask of an open file, block by block."""
    if mask.chunks is not None:
        stream_blocks([mask.data], lambda _, window, block: _put(file, window, block))
        return
    rows = mask.dims[0]
    for top in range(0, mask.sizes[rows], _ROWS):
        window = slice(top, min(top + _ROWS, mask.sizes[rows])), slice(0, mask.shape[1])
        _put(file, window, mask.isel({rows: window[0]}).values)


def _put(file: Any, window: tuple[slice, ...], block: NDArray[Any]) -> None:
    file.write_mask((block != 0).astype(np.uint8) * np.uint8(255), window=Window.from_slices(*window))


def with_one_marker(image: Any, *, per_variable: bool = False) -> Any:
    """Give all bands of an image one nodata value, where these differ: those of a file, or of each variable."""
    if isinstance(image, DataArray):
        bands: dict[Any, DataArray] = {None: image}
    else:
        bands = {name: one for name, one in image.data_vars.items() if one.ndim > 1}
    if per_variable and None not in bands:
        return image.assign({name: with_one_marker(band) for name, band in bands.items() if band_markers(band)})
    markers = [marker for band in bands.values() for marker in _markers_of(band) if marker is not _ALPHA]
    if len(set(map(repr, markers))) < 2:
        return image
    known = list(dict.fromkeys(marker for marker in markers if marker is not None))
    floating = all(band.dtype.kind == "f" and "_FillValue" not in band.encoding for band in bands.values())
    free = [one for one in known if floating or all(_is_free(band, one) for band in bands.values())]
    common = np.nan if floating else [*free, *known][0]
    warn_user(
        f"the bands have different nodata values ({', '.join(map(str, known))}), a file has one: missing pixels of "
        f"all bands get {common}" + ("" if free else ", and pixels with data of that value its neighbour")
    )
    new = {name: _with_marker(band, common) for name, band in bands.items()}
    return new[None] if None in new else image.assign(new)


def _markers_of(band: DataArray) -> list[Any]:
    """Nodata values of the layers of a band, as they are in a file."""
    if "_FillValue" in band.encoding:
        return [np.asarray(band.encoding["_FillValue"]).item()]
    count, alpha = len(layers_of(band)), alpha_position([band])
    return [_ALPHA if at == alpha else stored_nodata(band, at) for at in range(count)]


def _is_free(band: DataArray, value: Any) -> bool:
    """Whether a nodata value of another band is no data in this one, as far as is known without reading."""
    in_memory = isinstance(band.variable._data, np.ndarray)
    layers = zip(layers_of(band), _markers_of(band), strict=True)
    return all(marker in (value, _ALPHA) or (in_memory and not (layer == value).any()) for layer, marker in layers)


def _with_marker(band: DataArray, common: Any) -> DataArray:
    """Replace the nodata values of the layers of a band by a common one; an alpha band is left alone."""
    out: DataArray = chunk_unread(band).copy(deep=False)
    if "_FillValue" in band.encoding:  # decoded: missing pixels are NaN
        out.encoding["_FillValue"] = common
        return out
    kind, made = band.dtype.type, []
    for layer, marker in zip(layers_of(out), _markers_of(out), strict=True):
        data = layer
        if marker is not _ALPHA and marker != common and not np.isnan(common):
            data = data.where(layer != common, _beside(kind(common)))
        made.append(data if marker is None or marker is _ALPHA else data.where(layer != marker, kind(common)))
    axis = next((dim for dim in out.dims if dim not in made[0].dims), None)
    parts = [one.variable for one in made]
    stacked = parts[0] if axis is None else Variable.concat(parts, axis)  # type: ignore[no-untyped-call]
    out = out.copy(data=stacked.transpose(*out.dims).data)
    out.attrs = {key: value for key, value in band.attrs.items() if key != "nodatavals"} | {"_FillValue": kind(common)}
    return out


def _beside(value: Any) -> Any:
    """Value next to one of an integer type."""
    return value - 1 if value == np.iinfo(value.dtype).max else value + 1
