"""Reading and writing images: GDAL's formats, Zarr and NetCDF, each written completely or not at all."""
