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


def test_a_weak_pattern_is_seen_by_all_windows_together(clean):
    pair = simulate.pair((384, 384), shift=SHIFT, snr_db=20, seed=3)
    pattern = 0.12 * np.random.default_rng(2).standard_normal((384, 384))
    images = with_shared(pair, pattern)
    fit = images[0].coreg.match(images[1])
    error = np.array([fit.shift.dcol, fit.shift.drow]) - SHIFT
    assert error @ np.linalg.inv(fit.shift.cov_px) @ error < 12
    assert np.hypot(*error) < 0.04


def test_stripes_do_not_make_a_scene_repeat_itself():
    pair = simulate.pair((128, 128), shift=SHIFT, snr_db=30, seed=5)
    images = with_shared(pair, 0.5 * np.random.default_rng(4).standard_normal((1, 128)))
    fit = images[0].coreg.match(images[1], errors="return")
    assert fit.ok
    assert "edges" not in " ".join(fit.quality.warnings)
    assert np.hypot(fit.shift.dcol - SHIFT[0], fit.shift.drow - SHIFT[1]) < 0.05


def test_edges_do_not_answer_where_intensities_show_a_pattern(clean):
    images = with_shared(clean, 1.5 * np.random.default_rng(6).standard_normal((384, 384)))
    fit = images[0].coreg.match(images[1], errors="return")
    assert fit.status is Status.DISAGREES or (fit.ok and np.hypot(fit.shift.dcol, fit.shift.drow) > 0.3)


def test_fields_that_curve_within_windows_have_honest_points():
    field = simulate.smooth_field((640, 640), amplitude=15, turns=0.25, seed=2)
    pair = simulate.pair((640, 640), shift=field, snr_db=25, seed=2)
    fit = pair.tgt.coreg.match_local(pair.ref, window=128, spacing=96)
    points = fit.points.take(fit.points.ok)
    error = np.stack([points.dcol, points.drow], -1) - np.stack(field(points.row, points.col), -1)
    linear = np.linalg.inv([[10.0, 0.0], [0.0, -10.0]])
    inside = np.einsum("ni,nij,nj->n", error, np.linalg.inv(linear @ points.cov @ linear.T), error) < 5.99
    assert inside.mean() > 0.85
