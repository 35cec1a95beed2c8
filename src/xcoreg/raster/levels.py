"""The file an untouched image was opened from: where one stands behind, its overviews give a coarse look for little.

A sparse lattice of samples of an image: value, validity and gradient at the centre of every coarse cell.
"""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window
from scipy import ndimage

from xcoreg.files import retry
from xcoreg.georef import linear_of
from xcoreg.raster.nodata import valid_mask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from xcoreg.lazy.graph import Box
    from xcoreg.raster.raster import Raster


@dataclass(frozen=True, eq=False)
class Lattice:
    """Samples at fixed pixels of an image, filled in block by block; every block fills cells of its own.

    rows, cols : (n,) int; Pixels that are sampled, ascending.
    step : (rows, columns); Size of a cell, px.
    markers : Values that are no data.
    values, gx, gy : (rows, columns) float32; See :class:`xcoreg.raster.overview.Overview`.
    valid, seen : (rows, columns) bool; Of the cells looked at so far.
    """

    rows: NDArray[np.intp]
    cols: NDArray[np.intp]
    step: tuple[int, int]
    markers: tuple[float | None, ...]
    values: NDArray[np.float32]
    gx: NDArray[np.float32]
    gy: NDArray[np.float32]
    valid: NDArray[np.bool_]
    seen: NDArray[np.bool_]

    @classmethod
    def empty(cls, shape: tuple[int, int], step: tuple[int, int], markers: tuple[float | None, ...]) -> Lattice:
        """Lay the lattice over an image.

        shape (rows, columns); step (rows, columns).
        """
        # The centre pixel of the last, cut cell may lie outside: take the last pixel instead.
        rows, cols = (
            np.minimum(np.arange(0, size, each) + each // 2, size - 1) for size, each in zip(shape, step, strict=True)
        )
        cells = rows.size, cols.size
        gx, gy = np.full(cells, np.nan, np.float32), np.full(cells, np.nan, np.float32)
        return cls(
            rows, cols, step, markers, np.zeros(cells, np.float32), gx, gy, np.zeros(cells, bool), np.zeros(cells, bool)
        )

    def cells(self, box: Box) -> tuple[slice, slice]:
        """Cells whose samples lie in a box."""
        row0, row1, col0, col1 = box
        top, bottom = np.searchsorted(self.rows, (row0, row1))
        left, right = np.searchsorted(self.cols, (col0, col1))
        return slice(int(top), int(bottom)), slice(int(left), int(right))

    def strided(self, box: Box) -> list[Box]:
        """Cut a box where its samples are not one step apart: before the last one, which may belong to a cut cell."""
        parts = []
        for low, high, samples, step in zip(box[::2], box[1::2], (self.rows, self.cols), self.step, strict=True):
            cut = int(samples[-1])
            uneven = samples.size > 1 and cut - int(samples[-2]) != step and low < cut < high
            parts.append([(low, cut), (cut, high)] if uneven else [(low, high)])
        boxes = [(*down, *right) for down in parts[0] for right in parts[1]]
        return [each for each in boxes if all(part.stop > part.start for part in self.cells(each))]

    def put(self, box: Box, block: NDArray[Any]) -> None:
        """Take the samples of a block of the image."""
        down, right = self.cells(box)
        rows, cols = self.rows[down] - box[0], self.cols[right] - box[2]
        above, before = np.maximum(rows - 1, 0), np.maximum(cols - 1, 0)
        here = block[np.ix_(rows, cols)]
        self.put_samples(box, here, block[np.ix_(above, cols)], block[np.ix_(rows, before)])
        # On the first line of a block the neighbour is the sample itself.
        self.gy[down, right][above == rows] = np.nan
        self.gx[down, right][:, before == cols] = np.nan

    def put_samples(self, box: Box, here: NDArray[Any], above: NDArray[Any], before: NDArray[Any]) -> None:
        """Take samples that were picked elsewhere."""
        at = self.cells(box)
        valid, valid_above, valid_before = (self._is_valid(part) for part in (here, above, before))
        value = np.where(valid, here, 0).astype(np.float32)
        with np.errstate(invalid="ignore", over="ignore"):
            self.gy[at] = np.where(valid & valid_above, value - above.astype(np.float32), np.nan)
            self.gx[at] = np.where(valid & valid_before, value - before.astype(np.float32), np.nan)
        self.values[at], self.valid[at], self.seen[at] = value, valid, True

    def _is_valid(self, raw: NDArray[Any]) -> NDArray[np.bool_]:
        valid = np.ones(raw.shape, bool)
        for marker in self.markers:
            valid &= valid_mask(raw, marker)
        return valid

    def spread(self) -> NDArray[np.bool_]:
        """Give every cell a validity: of one not seen, that of the nearest one seen.

        -> (rows, columns) bool.
        """
        if self.seen.all() or not self.seen.any():
            return self.valid
        nearest = ndimage.distance_transform_edt(
            ~self.seen, sampling=self.step, return_distances=False, return_indices=True
        )
        return np.asarray(self.valid[tuple(nearest)])


_BATCH = 16  # blocks read through one handle: its cache of decoded blocks dies with it
_THREADS = 2


@dataclass(frozen=True)
class FileLevel:
    """One band of a file at full resolution or at one of its overviews.

    path : As GDAL opens it.
    band : From 1.
    level : Overview, from 0; None is full resolution.
    shape : (rows, columns); At this level.
    block : (rows, columns); What is decoded at once, px of this level.
    nodata : Of the file.
    """

    path: str
    band: int
    level: int | None
    shape: tuple[int, int]
    block: tuple[int, int]
    nodata: float | None

    def fill(self, lattice: Lattice, boxes: Sequence[Box]) -> None:
        """Read blocks, from several threads, and put their samples into a lattice."""
        batches = [boxes[at : at + _BATCH] for at in range(0, len(boxes), _BATCH)]
        if len(batches) == 1:
            self._fill_batch(lattice, batches[0])
            return
        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(lambda batch: self._fill_batch(lattice, batch), batches))

    def _fill_batch(self, lattice: Lattice, boxes: Sequence[Box]) -> None:
        options = {} if self.level is None else {"overview_level": self.level}
        with retry(partial(rasterio.open, self.path, **options), self.path) as file:
            for box in boxes:
                row0, row1, col0, col1 = box
                window = Window(col0, row0, col1 - col0, row1 - row0)
                lattice.put(box, retry(partial(file.read, self.band, window=window), self.path))


def file_behind(raster: Raster, size: int) -> FileLevel | None:
    """Find the file whose pixels a raster shows unchanged, and the level of it that suits a coarse overview."""
    path, band = raster.variable.encoding.get("source"), _band_in_file(raster)
    if band is None or not isinstance(path, str):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path) as file:
                return _choose(file, path, band, raster, size)
    except RasterioError:
        return None


def _choose(file: Any, path: str, band: int, raster: Raster, size: int) -> FileLevel | None:
    shape = raster.shape
    if tuple(file.shape) != shape or band > file.count or file.transform.is_identity:
        return None
    # A moved image still shows the file's pixels, a mirrored one does not.
    if not np.allclose(linear_of(file.transform), linear_of(raster.grid.affine), rtol=1e-6, atol=0):
        return None
    factors = list(file.overviews(band))
    enough = [at for at, factor in enumerate(factors) if max(shape) / factor >= 0.75 * size]
    nodata = file.nodatavals[band - 1]
    if not enough:
        return FileLevel(path, band, None, shape, tuple(file.block_shapes[band - 1]), nodata)
    level = max(enough, key=lambda at: factors[at])
    with rasterio.open(path, overview_level=level) as coarse:
        return FileLevel(path, band, level, tuple(coarse.shape), tuple(coarse.block_shapes[band - 1]), nodata)


def _band_in_file(raster: Raster) -> int | None:
    """Band number (from 1) in the file that the data were opened from, or None if that cannot be shown."""
    if tuple(raster.variable.dims[-2:]) != tuple(raster.data.dims):
        return None
    lead = raster.lead[0][1] if len(raster.lead) == 1 else None
    if raster.is_chunked:
        return _band_of_chunked(raster, lead)
    return _band_of_lazy(raster.variable, lead)


def _band_of_lazy(variable: Any, lead: int | None) -> int | None:
    """Follow a lazily indexed variable down to rioxarray's reader: exactly one key, and that of a whole band."""
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
    """Recognise rioxarray's dask arrays, whole or with one band selected, by the names of their layers."""
    data = raster.variable.data
    name, layers = str(getattr(data, "name", "")), [str(key) for key in getattr(data.dask, "layers", ())]
    if name.startswith("open_rasterio-"):
        return lead + 1 if lead is not None else None
    known = ("original-open_rasterio-", "open_rasterio-", "getitem-")
    label = raster.data.coords.get("band")
    if lead is not None or len(layers) != 3 or not all(layer.startswith(known) for layer in layers):
        return None
    return int(label) if label is not None and label.ndim == 0 and label.dtype.kind in "iu" else None
