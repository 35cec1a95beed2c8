import numpy as np
import pytest

from xcoreg.core.models.leastsq import folds_of, half_planes, prepare_points, typical_spacing


def test_points_are_sorted_scaled_and_put_back():
    points = prepare_points([30.0, 10.0, np.inf, 20.0], [1.0, 2.0, 3.0, 4.0], np.arange(8.0).reshape(4, 2))
    assert points.rows.tolist() == [1, 3, 0]
    assert np.allclose(points.x, [10, 20, 30])
    assert np.abs(points.u).max() == 1
    assert np.isnan(points.in_given_order(points.values)[2]).all()
    assert np.allclose(points.in_given_order(points.values)[3] * points.unit, [6, 7])


def test_bad_covariances_count_like_the_median():
    covs = np.array([np.eye(2), np.full((2, 2), np.nan), -np.eye(2), 3 * np.eye(2)])
    points = prepare_points(np.arange(4.0), 0.0, np.ones((4, 2)), covs)
    assert np.allclose(points.covs[[1, 2]], 2 * np.eye(2))
    assert points.measured


def test_spacing_is_that_of_the_neighbours_not_of_the_scene():
    col, row = (p.ravel() for p in np.meshgrid(np.arange(20.0), np.arange(20.0)))
    cloud = (col > 8) & (row > 8)
    assert typical_spacing(col[~cloud], row[~cloud]) == 1.0


def test_half_planes_measure_the_distance_to_the_hull():
    x, y = 4e5 + np.random.default_rng(0).uniform(0, 10, (2, 50))
    x[:4], y[:4] = 4e5 + np.array([[0, 0, 10, 10], [0, 10, 10, 0]])
    sides = half_planes(x, y)
    assert (sides @ [4e5 + 5, 4e5 + 2, 1]).max() == pytest.approx(-2)
    assert (sides @ [4e5 - 30, 4e5 + 5, 1]).max() == pytest.approx(30)


def test_folds_are_equal_and_spread():
    u, v = np.random.default_rng(0).uniform(-1, 1, (2, 1000))
    points = prepare_points(u, v, np.ones((1000, 2)))
    folds = folds_of(points, 10)
    assert np.bincount(folds).tolist() == [100] * 10
    for fold in range(10):
        counts = np.histogram2d(points.u[folds == fold], points.v[folds == fold], 3)[0]
        assert counts.min() >= 4
