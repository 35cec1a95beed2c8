"""Guesses from sparse windows, and what happens where they know nothing."""

import numpy as np
import pytest

from xcoreg.core.matches import Status
from xcoreg.coregister import tie_points
from xcoreg.matching.windows import Guess, interpolate


def mesh(n, step):
    return np.array([(x, y) for y in range(n) for x in range(n)], float) * step


def test_planes_are_interpolated_nearly_exactly():
    known = mesh(6, 1000.0)
    moves = known @ np.array([[0.01, 0.0], [-0.02, 0.005]]) + [5, -3]
    places = np.random.default_rng(0).uniform(500, 4500, (50, 2))
    true = places @ np.array([[0.01, 0.0], [-0.02, 0.005]]) + [5, -3]
    assert np.abs(interpolate(known, moves, places) - true).max() < 1.0


@pytest.mark.parametrize("n", [1, 3, 7])
def test_few_anchors_give_their_mean(n):
    known = mesh(3, 100.0)[:n]
    np.testing.assert_allclose(interpolate(known, np.full((n, 2), 4.0), mesh(2, 50.0)), 4.0)


def test_anchors_in_one_line_do_not_run_away():
    known = np.stack([np.arange(9) * 100.0, np.zeros(9)], -1)
    found = interpolate(known, np.stack([known[:, 0] * 0.01, np.zeros(9)], -1), np.array([[400.0, 900.0]]))
    assert np.abs(found).max() < 10


def test_without_a_guess_the_whole_window_is_searched():
    nothing = Guess(np.empty((0, 2)), np.empty((0, 2)), float("nan"))
    assert not nothing.at(mesh(2, 10.0)).any()
    assert nothing.search_radius(64, None) == pytest.approx(25.6)
    assert nothing.search_radius(64, 7.0) == 7.0


def test_near_a_good_guess_little_is_searched():
    sure = Guess(mesh(3, 100.0), np.zeros((9, 2)), 0.1)
    assert sure.search_radius(64, None) == 4.0
    assert Guess(sure.places, sure.moves, 3.0).search_radius(64, None) == 13.0


def test_a_pattern_that_repeats_itself_is_ambiguous_even_to_windows_smaller_than_its_period(make_image):
    row, col = np.mgrid[:400, :400]
    wave = np.cos(2 * np.pi * row / 20) * np.cos(2 * np.pi * col / 20)
    rng = np.random.default_rng(0)
    images = [
        make_image((1000 + 300 * np.roll(wave, s, 1) + rng.normal(0, 3, wave.shape)).astype("uint16")) for s in (0, 4)
    ]
    points = tie_points(*images, window=32, spacing=40)
    assert not points.ok.any()
    assert (points.status == Status.AMBIGUOUS).any()
