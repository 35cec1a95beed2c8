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
    """Return the linear part of an affine transform.

    Parameters
    ----------
    transform : Affine or sequence of six floats (a, b, c, d, e, f)
        Pixel corner to map.

    Returns
    -------
    tuple of four floats
        (a, b, d, e): map units per pixel, so that ``dx = a dcol + b drow`` and ``dy = d dcol + e drow``.

    Examples
    --------
    >>> linear_of(Affine(10, 0, 300000, 0, -10, 5900040))
    (10.0, 0.0, 0.0, -10.0)
    """
    a, b, _, d, e, _ = (float(value) for value in tuple(transform)[:6])
    return a, b, d, e


def vector_to_map(linear: Linear, dcol: ArrayLike, drow: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Turn a displacement in pixels into one in map units.

    Parameters
    ----------
    linear : tuple of four floats
        From :func:`linear_of`.
    dcol, drow : float or array
        To the right and down, px.

    Returns
    -------
    dx, dy : float64, the shape of the input
        Along the CRS axes, CRS units.

    Examples
    --------
    >>> dx, dy = vector_to_map((10.0, 0.0, 0.0, -10.0), 3, -2)
    >>> float(dx), float(dy)
    (30.0, 20.0)
    """
    a, b, d, e = linear
    col, row = np.asarray(dcol, np.float64), np.asarray(drow, np.float64)
    return np.asarray(a * col + b * row), np.asarray(d * col + e * row)


def vector_to_pixel(linear: Linear, dx: ArrayLike, dy: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Turn a displacement in map units into one in pixels; the inverse of :func:`vector_to_map`.

    Parameters
    ----------
    linear : tuple of four floats
        From :func:`linear_of`.
    dx, dy : float or array
        Along the CRS axes, CRS units.

    Returns
    -------
    dcol, drow : float64, the shape of the input
        To the right and down, px.

    Examples
    --------
    >>> dcol, drow = vector_to_pixel((10.0, 0.0, 0.0, -10.0), 30, 20)
    >>> float(dcol), float(drow)
    (3.0, -2.0)
    """
    a, b, d, e = linear
    det = a * e - b * d
    x, y = np.asarray(dx, np.float64), np.asarray(dy, np.float64)
    return np.asarray((e * x - b * y) / det), np.asarray((a * y - d * x) / det)


def cov_to_map(linear: Linear, cov: ArrayLike) -> NDArray[np.float64]:
    """Carry covariances from pixels to map units.

    Parameters
    ----------
    linear : tuple of four floats
        From :func:`linear_of`.
    cov : (..., 2, 2) array
        Axes (col, row), px².

    Returns
    -------
    (..., 2, 2) float64
        Axes (x, y), CRS units².

    Examples
    --------
    >>> cov_to_map((10.0, 0.0, 0.0, -10.0), [[0.01, 0.002], [0.002, 0.04]]).round(6).tolist()
    [[1.0, -0.2], [-0.2, 4.0]]
    """
    jacobian = _matrix(linear)
    return np.asarray(jacobian @ np.asarray(cov, np.float64) @ jacobian.T)


def cov_to_pixel(linear: Linear, cov: ArrayLike) -> NDArray[np.float64]:
    """Carry covariances from map units to pixels; the inverse of :func:`cov_to_map`.

    Parameters
    ----------
    linear : tuple of four floats
        From :func:`linear_of`.
    cov : (..., 2, 2) array
        Axes (x, y), CRS units².

    Returns
    -------
    (..., 2, 2) float64
        Axes (col, row), px².

    Examples
    --------
    >>> cov_to_pixel((10.0, 0.0, 0.0, -10.0), [[1.0, -0.2], [-0.2, 4.0]]).round(6).tolist()
    [[0.01, 0.002], [0.002, 0.04]]
    """
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
    """Positive pixel size along the columns' and the rows' direction.

    Parameters
    ----------
    transform : Affine or sequence of six floats (a, b, c, d, e, f)
        Pixel corner to map; rotated and south-up ones included.

    Returns
    -------
    x, y : float
        CRS units.

    Examples
    --------
    >>> gsd(Affine(3, 0, 0, 4, -10, 0))
    (5.0, 10.0)
    """
    a, b, d, e = linear_of(transform)
    return math.hypot(a, d), math.hypot(b, e)


def translate(transform: Affine | Sequence[float], dx: float, dy: float) -> Affine:
    """Move a transform by a map vector, leaving its linear part untouched.

    Parameters
    ----------
    transform : Affine or sequence of six floats (a, b, c, d, e, f)
        Pixel corner to map.
    dx, dy : float
        Correction along the CRS axes, CRS units: added to every map coordinate.

    Returns
    -------
    Affine
        The moved transform.

    Examples
    --------
    >>> moved = translate(Affine(10, 0, 300000, 0, -10, 5900040), 3.5, 15.5)
    >>> moved.c, moved.f
    (300003.5, 5900055.5)
    """
    a, b, c, d, e, f = (float(value) for value in tuple(transform)[:6])
    return Affine(a, b, c + float(dx), d, e, f + float(dy))


def resized(
    transform: Affine | Sequence[float], steps: tuple[float, float], corner: tuple[float, float] = (0, 0)
) -> Affine:
    """Transform of larger or smaller pixels.

    Parameters
    ----------
    transform : Affine or sequence of six floats (a, b, c, d, e, f)
        Pixel corner to map.
    steps : (float, float)
        Old pixels per new one along (columns, rows).
    corner : (float, float)
        Outer corner of the first new pixel in old pixels, (column, row).

    Returns
    -------
    Affine

    Examples
    --------
    >>> tuple(resized(Affine(10, 0, 300000, 0, -10, 5900040), (2, 3), (1, 0)))[:6]
    (20.0, 0.0, 300010.0, 0.0, -30.0, 5900040.0)
    """
    a, b, c, d, e, f = (float(value) for value in tuple(transform)[:6])
    (across, down), (col, row) = steps, corner
    return Affine(a * across, b * down, c + a * col + b * row, d * across, e * down, f + d * col + e * row)


# Suffixes of the world files that GDAL finds.
_KNOWN = {".tfw", ".tifw", ".tiffw", ".jgw", ".jpgw", ".jpegw", ".pgw", ".pngw", ".bpw", ".gfw", ".wld", ".j2w", ".blw"}


def world_file(path: str | Path) -> Path:
    """Path of the world file of an image, as GDAL finds it.

    Parameters
    ----------
    path : str or Path
        An image, or the world file itself.

    Returns
    -------
    Path
        The existing one; where there is none, first and last letter of the suffix and a w, or `.wld`.

    Examples
    --------
    >>> world_file("a.tif").name, world_file("a.jpeg").name, world_file("a.img").name, world_file("a.tfw").name
    ('a.tfw', 'a.jgw', 'a.wld', 'a.tfw')
    """
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
    """Read a world file.

    Parameters
    ----------
    path : str or Path
        The world file, or its image.

    Returns
    -------
    Affine
        Pixel corner to map; the file has the centre of the first pixel.

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
    """Write a world file.

    Parameters
    ----------
    path : str or Path
        The world file, or its image.
    transform : Affine or sequence of six floats (a, b, c, d, e, f)
        Pixel corner to map.

    Returns
    -------
    Path
        The file: lines A, D, B, E, C, F, the last two being the centre of the first pixel.
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
    """Read the .prj file of an image.

    Parameters
    ----------
    path : str or Path
        The .prj file, or its image.

    Returns
    -------
    CRS or None
        None when there is none, or it is empty.

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
    """Write a .prj file, as ESRI WKT.

    Parameters
    ----------
    path : str or Path
        The .prj file, or its image.
    crs : CRS in any spelling

    Returns
    -------
    Path
        The file.

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
    """Find the transform and the CRS of an image in the image, its .aux.xml, its world file and its .prj file.

    Parameters
    ----------
    path : str or Path
        Any raster GDAL reads.

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
