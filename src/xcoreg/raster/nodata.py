"""Which pixels are data: the one home of the rules for nodata values, valid ranges and valid masks.

The nodata value of a band is, in this order, the one given by the user, the one stored with the image, or the one
found in its corners. NaN and infinity never are data, nor is what lies outside the valid range of the CF conventions,
nor what the coordinate `valid_mask` of the image (:mod:`xcoreg.raster.file_mask`) leaves out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from rasterio.features import geometry_mask
from scipy import ndimage

from xcoreg.errors import OptionError, is_number

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import DTypeLike, NDArray
    from xarray import DataArray

    from xcoreg.core import Array, Bools
    from xcoreg.lazy.graph import Box

_CORNER = 3  # px, side of the blocks that are read in the corners
# Values that programs write for missing pixels, besides the ends of the dtype.
_USUAL = (0, -9999, -32768, -32767, -99999, -999, 255, 65535, 32767)
_VOIDS = (-9999, -32768, -32767, -99999, -1e20, 1e20, -3.4e38, float(np.finfo("f4").min), float(np.finfo("f4").max))
_HUGE = 1e20  # no measurement is larger
_SCATTERED = 1e-4  # share of the cells away from the border that may have the value of the border
_OUTSIDE = 0.9  # share of a border that lies outside of the convex hull of the data, where its edges are straight
_FAR = 0.5  # of the range of the data, distance of a value that is none of them
_STEP = 0.4  # of the usual distance of the data from a nodata value: that of the data beside its pixels, at least


@dataclass(frozen=True)
class Validity:
    """Which stored pixels of a band are data, by their values.

    nodata : Marks missing pixels, besides NaN and infinity.
    others : Further markers, such as a missing_value besides a _FillValue.
    low, high : Valid range.
    """

    nodata: float | int | None = None
    others: tuple[float | int, ...] = ()
    low: float | None = None
    high: float | None = None

    def of(self, raw: Array) -> Bools:
        """Which stored pixels are data."""
        valid = valid_mask(raw, self.nodata)
        for marker in self.others:
            valid &= valid_mask(raw, marker)
        with np.errstate(invalid="ignore"):
            if self.low is not None:
                valid &= raw >= self.low
            if self.high is not None:
                valid &= raw <= self.high
        return valid


def validity_of(image: DataArray, nodata: float | int | None, given: bool = False) -> Validity:
    """Rules of a band whose nodata value is known; a given one replaces all stored markers."""
    low, high = _valid_range(image)
    others = [] if given else _numbers(image.attrs.get("missing_value"))
    known = (value for value in others if value != nodata and np.isfinite(value) and fits_dtype(value, image.dtype))
    return Validity(nodata, tuple(known), low, high)


def _valid_range(image: DataArray) -> tuple[float | None, float | None]:
    """Take the valid range in the values that the image holds: CF gives it packed if its type is that of the file."""
    ends: list[Any] = [None, None]
    both = _numbers(image.attrs.get("valid_range"))
    for at, key in enumerate(("valid_min", "valid_max")):
        found = both if len(both) == 2 else _numbers(image.attrs.get(key))
        ends[at] = found[min(at, len(found) - 1)] if found else None
    known = [end for end in ends if end is not None]
    scale, offset = _scaling(image)
    if image.dtype.kind == "i" and image.attrs.get("_Unsigned") == "true":  # the values are not those of the range
        return None, None
    if not known or (scale, offset) == (1.0, 0.0):
        return ends[0], ends[1]
    decoded = image.dtype.kind == "f"
    # GDAL gives all numbers as floating-point ones: a range of one count is one of scaled values.
    packed = all(isinstance(end, int) or (not decoded and end.is_integer()) for end in known)
    packed &= decoded or len(known) < 2 or known[1] - known[0] > 1
    if packed != decoded:
        return ends[0], ends[1]
    grain = abs(scale) / 2  # decoded values are rounded
    factor, shift = (scale, offset) if decoded else (1 / scale, -offset / scale)
    ends = [None if end is None else end * factor + shift for end in ends][:: 1 if scale > 0 else -1]
    return tuple(None if end is None else end + sign * grain for end, sign in zip(ends, (-1, 1), strict=True))  # type: ignore[return-value]


def _scaling(image: DataArray) -> tuple[float, float]:
    """Scale and offset between the values of an image and those of its file, 1 and 0 without any."""
    place = image.encoding if image.dtype.kind == "f" else image.attrs
    found = [_numbers(place.get(key)) for key in ("scale_factor", "add_offset")]
    return float(found[0][0] if found[0] else 1), float(found[1][0] if found[1] else 0)


def _numbers(value: Any) -> list[float | int]:
    """Numbers of an attribute, which GDAL may give as text such as "{0,10000}"."""
    if isinstance(value, str):
        parts = re.split(r"[,;\s]+", value.strip(" {}[]()"))
        try:
            found = [float(part) for part in parts]
        except ValueError:
            return []
        return [
            int(each) if each.is_integer() and "." not in part else each
            for each, part in zip(found, parts, strict=True)
        ]
    numbers = np.ravel(np.asarray([] if value is None or not (is_number(value) or _is_list(value)) else value))
    return list(numbers.tolist()) if numbers.dtype.kind in "iuf" else []


def _is_list(value: Any) -> bool:
    """Whether the value of an attribute is a list, as files have them: a range may have no end."""
    return isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim > 0)


def band_markers(image: DataArray) -> tuple[float | int | None, ...]:
    """Nodata values of the bands of the file, if they differ; empty if one holds for all bands."""
    if "_FillValue" in image.encoding:  # decoded: missing pixels are NaN
        return ()
    listed: Any = image.attrs.get("nodatavals")
    stored: Any = image.attrs.get("_FillValue")
    several = _is_list(stored) and np.size(stored) > 1
    if listed is None and several:
        listed = stored
    markers = tuple(_marker(value) for value in (listed if _is_list(listed) else ()))
    if len(set(map(repr, markers))) < 2 or (not several and stored is not None and _marker(stored) not in markers):
        return ()  # all the same, or replaced by a later one
    return markers


def _marker(value: Any) -> float | int | None:
    number = np.asarray(value if is_number(value) or isinstance(value, np.ndarray) else "no number")
    return _plain(number) if number.ndim == 0 and number.dtype.kind in "iuf" else None


def _plain(number: NDArray[Any]) -> float | int:
    """Give a number of Python, which JSON can hold: `item` leaves long double precision to NumPy."""
    return float(number) if number.dtype.kind == "f" else int(number)


def _own_marker(image: DataArray, markers: tuple[Any, ...], band: int | None) -> Any:
    """Nodata value of one band of several: by its position, or by the label that it keeps when it is selected."""
    if band is None and "band" in image.coords and image.coords["band"].ndim == 0:
        label = image.coords["band"].item()
        band = label - 1 if isinstance(label, int) else None
    return markers[band] if band is not None and 0 <= band < len(markers) else markers[0]


def stored_nodata(image: DataArray, band: int | None = None) -> float | int | None:
    """Nodata value stored with an image, in the values it holds; band: its position in an image of several, from 0."""
    markers = band_markers(image)
    if markers:
        return _marker(_own_marker(image, markers, band))
    try:
        value = image.rio.nodata
    except (OverflowError, ValueError, TypeError):  # a nodata value that the dtype cannot hold marks nothing
        value = None
    if value is None:
        value = next(
            (image.attrs[key] for key in ("nodata", "nodatavals", "missing_value") if key in image.attrs), None
        )
    if _is_list(value):
        value = next(iter(value), None)
    return None if isinstance(value, str) else _marker(value)


def file_nodata(band: DataArray, dtype: DTypeLike) -> float | int | None:
    """Nodata value of a band in a file of a dtype: that of the encoding of a masked image, else the stored one."""
    encoded = band.encoding.get("_FillValue")
    value = stored_nodata(band) if encoded is None else np.asarray(encoded).item()
    return value if value is None or fits_dtype(value, dtype) else None


def as_number(value: Any, name: str) -> float | int:
    """Check that a nodata value given by the user is a number."""
    number = np.asarray(value if isinstance(value, int | float | np.number | np.ndarray) else "no number")
    if number.ndim or number.dtype.kind not in "iuf":
        raise OptionError(f"nodata={value!r:.80} of {name} is not a number")
    return _plain(number)


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


def band_nodata(band: DataArray, given: float | None = None, found: Any = None) -> float | int | None:
    """Nodata value of a band without reading its pixels: given, stored or found before, the first that fits it."""
    if given is not None:
        number = as_number(given, "the image")
        check_fits(number, band.dtype, "the image")
        return number
    for value in (stored_nodata(band), found if isinstance(found, int | float) else None):
        if value is not None and fits_dtype(value, band.dtype):
            return value
    return None


def unused_value(pixels: NDArray[Any], preferred: int, exact: bool) -> int | None:
    """Value that does not occur in an integer image: at an end of the dtype, or anywhere if pixels are copied."""
    info = np.iinfo(pixels.dtype)
    for value in (preferred, int(info.min), int(info.max), 0):
        if not (pixels == value).any():
            return value
    if not exact or info.bits > 16:
        return None
    counts = np.bincount(pixels.ravel().astype(np.int64) - info.min, minlength=info.max - info.min + 1)
    free = np.flatnonzero(counts == 0)
    return int(free[-1]) + int(info.min) if free.size else None


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
    """Value of the constant blocks among those from the corners of an image that may mark missing pixels.

    None without any, or if they differ.
    """
    constant = {
        block.flat[0].item() for block in corners if block.size and (block == block.flat[0]).all() and _may_mark(block)
    }
    return constant.pop() if len(constant) == 1 else None


def _may_mark(block: NDArray[Any]) -> bool:
    """Whether programs write the value of a constant block for missing pixels: a calm lake has any value."""
    value, kind = block.flat[0], block.dtype
    if kind.kind == "f":
        return bool(np.isfinite(value)) and (float(value) in _USUAL or abs(float(value)) >= _HUGE)
    return int(value) in (*_USUAL, int(np.iinfo(kind).min), int(np.iinfo(kind).max))


def void_value(values: Array) -> float | int | None:
    """Value of voids among heights and the like: one that no measurement has, far from all others; None without one.

    values (n,) float32, of the data.
    """
    ends = {values.min(), values.max()} if values.size else set()
    for void in _VOIDS:
        if np.float32(void) in ends and _is_far(np.abs(values[values != np.float32(void)].astype(np.float64) - void)):
            return void
    return None


def _is_far(apart: Array) -> bool:
    """Whether a value is no part of the range of the data, from their distances to it."""
    low, high = np.quantile(apart, (1e-3, 1 - 1e-3)) if apart.size else (0, 0)
    return bool(low > 0 and low >= _FAR * (high - low))


def is_frame(values: Array, valid: Bools, marker: float) -> bool:
    """Whether the cells of an overview that have the value of a corner are beyond doubt without data.

    Either the value is far from those of the data, as -9999 is from heights. Or the cells reach the border of the
    image, occur nowhere else, and have straight edges, as the frame of a rotated image has, or neighbours of any value:
    beside a lake or the sea values are near its own. values, valid (rows, columns).
    """
    if not valid.any():
        return False
    apart = np.abs(values.astype(np.float64) - marker)
    if _is_far(apart[valid]):
        return True
    missing = ~valid
    labels, _ = ndimage.label(missing, np.ones((3, 3)))
    edges = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    border = np.isin(labels, np.unique(edges[edges > 0]))
    if (missing & ~border).sum() > _SCATTERED * valid.size:
        return False
    beside = valid & ndimage.binary_dilation(border, np.ones((3, 3)))
    if np.median(apart[beside]) >= _STEP * np.median(apart[valid]):
        return True
    rows, cols = np.nonzero(valid & ~ndimage.binary_erosion(valid))
    hull = shapely.convex_hull(shapely.multipoints(np.column_stack([cols, rows]) + 0.5))
    inside = hull.geom_type == "Polygon" and ~geometry_mask([hull.buffer(0.5)], valid.shape, [1, 0, 0, 0, 1, 0])
    return bool((border & ~np.asarray(inside)).sum() >= _OUTSIDE * border.sum())


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
