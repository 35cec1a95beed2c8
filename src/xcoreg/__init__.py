"""xcoreg: coregistration of georeferenced rasters, native to xarray."""
