"""Whether a written file is whole: GDAL's threads lose what the system tells them of a full disk."""

from __future__ import annotations

import errno
import shutil
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["DiskFull", "check_whole", "telling_full"]

_FULL = 1 << 20  # bytes: a disk with less is full
_TIFFS = ("GTiff", "COG")


class DiskFull(OSError):
    """There is no room for an output."""


@contextmanager
def telling_full(folder: Path) -> Iterator[None]:
    """Name a full disk as the reason why something could not be written: GDAL has many words for that, or none.

    Parameters
    ----------
    folder : Path
        Where it is written.

    Raises
    ------
    DiskFull
        In the place of any error while the disk is full.

    Examples
    --------
    >>> with telling_full(Path()):
    ...     pass
    """
    try:
        yield
    except (RasterioError, CPLE_BaseError, OSError, SystemError, RuntimeError) as error:
        if getattr(error, "errno", None) == errno.ENOSPC or shutil.disk_usage(folder).free < _FULL:
            raise DiskFull(errno.ENOSPC, "the disk is full", str(folder.parent)) from error
        raise


def check_whole(path: Path, driver: str, sparse: bool = False) -> None:
    """Refuse a TIFF some of whose blocks were not written, or not to their ends, and an ENVI image that is too short.

    Parameters
    ----------
    path : Path
        The new file.
    driver : str
        GDAL's name; other formats tell by themselves.
    sparse : bool
        Whether blocks may be missing.

    Raises
    ------
    OSError
        When something is missing.

    Examples
    --------
    >>> check_whole(Path("a.png"), "PNG")
    """
    if driver not in (*_TIFFS, "ENVI"):
        return
    size = path.stat().st_size
    if driver == "ENVI":
        with rasterio.open(path) as file:
            wanted = file.count * file.height * file.width * np.dtype(file.dtypes[0]).itemsize
        if size < wanted:
            raise OSError(f"the file is not whole: it has {size} of {wanted} bytes")
        return
    with rasterio.open(path) as file:
        levels = range(-1, len(file.overviews(1)))
    for level in levels:
        with rasterio.open(path, **({} if level < 0 else {"overview_level": level})) as file:
            ends = list(_ends(file))
        missing = sum(end is None for end in ends)
        if (missing and not sparse) or any(end is not None and end > size for end in ends):
            raise OSError(f"the file is not whole: {missing} of {len(ends)} blocks are missing, or its end is")


def _ends(file: Any) -> Any:
    """Where each block ends, bytes from the start of the file; None of a block that is not there."""
    one = str(file.profile.get("interleave", "")).lower() != "band"
    for band in (1,) if one else file.indexes:
        high, wide = file.block_shapes[band - 1]
        for row, col in product(range(-(-file.height // high)), range(-(-file.width // wide))):
            found = [file.get_tag_item(f"BLOCK_{what}_{col}_{row}", "TIFF", bidx=band) for what in ("OFFSET", "SIZE")]
            yield int(found[0]) + int(found[1]) if all(found) else None
