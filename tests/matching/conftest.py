"""Pairs whose correction is known exactly, on any two grids."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from affine import Affine
from xarray import DataArray

from xcoreg.georef import as_crs, map_to_pixel, pixel_to_map, transform_points
from xcoreg.simulate import pair

ORIGIN = Affine(10, 0, 300000, 0, -10, 5900040)
UTM = "EPSG:32633"


def build_image(values, transform=ORIGIN, crs=UTM, nodata=0):
    """A DataArray as rioxarray opens it; a rotated one has no coordinates but its GeoTransform."""
    coords = {}
    if not (transform.b or transform.d):
        coords["x"] = pixel_to_map(transform, np.arange(values.shape[1]), 0)[0]
        coords["y"] = pixel_to_map(transform, 0, np.arange(values.shape[0]))[1]
    text = " ".join(str(float(part)) for part in transform.to_gdal())
    coords["spatial_ref"] = ((), 0, {"crs_wkt": as_crs(crs).to_wkt(), "GeoTransform": text})
    attrs = {} if nodata is None else {"_FillValue": nodata}
    return DataArray(values, coords, ("y", "x"), attrs=attrs)


def build_pair(shape, transform, crs=UTM, shift=(6.3, -11.7), **options):
    """A target on any grid and a reference on the usual one; the correction is in units of the target's CRS."""

    def correction(rows, cols):
        rows, cols = np.broadcast_arrays(np.asarray(rows, float), np.asarray(cols, float))
        x, y = pixel_to_map(transform, cols.ravel(), rows.ravel())
        col, row = map_to_pixel(ORIGIN, *transform_points(crs, UTM, x + shift[0], y + shift[1]))
        return col.reshape(rows.shape) - cols, row.reshape(rows.shape) - rows

    both = pair(shape, shift=correction, **options)
    return build_image(both.tgt.values, transform, crs), both.ref


@pytest.fixture(scope="session")
def make_image():
    return build_image


@pytest.fixture(scope="session")
def make_pair():
    return build_pair


@pytest.fixture(scope="session")
def plain():
    """240 x 260 px, 30 dB, correction (0.7, -1.2) px = (7, 12) m."""
    return pair((240, 260), shift=(0.7, -1.2), seed=1)


@pytest.fixture(scope="session")
def wide():
    """600 x 700 px, 20 dB, correction (3.3, 2.6) px, clouds in both."""
    from xcoreg.simulate import Acquisition

    cloudy = Acquisition(clouds=0.15)
    return pair((600, 700), shift=(3.3, 2.6), snr_db=20.0, ref=cloudy, tgt=cloudy, seed=2)


def build_field(function, shape, transform=ORIGIN, crs=UTM, **options):
    """An image that holds a function of the map position of its pixel centres."""
    rows, cols = np.mgrid[: shape[0], : shape[1]]
    x, y = pixel_to_map(transform, cols.ravel(), rows.ravel())
    return build_image(np.reshape(function(x, y), shape), transform, crs, **({"nodata": None} | options))


@pytest.fixture
def make_bare_image():
    """As `make_image`, without a nodata value."""
    return partial(build_image, nodata=None)


@pytest.fixture
def make_field():
    return build_field
