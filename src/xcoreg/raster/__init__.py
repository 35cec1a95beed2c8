"""Images as arrays: DataArray to (values, valid mask, GeoBox), a coarse look, footprints and their overlap."""

from __future__ import annotations

from xcoreg.raster.bands import spatial_dims, to_band
from xcoreg.raster.grid import grid_of
from xcoreg.raster.image import Raster, make_raster
from xcoreg.raster.nodata import find_nodata, nodata_of
from xcoreg.raster.source import Box

__all__ = ["Box", "Raster", "find_nodata", "grid_of", "make_raster", "nodata_of", "spatial_dims", "to_band"]
