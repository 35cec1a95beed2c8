"""Residuals by row, column and altitude."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from xcoreg import georef
from xcoreg.errors import MatchError
from xcoreg.plot import plot_profiles
from xcoreg.plot.profiles import bins_of
from xcoreg.plot.style import residuals_of


def shaken(fit, height=None):
    """A fit whose check points have a wave of 0.5 px by row, and 0.1 m of `height` per pixel along columns."""
    left = residuals_of(fit)
    _, row = georef.map_to_pixel(fit.grid.affine, left.x, left.y)
    check = fit.details.assessment.check
    wave = 0.5 * np.sin(row / 20) * abs(fit.grid.affine.a)
    new = replace(check, window=left.window, dx=wave, dy=0 * wave, height=height)
    return replace(fit, details=replace(fit.details, assessment=replace(fit.details.assessment, check=new)))


def test_a_wave_by_row_shows_by_row_alone(fit):
    figure = plot_profiles(shaken(fit))
    by_row, by_col = figure.axes
    assert "row" in by_row.get_xlabel()
    assert "column" in by_col.get_xlabel()
    along = [np.ptp(axes.lines[0].get_ydata()) for axes in (by_row, by_col)]
    assert along[0] > 0.5 > along[1]


def test_altitude_is_shown_where_it_is_known(fit):
    n = len(residuals_of(fit))
    figure = plot_profiles(shaken(fit, height=np.linspace(100, 900, n)))
    assert [axes.get_xlabel() for axes in figure.axes][-1] == "altitude, m"


def test_bins_hold_equal_numbers_and_leave_out_what_is_unknown():
    places = np.array([*np.arange(48.0), np.nan])
    middle, median, spread = bins_of(places, np.r_[np.repeat([1.0, 2.0, 3.0, 4.0], 12), 99.0])
    np.testing.assert_array_equal(median, [1, 2, 3, 4])
    np.testing.assert_array_equal(middle, [5.5, 17.5, 29.5, 41.5])
    assert not spread.any()


def test_without_residuals_there_is_nothing_to_draw(fit):
    none = replace(fit, points=fit.points.take(np.zeros(len(fit.points), bool)))
    with pytest.raises(MatchError, match="no residuals to draw"):
        plot_profiles(none)
