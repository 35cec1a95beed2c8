"""Tags, names, units, scaling and colours of a file: read with the image, carried along with it, written anywhere.

What rioxarray does not read is in ``encoding["gdal"]``, tags of the bands in ``attrs["band_tags"]``. Lists have an
entry for each band of the file; the coordinate `band` tells which of them an image still has.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
from xarray import DataArray, Dataset

from xcoreg import lazy
from xcoreg.errors import OptionError, warn_user
from xcoreg.files import open_gdal
from xcoreg.raster.bands import spatial_dims

if TYPE_CHECKING:
    from collections.abc import Mapping


Tags = dict[str, dict[str, str]]  # by namespace; "" is the default one

HEADER_LAYOUT = {
    "samples", "lines", "bands", "header_offset", "file_type", "data_type", "interleave", "byte_order", "map_info",
    "coordinate_system_string", "projection_info", "band_names", "data_ignore_value", "data_gain_values",
    "data_offset_values", "classes", "class_lookup", "class_names",
}  # fmt: skip
# Namespaces that describe the layout of the old file, or that GDAL derives.
_LAYOUT = {"IMAGE_STRUCTURE", "DERIVED_SUBDATASETS", "SUBDATASETS", "GEOLOCATION", "TIFF"}
# Their tags of the first band are the attributes of a variable.
_OF_VARIABLES = ("netCDF", "HDF5", "HDF5Image", "HDF4", "HDF4Image", "Zarr")
# Fields of an ENVI header with a value for each band.
ENVI_LISTS = ("wavelength", "fwhm", "bbl")


def read_tags(file: Any) -> dict[str, Any]:
    """Read what rioxarray does not, or puts in another place, of an open file: plain types, to be carried along."""
    if file.driver in _OF_VARIABLES:
        return {}
    found: dict[str, Any] = {"driver": file.driver, "count": file.count, "shape": (file.height, file.width)}
    tags = _namespaces(file, 0)
    tags[""] = {key: value for key, value in tags[""].items() if not (file.driver == "ENVI" and _is_band_name(key))}
    colours = [colour.name for colour in file.colorinterp]
    found |= {"tags": tags, "band_tags": [_namespaces(file, band) for band in file.indexes], "colours": colours}
    tables = [file.colormap(band) if colours[band - 1] == "palette" else None for band in file.indexes]
    classified = found["tags"].get("ENVI", {}).get("file_type") == "ENVI Classification"
    single = any(file.tags(band, ns="IMAGE_STRUCTURE").get("NBITS") == "1" for band in file.indexes)
    return found | {"classes": any(tables) or classified or single} | ({"colour_tables": tables} if any(tables) else {})


def _is_band_name(key: str) -> bool:
    return re.fullmatch(r"Band_\d+", key) is not None


def _namespaces(file: Any, band: int) -> Tags:
    """Tags of the file (0) or of a band, by namespace."""
    names = {name for name in file.tag_namespaces(band) if name not in _LAYOUT and not name.startswith("xml:")}
    found = {name: file.tags(band, ns=name) for name in sorted(names | ({"RPC"} if not band else set()))}
    return {"": file.tags(band)} | {name: tags for name, tags in found.items() if tags}


def attach_tags(image: DataArray, found: dict[str, Any]) -> DataArray:
    """Give an image that rioxarray has opened what :func:`read_tags` found: its attributes change."""
    image.encoding["gdal"] = found
    if not found:
        return image
    tags, bands = found["tags"][""], [each[""] for each in found["band_tags"]]
    if any(bands):
        image.attrs["band_tags"] = bands
    # rioxarray takes tags of the first band for those of the file.
    for key in bands[0].keys() - {"scale_factor", "add_offset", "_FillValue", "long_name", "units"}:
        if found["count"] > 1 or key.startswith("STATISTICS_"):
            image.attrs.pop(key, None)
            image.attrs |= {key: tags[key]} if key in tags else {}
    if found["driver"] == "ENVI":
        _attach_header(image, found)
    return image


def _attach_header(image: DataArray, found: dict[str, Any]) -> None:
    """Make coordinates of the lists of an ENVI header, and drop what describes its layout."""
    for key in [key for key in image.attrs if _is_band_name(str(key))]:
        del image.attrs[key]
    header = found["tags"].get("ENVI", {})
    names = _listed(header.get("band_names", ""))
    if len(names) == found["count"]:  # without the wavelengths that GDAL adds
        image.attrs["long_name"] = tuple(names) if len(names) > 1 else names[0]
    for key in ENVI_LISTS:
        values = _listed(header.get(key, ""))
        if len(values) == found["count"] and key not in image.coords and image.dims[0] == "band":
            image.coords[key] = ("band", [as_number(value) for value in values])
            image.attrs.pop(key, None)


def _listed(text: str) -> list[str]:
    return [each.strip() for each in text.strip().strip("{}").split(",")] if text.strip() else []


def as_number(text: str) -> Any:
    """Read a number from a tag; text that is none is returned."""
    try:
        return int(text)
    except ValueError:
        with suppress(ValueError):
            return float(text)
        return text


def restore_tags(image: DataArray | Dataset) -> DataArray | Dataset:
    """Restore lists, which NetCDF and Zarr store as lists or as text and GDAL joins to a text."""
    if isinstance(image, Dataset):
        return image.assign({name: restore_tags(one) for name, one in image.data_vars.items()})
    attrs, bands = image.attrs, image.sizes.get("band", 0)
    names = attrs.get("long_name")
    if isinstance(names, str) and names.startswith("{") and names.endswith("}"):
        names = names[1:-1].split(",")
    if isinstance(names, list | np.ndarray) and len(names) == bands:
        attrs["long_name"] = tuple(map(str, names))
    for place, key in ((attrs, "band_tags"), (image.encoding, "gdal")):
        if isinstance(attrs.get(key), str):
            place[key] = json.loads(attrs[key] if key == "band_tags" else attrs.pop(key))
    return image


def with_tags(image: DataArray) -> DataArray:
    """Give an image that rioxarray has opened the metadata of its file; any other is returned as it is."""
    source = image.encoding.get("source")
    if "gdal" in image.encoding or not isinstance(source, str) or not source:
        return image
    try:
        with open_gdal(source) as file:
            found = read_tags(file)
    except OptionError:
        found = {}
    if found.get("count", 1) != 1 and "band" not in image.coords:  # which band it is cannot be known
        found = {}
    return attach_tags(image.copy(deep=False), found)


_LISTS = ("long_name", "units", "scales", "offsets", "band_tags")
_FILE_LISTS = ("band_tags", "colours", "colour_tables")


def settle_tags(image: DataArray) -> DataArray:
    """Restrict lists with an entry for each band of the file to the bands that an image still has."""
    image = with_tags(image).copy(deep=False)
    found = dict(image.encoding.get("gdal") or {})
    numbers, size = _band_numbers(image, found.get("count"))
    for place, keys in ((image.attrs, _LISTS), (found, _FILE_LISTS)):
        for key in keys:
            values = place.get(key)
            if isinstance(values, list | tuple):
                place[key] = [values[at] for at in numbers] if len(values) == found.get("count") else list(values)
                if len(place[key]) != size:
                    if key != "long_name" or image.name is None:  # the name of the image stands in for it
                        warn_user(f"{key} of {_name_of(image)} has {len(values)} entries for {size} bands: dropped")
                    del place[key]
    unchanged = found.get("shape") == _shape_of(image)
    if "RPC" in found.get("tags", {}) and not unchanged:
        warn_user(f"{_name_of(image)} is a part of its file: its RPCs count the pixels of the whole and are dropped")
        found["tags"] = {name: tags for name, tags in found["tags"].items() if name != "RPC"}
    if "band_tags" in image.attrs and not (unchanged and _is_in_file(image)):
        image.attrs = without_statistics(image.attrs)
    if found:
        image.encoding["gdal"] = found | {"count": size}
    return image


def _band_numbers(image: DataArray, count: int | None) -> tuple[list[int], int]:
    """Positions of the bands in the file, and their number."""
    dims = spatial_dims(image, "the image")
    lead = [dim for dim in image.dims if dim not in dims]
    size = image.sizes["band"] if "band" in lead else int(np.prod([image.sizes[dim] for dim in lead], dtype=int))
    labels = np.atleast_1d(image.coords["band"].values) if "band" in image.coords else np.arange(size) + 1
    known = count is not None and labels.dtype.kind in "iu" and labels.min() >= 1 and labels.max() <= count
    return (labels - 1).tolist() if known else list(range(size)), size


def _shape_of(image: DataArray) -> tuple[int, int]:
    y_dim, x_dim = spatial_dims(image, "the image")
    return image.sizes[y_dim], image.sizes[x_dim]


def _is_in_file(image: DataArray) -> bool:
    """Whether pixels are those of a file, unread: statistics of theirs are still right."""
    return lazy.is_read(image.data) if image.chunks is not None else not image.variable._in_memory


def shift_rpcs(rpcs: Mapping[str, str], dcol: float, drow: float) -> dict[str, str]:
    """RPCs, as tags of GDAL, of an image whose georeference moves by (dcol, drow) px."""
    moved = {"SAMP_OFF": dcol, "LINE_OFF": drow}
    return {key: f"{float(text) - moved[key]:.12g}" if key in moved else text for key, text in rpcs.items()}


def without_statistics(tags: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes or tags without the statistics that GDAL keeps, which are those of the old pixels."""
    left = {key: value for key, value in tags.items() if not str(key).startswith("STATISTICS_")}
    if isinstance(left.get("band_tags"), list):
        left["band_tags"] = [without_statistics(each) for each in left["band_tags"]]
    return left


def _name_of(image: DataArray) -> str:
    return "the image" if image.name is None else str(image.name)
