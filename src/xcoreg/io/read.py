"""Opening rasters lazily, in the dtype they are stored in."""

from __future__ import annotations

import hashlib
import os
import warnings
from typing import TYPE_CHECKING, Any

import rasterio
import rioxarray
from rasterio._env import get_gdal_config, set_gdal_config
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from xarray import DataArray, Dataset, open_zarr

from xcoreg.errors import OptionError, require
from xcoreg.files import DELAY, RETRIES, NoSuchFile, gdal_path, local_path, retry, retry_reads
from xcoreg.georef import read_prj
from xcoreg.io.tags import attach_tags, read_tags, restore_tags
from xcoreg.raster.bands import to_band
from xcoreg.raster.nodata import check_fits, netcdf_default_fills

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping
    from pathlib import Path

    Chunks = str | int | bool | Mapping[Hashable, int] | None

_BY_PATH = (".nc", ".nc4", ".cdf", ".h5", ".hdf5", ".he5")  # their library identifies open files by their path
_OPENED: dict[str, tuple[tuple[int, ...], int]] = {}  # such files: stamp at the last opening, number of replacements
_CHUNK = 2048  # px, about the side of an automatic chunk: 8 MB of uint16


def open_raster(
    path: str | os.PathLike[str],
    *,
    chunks: Chunks = None,
    band: int | str | None = None,
    nodata: float | None = None,
    variable: str | None = None,
    group: str | None = None,
) -> DataArray | Dataset:
    """Open any raster that GDAL reads, lazily.

    Parameters
    ----------
    path : str or path
        GeoTIFF, ENVI, JP2, NetCDF, VRT, ...; a web address (only the ranges used are read); a Zarr folder. An image
        without a georeference takes it from its world file and .prj file.
    chunks : None, "auto", int or mapping, optional
        None reads windows when they are used, without dask. "auto" makes dask chunks of about 2048 x 2048 px, one
        band deep, on the borders of the file's own blocks.
    band : int or str, optional
        One band only, as a 2-D array: number from 1, or name.
    nodata : float, optional
        Replaces the stored nodata value; may be NaN or -inf.
    variable, group : str, optional
        Of files that hold several variables (NetCDF, HDF5, Zarr).

    Returns
    -------
    DataArray or Dataset
        (band, y, x) in the stored dtype, unscaled and unmasked; the nodata value is ``da.rio.nodata`` (of integers in
        NetCDF: only if the file names one). A Dataset for files with several variables. Rotated images have their
        transform but no coordinates.

    Raises
    ------
    NoSuchFile
        When there is nothing at `path`.
    OptionError
        When it is not a raster, has no such band or variable, or `nodata` does not fit its dtype.

    Examples
    --------
    >>> open_raster("missing.tif")
    Traceback (most recent call last):
    xcoreg.files.NoSuchFile: missing.tif does not exist
    """
    address = gdal_path(path)
    where = local_path(path)
    if where is None:
        _retry_requests()
    if where is not None and not where.exists():
        raise NoSuchFile(f"{path} does not exist")
    if where is not None and where.suffix.lower() in _BY_PATH:
        address = _path_once_replaced(where)
    with warnings.catch_warnings():
        # Not every use needs a transform.
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        if where is not None and where.is_dir():
            found: DataArray | Dataset = _open_zarr(path, group)
        else:
            found = _open_gdal(path, address, variable, cache=chunks is None, group=group)
            if where is None:
                _retry_reads(found, address)
    image = _with_prj(restore_tags(_choose(found, variable, str(path))), where)
    if band is not None:
        image = to_band(image, band, str(path))
    if nodata is not None:
        image = _with_nodata(image, nodata, str(path))
    return image if chunks is None else _chunked(image, address, chunks)


def _path_once_replaced(path: Path) -> str:
    """Path of a file, address differently each time it was replaced: libraries return open files by their path."""
    stat, name = path.stat(), str(path.absolute())
    stamp = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
    before, count = _OPENED.get(name, (stamp, 0))
    count += stamp != before
    _OPENED[name] = stamp, count
    return f"{path.parent}{os.sep}{f'.{os.sep}' * count}{path.name}" if count else str(path)


def _retry_requests() -> None:
    """Retry requests to object stores (s3://, gs://, ...) as those to web addresses, unless configured."""
    for name, value in (("GDAL_HTTP_MAX_RETRY", RETRIES), ("GDAL_HTTP_RETRY_DELAY", DELAY)):
        if name not in os.environ and get_gdal_config(name) is None:
            set_gdal_config(name, value)


def _retry_reads(image: DataArray | Dataset, address: str) -> None:
    for one in [image] if isinstance(image, DataArray) else image.data_vars.values():
        retry_reads(one.variable, address)


def _open_gdal(path: Any, address: str, variable: str | None, **options: Any) -> DataArray | Dataset:
    try:
        rotated, inner, empty, tags = retry(lambda: _inspect(address), address)
    except RasterioError as error:
        raise _unreadable(path, str(error)) from error
    if empty:
        raise OptionError(f"{path} has no raster band")
    if inner and variable is not None and not any(each.endswith(variable) for each in inner):
        raise OptionError(f"{path} has no variable {variable!r}, but {', '.join(inner)}")
    try:
        # Two-dimensional coordinates of a rotated image would outweigh its pixels.
        image: Any = rioxarray.open_rasterio(address, parse_coordinates=not rotated, variable=variable, **options)
    except (RasterioError, ValueError, KeyError, IndexError) as error:
        raise OptionError(f"{path} cannot be opened ({error}): name one of its variables, variable=...") from error
    if isinstance(image, list):
        shapes = "; ".join(str(dict(part.sizes)) for part in image)
        raise OptionError(f"{path} has variables on {len(image)} grids ({shapes}): name one, variable=...")
    if isinstance(image, Dataset):
        return image.assign({name: _without_default_fill(one) for name, one in image.data_vars.items()})
    return _without_default_fill(attach_tags(image, tags))


def _without_default_fill(image: DataArray) -> DataArray:
    """Drop a nodata value that the file does not name: GDAL reports the value of unwritten integers in NetCDF."""
    kind, marker = image.dtype, image.attrs.get("_FillValue")
    if marker is None or kind.kind not in "iu" or int(marker) not in netcdf_default_fills(kind):
        return image
    with rasterio.open(image.encoding["source"]) as file:
        if file.driver != "netCDF" or {"_FillValue", "missing_value"} & file.tags(1).keys():
            return image
    plain = image.copy(deep=False)
    del plain.attrs["_FillValue"]
    return plain


def _inspect(address: str) -> tuple[bool, list[str], bool, dict[str, Any]]:
    """Whether a raster is rotated, its subdatasets, whether it is empty, and its tags."""
    with rasterio.open(address) as file:
        inner = [each.rpartition(":")[2].strip("/") for each in file.subdatasets]
        tags = read_tags(file) if file.count else {}
        return bool(file.transform.b or file.transform.d), inner, file.count == 0 and not inner, tags


def _unreadable(path: Any, message: str) -> OptionError:
    if "404" in message or "No such file" in message:
        return NoSuchFile(f"{path} does not exist")
    if "ENVI header" in message:
        return OptionError(f"{path} is an ENVI header: open its data file")
    if "not recognized" in message or "supported file format" in message:
        return OptionError(f"{path} is not a raster that GDAL can read")
    return OptionError(f"{path} cannot be opened: {message}")


def _open_zarr(path: Any, group: str | None) -> Dataset:
    require("zarr", extra="zarr")
    try:
        # Of stores without consolidated metadata.
        warnings.simplefilter("ignore", RuntimeWarning)
        image: Dataset = open_zarr(path, group=group, chunks=None, mask_and_scale=False, decode_coords="all")
    except (OSError, ValueError, KeyError) as error:
        raise OptionError(f"{path} is a folder but no Zarr store") from error
    for one in image.data_vars.values():
        one.encoding["source"] = str(path)
    return image


def _choose(image: DataArray | Dataset, variable: str | None, path: str) -> DataArray | Dataset:
    if isinstance(image, DataArray):
        if variable not in (None, image.name):
            raise OptionError(f"{path} has no variable {variable!r}: it has one image")
        return image
    names = [str(name) for name in image.data_vars]
    if not names:
        raise OptionError(f"{path} has no raster variable")
    if variable is not None and variable not in names:
        raise OptionError(f"{path} has no variable {variable!r}, but {', '.join(names)}")
    if variable is not None or len(names) == 1:
        return image[variable or names[0]]
    return image


def _with_prj(image: DataArray | Dataset, where: Path | None) -> DataArray | Dataset:
    """Read the CRS of an image without one from its .prj file, which GDAL ignores."""
    if isinstance(image, Dataset) or where is None or not where.is_file() or image.rio.crs is not None:
        return image
    crs = read_prj(where)
    if crs is None:
        return image
    mapping = image.rio.grid_mapping
    attrs = dict(image.coords[mapping].attrs) if mapping in image.coords else {}
    located: DataArray = image.rio.write_crs(crs.to_wkt())
    located.coords[mapping].attrs |= attrs  # the transform and control points, which rioxarray drops
    return located


def _with_nodata(image: DataArray | Dataset, nodata: float, path: str) -> DataArray | Dataset:
    if isinstance(image, Dataset):
        return image.assign({name: _with_nodata(one, nodata, path) for name, one in image.data_vars.items()})
    check_fits(nodata, image.dtype, path)
    result: DataArray = image.rio.write_nodata(image.dtype.type(nodata))
    return result


def _chunked(image: DataArray | Dataset, path: str, chunks: Any) -> DataArray | Dataset:
    """Split into dask chunks whose names follow from the file and the options alone."""
    sizes = chunks
    if chunks is True or chunks == "auto":
        first = image if isinstance(image, DataArray) else next(iter(image.data_vars.values()))
        sizes = _automatic_chunks(first)
    where = local_path(path)
    stamp = (where.stat().st_mtime_ns, where.stat().st_size) if where is not None else ()
    token = hashlib.sha1(repr((path, stamp, sizes)).encode(), usedforsecurity=False).hexdigest()
    return image.chunk(sizes, name_prefix="open_rasterio-", token=token)


def chunk_unread(image: Any) -> Any:
    """Give dask chunks to an image whose pixels are still in its file; any other is returned as it is."""
    bands = [image] if isinstance(image, DataArray) else list(image.data_vars.values())
    if not any(band.chunks is None and not band.variable._in_memory for band in bands):
        return image
    return image.chunk(_automatic_chunks(bands[0]))


def _automatic_chunks(image: DataArray) -> dict[Hashable, int]:
    y_dim, x_dim = image.rio.y_dim, image.rio.x_dim
    blocks = image.encoding.get("preferred_chunks", {})
    sizes = dict.fromkeys(image.dims, 1)
    for dim in (y_dim, x_dim):
        block = blocks.get(dim) or 1
        whole = block >= image.sizes[dim]
        sizes[dim] = image.sizes[dim] if whole else max(_CHUNK // block, 1) * block
    if blocks.get(x_dim, 1) >= image.sizes[x_dim]:  # strips: as many pixels in whole rows
        block = blocks.get(y_dim) or 1
        sizes[y_dim] = max(_CHUNK * _CHUNK // image.sizes[x_dim] // block, 1) * block
    return sizes
