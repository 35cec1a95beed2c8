"""Output grids in step with a reference."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox

from xcoreg.core.models import Translation
from xcoreg.errors import OptionError
from xcoreg.georef import map_to_pixel, pixel_to_map
from xcoreg.warp.mapping import aligned_grid, as_geobox, reference_grid
from xcoreg.warp.plan import Displacement


def make_grid(transform, shape, crs):
    return GeoBox(shape, Affine(*transform), crs)


UTM33 = "EPSG:32633"


def grid(step, x, y, shape=(100, 120), crs=UTM33):
    return make_grid((step, 0.0, x, 0.0, -step, y), shape, crs)


def aligned(image, ref, dx=0.0, dy=0.0, **options):
    return aligned_grid(image, Displacement.of(Translation(dx, dy), image.crs, image), ref, **options)


@pytest.mark.parametrize("step", [10.0, 5.0, 2.5, 30.0])
def test_edges_of_the_coarser_grid_are_edges_of_the_finer(step):
    image, ref = grid(step, 300000.0, 5900000.0), grid(10.0, 299993.0, 5900006.0)
    out = aligned(image, ref, 3.3, -4.4)
    assert out.transform[0] == step
    coarse = max(step, 10.0)
    fine = min(step, 10.0)
    assert (out.transform[2] - 299993.0) % fine == pytest.approx(0.0, abs=1e-9)
    assert (out.transform[5] - 5900006.0) % fine == pytest.approx(0.0, abs=1e-9)
    assert coarse % fine == 0


def test_the_moved_image_is_covered_by_whole_pixels_and_no_more():
    out = aligned(grid(10.0, 300000.0, 5900000.0), grid(10.0, 0.0, 0.0), 3.5, 15.5)
    assert out == make_grid((10.0, 0.0, 300000.0, 0.0, -10.0, 5900020.0), (101, 121), out.crs)


def test_an_image_in_step_already_gets_no_extra_pixel():
    image = grid(0.1, 12.3, 45.6, crs="EPSG:4326")
    out = aligned(image, grid(0.1, 12.3 - 0.7, 45.6 + 0.9, crs="EPSG:4326"))
    assert out.shape == image.shape
    assert out.transform == pytest.approx(image.transform)


def test_south_up_and_rotated_images_keep_their_axes():
    for transform in ((10.0, 0.0, 300000.0, 0.0, 10.0, 5899000.0), (8.0, 6.0, 300000.0, 6.0, -8.0, 5899000.0)):
        image = make_grid(transform, (100, 120), UTM33)
        out = aligned(image, grid(10.0, 300003.0, 5900007.0), 3.5, 15.5)
        assert out.transform[:2] + out.transform[3:5] == transform[:2] + transform[3:5]
        corners = pixel_to_map(transform, np.array([-0.5, 119.5, -0.5]), np.array([-0.5, -0.5, 99.5]))
        col, row = map_to_pixel(out.transform, corners[0] + 3.5, corners[1] + 15.5)
        assert col.min() >= -0.5 - 1e-6
        assert row.min() >= -0.5 - 1e-6
        assert col.max() <= out.shape[1] - 0.5 + 1e-6
        assert row.max() <= out.shape[0] - 0.5 + 1e-6
        at = map_to_pixel(out.transform, 300003.0, 5900007.0)
        assert np.abs(np.array(at) + 0.5 - np.round(np.array(at) + 0.5)).max() < 1e-6


def test_a_reference_in_another_crs_gives_multiples_of_the_pixel_size():
    image = grid(30.0, 300001.0, 5900002.0)
    out = aligned(image, grid(0.001, 12.0, 53.0, crs="EPSG:4326"))
    assert out.transform[2] % 30 == 0
    assert out.transform[5] % 30 == 0
    assert out.shape == (101, 121)


def test_a_resolution_of_one_s_own():
    out = aligned(grid(10.0, 300000.0, 5900000.0), grid(10.0, 0.0, 0.0), resolution=(20, 25))
    assert out.affine[:6] == (20.0, 0.0, 300000.0, 0.0, -25.0, 5900000.0)
    assert out.shape == (40, 60)


@pytest.mark.parametrize("resolution", [0, -5, np.nan, (10, 0)])
def test_a_resolution_must_be_positive(resolution):
    with pytest.raises(OptionError, match="positive pixel size"):
        aligned(grid(10.0, 0.0, 0.0), grid(10.0, 0.0, 0.0), resolution=resolution)


def test_the_reference_grid_of_a_fit_can_be_replaced():
    box = GeoBox((7, 8), Affine(10, 0, 5, 0, -10, 6), UTM33)
    assert reference_grid(None, box).shape == (7, 8)
    with pytest.raises(OptionError, match="has no grid of the reference"):
        reference_grid(None)


def test_grids_given_as_options_are_checked():
    for option, given, message in (
        ("like", "a.tif", "like= is a str"),
        ("ref_grid", GeoBox((7, 8), Affine.scale(2), None), "ref_grid= has no CRS"),
    ):
        with pytest.raises(OptionError, match=message):
            as_geobox(given, option)
