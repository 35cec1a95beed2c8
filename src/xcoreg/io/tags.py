"""Tags, names, units, scaling and colours of a file: read with the image, carried along with it, written anywhere.

What rioxarray does not read is in ``encoding["gdal"]``, tags of the bands in ``attrs["band_tags"]``. Lists have an
entry for each band of the file; the coordinate `band` tells which of them an image still has.
"""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rioxarray.rioxarray import affine_to_coords
from xarray import DataArray, Dataset

from xcoreg import lazy
from xcoreg.errors import OptionError, warn_user
from xcoreg.files import open_gdal
from xcoreg.raster.bands import name_of, shape_of, spatial_dims
from xcoreg.raster.file_mask import colours_of

if TYPE_CHECKING:
    from collections.abc import Mapping


Tags = dict[str, dict[str, str]]  # by namespace; "" is the default one

HEADER_LAYOUT = {
    "samples", "lines", "bands", "header_offset", "file_type", "data_type", "interleave", "byte_order", "map_info",
    "coordinate_system_string", "projection_info", "band_names", "data_ignore_value", "data_gain_values",
    "data_offset_values", "classes", "class_lookup", "class_names",
}  # fmt: skip
# Namespaces that describe the layout of the old file, or that GDAL derives.
LAYOUT = {
    "IMAGE_STRUCTURE",
    "DERIVED_SUBDATASETS",
    "SUBDATASETS",
    "GEOLOCATION",
    "TIFF",
    "xml:gml.root-instance",
    "xml:VRT",
}
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
    colours = [colour.name for colour in colours_of(file)]
    found |= {"tags": tags, "band_tags": [_namespaces(file, band) for band in file.indexes], "colours": colours}
    tables = [file.colormap(band) if colours[band - 1] == "palette" else None for band in file.indexes]
    classified = found["tags"].get("ENVI", {}).get("file_type") == "ENVI Classification"
    single = any(file.tags(band, ns="IMAGE_STRUCTURE").get("NBITS") == "1" for band in file.indexes)
    names = _class_names(file)
    named = any("<Histograms" not in text for each in names for text in each)
    found["classes"] = any(tables) or named or classified or single
    if file.tags(ns="IMAGE_STRUCTURE").get("MINISWHITE") == "YES":
        found["photometric"] = "miniswhite"
    return found | {key: each for key, each in (("colour_tables", tables), ("class_names", names)) if any(each)}


_PARTS = ("CategoryNames", "GDALRasterAttributeTable", "Histograms")


def without_histograms(named: list[list[str]]) -> list[list[str]]:
    """Drop the histograms among the XML parts of bands: they are those of the old pixels."""
    return [[text for text in each if not text.startswith("<Histograms")] for each in named]


_MOST_XML = 64_000_000  # bytes


def _class_names(file: Any) -> list[list[str]]:
    """XML of category names, thematic tables and histograms that GDAL keeps beside a file, for each band."""
    found: list[list[str]] = [[] for _ in file.indexes]
    path = next((Path(one) for one in file.files if one == f"{file.name}.aux.xml" or one.endswith(".vrt")), None)
    try:
        root = ElementTree.fromstring(_xml(path)) if path is not None and path.is_file() else ()
    except (ElementTree.ParseError, UnicodeError) as error:
        warn_user(f"{path} is damaged ({error}): what it says of the bands is lost")
        return found
    for band in (one for one in root if one.tag in ("PAMRasterBand", "VRTRasterBand")):
        parts = [one for kind in _PARTS for one in band.findall(kind)]
        texts = [ElementTree.tostring(one, encoding="unicode") for one in parts if one.get("tableType") != "athematic"]
        number = band.get("band", "1")
        if number in map(str, file.indexes):  # others are of a damaged file, or of an older one with more bands
            found[int(number) - 1] += texts
    return found


def _xml(path: Path) -> bytes:
    """Read XML that declares nothing: entities could make gigabytes of a few bytes."""
    text = path.read_bytes() if path.stat().st_size < _MOST_XML else b"<!DOCTYPE"
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
        raise ElementTree.ParseError("it declares entities, or is too large")
    return text


def _is_band_name(key: str) -> bool:
    return re.fullmatch(r"Band_\d+", key) is not None


def _namespaces(file: Any, band: int) -> Tags:
    """Tags of the file (0) or of a band, by namespace."""
    names = {name for name in file.tag_namespaces(band) if name not in LAYOUT}
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
    for key, kind in (("long_name", str), ("units", str), ("scales", float), ("offsets", float)):
        values = attrs.get(key)
        if isinstance(values, tuple) and len(set(values)) == 1:  # GDAL gives the whole list for each band
            values = values[0]
        if isinstance(values, str) and values.startswith("{") and values.endswith("}"):
            values = values[1:-1].split(",")
        if isinstance(values, list | np.ndarray) and len(values) == bands:
            attrs[key] = tuple(map(kind, values))
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
_FILE_LISTS = ("band_tags", "colours", "colour_tables", "class_names")


def settle_tags(image: DataArray) -> DataArray:
    """Restrict lists with an entry for each band of the file to the bands that an image still has."""
    image = with_tags(image).copy(deep=False)
    found = dict(image.encoding.get("gdal") or {})
    numbers, labels, size = _band_numbers(image, found)
    lost = [key for key in _LISTS if not _settle(image.attrs, key, numbers, found.get("count"), size)]
    lost += [key for key in _FILE_LISTS if not _settle(found, key, numbers, found.get("count"), size)]
    if image.name is not None:  # it stands in for the names of bands
        lost = [key for key in lost if key != "long_name"]
    if lost:
        listed = ", ".join(dict.fromkeys(lost))
        warn_user(
            f"{listed} of {name_of(image)} are lists for other bands than the {size} that it has: dropped; select "
            "bands without drop=True to keep them"
        )
    unchanged = tuple(found.get("shape") or ()) == shape_of(image)
    if "RPC" in found.get("tags", {}) and not unchanged:
        warn_user(f"{name_of(image)} is a part of its file: its RPCs count the pixels of the whole and are dropped")
        found = without_rpcs(found)
    if {"band_tags", "class_names"} & {*image.attrs, *found} and not (unchanged and _is_in_file(image)):
        image.attrs = without_statistics(image.attrs)
        found |= {"class_names": without_histograms(found["class_names"])} if "class_names" in found else {}
    if found:
        image.encoding["gdal"] = found | {"count": size, "labels": labels}
    return image


def _settle(place: dict[Any, Any], key: str, numbers: list[int] | None, count: int | None, size: int) -> bool:
    """Restrict one list; False if it had to be removed."""
    values = place.get(key)
    if not isinstance(values, list | tuple):
        return True
    chosen = [values[at] for at in numbers] if len(values) == count and numbers is not None else list(values)
    if len(chosen) == size:
        place[key] = chosen
        return True
    del place[key]
    return False


def _band_numbers(image: DataArray, found: Mapping[str, Any]) -> tuple[list[int] | None, list[int] | None, int]:
    """Positions of the bands in the lists of their file, None where they are unknown; their labels and number."""
    dims = spatial_dims(image, "the image")
    lead = [dim for dim in image.dims if dim not in dims]
    size = image.sizes["band"] if "band" in lead else int(np.prod([image.sizes[dim] for dim in lead], dtype=int))
    labels = np.atleast_1d(image.coords["band"].values).tolist() if "band" in image.coords else []
    count = found.get("count")
    own = found.get("labels") or list(range(1, (count or 0) + 1))
    if labels and set(labels) <= set(own):
        return [own.index(label) for label in labels], labels, size
    return (list(range(size)) if count in (None, size) else None), None, size


def _is_in_file(image: DataArray) -> bool:
    """Whether pixels are those of a file, unread: statistics of theirs are still right."""
    return lazy.is_read(image.data) if image.chunks is not None else not image.variable._in_memory


def without_rpcs(found: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata of a file without the RPCs, which count the old pixels."""
    return {**found, "tags": {name: tags for name, tags in found.get("tags", {}).items() if name != "RPC"}}


def shift_rpcs(rpcs: Mapping[str, str], dcol: float, drow: float) -> dict[str, str]:
    """RPCs, as tags of GDAL, of an image whose georeference moves by (dcol, drow) px."""
    moved = {"SAMP_OFF": dcol, "LINE_OFF": drow}
    try:
        return {key: f"{float(text) - moved[key]:.12g}" if key in moved else text for key, text in rpcs.items()}
    except (TypeError, ValueError):
        raise OptionError(f"the RPCs have no numbers as {' and '.join(moved)}: remove or repair them") from None


def without_statistics(tags: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes or tags without the statistics that GDAL keeps, which are those of the old pixels."""
    left = {key: value for key, value in tags.items() if not str(key).startswith("STATISTICS_")}
    if isinstance(left.get("band_tags"), list):
        left["band_tags"] = [without_statistics(each) for each in left["band_tags"]]
    return left


def write_side_car(path: Path, lost: list[tuple[int, str, dict[str, str]]], named: list[list[str]]) -> None:
    """Add tags, and names of classes, to the .aux.xml of a file: number of the band or 0, namespace, tags."""
    path = path.with_name(f"{path.name}.aux.xml")
    root = ElementTree.parse(path).getroot() if path.exists() else ElementTree.Element("PAMDataset")
    for number, parts in enumerate(named, start=1):
        for part in map(ElementTree.fromstring, parts):
            parent = _band_element(root, str(number))
            if parent.find(part.tag) is None:
                parent.append(part)
    for band, name, tags in lost:
        parent = root if not band else _band_element(root, str(band))
        domain = next((each for each in parent.findall("Metadata") if each.get("domain", "") == name), None)
        if domain is None:
            domain = ElementTree.SubElement(parent, "Metadata", {"domain": name} if name else {})
        if name.startswith("xml:"):
            domain.set("format", "xml")
            domain[:] = [ElementTree.fromstring(text) for text in tags.values()]
            continue
        for key, value in tags.items():
            for old in [one for one in domain if one.get("key") == key]:
                domain.remove(old)
            ElementTree.SubElement(domain, "MDI", key=key).text = value
    save_side_car(path, root)


def save_side_car(path: Path, root: Any) -> None:
    """Write an .aux.xml; XML in it declares its own prefixes, for GDAL cuts it out."""
    inner: dict[str, str] = {}
    for domain in (one for one in root.iter("Metadata") if one.get("format") == "xml"):
        token = f"xml-of-domain-{len(inner)}-"
        inner[token] = "".join(ElementTree.tostring(each, encoding="unicode") for each in domain)
        domain[:], domain.text = [], token
    text = ElementTree.tostring(root, encoding="unicode")
    for token, part in inner.items():
        text = text.replace(token, part, 1)
    path.write_text(text, encoding="utf-8")


def _band_element(root: Any, band: str) -> Any:
    found = root.find(f"PAMRasterBand[@band='{band}']")
    return ElementTree.SubElement(root, "PAMRasterBand", band=band) if found is None else found


def describe_header(place: Path, description: str | None, table: dict[Any, Any] | None, *, named: bool) -> None:
    """Write the description into an ENVI header, where GDAL puts the path of the file, and a colour table.

    named : Whether the bands have names; else those that GDAL invents are dropped.
    """
    path = place.with_suffix(".hdr")
    text = path.read_text(encoding="utf-8", errors="surrogateescape")
    line = f"description = {{{description.strip().strip('{}')}}}\n" if description else ""
    text = re.sub(r"description = \{[^}]*\}\n", lambda _: line, text, count=1)
    text = text if named else re.sub(r"band names = \{[^}]*\}\n", "", text)
    if table and "class lookup" not in text:
        colours = [
            tuple(table.get(value, table.get(str(value), (0, 0, 0)))) for value in range(max(map(int, table)) + 1)
        ]
        text = text.replace("file type = ENVI Standard", "file type = ENVI Classification")
        numbers = ", ".join(str(part) for colour in colours for part in colour[:3])
        names = ", ".join(str(value) for value in range(len(colours)))
        text += f"classes = {len(colours)}\nclass lookup = {{{numbers}}}\nclass names = {{{names}}}\n"
    path.write_text(text, encoding="utf-8", errors="surrogateescape")


def lost_colours(tables: list[dict[Any, Any] | None], file: Any) -> list[str]:
    """Name what an open file lacks of colour tables; black is what formats give to values without a colour."""
    lost = set()
    for band, table in enumerate(tables, start=1):
        found = file.colormap(band) if file.colorinterp[band - 1].name == "palette" else {}
        for value, (red, green, blue, alpha) in ((int(key), colour) for key, colour in (table or {}).items()):
            *colour, opacity = found.get(value, (0, 0, 0, alpha))
            lost |= {"colour table"} if [red, green, blue] != colour else set()
            clear = alpha != opacity and value != file.nodata and (value == 0 or any((red, green, blue)))
            lost |= {"transparent colours"} if clear else set()
    return sorted(lost)


def per_band(parts: list[DataArray], counts: list[int], key: str, kind: type, *, several: str = "") -> list[Any]:
    """One value for every band, or an empty list."""
    values: list[Any] = []
    for part, count in zip(parts, counts, strict=True):
        places = (part.attrs, part.encoding)
        found = next((place[each] for each in (several, key) for place in places if each in place), None)
        if found is None and key == "long_name":
            found = _labels_of(part)
        if found is None:
            return []
        values += [kind(each) for each in found] if isinstance(found, list | tuple) else [kind(found)] * count
    return values if len(values) == sum(counts) else []


def _labels_of(part: DataArray) -> Any:
    """Names of bands: labels along the bands that are words, or the name of the array."""
    labels = part.coords.get("band")
    if labels is not None and labels.dtype.kind in "UO":
        return [str(label) for label in np.atleast_1d(labels.values)]
    return None if part.name is None else str(part.name)


def with_own_crs(image: DataArray, address: str, rotated: bool) -> DataArray:
    """Give an image with RPCs the CRS and coordinates of its transform: rioxarray 0.23 gives it those of the RPCs.

    Tags hold the RPCs, which are read from there.
    """
    name = image.rio.grid_mapping
    if name not in image.coords or "rpcs" not in image.coords[name].attrs:
        return image
    with open_gdal(address) as file:
        crs, transform, gcps = file.crs, file.transform, file.gcps[0]
    if gcps:
        return image
    image = image.drop_vars(name).rio.write_transform(transform, grid_mapping_name=name)
    image = image.rio.write_crs(crs, grid_mapping_name=name) if crs else image
    places = {} if rotated else affine_to_coords(transform, image.sizes["x"], image.sizes["y"])
    made: DataArray = image.assign_coords(places)
    return made
