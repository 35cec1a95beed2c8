"""NetCDF and Zarr, created by xarray and filled chunk by chunk; images with control points."""

from __future__ import annotations

import importlib.util
import json
import os
import uuid
import warnings
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from odc.geo.geobox import GeoBox
from xarray import DataArray, Dataset
from xarray.conventions import encode_cf_variable

from xcoreg import lazy
from xcoreg.errors import CoregError, GridError, NotGeoreferenced, OptionError, require
from xcoreg.files import NoSuchFile, check_output, gdal_path, local_path, open_gdal
from xcoreg.georef import attach_gcps
from xcoreg.io.stream import stream_blocks
from xcoreg.io.tags import settle_tags
from xcoreg.io.write_mask import loses_nan
from xcoreg.raster.bands import spatial_dims
from xcoreg.raster.file_mask import MASK, MASK_NAME
from xcoreg.raster.grid import grid_of
from xcoreg.results.tiepoints import TiePoints, as_points

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from numpy.typing import NDArray
    from xarray import Variable


# Layout of the file that the image was read from.
_LAYOUT = {"source", "preferred_chunks", "chunks", "shards", "chunksizes"}
_LAYOUT |= {"rasterio_dtype", "original_shape", "contiguous"}
# Entries of an encoding that convert values, not those of the layout.
_CODING = ("_FillValue", "missing_value", "dtype", "scale_factor", "add_offset", "units", "calendar", "grid_mapping")
_PIECE = 2048  # px, side of the chunks of an image without dask
_CACHE = 4_000_000  # bytes, cache of a NetCDF file: every chunk is written once
_TILE = 512  # px, about the longest side of the chunks of a NetCDF file


def write_store(image: DataArray | Dataset, place: Path, kind: str, creation: Mapping[str, Any]) -> None:
    """Write NetCDF or Zarr."""
    dataset = (
        image if isinstance(image, Dataset) else image.to_dataset(name="image" if image.name is None else image.name)
    )
    if kind == "netCDF":
        _check_real(dataset)
        dataset = _with_coordinates(dataset)
        halves = [name for name, one in dataset.data_vars.items() if one.dtype == np.float16]
        dataset = dataset.assign({name: dataset[name].astype(np.float32) for name in halves})
    where = nullcontext() if any(one.chunks is not None for one in dataset.variables.values()) else _computing_here()
    dims = set(spatial_dims(dataset, "the image"))
    settled = {name: settle_tags(one) if dims <= set(one.dims) else one for name, one in dataset.data_vars.items()}
    dataset = _with_grid(dataset.assign({name: _plain(one) for name, one in settled.items()}))
    dataset.attrs = _plain_attrs(dataset.attrs)
    streamed = [name for name, one in dataset.variables.items() if one.chunks is not None and _is_image(one)]
    # Other lazy variables are small.
    rest = [name for name, one in dataset.variables.items() if one.chunks is not None and name not in streamed]
    dataset = dataset.assign({name: dataset[name].compute() for name in rest}) if rest else dataset
    try:
        with where:
            (_write_zarr if kind == "Zarr" else _write_netcdf)(dataset, place, creation, streamed)
    except CoregError:  # of the source
        raise
    except (ValueError, TypeError) as error:
        raise OptionError(f"the image cannot be written as {kind}: {error}") from error


def _computing_here() -> AbstractContextManager[None]:
    """Compute without a cluster: pixels in memory or in a file would have to be sent to it."""
    return lazy.computing(scheduler="threads" if lazy.worker_threads() is None else "synchronous")


def _write_zarr(dataset: Dataset, place: Path, creation: Mapping[str, Any], streamed: Sequence[Hashable]) -> None:
    zarr = require("zarr", extra="zarr")
    dataset = dataset.copy(deep=False)
    for one in dataset.variables.values():  # codecs of Zarr 2 do not fit
        one.encoding = {key: value for key, value in one.encoding.items() if not _is_old_codec(value)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Zarr 3: the order of variables is not in its specification
        how: Any = {"encoding": _encoding(dataset, creation), "consolidated": True, "compute": False}
        dataset.to_zarr(place, mode="w", **how)
        group = zarr.open_group(str(place), mode="r+")
        stream_blocks(_encoded(dataset, streamed), _Store([group[name] for name in streamed]), picklable=True)


def _write_netcdf(dataset: Dataset, place: Path, creation: Mapping[str, Any], streamed: Sequence[Hashable]) -> None:
    for one in (dataset.data_vars[name].variable for name in streamed if name in dataset.data_vars):
        one.encoding["chunksizes"] = tuple(_inner(max(sizes)) for sizes in one.chunks or ())
    engine = _engine()
    dataset.to_netcdf(place, engine=engine, encoding=_encoding(dataset, creation), compute=False)
    if not streamed:
        return
    library = require("h5netcdf" if engine == "h5netcdf" else "netCDF4", extra="netcdf")
    with library.File(place, "r+") if engine == "h5netcdf" else library.Dataset(place, "r+") as file:
        arrays = [file.variables[name] for name in streamed]
        for one in arrays if engine == "netcdf4" else ():
            one.set_auto_maskandscale(False)
            one.set_var_chunk_cache(size=_CACHE)
        stream_blocks(_encoded(dataset, streamed), _Store(arrays))


def _is_old_codec(value: Any) -> bool:
    """Whether an entry of an encoding has compressors or filters of Zarr 2."""
    found = value if isinstance(value, list | tuple) else [value]
    return any(type(each).__module__.startswith("numcodecs.") for each in found)


@dataclass(frozen=True)
class _Store:
    """Writes blocks to the arrays of an open store."""

    arrays: list[Any]

    def __call__(self, number: int, window: tuple[slice, ...], block: NDArray[Any]) -> None:
        self.arrays[number][window] = block


def _is_image(variable: Variable) -> bool:
    return variable.ndim > 1 and variable.dtype.kind in "biufc"


def _encoded(dataset: Dataset, names: Sequence[Hashable]) -> list[Any]:
    """Arrays as they are stored, with nodata values and unscaled."""
    return [encode_cf_variable(dataset.variables[name], name=name).data for name in names]


def _encoding(dataset: Dataset, creation: Mapping[str, Any]) -> Any:
    """Collect the encoding of all variables; xarray drops their own where it is given any."""
    if not creation:
        return None
    keys = _CODING if "contiguous" in creation else (*_CODING, "chunksizes")
    own = {name: {key: one.encoding[key] for key in keys if key in one.encoding} for name, one in dataset.items()}
    return {name: {**encoding, **creation} for name, encoding in own.items()}


def _inner(side: int) -> int:
    """Side of a file's chunks of which an integer number make a chunk of the image."""
    least = -(-side // _TILE)
    return next((side // n for n in range(least, 2 * least + 1) if side % n == 0), side)


def _check_real(dataset: Dataset) -> None:
    """Check that no variable is complex."""
    if any(one.dtype.kind == "c" for one in dataset.data_vars.values()):
        raise OptionError("NetCDF has no complex numbers: write GeoTIFF or Zarr, or da.real and da.imag")


def _with_coordinates(dataset: Dataset) -> Dataset:
    """Write coordinates that only a transform gives: without them GDAL reads NetCDF back upside down or elsewhere."""
    y_dim, x_dim = spatial_dims(dataset, "the image")
    if y_dim in dataset.coords and x_dim in dataset.coords:
        return dataset
    with suppress(GridError):
        affine, (rows, cols) = (grid := grid_of(dataset, "the image")).affine, grid.shape
        if not (affine.b or affine.d):
            x, y = affine.c + affine.a * (np.arange(cols) + 0.5), affine.f + affine.e * (np.arange(rows) + 0.5)
            return dataset.assign_coords({y_dim: y, x_dim: x})
    raise OptionError("NetCDF needs 1-D coordinates, and the image has none (it may be rotated): write GeoTIFF or Zarr")


def _with_grid(dataset: Dataset) -> Dataset:
    """Write CRS and transform for CF and for GDAL, besides the coordinates."""
    y_dim, x_dim = spatial_dims(dataset, "the image")
    try:
        grid = grid_of(dataset, "the image")
    except GridError:
        return dataset
    if grid.crs is None:
        return dataset
    dataset = dataset.rio.set_spatial_dims(x_dim, y_dim).rio.write_transform(grid.affine)
    if MASK in dataset.coords:  # GDAL takes the georeference of the first variable for that of all
        mask = dataset.coords[MASK].variable
        attrs = mask.attrs | {"long_name": MASK_NAME, "grid_mapping": dataset.rio.grid_mapping}
        dataset = dataset.assign_coords({MASK: (mask.dims, mask._data, attrs)})
    named = y_dim in dataset.coords and x_dim in dataset.coords
    result: Dataset = dataset.rio.write_coordinate_system() if named else dataset
    return result


def _engine() -> Any:
    """Choose a library; h5netcdf does not install h5py itself."""
    if all(importlib.util.find_spec(module) for module in ("h5netcdf", "h5py")):
        return "h5netcdf"
    require("netCDF4", extra="netcdf")
    return "netcdf4"


def _plain(array: DataArray) -> DataArray:
    """Convert attributes and encoding of a variable to those of CF and the store."""
    plain = array.copy(deep=False)
    plain.attrs = _plain_attrs(array.attrs)
    plain.encoding = {key: value for key, value in array.encoding.items() if key not in _LAYOUT}
    if plain.encoding.pop("gdal", None):
        plain.attrs["gdal"] = json.dumps(array.encoding["gdal"])
    for key in ("units", "long_name"):  # one for all bands, as CF has it
        values = plain.attrs.get(key)
        if isinstance(values, list | tuple) and len(set(values)) == 1:
            plain.attrs[key] = values[0]
    marker = plain.attrs.pop("_FillValue", None)
    plain.encoding.setdefault("_FillValue", marker)  # None: xarray would mark NaN
    if loses_nan(array):
        del plain.encoding["dtype"]
    if plain.attrs.get("scale_factor") == 1 and plain.attrs.get("add_offset") == 0:
        del plain.attrs["scale_factor"], plain.attrs["add_offset"]
    if plain.chunks is None and _is_image(plain.variable):  # written in pieces
        pieces = {**dict.fromkeys(plain.dims, 1), **dict.fromkeys(plain.dims[-2:], _PIECE)}
        return plain.chunk(pieces, token=uuid.uuid4().hex)  # or all pixels would be hashed
    # Chunks of one size; the last may be smaller.
    return plain.chunk({dim: max(sizes) for dim, sizes in plain.chunksizes.items()})


def _plain_attrs(attrs: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(key): _plain_value(value) for key, value in attrs.items() if value is not None}


def _plain_value(value: Any) -> Any:
    if isinstance(value, bool | np.bool_):
        return int(value)
    if isinstance(value, dict):
        return json.dumps(value, default=str)
    if isinstance(value, list | tuple):
        return (
            list(value)
            if all(isinstance(each, int | float | str) for each in value)
            else json.dumps(value, default=str)
        )
    return value


def write_gcps(
    image: str | os.PathLike[str], points: Any, path: str | os.PathLike[str], *, max_points: int | None = None
) -> Path:
    """Write an image with tie points as control points instead of a transform."""
    source, grid = _describe(image)
    known = as_points(points, grid)
    if not isinstance(known, TiePoints):
        raise OptionError(
            "the points have positions but no corrections: match them with tgt.coreg.match_local(points=...)"
        )
    goal = check_output(path, inputs=(image,))
    chosen = known if max_points is None else known.thin(max_points)
    return attach_gcps(source, chosen.gcps, goal)


def _describe(image: str | os.PathLike[str]) -> tuple[str, GeoBox]:
    """GDAL's path and the grid of an image."""
    local = local_path(image)
    if local is not None and not local.exists():
        raise NoSuchFile(f"{image} does not exist")
    source = str(local.resolve()) if local is not None else gdal_path(image)
    with open_gdal(source) as file:
        crs, transform, shape = file.crs, file.transform, file.shape
    if crs is None or transform.is_identity:
        what = "CRS" if crs is None else "transform"
        raise NotGeoreferenced(f"{image} has no {what}: tie points correct positions in a CRS")
    return source, GeoBox(shape, transform, crs.to_wkt())
