"""Where an image lies, in whatever way it is known: an affine, four corners, rational polynomials; control points too.

A *ground* is anything with a `crs`, `to_map(col, row)` and `to_pixel(x, y)`; :class:`xcoreg.georef.GCPFit` is one.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
from affine import Affine
from pyproj import CRS

from xcoreg.errors import OptionError
from xcoreg.georef.crs import as_crs, full_turn, in_turn, transform_points
from xcoreg.georef.pixels import map_to_pixel, pixel_to_map
from xcoreg.georef.spelling import parse_crs

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

    Floats: TypeAlias = "NDArray[np.float64]"
    Point: TypeAlias = "tuple[float, float]"

__all__ = ["AffineGround", "CornerGround", "Corners", "Ground", "RPCGround", "read_rpcs"]

_CORNERS = Affine.identity()
_FLAT = 1e-3  # ratio of the spreads of corners below which they are on a line
_CROSSED = 0.25  # residual beyond which corners are in another order, where it is 0.35; of a steep trapezium it is 0.11
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
        x of the middle of the image: longitudes are taken in the turn around it. Default: in the turn that begins
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
        """Pixel positions of ground coordinates; of a map in degrees in the turn of the image."""
        xs = np.asarray(x, np.float64)
        full = full_turn(self.crs)
        if full is not None:
            # The image may lie across the antimeridian, or run from 0 to 360 degrees.
            half = np.copysign(full / 2, self.transform.a)
            xs = in_turn(self.crs, xs, self.transform.c + half if self.middle is None else self.middle)
        return map_to_pixel(self.transform, xs, y)


@dataclass(frozen=True)
class Corners:
    """The four corners of an image, all that is known of some swaths.

    Parameters
    ----------
    ul, ur, lr, ll : (x, y)
        Outer corners, upper left, upper right, lower right, lower left: longitude before latitude.
    crs : CRS in any spelling
        Of the corners; default longitude and latitude.
    plane : CRS in any spelling, optional
        Where the affine between corners and image is fitted; default: `crs` itself if it is a projection, else an equal
        area projection centred on the image, which knows neither poles nor the antimeridian.

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
            corner = np.asarray(getattr(self, name), np.float64)
            if corner.shape != (2,) or not np.isfinite(corner).all():
                raise OptionError(f"the corner {name} needs two finite numbers (x, y), not {getattr(self, name)}")
            object.__setattr__(self, name, (float(corner[0]), float(corner[1])))
        spread = np.linalg.svd(self._planar - self._planar.mean(axis=0), compute_uv=False)
        if not spread[1] > _FLAT * spread[0]:
            raise OptionError("the four corners lie on one line")
        if self.residual_rms > _CROSSED:
            raise OptionError(
                f"no image has these corners (residual {self.residual_rms:.2f} of its size): go round it, upper left, "
                "upper right, lower right, lower left"
            )

    @cached_property
    def plane_crs(self) -> CRS:
        """Where the affine is fitted."""
        if self.plane is not None:
            return as_crs(self.plane)
        crs = as_crs(self.crs)
        if not crs.is_geographic:
            return crs
        lon, lat = np.radians([self.ul, self.ur, self.lr, self.ll]).T
        x, y, z = np.mean([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1)
        middle = {
            "lat_0": float(np.degrees(np.arctan2(z, np.hypot(x, y)))),
            "lon_0": float(np.degrees(np.arctan2(y, x))),
        }
        return CRS.from_dict({"proj": "laea", "datum": "WGS84", **middle})

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
        """Look at an image of a given shape as lying between these corners.

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


@dataclass(frozen=True, eq=False)
class RPCGround:
    """An image with rational polynomial coefficients, through rasterio (GDAL).

    Parameters
    ----------
    rpcs : rasterio.rpc.RPC
    height : float
        Of the ground over the ellipsoid, m: one for the whole image.
    dem : str, optional
        A raster of heights GDAL reads, in place of the one height.

    Notes
    -----
    GDAL solves for the ground to 1e-7 px here, where its default is 0.1 px.
    """

    rpcs: Any
    height: float = 0.0
    dem: str | None = None

    @property
    def crs(self) -> CRS | None:
        """Of the ground: longitude and latitude on WGS 84."""
        return as_crs("EPSG:4326")

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return ("xcoreg.RPCGround", repr(sorted(self.rpcs.to_dict().items())), self.height, self.dem)

    def to_map(self, col: ArrayLike, row: ArrayLike) -> tuple[Floats, Floats]:
        """Longitudes and latitudes of pixel positions; an integer is the centre of a pixel."""
        pixel, line = pixel_to_map(_CORNERS, col, row)
        with self._transformer() as transformer:
            return self._run(transformer.xy, line, pixel, offset="ul")

    def to_pixel(self, x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
        """Pixel positions of longitudes and latitudes."""
        turn = self.rpcs.long_off - 180.0
        lon = turn + (np.asarray(x, np.float64) - turn) % 360.0
        with self._transformer() as transformer:
            line, pixel = self._run(transformer.rowcol, lon, y, op=_unrounded)
        return map_to_pixel(_CORNERS, pixel, line)

    def _transformer(self) -> Any:
        from rasterio.transform import RPCTransformer

        options = {"RPC_PIXEL_ERROR_THRESHOLD": "1e-7", "RPC_MAX_ITERATIONS": "50"}
        return RPCTransformer(self.rpcs, **options, **({"RPC_DEM": self.dem} if self.dem else {}))

    def _run(self, method: Any, first: ArrayLike, second: ArrayLike, **options: Any) -> tuple[Floats, Floats]:
        one, two = np.broadcast_arrays(np.asarray(first, np.float64), np.asarray(second, np.float64))
        shape, out = one.shape, np.full((2, one.size), np.nan)
        known = np.flatnonzero(np.isfinite(one.ravel()) & np.isfinite(two.ravel()))
        if known.size:
            heights = np.full(known.size, 0.0 if self.dem else self.height)
            found = method(one.ravel()[known], two.ravel()[known], zs=heights, **options)
            out[:, known] = np.where(np.isfinite(found), found, np.nan)
        return out[0].reshape(shape), out[1].reshape(shape)


def _unrounded(value: Any) -> Any:
    return value


def read_rpcs(path: str | Path, height: float = 0.0, dem: str | None = None) -> RPCGround:
    """Read the rational polynomial coefficients of an image.

    Parameters
    ----------
    path : str or Path
        Any raster GDAL reads.
    height : float
        Of the ground over the ellipsoid, m.
    dem : str, optional
        A raster of heights in place of it.

    Returns
    -------
    RPCGround

    Raises
    ------
    OptionError
        When it cannot be opened, or has none.
    """
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning, RasterioError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path) as file:
                rpcs = file.rpcs
    except RasterioError as error:
        raise OptionError(f"{path} cannot be opened: {error}") from error
    if rpcs is None:
        raise OptionError(f"{path} has no RPCs")
    return RPCGround(rpcs, height, dem)
