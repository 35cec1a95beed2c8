"""World files and .prj files: what lies beside an image and says where it is."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine

from xcoreg.errors import OptionError
from xcoreg.georef.crs import as_crs
from xcoreg.georef.pixels import linear_of, pixel_to_map
from xcoreg.georef.spelling import parse_crs
from xcoreg.points.atomic import replacing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyproj import CRS

__all__ = ["find_georeference", "read_prj", "read_world_file", "world_file", "write_prj", "write_world_file"]

# Formats whose world files have a suffix of their own, as GDAL looks for them; all know .wld too.
_KNOWN = {".tfw", ".tifw", ".tiffw", ".jgw", ".jpgw", ".jpegw", ".pgw", ".pngw", ".bpw", ".gfw", ".wld", ".j2w", ".blw"}


def world_file(path: str | Path) -> Path:
    """Name the world file of an image, as GDAL looks for it.

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
        The world file, or the image that it lies beside.

    Returns
    -------
    Affine
        Pixel corner to map: the half pixel between it and the file, which tells the centre of the first pixel, is
        taken off.

    Raises
    ------
    OptionError
        When there is none, or it does not hold six numbers that can be inverted.

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
        # Some programs write in the language of their user, with decimal commas.
        numbers = [float(part.replace(",", ".")) for part in text.split()][:6]
    except ValueError as error:
        raise OptionError(f"the world file {file} does not hold numbers: {error}") from error
    if len(numbers) < 6 or not np.isfinite(numbers).all():
        raise OptionError(f"the world file {file} holds {len(numbers)} numbers, six are needed: A D B E C F")
    a, d, b, e, c, f = numbers
    if a * e - b * d == 0:
        raise OptionError(f"the world file {file} cannot be inverted: A {a}, D {d}, B {b}, E {e}")
    x, y = pixel_to_map((a, b, c, d, e, f), -1.0, -1.0)  # from the centre of a pixel back to its corner
    return Affine(a, b, float(x), d, e, float(y))


def write_world_file(path: str | Path, transform: Affine | Sequence[float]) -> Path:
    """Write a world file.

    Parameters
    ----------
    path : str or Path
        The world file, or the image that it is to lie beside.
    transform : Affine or sequence of six floats (a, b, c, d, e, f)
        Pixel corner to map.

    Returns
    -------
    Path
        What was written: lines A, D, B, E, C, F, the last two being the centre of the first pixel.
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
        The .prj file, or the image that it lies beside.

    Returns
    -------
    CRS or None
        None when there is none, or it is empty.

    Raises
    ------
    OptionError
        When nobody knows the CRS.
    """
    file = Path(path).with_suffix(".prj")
    try:
        return parse_crs(file) if file.is_file() else None
    except OptionError as error:
        raise OptionError(f"{file} cannot be read: {error}") from error


def write_prj(path: str | Path, crs: Any) -> Path:
    """Write a .prj file, as ESRI WKT.

    Parameters
    ----------
    path : str or Path
        The .prj file, or the image that it is to lie beside.
    crs : CRS in any spelling

    Returns
    -------
    Path
        What was written.

    Raises
    ------
    OptionError
        When the CRS is unknown, or cannot be said in ESRI WKT.
    """
    file = Path(path).with_suffix(".prj")
    parsed = as_crs(crs)
    wkt = parsed.to_wkt("WKT1_ESRI")
    if not wkt:
        raise OptionError(f"ESRI WKT has no words for the CRS {parsed.name!r}")
    with replacing(file) as temporary:
        temporary.write_text(wkt, encoding="utf-8")
    return file


def find_georeference(path: str | Path) -> tuple[Affine | None, CRS | None]:
    """Find where an image lies: from the image, from its .aux.xml, its world file and its .prj file.

    Parameters
    ----------
    path : str or Path
        Any raster GDAL reads.

    Returns
    -------
    transform : Affine or None
        Pixel corner to map. What GDAL finds (in the image, .aux.xml, or the world files it knows) wins.
    crs : CRS or None
        A .prj file counts where the image itself names no CRS: GDAL ignores it beside a TIFF.

    Raises
    ------
    OptionError
        When the image cannot be opened, or a file beside it cannot be read.
    """
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning, RasterioError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path) as file:
                transform, crs = file.transform, parse_crs(file.crs)
    except RasterioError as error:
        raise OptionError(f"{path} cannot be opened: {error}") from error
    if transform.is_identity:
        transform = read_world_file(path) if world_file(path).is_file() else None
    return transform, crs if crs is not None else read_prj(path)
