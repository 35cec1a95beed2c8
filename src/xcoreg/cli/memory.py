"""How the program's own process holds memory; as a library, xcoreg leaves that to whoever uses it."""

from __future__ import annotations

import os

__all__ = ["keep_memory"]

# Parameters of the C library of Linux: what is freed at the end goes back to the system beyond so many bytes, blocks
# beyond so many bytes are mapped by themselves, and so many heaps serve all threads.
_TRIM, _MAPPED, _HEAPS = (-1, 256 << 20), (-3, 32 << 20), (-8, 1)


def keep_memory() -> bool:
    """Keep memory from one window to the next instead of handing it back and having it cleared anew.

    Returns
    -------
    bool
        Whether the C library was told; others than that of Linux decide by themselves.

    Notes
    -----
    GDAL would hold a twentieth of the machine's memory in decoded blocks, and each is needed by a few windows in a
    row: ``GDAL_CACHEMAX`` is set to 64 MB unless it is set already.
    """
    import ctypes

    os.environ.setdefault("GDAL_CACHEMAX", "64")
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # no such function, no such library
        return False
    told = [mallopt(*parameter) for parameter in (_TRIM, _MAPPED, _HEAPS)]
    return all(told)
