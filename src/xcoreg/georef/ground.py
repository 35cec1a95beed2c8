"""Georeferences of an image (affine, four corners), fast grid approximations of them, and geotransforms.

A *ground* is anything with a `crs`, `to_map(col, row)` and `to_pixel(x, y)`; :class:`xcoreg.georef.GCPFit` is one. The
approximation is a cubic spline over a grid of exact positions, used where it is accurate enough.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
from affine import Affine
from pyproj import CRS
from scipy import ndimage

from xcoreg.core import Floats
from xcoreg.errors import OptionError, numbers_of
from xcoreg.georef.crs import as_crs, longitude_period, parse_crs, transform_points, wrap_longitude
from xcoreg.georef.transform import map_to_pixel, pixel_to_map

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike

    PointMap: TypeAlias = "Callable[[Floats, Floats], tuple[Floats, Floats]]"
    Box: TypeAlias = "tuple[float, float, float, float]"
    Point: TypeAlias = "tuple[float, float]"

#: Largest error of an approximate position, px.
TOLERANCE = 2e-3

_ROUGH = 0.5  # of the left-out error of control points: largest error of the finest grid, if its RMS is small
_NODES = (32, 96, 256, 512)
_PAD = 8  # nodes beyond the image: the effect of its boundary on a cubic spline falls by a factor of 4 with each
_CHECKED = 2000


def approximate_to_pixel(ground: Ground, shape: tuple[int, int], crs: Any = None) -> PointMap:
    """Approximate `ground.to_pixel` by a grid where that is accurate; else return it: shape (rows, columns)."""
    reprojected: Any = ground if crs is None else _Reprojected(ground, crs)
    exact: PointMap = reprojected.to_pixel
    at = np.random.default_rng(0).uniform(-0.5, [[shape[1] - 0.5], [shape[0] - 0.5]], (2, _CHECKED))
    x, y = reprojected.to_map(*np.concatenate([at, _edge_points(shape)], axis=1))
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return exact
    x = wrap_longitude(reprojected.crs, x, x[0])
    box = (float(x.min()), float(x.max()), float(y.min()), float(y.max()))
    x, y = x[:_CHECKED], y[:_CHECKED]
    spline: _GridSpline | None = None
    for nodes in _NODES:
        spline = _GridSpline(box, nodes, exact if spline is None else partial(_newton_step, spline, reprojected))
        fast = partial(_interpolated, spline, exact, reprojected.crs)
        if not spline.known:
            return exact
        if _is_accurate(np.stack(fast(x, y)) - at, ground, nodes):
            return fast
    return exact


def _edge_points(shape: tuple[int, int]) -> Floats:
    """Columns and rows (2, n) along the edge of an image."""
    along = np.linspace(-0.5, 0.5, 129)
    side = np.full(along.shape, 0.5)
    square = np.concatenate([[along, side], [along, -side], [side, along], [-side, along]], axis=1)
    centre = np.array([[shape[1] - 1.0], [shape[0] - 1.0]]) / 2
    return np.asarray(centre + square * [[shape[1]], [shape[0]]])


def _is_accurate(errors: Floats, ground: Ground, nodes: int) -> bool:
    """Whether errors (2, n) of a grid, px, are below the tolerance, or small beside those of the control points."""
    left_out = getattr(ground, "left_out", None)
    rough = 0.0 if left_out is None or nodes < _NODES[-1] else _ROUGH * np.nan_to_num(left_out.rmse_px)
    largest, usual = float(np.abs(errors).max()), float(np.sqrt(np.mean(errors * errors)))
    return largest < TOLERANCE or (usual < TOLERANCE and largest < rough)


def approximate_to_map(ground: Ground, shape: tuple[int, int], crs: Any = None) -> PointMap:
    """Approximate `ground.to_map` by a grid where that is accurate; else return it."""
    reprojected: Any = ground if crs is None else _Reprojected(ground, crs)
    exact: PointMap = reprojected.to_map
    at = np.random.default_rng(0).uniform(-0.5, [[shape[1] - 0.5], [shape[0] - 0.5]], (2, _CHECKED))
    right, down = at + np.array([[1.0], [0.0]]), at + np.array([[0.0], [1.0]])
    here, *steps = (np.stack(exact(*places)) for places in (at, right, down))
    full = longitude_period(reprojected.crs)
    if not np.isfinite([here, *steps]).all() or (full is not None and np.ptp(here[0]) > full / 2):
        return exact
    pixel = min(float(np.median(np.hypot(*(step - here)))) for step in steps)
    box = (-0.5, shape[1] - 0.5, -0.5, shape[0] - 0.5)
    for nodes in _NODES:
        spline = _GridSpline(box, nodes, exact)
        fast = partial(_interpolated, spline, exact, None)
        if spline.known and _is_accurate((np.stack(fast(*at)) - here) / pixel, ground, nodes):
            return fast
    return exact


@dataclass(frozen=True)
class _Reprojected:
    """A ground in another CRS."""

    ground: Ground
    crs: Any

    def to_map(self, col: Floats, row: Floats) -> tuple[Floats, Floats]:
        return transform_points(self.ground.crs, self.crs, *self.ground.to_map(col, row))

    def to_pixel(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        return self.ground.to_pixel(*transform_points(self.crs, self.ground.crs, x, y))


class _GridSpline:
    """A cubic spline over a grid of pairs of values, some nodes wider than its box."""

    def __init__(self, box: Box, nodes: int, exact: PointMap) -> None:
        self.box = box
        self.step = ((box[1] - box[0]) / (nodes - 1), (box[3] - box[2]) / (nodes - 1))
        numbers = np.arange(-_PAD, nodes + _PAD)
        with np.errstate(all="ignore"):
            found = exact(*np.meshgrid(box[0] + self.step[0] * numbers, box[2] + self.step[1] * numbers))
        self.known = bool(np.isfinite(found).all())
        self.coefs = [ndimage.spline_filter(each) for each in found] if self.known else []

    def at(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Both values at positions."""
        at = [(y - self.box[2]) / self.step[1] + _PAD, (x - self.box[0]) / self.step[0] + _PAD]
        one, two = (ndimage.map_coordinates(coefs, at, order=3, prefilter=False) for coefs in self.coefs)
        return one, two


def _interpolated(spline: _GridSpline, exact: PointMap, crs: Any, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Values of the grid within its box, exact ones beyond."""
    west, east, south, north = spline.box
    x = wrap_longitude(crs, x, (west + east) / 2)
    near = (x >= west) & (x <= east) & (y >= south) & (y <= north)
    if near.all():
        return spline.at(x, y)
    one, two = np.empty(x.shape), np.empty(x.shape)
    one[near], two[near] = spline.at(x[near], y[near])
    one[~near], two[~near] = exact(x[~near], y[~near])
    return one, two


def _newton_step(spline: _GridSpline, ground: Ground, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Improve the pixels of a grid by one Newton step, with the slope of the grid."""
    col, row = spline.at(x, y)
    to_x, to_y = ground.to_map(col, row)
    by_x, by_y = x - wrap_longitude(ground.crs, to_x, x), y - to_y
    dx, dy = spline.step[0] / 8, spline.step[1] / 8
    along_x = np.subtract(spline.at(x + dx, y), spline.at(x - dx, y)) / (2 * dx)
    along_y = np.subtract(spline.at(x, y + dy), spline.at(x, y - dy)) / (2 * dy)
    col, row = np.stack([col, row]) + along_x * by_x + along_y * by_y
    return col, row


_FARTHEST = 1e15  # of a corner from the origin, CRS units: squares of longer ones overflow
_FLAT = 1e-3  # ratio of the spreads of corners below which they are on a line
_CROSSED = 0.25  # residual; corners in a wrong order have 0.35, a steep trapezium 0.11
# The image of the corners in normalised coordinates, in the order ul, ur, lr, ll.
_SQUARE = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])


class Ground(Protocol):
    """Any map between an image and the ground."""

    @property
    def crs(self) -> CRS | None:
        """Of the ground."""
        ...

    def to_map(self, col: ArrayLike, row: ArrayLike) -> tuple[Floats, Floats]:
        """Ground coordinates of pixel positions; an integer is the centre of a pixel."""
        ...

    def to_pixel(self, x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
        """Pixel positions of ground coordinates."""
        ...


@dataclass(frozen=True)
class AffineGround:
    """An image with an affine transform.

    Parameters
    ----------
    transform : Affine
        Pixel corner to map.
    crs : CRS in any spelling, optional
    middle : float, optional
        x of the middle of the image: longitudes are wrapped to the turn around it. Default: to the turn that begins
        with the first column.

    Examples
    --------
    >>> x, y = AffineGround(Affine(10, 0, 500, 0, -10, 900), "EPSG:32633").to_map(0, 0)
    >>> float(x), float(y)
    (505.0, 895.0)
    """

    transform: Affine
    crs: CRS | None = None
    middle: float | None = None

    def __post_init__(self) -> None:
        """Read the CRS."""
        object.__setattr__(self, "crs", parse_crs(self.crs))

    def to_map(self, col: ArrayLike, row: ArrayLike) -> tuple[Floats, Floats]:
        """Ground coordinates of pixel positions; an integer is the centre of a pixel."""
        return pixel_to_map(self.transform, col, row)

    def to_pixel(self, x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
        """Pixel positions of ground coordinates; longitudes are wrapped to those of the image."""
        xs = np.asarray(x, np.float64)
        full = longitude_period(self.crs)
        if full is not None:
            # The image may cross the antimeridian, or extend from 0 to 360 degrees.
            half = np.copysign(full / 2, self.transform.a)
            xs = wrap_longitude(self.crs, xs, self.transform.c + half if self.middle is None else self.middle)
        return map_to_pixel(self.transform, xs, y)


def centred_plane(lon: Floats, lat: Floats) -> CRS:
    """Equal area projection centred on places (n,), degrees: a plane without poles and antimeridian."""
    lon, lat = np.radians([lon, lat])
    x, y, z = np.mean([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1)
    middle = {"lat_0": float(np.degrees(np.arctan2(z, np.hypot(x, y)))), "lon_0": float(np.degrees(np.arctan2(y, x)))}
    return CRS.from_dict({"proj": "laea", "datum": "WGS84", **middle})


@dataclass(frozen=True)
class Corners:
    """The four corners of an image.

    Parameters
    ----------
    ul, ur, lr, ll : (x, y)
        Outer corners, upper left, upper right, lower right, lower left: longitude before latitude.
    crs : CRS in any spelling
        Of the corners; default longitude and latitude.
    plane : CRS in any spelling, optional
        In which the affine between corners and image is fitted; default: `crs` itself if it is projected, else an equal
        area projection centred on the image, without poles or antimeridian.

    Examples
    --------
    >>> swath = Corners((-52, -68), (-47, -68.3), (-47.6, -70.2), (-53, -69.9), plane="EPSG:3412")
    >>> u, v = swath.normalized(-50, -68.5)
    >>> round(float(u), 9), round(float(v), 9)
    (0.431580253, 0.184403877)
    """

    ul: Point
    ur: Point
    lr: Point
    ll: Point
    crs: Any = "EPSG:4326"
    plane: Any = field(default=None)

    def __post_init__(self) -> None:
        """Check that the corners span a plane."""
        for name in ("ul", "ur", "lr", "ll"):
            corner = numbers_of(getattr(self, name), 2) or [np.nan]
            if not (np.abs(corner) < _FARTHEST).all():
                raise OptionError(f"the corner {name} needs two finite numbers (x, y), not {getattr(self, name)!r:.80}")
            object.__setattr__(self, name, (corner[0], corner[1]))
        if not np.isfinite(self._planar).all():
            raise OptionError("the corners cannot be transformed to the plane of the image: check their order, x first")
        spread = np.linalg.svd(self._planar - self._planar.mean(axis=0), compute_uv=False)
        if not spread[1] > _FLAT * spread[0]:
            raise OptionError("the four corners are on one line: check their order and their coordinates")
        if self.residual_rms > _CROSSED:
            raise OptionError(
                f"the corners are in a wrong order (residual {self.residual_rms:.2f} of the image): give upper left, "
                "upper right, lower right, lower left"
            )

    @cached_property
    def plane_crs(self) -> CRS:
        """CRS in which the affine is fitted."""
        if self.plane is not None:
            return as_crs(self.plane)
        crs = as_crs(self.crs)
        if not crs.is_geographic:
            return crs
        return centred_plane(*np.array([self.ul, self.ur, self.lr, self.ll]).T)

    @cached_property
    def _planar(self) -> Floats:
        """Corners in the plane, (4, 2)."""
        x, y = np.array([self.ul, self.ur, self.lr, self.ll]).T
        return np.stack(transform_points(self.crs, self.plane_crs, x, y), axis=-1)

    @cached_property
    def _affine(self) -> tuple[Floats, Floats]:
        """Least squares from the plane to normalised coordinates: matrix (2, 2) about the middle, and offset."""
        about = self._planar - self._planar.mean(axis=0)
        matrix = np.linalg.lstsq(about, _SQUARE - 0.5, rcond=None)[0].T
        return np.asarray(matrix, np.float64), self._planar.mean(axis=0)

    @property
    def residual_rms(self) -> float:
        """Root mean square of the corners' residuals in normalised coordinates, of all eight numbers."""
        matrix, middle = self._affine
        found = (self._planar - middle) @ matrix.T + 0.5
        return float(np.sqrt(np.mean((found - _SQUARE) ** 2)))

    def normalized(self, x: ArrayLike, y: ArrayLike, crs: Any = None) -> tuple[Floats, Floats]:
        """Normalised image coordinates of points: (0, 0) upper left to (1, 1) lower right, y down.

        Parameters
        ----------
        x, y : float or array
            Longitude before latitude.
        crs : CRS in any spelling, optional
            Of the points; default: that of the corners.

        Returns
        -------
        u, v : float64, the shape of the input
            Inside where both are from 0 to 1.
        """
        xs, ys = transform_points(self.crs if crs is None else crs, self.plane_crs, x, y)
        return self._to_square(xs, ys)

    def _to_square(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        ((a, b), (d, e)), (x0, y0) = self._affine
        dx, dy = x - x0, y - y0
        return np.asarray(a * dx + b * dy + 0.5), np.asarray(d * dx + e * dy + 0.5)

    def ground(self, shape: tuple[int, int] = (1, 1)) -> CornerGround:
        """Georeference an image of a given shape by these corners.

        Parameters
        ----------
        shape : (rows, columns)

        Returns
        -------
        CornerGround
        """
        matrix, middle = self._affine
        back = np.linalg.inv(matrix) / [shape[1], shape[0]]
        x, y = middle - np.linalg.inv(matrix) @ [0.5, 0.5]
        (a, b), (d, e) = back.tolist()
        return CornerGround(Affine(a, b, float(x), d, e, float(y)), self.plane_crs)


class CornerGround(AffineGround):
    """An image between four corners: an affine in the plane of :class:`Corners`."""


def from_geotransform(geotransform: Sequence[float]) -> Affine:
    """Turn GDAL's geotransform into an affine.

    Parameters
    ----------
    geotransform : six floats
        (x of the corner, dx per column, dx per row, y of the corner, dy per column, dy per row), in GDAL's order.

    Returns
    -------
    Affine
        Pixel corner to map.

    Raises
    ------
    OptionError
        When it has not six finite numbers or cannot be inverted.

    Examples
    --------
    >>> tuple(from_geotransform((590000, 20, 0, 4928000, 0, -20)))[:6]
    (20.0, 0.0, 590000.0, 0.0, -20.0, 4928000.0)
    """
    numbers = [float(value) for value in geotransform]
    if len(numbers) != 6 or not np.isfinite(numbers).all():
        raise OptionError(f"a geotransform has six finite numbers, not {tuple(geotransform)}")
    if numbers[1] * numbers[5] - numbers[2] * numbers[4] == 0:
        raise OptionError(f"the geotransform {tuple(geotransform)} cannot be inverted: it maps all pixels onto a line")
    return Affine.from_gdal(*numbers)


def to_geotransform(transform: Affine | Sequence[float]) -> tuple[float, float, float, float, float, float]:
    """Turn an affine into GDAL's geotransform; the inverse of :func:`from_geotransform`.

    Parameters
    ----------
    transform : Affine or sequence of six floats (a, b, c, d, e, f)
        Pixel corner to map.

    Returns
    -------
    six floats
        In GDAL's order.

    Examples
    --------
    >>> to_geotransform(Affine(20, 0, 590000, 0, -20, 4928000))
    (590000.0, 20.0, 0.0, 4928000.0, 0.0, -20.0)
    """
    a, b, c, d, e, f = (float(value) for value in tuple(transform)[:6])
    return c, a, b, f, d, e


def pixel_to_lonlat(
    transform: Affine | Sequence[float], crs: Any, col: ArrayLike, row: ArrayLike
) -> tuple[Floats, Floats]:
    """Longitudes and latitudes (WGS 84) of pixel positions.

    Parameters
    ----------
    transform : Affine or sequence of six floats (a, b, c, d, e, f)
        Pixel corner to map.
    crs : CRS in any spelling
        Of the map.
    col, row : float or array
        Position, px; an integer is the centre of a pixel.

    Returns
    -------
    lon, lat : float64, the shape of the input
        Degrees; infinite where the pixel cannot be transformed.

    Examples
    --------
    >>> lon, lat = pixel_to_lonlat(Affine(10, 0, 354218, 0, -10, 5805564), "EPSG:32633", 0, 0)
    >>> round(float(lon), 9), round(float(lat), 9)
    (12.85818556, 52.380863991)
    """
    return transform_points(crs, "EPSG:4326", *pixel_to_map(transform, col, row))


def lonlat_to_pixel(
    transform: Affine | Sequence[float], crs: Any, lon: ArrayLike, lat: ArrayLike
) -> tuple[Floats, Floats]:
    """Pixel positions of longitudes and latitudes (WGS 84); the inverse of :func:`pixel_to_lonlat`.

    Parameters
    ----------
    transform : Affine or sequence of six floats (a, b, c, d, e, f)
        Pixel corner to map.
    crs : CRS in any spelling
        Of the map.
    lon, lat : float or array
        Degrees.

    Returns
    -------
    col, row : float64, the shape of the input
        Position, px; an integer is the centre of a pixel. On a map in degrees longitudes are wrapped to the turn that
        begins with the first column.

    Examples
    --------
    >>> col, row = lonlat_to_pixel(Affine(10, 0, 585000, 0, -10, 4428300), "EPSG:32617", -80, 40)
    >>> round(float(col), 3), round(float(row), 3)
    (35.546, 5.894)
    """
    return AffineGround(Affine(*tuple(transform)[:6]), crs).to_pixel(*transform_points("EPSG:4326", crs, lon, lat))
