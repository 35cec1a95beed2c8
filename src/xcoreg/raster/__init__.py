"""Images as arrays: DataArray to (values, valid mask, GeoBox), overviews, footprints and their overlap."""
