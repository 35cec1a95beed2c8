"""Images as arrays: DataArray to (values, valid mask, GeoBox), a coarse look, footprints and their overlap."""
