"""A GeoTIFF copied byte by byte with a new transform: its pixels, masks and overviews stay as they are."""

from __future__ import annotations

import os
import shutil
import struct
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from affine import Affine

from xcoreg.errors import OptionError
from xcoreg.files import SIDECARS, NoSuchFile, check_output, local_path, new_file, open_gdal, reporting_disk_full
from xcoreg.georef import read_prj
from xcoreg.io.formats import side_files
from xcoreg.io.metadata import add_tags
from xcoreg.io.tags import LAYOUT, shift_rpcs, write_side_car

if TYPE_CHECKING:
    from collections.abc import Mapping


_TIEPOINT, _TRANSFORMATION, _RPCS = 33922, 34264, 50844
_DOUBLE = 12
_EXACT = 1e-6  # px, largest error of the transform of the copy


def copy_moved(
    src: str | os.PathLike[str], dst: str | os.PathLike[str], transform: Affine, tags: Mapping[str, str] | None = None
) -> Path:
    """Copy a local GeoTIFF byte by byte with a new transform, and the CRS of its .prj if it has none; add tags."""
    source = local_path(src)
    if source is None or not source.is_file():
        raise NoSuchFile(f"{src} does not exist")
    goal = check_output(dst, inputs=(source,))
    old = _transform_of(source)
    with new_file(goal, side_files(goal)) as place, reporting_disk_full(place.parent):
        shutil.copyfile(source, place)
        for suffix in SIDECARS:
            beside = source.with_name(source.name + suffix)
            if beside.exists():
                shutil.copyfile(beside, place.with_name(place.name + suffix))
        if not (_move_origin(place, old, transform) and _has_transform(place, transform)):
            _rewrite(place, source, transform)
        _move_rpcs(place, source, ~old @ (transform.c, transform.f))
        _add_side_tags(place, source)
        _add_crs(place, read_prj(source))
        if tags:
            add_tags(place, tags)
    return goal


def _add_side_tags(place: Path, source: Path) -> None:
    """Write namespaces of tags that GDAL reads from other files beside the source, such as .IMD, beside the copy."""
    with open_gdal(source) as old, open_gdal(place) as new:
        names = set(old.tag_namespaces()) - set(new.tag_namespaces()) - LAYOUT - {"RPC"}
        lost = [(0, name, old.tags(ns=name)) for name in sorted(names)]
    if lost:
        write_side_car(place, lost, [])


def _add_crs(place: Path, crs: Any) -> None:
    """Write a CRS, if there is one, into a file that has none."""
    if crs is None:
        return
    with open_gdal(place) as file:
        if file.crs:
            return
    with open_gdal(place, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as file:
        file.crs = crs.to_wkt()


def _transform_of(path: Path) -> Affine:
    with open_gdal(path) as file:
        if file.driver != "GTiff":
            raise OptionError(f"{path} is {file.driver}, not a GeoTIFF: write it with write_raster")
        transform: Affine = file.transform
        return transform


def _has_transform(path: Path, transform: Affine) -> bool:
    found = _transform_of(path)
    grain = _EXACT * min(abs(transform.a) + abs(transform.d), abs(transform.b) + abs(transform.e))
    return all(abs(one - two) <= grain for one, two in zip(tuple(found)[:6], tuple(transform)[:6], strict=True))


def _rewrite(place: Path, source: Path, transform: Affine) -> None:
    """Set the transform with GDAL, which may lose a cloud optimised layout."""
    shutil.copyfile(source, place)
    with suppress(OptionError), open_gdal(place, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as file:
        file.transform = transform
    if not _has_transform(place, transform):
        raise OptionError(f"the transform of {source} cannot be replaced: write it with write_raster")


def _move_rpcs(place: Path, source: Path, move: tuple[float, float]) -> None:
    """Move the RPCs of a copy, also those in files beside its source, by (dcol, drow) px."""
    with open_gdal(source) as file:
        rpcs = file.tags(ns="RPC")
    if not rpcs:
        return
    moved = shift_rpcs(rpcs, *move)
    with place.open("r+b") as raw:
        offset, count, order = _doubles(raw).get(_RPCS, (0, 0, ""))
        for at, before, step in ((2, "LINE_OFF", move[1]), (3, "SAMP_OFF", move[0])) if count == 92 else ():
            _add(raw, offset + 8 * at, order, float(rpcs[before]), float(rpcs[before]) - step)
    with open_gdal(place) as file:
        found = file.tags(ns="RPC")
    if all(abs(float(found.get(key, "nan")) - float(moved[key])) < _EXACT for key in ("LINE_OFF", "SAMP_OFF")):
        return
    with open_gdal(place, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as file:
        file.update_tags(ns="RPC", **moved)


def _move_origin(place: Path, old: Affine, new: Affine) -> bool:
    """Change the doubles of the file's tie point or matrix; False where that does not suffice."""
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
    """Shift a stored coordinate, which is not the origin itself where pixels are points."""
    file.seek(offset)
    (stored,) = struct.unpack(order + "d", file.read(8))
    file.seek(offset)
    file.write(struct.pack(order + "d", after if stored == before else stored + (after - before)))


def _doubles(file: BinaryIO) -> dict[int, tuple[int, int, str]]:
    """Arrays of doubles in the first directory of a TIFF: tag to (offset, count, byte order)."""
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
