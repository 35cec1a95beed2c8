"""Affine transforms: pixels and map, vectors and covariances; world files and .prj files."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from affine import Affine, loadsw

from xcoreg.errors import OptionError
from xcoreg.files import open_gdal, replacing
from xcoreg.georef.crs import as_crs, parse_crs, transform_points

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray
    from odc.geo.geobox import GeoBox
    from pyproj import CRS


#: The linear part (a, b, d, e) of an affine: dx = a dcol + b drow, dy = d dcol + e drow.
Linear: TypeAlias = "tuple[float, float, float, float]"


def linear_of(transform: Affine | Sequence[float]) -> Linear:
    """Linear part (a, b, d, e) of a transform, map units per pixel."""
    a, b, _, d, e, _ = (float(value) for value in tuple(transform)[:6])
    return a, b, d, e


def vector_to_map(linear: Linear, dcol: ArrayLike, drow: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Turn a displacement in pixels (to the right, down) into one in map units (along the CRS axes)."""
    a, b, d, e = linear
    col, row = np.asarray(dcol, np.float64), np.asarray(drow, np.float64)
    return np.asarray(a * col + b * row), np.asarray(d * col + e * row)


def vector_to_pixel(linear: Linear, dx: ArrayLike, dy: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Turn a displacement in map units into one in pixels; the inverse of :func:`vector_to_map`."""
    a, b, d, e = linear
    det = a * e - b * d
    x, y = np.asarray(dx, np.float64), np.asarray(dy, np.float64)
    return np.asarray((e * x - b * y) / det), np.asarray((a * y - d * x) / det)


def cov_to_map(linear: Linear, cov: ArrayLike) -> NDArray[np.float64]:
    """Carry covariances (..., 2, 2) from axes (col, row), px², to (x, y), CRS units²."""
    jacobian = _matrix(linear)
    return np.asarray(jacobian @ np.asarray(cov, np.float64) @ jacobian.T)


def cov_to_pixel(linear: Linear, cov: ArrayLike) -> NDArray[np.float64]:
    """Carry covariances (..., 2, 2) from axes (x, y), CRS units², to (col, row), px²."""
    jacobian = np.linalg.inv(_matrix(linear))
    return np.asarray(jacobian @ np.asarray(cov, np.float64) @ jacobian.T)


def _matrix(linear: Linear) -> NDArray[np.float64]:
    return np.asarray(linear, np.float64).reshape(2, 2)


def pixel_to_map(
    transform: Affine | Sequence[float], col: ArrayLike, row: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Map coordinates of pixel positions; an integer is the centre of a pixel.

    Parameters
    ----------
    transform : Affine or sequence of six floats (a, b, c, d, e, f)
        Pixel corner to map.
    col, row : float or array
        Position, px; (0, 0) is the centre of the first pixel.

    Returns
    -------
    x, y : float64, the shape of the input
        CRS units.

    Examples
    --------
    >>> x, y = pixel_to_map(Affine(20, 0, 590000, 0, -20, 4928000), 0, 0)
    >>> float(x), float(y)
    (590010.0, 4927990.0)
    """
    x0, y0 = float(transform[2]), float(transform[5])
    dx, dy = vector_to_map(linear_of(transform), np.asarray(col, np.float64) + 0.5, np.asarray(row, np.float64) + 0.5)
    return np.asarray(x0 + dx), np.asarray(y0 + dy)


def map_to_pixel(
    transform: Affine | Sequence[float], x: ArrayLike, y: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pixel positions of map coordinates; the inverse of :func:`pixel_to_map`.

    Parameters
    ----------
    transform : Affine or sequence of six floats (a, b, c, d, e, f)
        Pixel corner to map.
    x, y : float or array
        CRS units.

    Returns
    -------
    col, row : float64, the shape of the input
        Position, px; (0, 0) is the centre of the first pixel.

    Examples
    --------
    >>> col, row = map_to_pixel(Affine(20, 0, 590000, 0, -20, 4928000), 590000, 4928000)
    >>> float(col), float(row)
    (-0.5, -0.5)
    """
    # Subtracting the origin first keeps digits that a precomputed inverse offset would lose.
    dx, dy = np.asarray(x, np.float64) - float(transform[2]), np.asarray(y, np.float64) - float(transform[5])
    col, row = vector_to_pixel(linear_of(transform), dx, dy)
    return np.asarray(col - 0.5), np.asarray(row - 0.5)


def map_to_grid(crs: Any, grid: GeoBox, x: ArrayLike, y: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pixel positions (col, row) in a grid of positions in any CRS; longitudes are wrapped to the grid."""
    return map_to_pixel(grid.affine, *transform_points(crs, grid.crs, x, y, near=middle_of(grid)))


def grid_to_map(
    grid: GeoBox, crs: Any, col: ArrayLike, row: ArrayLike, near: ArrayLike | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Positions (x, y) in any CRS of pixel positions in a grid; longitudes are wrapped around `near`."""
    return transform_points(grid.crs, crs, *pixel_to_map(grid.affine, col, row), near=near)


def middle_of(grid: GeoBox) -> float:
    """X of the centre of a grid: its longitude in a geographic CRS."""
    rows, cols = grid.shape
    a, b, c = tuple(grid.affine)[:3]
    return float(c + a * cols / 2 + b * rows / 2)


def gsd(transform: Affine | Sequence[float]) -> tuple[float, float]:
    """Positive pixel size (x, y) along the columns' and the rows' direction, CRS units; of rotated grids, too."""
    a, b, d, e = linear_of(transform)
    return math.hypot(a, d), math.hypot(b, e)


def translate(transform: Affine | Sequence[float], dx: float, dy: float) -> Affine:
    """Move a transform by a correction along the CRS axes, CRS units; its linear part stays as it is."""
    a, b, c, d, e, f = (float(value) for value in tuple(transform)[:6])
    return Affine(a, b, c + float(dx), d, e, f + float(dy))


def resized(
    transform: Affine | Sequence[float], steps: tuple[float, float], corner: tuple[float, float] = (0, 0)
) -> Affine:
    """Transform of larger or smaller pixels: old ones per new one, and the outer corner in old ones, (column, row)."""
    a, b, c, d, e, f = (float(value) for value in tuple(transform)[:6])
    (across, down), (col, row) = steps, corner
    return Affine(a * across, b * down, c + a * col + b * row, d * across, e * down, f + d * col + e * row)


# Suffixes of the world files that GDAL finds.
_KNOWN = {".tfw", ".tifw", ".tiffw", ".jgw", ".jpgw", ".jpegw", ".pgw", ".pngw", ".bpw", ".gfw", ".wld", ".j2w", ".blw"}


def world_file(path: str | Path) -> Path:
    """Path of the world file of an image as GDAL finds it; where there is none, the one to write."""
    image = Path(path)
    suffix = image.suffix
    if suffix.lower() in _KNOWN:
        return image
    short = f"{suffix[:2]}{suffix[-1]}w" if len(suffix) > 2 else ".wld"
    names = [short, f"{suffix}w", ".wld"] if suffix else [".wld"]
    found = (image.with_suffix(name) for each in names for name in (each, each.lower(), each.upper()))
    default = image.with_suffix(short if short.lower() in _KNOWN else ".wld")
    return next((one for one in found if one.is_file()), default)


def read_world_file(path: str | Path) -> Affine:
    """Read a world file, or that of an image, at `path`: the affine from pixel corners to the map.

    Raises
    ------
    OptionError
        When there is none, or it has not six numbers, or they cannot be inverted.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_world_file(Path(folder, "a.tfw"), Affine(20, 0, 590000, 0, -20, 4928000)).read_text().split()
    ['20', '0', '0', '-20', '590010', '4927990']
    """
    file = world_file(path)
    if not file.is_file():
        raise OptionError(f"there is no world file {file}")
    text = file.read_text(encoding="utf-8-sig", errors="replace")
    try:
        # Some programs write decimal commas.
        transform = loadsw(" ".join(text.replace(",", ".").split()[:6]))
    except ValueError as error:
        raise OptionError(f"the world file {file} does not hold six numbers A D B E C F: {error}") from error
    if not np.isfinite(tuple(transform)).all() or transform.is_degenerate:
        raise OptionError(f"the world file {file} cannot be inverted: {tuple(transform)[:6]}")
    return transform


def write_world_file(path: str | Path, transform: Affine | Sequence[float]) -> Path:
    """Write a `transform` (pixel corner to map) to the world file at `path`, or that of the image there.

    Its lines are A, D, B, E, C, F, the last two being the centre of the first pixel.
    """
    file = world_file(path)
    a, b, d, e = linear_of(transform)
    x, y = pixel_to_map(transform, 0, 0)
    with replacing(file) as temporary:
        # 15 digits: the sixteenth is round-off of the half pixel
        lines = (f"{float(value) + 0.0:.15g}\n" for value in (a, d, b, e, x, y))
        temporary.write_text("".join(lines), encoding="ascii")
    return file


def read_prj(path: str | Path) -> CRS | None:
    """Read the .prj file at `path`, or that of the image there: its CRS, None when there is none, or it is empty.

    Raises
    ------
    OptionError
        When the CRS cannot be read.
    """
    file = next(
        (Path(path).with_suffix(end) for end in (".prj", ".PRJ") if Path(path).with_suffix(end).is_file()), None
    )
    if file is None:
        return None
    try:
        return parse_crs(file)
    except OptionError as error:
        raise OptionError(f"{file} cannot be read: {error}") from error


def write_prj(path: str | Path, crs: Any) -> Path:
    """Write a `crs` in any spelling as ESRI WKT to the .prj file at `path`, or that of the image there.

    Raises
    ------
    OptionError
        When the CRS is unknown, or cannot be written as ESRI WKT.
    """
    file = Path(path).with_suffix(".prj")
    parsed = as_crs(crs)
    wkt = parsed.to_wkt("WKT1_ESRI")
    if not wkt:
        raise OptionError(f"the CRS {parsed.name!r} cannot be written as ESRI WKT: choose another")
    with replacing(file) as temporary:
        temporary.write_text(wkt, encoding="utf-8")
    return file


def find_georeference(path: str | Path) -> tuple[Affine | None, CRS | None]:
    """Find transform and CRS of the image at `path` in itself, its .aux.xml, its world file and its .prj file.

    Returns
    -------
    transform : Affine or None
        Pixel corner to map; first what GDAL finds in the image, .aux.xml, or the world files it knows.
    crs : CRS or None
        The .prj file is read where the image has no CRS: GDAL ignores it beside a TIFF.

    Raises
    ------
    OptionError
        When the image, its world file or its .prj file cannot be read.
    """
    with open_gdal(path) as file:
        transform, crs = file.transform, parse_crs(file.crs)
    if transform.is_identity:
        transform = read_world_file(path) if world_file(path).is_file() else None
    return transform, crs if crs is not None else read_prj(path)
