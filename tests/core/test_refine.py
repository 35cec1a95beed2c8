import numpy as np
import pytest

from xcoreg.core.refine import refine
from xcoreg.simulate import WindowPairs, window_pairs

Z = 5


def run(pairs: WindowPairs, start=None, ref_valid=None, tgt_valid=None):
    ok = np.ones(pairs.ref.shape, bool)
    start = np.rint(pairs.truth) if start is None else start
    ref_valid, tgt_valid = (ok if valid is None else valid for valid in (ref_valid, tgt_valid))
    return refine(pairs.tgt, pairs.ref, tgt_valid, ref_valid, start)


def sigma(cov):
    return np.sqrt(np.diagonal(cov, axis1=1, axis2=2))


@pytest.fixture(scope="module")
def pairs():
    return window_pairs(60, 64, 20.0, seed=11)


@pytest.fixture(scope="module")
def fine(pairs):
    return run(pairs)


@pytest.mark.parametrize(("snr_db", "inefficiency"), [(30.0, 1.25), (20.0, 1.25), (10.0, 1.5)])
def test_errors_reach_the_bound(snr_db, inefficiency):
    pairs = window_pairs(60, 64, snr_db, seed=12)
    error = run(pairs).move - pairs.truth
    bound = np.sqrt(np.diagonal(pairs.bound, axis1=1, axis2=2).mean(0))
    # 60 pairs tell an RMSE to a tenth.
    assert (np.sqrt((error**2).mean(0)) < 1.1 * (inefficiency * bound + 0.002)).all()


def test_no_error_is_beyond_its_uncertainty(pairs, fine):
    assert (np.abs(fine.move - pairs.truth) / sigma(fine.cov)).max() < Z


def test_covariances_mean_what_they_say(pairs, fine):
    error = fine.move - pairs.truth
    chi_square = np.einsum("ni,nij,nj->n", error, np.linalg.inv(fine.cov), error)
    assert 0.65 < chi_square.mean() / 2 < 1.5


def test_there_is_no_bias(pairs, fine):
    assert np.abs((fine.move - pairs.truth).mean(0)).max() < 0.003


def test_swapping_negates(pairs, fine):
    ok = np.ones(pairs.ref.shape, bool)
    back = refine(pairs.ref, pairs.tgt, ok, ok, -np.rint(pairs.truth))
    assert (np.abs(fine.move + back.move) < 0.5 * sigma(fine.cov)).all()


def test_gain_and_offset_change_nothing(pairs, fine):
    ok = np.ones(pairs.ref.shape, bool)
    bright = refine(40 * pairs.tgt + 500, 0.01 * pairs.ref - 3, ok, ok, np.rint(pairs.truth))
    assert np.abs(bright.move - fine.move).max() < 1e-3


def test_the_start_does_not_matter(pairs, fine):
    off = run(pairs, pairs.truth + np.random.default_rng(1).uniform(-0.6, 0.6, pairs.truth.shape))
    assert (np.abs(off.move - fine.move) < sigma(fine.cov)).all()


def test_it_settles(fine):
    assert fine.last_step.max() < 0.003


def test_values_that_are_not_valid_carry_no_weight(pairs):
    valid = np.ones(pairs.ref.shape, bool)
    valid[:, 20:40, 10:40] = False
    spoiled = pairs._replace(tgt=np.where(valid, pairs.tgt, pairs.tgt.mean()).astype(np.float32))
    error = run(spoiled, tgt_valid=valid).move - pairs.truth
    bound = np.sqrt(np.diagonal(pairs.bound, axis1=1, axis2=2).mean(0))
    share = valid.mean()
    assert (np.sqrt((error**2).mean(0)) < 1.65 / np.sqrt(share) * bound + 0.002).all()


def test_fewer_pixels_are_less_sure(pairs, fine):
    valid = np.ones(pairs.ref.shape, bool)
    valid[:, :, :32] = False
    half = run(pairs, ref_valid=valid)
    assert np.median(sigma(half.cov) / sigma(fine.cov)) == pytest.approx(np.sqrt(2), rel=0.25)


def test_more_noise_is_less_sure(fine):
    noisy = run(window_pairs(60, 64, 10.0, seed=11))
    assert np.median(sigma(noisy.cov) / sigma(fine.cov)) == pytest.approx(np.sqrt(10), rel=0.2)


def test_phases_alone_agree(fine):
    assert np.hypot(*fine.phase.T).max() < 0.2


def test_score_is_the_correlation_of_what_was_aligned(fine):
    assert fine.score.min() > 0.9
    unrelated = window_pairs(20, 64, 20.0, seed=3, unrelated=True)
    assert np.abs(run(unrelated, np.zeros((20, 2))).score).max() < 0.7


def test_an_edge_along_the_rows_leaves_the_rows_unknown():
    profile = np.tanh((np.arange(64) - 31.5) / 3) * 10
    rng = np.random.default_rng(6)
    ref, tgt = (np.tile(profile, (1, 64, 1)) + 0.5 * rng.standard_normal((1, 64, 64)) for _ in range(2))
    ok = np.ones(ref.shape, bool)
    cov = refine(tgt.astype(np.float32), ref.astype(np.float32), ok, ok, np.zeros((1, 2))).cov[0]
    assert cov[0, 0] < 0.05**2
    assert not cov[1, 1] < 50 * cov[0, 0]


def test_nothing_to_see_has_no_finite_variance():
    flat, ok = np.zeros((1, 32, 32), np.float32), np.ones((1, 32, 32), bool)
    assert np.isinf(np.diag(refine(flat, flat, ok, ok, np.zeros((1, 2))).cov[0])).all()
