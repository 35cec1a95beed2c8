"""An array with a geotransform and a projection, as AROSICS takes and returns it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox
from xarray import DataArray

from xcoreg.errors import OptionError
from xcoreg.georef import to_geotransform
from xcoreg.io.read import open_raster
from xcoreg.io.write import write_raster
from xcoreg.raster.grid import grid_of, lacks_georeference

_UNKNOWN = "without a projection"
#: CRS of images that name none: AROSICS matches these in the geotransform that there is.
NO_PROJECTION = (
    f'ENGCRS["{_UNKNOWN}",EDATUM["unknown"],CS[Cartesian,2],AXIS["x",east,ORDER[1]],AXIS["y",north,ORDER[2]],'
    'LENGTHUNIT["metre",1]]'
)
_PLAIN = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)


class GeoArray:
    """Image as AROSICS' users know it: `arr` (rows, columns[, bands]), `gt` (GDAL's geotransform), `prj` (WKT).

    Parameters
    ----------
    path_or_array : path, array, DataArray or GeoArray
        The image; a file is read when its pixels are first asked for.
    geotransform : sequence of six float, optional
        Default: that of the file, else pixels.
    projection : str, optional
        Default: that of the file, else none.
    bandnames : optional
        Accepted; bands have numbers here.
    nodata : float, optional
        Marker of missing pixels; default that of the file.
    progress, q : bool
        Accepted.

    Examples
    --------
    >>> image = GeoArray(np.zeros((4, 5), "uint8"), (10, 2, 0, 20, 0, -2), "EPSG:32633", nodata=0)
    >>> image.shape, image.xgsd, image[1:3, 2].shape
    ((4, 5), 2.0, (2,))
    """

    def __init__(
        self,
        path_or_array: Any,
        geotransform: Any = None,
        projection: str | None = None,
        bandnames: Any = None,
        nodata: float | None = None,
        progress: bool = True,
        q: bool = False,
    ) -> None:
        del bandnames, progress, q
        self._image = open_image(path_or_array)
        self.filePath: str | None = path_of(path_or_array) or None
        self._arr: Any = None
        grid = grid_of(self._image)
        self.gt = tuple(to_geotransform(grid.affine) if geotransform is None else geotransform)
        self.prj = projection_of(grid) if projection is None else projection
        self.nodata = self._image.rio.nodata if nodata is None else nodata

    geotransform = property(lambda self: self.gt, doc="GDAL's geotransform.")
    projection = property(lambda self: self.prj, doc="WKT, or an empty string.")
    shape = property(lambda self: self.arr.shape, doc="Rows, columns, and bands if there are several.")
    dtype = property(lambda self: self.arr.dtype, doc="Type of the pixels.")
    rows = property(lambda self: self.arr.shape[0], doc="Number of rows.")
    cols = property(lambda self: self.arr.shape[1], doc="Number of columns.")
    bands = property(lambda self: self.arr.shape[2] if self.arr.ndim > 2 else 1, doc="Number of bands.")
    xgsd = property(lambda self: abs(float(self.gt[1])), doc="Pixel size along x.")
    ygsd = property(lambda self: abs(float(self.gt[5])), doc="Pixel size along y.")
    basename = property(lambda self: Path(self.filePath or "IN_MEM").stem, doc="Name of the file without its suffix.")

    @property
    def arr(self) -> Any:
        """Pixels (rows, columns[, bands])."""
        if self._arr is None:
            pixels = self._image.values
            pixels = pixels[0] if pixels.ndim == 3 and len(pixels) == 1 else pixels
            self._arr = pixels if pixels.ndim == 2 else np.moveaxis(pixels, 0, 2)
        return self._arr

    @arr.setter
    def arr(self, pixels: Any) -> None:
        self._arr = np.asarray(pixels)

    def __getitem__(self, index: Any) -> Any:
        return self.arr[index]

    def to_mem(self) -> GeoArray:
        """Read the pixels."""
        self.arr = self.arr
        return self

    def to_image(self) -> DataArray:
        """Image of xarray, under this geotransform and projection."""
        image = self._image if self._arr is None else _image_of(self._arr, self.nodata)
        return _placed(image if self.nodata is None else image.rio.write_nodata(self.nodata), self.gt, self.prj)

    def save(self, out_path: str, fmt: str = "ENVI", creationOptions: list[str] | None = None) -> None:
        """Write the image in a format of GDAL."""
        Path(out_path).parent.mkdir(parents=True, exist_ok=True)
        creation: dict[str, Any] = dict(one.split("=", 1) for one in creationOptions or [])
        write_raster(self.to_image(), out_path, driver=fmt, **creation)


def projection_of(grid: GeoBox) -> str:
    """WKT of a grid; empty where its CRS is :data:`NO_PROJECTION`."""
    wkt = "" if grid.crs is None else str(grid.crs.to_wkt())
    return "" if _UNKNOWN in wkt else wkt


def _image_of(pixels: Any, nodata: float | None) -> DataArray:
    """Image of an array (rows, columns[, bands])."""
    pixels = np.asarray(pixels)
    if pixels.ndim not in (2, 3):
        raise OptionError(f"an image has rows, columns and perhaps bands, not {pixels.ndim} axes: give such an array")
    pixels = pixels if pixels.ndim == 2 else np.moveaxis(pixels, 2, 0)
    made = DataArray(pixels, dims=("band", "y", "x")[-pixels.ndim :])
    return made if nodata is None else made.rio.write_nodata(nodata)


def _placed(image: DataArray, geotransform: Any, projection: str | None) -> DataArray:
    """Image under a geotransform, with or without a projection."""
    bare = image.drop_vars([*(name for name in ("x", "y", "spatial_ref") if name in image.coords)])
    affine = Affine.from_gdal(*(_PLAIN if geotransform is None else geotransform))
    placed: DataArray = bare.rio.write_transform(affine).rio.write_crs(projection or NO_PROJECTION)
    return placed


def open_image(image: Any) -> Any:
    """Image of what AROSICS takes: a path, an array, an array of xarray, a GeoArray, or its like (`arr`, `gt`, `prj`).

    An image without any georeference gets a geotransform that counts pixels, as GeoArray gives it.
    """
    if isinstance(image, GeoArray):
        return image.to_image()
    if isinstance(image, np.ndarray):
        return _placed(_image_of(image, None), None, None)
    if hasattr(image, "gt"):
        pixels = image.arr if getattr(image, "arr", None) is not None else image[:]
        return _placed(_image_of(pixels, getattr(image, "nodata", None)), image.gt, getattr(image, "prj", None))
    opened: Any = open_raster(image, chunks="auto") if isinstance(image, str | Path) else image
    if hasattr(opened, "data_vars"):
        names = ", ".join(map(str, opened.data_vars))
        raise OptionError(f"the image is a Dataset: give one of its variables, {names}")
    return _placed(opened, None, None) if lacks_georeference(opened) else opened


def path_of(image: Any) -> str:
    """Path of an image, or ""."""
    source = image if isinstance(image, str | Path) else getattr(image, "filePath", "") or ""
    return str(source or getattr(image, "encoding", {}).get("source", ""))
