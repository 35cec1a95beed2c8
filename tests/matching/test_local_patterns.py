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
