"""What an image carries besides its pixels: coordinates, grid mapping, attributes, encoding, history."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from affine import Affine
from odc.geo.geobox import GeoBox
from rioxarray.exceptions import RioXarrayError
from xarray import Coordinates, DataArray, Dataset, Variable

from xcoreg import georef
from xcoreg.errors import warn_user
from xcoreg.io.tags import shift_rpcs, with_tags, without_rpcs
from xcoreg.raster.bands import spatial_dims
from xcoreg.raster.georeference import PLACE_ATTRS, indexes_of, mapping_name, mapping_names, moved_attrs, variable_of
from xcoreg.raster.grid import centres_of, grid_mapping, grid_of
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
    out: Any = image.copy(deep=False)
    names, indexes = mapping_names(image, dims, old.crs), indexes_of(image, dims)
    place: Any = image.coords if isinstance(image, DataArray) else image
    coords: dict[Hashable, Variable] = {}
    for name in names.values():
        coords[name] = grid_mapping(place.get(name), old.crs, transform)
    if indexes[0] is None:
        axes = centres_of(GeoBox(old.shape, Affine(*tuple(transform)[:6]), None))
        coords |= _shift_coordinates(image, dims, axes, shift)
    if isinstance(out, Dataset):
        out = out.assign({name: coords.pop(name) for name in set(names.values()) & set(out.data_vars)})
    out = out.assign_coords(coords)
    for key, each in _arrays(out, dims).items():
        add_history(each, record)
        _name_mapping(each, names[key])
        _move_rpcs(each, old.affine, shift)
        if PLACE_ATTRS & each.attrs.keys():
            each.attrs = moved_attrs(each.attrs, transform)
    out = _with_indexes(out, indexes, Frame(GeoBox(old.shape, transform, old.crs), dims, names[None]))
    _set_spatial_dims(out, dims)
    _copy_nodata(image, out)
    return cast("Image", out)


def _with_indexes(out: Any, indexes: tuple[Any, dict[Hashable, Any]], frame: Frame) -> Any:
    """Give an output the kinds of indexes that its image came with: those of rasterix and xproj."""
    old, systems = indexes
    if old is None and not systems:
        return out
    grid, crs = frame.grid, georef.as_crs(frame.grid.crs)
    if old is not None:
        (rows, cols), (y_dim, x_dim) = grid.shape.yx, map(str, frame.dims)
        sizes = {"width": cols, "height": rows, "x_dim": x_dim, "y_dim": y_dim}
        index = type(old).from_transform(grid.affine, **sizes, crs=None if old.crs is None else crs)
        coords = Coordinates.from_xindex(index)
        for name in set(coords) & set(out.coords):
            coords[name].attrs = dict(out.coords[name].attrs)
        out = out.drop_vars(set(coords) & set(out.coords)).assign_coords(coords)
    for old_name, one in systems.items():
        name = old_name if old_name in out.coords else frame.mapping
        if name in out.coords:
            out = out.drop_indexes(name, errors="ignore").set_xindex([name], type(one), crs=crs)
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
        found = without_rpcs(found)
    out.encoding["gdal"] = found | {"shape": None}


def wrap_on_grid(
    image: Image, dims: Dims, frame: Frame, pixels: dict[Hashable, DataArray], record: dict[str, Any]
) -> Image:
    """Put the new pixels of the bands and the output grid in place of those of an image."""
    indexes = indexes_of(image, dims)
    stale = [name for name, coord in image.coords.items() if set(dims) & set(coord.dims)]
    bands = [image] if isinstance(image, DataArray) else [variable_of(image, name) for name in pixels]
    old_mappings = {mapping_name(band) for band in bands}
    stale += [name for name in {*old_mappings, frame.mapping} if name in image.coords]
    out: Any
    if isinstance(image, DataArray):
        out = _wrap_band(image.drop_vars(stale), dims, frame, pixels[image.name], record)
        return cast("Image", _with_indexes(out, indexes, frame))
    rest = image.drop_vars(stale)
    dropped = [name for name, each in rest.data_vars.items() if name not in pixels and set(dims) & set(each.dims)]
    dropped += [name for name in old_mappings if name in rest.data_vars]
    new = {name: _wrap_band(rest[name], dims, frame, made, record) for name, made in pixels.items()}
    # Assigning in the old order keeps the order of the variables.
    out = rest.drop_vars([*pixels, *dropped]).assign(new)[[name for name in rest.data_vars if name not in dropped]]
    out = out.assign_coords(frame.coords)
    out.attrs, out.encoding = _without(image.attrs, PLACE_ATTRS), _without(image.encoding, _FILE_ENCODING)
    add_history(out, record)
    _name_mapping(out, frame.mapping)
    out = _with_indexes(out, indexes, frame)
    _set_spatial_dims(out, frame.dims)
    return cast("Image", out)


def frame_for(image: Image, dims: Dims, old: GeoBox, new: GeoBox) -> Frame:
    """Describe an output grid with the names and attributes of the image."""
    name = mapping_name(image)
    same = georef.same_crs(old.crs, new.crs)
    degrees = georef.as_crs(new.crs).is_geographic
    alike = same or georef.as_crs(old.crs).is_geographic == degrees
    names = dims if alike else (("latitude", "longitude") if degrees else ("y", "x"))
    coords: dict[Hashable, Variable] = {}
    for centres, dim, old_dim in zip(centres_of(new) or (), names, dims, strict=False):
        coord = _variable(image, old_dim) if alike else None
        coords[dim] = Variable((dim,), centres, {} if coord is None else coord.attrs)
    coords[name] = grid_mapping(_variable(image, name) if same else None, new.crs, new.affine)
    return Frame(new, names, name, coords)


def frame_like(like: Image) -> Frame:
    """Take the grid, names and coordinates of another image."""
    dims = spatial_dims(like, "like")
    grid = grid_of(like, "like", dims)
    name = mapping_name(like)
    coords: dict[Hashable, Variable] = {
        key: like.coords[key].variable
        for key in (*dims, "xc", "yc")
        if key in like.coords and set(like.coords[key].dims) <= set(dims)
    }
    coords[name] = grid_mapping(_variable(like, name), grid.crs, grid.affine)
    return Frame(grid, dims, name, coords)


def _wrap_band(band: DataArray, dims: Dims, frame: Frame, made: DataArray, record: dict[str, Any]) -> DataArray:
    renamed = dict(zip(dims, frame.dims, strict=True))
    out = made.transpose(*(renamed.get(dim, dim) for dim in band.dims))
    out = out.assign_coords(band.coords).assign_coords(frame.coords)
    out.name = band.name
    out.encoding = _without(made.encoding, _FILE_ENCODING)
    _drop_rpcs(out)
    out.attrs = _without(out.attrs, PLACE_ATTRS)
    add_history(out, record)
    _name_mapping(out, frame.mapping)
    _set_spatial_dims(out, frame.dims)
    return out


def _shift_coordinates(
    image: Image, dims: Dims, axes: tuple[Any, Any] | None, shift: tuple[float, float]
) -> dict[Hashable, Variable]:
    """Shifted coordinates: of each axis, and the two-dimensional ones of a rotated image."""
    dx, dy = shift
    coords: dict[Hashable, Variable] = {}
    for name, move in (("xc", dx), ("yc", dy)):
        old = _variable(image, name)
        if old is not None and old.dims == dims:
            coords[name] = Variable(old.dims, old.values + move, old.attrs, _without(old.encoding, _VALUE_ENCODING))
    for dim, move, centres in zip(dims, (dy, dx), axes or (), strict=False):
        old = _variable(image, dim)
        if old is not None and move:
            coords[dim] = Variable((dim,), centres, old.attrs, _without(old.encoding, _VALUE_ENCODING))
    return coords


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


def _arrays(image: Image, dims: Dims) -> dict[Hashable | None, Any]:
    """Give the image itself (None), and the spatial variables of a Dataset."""
    found: dict[Hashable | None, Any] = {None: image}
    if isinstance(image, Dataset):
        found |= {key: one.variable for key, one in image.data_vars.items() if set(dims) <= set(one.dims)}
    return found


def add_history(each: Any, record: dict[str, Any]) -> None:
    """Append an entry to the history in the attribute `xcoreg`, a JSON list."""
    try:
        done = json.loads(each.attrs.get("xcoreg", "[]"))
    except (TypeError, ValueError, RecursionError):
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
