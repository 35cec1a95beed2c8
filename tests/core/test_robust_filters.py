"""Residuals against neighbours: zero on planes, large for what stands out, with a scatter that means something."""

import numpy as np
import pytest

from xcoreg.core.robust import between_sides, neighbour_residuals


def mesh(n=12):
    return np.array([(x, y) for y in range(n) for x in range(n)], float) * 200


def test_a_plane_leaves_nothing():
    places = mesh()
    moves = places @ np.array([[0.01, 0.002], [-0.004, 0.02]]) + [3, 4]
    residual, _ = neighbour_residuals(places, moves)
    assert np.abs(residual).max() < 1e-6


def test_wrong_points_stand_out_and_do_not_spoil_their_neighbours():
    rng = np.random.default_rng(1)
    places = mesh()
    moves = rng.normal(0, 0.05, (144, 2))
    wrong = rng.choice(144, 14, replace=False)
    moves[wrong] += 3
    residual, scatter = neighbour_residuals(places, moves)
    length = np.hypot(*residual.T)
    assert (length[wrong] > 2).all()
    assert np.percentile(length[np.setdiff1d(np.arange(144), wrong)], 90) < 0.25
    assert np.median(scatter) < 0.12


def test_scatter_is_the_standard_deviation_of_the_residual():
    rng = np.random.default_rng(2)
    places = rng.uniform(0, 1, (2000, 2))
    residual, scatter = neighbour_residuals(places, rng.normal(0, 0.3, (2000, 2)))
    inside = np.abs(residual) < 1.96 * scatter[:, None]
    assert 0.88 < inside.mean() < 0.99


def test_who_is_not_used_is_judged_but_judges_nobody():
    places = mesh(6)
    moves = np.zeros((36, 2))
    moves[::3] = 5.0
    use = np.ones(36, bool)
    use[::3] = False
    residual, _ = neighbour_residuals(places, moves, use)
    np.testing.assert_allclose(residual[::3], 5.0, atol=1e-6)
    np.testing.assert_allclose(residual[use], 0.0, atol=1e-6)


def test_missing_shifts_have_no_residual():
    places, moves = mesh(4), np.zeros((16, 2))
    moves[3] = np.nan
    residual, scatter = neighbour_residuals(places, moves)
    assert np.isnan(residual[3]).all()
    assert np.isnan(scatter[3])
    assert np.isfinite(np.delete(residual, 3, 0)).all()


def test_few_points_are_compared_by_their_median():
    residual, _ = neighbour_residuals(mesh(2), np.array([[1.0, 0], [1, 0], [1, 0], [9, 0]]))
    np.testing.assert_allclose(residual[3], [8, 0])


def test_one_point_has_no_neighbours():
    residual, scatter = neighbour_residuals(np.zeros((1, 2)), np.ones((1, 2)))
    assert np.isnan(residual).all()
    assert np.isnan(scatter).all()


def field_with_fault(step, sigma, spacing=48.0, seed=0):
    """Places 48 px apart, moves on both sides of a slanting line, and those of windows of 64 px astride, averaged."""
    places = spacing / 200 * mesh(14)
    across = places @ [np.cos(0.7), np.sin(0.7)] - 430.0
    share = np.clip(across / 64 + 0.5, 0, 1)
    moves = share[:, None] * step + 1e-4 * places + np.random.default_rng(seed).normal(0, sigma, (len(places), 2))
    return places, moves, np.abs(share - 0.5) < 0.15


@pytest.mark.parametrize("step", [(0.8, 0.6), (0.0, 1.5), (-2.0, 2.0)])
def test_averages_of_both_sides_of_a_fault_are_found(step):
    places, moves, mixed = field_with_fault(step, 0.01)
    found = between_sides(places, moves, np.ones(len(places), bool), 64)
    assert found[mixed].all()
    # Nothing is found but what lies off both sides.
    off = np.minimum(*(np.hypot(*(moves - 1e-4 * places - side).T) for side in (np.zeros(2), np.array(step))))
    assert off[found].min() > 0.15 * np.hypot(*step)


@pytest.mark.parametrize(
    "field",
    [
        lambda p: 0.05 * p,
        lambda p: 20 * np.sin(p / 200),
        lambda p: np.random.default_rng(1).normal(0, 0.3, p.shape),
        lambda p: 3 * np.tanh((p - 300) / 150),
    ],
)
def test_nothing_is_between_the_sides_of_smooth_or_noisy_fields(field):
    places = 48 / 200 * mesh(14)
    assert not between_sides(places, field(places), np.ones(len(places), bool), 64).any()


def test_windows_that_are_not_used_do_not_count():
    places, moves, mixed = field_with_fault((1.5, 0.0), 0.01)
    assert not between_sides(places, moves, ~mixed, 64)[mixed].any()
    assert not between_sides(places, moves, np.arange(len(places)) < 5, 64).any()
