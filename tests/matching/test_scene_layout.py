"""Windows on a lattice: inside the grids, on whole pixels, in groups that leave none out."""

import numpy as np
import pytest
import shapely
from affine import Affine

from xcoreg.errors import GridError
from xcoreg.georef import map_to_pixel
from xcoreg.matching.scene import default_spacing, evenly, group_windows, local_window, window_grid

NORTH_UP = Affine(10, 0, 300000, 0, -10, 5900000)
LINEAR = (10.0, 0.0, 0.0, -10.0)
BOX = shapely.box(300000, 5890000, 310000, 5900000)  # 1000 x 1000 px


def test_windows_lie_within_the_grids_and_fill_them():
    places = window_grid(BOX, BOX, NORTH_UP, LINEAR, 100, 64)
    col, row = map_to_pixel(NORTH_UP, *places.T)
    assert len(places) == 100
    assert col.min() - 32 >= -0.5 - 1e-6
    assert col.max() + 32 <= 999.5 + 1e-6
    assert row.min() < 32 + 50
    assert row.max() > 999 - 32 - 50


def test_centres_stand_on_whole_pixels_so_far_apart():
    col, _ = map_to_pixel(NORTH_UP, *window_grid(BOX, BOX, NORTH_UP, LINEAR, 130, 64).T)
    assert np.allclose(np.unique(col.round(6)) % 1, 0)
    assert np.allclose(np.diff(np.unique(col.round(6))), 130)


def test_windows_whose_centre_has_no_data_are_left_out():
    half = shapely.box(300000, 5890000, 305000, 5900000)
    places = window_grid(half, BOX, NORTH_UP, LINEAR, 100, 64)
    assert 0 < len(places) <= 55
    assert (places[:, 0] <= 305000).all()


def test_a_rotated_target_is_filled_along_its_own_pixels():
    turned = NORTH_UP @ Affine.rotation(30)
    corners = [turned @ (c, r) for c, r in ((0, 0), (500, 0), (500, 400), (0, 400))]
    outline = shapely.Polygon(corners)
    linear = (turned.a, turned.b, turned.d, turned.e)
    col, row = map_to_pixel(turned, *window_grid(outline, outline, turned, linear, 50, 40).T)
    assert len(np.unique(col.round(3))) == 10
    assert len(np.unique(row.round(3))) == 8


def test_a_grid_larger_than_the_overlap_has_one_window():
    assert len(window_grid(BOX, BOX, NORTH_UP, LINEAR, 5000, 64)) == 1


def test_no_centre_in_the_overlap_is_an_error_with_the_cure():
    sliver = shapely.box(300001, 5890000, 300002, 5900000)
    with pytest.raises(GridError, match="spacing=100"):
        window_grid(sliver, BOX, NORTH_UP, LINEAR, 100, 64)


def test_defaults_follow_the_size_of_the_overlap():
    assert (default_spacing(BOX, NORTH_UP), local_window(BOX, LINEAR)) == (83.0, 200)
    large = shapely.box(0, 0, 109800, 109800)
    assert (default_spacing(large, NORTH_UP), local_window(large, LINEAR)) == (200.0, 256)


@pytest.mark.parametrize("most", [1, 7, 64, 1000])
def test_groups_hold_every_window_once(most):
    places = window_grid(BOX, BOX, NORTH_UP, LINEAR, 37, 64)
    groups = group_windows(places, LINEAR, 64, most)
    assert sorted(np.concatenate(groups).tolist()) == list(range(len(places)))
    assert max(map(len, groups)) <= most


def test_groups_are_compact():
    places = window_grid(BOX, BOX, NORTH_UP, LINEAR, 25, 16)
    spans = [np.ptp(places[group], axis=0).max() for group in group_windows(places, LINEAR, 16, 36)]
    assert np.median(spans) < 3000  # of 10000 m


def test_no_place_makes_no_group():
    assert group_windows(np.empty((0, 2)), LINEAR, 16, 36) == []


@pytest.mark.parametrize("most", [1, 10, 37])
def test_few_places_are_chosen_evenly(most):
    places = window_grid(BOX, BOX, NORTH_UP, LINEAR, 50, 64)
    chosen = evenly(places, most)
    assert len(set(chosen.tolist())) == most
    # No place is further from a chosen one than in a rather poor grid of as many.
    far = np.hypot(*(places[:, None] - places[chosen]).T).min(0).max()
    assert far <= 1.5 * np.sqrt(np.prod(np.ptp(places, axis=0)) / most)


def test_more_places_than_there_are_is_all_of_them():
    places = window_grid(BOX, BOX, NORTH_UP, LINEAR, 100, 64)
    assert evenly(places, 10**6).tolist() == list(range(len(places)))
