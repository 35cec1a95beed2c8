"""Reading any raster lazily, and writing so that nothing is ever left half done."""

from __future__ import annotations

from xcoreg.io.move import copy_moved
from xcoreg.io.paths import NoSuchFile
from xcoreg.io.read import open_raster

__all__ = ["NoSuchFile", "copy_moved", "open_raster"]
