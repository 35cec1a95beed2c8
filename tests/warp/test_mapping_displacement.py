"""A correction as images in other CRSs see it."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox

from xcoreg.core.models import Translation
from xcoreg.errors import GridError
from xcoreg.georef import transform_points
from xcoreg.warp.plan import Displacement


def make_grid(transform, shape, crs):
    return GeoBox(shape, Affine(*transform), crs)


UTM33 = "EPSG:32633"


def test_a_translation_is_the_same_everywhere_in_its_own_crs():
    move = Displacement.of(Translation(3.5, -2.0), UTM33, make_grid((1.0, 0.0, 0.0, 0.0, -1.0, 0.0), (9, 9), UTM33))
    assert move.constant == (3.5, -2.0)
    assert move.at(0.0, 0.0) == (3.5, -2.0)


def test_undo_is_the_way_back():
    move = Displacement.of(Translation(3.5, -2.0), UTM33, make_grid((1.0, 0.0, 0.0, 0.0, -1.0, 0.0), (9, 9), UTM33))
    x, y = move.invert(np.array([10.0]), np.array([20.0]))
    assert (x.tolist(), y.tolist()) == ([6.5], [22.0])


def test_a_translation_in_metres_is_carried_into_degrees_at_the_centre():
    image = make_grid((0.0001, 0.0, 12.0, 0.0, -0.0001, 53.2), (200, 300), "EPSG:4326")
    dlon, dlat = Displacement.of(Translation(100.0, 50.0), UTM33, image).constant
    lon, lat = image.affine @ (image.shape[1] / 2, image.shape[0] / 2)
    x, y = transform_points("EPSG:4326", UTM33, [lon, lon + dlon], [lat, lat + dlat])
    assert np.diff(x)[0] == pytest.approx(100.0, abs=1e-5)
    assert np.diff(y)[0] == pytest.approx(50.0, abs=1e-5)


def test_an_image_out_of_reach_of_the_crs_of_the_fit_is_refused():
    orbit = make_grid((1.0, 0.0, 1e9, 0.0, -1.0, 1e9), (9, 9), "EPSG:32718")
    with pytest.raises(GridError, match="cannot be transformed"):
        Displacement.of(Translation(1.0, 1.0), "EPSG:3413", orbit)
