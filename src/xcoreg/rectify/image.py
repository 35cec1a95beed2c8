"""From an image with control points, RPCs or corners to an image on a map grid."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
from xarray import DataArray, Dataset

from xcoreg import georef
from xcoreg.core.kernels import KERNELS
from xcoreg.errors import GridError, NoOverlap, NotGeoreferenced, OptionError
from xcoreg.georef.gcps import unrolled
from xcoreg.raster.bands import spatial_dims
from xcoreg.rectify.placing import as_ground, shape_of
from xcoreg.warp.apply_fit import Job, resampled
from xcoreg.warp.displacement import Grid
from xcoreg.warp.mapping import compose, outline
from xcoreg.warp.metadata import frame_like, frame_near, regridded

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xcoreg.georef import Ground

    Floats = NDArray[np.float64]

__all__ = ["GroundMove", "map_grid", "rectify"]

_Image = TypeVar("_Image", DataArray, Dataset)
_PIXELS = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)  # a grid whose map coordinates are corners of pixels
_ROUND_OFF = 1e-6  # px
_PLACE = {"gcps", "GeoTransform", "crs_wkt", "spatial_ref"}  # attributes of a grid mapping


@dataclass(frozen=True, eq=False)
class GroundMove:
    """A ground as the displacement from pixel coordinates to the map: what `compose` takes in place of a correction.

    Parameters
    ----------
    ground : Ground
    middle : float, optional
        Longitude of the middle of the image: the ground is asked in the turn around it.
    """

    ground: Any
    middle: float | None = None
    constant: None = None

    def __dask_tokenize__(self) -> Any:
        from pickle import dumps

        tell = getattr(self.ground, "__dask_tokenize__", None)
        told = tell() if tell is not None else dumps(self.ground)
        return ("xcoreg.GroundMove", told, self.middle)

    def at(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Displacement of pixel corner coordinates (x, y) to the map."""
        to_x, to_y = self.ground.to_map(*georef.map_to_pixel(_PIXELS, x, y))
        return to_x - x, to_y - y

    def undo(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Pixel corner coordinates of map coordinates."""
        if self.middle is not None:
            x = georef.in_turn(self.ground.crs, x, self.middle)
        return georef.pixel_to_map(_PIXELS, *self.ground.to_pixel(x, y))


def rectify(
    image: _Image,
    ground: Any = None,
    *,
    like: Any = None,
    crs: Any = None,
    resolution: float | tuple[float, float] | None = None,
    resampling: str = "cubic",
    nodata: float | None = None,
    height: float = 0.0,
) -> _Image:
    """Bring an image known by control points, RPCs or corners onto a map grid, in one interpolation.

    Parameters
    ----------
    image : DataArray or Dataset
        dask arrays stay lazy.
    ground : optional
        Where the image lies: GCPs, a :class:`xcoreg.georef.GCPFit` (to choose the model), an RPC of rasterio,
        :class:`xcoreg.georef.Corners`, a path of control points. Default: what the image carries.
    like : DataArray, Dataset or GeoBox, optional
        Rectify to exactly this grid.
    crs : CRS in any spelling, optional
        Of the output, in place of `like`; default: that of the ground.
    resolution : float or (float, float), optional
        Pixel size (x, y), units of `crs`; default: squares of the size of the image's pixels at its middle.
    resampling : {"nearest", "bilinear", "cubic", "lanczos"}
        As for :func:`xcoreg.apply`.
    nodata : float, optional
        Marks missing pixels; default: the stored marker.
    height : float
        Of the ground over the ellipsoid, m, for RPCs.

    Returns
    -------
    DataArray or Dataset
        North up; pixel edges at multiples of the pixel size, unless `like` says otherwise.

    Raises
    ------
    NotGeoreferenced
        When nothing tells where the image lies, or in which CRS.
    OptionError
        For options that do not go together.
    NoOverlap
        When no pixel of the output falls on the image.
    """
    if resampling not in KERNELS:
        raise OptionError(f"resampling={resampling!r} is unknown: choose one of {', '.join(KERNELS)}")
    if like is not None and (crs is not None or resolution is not None):
        raise OptionError("like= and crs=, resolution= each choose the output grid: give one of them")
    found = as_ground(ground, image, height)
    if found.crs is None:
        raise NotGeoreferenced("the ground has no CRS: give it, gcps.with_crs('EPSG:...')")
    dims, shape = spatial_dims(image, "the image"), shape_of(image)
    source = Grid(_PIXELS, shape, georef.as_crs(found.crs).to_wkt())
    if isinstance(like, DataArray | Dataset):
        frame = frame_like(like)
    else:
        grid = Grid.of(like) if like is not None else map_grid(found, shape, crs, resolution)
        frame = frame_near(_bare(image), dims, source, grid)
    mapping = compose(frame.grid, source, cast("Any", _move(found, shape)))
    if mapping is None:
        raise NoOverlap("no pixel of the output falls on the image: look at both with xcoreg info")
    job = Job(mapping, frame, resampling, nodata)
    told = getattr(found, "told", {"model": getattr(found, "model", type(found).__name__)})
    record = {"did": f"rectified ({resampling})", "by": "xcoreg", **told}
    return cast("_Image", regridded(_bare(image), dims, frame, partial(resampled, job=job), record))


def _move(ground: Any, shape: tuple[int, int]) -> GroundMove:
    """See a ground as a displacement, asked in the turn of longitudes that the middle of the image lies in."""
    middle = float(ground.to_map((shape[1] - 1) / 2, (shape[0] - 1) / 2)[0])
    return GroundMove(ground, middle if math.isfinite(middle) else None)


def _bare(image: Any) -> Any:
    """Take off what tells the place of the old pixels: control points, transform, and the CRS of either."""
    out = image.copy(deep=False)
    for name, coord in image.coords.items():
        if _PLACE & set(coord.attrs):
            attrs = {key: value for key, value in coord.attrs.items() if key not in _PLACE}
            out = out.assign_coords({name: coord.variable.copy(deep=False)})
            out.coords[name].attrs = attrs
    return out


def map_grid(
    ground: Ground,
    shape: tuple[int, int],
    crs: Any = None,
    resolution: float | tuple[float, float] | None = None,
    anchor: tuple[float, float] = (0.0, 0.0),
) -> Grid:
    """Choose a map grid for an image.

    Parameters
    ----------
    ground : Ground
        Where the image lies.
    shape : (rows, columns)
        Of the image.
    crs : CRS in any spelling, optional
        Default: that of the ground.
    resolution : float or (float, float), optional
        Pixel size (x, y), units of `crs`.
    anchor : (float, float)
        A corner of its lattice (x, y).

    Returns
    -------
    Grid
        North up, reaching outwards to whole pixels, its pixel edges at multiples of the pixel size from the anchor.

    Raises
    ------
    OptionError
        When the resolution is not positive.
    GridError
        When the image has no place in the CRS.

    Examples
    --------
    >>> from affine import Affine
    >>> ground = georef.AffineGround(Affine(0, 10, 500, -10, 0, 900), "EPSG:32633")
    >>> map_grid(ground, (20, 40)).transform, map_grid(ground, (20, 40)).shape
    ((10.0, 0.0, 500.0, 0.0, -10.0, 900.0), (40, 20))
    """
    goal = georef.as_crs(ground.crs if crs is None else crs)
    row, col = outline(shape, 65)
    x, y = _in_crs(ground, goal, col, row)
    known = np.isfinite(x) & np.isfinite(y)
    if not known.any():
        raise GridError(f"no pixel of the image has a place in {goal.name!r}")
    x, y = x[known], y[known]
    size = _pixel_size(ground, goal, shape) if resolution is None else np.broadcast_to(resolution, (2,))
    if not (np.isfinite(size).all() and (np.asarray(size) > 0).all()):
        raise OptionError(f"resolution={resolution!r} must be a positive pixel size, or two of them (x, y)")
    by_x, by_y = float(size[0]), float(size[1])
    (first, n_cols), (last, n_rows) = _whole((x - anchor[0]) / by_x), _whole((anchor[1] - y) / by_y)
    transform = (by_x, 0.0, anchor[0] + first * by_x, 0.0, -by_y, anchor[1] - last * by_y)
    return Grid(transform, (n_rows, n_cols), goal.to_wkt())


def _in_crs(ground: Ground, goal: Any, col: Floats, row: Floats) -> tuple[Floats, Floats]:
    x, y = georef.transform_points(ground.crs, goal, *ground.to_map(col, row))
    full = georef.full_turn(goal)
    if full is not None:
        known = np.isfinite(x)
        x[known] = unrolled(x[known], full)
    return x, y


def _pixel_size(ground: Ground, goal: Any, shape: tuple[int, int]) -> Floats:
    """Side of a square with the area of a pixel in the middle of the image."""
    row, col = (shape[0] - 1) / 2, (shape[1] - 1) / 2
    x, y = _in_crs(ground, goal, col + np.array([-0.5, 0.5, 0, 0]), row + np.array([0, 0, -0.5, 0.5]))
    area = abs((x[1] - x[0]) * (y[3] - y[2]) - (x[3] - x[2]) * (y[1] - y[0]))
    if not (np.isfinite(area) and area > 0):
        raise GridError("the middle of the image has no size on the map: give resolution=")
    return np.full(2, math.sqrt(area))


def _whole(edges: Floats) -> tuple[int, int]:
    low = math.floor(float(edges.min()) + _ROUND_OFF)
    return low, max(math.ceil(float(edges.max()) - _ROUND_OFF) - low, 1)
