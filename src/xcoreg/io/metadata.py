"""Profile and metadata of a GDAL file for an xarray image."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np
import rasterio
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.errors import RasterioError
from xarray import DataArray, Dataset

from xcoreg.errors import NotGeoreferenced, OptionError
from xcoreg.files import open_gdal
from xcoreg.raster.bands import spatial_dims
from xcoreg.raster.grid import grid_of
from xcoreg.raster.nodata import file_nodata

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


# Written elsewhere, or valid for the old pixels only.
_ELSEWHERE = {
    "_FillValue", "missing_value", "nodata", "nodatavals", "scale_factor", "add_offset", "scales", "offsets",
    "grid_mapping", "crs", "transform", "res", "is_tiled", "long_name", "units", "band_tags",
    # of an ENVI header
    "samples", "lines", "bands", "header_offset", "file_type", "data_type", "interleave", "byte_order", "map_info",
    "coordinate_system_string", "projection_info", "band_names",
}  # fmt: skip
_DEFAULTS: dict[str, dict[str, Any]] = {
    "GTiff": {"tiled": True, "compress": "deflate", "bigtiff": "IF_SAFER", "num_threads": "ALL_CPUS"},
    "COG": {"compress": "DEFLATE", "predictor": "YES", "bigtiff": "IF_SAFER", "num_threads": "ALL_CPUS"},
    "JP2OpenJPEG": {"quality": "100", "reversible": "YES"},  # lossless, or pixels would change
}
_WITH_GCPS = ("GTiff", "COG")
_PREDICTED = ("deflate", "lzw", "zstd")
_UNPREDICTED = ("int64", "uint64", "complex64", "complex128", "complex_int16")  # not by every libtiff
_BLOCK = 512  # px, side of the tiles of a GeoTIFF


def parts_of(image: DataArray | Dataset) -> list[DataArray]:
    """Split an image into arrays of bands, rows before columns."""
    dims = spatial_dims(image, "the image")
    if isinstance(image, Dataset):
        arrays = [image[name] for name in image.data_vars if set(dims) <= set(image[name].dims)]
    else:
        arrays = [image]
    if not arrays or len({array.dtype for array in arrays}) > 1:
        kinds = ", ".join(f"{array.name}: {array.dtype}" for array in arrays) or "no variable over y and x"
        raise OptionError(f"a file has one dtype, the Dataset has {kinds}: write its variables one by one, or NetCDF")
    return [_flat(array, dims) for array in arrays]


def _flat(array: DataArray, dims: tuple[Any, Any]) -> DataArray:
    lead = [dim for dim in array.dims if dim not in dims]
    wide = [dim for dim in lead if array.sizes[dim] > 1] or lead[-1:]
    if len(wide) > 1:
        raise OptionError(
            f"this format has bands of rows and columns, not {array.dims}: select with da.isel, or write NetCDF"
        )
    return array.isel({dim: 0 for dim in lead if dim not in wide}).transpose(*wide, *dims)


def profile_of(image: DataArray | Dataset, driver: str, creation: Mapping[str, Any]) -> dict[str, Any]:
    """Describe the file to create."""
    parts = parts_of(image)
    rows, cols = parts[0].shape[-2:]
    crs, transform = _georeference(image)
    dtype = _dtype_of(parts[0])
    profile = {
        "driver": driver,
        "height": rows,
        "width": cols,
        "count": sum(part.size // (rows * cols) for part in parts),
        "dtype": dtype,
        "crs": crs,
        "transform": transform,
        "nodata": file_nodata(parts[0], dtype),
    }
    gcps = _gcps_of(parts[0]) if transform is None and driver in _WITH_GCPS else None
    if gcps:
        profile["gcps"] = gcps
    options = {str(key).lower(): value for key, value in creation.items()}
    if options.keys() & profile.keys():
        raise OptionError(
            f"{sorted(options.keys() & profile.keys())} are set by the image: omit these creation options"
        )
    return {**profile, "creation": {**_defaults(driver, dtype, (rows, cols), options), **options}}


def _defaults(driver: str, dtype: str, shape: tuple[int, int], options: Mapping[str, Any]) -> dict[str, Any]:
    chosen = dict(_DEFAULTS.get(driver, {}))
    if driver == "GTiff":
        if str(options.get("tiled", "yes")).lower() in ("no", "false", "off") or max(shape) < _BLOCK:
            del chosen["tiled"]
        else:
            chosen.update(blockxsize=_BLOCK, blockysize=_BLOCK)
        chosen["alpha"] = "unspecified"  # or GDAL takes the fourth of four bands of bytes for it
        if str(options.get("compress", "deflate")).lower() in _PREDICTED and dtype not in _UNPREDICTED:
            chosen["predictor"] = 3 if dtype.startswith("float") else 2
    return chosen


def _dtype_of(part: DataArray) -> str:
    dtype = np.dtype(part.encoding.get("dtype", part.dtype))
    if dtype.kind not in "biufc":
        raise OptionError(f"an image of {dtype} cannot be written: convert it to numbers")
    name = str(dtype.name)
    return {"bool": "uint8", "float16": "float32"}.get(name, name)


def _georeference(image: DataArray | Dataset) -> tuple[str | None, Affine | None]:
    try:
        grid = grid_of(image, "the image")
    except NotGeoreferenced:  # one of the two may be there
        crs = image.rio.crs
        transform = image.rio.transform()
        return crs.to_wkt() if crs else None, None if transform == Affine.identity() else transform
    return grid.crs.to_wkt() if grid.crs is not None else None, grid.affine


def _gcps_of(part: DataArray) -> list[GroundControlPoint] | None:
    """Control points of an image, unless it is a part of its file: they count the pixels of the file."""
    gcps: list[GroundControlPoint] | None = part.rio.get_gcps()
    source = part.encoding.get("source")
    if gcps and isinstance(source, str):
        try:
            with rasterio.open(source) as file:
                return gcps if (file.height, file.width) == part.shape[-2:] else None
        except RasterioError:
            return None
    return gcps


@dataclass(frozen=True)
class Metadata:
    """Tags, names, units and scaling of a file.

    tags : Of the file.
    band_tags : Of every band, or empty.
    names : Descriptions of the bands, or empty.
    units : Of the bands, or empty.
    scales, offsets : Of the bands, or empty.
    """

    tags: dict[str, str]
    band_tags: list[dict[str, str]]
    names: tuple[str, ...]
    units: tuple[str, ...]
    scales: tuple[float, ...]
    offsets: tuple[float, ...]

    def write(self, file: Any) -> None:
        """Write it to an open rasterio dataset, except what does not match its number of bands."""
        count = file.count
        file.update_tags(**self.tags)
        for band, tags in enumerate(self.band_tags[:count], start=1):
            file.update_tags(band, **tags)
        for band, name in enumerate(self.names if len(self.names) == count else (), start=1):
            file.set_band_description(band, name)
        for attribute in ("units", "scales", "offsets"):
            values = getattr(self, attribute)
            if len(values) == count:
                setattr(file, attribute, values)


def metadata_of(image: DataArray | Dataset) -> Metadata:
    """Collect the metadata of an image."""
    parts = parts_of(image)
    counts = [part.shape[0] if part.ndim == 3 else 1 for part in parts]
    attrs = {**image.attrs} if isinstance(image, Dataset) else parts[0].attrs
    band_tags = parts[0].attrs.get("band_tags", []) if len(parts) == 1 else []
    tags = {
        str(key): _text(value)
        for key, value in attrs.items()
        if key not in _ELSEWHERE and not str(key).startswith("STATISTICS_")
    }
    return Metadata(
        tags,
        [{str(key): _text(value) for key, value in each.items()} for each in band_tags],
        _per_band(parts, counts, "long_name", str, by_name=True),
        _per_band(parts, counts, "units", str),
        _per_band(parts, counts, "scale_factor", float, several="scales"),
        _per_band(parts, counts, "add_offset", float, several="offsets"),
    )


def _per_band(
    parts: list[DataArray], counts: list[int], key: str, kind: type, *, several: str = "", by_name: bool = False
) -> tuple[Any, ...]:
    """One value for every band, or an empty tuple."""
    values: list[Any] = []
    for part, count in zip(parts, counts, strict=True):
        found = next(
            (place[each] for each in (several, key) for place in (part.attrs, part.encoding) if each in place), None
        )
        if found is None and by_name and part.name is not None:
            found = str(part.name)
        if found is None:
            return ()
        values += [kind(each) for each in found] if isinstance(found, list | tuple) else [kind(found)] * count
    return tuple(values) if len(values) == sum(counts) else ()


def _text(value: Any) -> str:
    if isinstance(value, dict | list | tuple):
        return json.dumps(value, default=str)
    return str(value)


def add_tags(place: Path, tags: Mapping[str, str]) -> None:
    """Add tags to a GeoTIFF; to that of a cloud optimised one beside it, for new ones within would spoil its layout."""
    with open_gdal(place) as file:
        cloud_optimised = file.tags(ns="IMAGE_STRUCTURE").get("LAYOUT") == "COG"
    if not cloud_optimised:
        with open_gdal(place, "r+") as file:
            file.update_tags(**tags)
        return
    beside = place.with_name(f"{place.name}.aux.xml")
    root = ElementTree.parse(beside).getroot() if beside.exists() else ElementTree.Element("PAMDataset")
    domain = next((one for one in root.findall("Metadata") if not one.get("domain")), None)
    domain = ElementTree.SubElement(root, "Metadata") if domain is None else domain
    for key, text in tags.items():
        for old in [one for one in domain if one.get("key") == key]:
            domain.remove(old)
        ElementTree.SubElement(domain, "MDI", key=key).text = text
    ElementTree.ElementTree(root).write(beside, encoding="utf-8")
