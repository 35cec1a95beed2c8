"""Reading any raster lazily, and writing so that nothing is ever left half done."""

from __future__ import annotations

from xcoreg.files import NoSuchFile, check_output
from xcoreg.io.read import open_raster
from xcoreg.io.write import copy_moved, write_raster

__all__ = ["NoSuchFile", "check_output", "copy_moved", "open_raster", "write_raster"]
