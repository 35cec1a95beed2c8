"""Masks beside the pixels: those that GDAL reports, read lazily, and the coordinate that carries them.

An image whose missing pixels are not just those of its nodata value has the boolean coordinate `valid_mask` over its
rows and columns (and bands, where these differ): true where there is data. Alpha bands stay bands, and are masks, too.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.windows import Window
from xarray import DataArray, Variable
from xarray.backends import BackendArray
from xarray.core import indexing

from xcoreg.errors import OptionError
from xcoreg.files import retry
from xcoreg.raster.nodata import band_markers, stored_nodata

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from xcoreg.core import Bools

#: Name of the coordinate, and what it is called in files.
MASK, MASK_NAME = "valid_mask", "pixels with data"


class FileMask(BackendArray):
    """Mask of a file, (rows, columns) bool, or (bands, rows, columns) where bands have masks of their own.

    bands : Whose masks are read, from 1; none where only the alpha band is a mask.
    alpha : The alpha band, from 1, or None.
    """

    def __init__(self, path: str, shape: tuple[int, ...], bands: tuple[int, ...], alpha: int | None) -> None:
        self.path, self.shape, self.bands, self.alpha = path, shape, bands, alpha
        self.dtype = np.dtype(bool)

    def __getitem__(self, key: Any) -> Any:
        level = indexing.IndexingSupport.BASIC
        return indexing.explicit_indexing_adapter(key, self.shape, level, self._read)

    def _read(self, key: tuple[Any, ...]) -> Bools:
        spans = []
        for part, size in zip(key[-2:], self.shape[-2:], strict=True):
            span = range(size)[part] if isinstance(part, slice) else range(part, part + 1)
            ends = (min(span[0], span[-1]), max(span[0], span[-1]) + 1) if len(span) else (0, 0)
            spans.append((ends, slice(None, None, span.step) if isinstance(part, slice) else 0))
        (rows, down), (cols, right) = spans
        bands = self.bands if len(self.shape) == 2 else tuple(np.atleast_1d(np.array(self.bands)[key[0]]).tolist())
        with retry(partial(rasterio.open, self.path), self.path) as file:
            found = read_mask(file, bands, self.alpha, (*rows, *cols), each=len(self.shape) > 2)
        out: Bools = found[..., down, right]
        return out[0] if len(self.shape) > 2 and not isinstance(key[0], slice) else out


def read_mask(
    file: Any, bands: tuple[int, ...], alpha: int | None, box: Any, shape: Any = None, *, each: bool = False
) -> Bools:
    """Read a window of the mask of an open file, of its size or sampled to a shape: -> ([bands,] rows, columns)."""
    window = Window(box[2], box[0], box[3] - box[2], box[1] - box[0])
    shape = shape or (window.height, window.width)
    if 0 in shape:
        return np.ones((len(bands), *shape) if each else shape, bool)
    how = {"window": window, "resampling": Resampling.nearest}
    masks: Any = np.ones((max(len(bands), 1), *shape), bool)
    if bands:
        masks = file.read_masks(list(bands), out_shape=masks.shape, **how) > 0
    if alpha is not None:
        masks &= file.read(alpha, out_shape=shape, **how) > 0
    found: Bools = masks if each else masks.all(axis=0)
    return found


def colours_of(file: Any) -> tuple[ColorInterp, ...]:
    """Colour interpretation of each band of an open file."""
    with suppress(CPLE_BaseError):  # GDAL raises once what it has found wrong with other tags
        return tuple(file.colorinterp)
    return tuple(file.colorinterp)


def alpha_band(file: Any) -> int | None:
    """Band of an open file that its colour interpretation calls alpha."""
    return next((band for band, meaning in enumerate(colours_of(file), start=1) if meaning == ColorInterp.alpha), None)


def file_mask(file: Any) -> Variable | None:
    """Mask of an open file, where it is not just that of nodata values: read when it is used."""
    alpha, flags = alpha_band(file), file.mask_flag_enums
    own = [
        band
        for band, each in enumerate(flags, start=1)
        if not {MaskFlags.all_valid, MaskFlags.alpha} & set(each) and each != [MaskFlags.nodata]
    ]
    if not own and alpha is None:
        return None
    shared = not own or MaskFlags.per_dataset in flags[own[0] - 1]
    bands = tuple(own[:1] if shared else file.indexes)
    shape: tuple[int, ...] = file.shape if shared else (file.count, *file.shape)
    attrs = {"long_name": MASK_NAME} | ({} if alpha is None else {"alpha_band": alpha})
    encoding = {"source": file.name, "mask_of": (bands, alpha)}
    data = indexing.LazilyIndexedArray(FileMask(file.name, shape, bands, alpha))
    return Variable(("y", "x") if shared else ("band", "y", "x"), data, attrs, encoding)


def mask_of(image: DataArray, lead: Mapping[Hashable, int] | None = None) -> Variable | None:
    """Mask that an image carries; lead selects a band."""
    found = image.coords.get(MASK)
    if found is None:
        return None
    mask: Variable = found.variable
    if mask.ndim < 2 or mask.dtype.kind not in "biuf":
        raise OptionError(
            f"the coordinate {MASK!r} is {mask.dtype} over {mask.dims}: give it true and false over rows and columns, "
            f"or leave it out: da.drop_vars({MASK!r})"
        )
    return mask.isel({dim: at for dim, at in (lead or {}).items() if dim in mask.dims})


def alpha_of(image: DataArray) -> int | None:
    """Position of the alpha band among the bands of an image, from 0; None without one."""
    mask = image.coords.get(MASK)
    if mask is None or not isinstance(mask.attrs.get("alpha_band"), int | np.integer):
        return None
    label, labels = int(mask.attrs["alpha_band"]), image.coords.get("band")
    hits = np.flatnonzero(np.atleast_1d(labels.values) == label) if labels is not None else np.empty(0)
    return int(hits[0]) if hits.size else None


def layers_of(image: DataArray, apart: bool = False) -> list[DataArray]:
    """Split an image where its bands have nodata values or masks of their own; of an alpha band 0 is nodata.

    apart : Split it in any case.
    """
    axis = next((dim for dim, size in image.sizes.items() if dim in image.dims[:-2] and size > 1), None)
    mask = image.coords.get(MASK)
    alpha = None if axis is None else alpha_of(image)
    markers = band_markers(image)
    if axis is None or not (apart or markers or alpha is not None or (mask is not None and mask.ndim > 2)):
        return [image]
    layers = [image.isel({axis: at}) for at in range(image.sizes[axis])]
    for at, layer in enumerate(layers):
        if markers or at == alpha:
            marker = 0 if at == alpha else stored_nodata(image, at)
            layer.attrs.pop("nodatavals", None)
            layer.attrs["_FillValue"] = marker
            if marker is None:
                del layer.attrs["_FillValue"]
    return layers
