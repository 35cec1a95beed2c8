"""Longitudes of one place in different turns: 179.99 and -180.01, 10 and 370."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from affine import Affine
from xarray import DataArray

from xcoreg.georef import longitude_period, lonlat_to_pixel, transform_points, wrap_longitude
from xcoreg.raster.footprint import overlap
from xcoreg.raster.grid import grid_of
from xcoreg.simulate import pair, smooth_field


def test_a_turn_in_the_unit_of_the_crs():
    assert longitude_period("EPSG:4326") == 360
    assert longitude_period("EPSG:4807") == pytest.approx(400)  # Paris, in grads
    assert longitude_period("EPSG:32633") is None
    assert longitude_period(None) is None


def test_longitudes_near_a_place():
    np.testing.assert_array_equal(wrap_longitude(4326, [-180.0, 180.0, 190.0, np.inf], 0.0), [-180, 180, -170, np.inf])
    np.testing.assert_array_equal(wrap_longitude(32633, [5e5, 1e9], 0.0), [5e5, 1e9])


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:32701"])
def test_points_are_told_near_a_place(crs):
    x, y = transform_points(4326, crs, -179.9, -16.5)
    lon, lat = transform_points(crs, 4326, x, y, near=170.0)
    assert (lon, lat) == pytest.approx((180.1, -16.5), abs=1e-9)


def test_the_overlap_lies_in_the_turn_of_the_target():
    west, east = shapely.box(-180.1, 0, -179.9, 1), shapely.box(179.95, 0, 180.2, 1)
    assert overlap(east, 4326, west, 4326).bounds == pytest.approx((179.95, 0, 180.1, 1))
    assert overlap(west, 4326, east, 4326).bounds == pytest.approx((-180.05, 0, -179.9, 1))


def test_the_whole_world_covers_any_turn():
    world = shapely.box(-180, -90, 180, 90)
    assert overlap(shapely.box(200, 0, 210, 10), 4326, world, 4326).bounds == pytest.approx((200, 0, 210, 10))
    assert overlap(world, 4326, shapely.box(200, 0, 210, 10), 4326).bounds == pytest.approx((-160, 0, -150, 10))


def test_an_outline_across_the_antimeridian_is_one_piece():
    utm = shapely.box(170000, 8180000, 190000, 8200000)
    shared = overlap(shapely.box(179, -20, 181, -10), 4326, utm, 32701)
    assert shared.geom_type == "Polygon"
    assert 179.8 < shared.bounds[0] < 180 < shared.bounds[2] < 180.2


@pytest.fixture(scope="module")
def both():
    """A pair across the antimeridian, the target from the west and the reference from the east."""
    scene = pair((320, 320), shift=smooth_field((320, 320), 1.5, seed=2), snr_db=35.0, seed=3)
    return tuple(
        DataArray(image.values, dims=("y", "x"), attrs={"_FillValue": 0})
        .assign_coords(y=-16.4 - 1e-4 * (np.arange(320) + 0.5), x=west + 1e-4 * (np.arange(320) + 0.5))
        .rio.write_crs(4326)
        .rio.write_transform(Affine(1e-4, 0, west, 0, -1e-4, -16.4))
        for image, west in ((scene.tgt, -180.016), (scene.ref, 179.984))
    )


def test_a_field_is_matched_and_applied_across_turns(both):
    tgt, ref = both
    fixed = tgt.coreg.warp_to(ref, spacing=40, window=64, like=ref)
    assert grid_of(fixed).affine.c == 179.984
    inner = (slice(20, -20), slice(20, -20))
    before, after = (np.std(image.values[inner] - ref.values[inner].astype(float)) for image in (tgt, fixed))
    assert after < 0.4 * before


@pytest.mark.parametrize("west", [-180.016, 179.984])
def test_masks_may_lie_in_either_turn(both, west):
    tgt, ref = both
    where = shapely.box(west, -16.432, west + 0.02, -16.4)
    fit = tgt.coreg.match_local(ref, spacing=40, window=64, where=where, model="translation")
    assert fit.points.x[fit.points.ok].max() < -180.016 + 0.025


def test_pixels_of_longitudes_in_another_turn():
    col, row = lonlat_to_pixel(Affine(0.5, 0, 0, 0, -0.5, 90), 4326, [-60.0, 10.0], [0.0, 0.0])
    np.testing.assert_allclose((col, row), [(599.5, 19.5), (179.5, 179.5)])


def test_a_point_just_beside_an_image_stays_beside_it(both):
    found = both[1].coreg.locate([(-180.0161, -16.41), (179.9839, -16.41), (-179.98385, -16.41)])
    np.testing.assert_allclose(found.col, [-1.5, -1.5, 321.0], atol=1e-6)
    assert not found.inside.any()
