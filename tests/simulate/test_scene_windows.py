"""Batches of windows: sign, noise, bound, and the kinds that have no truth."""

import numpy as np
import pytest
from scipy import ndimage

from xcoreg.simulate import Texture, window_pairs


def test_target_shows_the_reference_at_the_corrected_place():
    """scipy moves content by +s: the target is the reference moved by minus the correction."""
    batch = window_pairs(4, 64, np.inf, seed=1, texture=Texture(optics_sigma=1.5))
    for ref, tgt, (dcol, drow) in zip(batch.ref, batch.tgt, batch.truth, strict=True):
        moved = ndimage.shift(ref.astype(float), (-drow, -dcol), order=5)
        inside = np.s_[8:-8, 8:-8]
        assert np.std(moved[inside] - tgt[inside]) < 2e-3 * np.std(ref)


def test_noise_has_the_ratio_asked_for():
    batch = window_pairs(20, 64, 20.0, seed=2)
    noise = (batch.ref - batch.clean).std(axis=(1, 2))
    assert noise == pytest.approx(batch.sigma, rel=0.06)
    assert batch.clean.var(axis=(1, 2)) / batch.sigma**2 == pytest.approx(100, rel=1e-3)


def test_noise_of_the_two_windows_is_independent():
    batch = window_pairs(3, 64, -np.inf, seed=3)
    assert abs(np.mean(batch.ref * batch.tgt)) < 0.03
    assert np.isnan(batch.truth).all()


def test_bound_is_that_of_the_exact_derivatives():
    batch = window_pairs(2, 48, 20.0, seed=4, texture=Texture(optics_sigma=2.0))
    down, right = np.gradient(batch.clean.astype(float), axis=(1, 2))
    for i in range(2):
        fisher = [[np.sum(a[i] * b[i]) for a in (right, down)] for b in (right, down)]
        bound = 2 * batch.sigma[i] ** 2 * np.linalg.inv(fisher)
        assert batch.bound[i] == pytest.approx(bound, abs=0.1 * bound.max())


def test_an_efficient_estimate_meets_the_bound():
    """One Gauss-Newton step from the truth of a smooth scene can do neither better nor worse."""
    batch = window_pairs(150, 32, 20.0, seed=5, max_shift=0.0, texture=Texture(optics_sigma=2.0))
    down, right = np.gradient(batch.clean.astype(float), axis=(1, 2))
    difference = (batch.ref - batch.tgt).astype(float)
    score = []
    for i in range(150):
        columns = np.column_stack([right[i].ravel(), down[i].ravel()])
        error = np.linalg.lstsq(columns, difference[i].ravel(), rcond=None)[0]
        score.append(error @ np.linalg.solve(batch.bound[i], error))
    assert np.mean(score) == pytest.approx(2, rel=0.25)


def test_windows_are_not_periodic():
    clean = window_pairs(5, 64, np.inf, seed=6).clean
    wrap = np.mean((clean[:, :, 0] - clean[:, :, -1]) ** 2)
    assert wrap > 5 * np.mean((clean[:, :, 1] - clean[:, :, 0]) ** 2)


def test_unrelated_windows_share_nothing():
    batch = window_pairs(10, 64, 30.0, seed=7, texture=Texture(exponent=0.0), unrelated=True)
    alike = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(batch.ref, batch.tgt, strict=True)]
    assert np.abs(alike).max() < 0.1
    assert np.isnan(batch.bound).all()


def test_shifts_fill_their_range():
    truth = window_pairs(200, 8, 30.0, seed=8, max_shift=4.0).truth
    assert np.abs(truth).max() <= 4.0
    assert np.ptp(truth, axis=0) == pytest.approx(8.0, rel=0.05)


def test_seed_decides():
    first, again, other = (window_pairs(2, 16, 20.0, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first.tgt, again.tgt)
    assert not np.array_equal(first.tgt, other.tgt)


def test_period_makes_windows_repeat():
    clean = window_pairs(1, 64, np.inf, seed=9, texture=Texture(period=16)).clean[0]
    assert np.array_equal(clean[:, :48], clean[:, 16:])
