"""One band of an image: its grid, its nodata value, and windows of it with their valid masks."""

from __future__ import annotations

import logging
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from xarray import DataArray, Dataset, Variable

from xcoreg import lazy
from xcoreg.errors import OptionError
from xcoreg.files import GDAL_ERRORS, STORE_ERRORS
from xcoreg.raster.bands import check_pixels, entry_of, pick_band, pick_variable, reading, spatial_dims
from xcoreg.raster.file_mask import MASK, alpha_of, mask_of
from xcoreg.raster.grid import grid_of
from xcoreg.raster.nodata import (
    Validity,
    as_number,
    fits_dtype,
    is_frame,
    search_corners,
    stored_nodata,
    validity_of,
    void_value,
)
from xcoreg.raster.overview import gain_for, overview_of, scaled
from xcoreg.results.details import TargetHeights

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

    from xcoreg.lazy.graph import Box
    from xcoreg.raster.georeference import Unit
    from xcoreg.raster.overview import Overview


logger = logging.getLogger("xcoreg")

_ANY = Validity()


@dataclass(frozen=True, eq=False)
class Raster:
    """One band of an image, made by :func:`make_raster`: only windows of it are read, from any thread.

    data : The band, (rows, columns); lazy if the image is.
    grid : CRS, affine (pixel corners) and shape.
    nodata : Value of pixels without data, besides NaN and infinity.
    name : Used in messages.
    nodata_source : "given", "file", "corners", "voids", "none", or "uncertain": found in the corners, but may be data.
    variable : With all bands; slicing it once reads less than slicing a slice.
    lead : Indices that select the band in `variable`.
    validity : Which values are data.
    mask : Where there is data, (rows, columns), besides: of the file, of an alpha band, or of the user.
    coarse : Overview that was made to find the nodata value.
    gain : What values are multiplied by when they are read, a power of two; see :func:`without_extremes`.
    """

    data: DataArray
    grid: GeoBox
    nodata: float | int | None
    name: str
    nodata_source: str
    variable: Variable
    lead: tuple[tuple[Hashable, int], ...]
    validity: Validity = _ANY
    mask: Variable | None = None
    coarse: Overview | None = None
    gain: float = 1.0

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
        state = self.__dict__ | {"coarse": None}
        if self.is_computed:
            data = DataArray(lazy.without_graph(self.data.data), dims=self.data.dims)
            state |= {"data": data, "variable": data.variable, "lead": ()}
        if self.mask is not None and not _is_stored(self.mask):
            state["mask"] = Variable(self.mask.dims, lazy.without_graph(self.mask.data))
        return state

    @property
    def certain(self) -> Raster:
        """The raster without a nodata value that may be data."""
        if self.nodata_source != "uncertain":
            return self
        return replace(
            self, nodata=None, nodata_source="none", validity=replace(self.validity, nodata=None), coarse=None
        )

    @property
    def computed(self) -> list[Any]:
        """What dask has to compute of it: pixels, mask."""
        arrays = [self.data.data] if self.is_computed else []
        return arrays if self.mask is None or _is_stored(self.mask) else [*arrays, self.mask.data]

    def read(self, row0: int, row1: int, col0: int, col1: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read a window at full resolution."""
        return self.read_many([(row0, row1, col0, col1)])[0]

    def read_many(self, boxes: Iterable[Box]) -> list[tuple[NDArray[Any], NDArray[np.bool_]]]:
        """Read several windows at once; for dask data this is one computation."""
        wanted = list(boxes)
        inner = [self.clip(box) for box in wanted]
        raws = self.read_raw(inner)
        return [self._pad(*each) for each in zip(wanted, inner, raws, self.read_valid(inner, raws), strict=True)]

    def read_stack(self, boxes: Sequence[Box]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read several windows of one size at once, faster than one by one: -> values, valid (n, rows, cols)."""
        inner = [self.clip(box) for box in boxes]
        raws = self.read_raw(inner)
        shapes = {(row1 - row0, col1 - col0) for row0, row1, col0, col1 in boxes}
        if {raw.shape for raw in raws} != shapes or not raws:
            padded = [self._pad(*one) for one in zip(boxes, inner, raws, self.read_valid(inner, raws), strict=True)]
            return np.array([own for own, _ in padded], self.work_dtype), np.array([good for _, good in padded], bool)
        raw = np.stack(raws)
        valid = self.validity.of(raw) if self.mask is None else np.stack(self.read_valid(inner, raws))
        values = scaled(raw, self.gain).astype(self.work_dtype, copy=False)
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
            with reading(self.name):
                return lazy.read_windows(self.data.data, boxes, step)
        y_dim, x_dim = self.data.dims
        return read_boxes(self.variable, dict(self.lead), (y_dim, x_dim), boxes, step)

    def read_mask(self, boxes: Sequence[Box], step: tuple[int, int] = (1, 1)) -> list[NDArray[np.bool_]]:
        """Read windows of the mask, if there is one: step (rows, columns)."""
        if self.mask is None:
            return []
        if not _is_stored(self.mask):
            return [part != 0 for part in lazy.read_windows(self.mask.data, boxes, step)]
        y_dim, x_dim = self.mask.dims
        return [part != 0 for part in read_boxes(self.mask, {}, (y_dim, x_dim), boxes, step)]

    def read_valid(
        self, boxes: Sequence[Box], raws: Sequence[NDArray[Any]], step: tuple[int, int] = (1, 1)
    ) -> list[NDArray[np.bool_]]:
        """Which of the stored pixels of windows are data: step (rows, columns)."""
        valid = [self.validity.of(raw) for raw in raws]
        for own, mask in zip(valid, self.read_mask(boxes, step), strict=False):
            np.logical_and(own, mask, out=own)
        return valid

    def _pad(
        self, box: Box, inner: Box, raw: NDArray[Any], part: NDArray[np.bool_]
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        shape, raw = (box[1] - box[0], box[3] - box[2]), scaled(raw, self.gain)
        if raw.shape == shape and part.all():
            return raw.astype(self.work_dtype), part
        values = np.zeros(shape, self.work_dtype)
        valid = np.zeros(shape, bool)
        place = (
            slice(inner[0] - box[0], inner[1] - box[0]) if raw.shape[0] else slice(0, 0),
            slice(inner[2] - box[2], inner[3] - box[2]) if raw.shape[1] else slice(0, 0),
        )
        valid[place] = part
        np.copyto(values[place], raw, where=part, casting="unsafe")
        return values, valid


def _is_stored(variable: Variable) -> bool:
    """Whether pixels are read from memory or a file, not computed by dask."""
    in_memory = isinstance(getattr(variable, "_data", None), np.ndarray)  # the usual case: xarray's answer takes long
    return in_memory or variable.chunks is None or lazy.is_read(variable.data)


def read_boxes(
    variable: Variable,
    lead: Mapping[Hashable, int],
    dims: tuple[Hashable, Hashable],
    boxes: Sequence[Box],
    step: tuple[int, int] = (1, 1),
) -> list[NDArray[Any]]:
    """Read windows of one band as they are stored, and nothing else: step (rows, columns)."""
    pixels = getattr(variable, "_data", None)
    if isinstance(pixels, np.ndarray):  # the usual case, for which xarray's indexing takes long
        return [_cut(pixels, variable.dims, lead, dims, box, step) for box in boxes]
    parts = []
    for row0, row1, col0, col1 in boxes:
        window = {**lead, dims[0]: slice(row0, row1, step[0]), dims[1]: slice(col0, col1, step[1])}
        parts.append(variable.isel(window).transpose(*dims))
    errors = (
        STORE_ERRORS if _is_stored(variable) else GDAL_ERRORS
    )  # users' functions in a graph have errors of their own
    with reading(variable.encoding.get("source", "an image"), errors):
        if variable.chunks is None:
            return [np.asarray(part.values) for part in parts]
        fused = len(parts) > 1 and _is_stored(variable)
        windows = [lazy.fused(part.data) if fused else part.data for part in parts]
        return [np.asarray(block) for block in lazy.compute_all(windows)]


def _cut(
    pixels: NDArray[Any], names: tuple[Hashable, ...], lead: Mapping[Hashable, int], dims: Any, box: Box, step: Any
) -> NDArray[Any]:
    """View a window of an array in memory whose axes have these names: rows, columns."""
    window: dict[Hashable, Any] = {dims[0]: slice(box[0], box[1], step[0]), dims[1]: slice(box[2], box[3], step[1])}
    part: NDArray[Any] = pixels[tuple({**lead, **window}.get(name, slice(None)) for name in names)]
    return part if names.index(dims[0]) < names.index(dims[1]) else part.swapaxes(0, 1)


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
    check_pixels(array, dims, name)
    axis = next((dim for dim, size in array.sizes.items() if dim in lead and size > 1), None)
    at, masked = (None if axis is None else lead[axis]), MASK in array.coords
    if masked and (at or 0) == alpha_of(array):
        raise _alpha_error(array, at or 0, name)
    data = array.isel(lead).transpose(*dims)
    value = as_number(nodata, name) if nodata is not None else stored_nodata(array, at)
    source = "given" if nodata is not None else "none" if value is None else "file"
    validity = validity_of(array, value, given=nodata is not None)
    mask = mask_of(array, lead) if masked else None
    mask = None if mask is None else mask.transpose(*dims)
    grid, variable = grid_of(array, name, dims), array.variable
    raster = Raster(data, grid, value, name, source, variable, tuple(lead.items()), validity, mask)
    for each in raster.computed:
        lazy.register(each)
    return with_corner_nodata(raster) if search else raster


def _alpha_error(array: DataArray, at: int, name: str) -> OptionError:
    band = array.coords["band"].values.flat[at]
    return OptionError(
        f"band {band} of {name} is an alpha band, which masks the others: match another one; if it holds data, correct "
        "its colour interpretation (rio edit-info --colorinterp), or da.drop_vars('valid_mask')"
    )


def with_corner_nodata(raster: Raster) -> Raster:
    """Find a nodata value in the corners of an image that has none, and judge by an overview whether it is one."""
    if raster.nodata is not None or raster.mask is not None:
        return raster
    found = search_corners(raster.read_raw, raster.shape)
    if found is None:
        return raster if raster.dtype.kind == "u" else _with_void_nodata(raster)
    raster = replace(raster, nodata=found, nodata_source="corners", validity=replace(raster.validity, nodata=found))
    coarse = overview_of(raster)
    source = "corners" if is_frame(coarse.values, coarse.valid, found) else "uncertain"
    logger.info("%s: nodata %s found from the image corners", raster.name, found)
    return replace(raster, nodata_source=source, coarse=coarse)


def _with_void_nodata(raster: Raster) -> Raster:
    """Find a nodata value such as -9999 anywhere in an image whose corners hold data."""
    coarse = overview_of(raster)
    void = void_value(coarse.values[coarse.valid & coarse.sampled])
    if void is None or not fits_dtype(void, raster.dtype):
        return replace(raster, coarse=coarse)
    logger.info("%s: nodata %s found in voids of the image", raster.name, void)
    return replace(raster, nodata=void, nodata_source="voids", validity=replace(raster.validity, nodata=void))


def without_extremes(raster: Raster, overview: Overview) -> Raster:
    """Scale an image, when it is read, whose values are so large or small that their powers leave single precision."""
    gain = gain_for(overview.size)
    return raster if gain == 1.0 else replace(raster, gain=gain, coarse=None)


def uncertain_text(raster: Raster, option: str = "nodata") -> str:
    """Say that the corners show a value that may be data."""
    return (
        f"{raster.name} stores no nodata value, and the one that fills a corner, {raster.nodata}, may be data: it "
        "occurs inside, too, or goes over into the values beside it. It is left out of the matching only; pass "
        f"{option}={raster.nodata} if it marks missing pixels"
    )


@dataclass(frozen=True, eq=False)
class _CachedRaster(Raster):
    """A raster with the pixels of `box` in memory, and its mask there."""

    box: Box = (0, 0, 0, 0)
    pixels: Any = None
    masked: Any = None

    def read_raw(self, boxes: Sequence[Box], step: tuple[int, int] = (1, 1)) -> list[Any]:
        """Read windows as they are stored, from memory where all of them are in the box."""
        return self._cut(self.pixels, boxes, step) or super().read_raw(boxes, step)

    def read_mask(self, boxes: Sequence[Box], step: tuple[int, int] = (1, 1)) -> list[Any]:
        """Read windows of the mask, from memory where all of them are in the box."""
        return self._cut(self.masked, boxes, step) or super().read_mask(boxes, step)

    def _cut(self, pixels: Any, boxes: Sequence[Box], step: tuple[int, int]) -> list[Any]:
        row0, row1, col0, col1 = self.box
        inside = all(row0 <= r0 and r1 <= row1 and col0 <= c0 and c1 <= col1 for r0, r1, c0, c1 in boxes)
        if pixels is None or not inside:
            return []
        return [pixels[r0 - row0 : r1 - row0 : step[0], c0 - col0 : c1 - col0 : step[1]] for r0, r1, c0, c1 in boxes]


def cache_box(raster: Raster, box: Box) -> Raster:
    """Read one box of a raster now, so that windows inside of it come from memory."""
    if raster.computed:
        return raster
    inner = raster.clip(box)
    known = {f.name: getattr(raster, f.name) for f in fields(Raster)}
    masked = next(iter(raster.read_mask([inner])), None)
    return _CachedRaster(**known, box=inner, pixels=raster.read_raw([inner])[0], masked=masked)


def target_heights(target: Raster, unit: Unit) -> TargetHeights:
    """Record which band of the target held the heights, and their unit."""
    band, name = target.data, entry_of(target.data, "long_name")
    position = dict(target.lead).get("band", next((at for _, at in target.lead), 0))
    variable = None if band.name is None else str(band.name)
    return TargetHeights(unit.name, variable, int(position), None if name is None else str(name), str(target.dtype))
