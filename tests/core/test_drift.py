"""Shifts of images that share a pattern of their pixels: what drags fine detail is found, and its sigma is honest."""

import numpy as np
import pytest
from scipy import ndimage

from xcoreg.core.drift import NO_PATTERN, Pattern, common_error, settle_again, shared_drift
from xcoreg.core.matcher import phase_match
from xcoreg.core.matches import Status
from xcoreg.core.refine import _compare as compare_estimates

SIZE, ROUND, SHIFT = 128, 16, (0.4, -0.3)


def drawn(seed, size=SIZE):
    """Draw one scene twice, moved by SHIFT, periodic and band-limited: unit variance, with a margin."""
    n = size + ROUND
    rng = np.random.default_rng(seed)
    fx, fy = np.fft.rfftfreq(n)[None], np.fft.fftfreq(n)[:, None]
    radius = np.hypot(fx, fy)
    radius[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal((n, n))) * radius**-1.4 * np.exp(-((radius / 0.3) ** 4))
    turn = np.exp(2j * np.pi * (fx * SHIFT[0] + fy * SHIFT[1]))
    ref, tgt = (np.fft.irfft2(part, s=(n, n)) for part in (spectrum, spectrum * turn))
    return tgt / ref.std(), ref / ref.std(), rng


def matched(change, seeds=6, size=SIZE, **options):
    """Match pairs after a change; error (n, 2) and the matches."""
    pairs = []
    for seed in range(seeds):
        tgt, ref, rng = drawn(seed, size)
        noise = (0.03 * rng.standard_normal(ref.shape) for _ in range(2))
        pairs.append([one[:size, :size] for one in change(tgt + next(noise), ref + next(noise), rng)])
    tgt, ref = (np.array(part, np.float32) for part in zip(*pairs, strict=True))
    valid = np.ones(ref.shape, bool)
    found = phase_match(tgt, ref, valid, valid, **options)
    return np.stack([found.dcol, found.drow], -1) - SHIFT, found


def shared_pattern(size):
    def change(tgt, ref, rng):
        pattern = size * rng.standard_normal(ref.shape)
        return tgt + pattern, ref + pattern

    return change


def shared_stripes(size, axis):
    def change(tgt, ref, rng):
        stripes = np.expand_dims(size * rng.standard_normal(ref.shape[1 - axis]), axis)
        return tgt + stripes, ref + stripes

    return change


def unchanged(tgt, ref, _):
    return tgt, ref


def normalised(error, found):
    return np.einsum("ni,nij,nj->n", error, np.linalg.inv(found.cov), error).mean() / 2


def test_images_without_a_pattern_show_none():
    error, found = matched(unchanged)
    assert np.abs(error).max() < 0.01
    assert found.pattern.max() < 0.01
    assert found.ok.all()


@pytest.mark.parametrize("size", [0.1, 0.2])
def test_a_fixed_pattern_does_not_hold_the_shift_back(size):
    error, found = matched(shared_pattern(size))
    assert found.ok.all()
    assert np.abs(error).max() < 0.08  # it was drawn towards zero by most of the shift
    assert (found.pattern[:, 0] > 0.02).all()
    assert normalised(error, found) < 4


def test_a_pattern_as_strong_as_the_scene_is_followed_or_refused():
    error, found = matched(shared_pattern(1.0), seeds=12)
    assert found.ok.any()
    assert not found.ok[np.hypot(*error.T) > 0.2].any()


@pytest.mark.parametrize("axis", [0, 1])
def test_stripes_that_both_images_share_do_not_matter(axis):
    error, found = matched(shared_stripes(0.3, axis))
    assert found.ok.all()
    assert np.abs(error).max() < 0.02
    assert found.pattern[:, 1 + axis].all()
    assert not found.pattern[:, 2 - axis].any()


def test_small_windows_are_given_what_larger_ones_have_found():
    """Where a drift is known it is always fitted: that costs precision, and no truth is missed."""
    (error, known), (_, alone) = (
        matched(unchanged, size=64, pattern=pattern) for pattern in (Pattern(drifts=True), NO_PATTERN)
    )
    assert known.ok.all()
    assert normalised(error, known) < 2
    assert known.cov[:, 0, 0].mean() > alone.cov[:, 0, 0].mean()
    assert (known.pattern[:, 0] > 0).all()
    assert (alone.pattern[:, 0] < 0.01).all()


@pytest.mark.parametrize("levels", [2, 5])
def test_masks_and_classes_are_no_copies_at_a_whole_pixel(levels):
    """Edges are all that differs between such images: taken for changes, what is left would be a copy."""

    def change(tgt, ref, _):
        edges = np.linspace(-1, 1, levels + 1)[1:-1]
        return np.digitize(tgt, edges), np.digitize(ref, edges)

    error, found = matched(change)
    assert found.ok.all()
    assert np.abs(error).max() < 0.12
    assert normalised(error, found) < 4


def test_noise_that_rings_do_not_share_widens_the_covariance():
    """Another scene of the same make is no white noise: it lies on edges that windows cut."""

    def change(tgt, ref, rng):
        n = len(ref)
        fx, fy = np.fft.rfftfreq(n)[None], np.fft.fftfreq(n)[:, None]
        red = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((n, n))) / (0.01 + np.hypot(fx, fy)) ** 1.4, s=(n, n))
        return tgt + red / red.std(), ref

    error, found = matched(change, seeds=20)
    some = found.ok
    assert some.sum() > 10
    assert normalised(error[some], found.take(some)) < 2.5
    assert not (np.hypot(*error[some].T) > 0.4).any()


def test_a_known_pattern_explains_why_images_look_less_alike():
    error, found = matched(shared_stripes(1.0, 0))
    assert not np.isin(found.status, (Status.NOT_IMPROVED,)).any()
    assert np.abs(error[found.ok]).max() < 0.05


def evidence(directions, size=2.5, n=8, seed=0):
    """Evidence of n windows that drift by `size` standard deviations in some directions (n,), radians."""
    turn = np.broadcast_to(directions, n)
    mean = size * np.stack([np.cos(turn), np.sin(turn)], -1)
    noise = np.random.default_rng(seed).standard_normal((n, 4, 2))
    noise[:, :2] = noise[:, :1] + mean[:, None]
    return noise.reshape(n, 8)


def test_windows_that_drift_alike_show_a_pattern_together():
    drift, of_pixels = shared_drift(evidence(0.7))
    assert drift.drifts > 0.8
    assert of_pixels


def test_windows_that_drift_in_several_directions_do_not_show_one_of_their_pixels():
    drift, of_pixels = shared_drift(evidence(np.linspace(-1.2, 1.2, 8), size=8))
    assert drift.drifts > 0.8
    assert not of_pixels


def drifting(mean, spread=0.01, n=25, seed=0):
    """Evidence of n windows in which a drift of `mean` px is left, known by so many px in each."""
    rows = np.zeros((n, 27))
    rows[:, 8:10] = 0.0
    rows[:, 10:12] = rows[:, 12:14] = mean + spread * np.random.default_rng(seed).standard_normal((n, 2))
    for at, variance in ((14, 1e-4), (18, 1e-4 + spread**2), (22, 1e-4 + 2 * spread**2)):
        rows[:, at : at + 4] = (variance * np.eye(2)).ravel()
    return rows


def test_what_all_windows_drift_is_a_common_error():
    assert common_error(drifting(0.05), 1.0, NO_PATTERN) == pytest.approx(0.05, rel=0.1)
    assert common_error(drifting(0.05), 1.0, Pattern(drifts=1.0)) < 0.01  # it has been corrected
    assert common_error(drifting(0.0), 1.0, NO_PATTERN) < 0.003
    assert common_error(np.zeros((25, 27)), 1.0, NO_PATTERN) == 0


def test_windows_that_overlap_know_less_of_what_is_common():
    few = [common_error(drifting(0.004), overlap, NO_PATTERN) for overlap in (1.0, 2.0)]
    assert few[1] < few[0]  # it may be noise that neighbours share


def test_other_optics_are_no_noise_of_the_shift():
    def blurred(tgt, ref, _):
        return ndimage.gaussian_filter(tgt, 1.0, mode="wrap"), ref

    error, found = matched(blurred, seeds=20)
    assert 0.35 < normalised(error, found) < 1.6


@pytest.mark.parametrize(("gap", "vague"), [(0.01, 0.0), (0.03, 0.03), (0.5, 0.0)])
def test_a_copy_that_contradicts_all_pixels_is_as_vague_as_that(gap, vague):
    """Within three sigma it does not contradict them; far away it is that of a scene under clouds."""
    before = {"rest": np.zeros((1, 2)), "cov": 0.006**2 * np.eye(2)[None], "vague": np.zeros(1)}
    columns = {"cov": 4e-4**2 * np.eye(2)[None], "vague": np.zeros(1), "drifting": np.zeros(1, bool)}
    compare_estimates(before, np.array([[gap, 0.0]]), columns, np.zeros(1, bool))
    assert columns["cov"][0, 0, 0] == pytest.approx(4e-4**2 + vague**2)


def test_noise_is_no_shared_drift():
    shares = [shared_drift(evidence(0.0, size=0.0, seed=seed))[0].drifts for seed in range(40)]
    assert np.mean(np.array(shares) > 0) < 0.3
    assert max(shares) < 0.8
    assert shared_drift(np.zeros((0, 8)))[0] == NO_PATTERN


@pytest.mark.parametrize("known", [Pattern(drifts=0.9), Pattern(drifts=0.6, further=0.5), NO_PATTERN])
def test_what_is_known_of_a_drift_corrects_matches_as_matching_them_again_does(known):
    (_, before), (_, again) = (matched(shared_pattern(0.05), pattern=one) for one in (NO_PATTERN, known))
    plain = before.drift[:, -1] > 0
    assert plain.sum() >= 3
    some = before.take(np.flatnonzero(plain))
    settled, again = settle_again(some, known), again.take(np.flatnonzero(plain))
    assert settled is not None
    for name in ("dcol", "drow", "cov", "pattern"):
        np.testing.assert_allclose(getattr(settled, name), getattr(again, name), rtol=1e-9, atol=1e-12)
    if known.drifts:
        assert np.abs(settled.dcol - some.dcol).max() > 1e-4


def test_matches_that_take_another_look_are_not_corrected_without_it():
    _, found = matched(shared_pattern(0.05))
    assert settle_again(found.take(np.flatnonzero(found.drift[:, -1] > 0)), Pattern(columns=True, drifts=0.9)) is None
    _, dragged = matched(shared_pattern(0.5))
    assert not dragged.drift[:, -1].any()
    assert settle_again(dragged, Pattern(drifts=0.9)) is None
