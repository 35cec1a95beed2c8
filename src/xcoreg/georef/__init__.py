"""Georeferencing: pixels and maps, the one half pixel, and displacements between CRSs.

Conventions, used everywhere:

- vectors, covariances and linear parts are ordered (x, y) = (column, row);
- an integer column or row is the *centre* of a pixel, while the affine maps pixel corners;
  :func:`pixel_to_map` and :func:`map_to_pixel` are the only places that know of that half pixel;
- x comes before y, longitude before latitude, whatever the CRS's own axis order.
"""

from __future__ import annotations

# What is imported as itself is for the other packages of xcoreg.
from xcoreg.georef.camera import CameraGround, fit_camera
from xcoreg.georef.crs import (
    as_crs as as_crs,
    epsg_of,
    has_lonlat as has_lonlat,
    local_displacement as local_displacement,
    longitude_period as longitude_period,
    parse_crs,
    same_crs,
    transform_points,
    wrap_longitude as wrap_longitude,
)
from xcoreg.georef.gcp_files import attach_gcps, read_gcps, save_gcps
from xcoreg.georef.gcp_fit import GCPFit, Residuals
from xcoreg.georef.gcp_models import fit_gcps
from xcoreg.georef.gcps import GCPs
from xcoreg.georef.geolocation import GeolocationGround
from xcoreg.georef.ground import (
    AffineGround,
    CornerGround,
    Corners,
    Ground,
    from_geotransform,
    lonlat_to_pixel,
    pixel_to_lonlat,
    to_geotransform,
)
from xcoreg.georef.rpc import RPCModel, RPCRefit, refit_rpcs
from xcoreg.georef.rpc_files import RPCGround, read_rpcs, write_rpcs
from xcoreg.georef.terrain import CorrectedSensor, Terrain, TerrainGround
from xcoreg.georef.transform import (
    Linear as Linear,
    cov_to_map as cov_to_map,
    cov_to_pixel as cov_to_pixel,
    find_georeference,
    gsd as gsd,
    linear_of as linear_of,
    map_to_pixel,
    pixel_to_map,
    read_prj,
    read_world_file,
    resized as resized,
    translate as translate,
    vector_to_map as vector_to_map,
    vector_to_pixel as vector_to_pixel,
    write_prj,
    write_world_file,
)

__all__ = [
    "AffineGround", "CameraGround", "CornerGround", "Corners", "CorrectedSensor", "GCPFit", "GCPs",
    "GeolocationGround", "Ground", "RPCGround", "RPCModel", "RPCRefit", "Residuals", "Terrain", "TerrainGround",
    "attach_gcps", "epsg_of", "find_georeference", "fit_camera", "fit_gcps", "from_geotransform",
    "lonlat_to_pixel", "map_to_pixel", "parse_crs", "pixel_to_lonlat", "pixel_to_map", "read_gcps", "read_prj",
    "read_rpcs", "read_world_file", "refit_rpcs", "same_crs", "save_gcps", "to_geotransform", "transform_points",
    "write_prj", "write_rpcs", "write_world_file",
]  # fmt: skip
