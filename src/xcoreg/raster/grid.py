"""Grid of an image: shape, transform and CRS, from its coordinates and its grid mapping."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox
from xarray import DataArray, Dataset, Variable

from xcoreg.errors import NotGeoreferenced, OptionError, warn_user
from xcoreg.files import open_gdal
from xcoreg.georef import as_crs, pixel_to_map
from xcoreg.raster.bands import Image, pick_variable, spatial_dims
from xcoreg.raster.geolocation import find_arrays
from xcoreg.raster.georeference import (
    CRS_ATTRS,
    PIXELS,
    crs_of,
    mapping_attrs,
    mapping_name,
    moved_attrs,
    raster_index,
    stored_crs,
    stored_transform,
    unit_factor,
)

if TYPE_CHECKING:
    from collections.abc import Hashable

    from numpy.typing import NDArray
    from pyproj import CRS

    from xcoreg.raster.georeference import Dims

    Said = tuple[str, list[str]]  # name of an image, and what has to be said about it

_NEAR = 0.05  # px, for coordinates that fall on pixels of a stored transform


@dataclass(frozen=True)
class _Found:
    """Where an image lies, and what has to be said about it.

    affine, crs : Transform (pixel corners) and CRS.
    notes : Assumptions, contradictions and conversions, for the user.
    """

    affine: Affine
    crs: CRS
    notes: tuple[str, ...]


def grid_of(image: Image, name: str = "target", dims: Dims | None = None) -> GeoBox:
    """Grid of an image: CRS, affine and shape; rotated, south-up and lon/lat ones included."""
    dims = dims or spatial_dims(image, name)
    found = _find(image, name, dims)
    for note in found.notes:
        warn_user(note)
    return GeoBox((image.sizes[dims[0]], image.sizes[dims[1]]), found.affine, found.crs)


def _find(image: Image, name: str, dims: Dims) -> _Found:
    if isinstance(image, Dataset):
        image, _ = pick_variable(image, None, name)
    notes: list[str] = []
    try:
        crs = _parse_wkt(crs_of(image, dims, name, notes))
    except NotGeoreferenced:
        if georeferenced_by(image) is None:
            raise
        raise _no_transform(image, name) from None
    return _Found(_transform_of(image, dims, crs, (name, notes)), crs, tuple(notes))


@lru_cache(maxsize=128)
def _parse_wkt(wkt: str) -> CRS:
    return as_crs(wkt)


def located(image: Any, name: str = "target") -> Any:
    """Put assumptions, conversions and solved contradictions of the georeference into an image, with one warning each.

    An ordinary image is returned as it is, and so is what has no georeference: whoever needs one refuses it.
    """
    if not isinstance(image, DataArray | Dataset):
        return image
    try:
        dims = spatial_dims(image, name)
        found = _find(image, name, dims)
    except (NotGeoreferenced, OptionError):
        return image
    for note in found.notes:
        warn_user(note)
    return _written(image, dims, found) if found.notes else image


def lacks_georeference(image: Any, name: str = "the image") -> bool:
    """Whether an image has neither CRS nor transform, control points or RPCs: its coordinates count pixels, if any."""
    if not isinstance(image, DataArray | Dataset):
        return False
    band = pick_variable(image, None, name)[0]
    dims = spatial_dims(band, name)
    if stored_crs(band, name) or raster_index(band, dims) is not None:
        return False
    stored = stored_transform(band, name, [])[0]
    plain = (stored is None or stored == Affine.identity()) and all(_counts(band, dim) for dim in dims)
    return plain and georeferenced_by(band) is None


def _counts(image: DataArray, dim: Hashable) -> bool:
    if dim not in image.coords:
        return True
    values, count = image.coords.variables[dim].values, image.sizes[dim]
    return values.dtype.kind in "iuf" and any(np.array_equal(values, np.arange(count) + at) for at in (0, 0.5))


def in_pixels(image: Any) -> Any:
    """Georeference an image that has none by its pixels: x to the right, y upwards from the outer upper left corner."""
    dims = spatial_dims(image, "the image")
    return _written(image, dims, _Found(Affine.scale(1.0, -1.0), _parse_wkt(PIXELS), ()))


def placed_over(image: Any, reference: Any, *, share: float = 1.0, at: tuple[float, float] = (0.5, 0.5)) -> Any:
    """Lay an image over a share of the sides of a reference, centred there at parts of its width and height."""
    dims, grid = spatial_dims(image, "the image"), grid_of(reference, "reference")
    rows, cols = (int(image.sizes[dim]) for dim in dims)
    west, south, east, north = grid.extent.boundingbox
    pixel = share * max((east - west) / cols, (north - south) / rows)
    x, y = west + at[0] * (east - west), south + at[1] * (north - south)
    affine = Affine(pixel, 0.0, x - pixel * cols / 2, 0.0, -pixel, y + pixel * rows / 2)
    return _written(image, dims, _Found(affine, as_crs(grid.crs), ()))


def out_of_pixels(out: Any, image: Any) -> Any:
    """Take the georeference by pixels away again, as far as the image has not had it."""
    bare = out.drop_vars({mapping_name(out), *spatial_dims(out, "the image")} - set(image.coords))
    for each in _variables(bare):
        each.encoding.pop("grid_mapping", None)
    return bare


def _written(image: Image, dims: Dims, found: _Found) -> Image:
    """Write a georeference into coordinates and grid mapping, where everybody expects it."""
    mapping = mapping_name(image)
    grid = GeoBox((image.sizes[dims[0]], image.sizes[dims[1]]), found.affine, found.crs)
    coords: dict[Hashable, Variable] = {mapping: grid_mapping(None, found.crs, found.affine)}
    axes = centres_of(grid) if raster_index(image, dims) is None else None
    for dim, centres in zip(dims, axes or (), strict=False):
        attrs = dict(image.coords[dim].attrs) if dim in image.coords else {}
        if "units" in attrs:
            attrs["units"] = "degrees" if found.crs.is_geographic else found.crs.axis_info[0].unit_name
        coords[dim] = Variable((dim,), centres, attrs)
    given = [name for name in coords if name in image.coords or name in getattr(image, "data_vars", ())]
    out: Any = image.copy(deep=False).drop_vars(given).assign_coords(coords)
    for each in _variables(out):
        if isinstance(each, Dataset) or set(dims) <= set(each.dims):
            attrs = {key: value for key, value in each.attrs.items() if key not in ("grid_mapping", *CRS_ATTRS)}
            each.attrs = moved_attrs(attrs, found.affine)
            each.encoding = {**each.encoding, "grid_mapping": mapping}
    return cast("Image", out)


def _variables(image: Image) -> list[Any]:
    """List what has attributes and encoding: the image, and the variables of a Dataset."""
    if isinstance(image, DataArray):
        return [image.variable]
    return [image, *(image.variables[key] for key in image.data_vars)]


def centres_of(grid: GeoBox) -> tuple[Any, Any] | None:
    """Coordinates (y, x) of the pixel centres along the axes; None for a rotated grid."""
    _, b, _, d = grid.affine[:4]
    if b or d:
        return None
    x, _ = pixel_to_map(grid.affine, np.arange(grid.shape[1]), 0)
    _, y = pixel_to_map(grid.affine, 0, np.arange(grid.shape[0]))
    return y, x


def grid_mapping(old: Variable | DataArray | None, crs: Any, transform: Any) -> Variable:
    """Grid mapping variable: the old one with another transform, or a new one."""
    c, a, b, f, d, e = (float(transform[at]) for at in (2, 0, 1, 5, 3, 4))
    text = " ".join(map(str, (c, a, b, f, d, e)))
    if old is not None and {"crs_wkt", "spatial_ref"} & set(old.attrs):
        return Variable(old.dims, old.values, {**old.attrs, "GeoTransform": text}, old.encoding)
    parsed = as_crs(crs)
    wkt = parsed.to_wkt()
    return Variable((), 0, {**parsed.to_cf(), "crs_wkt": wkt, "spatial_ref": wkt, "GeoTransform": text})


def georeferenced_by(image: Image) -> str | None:
    """Georeference of an image other than a transform: control points, geolocation arrays or RPCs."""
    if isinstance(image, Dataset):
        band, _ = pick_variable(image, None, "the image")
    else:
        band = image
    if "gcps" in mapping_attrs(band):
        return "ground control points"
    return "geolocation arrays" if find_arrays(image) is not None else _file_georeference(band.encoding.get("source"))


def needs_rectifying(image: Any) -> bool:
    """Whether an image is georeferenced, but not by a transform; False for what is not an image."""
    if not isinstance(image, DataArray | Dataset):
        return False
    try:
        grid_of(image, "the image")
    except NotGeoreferenced:
        return georeferenced_by(image) is not None
    return False


def _file_georeference(source: object) -> str | None:
    if not isinstance(source, str) or not source:
        return None
    try:
        with open_gdal(source) as file:
            return "geolocation arrays" if file.tags(ns="GEOLOCATION") else None if file.rpcs is None else "RPCs"
    except OptionError:
        return None


def _transform_of(image: DataArray, dims: Dims, crs: CRS, said: Said) -> Affine:
    name = said[0]
    index = raster_index(image, dims)
    stored, where = stored_transform(image, *said)
    affine: Affine | None
    if index is not None:
        affine = Affine(*tuple(index.transform())[:6])
    elif stored is not None and (stored.b or stored.d):
        affine = _from_2d_coordinates(image, dims) or stored
    else:
        affine = _from_coordinates(image, dims, (stored, where), crs, said)
    if affine is None or affine == Affine.identity():
        raise _no_transform(image, name)
    numbers = tuple(affine)[:6]
    if not all(map(math.isfinite, numbers)) or abs(affine.a * affine.e - affine.b * affine.d) == 0:
        raise NotGeoreferenced(f"{name} has a transform that cannot be inverted: {numbers}")
    return affine


def _no_transform(image: DataArray, name: str) -> NotGeoreferenced:
    other = georeferenced_by(image)
    cure = f", only {other}: rectify it first, da.coreg.rectify(crs=ref.rio.crs)" if other else ""
    return NotGeoreferenced(
        f"{name} has no transform{cure or ': set it with da.rio.write_transform(affine) or give it x and y'}"
    )


def _from_2d_coordinates(image: Image, dims: Dims) -> Affine | None:
    """Affine of a rotated image from the xc, yc that rioxarray writes; they survive slicing, its attribute does not."""
    if not all(coord in image.coords and image.coords[coord].dims == dims for coord in ("xc", "yc")):
        return None
    if min(image.sizes[dim] for dim in dims) < 2:
        return None
    corner = {dims[0]: slice(0, 2), dims[1]: slice(0, 2)}
    x, y = (np.asarray(image.coords[coord].isel(corner).values, np.float64) for coord in ("xc", "yc"))
    a, b, d, e = x[0, 1] - x[0, 0], x[1, 0] - x[0, 0], y[0, 1] - y[0, 0], y[1, 0] - y[0, 0]
    return Affine(*map(float, (a, b, x[0, 0] - (a + b) / 2, d, e, y[0, 0] - (d + e) / 2)))


def _from_coordinates(
    image: DataArray, dims: Dims, known: tuple[Affine | None, str], crs: CRS, said: Said
) -> Affine | None:
    stored, (name, notes) = known[0], said
    units = [unit_factor(image, dim, crs, name, notes) for dim in dims]
    y = _axis(image, dims[0], stored.e if stored is not None else None, units[0], name)
    x = _axis(image, dims[1], stored.a if stored is not None else None, units[1], name)
    if x is None or y is None:
        return stored
    found = Affine(x[1], 0.0, x[0], 0.0, y[1], y[0])
    if units != [1.0, 1.0]:
        of, unit = image.coords[dims[1]].attrs["units"], crs.axis_info[0].unit_name
        notes.append(
            f"the coordinates of {name} are in {of}, its CRS {crs.name} in {unit}: they are converted to {unit}"
        )
    if stored is None or not _differ(found, stored, image, dims, (x[2], y[2])):
        return found if stored is None else stored
    sizes = image.sizes[dims[1]], image.sizes[dims[0]]
    return _settle(found, (stored, known[1]), sizes, (x[2], y[2]), said)


def _settle(
    found: Affine, known: tuple[Affine, str], sizes: tuple[int, int], grains: tuple[float, float], said: Said
) -> Affine:
    """Choose between the transform of the coordinates and a stored one that differs.

    A transform that was stored before an image was cut or thinned out is stale, which nobody needs to hear of; so is
    any GeoTransform of a grid mapping, which xarray does not renew when coordinates are assigned.
    """
    (stored, where), (name, notes) = known, said
    edges = ((found.a, stored.a, found.c - stored.c), (found.e, stored.e, found.f - stored.f))
    axes = [_Axis(*edge, size, grain) for edge, size, grain in zip(edges, sizes, grains, strict=True)]
    if all(axis.is_part for axis in axes):
        return found
    exact = all(axis.corner == 0 for axis in axes)
    if exact or (where != "GeoTransform" and all(axis.corner is not None for axis in axes)):
        notes.append(
            f"the coordinates of {name} are the corners of pixels by its {where}, half a pixel off: {where} is used"
        )
        return stored if exact else Affine(*tuple(found @ Affine.translation(0.5, 0.5))[:6])
    if where == "GeoTransform":
        return found
    notes.append(
        f"the coordinates of {name} contradict its {where}: {tuple(found)[:6]} by the coordinates, which are used, "
        f"{tuple(stored)[:6]} by {where}; set the right one with da.rio.write_transform(...) or da.assign_coords(...)"
    )
    return found


@dataclass(frozen=True)
class _Axis:
    """Coordinates along one axis, beside a stored transform.

    new, old : Steps of the coordinates and of the transform; first : distance of their first edges, CRS units.
    size : Number of coordinates; grain : their round-off, CRS units.
    """

    new: float
    old: float
    first: float
    size: int
    grain: float

    @property
    def is_part(self) -> bool:
        """Whether the pixels are pixels of the transform, or whole groups or shares of them."""
        new, old = (self.new, self.old) if abs(self.new) >= abs(self.old) else (self.old, self.new)
        edge, centre = self.first / old, (self.first + (new - old) / 2) / old
        return self._is_integer(new / old, self.size) and (self._is_integer(edge) or self._is_integer(centre))

    @property
    def corner(self) -> int | None:
        """Number of the pixel whose upper left corner is the first coordinate, of pixels of the same size."""
        at = (self.first + self.new / 2) / self.old
        return round(at) if self._is_integer(at) and self._is_integer(self.new / self.old - 1, self.size) else None

    def _is_integer(self, number: float, times: int = 1) -> bool:
        return math.isfinite(number) and abs(number - round(number)) * times < max(_NEAR, self.grain / abs(self.new))


def _differ(found: Affine, stored: Affine, image: Image, dims: Dims, tolerance: tuple[float, float]) -> bool:
    """Whether the stored transform is stale; if it is not, it has more digits than differences of coordinates."""
    rows, cols = image.sizes[dims[0]], image.sizes[dims[1]]
    x = (found.c - stored.c, found.c + found.a * cols - stored.c - stored.a * cols)
    y = (found.f - stored.f, found.f + found.e * rows - stored.f - stored.e * rows)
    return bool(max(map(abs, x)) > tolerance[0] or max(map(abs, y)) > tolerance[1])


def _axis(
    image: Image, dim: Hashable, stored_step: float | None, factor: float, name: str
) -> tuple[float, float, float] | None:
    """First edge, step and tolerance (all CRS units) of a dimension's coordinate, or None without one."""
    known = image.coords.variables  # not `coords[dim]`, which makes an image of each coordinate
    if dim not in known or known[dim].dims != (dim,):
        return None
    raw = known[dim].values
    if not raw.size:
        raise NotGeoreferenced(f"{name} has no pixels along {dim!r}")
    if not np.issubdtype(raw.dtype, np.number):
        raise NotGeoreferenced(f"{name} has coordinates {dim!r} that are not numbers")
    centres = raw.astype(np.float64) if factor == 1.0 else raw * np.float64(factor)
    step = stored_step if centres.size == 1 else float((centres[-1] - centres[0]) / (centres.size - 1))
    if not step:
        return None
    grain = float(np.abs(centres).max()) * _epsilon(raw)
    _check_even(centres, step, 2 * grain, f"{dim!r} of {name}")
    return float(centres[0] - step / 2), step, max(1e-4 * abs(step), 4 * grain)


def _epsilon(raw: NDArray[Any]) -> float:
    return float(np.finfo(raw.dtype).eps) if raw.dtype.kind == "f" else 0.0


def _check_even(centres: NDArray[np.float64], step: float, grain: float, what: str) -> None:
    worst = float(np.abs(np.diff(centres) - step).max(initial=0.0))
    if not worst <= 0.01 * abs(step) + grain:
        raise NotGeoreferenced(f"the coordinates {what} are not evenly spaced: interpolate them first (da.interp)")


_MOST_CHOSEN, _MOST_IN_MEMORY, _MOST = 1e8, 1e9, 1e12  # pixels of an output
LONGEST = 2e7  # pixels along a side, whose coordinates are made at once
_TIMES = 100  # as many pixels as the image has are never too many


def check_size(
    shape: tuple[int, int], source: tuple[int, int] = (0, 0), *, asked: bool = False, lazy: bool = False
) -> None:
    """Refuse an output (rows, columns) of absurd size before anything of it is made.

    asked : Whether the grid or the pixel size was asked for, not chosen by the georeference.
    lazy : Whether pixels are made in chunks.
    """
    n, own = float(shape[0]) * shape[1], float(source[0]) * source[1]
    most = max(_MOST_CHOSEN if not asked else _MOST if lazy else _MOST_IN_MEMORY, _TIMES * own)
    if n > most or max(shape) > LONGEST:
        beside = f", {n / own:.1e} times those of the image" if own else ""
        chunks = "" if lazy else f"; a grid that is asked for, of chunks (image.chunk()), may have {_MOST:.0e}"
        raise OptionError(
            f"the output would have {shape[0]} x {shape[1]} pixels{beside}, and {most:.1e} are the most: check the "
            f"georeference, or give a larger resolution= or a grid like={chunks}"
        )
