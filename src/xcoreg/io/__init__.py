"""Reading and writing images: GDAL's formats, Zarr and NetCDF, each written whole or not at all."""
