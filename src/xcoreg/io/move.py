"""The fast way to move a GeoTIFF: copy its bytes and change nothing but where it lies."""

from __future__ import annotations

import shutil
import struct
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import rasterio
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from xcoreg.errors import OptionError
from xcoreg.io.paths import NoSuchFile, check_output, local_path, new_file

if TYPE_CHECKING:
    import os

__all__ = ["copy_moved"]

_TIEPOINT, _TRANSFORMATION = 33922, 34264
_DOUBLE = 12
_EXACT = 1e-6  # px, how close to the wanted place the copy must read


def copy_moved(src: str | os.PathLike[str], dst: str | os.PathLike[str], transform: Affine) -> Path:
    """Copy a local GeoTIFF byte by byte and move it.

    Parameters
    ----------
    src : str or path
        A local GeoTIFF.
    dst : str or path
        The copy; replaced if it exists. Written beside the goal and renamed.
    transform : Affine
        Of the copy, pixel corners to map.

    Returns
    -------
    Path
        The copy. Where only the origin differs, 16 to 32 bytes of it do: pixels, overviews, tags, compression and the
        layout of a cloud optimised file stay.

    Raises
    ------
    NoSuchFile
        Without `src`.
    OptionError
        When `src` is no local GeoTIFF, or `dst` cannot be written.

    Examples
    --------
    >>> copy_moved("missing.tif", "out.tif", Affine.identity())
    Traceback (most recent call last):
    xcoreg.io.paths.NoSuchFile: missing.tif does not exist
    """
    source = local_path(src)
    if source is None or not source.is_file():
        raise NoSuchFile(f"{src} does not exist")
    goal = check_output(dst, inputs=(source,))
    old = _transform_of(source)
    with new_file(goal) as place:
        shutil.copyfile(source, place)
        for suffix in (".aux.xml", ".ovr", ".msk"):
            beside = source.with_name(source.name + suffix)
            if beside.exists():
                shutil.copyfile(beside, place.with_name(place.name + suffix))
        if not (_move_origin(place, old, transform) and _lies_at(place, transform)):
            _rewrite(place, source, transform)
    return goal


def _transform_of(path: Path) -> Affine:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path) as file:
                if file.driver != "GTiff":
                    raise OptionError(f"{path} is no GeoTIFF but {file.driver}: write it with write_raster")
                transform: Affine = file.transform
                return transform
    except RasterioError as error:
        raise OptionError(f"{path} is not a raster that GDAL can read") from error


def _lies_at(path: Path, transform: Affine) -> bool:
    found = _transform_of(path)
    grain = _EXACT * min(abs(transform.a) + abs(transform.d), abs(transform.b) + abs(transform.e))
    return all(abs(one - two) <= grain for one, two in zip(tuple(found)[:6], tuple(transform)[:6], strict=True))


def _rewrite(place: Path, source: Path, transform: Affine) -> None:
    """Let GDAL set the transform; a cloud optimised layout may be lost."""
    shutil.copyfile(source, place)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(place, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as file:
                file.transform = transform
    except RasterioError as error:
        raise OptionError(f"the copy of {source} cannot be moved in place: write it with write_raster") from error
    if not _lies_at(place, transform):
        raise OptionError(f"the copy of {source} does not take a new transform: write it with write_raster")


def _move_origin(place: Path, old: Affine, new: Affine) -> bool:
    """Change the doubles of the file's tie point or matrix; False where that is not all there is to change."""
    if (old.a, old.b, old.d, old.e) != (new.a, new.b, new.d, new.e):
        return False
    with place.open("r+b") as file:
        tags = _doubles(file)
        for tag, count, x_at, y_at in ((_TIEPOINT, 6, 3, 4), (_TRANSFORMATION, 16, 3, 7)):
            if tag in tags and tags[tag][1] == count:
                offset, _, order = tags[tag]
                for at, before, after in ((x_at, old.c, new.c), (y_at, old.f, new.f)):
                    _add(file, offset + 8 * at, order, before, after)
                return True
    return False


def _add(file: BinaryIO, offset: int, order: str, before: float, after: float) -> None:
    """Move one stored coordinate; it is not the origin itself where pixels are stored as points."""
    file.seek(offset)
    (stored,) = struct.unpack(order + "d", file.read(8))
    file.seek(offset)
    file.write(struct.pack(order + "d", after if stored == before else stored + (after - before)))


def _doubles(file: BinaryIO) -> dict[int, tuple[int, int, str]]:
    """Find arrays of doubles in the first directory of a TIFF: tag to (offset, count, byte order)."""
    head = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2], "")
    if not order:
        return {}
    (magic,) = struct.unpack(order + "H", head[2:4])
    big = magic == 43
    (start,) = struct.unpack(order + ("Q" if big else "L"), head[8:16] if big else head[4:8])
    count_format, entry_format = ("Q", "HHQQ") if big else ("H", "HHLL")
    file.seek(start)
    (entries,) = struct.unpack(order + count_format, file.read(struct.calcsize(order + count_format)))
    size = struct.calcsize(order + entry_format)
    table = file.read(size * entries)
    rows = (struct.unpack_from(order + entry_format, table, at * size) for at in range(len(table) // size))
    return {tag: (offset, count, order) for tag, kind, count, offset in rows if kind == _DOUBLE and count > 1}
