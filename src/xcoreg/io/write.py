"""Writing images in any format block by block, and copying a GeoTIFF with a new transform."""

from __future__ import annotations

import os
import tempfile
import warnings
from contextlib import contextmanager
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
import rasterio.shutil
from rasterio._env import get_gdal_config, set_gdal_config
from rasterio.env import getenv, hasenv
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import BufferedDatasetWriter
from rasterio.windows import Window
from rioxarray.exceptions import RioXarrayError
from xarray import DataArray, Dataset

from xcoreg import lazy
from xcoreg.errors import CoregError, OptionError
from xcoreg.files import GDAL_ERRORS, DiskFull, check_output, new_file, reporting_disk_full
from xcoreg.georef import map_to_pixel, pixel_to_map
from xcoreg.io.formats import (
    check_header,
    check_loss,
    driver_for,
    may_lose,
    refusing_ignored_options,
    side_files,
    with_sound_attributes,
    writer_for,
)
from xcoreg.io.metadata import Metadata, complete_tags, metadata_of, parts_of, profile_of
from xcoreg.io.stores import write_store
from xcoreg.io.stream import as_stored, encode_window, join_chunks, put_block, spans_of, stack_layers, stream_blocks
from xcoreg.io.write_mask import as_alpha, mask_to_write, place_mask, with_nan_as_mask, with_one_marker, write_mask
from xcoreg.raster.bands import arrays_of, check_chunks
from xcoreg.raster.grid import check_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from xcoreg.io.metadata import Metadata


_YES = ("yes", "true", "on", "1")
_STORES = ("netCDF", "Zarr")
_PLACE = 1e-3  # px, largest error of a corner when the file is read again
_BATCH = 32_000_000  # bytes of pixels in memory while writing an image without dask
_MEMORY = 100_000_000  # the same with dask: enough for all threads
_TILE = 512  # px, blocks end on the borders of tiles
_CACHE = 256_000_000  # bytes of GDAL's cache, whose default is 5 % of the memory


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
        deflated unless `creation` says otherwise. The coordinate ``valid_mask`` becomes the mask of the file: inside
        of GeoTIFFs, an alpha band of PNG, a variable of NetCDF and Zarr, else a file .msk beside it. Where bands have
        different nodata values, and the format has one, their pixels get that one, with a warning.

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
    sources = {one for each in arrays_of(image) if isinstance(one := each.encoding.get("source"), str)}
    goal = check_output(path, inputs=tuple(sources), overwrite=overwrite)
    name = driver_for(goal, driver)
    check_header(goal, name)
    if any(0 in one.shape for one in arrays_of(image)):
        raise OptionError(f"an image without pixels cannot be written: its sizes are {dict(image.sizes)}")
    for one in arrays_of(image):
        check_chunks(one, one.dims, "the image")
    image = with_one_marker(with_sound_attributes(image), per_variable=name in _STORES)
    image = image if name in _STORES else with_nan_as_mask(image)
    try:
        with new_file(goal, side_files(goal)) as place, rasterio.Env(), _small_cache(), warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            if name in _STORES:
                with reporting_disk_full(place.parent):
                    write_store(image, place, name, creation)
            else:
                with refusing_ignored_options(creation):
                    _write_gdal(image, place, name, creation)
    except (DiskFull, CoregError):
        raise
    except (
        *GDAL_ERRORS,
        OSError,
        SystemError,
        RuntimeError,  # of netCDF4, such as for names that are too long
        RioXarrayError,
        ValueError,
        TypeError,
        ArithmeticError,
        AttributeError,
    ) as error:
        if str(error).startswith("Read failed"):  # the image, which is damaged, not the output
            raise OptionError(f"an image cannot be read, it may be damaged: {error.__cause__ or error}") from error
        raise OptionError(f"{goal} cannot be written as {name}: {error}; choose another format or dtype") from error
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
    check_size((profile["height"], profile["width"]), asked=True, lazy=True)
    metadata = metadata_of(image, driver, statistics=not may_lose(driver, creation))
    if driver == "ENVI" and place.suffix.lower() in (".bil", ".bip"):
        profile["creation"].setdefault("interleave", place.suffix[1:].lower())
    mask = mask_to_write(parts_of(image), driver)
    if not issubclass(writer_for(driver), BufferedDatasetWriter):
        with reporting_disk_full(place.parent):
            _write_blocks(image, place, profile, metadata, mask)
    else:
        # Formats that only copy (COG, JP2, PNG) copy from a plain GeoTIFF instead of from memory.
        with tempfile.TemporaryDirectory(dir=place.parent) as room:
            plain = Path(room) / "plain.tif"
            draft = profile_of(image, "GTiff", {"compress": "none"})
            for each in (profile, draft) if as_alpha(mask, parts_of(image), driver) else ():
                each |= {"count": each["count"] + 1, "nodata": None}
            with reporting_disk_full(place.parent):
                _write_blocks(image, plain, draft, metadata, mask)
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
    windows = [encode_window(part, dict(zip(part.dims[-2:], spans, strict=True))) for part in parts]
    shape = (-1, *(span.stop - span.start for span in spans))
    blocks = [as_stored(block, dtype).reshape(shape) for block in lazy.compute_all([one.data for one in windows])]
    return np.concatenate(blocks), Window.from_slices(*spans)


def _write_blocks(
    image: DataArray | Dataset, place: Path, profile: dict[str, Any], metadata: Metadata, mask: DataArray | None
) -> None:
    options = {key: value for key, value in profile.items() if key != "creation"}
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK="YES"),
        rasterio.open(place, "w", **options, **profile["creation"]) as file,
    ):
        metadata.write(file)
        parts, mask = place_mask(file, parts_of(image), mask)
        _write_pixels(file, parts, profile["dtype"])
        if mask is not None:
            write_mask(file, mask)


def _write_pixels(file: Any, parts: list[DataArray], dtype: str) -> None:
    """Write the bands of an image to an open file: parts (rows, columns) or (bands, rows, columns)."""
    if file.block_shapes[0][1] < file.width and all(part.chunks is not None for part in parts):
        stream_blocks([stack_layers(parts)], partial(put_block, file, dtype))
        return
    for (top, left), block in _blocks(parts, dtype):
        file.write(block, window=Window(left, top, block.shape[2], block.shape[1]))


def _blocks(parts: list[DataArray], dtype: str) -> Iterator[tuple[tuple[int, int], NDArray[Any]]]:
    """Blocks of an image without dask, or for a file of complete rows, in the order of writing.

    A block is made of chunks of the image, if it has any, and ends with a tile of the file; else of complete rows.
    """
    (y_dim, x_dim), (rows, cols) = parts[0].dims[-2:], parts[0].shape[-2:]
    chunks = parts[0].chunksizes
    per_row = max(1, sum(part.nbytes for part in parts) // rows)
    depth = max(_TILE, _BATCH // per_row // _TILE * _TILE)
    for top, high in spans_of(chunks.get(y_dim) or (depth,) * -(-rows // depth), rows):
        most = max(1, _MEMORY * cols // (per_row * (high - top)))
        for left, right in spans_of(join_chunks(chunks.get(x_dim) or (cols,), most), cols):
            window = {y_dim: slice(top, high), x_dim: slice(left, right)}
            blocks = lazy.compute_all([encode_window(part, window).data for part in parts])
            stored = [as_stored(block, dtype).reshape(-1, high - top, right - left) for block in blocks]
            yield (top, left), stored[0] if len(stored) == 1 else np.concatenate(stored)


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


def check_integrity(path: Path, driver: str, sparse: bool = False) -> None:
    """Check that all blocks of a TIFF, and all bytes of an ENVI image, were written."""
    if driver not in ("GTiff", "COG", "ENVI"):
        return
    size = path.stat().st_size
    if driver == "ENVI":
        with rasterio.open(path) as file:
            wanted = file.count * file.height * file.width * np.dtype(file.dtypes[0]).itemsize
        if size < wanted:
            raise OSError(f"the file is incomplete: it has {size} of {wanted} bytes")
        return
    with rasterio.open(path) as file:
        levels = range(-1, len(file.overviews(1)))
    for level in levels:
        with rasterio.open(path, **({} if level < 0 else {"overview_level": level})) as file:
            ends = list(_ends(file))
        missing = sum(end is None for end in ends)
        if (missing and not sparse) or any(end is not None and end > size for end in ends):
            raise OSError(f"the file is incomplete: {missing} of {len(ends)} blocks are missing, or its end is")


def _ends(file: Any) -> Any:
    """End of each block, bytes from the start of the file; None for a missing block."""
    one = str(file.profile.get("interleave", "")).lower() != "band"
    for band in (1,) if one else file.indexes:
        high, wide = file.block_shapes[band - 1]
        for row, col in product(range(-(-file.height // high)), range(-(-file.width // wide))):
            found = [file.get_tag_item(f"BLOCK_{what}_{col}_{row}", "TIFF", bidx=band) for what in ("OFFSET", "SIZE")]
            yield int(found[0]) + int(found[1]) if all(found) else None
