"""Which pixels hold nothing: the stored marker, or the one found from the image corners.

Stored pixels of a variable: only the windows asked for, whatever the variable rests on.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from xcoreg import lazy
from xcoreg.errors import OptionError
from xcoreg.raster.bands import spatial_dims

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    from numpy.typing import NDArray
    from xarray import DataArray, Variable


_CORNER = 3  # px, side of the blocks that seed 000 looks at


def nodata_of(image: DataArray, given: float | None = None) -> float | int | None:
    """Nodata of an image: given, else stored, else found from its corners."""
    if given is not None:
        return as_number(given, "the image")
    stored = stored_nodata(image)
    if stored is not None or image.dtype.kind not in "iuf":
        return stored
    dims = spatial_dims(image, "the image")
    lead = dict.fromkeys((dim for dim in image.dims if dim not in dims), 0)
    shape = image.sizes[dims[0]], image.sizes[dims[1]]
    return search_corners(partial(read_boxes, image.variable, lead, dims), shape)


def stored_nodata(image: DataArray) -> float | int | None:
    """Nodata marker an image carries, in the values it holds."""
    try:
        value = image.rio.nodata
    except (OverflowError, ValueError):  # a marker that the dtype cannot hold marks nothing
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


def as_number(value: Any, name: str) -> float | int:
    """Take a nodata value given by the user, or say that it is none."""
    number = np.asarray(value)
    if number.ndim or number.dtype.kind not in "iuf":
        raise OptionError(f"nodata={value!r} of {name} is not a number")
    return number.item()  # type: ignore[no-any-return]


def search_corners(read: Callable[[list[Box]], list[NDArray[Any]]], shape: tuple[int, int]) -> float | int | None:
    """Look for a nodata value in the corners of an image, and into it so as not to be fooled by a constant one.

    shape (rows, columns).
    """
    rows, cols = shape
    if min(rows, cols) < 2 * _CORNER:
        return None
    tops, lefts = (0, rows - _CORNER), (0, cols - _CORNER)
    found = find_nodata(read([_block(top, left) for top in tops for left in lefts]))
    return found if found is not None and _varies(read, shape, found) else None


def _block(row: int, col: int) -> Box:
    return row, row + _CORNER, col, col + _CORNER


def _varies(read: Callable[[list[Box]], list[NDArray[Any]]], shape: tuple[int, int], value: float) -> bool:
    """Look into the image: a constant one has four equal corners, and they mark nothing."""
    rows, cols = shape[0] - _CORNER, shape[1] - _CORNER
    for count in (1, 3, 7):
        parts = [(at + 1) / (count + 1) for at in range(count)]
        blocks = read([_block(int(y * rows), int(x * cols)) for y in parts for x in parts])
        if any((block != value).any() for block in blocks):
            return True
    return False


def find_nodata(corners: Sequence[NDArray[Any]]) -> float | int | None:
    """Find the nodata value from blocks of pixels in the corners of an image."""
    constant = {
        block.flat[0].item()
        for block in corners
        if block.size and np.isfinite(block.flat[0]) and (block == block.flat[0]).all()
    }
    return constant.pop() if len(constant) == 1 else None


def valid_of(raw: NDArray[Any], nodata: float | None) -> NDArray[np.bool_]:
    """Tell which stored values are data."""
    floating = raw.dtype.kind == "f"
    valid = np.isfinite(raw) if floating else np.ones(raw.shape, bool)
    if nodata is None or not np.isfinite(nodata):
        return valid
    # A float32 image stores the marker rounded to float32.
    marker = raw.dtype.type(nodata) if floating else nodata
    return np.asarray(valid & (raw != marker))


#: Rows row0 <= row < row1 and columns col0 <= col < col1: (row0, row1, col0, col1), px.
Box: TypeAlias = "tuple[int, int, int, int]"


def is_stored(variable: Variable) -> bool:
    """Tell whether a variable's pixels are read from somewhere, in memory or in a file, not computed."""
    return variable.chunks is None or lazy.is_read(variable.data)


def read_boxes(
    variable: Variable,
    lead: Mapping[Hashable, int],
    dims: tuple[Hashable, Hashable],
    boxes: Sequence[Box],
    step: tuple[int, int] = (1, 1),
) -> list[NDArray[Any]]:
    """Read windows of one band as they are stored.

    step (rows, columns).
    """
    parts = []
    for row0, row1, col0, col1 in boxes:
        window = {**lead, dims[0]: slice(row0, row1, step[0]), dims[1]: slice(col0, col1, step[1])}
        parts.append(variable.isel(window).transpose(*dims))
    if variable.chunks is None:
        return [np.asarray(part.values) for part in parts]
    fused = len(parts) > 1 and is_stored(variable)
    windows = [lazy.fused(part.data) if fused else part.data for part in parts]
    return [np.asarray(block) for block in lazy.compute_all(windows)]
