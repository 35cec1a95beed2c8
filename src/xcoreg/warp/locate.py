"""Points in images: pixel positions and values of map coordinates, and map coordinates of pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xcoreg.core import Floats
from xcoreg.core.kernels import KERNELS, nearest_index, reach
from xcoreg.core.sampling import sample
from xcoreg.errors import OptionError, require
from xcoreg.georef import AffineGround, TerrainGround, map_to_pixel, parse_crs, pixel_to_map, transform_points
from xcoreg.georef.ground import approximate_to_map, approximate_to_pixel
from xcoreg.io.terrain import over_terrain
from xcoreg.raster.bands import shape_of, to_band
from xcoreg.raster.file_mask import mask_of
from xcoreg.raster.nodata import Validity, stored_nodata, validity_of
from xcoreg.warp.ground import as_ground

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray
    from xarray import DataArray, Dataset


_CHUNK = 1 << 16  # points at once: temporaries fit into the processor's cache
_MANY = 100_000  # points from which on slow grounds are approximated by a grid
_BLOCK = 2048  # px, side of the parts in which an image is read
_PIXELS = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
_X = ("lon", "longitude", "x", "easting")
_Y = ("lat", "latitude", "y", "northing")
_MEASUREMENTS = ("value", "z", "height", "freeboard", "elevation")


@dataclass(frozen=True, eq=False, repr=False)
class Located:
    """Points found in an image, as columns of equal length `n`.

    Parameters
    ----------
    x, y : (n,) float
        As given.
    col, row : (n,) float
        Position in the image; an integer is the centre of a pixel. When normalized: (0, 0) is the upper left corner of
        the image and (1, 1) the lower right one. NaN where a point cannot be transformed.
    inside : (n,) bool
        On the image, its edges included.
    value : (n,) float or None
        Pixel values; NaN outside and at missing pixels. None without an image.
    carried : (n,) float or None
        The third column of the points, a measurement.
    normalized : bool
        Whether col and row are normalised.
    """

    x: Floats
    y: Floats
    col: Floats
    row: Floats
    inside: NDArray[np.bool_]
    value: Floats | None = None
    carried: Floats | None = None
    normalized: bool = False

    def __len__(self) -> int:
        return int(self.col.size)

    def __repr__(self) -> str:
        return f"Located({len(self)} points, {int(self.inside.sum())} inside)"

    def table(self) -> Floats:
        """Give the points inside as (m, 3) float64: column, row, and the measurement that came with them, or the value.

        Examples
        --------
        >>> here = np.array([0.25, 2.0])
        >>> Located(here, here, here, here, here < 1, None, np.array([31.0, 8.0])).table()
        array([[ 0.25,  0.25, 31.  ]])
        """
        value = self.carried if self.carried is not None else self.value
        column = np.full(len(self), np.nan) if value is None else value
        return np.stack([self.col, self.row, column], axis=-1)[self.inside]

    def to_dict(self) -> dict[str, NDArray[Any]]:
        """Give the columns by name: x, y, col, row (or u, v when normalized), inside, value, carried.

        Returns
        -------
        dict
            Without columns that are None.
        """
        names = ("u", "v") if self.normalized else ("col", "row")
        columns = {"x": self.x, "y": self.y, names[0]: self.col, names[1]: self.row, "inside": self.inside}
        more = {"value": self.value, "carried": self.carried}
        return {**columns, **{name: column for name, column in more.items() if column is not None}}

    def to_dataframe(self) -> Any:
        """Give the columns as a pandas DataFrame.

        Returns
        -------
        pandas.DataFrame
        """
        return require("pandas", extra="vector").DataFrame(self.to_dict())


def locate(  # noqa: PLR0913 - the points, the image, its georeference and its terrain
    image: DataArray | Dataset | None,
    points: Any,
    *,
    crs: Any = None,
    ground: Any = None,
    normalized: bool = False,
    band: int | str | None = None,
    resampling: str | None = "nearest",
    height: float = 0.0,
    dem: Any = None,
    vertical_datum: Any = None,
) -> Located:
    """Find points in an image, or (None) between the corners that `ground` is: :meth:`CoregAccessor.locate`."""
    if resampling is not None and resampling not in KERNELS:
        raise OptionError(f"resampling={resampling!r} is unknown: choose one of {', '.join(KERNELS)}, or None")
    x, y, carried, own = _columns(points)
    shape = (1, 1) if image is None else shape_of(image)
    found = over_terrain(as_ground(ground, image, height), shape, dem, vertical_datum)
    to_pixel = _map_to_pixel_of(
        found, shape, crs if crs is not None else own if own is not None else "EPSG:4326", x.size
    )
    col, row, inside = np.empty(x.shape), np.empty(x.shape), np.empty(x.shape, bool)
    for part in _chunks(x.size):
        col[part], row[part], inside[part] = _positions(to_pixel, shape, x[part], y[part])
    value = None
    if image is not None and resampling is not None:
        value = _values(to_band(image, band, "the image"), col, row, inside, resampling)
    if normalized or image is None:
        for part in _chunks(x.size):
            pixel, line = pixel_to_map(_PIXELS, col[part], row[part])
            col[part], row[part] = pixel / shape[1], line / shape[0]
    return Located(x, y, col, row, inside, value, carried, normalized or image is None)


def place(  # noqa: PLR0913 - as locate
    image: DataArray | Dataset | None,
    col: ArrayLike,
    row: ArrayLike,
    *,
    crs: Any = "EPSG:4326",
    ground: Any = None,
    normalized: bool = False,
    height: float = 0.0,
    dem: Any = None,
    vertical_datum: Any = None,
) -> tuple[Floats, Floats]:
    """Find where positions in an image lie on the ground; the inverse of :func:`locate`."""
    shape = (1, 1) if image is None else shape_of(image)
    found = over_terrain(as_ground(ground, image, height), shape, dem, vertical_datum)
    cols, rows = np.broadcast_arrays(np.asarray(col, np.float64), np.asarray(row, np.float64))
    if normalized or image is None:
        cols, rows = map_to_pixel(_PIXELS, cols * shape[1], rows * shape[0])
    if found.crs is None or cols.size <= _MANY or isinstance(found, AffineGround | TerrainGround):
        x, y = found.to_map(cols, rows)
        return (x, y) if found.crs is None else transform_points(found.crs, crs, x, y)
    to_map, x, y = approximate_to_map(found, shape, crs), np.empty(cols.size), np.empty(cols.size)
    for part in _chunks(cols.size):
        x[part], y[part] = to_map(cols.ravel()[part], rows.ravel()[part])
    return x.reshape(cols.shape), y.reshape(cols.shape)


def _columns(points: Any) -> tuple[Floats, Floats, Floats | None, Any]:
    """Points as x, y, a third column, and their own CRS."""
    if hasattr(points, "geometry") and hasattr(points, "crs"):
        x, y = (np.asarray(each, np.float64) for each in (points.geometry.x, points.geometry.y))
        return x, y, _column(points, _MEASUREMENTS), parse_crs(points.crs)
    if hasattr(points, "keys"):
        x_column, y_column = _column(points, _X), _column(points, _Y)
        if x_column is None or y_column is None:
            raise OptionError(f"the points have the columns {', '.join(map(str, points))}: needed are lon, lat or x, y")
        return x_column, y_column, _column(points, _MEASUREMENTS), None
    if isinstance(points, tuple) and len(points) in (2, 3) and np.ndim(points[0]) == 1:
        x, y, *rest = (np.asarray(each, np.float64) for each in points)
    else:
        table = np.asarray(points, np.float64)
        if table.ndim == 1 and table.size in (2, 3):
            table = table[None]
        if table.ndim != 2 or table.shape[1] not in (2, 3):
            raise OptionError(f"points are rows of x, y or x, y, value, not an array of shape {table.shape}")
        x, y, *rest = np.ascontiguousarray(table.T)
    if x.shape != y.shape:
        raise OptionError(f"the points have {x.size} x and {y.size} y")
    return x, y, rest[0] if rest else None, None


def _column(points: Any, names: tuple[str, ...]) -> Floats | None:
    known = {str(key).lower(): key for key in points.keys()}  # noqa: SIM118 - of a DataFrame they are the columns
    key = next((known[name] for name in names if name in known), None)
    return None if key is None else np.asarray(points[key], np.float64)


def _map_to_pixel_of(ground: Any, shape: tuple[int, int], crs: Any, n: int) -> Any:
    """Make the function from coordinates of the points to pixels."""
    if ground.crs is None and not isinstance(ground, AffineGround):
        raise OptionError("the CRS of the ground is unknown: give it, gcps.with_crs('EPSG:...')")
    if n > _MANY and not isinstance(ground, AffineGround | TerrainGround):
        return approximate_to_pixel(ground, shape, crs)
    return lambda x, y: ground.to_pixel(*transform_points(crs, ground.crs, x, y))


def _chunks(n: int) -> Iterator[slice]:
    return (slice(start, start + _CHUNK) for start in range(0, n, _CHUNK))


def _positions(to_pixel: Any, shape: tuple[int, int], x: Floats, y: Floats) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Pixel positions of points, and whether they are on the image."""
    with np.errstate(invalid="ignore", over="ignore"):
        col, row = to_pixel(x, y)
    unknown = ~(np.isfinite(col) & np.isfinite(row))
    if unknown.any():
        col[unknown], row[unknown] = np.nan, np.nan
    pixel, line = pixel_to_map(_PIXELS, col, row)
    return col, row, (pixel >= 0) & (pixel <= shape[1]) & (line >= 0) & (line <= shape[0])


def _values(band: DataArray, col: Floats, row: Floats, inside: NDArray[np.bool_], kernel: str) -> Floats:
    """Pixel values at positions; only the parts of the image with points are read."""
    out = np.full(col.shape, np.nan)
    validity = validity_of(band, stored_nodata(band))
    if kernel == "nearest" and isinstance(getattr(band.variable, "_data", None), np.ndarray):
        for part in _chunks(col.size):
            here = inside[part]
            if here.all():
                out[part] = _from_block(band, row[part], col[part], validity, kernel)
            elif here.any():
                out[part][here] = _from_block(band, row[part][here], col[part][here], validity, kernel)
        return out
    for at in _parts(row, col, np.flatnonzero(inside)):
        out[at] = _from_block(band, row[at], col[at], validity, kernel)
    return out


def _parts(rows: Floats, cols: Floats, inside: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Group the points inside by the part of the image."""
    if not inside.size:
        return []
    down, right = (np.maximum(p[inside], 0).astype(np.int32) // _BLOCK for p in (rows, cols))
    number = down * (int(right.max()) + 1) + right
    # 16-bit integers are sorted by counting.
    order = np.argsort(number.astype(np.uint16) if number.max() < 1 << 16 else number, kind="stable")
    borders = np.flatnonzero(np.diff(number[order])) + 1
    return list(np.split(inside[order], borders))


def _from_block(band: DataArray, rows: Floats, cols: Floats, validity: Validity, kernel: str) -> Floats:
    margin = reach(kernel) + 1
    low = [max(int(p.min()) - margin, 0) for p in (rows, cols)]
    high = [min(int(p.max()) + margin + 2, int(size)) for p, size in zip((rows, cols), band.shape, strict=True)]
    part = band.isel({dim: slice(a, b) for dim, a, b in zip(band.dims, low, high, strict=True)})
    window, mask = part.values, mask_of(part)
    masked = None if mask is None else mask.transpose(*part.dims).values != 0
    if kernel == "nearest":  # a point on the lower or right edge belongs to the last pixel
        r, c = (
            np.minimum(nearest_index(p), size - 1) - first
            for p, size, first in zip((rows, cols), band.shape, low, strict=True)
        )
        values = window[r, c]
        good = validity.of(values) if masked is None else validity.of(values) & masked[r, c]
        return np.where(good, values.astype(np.float64), np.nan)
    good = validity.of(window) if masked is None else validity.of(window) & masked
    values, valid = sample(window, good, rows - low[0], cols - low[1], kernel)
    return np.where(valid, values.astype(np.float64), np.nan)
