"""Opening rasters lazily, in the dtype they are stored in."""

from __future__ import annotations

import hashlib
import logging
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rasterio
import rioxarray
from rasterio._env import get_gdal_config, set_gdal_config
from rasterio.errors import NotGeoreferencedWarning
from xarray import DataArray, Dataset, decode_cf, open_zarr

from xcoreg.errors import OptionError, is_integer, is_name, require, warn_user
from xcoreg.files import (
    DELAY,
    GDAL_ERRORS,
    RETRIES,
    STORE_ERRORS,
    NoSuchFile,
    gdal_path,
    is_zarr,
    local_path,
    open_gdal,
    retry,
    retry_reads,
)
from xcoreg.georef import read_prj
from xcoreg.io.netcdf import BY_PATH, NETCDF, with_cf_georeference, with_group_attrs, with_scalars, without_default_fill
from xcoreg.io.tags import attach_tags, read_tags, restore_tags, with_own_crs
from xcoreg.raster.bands import arrays_of, check_chunks, spatial_dims, to_band
from xcoreg.raster.file_mask import MASK, MASK_NAME, file_mask
from xcoreg.raster.georeference import PLACE_ATTRS, variable_of
from xcoreg.raster.grid import LONGEST
from xcoreg.raster.nodata import as_number, band_markers, check_fits, fits_dtype, stored_nodata
from xcoreg.raster.stored import block_size, check_block, check_stored, report_damage

if TYPE_CHECKING:
    from collections.abc import Hashable

    from xarray import Variable

    Chunks = str | int | bool | Mapping[Hashable, int] | None

logger = logging.getLogger("xcoreg")
_OPENED: dict[str, tuple[tuple[int, ...], int]] = {}  # such files: stamp at the last opening, number of replacements
_INSPECTED = 100  # subdatasets whose size is checked
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
        NetCDF: only if the file names one), or the attribute ``nodatavals`` where bands have different ones. A mask
        of the file, also of an alpha band, is the lazy boolean coordinate ``valid_mask``, true where there is data.
        A Dataset for files with several variables. Rotated images have their transform but no coordinates.

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
    if where is not None and where.suffix.lower() in BY_PATH:
        address = _path_once_replaced(where)
    with warnings.catch_warnings():
        # Not every use needs a transform.
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        if where is not None and where.is_dir():
            found: DataArray | Dataset = _open_zarr(path, group)
        else:
            found = _open_gdal(path, address, variable, cache=chunks is None, group=group)
            _retry_reads(found, address if where is None else str(path))
    if where is not None and where.suffix.lower() in NETCDF:
        found = with_scalars(with_cf_georeference(found, where, group), where, group)
    image = _with_prj(restore_tags(_choose(found, variable, str(path))), where)
    if band is not None:
        image = _with_own_marker(to_band(image, band, str(path)))
    if nodata is not None:
        image = _with_nodata(image, nodata, str(path))
    return image if chunks is None else _chunked(image, address, chunks)


def _checked_chunks(chunks: Any, array: DataArray) -> dict[Hashable, Any]:
    """Sizes of chunks by dimension; those that dask cannot make, or not in reasonable time, are refused."""
    dims, listed = array.dims, isinstance(chunks, tuple | list)
    known = chunks if listed else [chunks] * len(dims)
    sizes: dict[Hashable, Any] = dict(chunks if isinstance(chunks, Mapping) else zip(dims, known, strict=False))
    each = [one for part in sizes.values() for one in (part if isinstance(part, tuple | list) else [part])]
    good = all(
        one is None
        or (isinstance(one, str) and one == "auto")
        or (is_integer(one) and (one == -1 or 0 < one < LONGEST))
        for one in each
    )
    listings = [(part, array.sizes.get(dim)) for dim, part in sizes.items() if isinstance(part, tuple | list)]
    sizes_only = not any(isinstance(one, str) or one in (None, -1) for part, _ in listings for one in part)
    good = good and sizes_only and all(sum(part) == size for part, size in listings)
    if not (good and each and set(sizes) <= set(dims) and (not listed or len(chunks) == len(dims))):
        raise OptionError(
            f"chunks={chunks!r:.80}: give 'auto', a number of pixels, or a dictionary by "
            f"{', '.join(map(str, dims))}; lists of sizes add up to the size of the image"
        )
    return sizes


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
    for one in arrays_of(image):
        retry_reads(one.variable, address)


def _open_gdal(path: Any, address: str, variable: str | None, **options: Any) -> DataArray | Dataset:
    try:
        rotated, names, empty, tags, validity = retry(lambda: _inspect(address), address)
    except GDAL_ERRORS as error:
        raise _unreadable(path, str(error)) from error
    inner = [each.rpartition(":")[2].strip("/") for each in names]
    if empty:
        raise OptionError(f"{path} has no raster band")
    if len(set(inner)) < len(inner):  # pages of TIFF, images of NITF: each is the same path
        address = names[0]  # or rioxarray returns the last
        warn_user(f"{path} has {len(names)} pages, and only the first is read: open another by its name, {names[1]}")
    if inner and variable is not None and not any(each.endswith(variable) for each in inner):
        raise OptionError(f"{path} has no variable {variable!r}, but {', '.join(inner)}")
    try:
        # Two-dimensional coordinates of a rotated image would outweigh its pixels.
        wanted = [variable, MASK] if variable is not None and any(each.endswith(MASK) for each in inner) else variable
        image: Any = rioxarray.open_rasterio(address, parse_coordinates=not rotated, variable=wanted, **options)
    except (*GDAL_ERRORS, ValueError, LookupError) as error:
        if "conflicting sizes" in str(error):
            raise OptionError(
                f"{path} has several leading dimensions, such as time and band: choose one of each with xarray, "
                f"xarray.open_dataset({str(path)!r}, decode_coords='all')[name].isel(time=0)"
            ) from error
        raise OptionError(f"{path} cannot be opened ({error}): name one of its variables, variable=...") from error
    if isinstance(image, list):
        shapes = "; ".join(str(dict(part.sizes)) for part in image)
        raise OptionError(f"{path} has variables on {len(image)} grids ({shapes}): name one, variable=...")
    if isinstance(image, Dataset):
        scene = _with_one_crs(image, path)
        found: Dataset = scene.assign({name: without_default_fill(one) for name, one in scene.data_vars.items()})
        if MASK in found.data_vars and found[MASK].attrs.get("long_name") == MASK_NAME:
            mask = found[MASK].isel(band=0, missing_dims="ignore", drop=True)
            found = found.drop_vars(MASK).assign_coords({MASK: mask})
        return found
    image = attach_tags(with_own_crs(image, address, rotated), tags)
    return _with_validity(without_default_fill(with_group_attrs(image)), *validity)


def _with_validity(image: DataArray, mask: Variable | None, markers: tuple[float | None, ...]) -> DataArray:
    """Add the mask of the file, and the nodata values of its bands where these differ."""
    if mask is not None:
        dims = [{"y": image.rio.y_dim, "x": image.rio.x_dim}.get(str(dim), dim) for dim in mask.dims]
        image = image.assign_coords({MASK: (dims, mask._data, mask.attrs, mask.encoding)})
        image.attrs.pop("NODATA_VALUES", None)  # GDAL made the mask of it
    if len(set(map(repr, markers))) > 1:
        own = (value if value is not None and fits_dtype(value, image.dtype) else None for value in markers)
        image.attrs["nodatavals"] = tuple(None if value is None else image.dtype.type(value).item() for value in own)
        image.attrs.pop("_FillValue", None)  # that of the first band
    return image


def _with_own_marker(band: DataArray) -> DataArray:
    """Store the nodata value of a band of several as its only one."""
    if band_markers(band):
        marker = stored_nodata(band)
        del band.attrs["nodatavals"]
        band.attrs |= {} if marker is None else {"_FillValue": band.dtype.type(marker)}
    return band


def _with_one_crs(image: Dataset, path: Any) -> Dataset:
    """Give all variables the CRS that some name; in several places they are refused, rioxarray would move them."""
    grids: set[tuple[float, ...]] = set()
    systems: list[Any] = []
    without = False
    for one in image.data_vars.values():
        with rasterio.open(one.encoding["source"]) as file:
            grids |= set() if file.transform.is_identity else {tuple(file.transform)[:6]}
            systems += [] if not file.crs or any(file.crs == each for each in systems) else [file.crs]
            without |= not file.crs
    if len(grids) > 1 or len(systems) > 1:
        raise OptionError(
            f"{path} has variables on {max(len(grids), len(systems))} grids or in as many CRSs "
            f"({', '.join(map(str, image.data_vars))}): name one, variable=..."
        )
    if not (systems and without):
        return image
    named = {one.rio.grid_mapping for one in image.data_vars.values()} & set(image.coords)
    bare = image.drop_vars(named)
    return bare.assign(
        {name: one.rio.write_crs(systems[0], grid_mapping_name="spatial_ref") for name, one in bare.data_vars.items()}
    )


def _inspect(address: str) -> tuple[bool, list[str], bool, dict[str, Any], tuple[Variable | None, Any]]:
    """Whether a raster is rotated, its subdatasets, whether it is empty, its tags, its mask and nodata values."""
    with rasterio.open(address) as file:
        names: list[str] = file.subdatasets
        rotated, empty = bool(file.transform.b or file.transform.d), file.count == 0 and not names
        shapes, blocks = [file.shape], [block_size(file)]
        tags = read_tags(file) if file.count else {}
        mask, markers = file_mask(file), file.nodatavals
    local = local_path(address)
    for name in names[:_INSPECTED] if local is not None and local.is_file() else ():
        with rasterio.open(name) as file:
            shapes.append(file.shape)
            blocks.append(block_size(file))
    for rows, cols in shapes:
        if max(rows, cols) > LONGEST:
            raise OptionError(
                f"{address} has {rows} x {cols} pixels, and {LONGEST:.0e} along a side are the most: check it, or cut "
                "a part out with gdal_translate -srcwin"
            )
    check_block(address, max(blocks))
    return rotated, names, empty, tags, (mask, markers)


def _unreadable(path: Any, message: str) -> OptionError:
    if "404" in message or "No such file" in message:
        return NoSuchFile(f"{path} does not exist")
    if "ENVI header" in message:
        return OptionError(f"{path} is an ENVI header: open its data file")
    if "not recognized" in message or "supported file format" in message:
        silent = ", or its server does not send it" if "://" in str(path) or str(path).startswith("/vsi") else ""
        return OptionError(f"{path} is not a raster that GDAL can read{silent}")
    return OptionError(f"{path} cannot be opened: {message}")


def _open_zarr(path: Any, group: str | None) -> Dataset:
    zarr = require("zarr", extra="zarr")
    try:
        if is_zarr(Path(path)):  # xarray reads coordinates at once
            arrays = (one for _, one in zarr.open_group(str(path), mode="r", path=group).arrays())
            for each in (one for one in arrays if one.ndim == 1):
                check_stored(each, (slice(None),))
        # Of stores without consolidated metadata.
        warnings.simplefilter("ignore", RuntimeWarning)
        image: Dataset = open_zarr(path, group=group, chunks=None, mask_and_scale=False, decode_coords="all")
    except STORE_ERRORS as error:
        if is_zarr(Path(path)):
            raise OptionError(f"{path} is a Zarr store that cannot be opened, it may be damaged: {error}") from error
        raise OptionError(f"{path} is a folder but no Zarr store") from error
    bands = [one for one in image.data_vars.values() if one.ndim > 1]
    for name, one in image.variables.items():
        one.encoding |= {"source": str(path)} if name in image.data_vars else {}
        report_damage(one, f"{path}, variable {name},")
    if len(bands) == 1:  # as GDAL does for NetCDF
        bands[0].attrs = {key: value for key, value in image.attrs.items() if key not in PLACE_ATTRS} | bands[0].attrs
    packed = [name for name, one in image.coords.items() if {"scale_factor", "add_offset"} & one.attrs.keys()]
    return image.assign_coords(decode_cf(image[packed].reset_coords()).variables) if packed else image


def _choose(image: DataArray | Dataset, variable: str | None, path: str) -> DataArray | Dataset:
    if isinstance(image, DataArray):
        if variable is not None and not is_name(variable, [image.name]):
            raise OptionError(f"{path} has no variable {variable!r}: it has one image")
        return image
    names = [str(name) for name, one in image.data_vars.items() if one.ndim > 1]
    if not names:
        raise OptionError(f"{path} has no raster variable")
    if variable is not None and variable not in names:
        raise OptionError(f"{path} has no variable {variable!r}, but {', '.join(names)}")
    if variable is not None or len(names) == 1:
        return variable_of(image, variable or names[0])
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
    nodata = as_number(nodata, path)
    check_fits(nodata, image.dtype, path)
    image = image.copy(deep=False)
    for name in ("nodatavals", "missing_value"):
        image.attrs.pop(name, None)
    result: DataArray = image.rio.write_nodata(image.dtype.type(nodata))
    return result


def _chunked(image: DataArray | Dataset, path: str, chunks: Any) -> DataArray | Dataset:
    """Split into dask chunks whose names follow from the file and the options alone."""
    first = arrays_of(image)[0]
    automatic = chunks is True or (isinstance(chunks, str) and chunks == "auto")
    sizes = _automatic_chunks(first) if automatic else _checked_chunks(chunks, first)
    where = local_path(path)
    stamp = (where.stat().st_mtime_ns, where.stat().st_size) if where is not None else ()
    token = hashlib.sha1(repr((path, stamp, sizes)).encode(), usedforsecurity=False).hexdigest()
    made = image.chunk(sizes, name_prefix="open_rasterio-", token=token)
    check_chunks(arrays_of(made)[0], spatial_dims(first, path), path)
    return made


def shape_of_file(band: DataArray) -> tuple[int, int] | None:
    """Rows and columns of the file that an image was read from, None where there is none."""
    try:
        with open_gdal(band.encoding["source"]) as file:
            return file.height, file.width
    except (KeyError, TypeError, OptionError):
        return None


def chunk_unread(image: Any) -> Any:
    """Give dask chunks to an image whose pixels are still in its file; any other is returned as it is."""
    bands = arrays_of(image)
    if not any(band.chunks is None and not band.variable._in_memory for band in bands):
        return image
    return image.chunk(_automatic_chunks(bands[0]))


def _automatic_chunks(image: DataArray) -> dict[Hashable, int]:
    y_dim, x_dim = spatial_dims(image)
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
