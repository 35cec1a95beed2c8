"""Which pixels are data: the one home of the rules for nodata values and valid masks.

The nodata value of an image is, in this order, the one given by the user, the one stored with the image, or the one
found in its corners. NaN and infinity never are data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from xcoreg.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import DTypeLike, NDArray
    from xarray import DataArray

    from xcoreg.core import Array, Bools
    from xcoreg.lazy.graph import Box

_CORNER = 3  # px, side of the blocks that are read in the corners


def stored_nodata(image: DataArray) -> float | int | None:
    """Nodata value stored with an image, in the values it holds."""
    try:
        value = image.rio.nodata
    except (OverflowError, ValueError):  # a nodata value that the dtype cannot hold marks nothing
        value = None
    if value is None:
        value = next(
            (image.attrs[key] for key in ("nodata", "nodatavals", "missing_value") if key in image.attrs), None
        )
    if isinstance(value, tuple | list):
        value = value[0] if value else None
    if value is None or isinstance(value, str):
        return None
    number = np.asarray(value)
    return number.item() if number.ndim == 0 and number.dtype.kind in "iuf" else None


def file_nodata(band: DataArray, dtype: DTypeLike) -> float | int | None:
    """Nodata value of a band in a file of a dtype: that of the encoding of a masked image, else the stored one."""
    encoded = band.encoding.get("_FillValue")
    value = stored_nodata(band) if encoded is None else np.asarray(encoded).item()
    return value if value is None or fits_dtype(value, dtype) else None


def as_number(value: Any, name: str) -> float | int:
    """Check that a nodata value given by the user is a number."""
    number = np.asarray(value)
    if number.ndim or number.dtype.kind not in "iuf":
        raise OptionError(f"nodata={value!r} of {name} is not a number")
    return number.item()  # type: ignore[no-any-return]


def fits_dtype(value: float, dtype: DTypeLike) -> bool:
    """Whether pixels of a dtype can have a value."""
    dtype = np.dtype(dtype)
    if dtype.kind in "fc":
        return True
    if dtype.kind == "b" or not np.isfinite(value) or value != int(value):
        return False
    limits = np.iinfo(dtype)
    return bool(limits.min <= value <= limits.max)


def check_fits(value: float, dtype: DTypeLike, name: str) -> None:
    """Refuse a nodata value that pixels of a dtype cannot have."""
    if not fits_dtype(value, dtype):
        raise OptionError(f"nodata={value} cannot occur in {name}, which holds {np.dtype(dtype)}: give another value")


def band_nodata(
    band: DataArray, given: float | None = None, found: Any = None, name: str = "the image"
) -> float | int | None:
    """Nodata value of a band without reading its pixels: given, stored or found before, the first that fits it."""
    if given is not None:
        number = as_number(given, name)
        check_fits(number, band.dtype, name)
        return number
    for value in (stored_nodata(band), found if isinstance(found, int | float) else None):
        if value is not None and fits_dtype(value, band.dtype):
            return value
    return None


def netcdf_default_fills(dtype: np.dtype[Any]) -> tuple[int, ...]:
    """NetCDF's own fill values of an integer dtype, as GDAL reports them for variables that name none."""
    limits = np.iinfo(dtype)
    if dtype.itemsize == 8:
        return int(limits.min), int(limits.min) + 2, int(limits.max), int(limits.max) - 1
    return (int(limits.max if dtype.kind == "u" else limits.min + 1),)


def search_corners(read: Callable[[list[Box]], list[Array]], shape: tuple[int, int]) -> float | int | None:
    """Find a nodata value in the corners of an image, and check that the image is not constant.

    shape (rows, columns).
    """
    rows, cols = shape
    if min(rows, cols) < 2 * _CORNER:
        return None
    tops, lefts = (0, rows - _CORNER), (0, cols - _CORNER)
    found = constant_corner(read([_block(top, left) for top in tops for left in lefts]))
    return found if found is not None and _varies(read, shape, found) else None


def constant_corner(corners: Sequence[NDArray[Any]]) -> float | int | None:
    """Value of the constant blocks among those from the corners of an image; None without any, or if they differ."""
    constant = {
        block.flat[0].item()
        for block in corners
        if block.size and np.isfinite(block.flat[0]) and (block == block.flat[0]).all()
    }
    return constant.pop() if len(constant) == 1 else None


def _block(row: int, col: int) -> Box:
    return row, row + _CORNER, col, col + _CORNER


def _varies(read: Callable[[list[Box]], list[Array]], shape: tuple[int, int], value: float) -> bool:
    """Whether an image holds other values: a constant one has four equal corners, and they mark nothing."""
    rows, cols = shape[0] - _CORNER, shape[1] - _CORNER
    for count in (1, 3, 7):
        parts = [(at + 1) / (count + 1) for at in range(count)]
        blocks = read([_block(int(y * rows), int(x * cols)) for y in parts for x in parts])
        if any((block != value).any() for block in blocks):
            return True
    return False


def valid_mask(raw: Array, nodata: float | None) -> Bools:
    """Which stored pixels are data."""
    floating = raw.dtype.kind == "f"
    valid = np.isfinite(raw) if floating else np.ones(raw.shape, bool)
    if nodata is None or not np.isfinite(nodata):
        return valid
    # A float32 image stores the nodata value rounded to float32.
    marker = raw.dtype.type(nodata) if floating else nodata
    return np.asarray(valid & (raw != marker))
