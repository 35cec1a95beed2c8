"""Profile and metadata of a GDAL file for an xarray image."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from rasterio._err import CPLE_BaseError
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioError
from xarray import DataArray, Dataset

from xcoreg.errors import NotGeoreferenced, OptionError, warn_user
from xcoreg.files import gdal_threads, open_gdal
from xcoreg.io.read import shape_of_file
from xcoreg.io.tags import (
    ENVI_LISTS,
    HEADER_LAYOUT,
    Tags,
    as_number,
    describe_header,
    lost_colours,
    per_band,
    settle_tags,
    without_histograms,
    without_statistics,
    write_side_car,
)
from xcoreg.raster.bands import spatial_dims
from xcoreg.raster.grid import grid_of
from xcoreg.raster.nodata import file_nodata

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


_DEFAULTS: dict[str, dict[str, Any]] = {
    "GTiff": {"tiled": True, "compress": "deflate", "bigtiff": "IF_SAFER"},
    "COG": {"compress": "DEFLATE", "predictor": "YES", "bigtiff": "IF_SAFER"},
    "JP2OpenJPEG": {"quality": "100", "reversible": "YES"},  # lossless, or pixels would change
}
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
    photometric = (parts[0].encoding.get("gdal") or {}).get("photometric")
    if driver == "GTiff" and photometric and profile["count"] == 1:
        profile["photometric"] = photometric
    gcps = _gcps_of(parts[0]) if transform is None else None
    if gcps:
        profile["gcps"] = gcps
    options = {str(key).lower(): value for key, value in creation.items()}
    profile = {key: value for key, value in profile.items() if key != "photometric" or key not in options}
    if options.keys() & profile.keys():
        raise OptionError(
            f"{sorted(options.keys() & profile.keys())} are set by the image: omit these creation options"
        )
    return {**profile, "creation": {**_defaults(driver, dtype, (rows, cols), options), **options}}


def _defaults(driver: str, dtype: str, shape: tuple[int, int], options: Mapping[str, Any]) -> dict[str, Any]:
    chosen = _DEFAULTS.get(driver, {}) | ({"num_threads": gdal_threads()} if driver in ("GTiff", "COG") else {})
    if driver == "COG" and dtype.startswith("complex"):
        del chosen["predictor"]
    if driver == "GTiff":
        if str(options.get("tiled", "yes")).lower() in ("no", "false", "off") or max(shape) < _BLOCK:
            del chosen["tiled"]
        else:
            chosen.update(blockxsize=_BLOCK, blockysize=_BLOCK)
        chosen["alpha"] = "unspecified"  # or GDAL takes the fourth of four bands of bytes for it
        codec = str(options.get("compress", "deflate")).lower()
        if codec in _PREDICTED and dtype not in _UNPREDICTED and "nbits" not in options:
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
    is_of_file = isinstance(part.encoding.get("source"), str)
    return gcps if gcps and (not is_of_file or shape_of_file(part) == part.shape[-2:]) else None


# Written elsewhere, or valid for the old pixels only.
_ELSEWHERE = {
    "_FillValue", "missing_value", "nodata", "nodatavals", "scale_factor", "add_offset", "scales", "offsets",
    "grid_mapping", "crs", "transform", "res", "is_tiled", "long_name", "units", "band_tags", "gdal",
}  # fmt: skip
# Fields of an ENVI header that GDAL writes if it is given them.
_ENVI_FIELDS = {
    "description", "wavelength_units", "reflectance_scale_factor", "default_bands", "acquisition_time", "sensor_type",
    "cloud_cover", "security_tag", "solar_irradiance", "sun_azimuth", "sun_elevation", "z_plot_range", "z_plot_titles",
    "spectra_names", "default_stretch", "data_reflectance_gain_values", "data_reflectance_offset_values",
}  # fmt: skip
_WAVELENGTH = re.compile(r"[\d.]+ \w+")  # GDAL's name of a band without one
# Colours that say nothing, and those of a band taken out of a picture.
_PLAIN, _SINGLE = {"undefined", "gray"}, {"red", "green", "blue", "alpha"}
_GRID_MAPPING = {"crs_wkt", "spatial_ref", "GeoTransform", "grid_mapping_name"}
# Tags that formats spell differently, or that say how pixels lie.
_SPELLED = {"AREA_OR_POINT"}


@dataclass(frozen=True)
class Metadata:
    """Tags, names, units, scaling and colours of a file.

    tags : Of the file, by namespace.
    band_tags : Of every band.
    names, units, scales, offsets : Of the bands, or empty.
    colours : Colour interpretation of the bands, by rasterio's names, or empty.
    colour_tables : Of the bands, None where there is none.
    class_names : XML of GDAL's names and tables of classes, of the bands.
    """

    tags: Tags
    band_tags: list[Tags]
    names: list[str]
    units: list[str]
    scales: list[float]
    offsets: list[float]
    colours: list[str]
    colour_tables: list[dict[Any, Any] | None]
    class_names: list[list[str]]

    def write(self, file: Any) -> None:
        """Write it to an open rasterio dataset, as far as its format takes it."""
        for band, tags in enumerate([self.tags, *self.band_tags]):
            for name, given in tags.items():
                values = {
                    key: value for key, value in given.items() if key not in ("ns", "bidx")
                }  # rasterio's own words
                if values and not name.startswith("xml:"):  # goes into the side file
                    file.update_tags(band, **({"ns": name} if name else {}), **values)
        for band, name in enumerate(self.names, start=1):
            file.set_band_description(band, name)
        for attribute, neutral in (("units", ""), ("scales", 1.0), ("offsets", 0.0)):
            if set(values := getattr(self, attribute)) - {neutral}:
                setattr(file, attribute, (*values, *getattr(file, attribute)[len(values) :]))
        with suppress(RasterioError, CPLE_BaseError, NotImplementedError):  # what is lost is reported at the end
            for band, table in enumerate(self.colour_tables, start=1):
                if table:
                    file.write_colormap(band, {int(value): tuple(colour) for value, colour in table.items()})
            added = file.colorinterp[len(self.colours) :]  # an alpha band of the mask
            if self.colours and [colour.name for colour in file.colorinterp] != self.colours:
                file.colorinterp = [*(ColorInterp[name] for name in self.colours), *added]

    def lost_tags(self, file: Any) -> list[tuple[int, str, dict[str, str]]]:
        """Tags that an open file lacks: number of the band or 0, namespace, tags."""
        lost = [
            (band, name, {key: value for key, value in tags.items() if key not in file.tags(band, ns=name or None)})
            for band, wanted in enumerate([self.tags, *self.band_tags])
            for name, tags in wanted.items()
        ]
        return [(band, name, tags) for band, name, tags in lost if tags.keys() - _SPELLED]

    def missing_in(self, file: Any) -> list[str]:
        """Name what an open file lacks of it."""
        lost = [
            f"{f'tags of band {band}' if band else 'tags'} {', '.join(tags)}{f' ({name})' if name else ''}"
            for band, name, tags in self.lost_tags(file)
        ]
        pairs = (("names", "descriptions"), ("units", "units"), ("scales", "scales"), ("offsets", "offsets"))
        for own, attribute in pairs:
            values = getattr(self, own)
            if values and not _equal(values, getattr(file, attribute)[: len(values)]):
                lost.append(f"{own} of bands")
        colours = [colour.name for colour in file.colorinterp]
        if any(self.colour_tables):
            lost += lost_colours(self.colour_tables, file)
        elif self.colours and self.colours != colours[: len(self.colours)]:
            lost.append(f"colour interpretation {', '.join(self.colours)}")
        return lost


def complete_tags(place: Path, metadata: Metadata, driver: str) -> None:
    """Write tags that a format has dropped into the .aux.xml beside the file, and warn of what is lost nevertheless."""
    if driver == "ENVI":
        tables = metadata.colour_tables if len(metadata.colour_tables) == 1 else [None]
        describe_header(place, metadata.tags["ENVI"].get("description"), tables[0], named=bool(metadata.names))
    with open_gdal(place) as file:
        lost = metadata.lost_tags(file)
    if lost or any(metadata.class_names):
        write_side_car(place, lost, metadata.class_names)
    with open_gdal(place) as file:
        missing = metadata.missing_in(file)
    if missing:
        warn_user(f"{driver} cannot hold all that belongs to the image: dropped are {'; '.join(missing)}")


def _equal(one: Any, two: Any) -> bool:
    try:
        return bool(np.allclose(one, two, rtol=1e-12, atol=0.0))
    except TypeError:
        return [each or "" for each in one] == [each or "" for each in two]


def metadata_of(image: DataArray | Dataset, driver: str = "GTiff", *, statistics: bool = True) -> Metadata:
    """Collect the metadata of an image, for a file of a format; statistics only if pixels do not change."""
    parts = [settle_tags(part) for part in parts_of(image)]
    counts = [part.shape[0] if part.ndim == 3 else 1 for part in parts]
    band_tags = [tags for part, count in zip(parts, counts, strict=True) for tags in _tags_of_bands(part, count)]
    if isinstance(image, Dataset):
        tags: Tags = {"": _plain_tags(image.attrs)}
        for part, each in zip(parts, np.split(np.array(band_tags, object), np.cumsum(counts)[:-1]), strict=True):
            for one in each:
                one[""] = _plain_tags(part.attrs) | one[""]
    else:
        tags = _tags_of_file(parts[0], band_tags)
    if not statistics:
        band_tags = [tags | {"": without_statistics(tags[""])} for tags in band_tags]
    found = [part.encoding.get("gdal") or {} for part in parts]
    class_names = found[0].get("class_names", []) if len(parts) == 1 else []
    if "photometric" in found[0] and driver != "GTiff":
        warn_user(
            f"{driver} cannot hold that zero is white (photometric): dropped, and the image is displayed inverted"
        )
    colours = [colour for each in found for colour in each.get("colours", [])]
    tables = [
        table for each, count in zip(found, counts, strict=True) for table in each.get("colour_tables", [None] * count)
    ]
    every = len(colours) == sum(counts) and bool(set(colours) - (_PLAIN if len(colours) > 1 else _PLAIN | _SINGLE))
    metadata = Metadata(
        tags,
        band_tags,
        per_band(parts, counts, "long_name", str),
        per_band(parts, counts, "units", str),
        per_band(parts, counts, "scale_factor", float, several="scales"),
        per_band(parts, counts, "add_offset", float, several="offsets"),
        colours if every else [],
        tables,
        class_names if statistics else without_histograms(class_names),
    )
    return _for_header(metadata) if driver == "ENVI" else metadata


def _tags_of_file(part: DataArray, band_tags: list[Tags]) -> Tags:
    """Tags of a file of one array, by namespace: its attributes, as they were spelled."""
    found: Tags = (part.encoding.get("gdal") or {}).get("tags", {})
    stored, single = found.get("", {}), band_tags[0][""] if len(band_tags) == 1 else {}
    tags = {
        key: stored[key] if key in stored and str(as_number(stored[key])) == value else value
        for key, value in _plain_tags(part.attrs).items()
        if key in stored or str(as_number(single.get(key, ""))) != value
    }
    return {"": tags} | {name: values for name, values in found.items() if name}


def _plain_tags(attrs: Mapping[Any, Any]) -> dict[str, str]:
    left = without_statistics(attrs)
    return {str(key): _text(value) for key, value in left.items() if key not in _ELSEWHERE | HEADER_LAYOUT}


def _tags_of_bands(part: DataArray, count: int) -> list[Tags]:
    """Tags of the bands of an array, by namespace; coordinates along the bands are tags, too."""
    found = (part.encoding.get("gdal") or {}).get("band_tags", [{}] * count)
    given = part.attrs.get("band_tags", [{}] * count)
    coords = {
        str(name): np.broadcast_to(coord.values, count)
        for name, coord in part.coords.items()
        if coord.dims in ((), part.dims[:-2])
        and name not in ("band", "spatial_ref", part.encoding.get("grid_mapping"))
        and not _GRID_MAPPING & coord.attrs.keys()
    }
    plain = [
        {str(key): _text(value) for key, value in given[at].items()}
        | {name: str(values[at]) for name, values in coords.items()}
        for at in range(count)
    ]
    return [{**found[at], "": plain[at]} for at in range(count)]


def _for_header(metadata: Metadata) -> Metadata:
    """Put tags that an ENVI header has fields for where GDAL writes them from."""
    plain, bands = dict(metadata.tags[""]), [each[""] for each in metadata.band_tags]
    header = {key: value for key, value in metadata.tags.get("ENVI", {}).items() if key not in HEADER_LAYOUT}
    header |= {key: plain.pop(key) for key in _ENVI_FIELDS & plain.keys()}
    units = {each.get("wavelength_units", "") for each in bands}
    if len(units) == 1 and units != {""}:
        header["wavelength_units"] = units.pop()
    every = [key for key in ENVI_LISTS if all(key in each for each in bands)]
    lists = {key: f"{{{', '.join(each[key] for each in bands)}}}" for key in every}
    header = {key: value for key, value in header.items() if key not in ENVI_LISTS} | lists
    header = {key: f"{{{value}}}" if "," in value and "{" not in value else value for key, value in header.items()}
    if metadata.colours:  # the bands of a picture
        shown = [metadata.colours.index(each) + 1 for each in ("red", "green", "blue") if each in metadata.colours]
        header = {key: value for key, value in header.items() if key != "default_bands"}
        header |= {"default_bands": f"{{{', '.join(map(str, shown))}}}"} if len(shown) == 3 else {}
        left = [] if set(metadata.colours) <= _PLAIN | _SINGLE else metadata.colours
        metadata = replace(metadata, colours=left)
    names = [] if all(map(_WAVELENGTH.fullmatch, metadata.names)) else metadata.names
    return replace(metadata, tags=metadata.tags | {"": plain, "ENVI": header}, names=names)


def _text(value: Any) -> str:
    if isinstance(value, dict | list | tuple):
        return json.dumps(value, default=str)
    return str(value)


def add_tags(place: Path, tags: Mapping[str, str]) -> None:
    """Add tags to a GeoTIFF; to that of a cloud optimised one beside it, for new ones within would spoil its layout."""
    with open_gdal(place) as file:
        cloud_optimised = file.tags(ns="IMAGE_STRUCTURE").get("LAYOUT") == "COG"
    if cloud_optimised:
        write_side_car(place, [(0, "", dict(tags))], [])
        return
    with open_gdal(place, "r+") as file:
        file.update_tags(**tags)
