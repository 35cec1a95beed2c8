"""The file and the overview level from which an unchanged image can be sampled."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from rasterio.windows import Window

from xcoreg.errors import OptionError, warn_user
from xcoreg.files import open_gdal, retry
from xcoreg.georef import linear_of
from xcoreg.raster.bands import reading
from xcoreg.raster.file_mask import file_mask, read_mask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from xcoreg.lazy.graph import Box
    from xcoreg.raster.overview import Samples
    from xcoreg.raster.raster import Raster


_BATCH = 16  # blocks read through one handle, which frees its cache of decoded blocks when closed
_THREADS = 2
_SPARSE = 0.2  # bytes per pixel: larger files are not searched for blocks that are missing
_MOST_BLOCKS = 200_000  # nor are files with more blocks


@dataclass(frozen=True)
class FileLevel:
    """One band of a file at full resolution or at one of its overviews.

    path : As GDAL opens it.
    band : From 1.
    level : Overview, from 0; None is full resolution.
    shape : (rows, columns); At this level.
    block : (rows, columns); What is decoded at once, px of this level.
    nodata : Of the file.
    mask : Bands whose masks count, the alpha band, and the shape of the file; None without a mask.
    """

    path: str
    band: int
    level: int | None
    shape: tuple[int, int]
    block: tuple[int, int]
    nodata: float | None
    mask: tuple[tuple[int, ...], int | None, tuple[int, int]] | None = None

    def fill(self, samples: Samples, boxes: Sequence[Box]) -> None:
        """Read blocks in several threads and store their samples."""
        batches = [boxes[at : at + _BATCH] for at in range(0, len(boxes), _BATCH)]
        if len(batches) == 1:
            self._fill_batch(samples, batches[0])
            return
        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(lambda batch: self._fill_batch(samples, batch), batches))

    def _fill_batch(self, samples: Samples, boxes: Sequence[Box]) -> None:
        options: dict[str, Any] = {} if self.level is None else {"overview_level": self.level}
        with ExitStack() as stack, reading(self.path):
            file = stack.enter_context(retry(partial(rasterio.open, self.path, **options), self.path))
            # An overview need not have a mask of its own where its file has one: GDAL calls all of it valid then.
            full = file if self.mask is None else stack.enter_context(open_gdal(self.path))
            for box in boxes:
                row0, row1, col0, col1 = box
                window = Window(col0, row0, col1 - col0, row1 - row0)
                pixels = retry(partial(file.read, self.band, window=window), self.path)
                samples.put(box, pixels, self._read_mask(full, box))

    def missing_blocks(self, rows: Sequence[int], cols: Sequence[int]) -> NDArray[np.bool_] | None:
        """Which parts, between these edges, were never written to a sparse TIFF; None where all may have been.

        -> (rows - 1, columns - 1) bool.
        """
        path = Path(self.path)
        pixels, cells = self.shape[0] * self.shape[1], (len(rows) - 1, len(cols) - 1)
        if self.mask is not None or not path.is_file() or path.stat().st_size > _SPARSE * pixels:
            return None
        options: dict[str, Any] = {} if self.level is None else {"overview_level": self.level}
        with open_gdal(self.path, **options) as file:
            counts = [-(-size // by) for size, by in zip(self.shape, self.block, strict=True)]
            if file.driver != "GTiff" or counts[0] * counts[1] > _MOST_BLOCKS:
                return None
            found = [
                file.get_tag_item(f"BLOCK_OFFSET_{col}_{row}", "TIFF", bidx=self.band) is not None
                for row in range(counts[0])
                for col in range(counts[1])
            ]
        at = (np.searchsorted(edges, by * np.arange(n), side="right") - 1
              for edges, by, n in zip((rows, cols), self.block, counts, strict=True))  # fmt: skip
        written = np.zeros(cells, bool)
        np.logical_or.at(written, tuple(np.ix_(*at)), np.reshape(found, counts))
        return None if written.all() else ~written

    def _read_mask(self, file: Any, box: Box) -> Any:
        if self.mask is None:
            return None
        bands, alpha, shape = self.mask
        down, right = (full / own for full, own in zip(shape, self.shape, strict=True))
        wide = (box[0] * down, box[1] * down, box[2] * right, box[3] * right)
        return read_mask(file, bands, alpha, wide, (box[1] - box[0], box[3] - box[2]))


def file_behind(raster: Raster, size: int) -> FileLevel | None:
    """Find the file of a raster whose pixels are unchanged, and the level for an overview of a size."""
    path, band = raster.variable.encoding.get("source"), _band_in_file(raster)
    if band is None or not isinstance(path, str):
        return None
    try:
        with open_gdal(path) as file:
            return _choose(file, path, band, raster, size)
    except OptionError:
        return None


def _choose(file: Any, path: str, band: int, raster: Raster, size: int) -> FileLevel | None:
    shape = raster.shape
    if tuple(file.shape) != shape or band > file.count or file.transform.is_identity:
        return None
    mask = None
    if raster.mask is not None:
        encoding = raster.mask.encoding
        if encoding.get("source") != path or "mask_of" not in encoding or raster.mask.shape != shape:
            return None
        bands, alpha = encoding["mask_of"]
        mask = (bands if len(bands) < 2 else (band,), alpha, shape)
    # A shifted image still has the pixels of the file, a mirrored one has not.
    if not np.allclose(linear_of(file.transform), linear_of(raster.grid.affine), rtol=1e-6, atol=0):
        return None
    _check_carried(file, band, raster)
    factors = list(file.overviews(band))
    enough = [at for at, factor in enumerate(factors) if max(shape) / factor >= 0.75 * size]
    nodata = file.nodatavals[band - 1]
    if not enough:
        return FileLevel(path, band, None, shape, tuple(file.block_shapes[band - 1]), nodata, mask)
    level = max(enough, key=lambda at: factors[at])
    with rasterio.open(path, overview_level=level) as coarse:
        return FileLevel(path, band, level, tuple(coarse.shape), tuple(coarse.block_shapes[band - 1]), nodata, mask)


def _check_carried(file: Any, band: int, raster: Raster) -> None:
    """Warn of what the file of an unchanged image says about missing pixels, and the image does not."""
    if raster.nodata_source == "given" or raster.variable.dtype != file.dtypes[band - 1]:  # decoded: missing is NaN
        return
    first, own = file.nodatavals[0], file.nodatavals[band - 1]
    lost = "a mask beside the pixels" * (raster.mask is None and file_mask(file) is not None)
    if raster.nodata_source == "file" and raster.nodata == first and own not in (None, first) and own == own:
        lost = lost or f"another nodata value for this band, {own}"
    if lost:
        warn_user(
            f"{raster.name}: its file has {lost}, which the image does not carry: open it with xcoreg.open_raster, "
            "which adds it"
        )


def _band_in_file(raster: Raster) -> int | None:
    """Band number (from 1) in the file that the data were opened from, or None if that is not certain."""
    if tuple(raster.variable.dims[-2:]) != tuple(raster.data.dims):
        return None
    lead = raster.lead[0][1] if len(raster.lead) == 1 else None
    if raster.is_chunked:
        return _band_of_chunked(raster, lead)
    return _band_of_lazy(raster.variable, lead)


def _band_of_lazy(variable: Any, lead: int | None) -> int | None:
    """Band of a lazily indexed variable that rioxarray reads, if its only key selects a complete band."""
    keys: list[tuple[Any, ...]] = []
    array = getattr(variable, "_data", None)
    while array is not None and type(array).__name__ != "RasterioArrayWrapper":
        if hasattr(array, "key"):
            keys.append(getattr(array.key, "tuple", ()))
        array = getattr(array, "array", None)
    if array is None or getattr(array, "vrt_params", True) is not None or len(keys) != 1 or len(keys[0]) != 3:
        return None
    sizes = array.shape
    if any(
        not isinstance(part, slice) or part.indices(size) != (0, size, 1)
        for part, size in zip(keys[0][1:], sizes[1:], strict=True)
    ):
        return None
    first = keys[0][0]
    if isinstance(first, slice):
        return lead + 1 if lead is not None and first.indices(sizes[0]) == (0, sizes[0], 1) else None
    return int(first) + 1 if np.ndim(first) == 0 and lead is None else None


def _band_of_chunked(raster: Raster, lead: int | None) -> int | None:
    """Band of a dask array of rioxarray, recognised by the names of its layers."""
    data = raster.variable.data
    name, layers = str(getattr(data, "name", "")), [str(key) for key in getattr(data.dask, "layers", ())]
    if name.startswith("open_rasterio-"):
        return lead + 1 if lead is not None else None
    known = ("original-open_rasterio-", "open_rasterio-", "getitem-")
    label = raster.data.coords.get("band")
    if lead is not None or len(layers) != 3 or not all(layer.startswith(known) for layer in layers):
        return None
    return int(label) if label is not None and label.ndim == 0 and label.dtype.kind in "iu" else None
