import numpy as np
import pytest

from xcoreg.core.models.leastsq import (
    ResidualCov,
    calibrate,
    excess_scatter,
    first_scatter,
    fit_linear,
    inverse_matrices,
    robust_weights,
    small_sample_factor,
    squared_distance,
)

UNIT = np.eye(2)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_small_matrices_are_inverted(k):
    half = np.random.default_rng(k).normal(size=(20, k, k))
    matrices = half @ half.transpose(0, 2, 1) + np.eye(k)
    assert np.allclose(inverse_matrices(matrices) @ matrices, np.eye(k))


def test_sound_points_keep_their_weight():
    squared = np.random.default_rng(0).chisquare(2, 20000)
    assert robust_weights(squared, 2).min() == 1.0
    assert robust_weights(np.array([25.0, 40.0, 64.0]), 2) == pytest.approx([1, 0.64, 0], abs=0.1)


def test_scatter_is_the_excess_over_unequal_covariances():
    rng = np.random.default_rng(0)
    sizes = rng.uniform(0.1, 2, 20000)
    turn = np.array([[0.8, -0.6], [0.6, 0.8]])
    extra = turn @ np.diag([1.0, 0.04]) @ turn.T
    off = rng.normal(size=(20000, 2)) * sizes[:, None] + rng.multivariate_normal([0, 0], extra, 20000)
    covs = sizes[:, None, None] ** 2 * UNIT
    assert np.allclose(excess_scatter(off, covs, np.ones(20000), np.ones(20000)), extra, atol=0.05)


def test_points_that_scatter_too_little_have_no_excess():
    off = np.random.default_rng(0).normal(0, 0.5, (500, 2))
    assert np.array_equal(excess_scatter(off, np.tile(UNIT, (500, 1, 1)), np.ones(500), np.ones(500)), 0 * UNIT)


def test_the_first_scatter_stands_a_third_of_nonsense():
    off = np.random.default_rng(0).normal(0, 1, (3000, 2))
    off[::3] += 100
    assert 1 < first_scatter(off, np.zeros((3000, 2, 2)))[0, 0] < 5


def test_ellipses_of_few_residuals_hold_95_percent():
    rng = np.random.default_rng(0)
    draws = rng.normal(size=(4000, 6, 2))
    covs = np.array([np.cov(one, rowvar=False) for one in draws]) * small_sample_factor(5, 2)
    assert np.mean(squared_distance(rng.normal(size=(4000, 2)), covs) < 5.991) == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize("factor", [0.25, 1.0, 4.0])
def test_a_model_that_is_too_sure_or_too_careful_is_set_right(factor):
    rng = np.random.default_rng(0)
    spread = rng.uniform(0.5, 2, 5000)[:, None, None] * UNIT
    off = rng.normal(size=(5000, 2)) * np.sqrt(factor * spread[:, [0], 0])
    stated = ResidualCov(spread, np.tile(1e-6 * UNIT, (5000, 1, 1)), 0 * UNIT)
    assert calibrate(off, stated, np.ones(5000), 1)[0] == pytest.approx(factor, rel=0.05)


def test_covariances_of_points_that_are_too_large_do_not_shrink_the_model():
    off = np.random.default_rng(0).normal(0, 0.5, (2000, 2))
    stated = ResidualCov(np.tile(1e-3 * UNIT, (2000, 1, 1)), np.tile(UNIT, (2000, 1, 1)), 0 * UNIT)
    assert calibrate(off, stated, np.ones(2000), 1)[0] == pytest.approx(1.0, abs=0.01)


def test_check_point_residuals_are_those_of_a_new_fit():
    rng = np.random.default_rng(0)
    design = np.column_stack([np.ones(30), rng.uniform(-1, 1, (30, 2))])
    values = design @ rng.normal(size=(3, 3)) + 0.1 * rng.normal(size=(30, 3))  # three components: elevation, too
    covs = np.tile(0.01 * np.eye(3), (30, 1, 1))
    fit, others = fit_linear(design, values, covs), np.arange(30) != 4
    again = fit_linear(design[others], values[others], covs[others])
    assert np.allclose(fit.residual[4], values[4] - design[4] @ again.coef, rtol=0.05, atol=1e-3)
