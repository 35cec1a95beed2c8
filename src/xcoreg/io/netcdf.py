"""What GDAL and rioxarray do not read of NetCDF: georeference, scalar coordinates, attributes of groups, nodata."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import rasterio
from rasterio._env import get_gdal_config
from xarray import DataArray, Dataset, open_dataset

from xcoreg.errors import OptionError, warn_user
from xcoreg.georef import as_crs
from xcoreg.raster.bands import arrays_of, spatial_dims
from xcoreg.raster.georeference import is_degrees, stored_crs, variable_of
from xcoreg.raster.nodata import netcdf_default_fills

if TYPE_CHECKING:
    from pathlib import Path


logger = logging.getLogger("xcoreg")
BY_PATH = (".nc", ".nc4", ".cdf", ".h5", ".hdf5", ".he5")  # their library identifies open files by their path
NETCDF = (".nc", ".nc4", ".cdf")


def with_cf_georeference(image: DataArray | Dataset, path: Path, group: str | None) -> DataArray | Dataset:
    """Read what GDAL does not find in NetCDF: coordinates without CF attributes, a CRS that no variable names."""
    first: Any = arrays_of(image)[0]
    bare = first.rio.transform().is_identity
    if not bare and first.rio.crs is not None:
        return image
    try:
        header = open_dataset(path, group=group, decode_times=False, decode_coords="all", chunks=None)
        dims = spatial_dims(header[first.name])
    except (OSError, ValueError, KeyError, OptionError) as error:
        logger.info("%s: xarray does not find a georeference: %s", path, error)
        return image
    with header:
        band = variable_of(header, first.name)
        coords = {}
        for dim, old in zip((first.rio.y_dim, first.rio.x_dim), dims, strict=True):
            if old in band.coords:
                coord = band.coords[old].variable
                attrs = {**({"standard_name": str(old)} if is_degrees(band, old) else {}), **coord.attrs}
                turned = bare and dim == first.rio.y_dim and _gdal_turns_rows()
                values = coord.values[::-1] if turned else coord.values if bare else image.coords[dim].values
                coords[dim] = ((dim,), values, attrs)
        image = image.assign_coords(coords)
        if bare and first.rio.grid_mapping in image.coords:  # rioxarray would prefer GDAL's transform in pixels
            image.coords[first.rio.grid_mapping].attrs.pop("GeoTransform", None)
        crs = stored_crs(band, str(path)) if first.rio.crs is None else []
    rows = image.coords[first.rio.y_dim].values
    if bare and _gdal_turns_rows() and rows[0] < rows[-1]:
        image = image.isel({first.rio.y_dim: slice(None, None, -1)})
    return image.rio.write_crs(as_crs(crs[0][1]).to_wkt()) if crs else image


def with_scalars(image: DataArray | Dataset, path: Path, group: str | None) -> DataArray | Dataset:
    """Read the coordinates without dimensions of NetCDF, such as a time, which GDAL leaves out."""
    arrays = [image] if isinstance(image, DataArray) else list(image.data_vars.values())
    named = {name for one in arrays for name in str(one.attrs.get("coordinates", "")).split()} - set(image.coords)
    if not named:
        return image
    try:
        with open_dataset(path, group=group, chunks=None) as header:
            scalars = {name: header[name].variable.load() for name in named & set(header) if header[name].ndim == 0}
            scalars |= {
                name: one.variable.load() for name, one in header.coords.items() if name in named and not one.ndim
            }
    except (OSError, ValueError) as error:
        warn_user(f"{path}: the coordinates {', '.join(sorted(named))} are left out, they cannot be read ({error})")
        return image
    for one in arrays if named == set(scalars) else ():
        one.attrs.pop("coordinates", None)
    return image.assign_coords(scalars)


def with_group_attrs(image: DataArray) -> DataArray:
    """Name the attributes of a variable in a group of NetCDF as in the file: rioxarray leaves their path."""
    paths = [str(key) for key in image.attrs if str(key).startswith("/") and "#" in str(key)]
    found = {key: image.attrs.pop(key) for key in paths}
    own = {key.partition("#"): value for key, value in found.items()}
    named = {name: value for (place, _, name), value in own.items() if place.rpartition("/")[2] == image.name}
    image.attrs = {name: value for name, value in named.items() if name != "grid_mapping"} | image.attrs
    return image


def _gdal_turns_rows() -> bool:
    """Whether GDAL takes the last row first where it does not recognise the coordinates."""
    return str(get_gdal_config("GDAL_NETCDF_BOTTOMUP") or "yes").lower() not in ("no", "false", "off", "0")


def without_default_fill(image: DataArray) -> DataArray:
    """Drop a nodata value that the file does not name: GDAL reports the value of unwritten integers in NetCDF.

    Add a second one that it names: rioxarray drops it.
    """
    kind, marker = image.dtype, image.attrs.get("_FillValue")
    source = image.encoding["source"]
    netcdf = source.lower().startswith("netcdf:") or source.lower().endswith(BY_PATH)
    if marker is None or not netcdf:
        return image
    with rasterio.open(source) as file:
        tags = file.tags(1) if file.driver == "netCDF" else {"_FillValue": ""}
    plain = image.copy(deep=False)
    if (
        not {"_FillValue", "missing_value"} & tags.keys()
        and kind.kind in "iu"
        and int(marker) in netcdf_default_fills(kind)
    ):
        del plain.attrs["_FillValue"]
    if "_FillValue" in tags and "missing_value" in tags:
        plain.attrs["missing_value"] = tags["missing_value"]
    return plain
