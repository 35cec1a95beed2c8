"""Rectification: an image with control points, RPCs or corners resampled onto a map grid, with or without a correction.

Its ground (:mod:`xcoreg.georef.ground`) is given, or read from the image: transform, control points or RPCs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pickle import dumps
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox
from xarray import DataArray, Dataset

from xcoreg import georef
from xcoreg.core import Floats
from xcoreg.errors import GridError, NoOverlap, NotGeoreferenced, OptionError, warn_user
from xcoreg.georef import GCPFit, TerrainGround
from xcoreg.georef.gcps import unrolled
from xcoreg.io.read import chunk_unread
from xcoreg.io.tags import without_rpcs
from xcoreg.io.terrain import over_terrain
from xcoreg.lazy import token
from xcoreg.raster.bands import arrays_of, is_chunked, shape_of, spatial_dims
from xcoreg.raster.geolocation import find_arrays
from xcoreg.raster.grid import check_size, grid_of, needs_rectifying
from xcoreg.results.coregistration import Coregistration, version_of
from xcoreg.warp.apply import check_fit, check_use, describe_correction, resample_image
from xcoreg.warp.ground import as_ground
from xcoreg.warp.mapping import as_geobox, outline, pixel_size, pixel_span, reference_grid
from xcoreg.warp.metadata import frame_for, frame_like
from xcoreg.warp.plan import ApplyOptions, Displacement, WarpPlan, check_resampling
from xcoreg.warp.terrain import mapping_of

if TYPE_CHECKING:
    from xcoreg.georef import Ground


_Image = TypeVar("_Image", bound=DataArray | Dataset)
_PIXELS = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)  # the transform whose map coordinates are pixel corners
_ROUND_OFF = 1e-6  # px
_GEOREFERENCE_ATTRS = {"gcps", "GeoTransform", "crs_wkt", "spatial_ref"}  # attributes of a grid mapping


@dataclass(frozen=True, eq=False)
class GroundMapping:
    """A ground as the displacement from pixel coordinates to the map, for `compose` in place of a correction.

    middle : Longitude of the middle of the image: others are wrapped to within half a turn of it.
    """

    ground: Any
    middle: float | None = None
    constant: None = None

    def __dask_tokenize__(self) -> Any:
        tokenize = getattr(self.ground, "__dask_tokenize__", None)
        identity = tokenize() if tokenize is not None else dumps(self.ground)
        return ("xcoreg.GroundMapping", identity, self.middle)

    def at(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Displacement of pixel corner coordinates (x, y) to the map."""
        to_x, to_y = self.ground.to_map(*georef.map_to_pixel(_PIXELS, x, y))
        return to_x - x, to_y - y

    def invert(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Pixel corner coordinates of map coordinates."""
        if self.middle is not None:
            x = georef.wrap_longitude(self.ground.crs, x, self.middle)
        return georef.pixel_to_map(_PIXELS, *self.ground.to_pixel(x, y))


def rectify(  # noqa: PLR0913 - the image, its georeference, its terrain and the output
    image: _Image,
    ground: Any = None,
    *,
    like: Any = None,
    crs: Any = None,
    resolution: float | tuple[float, float] | None = None,
    resampling: str = "auto",
    nodata: float | None = None,
    height: float = 0.0,
    dem: Any = None,
    vertical_datum: Any = None,
    drop_hidden: bool = False,
) -> _Image:
    """Bring an image known by control points, RPCs or corners onto a map grid, in one interpolation."""
    check_resampling(resampling)
    if like is not None and (crs is not None or resolution is not None):
        raise OptionError("like= and crs=, resolution= each choose the output grid: give one of them")
    dims, shape = spatial_dims(image, "the image"), shape_of(image)
    found = over_terrain(as_ground(ground, image, height), shape, dem, vertical_datum)
    if found.crs is None:
        raise NotGeoreferenced("the ground has no CRS: give it, gcps.with_crs('EPSG:...')")
    if drop_hidden and not isinstance(found, TerrainGround):
        raise OptionError("drop_hidden= leaves out what terrain hides: give the terrain, dem=")
    _warn_of_folds(found, shape)
    image, dims = _plain_pixels(image, dims)
    source = GeoBox(shape, Affine(*_PIXELS), georef.as_crs(found.crs))
    grid = map_grid(found, shape, crs, resolution) if like is None else as_geobox(like, "like")
    check_size(grid.shape.yx, shape, asked=True, lazy=is_chunked(image))
    frame = frame_like(like) if isinstance(like, DataArray | Dataset) else frame_for(image, dims, source, grid)
    mapping = mapping_of(frame.grid, source, _ground_mapping(found, shape), drop_hidden)
    if mapping is None:
        raise NoOverlap("no pixel of the output falls on the image: compare both with xcoreg info")
    plan = WarpPlan(mapping, frame, resampling, nodata)
    source_record = getattr(found, "history", {"model": getattr(found, "model", type(found).__name__)})
    record = {"did": "rectified", "by": f"xcoreg {version_of('xcoreg')}", **source_record}
    return cast("_Image", resample_image(image, dims, plan, record))


def _warn_of_folds(ground: Any, shape: tuple[int, int]) -> None:
    """Warn where a map through control points folds beyond these."""
    if not isinstance(ground, GCPFit):
        return
    row, col = outline(shape)
    with np.errstate(invalid="ignore", over="ignore"):
        a, b, d, e = ground.linear_at(col, row)
        sense = np.sign(a * e - b * d)
    share = float(np.mean(sense * np.sign(np.nansum(sense)) < 0))
    if share > 0:
        warn_user(
            f"the map ({ground.model}) through the control points folds over itself on about {share:.1%} of the image, "
            "beyond the points: add points there, or take a simpler model"
        )


def _ground_mapping(ground: Any, shape: tuple[int, int]) -> GroundMapping:
    """Make a displacement of a ground, with longitudes near the middle of the image."""
    middle = float(ground.to_map((shape[1] - 1) / 2, (shape[0] - 1) / 2)[0])
    return GroundMapping(ground, middle if math.isfinite(middle) else None)


def _plain_pixels(image: Any, dims: tuple[Any, Any]) -> tuple[Any, tuple[Any, Any]]:
    """Drop the georeference of the old pixels; dimensions that only geolocation arrays name become y and x."""
    out = image.copy(deep=False)
    for each in arrays_of(out):
        if each.encoding.get("gdal"):
            each.encoding["gdal"] = without_rpcs(each.encoding["gdal"])
    arrays = find_arrays(image)
    if arrays is not None:
        out = out.drop_vars(arrays)
        if set(dims).isdisjoint(("y", "x", "latitude", "longitude")):
            names = dict(zip(dims, ("y", "x"), strict=True))
            return out.drop_vars(["y", "x"], errors="ignore").rename(names), ("y", "x")
    for name, coord in out.coords.items():
        if _GEOREFERENCE_ATTRS & set(coord.attrs):
            attrs = {key: value for key, value in coord.attrs.items() if key not in _GEOREFERENCE_ATTRS}
            out = out.assign_coords({name: coord.variable.copy(deep=False)})
            out.coords[name].attrs = attrs
    return out, dims


def map_grid(
    ground: Ground,
    shape: tuple[int, int],
    crs: Any = None,
    resolution: float | tuple[float, float] | None = None,
    anchor: tuple[float, float] = (0.0, 0.0),
) -> GeoBox:
    """Choose a north-up map grid over an image: shape (rows, columns)."""
    goal = georef.as_crs(ground.crs if crs is None else crs)
    row, col = outline(shape, 65)
    x, y = _in_crs(ground, goal, col, row)
    known = np.isfinite(x) & np.isfinite(y)
    if not known.all():  # the edge of what is known may pass between coarse places
        row, col = outline(shape, min(max(shape) + 1, 1025))
        x, y = _in_crs(ground, goal, col, row)
        known = np.isfinite(x) & np.isfinite(y)
    if not known.any():
        raise GridError(f"no pixel of the image has a place in {goal.name!r}")
    x, y = x[known], y[known]
    size = _pixel_size(ground, goal, shape) if resolution is None else pixel_size(resolution)
    if not (np.isfinite(size).all() and (np.asarray(size) > 0).all()):
        raise GridError(f"the pixels of the image have no size in {goal.name!r}")
    by_x, by_y = float(size[0]), float(size[1])
    first, n_cols = pixel_span((x - anchor[0]) / by_x, _ROUND_OFF)
    last, n_rows = pixel_span((anchor[1] - y) / by_y, _ROUND_OFF)
    transform = (by_x, 0.0, anchor[0] + first * by_x, 0.0, -by_y, anchor[1] - last * by_y)
    if resolution is None:
        check_size((n_rows, n_cols), shape)
    return GeoBox((n_rows, n_cols), Affine(*transform), goal)


def _in_crs(ground: Ground, goal: Any, col: Floats, row: Floats) -> tuple[Floats, Floats]:
    x, y = georef.transform_points(ground.crs, goal, *ground.to_map(col, row))
    full = georef.longitude_period(goal)
    if full is not None:
        known = np.isfinite(x)
        x[known] = unrolled(x[known], full)
    return x, y


def _pixel_size(ground: Ground, goal: Any, shape: tuple[int, int]) -> Floats:
    """Side (twice) of a square with the area of a pixel in the middle; of a usual one where that has no place."""
    middle = np.array([(shape[0] - 1) / 2]), np.array([(shape[1] - 1) / 2])
    for row, col in (middle, outline(shape)):
        across, down = np.array([[-0.5], [0.5], [0.0], [0.0]]), np.array([[0.0], [0.0], [-0.5], [0.5]])
        x, y = _in_crs(ground, goal, col + across, row + down)
        area = np.abs((x[1] - x[0]) * (y[3] - y[2]) - (x[3] - x[2]) * (y[1] - y[0]))
        known = area[np.isfinite(area) & (area > 0)]
        if known.size:
            return np.full(2, math.sqrt(np.median(known)))
    raise GridError("the size of the pixels on the map is unknown: give resolution=")


@dataclass(frozen=True, eq=False)
class CorrectedGround:
    """A ground with a correction on top, in the CRS of the correction.

    move : Added to the coordinates that the ground gives a pixel; in its own CRS.
    record : Of the correction, for the history of an image.
    """

    ground: Any
    move: Displacement
    record: dict[str, Any] = field(default_factory=dict)

    def __dask_tokenize__(self) -> Any:
        return ("xcoreg.CorrectedGround", GroundMapping(self.ground).__dask_tokenize__(), token(self.move))

    @property
    def crs(self) -> Any:
        """That of the correction."""
        return georef.as_crs(self.move.crs)

    @property
    def history(self) -> dict[str, Any]:
        """Entry in the history of an image."""
        name = getattr(self.ground, "model", type(self.ground).__name__)
        return self.record | {"model": name, "correction": getattr(self.move.model, "kind", None)}

    def to_map(self, col: Any, row: Any) -> tuple[Floats, Floats]:
        """Ground coordinates of pixel positions."""
        x, y = georef.transform_points(self.ground.crs, self.crs, *self.ground.to_map(col, row))
        dx, dy = self.move.at(x, y)
        return x + dx, y + dy

    def to_pixel(self, x: Any, y: Any) -> tuple[Floats, Floats]:
        """Pixel positions of ground coordinates."""
        before = georef.transform_points(self.crs, self.ground.crs, *self.move.invert(x, y))
        return self.ground.to_pixel(*before)  # type: ignore[no-any-return]


def rectified_to(
    image: _Image, reference: Any, ground: Any = None, *, nodata: float | None = None, resampling: str = "auto"
) -> _Image:
    """Rectify an image into the CRS of a reference, to be matched there, unless it has a transform.

    Pixels that are still in a file are rectified when they are needed: a match reads a few windows of one band.
    """
    if ground is None and not needs_rectifying(image):
        return image
    is_image = isinstance(reference, DataArray | Dataset)
    crs = grid_of(reference, "the reference").crs if is_image else getattr(reference, "crs", None)
    chunked: _Image = chunk_unread(image)
    return rectify(chunked, as_ground(ground, image), crs=crs, nodata=nodata, resampling=resampling)


def rectify_by(image: _Image, fit: Coregistration, ground: Any = None, **options: Any) -> _Image:
    """Rectify an image and correct it by a fit, in one interpolation."""
    checked = ApplyOptions.checked(options)
    check_fit(fit)
    if not fit.crs_wkt:
        raise NotGeoreferenced("the fit has no CRS: give the image a transform first")
    if checked.vertical not in (None, False) or (checked.vertical is None and fit.has_dz):
        raise OptionError(
            "heights are corrected in images that have a transform: da.coreg.rectify(like=...).coreg.apply(fit), or "
            "leave them as they are, vertical=False"
        )
    frame = GeoBox(fit.shape, Affine(*fit.transform), georef.as_crs(fit.crs_wkt))
    found, move = as_ground(ground, image), Displacement.of(fit.model, frame.crs, frame)
    if not checked.force:
        check_use(image, fit, found, fit.contradiction(image))
    corrected = CorrectedGround(found, move, describe_correction(fit, move))
    like = _corrected_grid(corrected, image, fit, checked) if checked.like is None else checked.like
    return rectify(image, corrected, like=like, resampling=checked.resampling, nodata=checked.nodata)


def _corrected_grid(
    corrected: CorrectedGround, image: DataArray | Dataset, fit: Coregistration, options: ApplyOptions
) -> GeoBox:
    """Grid over the corrected image, on the lattice of the reference where that is asked for."""
    anchor = (0.0, 0.0)
    if options.is_aligned:
        ref = reference_grid(fit.details.ref_grid, options.ref_grid)
        anchor = (ref.affine.c, ref.affine.f) if georef.same_crs(ref.crs, corrected.crs) else anchor
    return map_grid(corrected, shape_of(image), corrected.crs, options.resolution, anchor)
