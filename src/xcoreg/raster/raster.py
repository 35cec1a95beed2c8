"""One band of an image: its grid, its nodata value, and windows of it with their valid masks."""

from __future__ import annotations

import logging
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from xarray import DataArray, Dataset, Variable

from xcoreg import lazy
from xcoreg.errors import OptionError
from xcoreg.raster.bands import check_dtype, pick_band, pick_variable, spatial_dims
from xcoreg.raster.grid import grid_of
from xcoreg.raster.nodata import as_number, search_corners, stored_nodata, valid_mask

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

    from xcoreg.lazy.graph import Box


logger = logging.getLogger("xcoreg")


@dataclass(frozen=True, eq=False)
class Raster:
    """One band of an image, made by :func:`make_raster`: only windows of it are read, from any thread.

    data : The band, (rows, columns); lazy if the image is.
    grid : CRS, affine (pixel corners) and shape.
    nodata : Value of pixels without data, besides NaN and infinity.
    name : Used in messages.
    nodata_source : "given", "file", "corners" or "none".
    variable : With all bands; slicing it once reads less than slicing a slice.
    lead : Indices that select the band in `variable`.
    """

    data: DataArray
    grid: GeoBox
    nodata: float | int | None
    name: str
    nodata_source: str
    variable: Variable
    lead: tuple[tuple[Hashable, int], ...]

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return int(self.grid.shape[0]), int(self.grid.shape[1])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the stored pixels."""
        dtype: np.dtype[Any] = np.dtype(self.variable.dtype)
        return dtype

    @property
    def work_dtype(self) -> np.dtype[Any]:
        """Of the values that :meth:`read` returns: float32 where that is exact, else float64."""
        return np.dtype(np.float32 if np.can_cast(self.dtype, np.float32) else np.float64)

    @property
    def is_chunked(self) -> bool:
        """Whether the data are dask's."""
        return self.variable.chunks is not None

    @property
    def is_computed(self) -> bool:
        """Whether dask has to compute the data, not only to read them."""
        return not _is_stored(self.variable)

    def __getstate__(self) -> dict[str, Any]:
        """Pickle an image that dask computes without its graph: tasks in other processes are given its chunks."""
        state = dict(self.__dict__)
        if self.is_computed:
            data = DataArray(lazy.without_graph(self.data.data), dims=self.data.dims)
            state |= {"data": data, "variable": data.variable, "lead": ()}
        return state

    def read(self, row0: int, row1: int, col0: int, col1: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read a window at full resolution."""
        return self.read_many([(row0, row1, col0, col1)])[0]

    def read_many(self, boxes: Iterable[Box]) -> list[tuple[NDArray[Any], NDArray[np.bool_]]]:
        """Read several windows at once; for dask data this is one computation."""
        wanted = list(boxes)
        inner = [self.clip(box) for box in wanted]
        return [self._pad(*pair) for pair in zip(wanted, inner, self.read_raw(inner), strict=True)]

    def read_stack(self, boxes: Sequence[Box]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read several windows of one size at once, faster than one by one: -> values, valid (n, rows, cols)."""
        inner = [self.clip(box) for box in boxes]
        raws = self.read_raw(inner)
        shapes = {(row1 - row0, col1 - col0) for row0, row1, col0, col1 in boxes}
        if {raw.shape for raw in raws} != shapes or not raws:
            padded = [self._pad(*one) for one in zip(boxes, inner, raws, strict=True)]
            return np.array([own for own, _ in padded], self.work_dtype), np.array([good for _, good in padded], bool)
        raw = np.stack(raws)
        valid = self.valid_mask(raw)
        values = raw.astype(self.work_dtype, copy=False)
        if not valid.all():
            np.copyto(values, 0, where=~valid)
        return values, valid

    def clip(self, box: Box) -> Box:
        """Cut a box to the image."""
        row0, row1, col0, col1 = (int(edge) for edge in box)
        if row1 < row0 or col1 < col0:
            raise OptionError(f"the window {box} ends before it begins: give row0 <= row1 and col0 <= col1")
        rows, cols = self.shape
        low, left = min(max(row0, 0), rows), min(max(col0, 0), cols)
        return low, max(low, min(row1, rows)), left, max(left, min(col1, cols))

    def read_raw(self, boxes: Sequence[Box], step: tuple[int, int] = (1, 1)) -> list[NDArray[Any]]:
        """Read windows as they are stored, without a mask: step (rows, columns)."""
        if self.is_computed:
            return lazy.read_windows(self.data.data, boxes, step)
        y_dim, x_dim = self.data.dims
        return read_boxes(self.variable, dict(self.lead), (y_dim, x_dim), boxes, step)

    def valid_mask(self, raw: NDArray[Any]) -> NDArray[np.bool_]:
        """Which of the stored pixels are data."""
        return valid_mask(raw, self.nodata)

    def _pad(self, box: Box, inner: Box, raw: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        shape = box[1] - box[0], box[3] - box[2]
        if raw.shape == shape:
            part = self.valid_mask(raw)
            if part.all():
                return raw.astype(self.work_dtype), part
        values = np.zeros(shape, self.work_dtype)
        valid = np.zeros(shape, bool)
        place = (
            slice(inner[0] - box[0], inner[1] - box[0]) if raw.shape[0] else slice(0, 0),
            slice(inner[2] - box[2], inner[3] - box[2]) if raw.shape[1] else slice(0, 0),
        )
        part = self.valid_mask(raw)
        valid[place] = part
        np.copyto(values[place], raw, where=part, casting="unsafe")
        return values, valid


def _is_stored(variable: Variable) -> bool:
    """Whether pixels are read from memory or a file, not computed by dask."""
    return variable.chunks is None or lazy.is_read(variable.data)


def read_boxes(
    variable: Variable,
    lead: Mapping[Hashable, int],
    dims: tuple[Hashable, Hashable],
    boxes: Sequence[Box],
    step: tuple[int, int] = (1, 1),
) -> list[NDArray[Any]]:
    """Read windows of one band as they are stored, and nothing else: step (rows, columns)."""
    parts = []
    for row0, row1, col0, col1 in boxes:
        window = {**lead, dims[0]: slice(row0, row1, step[0]), dims[1]: slice(col0, col1, step[1])}
        parts.append(variable.isel(window).transpose(*dims))
    if variable.chunks is None:
        return [np.asarray(part.values) for part in parts]
    fused = len(parts) > 1 and _is_stored(variable)
    windows = [lazy.fused(part.data) if fused else part.data for part in parts]
    return [np.asarray(block) for block in lazy.compute_all(windows)]


def make_raster(
    image: DataArray | Dataset,
    *,
    band: int | str | None = None,
    nodata: float | None = None,
    name: str = "target",
    search: bool = True,
) -> Raster:
    """Select one band of an image as a :class:`Raster`."""
    array, left = pick_variable(image, band, name)
    dims = spatial_dims(image, name)
    dims = dims if set(dims) <= set(array.dims) else spatial_dims(array, name)
    lead = pick_band(array, dims, left, name)
    check_dtype(array.dtype, name)
    data = array.isel(lead).transpose(*dims)
    value = as_number(nodata, name) if nodata is not None else stored_nodata(array)
    source = "given" if nodata is not None else "none" if value is None else "file"
    raster = Raster(data, grid_of(array, name, dims), value, name, source, array.variable, tuple(lead.items()))
    if raster.is_computed:
        lazy.register(data.data)
    return with_corner_nodata(raster) if search else raster


def with_corner_nodata(raster: Raster) -> Raster:
    """Find a nodata value in the corners of an image that has none."""
    if raster.nodata is not None:
        return raster
    found = search_corners(raster.read_raw, raster.shape)
    if found is None:
        return raster
    logger.info("%s: nodata %s found from the image corners", raster.name, found)
    return Raster(raster.data, raster.grid, found, raster.name, "corners", raster.variable, raster.lead)


@dataclass(frozen=True, eq=False)
class _CachedRaster(Raster):
    """A raster with the pixels of `box` in memory."""

    box: Box = (0, 0, 0, 0)
    pixels: Any = None

    def read_raw(self, boxes: Sequence[Box], step: tuple[int, int] = (1, 1)) -> list[Any]:
        """Read windows as they are stored, from memory where all of them are in the box."""
        row0, row1, col0, col1 = self.box
        inside = all(row0 <= r0 and r1 <= row1 and col0 <= c0 and c1 <= col1 for r0, r1, c0, c1 in boxes)
        if not inside:
            return super().read_raw(boxes, step)
        return [
            self.pixels[r0 - row0 : r1 - row0 : step[0], c0 - col0 : c1 - col0 : step[1]] for r0, r1, c0, c1 in boxes
        ]


def cache_box(raster: Raster, box: Box) -> Raster:
    """Read one box of a raster now, so that windows inside of it come from memory."""
    if raster.is_computed:
        return raster
    inner = raster.clip(box)
    known = {f.name: getattr(raster, f.name) for f in fields(Raster)}
    return _CachedRaster(**known, box=inner, pixels=raster.read_raw([inner])[0])
