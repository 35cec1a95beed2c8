"""Fields of small windows on images that share stripes or a pattern of their pixels."""

import numpy as np
import pytest

from xcoreg import simulate
from xcoreg.core.matches import Status

SHIFT = (0.45, -0.6)


@pytest.fixture(scope="module")
def clean():
    return simulate.pair((384, 384), shift=SHIFT, snr_db=30, seed=3)


def with_shared(pair, added):
    return tuple((one + added * float(one.std())).astype("float32") for one in (pair.tgt, pair.ref))


def tie_points(images):
    fit = images[0].coreg.match_local(images[1], window=64, spacing=64, errors="return")
    ok = fit.points.ok
    return np.stack([fit.points.dcol, fit.points.drow], -1)[ok] - SHIFT, fit


def test_shared_stripes_are_seen_in_large_windows_for_small_ones(clean):
    error, fit = tie_points(with_shared(clean, 0.3 * np.random.default_rng(1).standard_normal((1, 384))))
    assert fit.ok
    assert len(error) >= 20
    assert np.hypot(*error.T).max() < 0.1


def test_a_shared_pattern_is_followed_or_refused_and_edges_do_not_answer(clean):
    error, fit = tie_points(with_shared(clean, 0.4 * np.random.default_rng(2).standard_normal((384, 384))))
    assert not (np.hypot(*error.T) > 0.4).any()
    assert fit.ok or fit.status is Status.DISAGREES


def test_a_weak_pattern_is_seen_by_all_windows_together():
    pattern, squares = 0.12 * np.random.default_rng(2).standard_normal((384, 384)), 0.0
    for seed in range(6):
        images = with_shared(simulate.pair((384, 384), shift=SHIFT, snr_db=20, seed=seed), pattern)
        fit = images[0].coreg.match(images[1])
        error = np.array([fit.shift.dcol, fit.shift.drow]) - SHIFT
        squares += error @ np.linalg.inv(fit.shift.cov_px) @ error
    assert squares < 24  # 12 is expected, twice that and more without the others' evidence


def smooth_scene(size, steepness, seed, pattern):
    """Draw a scene that falls steeply with frequency, twice, with noise and a pattern of the pixels in both."""
    n, rng = size + 32, np.random.default_rng(seed)
    fx, fy = np.fft.rfftfreq(n)[None], np.fft.fftfreq(n)[:, None]
    radius = np.hypot(fx, fy)
    radius[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal((n, n))) * radius**-steepness
    turn = np.exp(2j * np.pi * (fx * SHIFT[0] + fy * SHIFT[1]))
    ref, tgt = (np.fft.irfft2(part, s=(n, n))[:size, :size] for part in (spectrum, spectrum * turn))
    noise = (0.06 * rng.standard_normal((size, size)) for _ in range(2))
    images = (one / ref.std() + next(noise) + pattern(rng) for one in (tgt, ref))
    like = simulate.pair((size, size), seed=0).ref
    return tuple(like.copy(data=one.astype("float32")) for one in images)


@pytest.mark.parametrize("seed", [1, 4])
def test_stripes_do_not_make_a_scene_repeat_itself(seed):
    columns = 0.3 * np.random.default_rng(seed).standard_normal((1, 128))
    images = smooth_scene(128, 1.7, seed, lambda _: columns)
    fit = images[0].coreg.match(images[1])
    assert np.hypot(fit.shift.dcol - SHIFT[0], fit.shift.drow - SHIFT[1]) < 0.03


@pytest.mark.parametrize(("size", "seed"), [(0.2, 1), (0.2, 4), (0.4, 1), (0.4, 3)])
def test_windows_that_a_pattern_has_not_torn_do_not_answer_for_the_others(size, seed):
    pattern = size * np.random.default_rng(seed).standard_normal((384, 384))
    images = smooth_scene(384, 2.0, seed, lambda _: pattern)
    fit = images[0].coreg.match(images[1], errors="return")
    assert not fit.ok or np.hypot(fit.shift.dcol - SHIFT[0], fit.shift.drow - SHIFT[1]) < 0.1


@pytest.mark.parametrize("seed", [0, 1])
def test_small_windows_do_not_answer_where_a_pattern_tears_large_ones(seed):
    pattern = 0.3 * np.random.default_rng(seed).standard_normal((384, 384))
    images = smooth_scene(384, 2.0, seed, lambda _: pattern)
    fit = images[0].coreg.match_local(images[1], window=64, spacing=96, errors="return")
    assert fit.status is Status.DISAGREES
    assert not fit.points.ok.any()


def test_fields_that_curve_within_windows_have_honest_points():
    """Of four fields together."""
    linear, inside = np.linalg.inv([[10.0, 0.0], [0.0, -10.0]]), []
    for seed in range(1, 5):
        field = simulate.smooth_field((640, 640), amplitude=15, turns=0.25, seed=seed)
        pair = simulate.pair((640, 640), shift=field, snr_db=25, seed=seed)
        points = pair.tgt.coreg.match_local(pair.ref, window=128, spacing=96).points
        points = points.take(points.ok)
        error = np.stack([points.dcol, points.drow], -1) - np.stack(field(points.row, points.col), -1)
        inside.append(np.einsum("ni,nij,nj->n", error, np.linalg.inv(linear @ points.cov @ linear.T), error) < 5.99)
    assert len(np.concatenate(inside)) >= 140
    assert np.concatenate(inside).mean() > 0.85


@pytest.mark.parametrize("seed", [1, 2])
def test_last_digits_of_pixels_move_no_window(seed):
    """Half of a window often ends in the middle of a pixel: rounded by its last digits, windows jumped by a pixel."""
    field = simulate.smooth_field((640, 640), amplitude=15, turns=0.25, seed=seed)
    pair = simulate.pair((640, 640), shift=field, snr_db=25, seed=seed)
    tgt = pair.tgt.astype(np.float64)
    other = tgt.copy(data=tgt.data * (1 + 1e-7 * np.random.default_rng(0).standard_normal(tgt.shape)))
    one, two = (image.coreg.match_local(pair.ref, window=128, spacing=96).points for image in (tgt, other))
    assert np.abs(one.x - two.x).max() < 1e-3
    assert np.abs(one.dcol - two.dcol)[one.ok].max() < 1e-6


def test_a_mask_that_hides_everything_is_a_status_and_no_warning_of_numpy():
    pair = simulate.pair((200, 200), shift=(1.2, -0.7), snr_db=20, seed=1)
    nowhere = (pair.ref.squeeze(drop=True) * 0).astype(bool)
    fit = pair.tgt.coreg.match_local(pair.ref, window=64, where=nowhere, errors="return")
    assert fit.status is Status.MASKED
