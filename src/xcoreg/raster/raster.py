"""A raster one part of which is already in memory: many windows of one neighbourhood cost one reading.

One band as arrays: windows read from it with their valid masks, and its nodata.
"""

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
from xcoreg.raster.nodata import as_number, is_stored, read_boxes, search_corners, stored_nodata, valid_of

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

    from xcoreg.raster.nodata import Box


__all__ = ["Raster", "hold", "make_raster", "with_marker"]

logger = logging.getLogger("xcoreg")


@dataclass(frozen=True, eq=False)
class Raster:
    """One band of an image: where it lies and how to read windows of it.

    Made by :func:`make_raster`. Nothing is read before :meth:`read`, and then the window alone. Reading is safe
    from several threads.

    Attributes
    ----------
    data : DataArray
        The band, (rows, columns), as lazy as it came.
    grid : GeoBox
        CRS, affine (pixel corners) and shape.
    nodata : float, int or None
        Value of pixels that hold nothing; NaN and infinities never count as data.
    name : str
        What messages call it.
    nodata_source : str
        "given", "file", "corners" or "none".
    variable : Variable
        The unselected variable; slicing it once reads less than slicing a slice.
    lead : tuple of (dimension, position)
        What selects the band in `variable`.

    Examples
    --------
    >>> from affine import Affine
    >>> image = DataArray(np.arange(6, dtype="uint8").reshape(2, 3), dims=("y", "x")).rio.write_crs("EPSG:32633")
    >>> raster = make_raster(image.rio.write_transform(Affine(10, 0, 300000, 0, -10, 5900040)), nodata=0)
    >>> values, valid = raster.read(0, 2, 0, 2)
    >>> values.tolist(), values.dtype.name, valid.tolist()
    ([[0.0, 1.0], [3.0, 4.0]], 'float32', [[False, True], [True, True]])
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
        """Of the values that :meth:`read` returns: float32 where it holds every pixel exactly, else float64."""
        return np.dtype(np.float32 if np.can_cast(self.dtype, np.float32) else np.float64)

    @property
    def is_chunked(self) -> bool:
        """Whether the data are dask's."""
        return self.variable.chunks is not None

    @property
    def is_computed(self) -> bool:
        """Whether dask has to compute the data, not only to read them."""
        return not is_stored(self.variable)

    def __getstate__(self) -> dict[str, Any]:
        """Let an image that is computed travel without its graph: who works on it elsewhere is given its chunks."""
        known = dict(self.__dict__)
        if self.is_computed:
            data = DataArray(lazy.hollow(self.data.data), dims=self.data.dims)
            known |= {"data": data, "variable": data.variable, "lead": ()}
        return known

    def read(self, row0: int, row1: int, col0: int, col1: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read a window at full resolution.

        Parameters
        ----------
        row0, row1, col0, col1 : int
            Half-open, px; parts outside the image are allowed.

        Returns
        -------
        values : (row1 - row0, col1 - col0) float32 or float64
            0 where not valid.
        valid : bool, same shape
            True where the image holds a finite value that is not nodata.
        """
        return self.read_many([(row0, row1, col0, col1)])[0]

    def read_many(self, boxes: Iterable[Box]) -> list[tuple[NDArray[Any], NDArray[np.bool_]]]:
        """Read several windows at once; for dask data this is one computation.

        Parameters
        ----------
        boxes : iterable of (row0, row1, col0, col1)
            As for :meth:`read`.

        Returns
        -------
        list of (values, valid)
            As :meth:`read` returns them, in the order of `boxes`.
        """
        wanted = list(boxes)
        inner = [self.clip(box) for box in wanted]
        return [self._pad(*pair) for pair in zip(wanted, inner, self.read_raw(inner), strict=True)]

    def read_stack(self, boxes: Sequence[Box]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read several windows of one size at once, in fewer steps than one after the other.

        Parameters
        ----------
        boxes : sequence of (row0, row1, col0, col1)
            As for :meth:`read`.

        Returns
        -------
        values, valid : (n, rows, cols)
            As :meth:`read` returns them.
        """
        inner = [self.clip(box) for box in boxes]
        raws = self.read_raw(inner)
        shapes = {(row1 - row0, col1 - col0) for row0, row1, col0, col1 in boxes}
        if {raw.shape for raw in raws} != shapes or not raws:
            padded = [self._pad(*one) for one in zip(boxes, inner, raws, strict=True)]
            return np.array([own for own, _ in padded], self.work_dtype), np.array([good for _, good in padded], bool)
        raw = np.stack(raws)
        valid = self.valid_of(raw)
        values = raw.astype(self.work_dtype, copy=False)
        if not valid.all():
            np.copyto(values, 0, where=~valid)
        return values, valid

    def clip(self, box: Box) -> Box:
        """Cut a box to the image.

        Parameters
        ----------
        box : (row0, row1, col0, col1)
            As for :meth:`read`.

        Returns
        -------
        (row0, row1, col0, col1)
            Empty where nothing is left.
        """
        row0, row1, col0, col1 = (int(edge) for edge in box)
        if row1 < row0 or col1 < col0:
            raise OptionError(f"the window {box} is turned around: rows and columns go up")
        rows, cols = self.shape
        low, left = min(max(row0, 0), rows), min(max(col0, 0), cols)
        return low, max(low, min(row1, rows)), left, max(left, min(col1, cols))

    def read_raw(self, boxes: Sequence[Box], step: tuple[int, int] = (1, 1)) -> list[NDArray[Any]]:
        """Read windows as they are stored, with no mask.

        Parameters
        ----------
        boxes : sequence of (row0, row1, col0, col1)
            Inside the image.
        step : (rows, columns)
            Take every so many rows and columns.

        Returns
        -------
        list of arrays
            In the dtype of the image.
        """
        if self.is_computed:
            return lazy.read_windows(self.data.data, boxes, step)
        y_dim, x_dim = self.data.dims
        return read_boxes(self.variable, dict(self.lead), (y_dim, x_dim), boxes, step)

    def valid_of(self, raw: NDArray[Any]) -> NDArray[np.bool_]:
        """Tell which of the stored values are data.

        Parameters
        ----------
        raw : array
            From :meth:`read_raw`.

        Returns
        -------
        bool array
            False for nodata, NaN and infinities.
        """
        return valid_of(raw, self.nodata)

    def _pad(self, box: Box, inner: Box, raw: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        shape = box[1] - box[0], box[3] - box[2]
        if raw.shape == shape:
            part = self.valid_of(raw)
            if part.all():
                return raw.astype(self.work_dtype), part
        values = np.zeros(shape, self.work_dtype)
        valid = np.zeros(shape, bool)
        place = (
            slice(inner[0] - box[0], inner[1] - box[0]) if raw.shape[0] else slice(0, 0),
            slice(inner[2] - box[2], inner[3] - box[2]) if raw.shape[1] else slice(0, 0),
        )
        part = self.valid_of(raw)
        valid[place] = part
        np.copyto(values[place], raw, where=part, casting="unsafe")
        return values, valid


def make_raster(
    image: DataArray | Dataset,
    *,
    band: int | str | None = None,
    nodata: float | None = None,
    name: str = "target",
    search: bool = True,
) -> Raster:
    """Take one band of an image as a :class:`Raster`.

    Parameters
    ----------
    image : DataArray or Dataset
        From rioxarray, odc-geo, xarray or :func:`xcoreg.open_raster`.
    band : int or str, optional
        See :func:`xcoreg.raster.bands.to_band`.
    nodata : float, optional
        Marker to use instead of the stored one; may be NaN or -inf.
    name : str
        What messages call the image.
    search : bool
        Look for a marker where none is known. False: leave that to :func:`with_marker`.

    Returns
    -------
    Raster
        Nothing is read, save four corners of 3 x 3 pixels when no marker is known.

    Raises
    ------
    NotGeoreferenced
        Without CRS or transform.
    OptionError
        Without such a band, or for complex and boolean images.

    Examples
    --------
    >>> image = DataArray([[0, 7], [8, 9]], {"y": [15.0, 5.0], "x": [5.0, 15.0]}, ("y", "x"))
    >>> raster = make_raster(image.rio.write_crs("EPSG:32633"), nodata=0)
    >>> values, valid = raster.read(0, 1, 0, 3)
    >>> values.tolist(), valid.tolist()
    ([[0.0, 7.0, 0.0]], [[False, True, False]])
    """
    array, left = pick_variable(image, band, name)
    dims = spatial_dims(image, name)
    lead = pick_band(array, dims, left, name)
    check_dtype(array.dtype, name)
    data = array.isel(lead).transpose(*dims)
    marker = as_number(nodata, name) if nodata is not None else stored_nodata(array)
    source = "given" if nodata is not None else "none" if marker is None else "file"
    raster = Raster(data, grid_of(array, name, dims), marker, name, source, array.variable, tuple(lead.items()))
    if raster.is_computed:
        lazy.remember(data.data)
    return with_marker(raster) if search else raster


def with_marker(raster: Raster) -> Raster:
    """Look for nodata in the corners of an image, where none is known.

    Parameters
    ----------
    raster : Raster

    Returns
    -------
    Raster

    Examples
    --------
    >>> image = DataArray(np.pad(np.arange(1, 101).reshape(10, 10), 5), dims=("y", "x")).rio.write_crs("EPSG:32633")
    >>> bare = make_raster(image.assign_coords(x=10.0 * np.arange(20), y=-10.0 * np.arange(20)), search=False)
    >>> bare.nodata, with_marker(bare).nodata
    (None, 0)
    """
    if raster.nodata is not None:
        return raster
    found = search_corners(raster.read_raw, raster.shape)
    if found is None:
        return raster
    logger.info("%s: nodata %s found from the image corners", raster.name, found)
    return Raster(raster.data, raster.grid, found, raster.name, "corners", raster.variable, raster.lead)


@dataclass(frozen=True, eq=False)
class _HeldRaster(Raster):
    """A raster that reads what lies in `box` from `held`."""

    box: Box = (0, 0, 0, 0)
    held: Any = None

    def read_raw(self, boxes: Sequence[Box], step: tuple[int, int] = (1, 1)) -> list[Any]:
        """Read windows as they are stored, from memory where all of them lie there."""
        row0, row1, col0, col1 = self.box
        inside = all(row0 <= r0 and r1 <= row1 and col0 <= c0 and c1 <= col1 for r0, r1, c0, c1 in boxes)
        if not inside:
            return super().read_raw(boxes, step)
        return [self.held[r0 - row0 : r1 - row0 : step[0], c0 - col0 : c1 - col0 : step[1]] for r0, r1, c0, c1 in boxes]


def hold(raster: Raster, box: Box) -> Raster:
    """Read one box of a raster now, and windows inside of it from memory later.

    Parameters
    ----------
    raster : Raster
        From :func:`xcoreg.raster.raster.make_raster`.
    box : (row0, row1, col0, col1)
        Half-open, px; cut to the image.

    Returns
    -------
    Raster
        Reads the same values as `raster`; windows that leave the box are read as before. One that dask computes is
        returned as it is: its chunks are kept anyway, and between windows there may be some that nobody needs.

    Examples
    --------
    >>> import numpy as np
    >>> from affine import Affine
    >>> from xarray import DataArray
    >>> from xcoreg.raster.raster import make_raster
    >>> image = DataArray(np.arange(6.0).reshape(2, 3), dims=("y", "x")).rio.write_crs("EPSG:32633")
    >>> raster = make_raster(image.rio.write_transform(Affine(10, 0, 5e5, 0, -10, 5e6)), nodata=9)
    >>> hold(raster, (0, 1, 0, 9)).read(0, 1, 1, 3)[0].tolist()
    [[1.0, 2.0]]
    """
    if raster.is_computed:
        return raster
    inner = raster.clip(box)
    known = {f.name: getattr(raster, f.name) for f in fields(Raster)}
    return _HeldRaster(**known, box=inner, held=raster.read_raw([inner])[0])
