"""Pixels and maps against the numbers of the seed documents."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, strategies as st

from xcoreg.georef import (
    cov_to_map,
    cov_to_pixel,
    gsd,
    linear_of,
    map_to_pixel,
    pixel_to_map,
    translate,
    vector_to_map,
    vector_to_pixel,
)

NORTH_UP = Affine.from_gdal(590000, 20, 0, 4928000, 0, -20)
ROTATED = Affine.from_gdal(500000, 9.8, 1.7, 5000000, 1.7, -9.8)


def test_centre_of_the_first_pixel():
    assert [float(v) for v in pixel_to_map(NORTH_UP, 0, 0)] == [590010.0, 4927990.0]
    other = Affine.from_gdal(1868454.913, 30, 0, 5353126.266, 0, -30)
    assert [float(v) for v in pixel_to_map(other, 0, 0)] == [1868469.913, 5353111.266]


def test_lower_right_corner_is_half_a_pixel_beyond_the_last_centre():
    # 950 x 700 pixels of 20 m
    assert [float(v) for v in pixel_to_map(NORTH_UP, 949.5, 699.5)] == [609000.0, 4914000.0]


def test_the_pixel_that_holds_a_point():
    col, row = map_to_pixel(NORTH_UP, 590020, 4927980)
    assert (np.floor(col + 0.5), np.floor(row + 0.5)) == (1, 1)


def test_rotated_inverse_in_corner_coordinates():
    col, row = map_to_pixel(ROTATED, 500250, 4999100)
    assert (col + 0.5, row + 0.5) == pytest.approx((9.2995047, 93.4499141), abs=1e-7)


@given(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4))
def test_there_and_back(col, row):
    back = map_to_pixel(ROTATED, *pixel_to_map(ROTATED, col, row))
    assert [float(v) for v in back] == pytest.approx([col, row], abs=1e-6)


def test_the_shift_of_seed_000():
    dx, dy = vector_to_map((10.0, 0.0, 0.0, -10.0), 0.357885632465, -1.566162680016)
    assert (float(dx), float(dy)) == pytest.approx((3.57885632465, 15.66162680016), abs=1e-12)
    moved = translate(Affine.from_gdal(300000, 10, 0, 5900040, 0, -10), float(dx), float(dy))
    assert (moved.c, moved.f) == pytest.approx((300003.57885632466, 5900055.6616268), abs=1e-7)


def test_style_guide_example_of_the_sign():
    # content lies 2 rows low and 3 columns left on a 10 m grid
    assert [float(v) for v in vector_to_map((10.0, 0.0, 0.0, -10.0), 3, -2)] == [30.0, 20.0]


def test_vectors_keep_their_shape_and_come_back():
    linear = linear_of(ROTATED)
    dcol, drow = np.random.default_rng(1).normal(size=(2, 3, 4))
    back = vector_to_pixel(linear, *vector_to_map(linear, dcol, drow))
    assert back[0].shape == (3, 4)
    np.testing.assert_allclose(back, (dcol, drow), atol=1e-14)


def test_covariances_follow_the_vectors():
    rng = np.random.default_rng(2)
    cov = np.array([[0.04, 0.01], [0.01, 0.02]])
    draws = rng.multivariate_normal([0, 0], cov, size=200_000)
    dx, dy = vector_to_map(linear_of(ROTATED), draws[:, 0], draws[:, 1])
    np.testing.assert_allclose(cov_to_map(linear_of(ROTATED), cov), np.cov(dx, dy), rtol=0.02, atol=0.02)


def test_many_covariances_at_once():
    cov = np.stack([np.eye(2), [[2.0, 0.3], [0.3, 1.0]]])
    there = cov_to_map(linear_of(ROTATED), cov)
    assert there.shape == (2, 2, 2)
    np.testing.assert_allclose(cov_to_pixel(linear_of(ROTATED), there), cov, atol=1e-12)


def test_gsd_is_positive_for_south_up_and_rotated():
    assert gsd(Affine(0.5, 0, -180, 0, 0.5, -90)) == (0.5, 0.5)
    assert gsd(ROTATED) == pytest.approx((np.hypot(9.8, 1.7),) * 2)
