import numpy as np
import pytest

from xcoreg.core.robust import combine, largest_group, shares

EYE = np.eye(2)


def test_the_largest_group_wins():
    moves = np.array([[0, 0], [0.2, 0], [5, 5], [5.1, 5], [5, 5.2]], float)
    assert largest_group(moves, np.ones(5), 0.5).tolist() == [False, False, True, True, True]


def test_weights_count_rather_than_heads():
    moves = np.array([[0, 0], [0.2, 0], [5, 5], [5.1, 5], [5, 5.2]], float)
    assert largest_group(moves, np.array([90, 90, 40, 40, 40]), 0.5).tolist() == [True, True, False, False, False]


def test_of_equal_groups_the_tighter_wins():
    moves = np.array([[0, 0], [0.4, 0], [5, 5], [5.1, 5]], float)
    assert largest_group(moves, np.ones(4), 0.5).tolist() == [False, False, True, True]


def test_rows_without_a_shift_agree_with_nothing():
    moves = np.array([[1, 1], [np.nan, 1], [1, 1.1]], float)
    assert largest_group(moves, np.ones(3), 0.5).tolist() == [True, False, True]


@pytest.mark.parametrize("moves", [np.empty((0, 2)), np.full((3, 2), np.nan)])
def test_no_shift_at_all_gives_no_members(moves):
    assert not largest_group(moves, np.ones(len(moves)), 1.0).any()


def test_one_shift_agrees_with_itself():
    assert largest_group(np.array([[3.0, 4.0]]), np.ones(1), 0.1).tolist() == [True]


def test_mean_is_weighted_by_the_covariances():
    covs = np.array([EYE * 0.01, EYE * 0.04])
    mean, cov = combine(np.array([[1.0, 2.0], [1.1, 1.9]]), covs)
    assert mean == pytest.approx([1.02, 1.98])
    assert cov == pytest.approx(EYE * 0.008)


def test_directions_are_weighted_apart():
    covs = np.array([np.diag([1e-4, 1.0]), np.diag([1.0, 1e-4])])
    mean, _ = combine(np.array([[1.0, 5.0], [1.3, 4.7]]), covs)
    assert mean == pytest.approx([1.0, 4.7], abs=1e-3)


def test_one_window_is_taken_as_it_is():
    mean, cov = combine(np.array([[1.5, -2.5]]), np.array([[[0.02, 0.01], [0.01, 0.03]]]))
    assert mean == pytest.approx([1.5, -2.5])
    assert cov == pytest.approx(np.array([[0.02, 0.01], [0.01, 0.03]]))


def test_one_window_without_covariance_keeps_its_shift():
    mean, cov = combine(np.array([[1.5, -2.5]]), np.full((1, 2, 2), np.nan))
    assert mean.tolist() == [1.5, -2.5]
    assert np.isnan(cov).all()


def test_scatter_beyond_the_covariances_widens_the_result():
    moves = np.random.default_rng(1).normal(0, 0.5, (400, 2))
    _, cov = combine(moves, np.tile(EYE * 1e-6, (400, 1, 1)))
    assert np.diag(cov) == pytest.approx(0.25 / 400, rel=0.15)


def test_scatter_within_the_covariances_does_not():
    moves = np.random.default_rng(2).normal(0, 0.5, (50, 2))
    _, cov = combine(moves, np.tile(EYE * 0.25, (50, 1, 1)))
    assert cov == pytest.approx(EYE * 0.25 / 50)


def test_a_window_without_covariance_counts_like_the_others():
    covs = np.array([EYE * 0.01, np.full((2, 2), np.nan), EYE * 0.01])
    mean, cov = combine(np.array([[1.0, 0.0], [1.1, 0.1], [1.2, 0.2]]), covs)
    assert mean == pytest.approx([1.1, 0.1])
    assert cov == pytest.approx(EYE * 0.01 / 3)


def test_without_any_covariance_the_scatter_is_used():
    moves = np.random.default_rng(3).normal(0, 0.3, (300, 2))
    mean, cov = combine(moves, np.full((300, 2, 2), np.nan))
    assert mean == pytest.approx(moves.mean(0))
    assert np.diag(cov) == pytest.approx(0.09 / 300, rel=0.15)


@pytest.mark.parametrize("scatter", [0.01, 0.5])
def test_shares_are_the_weights_of_the_mean(scatter):
    rng = np.random.default_rng(5)
    covs = rng.uniform(0.01, 0.1, 9)[:, None, None] ** 2 * np.eye(2)
    moves = rng.normal(0, scatter, (9, 2))
    share = shares(moves, covs)
    assert share.sum() == pytest.approx(1)
    assert share @ moves == pytest.approx(combine(moves, covs)[0])
