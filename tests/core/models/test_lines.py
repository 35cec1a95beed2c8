"""Jitter along the track and steps across it: splines of one coordinate each, beside a plane."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import uniform_filter

from xcoreg.core.models import choose_model
from xcoreg.core.models.base import Degenerate
from xcoreg.core.models.fit import model_from_dict, prepare_shifts
from xcoreg.core.models.lines import Axis, Lines, LinesMaker

SIDE = 32


def tie_points(period, amplitude=0.2, noise=0.02, seed=0, step=16.0):
    """Means over windows of a sine of y, beside a plane: what matching measures."""
    row, col = (one.ravel() for one in np.mgrid[0:800:step, 0:400:step].astype(int))
    y, x = row.astype(float), col.astype(float)
    damped = amplitude * np.sinc(SIDE / period)
    rng = np.random.default_rng(seed)
    # Windows that overlap share the noise of their pixels.
    error = [noise * SIDE * uniform_filter(rng.normal(0, 1, (800, 400)), SIDE, mode="wrap")[row, col] for _ in "xy"]
    dx = 1.5 + 1e-3 * x + damped * np.sin(2 * np.pi * y / period) + error[0]
    dy = -0.7 + damped * np.cos(2 * np.pi * y / period) + error[1]
    return x, y, dx, dy, np.broadcast_to(np.eye(2) * noise**2, (x.size, 2, 2))


@pytest.mark.parametrize("period", [80.0, 200.0, 600.0])
def test_jitter_is_restored_between_windows_and_within_them(period):
    points = tie_points(period)
    model = LinesMaker(SIDE).fit_result(prepare_shifts(*points)).model
    y = np.arange(40.0, 750.0)
    dx, dy = model.predict(np.full(y.size, 200.0), y)
    off = np.stack([dx - 1.7 - 0.2 * np.sin(2 * np.pi * y / period), dy + 0.7 - 0.2 * np.cos(2 * np.pi * y / period)])
    assert np.sqrt((off**2).sum(0).mean()) < 0.03


def test_the_ccds_are_steps_across_the_track():
    x, y, dx, dy, cov = tie_points(1e9)
    model = LinesMaker(SIDE).fit_result(prepare_shifts(x, y, dx, dy + 0.3 * (x > 200), cov)).model
    left, right = model.predict([80.0, 320.0], 400.0)[1]
    assert right - left == pytest.approx(0.3, abs=0.02)


def test_it_is_chosen_where_check_points_say_so():
    kinds = ("translation", "affine", LinesMaker(SIDE))
    assert choose_model(*tie_points(100.0), kinds).model.kind == "lines"
    chosen = [choose_model(*tie_points(100.0, 0.0, seed=seed), kinds).model.kind for seed in range(8)]
    assert chosen.count("lines") == 0


def test_outliers_do_not_bend_it():
    x, y, dx, dy, cov = tie_points(200.0)
    dx = dx.copy()
    dx[::25] += 3.0
    model = LinesMaker(SIDE).fit_result(prepare_shifts(x, y, dx, dy, cov)).model
    found = model.predict(np.full(500, 200.0), np.arange(100.0, 600.0))[0]
    assert np.abs(found - 1.7 - 0.2 * np.sin(2 * np.pi * np.arange(100.0, 600.0) / 200)).max() < 0.05


def test_it_is_saved_and_tells_its_uncertainty():
    model = LinesMaker(SIDE).fit_result(prepare_shifts(*tie_points(200.0))).model
    again = model_from_dict(model.to_dict())
    assert isinstance(again, Lines)
    assert again == model
    np.testing.assert_array_equal(again.predict([3.0, 50.0], [4.0, 70.0]), model.predict([3.0, 50.0], [4.0, 70.0]))
    cov = model.predict_cov([200.0, 200.0], [400.0, 4000.0])
    assert (np.linalg.eigvalsh(cov) > 0).all()
    assert 1e-4 < np.sqrt(cov[0, 0, 0]) < 0.02


def test_too_few_points_are_refused_and_axes_add_up():
    points = tuple(one[:20] for one in tie_points(200.0))
    with pytest.raises(Degenerate, match="too few for lines"):
        LinesMaker(SIDE).fit_result(prepare_shifts(*points))
    axis = Axis.over(np.arange(50.0), 8.0)
    np.testing.assert_allclose(axis.design(np.linspace(-20, 80, 33), 8.0).sum(1), 1.0)
