"""Writing images in any format block by block, and copying a GeoTIFF with a new transform."""

from __future__ import annotations

import os
import shutil
import struct
import tempfile
import warnings
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import rasterio
import rasterio.shutil
from affine import Affine
from rasterio._env import get_gdal_config, set_gdal_config
from rasterio._err import CPLE_BaseError
from rasterio.env import getenv, hasenv
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import BufferedDatasetWriter
from rasterio.windows import Window
from xarray import DataArray, Dataset, Variable
from xarray.conventions import encode_cf_variable

from xcoreg import lazy
from xcoreg.errors import OptionError
from xcoreg.files import (
    DiskFull,
    NoSuchFile,
    check_integrity,
    check_output,
    local_path,
    new_file,
    open_gdal,
    reporting_disk_full,
)
from xcoreg.georef import map_to_pixel, pixel_to_map
from xcoreg.io.formats import (
    check_header,
    check_loss,
    driver_for,
    may_lose,
    refusing_ignored_options,
    side_files,
    writer_for,
)
from xcoreg.io.metadata import complete_tags, metadata_of, parts_of, profile_of
from xcoreg.io.stores import write_store
from xcoreg.io.stream import stream_blocks
from xcoreg.io.tags import shift_rpcs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from xcoreg.io.metadata import Metadata


_YES = ("yes", "true", "on", "1")
_TILE = 512  # px, blocks end on the borders of tiles
_PLACE = 1e-3  # px, largest error of a corner when the file is read again
_CACHE = 256_000_000  # bytes of GDAL's cache, whose default is 5 % of the memory
_BATCH = 32_000_000  # bytes of pixels in memory while writing an image without dask
_MEMORY = 100_000_000  # the same with dask: enough for all threads


def write_raster(
    image: DataArray | Dataset,
    path: str | os.PathLike[str],
    *,
    driver: str | None = None,
    overwrite: bool = True,
    **creation: Any,
) -> Path:
    """Write an image; the file appears complete or not at all.

    Parameters
    ----------
    image : DataArray or Dataset
        (y, x) or (band, y, x); NetCDF and Zarr take any dimensions. Variables of a Dataset become bands. Lazy images
        are read, and dask ones computed, one strip of blocks at a time.
    path : str or path
        A local path. The extension names the format: .tif GeoTIFF, .nc NetCDF, .zarr Zarr, .bsq/.bil/.bip/.img/.dat
        ENVI, .jp2, .png and whatever else GDAL writes.
    driver : str, optional
        GDAL's name of the format, if not by extension; "COG" makes a cloud optimised GeoTIFF.
    overwrite : bool
        Whether an existing file may be replaced.
    **creation
        Creation options of the driver (compress="zstd", ...); for NetCDF and Zarr, encoding of the variables.

    Returns
    -------
    Path
        The file, with CRS, transform (or control points, in GeoTIFFs), dtype, nodata, scale and offset, band names and
        attributes; booleans become uint8, half floats float32. GeoTIFFs are tiled and
        deflated unless `creation` says otherwise.

    Raises
    ------
    OptionError
        When the image does not fit the format, the format is unknown or cannot be written, or `path` is a folder, a
        read-only file, the file the image is read from, or in a folder that does not exist or is read-only.
    DiskFull
        An OSError.
    RasterioIOError
        When the file that a lazy image is read from is damaged.

    Examples
    --------
    >>> import tempfile
    >>> image = DataArray(np.arange(6, dtype="uint16").reshape(2, 3), dims=("y", "x")).rio.write_crs("EPSG:32633")
    >>> write_raster(image, Path(tempfile.mkdtemp()) / "a.tif").name
    'a.tif'
    """
    arrays = [image] if isinstance(image, DataArray) else list(image.data_vars.values())
    sources = {each.encoding["source"] for each in arrays if isinstance(each.encoding.get("source"), str)}
    goal = check_output(path, inputs=tuple(sources), overwrite=overwrite)
    name = driver_for(goal, driver)
    check_header(goal, name)
    try:
        with new_file(goal, side_files(goal)) as place, rasterio.Env(), _small_cache(), warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            if name in ("netCDF", "Zarr"):
                with reporting_disk_full(place.parent):
                    write_store(image, place, name, creation)
            else:
                with refusing_ignored_options(creation):
                    _write_gdal(image, place, name, creation)
    except DiskFull:
        raise
    except (RasterioError, CPLE_BaseError, OSError) as error:
        if str(error).startswith("Read failed"):  # the image, which is damaged, not the output
            raise
        raise OptionError(f"{goal} cannot be written as {name}: {error}") from error
    return goal


@contextmanager
def _small_cache() -> Iterator[None]:
    """Limit GDAL's cache, unless the user has configured it."""
    if "GDAL_CACHEMAX" in os.environ or (hasenv() and "GDAL_CACHEMAX" in getenv()):
        yield
        return
    before = get_gdal_config("GDAL_CACHEMAX")
    try:
        with rasterio.Env(GDAL_CACHEMAX=min(_CACHE, before)):
            yield
    finally:
        set_gdal_config("GDAL_CACHEMAX", before)  # leaving an Env does not always do so


def _write_gdal(image: DataArray | Dataset, place: Path, driver: str, creation: Mapping[str, Any]) -> None:
    profile = profile_of(image, driver, creation)
    metadata = metadata_of(image, driver, statistics=not may_lose(driver, creation))
    if driver == "ENVI" and place.suffix.lower() in (".bil", ".bip"):
        profile["creation"].setdefault("interleave", place.suffix[1:].lower())
    if not issubclass(writer_for(driver), BufferedDatasetWriter):
        with reporting_disk_full(place.parent):
            _write_blocks(image, place, profile, metadata)
    else:
        # Formats that only copy (COG, JP2, PNG) copy from a plain GeoTIFF instead of from memory.
        with tempfile.TemporaryDirectory(dir=place.parent) as room:
            plain = Path(room) / "plain.tif"
            with reporting_disk_full(place.parent):
                _write_blocks(image, plain, profile_of(image, "GTiff", {"compress": "none"}), metadata)
                rasterio.shutil.copy(plain, place, driver=driver, strict=False, **profile["creation"])
    with reporting_disk_full(place.parent):
        _check(place, profile)
        check_integrity(place, driver, sparse=str(profile["creation"].get("sparse_ok", "no")).lower() in _YES)
        complete_tags(place, metadata, driver)
        if may_lose(driver, creation):
            check_loss(place, driver, *_middle(image, profile["dtype"]))


def _middle(image: DataArray | Dataset, dtype: str) -> tuple[NDArray[Any], Window]:
    """Pixels (band, y, x) in the middle of an image, as they are stored, and their window."""
    parts = parts_of(image)
    spans = [slice(max((size - _TILE) // 2, 0), min((size + _TILE) // 2, size)) for size in parts[0].shape[-2:]]
    blocks = lazy.compute_all([_encoded(part, dict(zip(part.dims[-2:], spans, strict=True))).data for part in parts])
    shape = (-1, *(span.stop - span.start for span in spans))
    return np.concatenate([_stored(block, dtype).reshape(shape) for block in blocks]), Window.from_slices(*spans)


def _write_blocks(image: DataArray | Dataset, place: Path, profile: dict[str, Any], metadata: Metadata) -> None:
    options = {key: value for key, value in profile.items() if key != "creation"}
    with rasterio.open(place, "w", **options, **profile["creation"]) as file:
        metadata.write(file)
        parts = parts_of(image)
        if file.block_shapes[0][1] < file.width and all(part.chunks is not None for part in parts):
            stream_blocks([_layers(parts)], partial(_put, file, profile["dtype"]))
            return
        for (top, left), block in _blocks(parts, profile["dtype"]):
            file.write(block, window=Window(left, top, block.shape[2], block.shape[1]))


def _layers(parts: list[DataArray]) -> Any:
    """Stack parts to a dask array (band, row, column) of which a chunk has all bands and ends with a tile."""
    dims = ("layer", *parts[0].dims[-2:])
    arrays = [_encoded(part, {}).data for part in parts]
    layers = [Variable(dims, one if one.ndim == 3 else one[None]) for one in arrays]
    stack = layers[0] if len(layers) == 1 else Variable.concat(layers, "layer")  # type: ignore[no-untyped-call]
    sides = {dim: max(1, round(max(stack.chunksizes[dim]) / _TILE)) * _TILE for dim in dims[1:]}
    return stack.chunk({"layer": -1, **sides}).data


def _put(file: Any, dtype: str, _number: int, window: tuple[slice, ...], block: NDArray[Any]) -> None:
    _, rows, cols = window
    where = Window(cols.start, rows.start, cols.stop - cols.start, rows.stop - rows.start)
    file.write(_stored(block, dtype), window=where)


def _blocks(parts: list[DataArray], dtype: str) -> Iterator[tuple[tuple[int, int], NDArray[Any]]]:
    """Blocks of an image without dask, or for a file of complete rows, in the order of writing.

    A block is made of chunks of the image, if it has any, and ends with a tile of the file; else of complete rows.
    """
    (y_dim, x_dim), (rows, cols) = parts[0].dims[-2:], parts[0].shape[-2:]
    chunks = parts[0].chunksizes
    per_row = max(1, sum(part.nbytes for part in parts) // rows)
    depth = max(_TILE, _BATCH // per_row // _TILE * _TILE)
    for top, high in _spans(chunks.get(y_dim) or (depth,) * -(-rows // depth), rows):
        most = max(1, _MEMORY * cols // (per_row * (high - top)))
        for left, right in _spans(_joined(chunks.get(x_dim) or (cols,), most), cols):
            window = {y_dim: slice(top, high), x_dim: slice(left, right)}
            blocks = lazy.compute_all([_encoded(part, window).data for part in parts])
            stored = [_stored(block, dtype).reshape(-1, high - top, right - left) for block in blocks]
            yield (top, left), stored[0] if len(stored) == 1 else np.concatenate(stored)


def _spans(sizes: Sequence[int], end: int) -> Iterator[tuple[int, int]]:
    starts = np.cumsum((0, *sizes)).tolist()
    return ((start, min(stop, end)) for start, stop in pairwise(starts))


def _joined(sizes: Sequence[int], most: int) -> list[int]:
    """Join neighbouring chunks up to a width that ends with a tile."""
    joined = [0]
    for size in sizes:
        if joined[-1] and joined[-1] + size > most and sum(joined) % _TILE == 0:
            joined.append(0)
        joined[-1] += size
    return joined


def _encoded(part: DataArray, window: dict[Any, slice]) -> Variable:
    """Window as it is stored, with nodata values and unscaled."""
    encoded: Variable = encode_cf_variable(part.variable.isel(window))
    return encoded


def _stored(values: NDArray[Any], dtype: str) -> NDArray[Any]:
    if np.dtype(dtype).kind in "iu" and values.dtype.kind == "f":
        limits = np.iinfo(dtype)
        values = np.clip(np.rint(values), limits.min, limits.max)
    return values.astype(dtype, copy=False)


def _check(place: Path, profile: dict[str, Any]) -> None:
    """Check the new file: some formats change the dtype or drop the transform silently."""
    with rasterio.open(place) as file:
        made = file.height, file.width, file.count, file.dtypes[0]
        found, crs = file.transform, file.crs or file.gcps[1]
    wanted = profile["height"], profile["width"], profile["count"], profile["dtype"]
    driver, transform = profile["driver"], profile["transform"]
    if made != wanted:
        raise OptionError(f"{driver} cannot store {wanted[2]} band(s) of {wanted[3]}: choose another format")
    if transform is not None:
        col, row = map_to_pixel(found, *pixel_to_map(transform, [0, wanted[1]], [0, wanted[0]]))
        if np.abs([col - [0, wanted[1]], row - [0, wanted[0]]]).max() > _PLACE:
            raise OptionError(f"{driver} cannot store the transform {tuple(transform)[:6]}: choose another format")
    if profile["crs"] and crs is None:
        raise OptionError(f"{driver} cannot store the CRS of this image: choose another format")


_TIEPOINT, _TRANSFORMATION, _RPCS = 33922, 34264, 50844
_DOUBLE = 12
_EXACT = 1e-6  # px, largest error of the transform of the copy


def copy_moved(src: str | os.PathLike[str], dst: str | os.PathLike[str], transform: Affine) -> Path:
    """Copy a local GeoTIFF byte by byte with a new transform."""
    source = local_path(src)
    if source is None or not source.is_file():
        raise NoSuchFile(f"{src} does not exist")
    goal = check_output(dst, inputs=(source,))
    old = _transform_of(source)
    with new_file(goal, side_files(goal)) as place, reporting_disk_full(place.parent):
        shutil.copyfile(source, place)
        for suffix in (".aux.xml", ".ovr", ".msk"):
            beside = source.with_name(source.name + suffix)
            if beside.exists():
                shutil.copyfile(beside, place.with_name(place.name + suffix))
        if not (_move_origin(place, old, transform) and _has_transform(place, transform)):
            _rewrite(place, source, transform)
        _move_rpcs(place, source, ~old @ (transform.c, transform.f))
    return goal


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
    try:
        with open_gdal(place, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as file:
            file.transform = transform
    except OptionError as error:
        raise OptionError(f"the transform of {source} cannot be replaced: write it with write_raster") from error
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
