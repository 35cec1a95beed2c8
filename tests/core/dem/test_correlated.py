"""Trends of blocks among errors that neighbouring blocks share."""

from __future__ import annotations

import numpy as np
import pytest

from xcoreg.core.dem.correlated import find_trend, is_coherent
from xcoreg.simulate.terrain import DemNoise, _errors

X, Y = (part.ravel() for part in np.meshgrid(np.arange(12.5, 400, 25), np.arange(12.5, 300, 25)))


def noise(seed, length=25.0):
    """Smooth errors of one metre at the places of blocks."""
    field = _errors((300, 400), DemNoise(0.0, 1.0, length, 0.0), np.random.default_rng(seed))
    return field[Y.astype(int), X.astype(int)]


@pytest.mark.parametrize("length", [12.0, 25.0, 60.0])
def test_shared_errors_are_no_trend_and_make_the_mean_vague(length):
    found = [find_trend(X, Y, heights, heights) for heights in (noise(seed, length) for seed in range(3))]
    assert sum(one.order == 0 and not one.lines for one in found) >= 2
    # The integral of the correlation over the area of a block; long ranges leave the scene.
    expected = 2 * np.pi * length**2 / 25**2
    assert expected / 1.8 < np.mean([one.effect for one in found]) < 1.3 * expected


@pytest.mark.parametrize(("order", "trend"), [(1, X / 100), (2, (X / 150) ** 2 - (Y / 200) ** 2)])
def test_trends_are_found_among_shared_errors(order, trend):
    found = find_trend(X, Y, 3 * trend + 0.3 * noise(3, 12.0), 3 * trend)
    assert found.order == order


def test_waves_along_one_direction_are_no_noise():
    wave = 2 * np.sin(2 * np.pi * (Y + 0.2 * X) / 110) + 0.3 * noise(1, 12.0)
    assert find_trend(X, Y, wave, wave).lines


def test_only_neighbours_that_deviate_alike_speak_for_a_field():
    rng = np.random.default_rng(0)
    assert not is_coherent(X, Y, 5 * rng.standard_normal((len(X), 2)))
    tiles = rng.standard_normal((4, 4))[(Y // 75).astype(int), (X // 100).astype(int)]
    assert is_coherent(X, Y, 5 * np.stack([tiles, rng.standard_normal(len(X))], 1))
    assert not is_coherent(X[:1], Y[:1], np.ones((1, 2)))
