"""What a correction leaves, in figures and numbers."""

from __future__ import annotations

import numpy as np
import pytest

import xcoreg
from xcoreg.plot.dem import differences
from xcoreg.plot.dem_errors import statistics_by, variogram
from xcoreg.simulate import dem_pair

pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def fitted():
    both = dem_pair((130, 150), shift=(15.0, 6.0, -2.0), glaciers=0.1, seed=4)
    return both, both.tgt.coreg.match(both.ref, matcher="nuth_kaab", where=both.stable)


def test_a_figure_has_four_parts(fitted):
    both, fit = fitted
    figure = xcoreg.plot.plot_dem_errors(fit, both.tgt, both.ref, both.stable)
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert [title.split(" ")[0] for title in titles] == ["Differences", "dh", "Variogram", "Standard"]


def test_a_fit_without_an_error_model_says_so_in_its_figure(fitted):
    both, _ = fitted
    fit = both.tgt.coreg.match(both.ref, matcher="rigid", where=both.stable)
    figure = xcoreg.plot.plot_dem_errors(fit, both.tgt, both.ref, both.stable)
    assert "no error model" in "".join(text.get_text() for axes in figure.axes for text in axes.texts)


def test_steep_slopes_gain_most_and_classes_add_up(fitted):
    both, fit = fitted
    found = differences(fit, both.tgt, both.ref, both.stable)
    slopes, winds = (statistics_by(found, kind) for kind in ("slope", "aspect"))
    gain = {name: row["before"].nmad / row["after"].nmad for name, row in slopes.items() if row["after"].n > 100}
    assert gain["30-40"] > 2 * gain["0-5"]
    assert sum(row["after"].n for row in slopes.values()) == found.stats("after").n
    assert sum(row["after"].n for row in winds.values()) == found.stats("after").n
    assert abs(winds["E"]["before"].median - winds["W"]["before"].median) > 3
    assert abs(winds["E"]["after"].median - winds["W"]["after"].median) < 0.5


def test_the_variogram_of_white_noise_is_its_variance():
    values = 2 * np.random.default_rng(0).standard_normal((120, 140))
    values[::7, ::3] = 1e4  # blunders
    lags, gamma = variogram(values, values < 100)
    assert np.allclose(gamma, 4.0, rtol=0.15)
    assert (lags[0], lags[-1]) == (1.0, 40.0)
