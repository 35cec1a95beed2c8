"""Where CRS and transform of an image stand: grid mapping, attributes, indexes, coordinates and their units."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from xarray import DataArray, Dataset

from xcoreg.errors import NotGeoreferenced, OptionError
from xcoreg.georef import as_crs, parse_crs, same_crs

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping

    from pyproj import CRS

    Image = DataArray | Dataset
    Dims = tuple[Hashable, Hashable]

_DEFAULT = "spatial_ref"  # name of a grid mapping that nobody has named
_DESCRIBES_CRS = {"crs_wkt", "spatial_ref", "grid_mapping_name"}
# Attributes, or scalar coordinates, of stackstac, Earth Engine, GeoZarr and STAC that hold a CRS; a, b, c, d, e, f.
CRS_ATTRS = ("crs", "proj:code", "proj:epsg", "proj:wkt2", "proj:projjson", "epsg", "horizontal_CRS_code")
TRANSFORM_ATTRS = ("transform", "spatial:transform", "proj:transform")
_OLD_PLACE = {"spatial:bbox", "proj:bbox", "proj:geometry", "proj:centroid", "GeoTransform"}
#: All attributes that say where an image lies.
PLACE_ATTRS = frozenset({*CRS_ATTRS, *TRANSFORM_ATTRS, *_OLD_PLACE})
#: Of images without any georeference: x to the right and y upwards from the outer upper left corner.
PIXELS = (
    'ENGCRS["pixels, no georeference",EDATUM["upper left corner of the image"],CS[Cartesian,2],'
    'AXIS["x",east,ORDER[1]],AXIS["y",north,ORDER[2]],LENGTHUNIT["pixel",1]]'
)
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_DEGREES = re.compile(r"(lat|lon|latitude|longitude)", re.IGNORECASE)
_FEET = 1e-5  # feet of all kinds are written "ft", and differ by less


@dataclass(frozen=True)
class Unit:
    """A unit of lengths: its short name, "" where it is unknown, and its length in metres, None for no length."""

    name: str = ""
    metres: float | None = None

    def __str__(self) -> str:
        return self.name or "an unknown unit"


UNKNOWN = Unit()
_LENGTHS = (
    (r"(us|survey) .*(ft|foot|feet)|(ft|foot|feet) ?us|usft", Unit("ftUS", 1200 / 3937)),
    (r"(international )?(ft|foot|feet)", Unit("ft", 0.3048)),
    (r"m|met(re|er)s?", Unit("m", 1.0)),
    (r"mm|millimet(re|er)s?", Unit("mm", 1e-3)),
    (r"cm|centimet(re|er)s?", Unit("cm", 1e-2)),
    (r"dm|decimet(re|er)s?", Unit("dm", 0.1)),
    (r"km|kilomet(re|er)s?", Unit("km", 1e3)),
)
_AFTER = r"( (above|below|over|a s l|asl|amsl|wrt|rel).*)?"  # as in "m above sea level"
# Of coordinates only, and in metres or radians.
_DISTANCES = ((r"mi(les?)?", 1609.344), (r"nmi|nautical miles?", 1852.0), (r"yd|yards?", 0.9144))
_ANGLES = ((r"rad(ian)?s?", 1.0), (r"deg|°|degrees?( ?(north|east|south|west|[nesw]))?", np.pi / 180))


def parse_unit(text: Any) -> Unit:
    """Read a unit of lengths from its name in any spelling."""
    name = "" if text is None else str(text).strip()
    found = (unit for pattern, unit in _LENGTHS if re.fullmatch(f"({pattern}){_AFTER}", _words(name)))
    return next(found, Unit(name))


def _words(name: str) -> str:
    return re.sub(r"[\s_.\-]+", " ", re.sub(r"\(.*\)", "", name).lower()).strip()


def _size_of(unit: str, known: tuple[tuple[str, float], ...]) -> float | None:
    return next((size for pattern, size in known if re.fullmatch(pattern, _words(unit))), None)


def mapping_name(image: Image) -> Hashable:
    """Name of the grid mapping of an image: as named, else the one coordinate that describes a CRS."""
    named: Hashable | None = _named_mapping(image)
    if named is not None and named in image.coords:
        return named
    for indexed in crs_indexes(image):
        return indexed
    if _DEFAULT not in image.coords:
        found = [name for name in mapping_variables(image) if name in image.coords]
        if len(found) > 1:
            raise OptionError(
                f"{', '.join(map(str, found))} describe a CRS each: name one, attrs['grid_mapping'] = ..."
            )
        if found and (named is None or named not in getattr(image, "data_vars", ())):
            return found[0]
    return _DEFAULT if named is None else named


def mapping_variables(image: Image) -> dict[Hashable, Any]:
    """Coordinates and variables that describe a CRS, whether or not any variable names them."""
    places = {**image.coords, **image.data_vars} if isinstance(image, Dataset) else image.coords
    return {name: one for name, one in places.items() if one.size == 1 and _DESCRIBES_CRS & one.attrs.keys()}


def _named_mapping(image: Image) -> Any:
    """Grid mapping that an image names, of "crs: x y other: lat lon" the one of its dimensions."""
    if isinstance(image, Dataset):
        names = {_named_mapping(one) for one in image.data_vars.values() if one.ndim > 1} - {None}
        own = image.encoding.get("grid_mapping", image.attrs.get("grid_mapping"))
        return own if own is not None else next(iter(names)) if len(names) == 1 else None
    text = image.encoding.get("grid_mapping", image.attrs.get("grid_mapping"))
    if not isinstance(text, str) or ":" not in text:
        return text
    parts = re.findall(r"(\S+):((?:\s+[^\s:]+(?!\S*:))*)", text)
    return next((name for name, axes in parts if set(axes.split()) & set(image.dims)), parts[0][0] if parts else None)


def mapping_attrs(image: DataArray) -> Mapping[str, Any]:
    """Attributes of the grid mapping of an image."""
    name = mapping_name(image)
    return image.coords.variables[name].attrs if name in image.coords else {}


def variable_of(image: Dataset, key: Hashable) -> DataArray:
    """Variable of a Dataset, with the georeference that stands elsewhere in the Dataset."""
    band = image[key]
    plain = {name: one for name, one in mapping_variables(image).items() if name in image.data_vars}
    attrs = {name: image.attrs[name] for name in (*CRS_ATTRS, *TRANSFORM_ATTRS) if name in image.attrs}
    attrs = {name: value for name, value in attrs.items() if name not in band.attrs}
    named = _named_mapping(image) if _named_mapping(band) is None else None
    if not (plain or attrs or named):
        return band
    band = band.copy(deep=False).assign_coords({name: one.variable.squeeze() for name, one in plain.items()})
    band.attrs |= attrs
    if named is not None:
        band.encoding["grid_mapping"] = named
    return band


def raster_index(image: Image, dims: Dims) -> Any:
    """Index of rasterix, which holds a transform, or None."""
    if all(dim in image.xindexes for dim in dims):
        index = image.xindexes[dims[1]]
        return index if callable(getattr(index, "transform", None)) and hasattr(index, "from_transform") else None
    others = (index for index in image.xindexes.get_unique() if hasattr(index, "from_transform"))
    return next((index for index in others if set(getattr(index, "xy_dims", ())) == set(dims)), None)


def crs_indexes(image: Image) -> dict[Hashable, Any]:
    """Indexes of xproj, which hold a CRS, by the name of their coordinate."""
    found = image.xindexes.items()
    return {name: index for name, index in found if hasattr(index, "crs") and not hasattr(index, "from_transform")}


def indexes_of(image: Image, dims: Dims) -> tuple[Any, dict[Hashable, Any]]:
    """Indexes of an image that hold its transform, and its CRS."""
    return raster_index(image, dims), crs_indexes(image)


def mapping_names(image: Image, dims: Dims, crs: Any) -> dict[Hashable | None, Hashable]:
    """Grid mapping of an image (None) and of each variable of a Dataset; variables in different CRSs are refused."""
    if isinstance(image, DataArray):
        return {None: mapping_name(image)}
    bands = {key: variable_of(image, key) for key, one in image.data_vars.items() if set(dims) <= set(one.dims)}
    names: dict[Hashable | None, Hashable] = {key: mapping_name(band) for key, band in bands.items()}
    for name in set(names.values()) & image.variables.keys():
        here = [key for key in bands if names[key] == name]
        found = stored_crs(bands[here[0]], str(name))
        if found and not same_crs(found[0][1], crs):
            raise OptionError(
                f"the variables {', '.join(map(str, here))} have another CRS than the others, "
                f"{as_crs(found[0][1]).name}: correct them by themselves, ds[{[*map(str, here), str(name)]}].coreg"
            )
    return {None: next(iter(names.values()), mapping_name(image)), **names}


def stored_crs(image: DataArray, name: str) -> list[tuple[str, Any]]:
    """CRSs that an image names, the one that counts first, and where each stands."""
    try:
        own = image.rio.crs
        if own is None and _DESCRIBES_CRS & mapping_attrs(image).keys():
            own = parse_crs(dict(mapping_attrs(image)))
    except OptionError:
        raise
    except Exception as error:  # rioxarray lets through whatever its parsers raise
        raise OptionError(f"the CRS of {name} cannot be read ({error}): set it with da.rio.write_crs(...)") from error
    found = [("its index", getattr(index, "crs", None)) for index in image.xindexes.get_unique()]
    found += [("its grid mapping", own if own is not None and own.to_wkt() else None)]
    found = [(where, crs) for where, crs in found if crs is not None]
    places = [(f"attrs[{key!r}]", image.attrs[key]) for key in CRS_ATTRS if key in image.attrs]
    if not found and not places:
        scalars = (key for key in CRS_ATTRS if key in image.coords and image.coords[key].ndim == 0)
        places = [(f"the coordinate {key!r}", image.coords[key].item()) for key in scalars]
    for where, value in places:
        try:
            crs = parse_crs(_code(value))
        except OptionError:
            if not found:
                raise
            continue
        found += [(where, crs)] if crs is not None else []
    return found


def _code(value: Any) -> Any:
    """Read an authority code as JSON, NetCDF and old files of xarray hold it."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.item()
    text = value.strip() if isinstance(value, str) else value
    if isinstance(text, str) and text.lower().startswith("+init="):
        return text[6:].split()[0]
    number = isinstance(text, str) and text.isdecimal() and len(text) < 10
    return int(text) if number or (isinstance(text, float) and text.is_integer()) else text


def crs_of(image: DataArray, dims: Dims, name: str, notes: list[str]) -> str:
    """CRS of an image as WKT; what has to be said about it is added to the notes."""
    found = stored_crs(image, name)
    if found:
        where, crs = found[0]
        for elsewhere, other in found[1:]:
            if other is not crs and not same_crs(crs, other):
                one, two = as_crs(crs).name, as_crs(other).name
                notes.append(f"{name} has two CRSs, {one} in {where} and {two} in {elsewhere}: the first is used")
        return str(crs.to_wkt())
    if all(is_degrees(image, dim) for dim in dims):
        notes.append(
            f"{name} has no CRS; its coordinates {dims[0]} and {dims[1]} are taken for degrees on WGS 84 (EPSG:4326): "
            "set another with da.rio.write_crs(...)"
        )
        return as_crs("EPSG:4326").to_wkt()
    named = image.attrs.get("grid_mapping")
    cure = f"; its grid mapping {named!r} is missing, which xarray.open_dataset(..., decode_coords='all') keeps"
    lost = cure if isinstance(named, str) and named else ""
    raise NotGeoreferenced(f"{name} has no CRS: set it with da.rio.write_crs('EPSG:...') first{lost}")


def is_degrees(image: DataArray, dim: Hashable) -> bool:
    """Whether a dimension has latitudes or longitudes, by name or unit, and their range."""
    coord = image.coords.get(dim)
    if coord is None or coord.dims != (dim,) or coord.dtype.kind not in "iuf" or not coord.size:
        return False
    unit = str(coord.attrs.get("units", "degrees")).lower()
    standard = str(coord.attrs.get("standard_name", dim))
    is_latitude = standard.lower().startswith("lat")
    named = _DEGREES.fullmatch(standard) is not None
    ends = np.abs(coord.values[[0, -1]]).max()
    return bool(named and unit.startswith("deg") and ends <= (90 if is_latitude else 360))


def stored_transform(image: DataArray, name: str, notes: list[str]) -> tuple[Affine | None, str]:
    """Transform that is stored with an image, and where."""
    found: list[tuple[Affine, str]] = []
    for where, values in _transform_texts(image):
        try:
            numbers = [float(part) for part in values]
        except (TypeError, ValueError):
            continue
        if len(numbers) not in (6, 9):
            continue
        affine, gdal = Affine(*numbers[:6]), Affine.from_gdal(*numbers[:6])
        # some write GDAL's order where that of an Affine is expected
        is_gdal = where == "GeoTransform" or ((affine.b or affine.d) and not (gdal.b or gdal.d))
        found.append((gdal if is_gdal else affine, where))
    if len(found) > 1 and not found[0][0].almost_equals(found[1][0], 1e-3 * abs(found[0][0].a)):
        (one, first), (two, second) = found[:2]
        notes.append(
            f"{name} has two transforms, {tuple(one)[:6]} in {first} and {tuple(two)[:6]} in {second}: the first counts"
        )
        return found[0]
    return (found[0][0], found[-1][1]) if found else (None, "")


def _transform_texts(image: DataArray) -> Iterator[tuple[str, Any]]:
    text = mapping_attrs(image).get("GeoTransform", image.attrs.get("GeoTransform"))
    if text is not None:
        yield "GeoTransform", str(text).split() if isinstance(text, str) else text
    for key in TRANSFORM_ATTRS:
        value = image.attrs.get(key)
        if isinstance(value, str):
            yield f"attrs[{key!r}]", _NUMBER.findall(value)
        elif isinstance(value, list | tuple | np.ndarray | Affine):
            yield f"attrs[{key!r}]", np.ravel(np.asarray(value))


def moved_attrs(attrs: Mapping[Any, Any], transform: Any) -> dict[Any, Any]:
    """Attributes with another transform where they have one; what describes the old place is dropped."""
    numbers = tuple(map(float, tuple(transform)[:6]))
    new = {key: numbers for key in TRANSFORM_ATTRS if key in attrs}
    return {key: value for key, value in attrs.items() if key not in _OLD_PLACE} | new


def is_in_pixels(fit: Any) -> bool:
    """Whether a fit is one of images without a georeference."""
    wkt = getattr(fit, "crs_wkt", None)  # whatever is no fit is refused later
    return bool(wkt and "pixel" in wkt and is_pixels(as_crs(wkt)))


def is_pixels(crs: CRS) -> bool:
    """Whether a CRS counts pixels, as :data:`PIXELS` does."""
    return bool(crs.is_engineering and crs.axis_info and crs.axis_info[0].unit_name == "pixel")


def unit_factor(image: DataArray, dim: Hashable, crs: CRS, name: str, notes: list[str]) -> float:
    """CRS units per unit of a dimension's coordinate; 1 where it names none or that of the CRS."""
    text = str(image.coords.variables[dim].attrs.get("units", "")).strip() if dim in image.coords else ""
    count, _, unit = text.lower().rpartition(" ") if text[:1].isdigit() else ("", "", text.lower())
    if not unit or unit in ("1", "none", "unknown") or not crs.axis_info:
        return 1.0
    axis = crs.axis_info[0]
    angle, length = _size_of(unit, _ANGLES), parse_unit(unit).metres or _size_of(unit, _DISTANCES)
    size, is_angle = angle or length, angle is not None
    if size is None:
        if unit != axis.unit_name.lower():
            notes.append(
                f"the unit {text!r} of the coordinate {dim!r} of {name} is unknown: {axis.unit_name} is assumed"
            )
        return 1.0
    if is_angle == crs.is_geographic:
        factor = float(count or 1) * size / axis.unit_conversion_factor
        return 1.0 if abs(factor - 1) < _FEET else factor
    height = _satellite_height(crs) if is_angle and size == 1.0 else None
    if height is not None:
        return height / axis.unit_conversion_factor
    raise NotGeoreferenced(
        f"the coordinate {dim!r} of {name} is in {text}, but its CRS {crs.name} in {axis.unit_name}: set the CRS of "
        "the coordinates with da.rio.write_crs(...), or drop or mend their attribute units"
    )


def _satellite_height(crs: CRS) -> float | None:
    """Height of a geostationary satellite, by which scan angles are multiplied."""
    operation = crs.coordinate_operation
    found = [one.value for one in (operation.params if operation is not None else ()) if one.name == "Satellite Height"]
    return float(found[0]) if found else None
