"""What an image carries besides its pixels: coordinates, grid mapping, attributes, encoding, history."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox
from rioxarray.exceptions import RioXarrayError
from xarray import DataArray, Dataset, Variable

from xcoreg import georef
from xcoreg.errors import warn_user
from xcoreg.io.tags import shift_rpcs, with_tags
from xcoreg.raster.bands import spatial_dims
from xcoreg.raster.grid import grid_of
from xcoreg.raster.nodata import stored_nodata

if TYPE_CHECKING:
    from collections.abc import Hashable

    from affine import Affine

    from xcoreg.raster.bands import Image

    Dims = tuple[Hashable, Hashable]

# Layout of the old pixels in their file: meaningless for new pixels, and wrong chunks make writers fail.
_FILE_ENCODING = frozenset(
    ["source", "original_shape", "chunks", "chunksizes", "preferred_chunks", "contiguous", "blockxsize", "blockysize"]
)
# Would make a writer round the new coordinates.
_VALUE_ENCODING = frozenset(["dtype", "scale_factor", "add_offset", "_FillValue"])


@dataclass(frozen=True)
class Frame:
    """The grid of an output and the coordinates that describe it.

    grid : The grid.
    dims : Names of the spatial dimensions.
    mapping : Name of the grid mapping coordinate.
    coords : Name to Variable: spatial coordinates and the grid mapping.
    """

    grid: GeoBox
    dims: Dims
    mapping: Hashable
    coords: dict[Hashable, Variable] = field(default_factory=dict)


def move_georeference(
    image: Image, dims: Dims, old: GeoBox, shift: tuple[float, float], record: dict[str, Any]
) -> Image:
    """Shift the georeference of an image; its pixels stay the same object."""
    transform = georef.translate(old.affine, *shift)
    out = image.copy(deep=False)
    name = _mapping_name(image)
    coords = _shift_coordinates(image, dims, transform, shift)
    coords[name] = _grid_mapping(_variable(image, name), old.crs, transform)
    if isinstance(out, Dataset) and name in out.data_vars:
        out = out.assign({name: coords.pop(name)})
    out = out.assign_coords(coords)
    for each in _arrays(out, dims):
        add_history(each, record)
        _name_mapping(each, name)
        _move_rpcs(each, old.affine, shift)
        if "transform" in each.attrs:
            each.attrs["transform"] = tuple(transform)[:6]
    _set_spatial_dims(out, dims)
    _copy_nodata(image, out)
    return out


def with_file_tags(image: Any) -> Any:
    """Give an image that was opened by rioxarray the metadata of its file, as :func:`xcoreg.open_raster` does."""
    unread = isinstance(image, DataArray) and "source" in image.encoding and "gdal" not in image.encoding
    return with_tags(image) if unread else image


def _move_rpcs(each: Any, affine: Affine, shift: tuple[float, float]) -> None:
    """Move the RPCs of an image with its transform: they map the ground to pixels."""
    found = each.encoding.get("gdal") or {}
    rpcs = found.get("tags", {}).get("RPC")
    if rpcs:
        dcol, drow = georef.vector_to_pixel(georef.linear_of(affine), *shift)
        each.encoding["gdal"] = found | {"tags": found["tags"] | {"RPC": shift_rpcs(rpcs, float(dcol), float(drow))}}


def _drop_rpcs(out: DataArray) -> None:
    """Drop what counts the old pixels: RPCs, with a warning, and the shape of the file."""
    found = dict(out.encoding.get("gdal") or {})
    if not found:
        return
    if found.get("tags", {}).get("RPC"):
        warn_user("the RPCs of the image belong to its old pixels: they are dropped, the transform georeferences it")
        found["tags"] = {name: tags for name, tags in found["tags"].items() if name != "RPC"}
    out.encoding["gdal"] = found | {"shape": None}


def wrap_on_grid(
    image: Image, dims: Dims, frame: Frame, pixels: dict[Hashable, DataArray], record: dict[str, Any]
) -> Image:
    """Put the new pixels of the bands and the output grid in place of those of an image."""
    stale = [name for name, coord in image.coords.items() if set(dims) & set(coord.dims)]
    old_mapping = _mapping_name(image)
    stale += [name for name in {old_mapping, frame.mapping} if name in image.coords]
    if isinstance(image, DataArray):
        return _wrap_band(image.drop_vars(stale), dims, frame, pixels[image.name], record)
    rest = image.drop_vars(stale)
    dropped = [name for name, each in rest.data_vars.items() if name not in pixels and set(dims) & set(each.dims)]
    dropped += [name for name in (old_mapping,) if name in rest.data_vars]
    new = {name: _wrap_band(rest[name], dims, frame, made, record) for name, made in pixels.items()}
    # Assigning in the old order keeps the order of the variables.
    out = rest.drop_vars([*pixels, *dropped]).assign(new)[[name for name in rest.data_vars if name not in dropped]]
    out = out.assign_coords(frame.coords)
    out.attrs, out.encoding = dict(image.attrs), _without(image.encoding, _FILE_ENCODING)
    add_history(out, record)
    _name_mapping(out, frame.mapping)
    _set_spatial_dims(out, frame.dims)
    return out


def frame_for(image: Image, dims: Dims, old: GeoBox, new: GeoBox) -> Frame:
    """Describe an output grid with the names and attributes of the image."""
    name = _mapping_name(image)
    same = georef.same_crs(old.crs, new.crs)
    degrees = georef.as_crs(new.crs).is_geographic
    alike = same or georef.as_crs(old.crs).is_geographic == degrees
    names = dims if alike else (("latitude", "longitude") if degrees else ("y", "x"))
    coords: dict[Hashable, Variable] = {}
    for centres, dim, old_dim in zip(_centres(new) or (), names, dims, strict=False):
        coord = _variable(image, old_dim) if alike else None
        coords[dim] = Variable((dim,), centres, {} if coord is None else coord.attrs)
    coords[name] = _grid_mapping(_variable(image, name) if same else None, new.crs, new.affine)
    return Frame(new, names, name, coords)


def frame_like(like: Image) -> Frame:
    """Take the grid, names and coordinates of another image."""
    dims = spatial_dims(like, "like")
    grid = grid_of(like, "like", dims)
    name = _mapping_name(like)
    coords: dict[Hashable, Variable] = {
        key: like.coords[key].variable
        for key in (*dims, "xc", "yc")
        if key in like.coords and set(like.coords[key].dims) <= set(dims)
    }
    coords[name] = _grid_mapping(_variable(like, name), grid.crs, grid.affine)
    return Frame(grid, dims, name, coords)


def _wrap_band(band: DataArray, dims: Dims, frame: Frame, made: DataArray, record: dict[str, Any]) -> DataArray:
    renamed = dict(zip(dims, frame.dims, strict=True))
    out = made.transpose(*(renamed.get(dim, dim) for dim in band.dims))
    out = out.assign_coords(band.coords).assign_coords(frame.coords)
    out.name = band.name
    out.encoding = _without(made.encoding, _FILE_ENCODING)
    _drop_rpcs(out)
    out.attrs.pop("transform", None)
    out.attrs.pop("crs", None)
    add_history(out, record)
    _name_mapping(out, frame.mapping)
    _set_spatial_dims(out, frame.dims)
    return out


def _shift_coordinates(
    image: Image, dims: Dims, transform: Affine, shift: tuple[float, float]
) -> dict[Hashable, Variable]:
    """Shifted coordinates: of each axis, and the two-dimensional ones of a rotated image."""
    dx, dy = shift
    coords: dict[Hashable, Variable] = {}
    for name, move in (("xc", dx), ("yc", dy)):
        old = _variable(image, name)
        if old is not None and old.dims == dims:
            coords[name] = Variable(old.dims, old.values + move, old.attrs, _without(old.encoding, _VALUE_ENCODING))
    shape = (image.sizes[dims[0]], image.sizes[dims[1]])
    axes = _centres(GeoBox(shape, Affine(*tuple(transform)[:6]), None))
    for dim, move, centres in zip(dims, (dy, dx), axes or (), strict=False):
        old = _variable(image, dim)
        if old is not None and move:
            coords[dim] = Variable((dim,), centres, old.attrs, _without(old.encoding, _VALUE_ENCODING))
    return coords


def _centres(grid: GeoBox) -> tuple[Any, Any] | None:
    """Coordinates (y, x) of the pixel centres along the axes; None for a rotated grid."""
    _, b, _, d = grid.affine[:4]
    if b or d:
        return None
    x, _ = georef.pixel_to_map(grid.affine, np.arange(grid.shape[1]), 0)
    _, y = georef.pixel_to_map(grid.affine, 0, np.arange(grid.shape[0]))
    return y, x


def _grid_mapping(old: Variable | None, crs: Any, transform: Any) -> Variable:
    """Grid mapping variable: the old one with another transform, or a new one."""
    c, a, b, f, d, e = (float(transform[at]) for at in (2, 0, 1, 5, 3, 4))
    text = " ".join(map(str, (c, a, b, f, d, e)))
    if old is not None and {"crs_wkt", "spatial_ref"} & set(old.attrs):
        return Variable(old.dims, old.values, {**old.attrs, "GeoTransform": text}, old.encoding)
    parsed = georef.as_crs(crs)
    wkt = parsed.to_wkt()
    return Variable((), 0, {**parsed.to_cf(), "crs_wkt": wkt, "spatial_ref": wkt, "GeoTransform": text})


def _mapping_name(image: Image) -> Hashable:
    try:
        name: Hashable = image.rio.grid_mapping
    except RioXarrayError:  # a Dataset with several
        name = "spatial_ref"
    return name


def _name_mapping(each: Image, name: Hashable) -> None:
    """Name the grid mapping in the attributes if it stands there already, else in the encoding."""
    if "grid_mapping" in each.attrs:
        each.attrs["grid_mapping"] = name
    else:
        each.encoding["grid_mapping"] = name


def _variable(image: Image, name: Hashable) -> Variable | None:
    if name in image.coords:
        return image.coords[name].variable
    return image.variables[name] if isinstance(image, Dataset) and name in image.variables else None


def _arrays(image: Image, dims: Dims) -> list[Any]:
    """List the image itself, and the spatial variables of a Dataset."""
    if isinstance(image, DataArray):
        return [image]
    return [image, *(each.variable for each in image.data_vars.values() if set(dims) <= set(each.dims))]


def add_history(each: Any, record: dict[str, Any]) -> None:
    """Append an entry to the history in the attribute `xcoreg`, a JSON list."""
    try:
        done = json.loads(each.attrs.get("xcoreg", "[]"))
    except (TypeError, ValueError):
        done = []
    each.attrs["xcoreg"] = json.dumps([*(done if isinstance(done, list) else []), record])


def _without(encoding: dict[Any, Any], keys: frozenset[str]) -> dict[Any, Any]:
    return {key: value for key, value in encoding.items() if key not in keys}


def _set_spatial_dims(out: Image, dims: Dims) -> None:
    """Set the spatial dimensions where rioxarray would not find them."""
    try:
        known = (out.rio.y_dim, out.rio.x_dim) == dims
    except RioXarrayError:
        known = False
    if not known:
        out.rio.set_spatial_dims(x_dim=dims[1], y_dim=dims[0], inplace=True)


def _copy_nodata(image: Image, out: Image) -> None:
    """Copy a nodata value that only rioxarray's accessor knows: a copy of the image would lose it."""
    if isinstance(image, DataArray) and isinstance(out, DataArray):
        nodata = stored_nodata(image)
        if nodata is not None and stored_nodata(out) is None:
            out.rio.set_nodata(nodata, inplace=True)
