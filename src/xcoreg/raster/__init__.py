"""Images as arrays: DataArray to (values, valid mask, GeoBox), a coarse look, footprints and their overlap."""

from __future__ import annotations

from xcoreg.raster.bands import spatial_dims, to_band
from xcoreg.raster.coarse import Look, look
from xcoreg.raster.grid import grid_of, middle_of, placed_by
from xcoreg.raster.held import hold
from xcoreg.raster.image import Raster, make_raster, with_marker
from xcoreg.raster.nodata import find_nodata, nodata_of
from xcoreg.raster.outline import footprint, overlap
from xcoreg.raster.source import Box

__all__ = [
    "Box",
    "Look",
    "Raster",
    "find_nodata",
    "footprint",
    "grid_of",
    "hold",
    "look",
    "make_raster",
    "middle_of",
    "nodata_of",
    "overlap",
    "placed_by",
    "spatial_dims",
    "to_band",
    "with_marker",
]
