"""What files say of their blocks and chunks, checked before they are read; errors of damaged chunks of Zarr stores."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from xarray import Variable
from xarray.backends import BackendArray

from xcoreg.errors import OptionError
from xcoreg.files import STORE_ERRORS, replace_reads


def block_size(file: Any) -> int:
    """Bytes of the largest block, which GDAL reads as a whole."""
    kinds = [np.dtype(one.replace("complex_int16", "complex64")).itemsize for one in file.dtypes]
    return max((rows * cols * size for (rows, cols), size in zip(file.block_shapes, kinds, strict=True)), default=0)


def report_damage(variable: Variable, name: str) -> None:
    """Make reads of a lazy variable of a Zarr store report chunks that are damaged."""
    replace_reads(variable, "ZarrArrayWrapper", lambda array: _StoredArray(array, name))


class _StoredArray(BackendArray):
    """Values of a Zarr store."""

    def __init__(self, array: Any, name: str) -> None:
        self.array, self.name = array, name
        self.shape, self.dtype = array.shape, array.dtype

    def __getitem__(self, key: Any) -> Any:
        try:
            check_stored(self.array.get_array(), key.tuple)
            return self.array[key]
        except STORE_ERRORS as error:
            place = ", ".join(
                f"{one.start}:{one.stop}" if isinstance(one, slice) else str(one)[:40] for one in key.tuple
            )
            raise OptionError(
                f"{self.name} cannot be read at [{place}], it may be damaged: {str(error) or type(error).__name__}"
            ) from error


def check_block(name: str, size: int) -> None:
    """Refuse blocks of a file that would fill the memory before a single pixel of them is known: bytes."""
    if size > _LARGEST_BLOCK:
        raise OptionError(
            f"{name} is stored in blocks of {size / 1e9:.1f} GB, each of which is read as a whole, and "
            f"{_LARGEST_BLOCK / 1e9:.1f} GB are the most: store it in smaller ones (gdal_translate -co TILED=YES)"
        )


def check_stored(array: Any, key: Sequence[Any]) -> None:
    """Refuse local chunks cut off before the end that their header names, or far larger inside than the array says.

    Their codecs trust the header: decompressing them would end the process, or fill the memory. Shards and remote
    stores are not checked. array : of zarr 2 or 3; key : of slices, integers or arrays of integers.
    """
    check_block(array.path or "the array", math.prod(array.chunks) * array.dtype.itemsize)
    codecs = array.compressors if hasattr(array, "compressors") else [array.compressor]
    kinds = [kind for one in codecs if (kind := type(one).__name__.removesuffix("Codec")) in _HEADERS]
    store = getattr(array, "chunk_store", None) or getattr(array, "store", None)  # of zarr 2, 3
    root = getattr(store, "root", None) or getattr(store, "path", None)
    if not kinds or root is None or getattr(array, "shards", None) is not None:
        return
    name = array._chunk_key if hasattr(array, "_chunk_key") else array.metadata.encode_chunk_key
    most = _EXPANDED * math.prod(array.chunks) * array.dtype.itemsize + 2**16
    sides = zip(key, array.shape, array.chunks, strict=True)
    parts = [np.unique(np.arange(size)[part] // chunk).tolist() for part, size, chunk in sides]
    for at in product(*parts):
        path = Path(root, "" if hasattr(array, "_chunk_key") else array.path, name(at))
        with suppress(FileNotFoundError), path.open("rb") as file:
            stored = path.stat().st_size
            inside, needed = _HEADERS[kinds[-1]](file.read(18).ljust(18, b"\0"))
            if stored < needed:
                raise ValueError(f"the chunk {path.name} is cut off after {stored} bytes")
            if inside > most:
                raise ValueError(f"the chunk {path.name} holds {inside} bytes, and at most {most} belong there")


def _zstd_size(head: bytes) -> tuple[int, int]:
    """Read the size of what a Zstandard frame holds, if it names that."""
    single = head[4] >> 5 & 1
    at = 6 - single + (0, 1, 2, 4)[head[4] & 3]
    return int.from_bytes(head[at : at + (single, 2, 4, 8)[head[4] >> 6]], "little"), 4


# Bytes inside and bytes of the file, as the header of a chunk says: C-Blosc, Zstandard, LZ4 of numcodecs.
_HEADERS: dict[str, Callable[[bytes], tuple[int, int]]] = {
    "Blosc": lambda head: (int.from_bytes(head[4:8], "little"), max(16, int.from_bytes(head[12:16], "little"))),
    "Zstd": _zstd_size,
    "LZ4": lambda head: (int.from_bytes(head[:4], "little"), 4),
}
_LARGEST_BLOCK = 2**30
_EXPANDED = 16  # times the bytes of a chunk's pixels: what filters may make of them
