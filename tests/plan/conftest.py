"""Images whose value at every place is known, on any grid."""

from __future__ import annotations

import numpy as np
import pytest
import rioxarray  # noqa: F401 - registers .rio
from affine import Affine
from xarray import DataArray

from xcoreg.georef import as_crs, pixel_to_map

ORIGIN = Affine(10, 0, 300000, 0, -10, 5900040)
UTM = "EPSG:32633"


def build_image(values, transform=ORIGIN, crs=UTM, nodata=None):
    """A DataArray as rioxarray opens it; a rotated one has no coordinates but its GeoTransform."""
    coords = {}
    if not (transform.b or transform.d):
        coords["x"] = pixel_to_map(transform, np.arange(values.shape[1]), 0)[0]
        coords["y"] = pixel_to_map(transform, 0, np.arange(values.shape[0]))[1]
    text = " ".join(str(float(part)) for part in transform.to_gdal())
    coords["spatial_ref"] = ((), 0, {"crs_wkt": as_crs(crs).to_wkt(), "GeoTransform": text})
    attrs = {} if nodata is None else {"_FillValue": nodata}
    return DataArray(values, coords, ("y", "x"), attrs=attrs)


def build_field(function, shape, transform=ORIGIN, crs=UTM, **options):
    """An image that holds a function of the map position of its pixel centres."""
    rows, cols = np.mgrid[: shape[0], : shape[1]]
    x, y = pixel_to_map(transform, cols.ravel(), rows.ravel())
    return build_image(np.reshape(function(x, y), shape), transform, crs, **options)


@pytest.fixture
def make_image():
    return build_image


@pytest.fixture
def make_field():
    return build_field
