"""Georeferenced images and fits made by hand."""

from __future__ import annotations

import dask
import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox
from xarray import DataArray

from xcoreg.core.matches import Status
from xcoreg.core.models import Translation
from xcoreg.georef import as_crs, pixel_to_map
from xcoreg.results.coregistration import Coregistration, Quality
from xcoreg.results.details import Details
from xcoreg.results.tiepoints import TiePoints

ORIGIN = Affine(10, 0, 300000, 0, -10, 5900040)
UTM = "EPSG:32633"


def build_image(data, transform=ORIGIN, crs=UTM, dims=("y", "x"), **parts):
    """A DataArray as rioxarray opens it; a rotated one has no coordinates but its GeoTransform."""
    lead = tuple(f"lead{k}" for k in range(data.ndim - 2))
    coords = {}
    if not (transform.b or transform.d):
        coords[dims[1]] = pixel_to_map(transform, np.arange(data.shape[-1]), 0)[0]
        coords[dims[0]] = pixel_to_map(transform, 0, np.arange(data.shape[-2]))[1]
    wkt = as_crs(crs).to_wkt()
    text = " ".join(str(float(part)) for part in transform.to_gdal())
    coords["spatial_ref"] = ((), 0, {"crs_wkt": wkt, "spatial_ref": wkt, "GeoTransform": text})
    image = DataArray(data, dims=(*lead, *dims), **parts).assign_coords(coords)
    image.encoding["grid_mapping"] = "spatial_ref"
    return image


def build_fit(dx=3.5, dy=15.5, crs=UTM, model=None, status=Status.OK, **details):
    points = TiePoints([0], [0], [0], [0], [0], [dx], [dy], [dx / 10], [-dy / 10])
    model = Translation(dx, dy) if model is None else model
    details.setdefault("ref_grid", GeoBox((100, 120), ORIGIN, UTM))
    grid = tuple(ORIGIN)[:6], (100, 120)
    return Coregistration(model, points, Quality(), status, None, crs, *grid, Details(**details))


@pytest.fixture
def make_image():
    return build_image


@pytest.fixture
def make_fit():
    return build_fit


@pytest.fixture
def scene():
    """60 x 50 uint16 without the value 0."""
    return np.random.default_rng(11).integers(1, 60000, (60, 50)).astype(np.uint16)


class Counter:
    """A scheduler that counts how often it is asked."""

    def __init__(self):
        self.n = 0

    def __call__(self, graph, keys, **kwargs):
        self.n += 1
        return dask.get(graph, keys, **kwargs)


@pytest.fixture
def computes():
    """Counts dask computations while the test runs."""
    counter = Counter()
    with dask.config.set(scheduler=counter):
        yield counter
